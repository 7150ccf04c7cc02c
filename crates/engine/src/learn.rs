//! What looking told, written into the record.

use crate::{Engine, version};
use berth_model::Time;
use berth_model::condition::Reason;
use berth_model::desired::Desired;
use berth_model::field::{Field, text};
use berth_model::ids::{AppName, Key};
use berth_model::record::{AppRecord, IntentTarget, ProjectRecord, Record, Tombstone, Version};
use berth_model::step::{Learned, Plan};
use berth_ports::{Change, World};
use std::time::Duration;

impl<W: World> Engine<W> {
    /// The changes that a plan's discoveries make. `writing`: those that go with the plan's writes.
    pub(crate) fn learned(
        &self,
        key: &Key,
        record: &mut Record,
        desired: Option<&Desired>,
        plan: &Plan,
        writing: bool,
    ) -> Vec<Change> {
        let now = self.now();
        let mut changes = Vec::new();
        for learned in &plan.learned {
            if learned.goes_with_writes() == writing {
                self.learn(key, record, desired, learned, now, &mut changes);
            }
        }
        changes
    }

    /// Nothing of an app is left. Where it was undone since it failed, it stays on record that it failed: what is still
    /// wanted would be made again at once, to fail again.
    fn drop_app(&self, key: &Key, record: &mut Record, app: &AppName, now: Time) {
        let mut state = self.state();
        let Some(entry) = record.apps.get_mut(app) else {
            state.transient(key).fresh_after = now;
            return;
        };
        let wanted = match key {
            Key::Stack(name) => state.wanted.stacks.get(name).is_some_and(|s| s.apps.contains_key(app)),
            Key::Project(_) => false,
        };
        let undone = entry.id.is_none() || entry.deleted_at.is_some();
        let kept =
            (wanted && undone && entry.good.is_none() && entry.quarantined.is_some()).then(|| AppRecord {
                quarantined: entry.quarantined,
                quarantine_reason: entry.quarantine_reason.clone(),
                ..AppRecord::default()
            });
        if kept.as_ref() == Some(entry) {
            return;
        }
        let transient = state.transient(key);
        if let Some(id) = &entry.id {
            transient.overlay.remove(id);
        }
        transient.fresh_after = now;
        match kept {
            Some(kept) => **entry = kept,
            None => drop(record.apps.remove(app)),
        }
    }

    fn learn(
        &self,
        key: &Key,
        record: &mut Record,
        desired: Option<&Desired>,
        learned: &Learned,
        now: Time,
        changes: &mut Vec<Change>,
    ) {
        match learned {
            Learned::Owned { app, id, service, mark } => {
                let target = IntentTarget::App { app: app.clone() };
                let intended = self.state().intents.values().any(|i| i.key == *key && i.target == target);
                let entry = record.apps.entry(app.clone()).or_default();
                let half_made = mark.id.is_none() || !mark.pending.is_empty();
                if half_made && !intended && entry.id.is_none() {
                    entry.found = Some(now);
                }
                entry.id = Some(id.clone());
                entry.service = Some(service.clone());
                entry.op = Some(mark.op.clone());
                entry.adopted |= mark.adopted;
                entry.quarantined = entry.quarantined.or(mark.quarantined);
                for (name, version) in &mark.secrets {
                    let known = entry.secrets.entry(name.clone()).or_default();
                    *known = (*known).max(*version);
                }
                self.settle(key, &target, changes);
            }
            Learned::OwnedChild { app, key: child, id } => {
                record.apps.entry(app.clone()).or_default().children.insert(child.clone(), id.clone());
                let target = IntentTarget::Child { app: app.clone(), child: child.clone() };
                self.settle(key, &target, changes);
            }
            Learned::GoneChild { app, key: child } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.children.remove(child);
                }
            }
            Learned::GoneApp { app } | Learned::Forget { app } => self.drop_app(key, record, app, now),
            Learned::Orphaned { app, service } => {
                self.drop_app(key, record, app, now);
                let command = format!("docker service rm {service}");
                changes.push(self.event(
                    key,
                    true,
                    Reason::Orphaned,
                    format!("app {app} was deleted but its service still runs; end it with: {command}"),
                ));
                record.tombstones.push(Tombstone { service: service.clone(), command, since: now });
            }
            Learned::Project { id } => match (id, &mut record.project) {
                (None, project) => *project = None,
                (Some(id), Some(project)) => project.id = Some(id.clone()),
                (Some(id), None) => {
                    record.project = Some(ProjectRecord {
                        id: Some(id.clone()),
                        op: "0".into(),
                        environments: Default::default(),
                    });
                }
            },
            Learned::Live { app, hash } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.live = *hash;
                }
            }
            Learned::Rollout { app, rollout } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    if let (Some(old), Some(new)) = (&entry.rollout, rollout)
                        && old.phase != new.phase
                    {
                        self.state().transient(key).phases.push((new.phase, now));
                    }
                    entry.rollout.clone_from(rollout);
                }
            }
            Learned::Good { app, hash } => self.good(record, desired, app, *hash, key, now, changes),
            Learned::Failed { app, hash, reason, message } => {
                let restoring =
                    record.apps.get(app).and_then(|e| e.rollout.as_ref()).is_some_and(|r| r.restoring);
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.rollout = None;
                    entry.live = None;
                    if restoring {
                        // Restored once, never in a loop: there is nothing left to go back to.
                        entry.good = None;
                        entry.quarantine_reason = Some((Reason::RollbackFailed, message.clone()));
                    } else {
                        entry.quarantined = Some(*hash);
                        entry.quarantine_reason = Some((*reason, message.clone()));
                    }
                }
                changes.push(self.event(key, true, *reason, format!("app {app}: {message}")));
                self.metrics.rollouts.with_label_values(&["failed"]).inc();
            }
            Learned::Routers { app, due } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.routers_due = *due;
                }
            }
            Learned::Applied { app, full } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.applied = Some(*full);
                }
            }
            Learned::HalfMade { app } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.found = Some(now);
                }
            }
            Learned::Records { entries } => {
                let ledger = &mut record.dns.get_or_insert_default().ledger;
                for (key, entry) in entries {
                    match entry {
                        Some(entry) => ledger.0.insert(key.clone(), entry.clone()),
                        None => ledger.0.remove(key),
                    };
                }
                forget_empty(record);
            }
            Learned::Verified { records, all } => {
                let dns = record.dns.get_or_insert_default();
                if !*all {
                    let waited = dns.waiting.map_or(Duration::ZERO, |since| now.since(since));
                    let fresh = records
                        .iter()
                        .filter(|(key, v)| dns.verified.get(key).is_none_or(|o| o.hash != v.hash));
                    fresh.for_each(|_| self.metrics.dns_verified.observe(waited.as_secs_f64()));
                }
                let verified = &mut dns.verified;
                if *all {
                    verified.clear();
                }
                verified.extend(records.iter().cloned());
                forget_empty(record);
            }
            Learned::Waiting { since } => {
                record.dns.get_or_insert_default().waiting = *since;
                forget_empty(record);
            }
            Learned::Drift { app, live, left } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    entry.drift.retain(|_, d| d.live != *live);
                    entry.drift.extend(left.clone());
                }
            }
            Learned::Fought { app, paths } => {
                if let Some(entry) = record.apps.get_mut(app) {
                    for path in paths {
                        let fight = berth_plan::fought(entry.fights.get(path), now);
                        entry.fights.insert(path.clone(), fight);
                    }
                }
                changes.push(self.event(
                    key,
                    false,
                    Reason::Reported,
                    format!("app {app}: {} was changed from outside and is put back", paths.join(", ")),
                ));
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn good(
        &self,
        record: &mut Record,
        desired: Option<&Desired>,
        app: &berth_model::AppName,
        hash: berth_model::hash::Hash,
        key: &Key,
        now: Time,
        changes: &mut Vec<Change>,
    ) {
        let generation = record.generation;
        let Some(entry) = record.apps.get_mut(app) else {
            return;
        };
        entry.good = Some(hash);
        entry.drift.retain(|_, d| !d.live);
        if entry.quarantined == Some(hash) {
            entry.quarantined = None;
            entry.quarantine_reason = None;
        }
        let restored = entry.rollout.as_ref().is_some_and(|r| r.restoring);
        if !restored && entry.quarantined.is_some() {
            entry.quarantined = None;
            entry.quarantine_reason = None;
        }
        let outcome = if restored { "restored" } else { "good" };
        self.metrics.rollouts.with_label_values(&[outcome]).inc();
        let compiled = desired.and_then(|d| d.apps.iter().find(|a| a.name == *app));
        if let (Some(compiled), Key::Stack(stack), false) = (compiled, key, restored) {
            changes.push(Change::Version(Box::new(Version {
                stack: stack.clone(),
                app: app.clone(),
                hash,
                generation,
                at: now,
                image: text(&compiled.fields, Field::Image).unwrap_or_default().to_owned(),
                sealed: version::seal(&self.parts.vault, stack, compiled),
            })));
        }
    }

    /// The open create of a target is over.
    pub(crate) fn settle(&self, key: &Key, target: &IntentTarget, changes: &mut Vec<Change>) {
        let state = self.state();
        let open = state.intents.values().filter(|i| i.key == *key && i.target == *target);
        changes.extend(open.map(|i| Change::Settled(i.op.clone())));
    }
}

/// What remembers nothing of DNS takes no room.
fn forget_empty(record: &mut Record) {
    record.dns.take_if(|dns| dns.is_empty());
}
