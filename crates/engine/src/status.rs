//! The published state: conditions derived from the last plan and its outcome. A run that changed nothing writes
//! nothing.

use crate::Engine;
use crate::backoff::PARKED_AFTER;
use crate::queue::{Lane, Turn};
use crate::run::{Ended, classify};
use berth_model::Time;
use berth_model::condition::{Condition, ConditionType, Phase, Reason, Status};
use berth_model::desired::Desired;
use berth_model::field::{Field, text};
use berth_model::ids::Key;
use berth_model::record::{AppStatus, Intent, IntentTarget, Record, Run, StackStatus};
use berth_model::stack::Https;
use berth_ports::{Change, PortError, World};
use std::time::Duration;

/// A condition before it is known since when it holds.
type Draft = (ConditionType, Status, Reason, String);

impl<W: World> Engine<W> {
    /// Writes down what a run came to.
    pub(crate) async fn publish(
        &self,
        turn: &Turn,
        ended: &Ended,
        next: Option<&(Duration, Lane, &'static str)>,
        took: Duration,
    ) -> Result<(), PortError> {
        let key = &turn.key;
        let now = self.now();
        if ended.gone {
            return self.forget(key, ended).await;
        }
        let (record, old) = (self.record(key), self.status_of(key));
        let wanted = self.state().is_wanted(key);
        let Some(mut record) = record else { return Ok(()) };
        let mut changes = Vec::new();
        let before = record.failing.clone();
        Self::count_failures(&mut record, ended.error.as_ref());
        if record.failing != before {
            changes.push(Change::Record(key.clone(), Box::new(record.clone())));
        }
        if ended.error.is_none() && ended.plan.is_settled() {
            // Creates that were never answered and are no longer waited for: the plan needs nothing of them. Places are
            // there, whoever made them, and one that comes late and empty is seen by its mark.
            let state = self.state();
            let place = |i: &Intent| {
                matches!(i.target, IntentTarget::Project { .. } | IntentTarget::Environment { .. })
            };
            let over = state.intents.values().filter(|i| i.key == *key && (now >= i.settle_by || place(i)));
            changes.extend(over.map(|i| Change::Settled(i.op.clone())));
        }
        self.expectations(key, ended, &record);
        if ended.error.is_none() && ended.plan.wait.is_none() {
            let mut state = self.state();
            for account in state.accounts.values_mut() {
                account.promised.remove(key);
            }
        }
        let drafts = self.conditions(key, ended, &record, old.as_ref(), wanted);
        let status = self.status(key, ended, &record, old.as_ref(), drafts, now);
        let next_at = next.map(|(delay, _, why)| (now.after(*delay), (*why).to_owned()));
        self.state().transient(key).next = next_at.clone();
        let changed =
            old.as_ref().is_none_or(|o| StackStatus { changed: status.changed, ..o.clone() } != status);
        if changed {
            changes.extend(self.transitions(key, old.as_ref(), &status));
            if status.is_ready() && old.as_ref().is_none_or(|o| !o.is_ready()) {
                let since = self.state().first_calls.remove(key);
                if let Some(since) = since {
                    self.metrics.ready.observe(since.elapsed().as_secs_f64());
                }
            }
            changes.push(Change::Status(Box::new(status)));
        }
        if changed || !ended.did.is_empty() {
            changes.push(Change::Run(Box::new(self.run_row(turn, ended, &record, next_at, took, now))));
        }
        self.commit(changes).await
    }

    async fn forget(&self, key: &Key, ended: &Ended) -> Result<(), PortError> {
        let known = {
            let state = self.state();
            state.records.contains_key(key)
                || state.statuses.contains_key(key)
                || state.intents.values().any(|i| i.key == *key)
        };
        if !known {
            return Ok(());
        }
        let mut changes = Vec::new();
        if !ended.did.is_empty() || self.state().records.get(key).is_some_and(|r| !r.apps.is_empty()) {
            changes.push(self.event(key, false, Reason::Removing, "removed".to_owned()));
        }
        // Creates that were never answered and whose time is over: what they made was found and removed.
        let open: Vec<_> =
            self.state().intents.values().filter(|i| i.key == *key).map(|i| i.op.clone()).collect();
        changes.extend(open.into_iter().map(Change::Settled));
        changes.push(Change::Forget(key.clone()));
        self.commit(changes).await
    }

    /// What the next passes compare the stack with.
    fn expectations(&self, key: &Key, ended: &Ended, record: &Record) {
        let settled = ended.error.is_none() && ended.plan.is_settled();
        let mut state = self.state();
        let backend = state.backend_of(key);
        let view = backend.and_then(|b| state.accounts.get(&b)).and_then(|a| a.view.clone());
        let overlay_is_newer = state.live.get(key).is_some_and(|t| !t.overlay.is_empty());
        let expected = match (&ended.desired, view) {
            // Until a look shows our last writes, there is nothing to compare with.
            (Some(desired), Some(view)) if settled && !overlay_is_newer => {
                berth_plan::expect(desired, record, &view)
            }
            _ => None,
        };
        match expected {
            Some(expected) => state.expected.insert(key.clone(), expected),
            None => state.expected.remove(key),
        };
    }

    fn conditions(
        &self,
        key: &Key,
        ended: &Ended,
        record: &Record,
        old: Option<&StackStatus>,
        wanted: bool,
    ) -> Vec<Draft> {
        let mut drafts = Vec::new();
        let invalid = self.state().wanted.invalid.get(key).cloned();
        drafts.push(match invalid {
            Some(message) => (ConditionType::Accepted, Status::False, Reason::Invalid, message),
            None => {
                (ConditionType::Accepted, Status::True, Reason::Valid, "the manifest is valid".to_owned())
            }
        });
        let (ready, extra) = self.ready(ended, record, old, wanted);
        drafts.insert(0, ready);
        drafts.extend(extra);
        let Some(desired) = &ended.desired else {
            return drafts;
        };
        drafts.push(deployed(desired, record));
        let transient = self.state().live.get(key).cloned().unwrap_or_default();
        if desired.apps.iter().any(|a| a.health.is_some() && a.first_host().is_some()) {
            let bad: Vec<_> = transient.health.iter().filter(|(_, (ok, _))| !ok).collect();
            let up = record.apps.values().all(|r| r.live.is_some() && r.rollout.is_none());
            if let Some((app, (_, message))) = bad.first() {
                let message = format!("app {app}: {message}");
                drafts.push((ConditionType::Healthy, Status::False, Reason::NotAnswering, message));
            } else if up {
                let message = "every health check passes".to_owned();
                drafts.push((ConditionType::Healthy, Status::True, Reason::Answering, message));
            }
        }
        drafts.extend(crate::dns::condition(&ended.plan, record));
        let pending = ended.plan.notes.iter().find(|n| n.reason == Reason::CertificatePending);
        let pending = pending.map(|n| (Status::False, Reason::CertificatePending, n.message.clone()));
        if let Some((status, reason, message)) = pending.or_else(|| self.certificate(key, old)) {
            drafts.push((ConditionType::CertificateReady, status, reason, message));
        }
        let drifted: Vec<_> = record
            .apps
            .iter()
            .flat_map(|(app, r)| r.drift.iter().map(move |(path, d)| (format!("app {app} {path}"), d)))
            .collect();
        if let Some((_, first)) = drifted.first() {
            let all: Vec<_> = drifted.iter().map(|(what, d)| format!("{what}: {}", d.message)).collect();
            drafts.push((ConditionType::Drifted, Status::True, first.reason, all.join("; ")));
        }
        if let Some(tombstone) = record.tombstones.first() {
            drafts.push((
                ConditionType::Stalled,
                Status::True,
                Reason::Orphaned,
                format!(
                    "service {} was deleted and still runs; end it with: {}",
                    tombstone.service, tombstone.command
                ),
            ));
        }
        drafts
    }

    fn ready(
        &self,
        ended: &Ended,
        record: &Record,
        old: Option<&StackStatus>,
        wanted: bool,
    ) -> (Draft, Vec<Draft>) {
        let unready = |status, reason, message: String| (ConditionType::Ready, status, reason, message);
        let reconciling =
            |reason, message: String| (ConditionType::Reconciling, Status::True, reason, message);
        let stalled = |reason, message: String| (ConditionType::Stalled, Status::True, reason, message);
        if let Some(error) = &ended.error {
            let (reason, message) = classify(error);
            let was = old.is_some_and(|o| {
                let ready = o.condition(ConditionType::Ready).map(|c| c.status);
                matches!(ready, Some(Status::True | Status::Unknown)) && o.generation == record.generation
            });
            // What was Ready and cannot be asked is not known to be otherwise.
            let status = if was { Status::Unknown } else { Status::False };
            let parked = record.failing.as_ref().is_some_and(|f| f.count >= PARKED_AFTER);
            let extra = if parked || matches!(reason, Reason::Refused | Reason::Unsupported) {
                stalled(reason, message.clone())
            } else {
                reconciling(Reason::Retrying, message.clone())
            };
            return (unready(status, reason, message), vec![extra]);
        }
        if let Some(blocked) = ended
            .plan
            .blocked
            .iter()
            .find(|b| needs_a_person(b.reason))
            .or_else(|| ended.plan.blocked.first())
        {
            let message = format!("{}: {}", blocked.what, blocked.message);
            let extra = if needs_a_person(blocked.reason) {
                stalled(blocked.reason, message.clone())
            } else {
                reconciling(blocked.reason, message.clone())
            };
            return (unready(Status::False, blocked.reason, message), vec![extra]);
        }
        if !wanted {
            let message = "its manifest is gone; its objects are being removed".to_owned();
            return (
                unready(Status::False, Reason::Removing, message.clone()),
                vec![reconciling(Reason::Removing, message)],
            );
        }
        if let Some((_, why)) = &ended.plan.wait {
            let phase = ended.plan.phase.map(|p| format!("[{}/7] {} ", p.number(), p.as_str()));
            let message = format!("{}{why}", phase.unwrap_or_default());
            // A field that someone else keeps writing is a condition of its own.
            if why != berth_plan::CONTESTED {
                return (
                    unready(Status::False, Reason::Progressing, message.clone()),
                    vec![reconciling(Reason::Progressing, message)],
                );
            }
        }
        (unready(Status::True, Reason::Settled, "all is as the manifest says".to_owned()), Vec::new())
    }

    fn status(
        &self,
        key: &Key,
        ended: &Ended,
        record: &Record,
        old: Option<&StackStatus>,
        drafts: Vec<Draft>,
        now: Time,
    ) -> StackStatus {
        let conditions = drafts
            .into_iter()
            .map(|(kind, status, reason, message)| {
                let since = old
                    .and_then(|o| o.condition(kind))
                    .filter(|c| c.status == status)
                    .map_or(now, |c| c.since);
                Condition { kind, status, reason, message, since }
            })
            .collect();
        let judged = ended.error.is_none();
        let (tenant, origin) = {
            let state = self.state();
            let stack = match key {
                Key::Stack(name) => state.wanted.stacks.get(name).cloned(),
                Key::Project(_) => None,
            };
            (stack.as_ref().and_then(|s| s.tenant.clone()), record.origin.clone())
        };
        let (apps, url) = match &ended.desired {
            Some(desired) => (apps(desired, record, ended), url(desired)),
            None => old.map(|o| (o.apps.clone(), o.url.clone())).unwrap_or_default(),
        };
        StackStatus {
            key: key.clone(),
            generation: record.generation,
            observed_generation: if judged {
                record.generation
            } else {
                old.map_or(0, |o| o.observed_generation)
            },
            conditions,
            apps,
            hosts: crate::dns::hosts(record),
            url,
            phase: ended.plan.phase.filter(|_| ended.plan.wait.is_some()),
            tenant,
            origin,
            changed: now,
        }
    }

    /// Events for conditions that turned.
    fn transitions(&self, key: &Key, old: Option<&StackStatus>, new: &StackStatus) -> Vec<Change> {
        let mut changes = Vec::new();
        for condition in &new.conditions {
            let before = old.and_then(|o| o.condition(condition.kind));
            let turned = before.is_none_or(|b| b.status != condition.status || b.reason != condition.reason);
            let worth = match condition.kind {
                ConditionType::Ready => condition.status == Status::True,
                ConditionType::Stalled | ConditionType::Drifted => true,
                ConditionType::Healthy | ConditionType::Accepted => {
                    condition.status == Status::False || before.is_some_and(|b| b.status == Status::False)
                }
                ConditionType::CertificateReady => true,
                ConditionType::DNSReady => {
                    condition.status == Status::False || before.is_some_and(|b| b.status == Status::False)
                }
                ConditionType::Reconciling => condition.reason == Reason::Retrying,
                ConditionType::Deployed => false,
            };
            if turned && worth {
                let warning = !(matches!(
                    condition.kind,
                    ConditionType::Ready | ConditionType::Healthy | ConditionType::DNSReady
                ) && condition.status == Status::True);
                let lead = match condition.kind {
                    ConditionType::Ready => "Ready: ",
                    ConditionType::Stalled if condition.reason != Reason::RolledBack => "Stalled: ",
                    ConditionType::Healthy => "Healthy: ",
                    ConditionType::DNSReady => "DNS: ",
                    _ => "",
                };
                changes.push(self.event(
                    key,
                    warning,
                    condition.reason,
                    format!("{lead}{}", condition.message),
                ));
            }
        }
        changes
    }

    fn run_row(
        &self,
        turn: &Turn,
        ended: &Ended,
        record: &Record,
        next: Option<(Time, String)>,
        took: Duration,
        now: Time,
    ) -> Run {
        let mut state = self.state();
        state.last_run += 1;
        let id = state.last_run;
        let phases = state.live.get(&turn.key).map(|t| t.phases.clone()).unwrap_or_default();
        drop(state);
        let outcome = match (&ended.error, ended.plan.is_settled()) {
            (Some(error), _) => format!("failed: {error}"),
            (None, true) => "settled".to_owned(),
            (None, false) if !ended.plan.blocked.is_empty() => "blocked".to_owned(),
            (None, false) => "progressing".to_owned(),
        };
        Run {
            id,
            key: turn.key.clone(),
            at: now,
            because: turn.because.iter().map(|w| (*w).to_owned()).collect(),
            generation: record.generation,
            did: ended.did.clone(),
            blocked: ended
                .plan
                .blocked
                .iter()
                .map(|b| format!("{}: {}: {}", b.what, b.reason.as_str(), b.message))
                .collect(),
            outcome,
            phases: durations(&phases, now),
            next,
            took,
        }
    }
}

/// How long each phase took; the last one until now.
fn durations(phases: &[(Phase, Time)], now: Time) -> Vec<(Phase, u64)> {
    phases
        .iter()
        .enumerate()
        .map(|(i, (phase, began))| {
            let ended = phases.get(i + 1).map_or(now, |(_, at)| *at);
            (*phase, u64::try_from(ended.since(*began).as_millis()).unwrap_or(u64::MAX))
        })
        .collect()
}

/// Reasons that time alone does not clear.
fn needs_a_person(reason: Reason) -> bool {
    !matches!(
        reason,
        Reason::WaitsFor
            | Reason::Unknown
            | Reason::RegistryUnavailable
            | Reason::BackendUnavailable
            | Reason::Removing
            | Reason::Progressing
            | Reason::DnsUnavailable
    )
}

fn deployed(desired: &Desired, record: &Record) -> Draft {
    let behind: Vec<_> = desired
        .apps
        .iter()
        .filter(|a| record.apps.get(&a.name).is_none_or(|r| r.live != Some(a.hash)))
        .map(|a| a.name.to_string())
        .chain(desired.left.iter().map(ToString::to_string))
        .collect();
    if behind.is_empty() {
        let message = "the wanted spec is what runs".to_owned();
        (ConditionType::Deployed, Status::True, Reason::Settled, message)
    } else {
        let message = format!("not yet what runs: {}", behind.join(", "));
        (ConditionType::Deployed, Status::False, Reason::Progressing, message)
    }
}

fn apps(desired: &Desired, record: &Record, ended: &Ended) -> Vec<AppStatus> {
    desired
        .apps
        .iter()
        .map(|a| {
            let known = record.apps.get(&a.name);
            let prefix = format!("app {} ", a.name);
            AppStatus {
                name: a.name.clone(),
                id: known.and_then(|r| r.id.clone()),
                service: known.and_then(|r| r.service.clone()),
                image: text(&a.fields, Field::Image).unwrap_or_default().to_owned(),
                hash: Some(a.hash),
                live: known.and_then(|r| r.live),
                unmanaged: ended
                    .plan
                    .notes
                    .iter()
                    .filter(|n| n.reason == Reason::NotOwned)
                    .filter_map(|n| n.what.strip_prefix(&prefix))
                    .map(str::to_owned)
                    .collect(),
            }
        })
        .collect()
}

fn url(desired: &Desired) -> Option<String> {
    let (at, host) = desired.apps.iter().find_map(berth_model::desired::DesiredApp::first_host)?;
    let scheme = if host.https == Https::None { "http" } else { "https" };
    let path = if at.path == "/" { "" } else { &at.path };
    Some(format!("{scheme}://{}{path}", at.host))
}
