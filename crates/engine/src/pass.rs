//! A pass: one look at an account, and a cheap judgement of every stack that lives there. What differs is woken.

use crate::Engine;
use crate::queue::Lane;
use crate::removal::Removal;
use crate::run::is_marked;
use crate::state::State;
use berth_model::condition::Reason;
use berth_model::ids::{AppName, BackendName, Key, StackName};
use berth_model::mark::MarkSeen;
use berth_model::observed::FleetView;
use berth_model::stack::Stack;
use berth_plan::{Guard, Verdict, environment, guard, idle_environments, judge};
use berth_ports::{Change, Dns, Platform, PortError, Trust, Wanted, World};
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

/// Stacks that are judged at a stretch: what was changed meanwhile does not wait for all of them.
const SHARE: usize = 1_000;

impl<W: World> Engine<W> {
    /// One pass over an account.
    pub(crate) async fn pass(&self, backend: &BackendName) {
        let started = tokio::time::Instant::now();
        let due = {
            let mut state = self.state();
            let account = state.accounts.get_mut(backend);
            account.and_then(|a| a.next_pass.replace(started + self.options.intervals.resync))
        };
        if let Some(due) = due {
            let late = started.saturating_duration_since(due).as_secs_f64();
            self.metrics.lateness.with_label_values(&[backend.as_str()]).set(late);
        }
        match self.sweep(backend, Duration::ZERO).await {
            Ok(view) => {
                // Each part of a pass over a large fleet takes its time, and none holds up a run that has begun.
                tokio::task::yield_now().await;
                self.judge_all(backend, &view).await;
            }
            Err(error) => tracing::warn!(%backend, %error, "the account could not be looked at"),
        }
        tokio::task::yield_now().await;
        self.review_certificates(backend);
        self.judge_records(backend).await;
        tokio::task::yield_now().await;
        self.gauges();
        self.metrics
            .pass_seconds
            .with_label_values(&[backend.as_str()])
            .observe(started.elapsed().as_secs_f64());
    }

    async fn judge_all(&self, backend: &BackendName, view: &FleetView) {
        if let Err(error) = self.bury(backend, view).await {
            tracing::warn!(%error, "orphans that are gone could not be struck off");
        }
        let mut woken = Vec::new();
        let mut share = Bound::Unbounded;
        loop {
            let last = self.state().judge_share(backend, view, share, &mut woken);
            let Some(last) = last else { break };
            share = Bound::Excluded(last);
            tokio::task::yield_now().await;
        }
        let event = {
            let mut state = self.state();
            let event = state.untold_hold(backend);
            if let Some(account) = state.accounts.get_mut(backend) {
                account.passed = true;
            }
            // A settled stack whose writes the view now shows gets its expectation from a run.
            // One whose first run still waits gets it there; so does what is wanted, once the manifests were read.
            let unexpected: Vec<_> = state
                .statuses
                .iter()
                .filter(|(k, s)| {
                    s.is_ready()
                        && matches!(k, Key::Stack(_))
                        && state.is_wanted(k)
                        && !state.expected.contains_key(*k)
                        && !state.unjudged.contains(*k)
                })
                .map(|(k, _)| k.clone())
                .collect();
            woken.retain(|(key, _)| state.records.contains_key(key));
            for (key, _) in &woken {
                state.transient(key).verify = true;
            }
            for key in unexpected {
                if state.backend_of(&key).as_ref() == Some(backend) {
                    woken.push((key, "a pass"));
                }
            }
            for name in unknown_stacks(&state, view) {
                let key = Key::Stack(name);
                let record = state.records.entry(key.clone()).or_default();
                record.backend.get_or_insert_with(|| backend.clone());
                woken.push((key, "its mark was found"));
            }
            for key in late_places(&mut state, backend, view) {
                woken.push((key, "a place of its own was found that it does not use"));
            }
            for key in state.audit(backend, self.options.intervals.audit, self.options.intervals.resync) {
                state.transient(&key).verify = true;
                woken.push((key, "the audit"));
            }
            event
        };
        if let Some((key, message)) = event {
            let change = self.event(&key, true, Reason::Held, message);
            if let Err(error) = self.commit(vec![change]).await {
                tracing::warn!(%error, "an event could not be written down");
                if let Some(account) = self.state().accounts.get_mut(backend) {
                    account.told = None;
                }
            }
        }
        for (key, why) in woken {
            self.wake(&key, Lane::Drift, why);
        }
    }

    /// Strikes off orphans that a look does not show any more.
    async fn bury(&self, backend: &BackendName, view: &FleetView) -> Result<(), PortError> {
        let Some(services) = view.services.present() else {
            return Ok(());
        };
        let mut changes = Vec::new();
        let mut keys = Vec::new();
        {
            let state = self.state();
            for (key, record) in state.records.iter().filter(|(_, r)| !r.tombstones.is_empty()) {
                if record.backend.as_ref() != Some(backend) {
                    continue;
                }
                let mut record = record.clone();
                let before = record.tombstones.len();
                record.tombstones.retain(|t| services.contains_key(&t.service) || t.since >= view.at);
                if record.tombstones.len() < before {
                    changes.push(Change::Record(key.clone(), record));
                    keys.push(key.clone());
                }
            }
        }
        self.commit(changes).await?;
        for key in keys {
            self.wake(&key, Lane::Drift, "an orphan is gone");
        }
        Ok(())
    }

    /// Takes stacks that changed, while all else of what is wanted stays: what one edit costs does not grow with the
    /// fleet.
    pub fn edit_wanted(&self, stacks: &[Arc<Stack>]) {
        let changed: Vec<Key> = {
            let mut state = self.state();
            let olds: Option<Vec<_>> = stacks.iter().map(|s| state.wanted.stacks.get(&s.name)).collect();
            let Some(olds) = olds else {
                // What comes is counted by the guards, and may be what others wait for.
                let mut wanted = Wanted::clone(&state.wanted);
                drop(state);
                wanted.edit(stacks);
                return self.set_wanted(Arc::new(wanted));
            };
            let differ: Vec<_> = olds.into_iter().zip(stacks).filter(|(old, new)| old != new).collect();
            let follow = differ.iter().any(|(old, new)| follows(old) || follows(new));
            let changed: Vec<_> = differ.iter().map(|(_, new)| Key::Stack(new.name.clone())).collect();
            Arc::make_mut(&mut state.wanted).edit(stacks);
            if follow {
                state.set_followed();
            }
            state.note_changed(&changed);
            changed
        };
        for key in changed {
            self.wake(&key, Lane::Change, CHANGED);
        }
    }

    /// Takes a new desired fleet: wakes what changed and what is gone.
    pub fn set_wanted(&self, wanted: Arc<Wanted>) {
        let (changed, first, open) = {
            let mut state = self.state();
            let old = std::mem::replace(&mut state.wanted, wanted.clone());
            let first = old.trust == Trust::Unknown && old.stacks.is_empty() && old.projects.is_empty();
            let stacks = differences(&old.stacks, &wanted.stacks, |a, b| Arc::ptr_eq(a, b) || a == b);
            let projects = differences(&old.projects, &wanted.projects, |a, b| Arc::ptr_eq(a, b) || a == b);
            // Who edits one of many changes nothing about what is there and what is to go.
            let is_edit = !first
                && !stacks.moved
                && !projects.moved
                && old.trust == wanted.trust
                && old.removed == wanted.removed
                && old.invalid == wanted.invalid;
            let is_followed =
                |name| [&old, &wanted].iter().any(|w| w.stacks.get(name).is_some_and(|s| follows(s)));
            if !is_edit || stacks.keys.iter().any(is_followed) {
                state.set_followed();
            }
            let mut changed: BTreeSet<Key> = stacks.keys.into_iter().map(Key::Stack).collect();
            changed.extend(projects.keys.into_iter().map(Key::Project));
            if !is_edit {
                let known = state.records.keys().filter(|k| !state.is_wanted(k));
                let invalid = old.invalid.keys().chain(wanted.invalid.keys());
                let invalid = invalid.filter(|k| old.invalid.get(k) != wanted.invalid.get(k));
                changed.extend(known.chain(invalid).cloned());
            }
            if first {
                state.unjudged.extend(changed.iter().cloned());
            } else {
                state.note_changed(&changed);
            }
            if !is_edit {
                for backend in state.accounts.keys().cloned().collect::<Vec<_>>() {
                    state.guard(&backend);
                }
            }
            // Whoever led before may have sent them: what became of them is found out first.
            let open: BTreeSet<Key> = state.intents.values().map(|i| i.key.clone()).collect();
            (changed, first, open)
        };
        self.metrics.manifest_errors.set(i64::try_from(wanted.invalid.len()).unwrap_or(i64::MAX));
        for key in changed {
            let (lane, why) = if first && open.contains(&key) {
                (Lane::Dependency, "a create of it is open")
            } else if first {
                (Lane::Startup, "the daemon started")
            } else {
                (Lane::Change, CHANGED)
            };
            self.wake(&key, lane, why);
        }
    }

    /// Gauges that a look at the state tells.
    pub(crate) fn gauges(&self) {
        use berth_model::condition::{ConditionType, Status};
        let state = self.state();
        let mut counts = [0i64; 4];
        let mut unhealthy = 0;
        for status in state.statuses.values().filter(|s| matches!(s.key, Key::Stack(_))) {
            let at = if status.is_ready() {
                0
            } else if status.condition(ConditionType::Stalled).is_some() {
                2
            } else if status.condition(ConditionType::Ready).is_some_and(|c| c.status == Status::Unknown) {
                3
            } else {
                1
            };
            counts[at] += 1;
            if status.condition(ConditionType::Healthy).is_some_and(|c| c.status == Status::False) {
                unhealthy += 1;
            }
        }
        for (label, count) in ["ready", "reconciling", "stalled", "unknown"].into_iter().zip(counts) {
            self.metrics.stacks.with_label_values(&[label]).set(count);
        }
        let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        crate::dns::gauges(&state, &self.metrics);
        self.metrics.unhealthy.set(unhealthy);
        self.metrics.unknown.set(number(state.intents.len()));
        let parked = state
            .records
            .values()
            .filter(|r| r.failing.as_ref().is_some_and(|f| f.count >= crate::backoff::PARKED_AFTER));
        self.metrics.parked.set(number(parked.count()));
        self.metrics.orphans.set(number(state.records.values().map(|r| r.tombstones.len()).sum()));
        for (backend, queue) in &state.queues {
            for lane in Lane::ALL {
                let depth = number(queue.depth(lane));
                self.metrics.depth.with_label_values(&[backend.as_str(), lane.as_str()]).set(depth);
            }
            self.metrics.workers.with_label_values(&[backend.as_str()]).set(number(queue.running()));
        }
        for (backend, account) in &state.accounts {
            let held = account.hold.as_ref().map_or(0, |h| h.removing.union(&h.recreating).count());
            self.metrics.held.with_label_values(&[backend.as_str()]).set(number(held));
            let usable = account.view.as_ref().and_then(|v| v.network.present()).map(|n| n.usable);
            self.metrics.room(backend.as_str(), usable.zip(account.room(None)));
        }
        drop(state);
        for (backend, platform) in &self.parts.platforms {
            self.metrics.account(backend.as_str(), &platform.state());
        }
        for (credential, now) in self.parts.dns.iter().flat_map(|dns| dns.states()) {
            self.metrics.account(&format!("dns/{credential}"), &now);
        }
    }
}

/// Why a key is woken whose manifest changed.
const CHANGED: &str = "the manifest changed";

/// Whether an app of it goes with a tag.
fn follows(stack: &Stack) -> bool {
    stack.apps.values().any(|app| app.follow.is_some())
}

/// How two sets of what is wanted differ.
struct Differences<K> {
    /// What changed, came or went.
    keys: Vec<K>,
    /// Something came or went.
    moved: bool,
}

/// Both are walked once, side by side: most of what is wanted is what was wanted.
fn differences<K: Ord + Clone, V>(
    old: &BTreeMap<K, V>,
    new: &BTreeMap<K, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Differences<K> {
    let mut found = Differences { keys: Vec::new(), moved: false };
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (Some((a, _)), Some((b, _))) => a.cmp(b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => return found,
        };
        let before = if order.is_le() { old.next() } else { None };
        let after = if order.is_ge() { new.next() } else { None };
        match (before, after) {
            (Some((_, a)), Some((_, b))) if same(a, b) => {}
            (before, after) => {
                found.moved |= order.is_ne();
                found.keys.extend(before.or(after).map(|(key, _)| key.clone()));
            }
        }
    }
}

/// Stacks that only their marks know: the store was lost, and their manifests are gone.
fn unknown_stacks(state: &State, view: &FleetView) -> Vec<StackName> {
    let asked = |key: &Key| state.wanted.removed.as_ref().is_some_and(|removed| removed.contains(key));
    let complete = match state.wanted.trust {
        Trust::Unknown => return Vec::new(),
        Trust::Complete => true,
        Trust::Partial { .. } => false,
    };
    let renamed = state.former_names();
    let is_unknown = |stack: &StackName| {
        let key = Key::Stack(stack.clone());
        (complete || asked(&key))
            && !state.records.contains_key(&key)
            && !state.is_wanted(&key)
            && !renamed.contains(stack)
    };
    let apps = view.apps.iter().filter_map(|a| match &a.mark {
        MarkSeen::Ours(mark) => Some(&mark.stack),
        MarkSeen::None | MarkSeen::Foreign(_) => None,
    });
    let apps = apps.filter(|s| is_unknown(s) && is_marked(view, s.as_str()));
    let projects = view.projects.iter().filter_map(|p| p.mark.as_ref()?.stack.as_ref());
    let mut names: Vec<StackName> = apps.chain(projects.filter(|s| is_unknown(s))).cloned().collect();
    names.sort();
    names.dedup();
    names
}

/// Stacks with an empty project or environment of their own that they do not live in: a create whose answer was lost
/// took effect late. Each such place wakes its stack once.
fn late_places(state: &mut State, backend: &BackendName, view: &FleetView) -> BTreeSet<Key> {
    let mut keys = BTreeSet::new();
    let Some(mut told) = state.accounts.get_mut(backend).map(|a| std::mem::take(&mut a.places_told)) else {
        return keys;
    };
    for project in &view.projects {
        let Some(stack) = project.mark.as_ref().and_then(|m| m.stack.as_ref()) else { continue };
        let Some(wanted) = state.wanted.stacks.get(stack).or_else(|| state.heir(backend, stack)) else {
            continue;
        };
        let key = Key::Stack(wanted.name.clone());
        let Some(record) = state.records.get(&key) else {
            continue;
        };
        let kept = record.project.as_ref().and_then(|p| p.id.as_ref());
        let idle = if kept == Some(&project.id) {
            let used = environment(project, &wanted.target.environment);
            let mut idle = used.into_iter().flat_map(|used| idle_environments(project, &used.id));
            idle.next().map(|e| e.id.as_str())
        } else {
            let empty = project.environments.iter().all(|e| e.services == 0);
            empty.then_some(project.id.as_str())
        };
        if let Some(place) = idle
            && told.insert(place.to_owned())
        {
            keys.insert(key);
        }
    }
    if let Some(account) = state.accounts.get_mut(backend) {
        account.places_told = told;
    }
    keys
}

impl State {
    /// These keys changed, and no run has judged them since.
    fn note_changed<'k>(&mut self, keys: impl IntoIterator<Item = &'k Key>) {
        let now = tokio::time::Instant::now();
        for key in keys {
            self.unjudged.insert(key.clone());
            self.changed.insert(key.clone(), now);
        }
    }

    /// Judges a share of the stacks, from here on, by their keys. Answers the last one unless it was the last of all.
    fn judge_share(
        &self,
        backend: &BackendName,
        view: &FleetView,
        from: Bound<Key>,
        woken: &mut Vec<(Key, &'static str)>,
    ) -> Option<Key> {
        let mut last = None;
        let mut count = 0;
        for (key, record) in self.records.range((from, Bound::Unbounded)).take(SHARE) {
            (last, count) = (Some(key), count + 1);
            let Some(expected) = self.expected.get(key) else { continue };
            if self.backend_of(key).as_ref() != Some(backend) {
                continue;
            }
            match judge(expected, record, view) {
                Verdict::Quiet => {}
                Verdict::Missing(_) => woken.push((key.clone(), "an application is missing")),
                Verdict::Drift(_, why) => woken.push((key.clone(), why)),
                Verdict::Degraded(_) => woken.push((key.clone(), "not all replicas run")),
            }
        }
        last.filter(|_| count == SHARE).cloned()
    }

    /// A hold that nobody was told of yet.
    fn untold_hold(&mut self, backend: &BackendName) -> Option<(Key, String)> {
        let account = self.accounts.get_mut(backend)?;
        let token = account.hold.as_ref().map(|h| h.token.clone());
        let told = std::mem::replace(&mut account.told, token.clone());
        let hold = account.hold.as_ref().filter(|_| told != token)?;
        let first = hold.removing.iter().chain(&hold.recreating).next().cloned()?;
        let message = format!(
            "{} of {} stacks would be removed and {} made again; nothing is done until: berth confirm {}",
            hold.removing.len(),
            hold.of,
            hold.recreating.len(),
            hold.token
        );
        Some((Key::Stack(first), message))
    }

    /// Notes which apps a look shows that the store does not know.
    pub(crate) fn sight(&mut self, backend: &BackendName, view: &FleetView) {
        let marks = view.apps.iter().filter_map(|a| match &a.mark {
            MarkSeen::Ours(mark) => Some(mark),
            MarkSeen::None | MarkSeen::Foreign(_) => None,
        });
        let known = |stack: &StackName, app: &AppName| {
            self.records.get(&Key::Stack(stack.clone())).is_some_and(|r| r.apps.contains_key(app))
        };
        let unknown: Vec<_> =
            marks.filter(|m| !known(&m.stack, &m.app)).map(|m| (m.stack.clone(), m.app.clone())).collect();
        if let Some(account) = self.accounts.get_mut(backend) {
            account.looks += 1;
            account.sighted.extend(unknown);
        }
    }

    /// Judges how much this account would lose or make again at once.
    pub(crate) fn guard(&mut self, backend: &BackendName) {
        let mut removing = BTreeSet::new();
        let mut recreating = BTreeSet::new();
        let mut all = self.wanted.stacks.values().filter(|s| s.target.backend == *backend).count();
        let view = self.accounts.get(backend).and_then(|a| a.view.clone());
        let taken_over = self.former_names();
        for (key, record) in &self.records {
            let Key::Stack(name) = key else { continue };
            if record.backend.as_ref() != Some(backend) {
                continue;
            }
            let wanted = self.wanted.stacks.get(name);
            all += usize::from(wanted.is_none_or(|s| s.target.backend != *backend));
            if wanted.is_none() && !taken_over.contains(name) {
                if self.removal(key, record.origin.as_ref()) == Removal::Meant {
                    removing.insert(name.clone());
                }
            } else if let Some(view) = &view {
                let overlay = self.live.get(key).map(|t| &t.overlay);
                let lost = record
                    .apps
                    .values()
                    .filter_map(|a| a.id.as_ref())
                    .any(|id| view.app(id).is_none() && overlay.is_none_or(|o| !o.contains_key(id)));
                if lost {
                    recreating.insert(name.clone());
                }
            }
        }
        if let Some(view) = &view {
            for name in unknown_stacks(self, view) {
                all += 1;
                if self.removal(&Key::Stack(name.clone()), None) == Removal::Meant {
                    removing.insert(name);
                }
            }
        }
        self.confirmed.retain(|name| {
            StackName::new(name).is_ok_and(|n| removing.contains(&n) || recreating.contains(&n))
        });
        removing.retain(|n| !self.confirmed.contains(n.as_str()));
        recreating.retain(|n| !self.confirmed.contains(n.as_str()));
        if let Some(account) = self.accounts.get_mut(backend) {
            account.hold = match guard(all, removing, recreating) {
                Guard::Held(hold) => Some(hold),
                Guard::Free => None,
            };
        }
    }

    /// The stacks that this pass reads in full, so that each is read once an interval.
    fn audit(&mut self, backend: &BackendName, interval: Duration, pass: Duration) -> Vec<Key> {
        let keys: Vec<Key> = self
            .expected
            .keys()
            .filter(|k| self.backend_of(k).as_ref() == Some(backend))
            .cloned()
            .collect::<BTreeSet<_>>()
            .into_iter()
            .chain(
                self.wanted
                    .projects
                    .iter()
                    .filter(|(_, p)| p.backend == *backend)
                    .map(|(n, _)| Key::Project(n.clone())),
            )
            .collect();
        let Some(account) = self.accounts.get_mut(backend) else {
            return Vec::new();
        };
        if keys.is_empty() || interval.is_zero() {
            return Vec::new();
        }
        let share = keys.len() as f64 * pass.as_secs_f64() / interval.as_secs_f64();
        // What is less than one key adds up, so that few stacks are not read more often than the interval says.
        account.audit_due = (account.audit_due + share).min(keys.len() as f64);
        let count = account.audit_due as usize;
        account.audit_due -= count as f64;
        if count == 0 {
            return Vec::new();
        }
        let start = account.audited.as_ref().and_then(|last| keys.iter().position(|k| k > last)).unwrap_or(0);
        let chosen: Vec<Key> = keys.iter().cycle().skip(start).take(count).cloned().collect();
        account.audited = if start + count >= keys.len() { None } else { chosen.last().cloned() };
        chosen
    }
}
