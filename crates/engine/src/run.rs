//! One run of one key: look, plan, write down what was learned, act, and plan again until nothing is left to do now.
//!
//! A run takes no input but the key: it reads again whatever it needs.

use crate::execute::{Doing, Next};
use crate::queue::{Lane, Turn};
use crate::think::Thought;
use crate::view::Proposal;
use crate::{Engine, backoff};
use berth_model::condition::Reason;
use berth_model::desired::Desired;
use berth_model::hash::{Hash, Hashed};
use berth_model::ids::{BackendName, Key};
use berth_model::mark::MarkSeen;
use berth_model::observed::{FleetView, Observed, Seen};
use berth_model::record::{Failing, Record};
use berth_model::step::{Learned, Plan, Step};
use berth_ports::{Change, Pace, PortError, Vault, World};
use std::sync::Arc;
use std::time::Duration;

/// Plans in one run; a plan that still asks for more by then is a defect, and waits for its next turn.
const TURNS: usize = 48;

/// How a run ended.
pub(crate) struct Ended {
    pub(crate) plan: Plan,
    pub(crate) desired: Option<Desired>,
    pub(crate) error: Option<PortError>,
    pub(crate) did: Vec<String>,
    /// Nothing of the key is left anywhere.
    pub(crate) gone: bool,
}

/// A port's error as a reason, in words.
pub(crate) fn classify(error: &PortError) -> (Reason, String) {
    let reason = match error {
        PortError::Unknown { .. } => Reason::Unknown,
        PortError::Auth { .. } => Reason::Unauthorized,
        PortError::Refused { .. } => Reason::Refused,
        PortError::Conflict(_) => Reason::Conflict,
        PortError::Unsupported { .. } => Reason::Unsupported,
        PortError::Retry { .. } => Reason::BackendUnavailable,
        PortError::NotFound(_) => Reason::Retrying,
    };
    (reason, error.to_string())
}

impl<W: World> Engine<W> {
    /// Runs one key and decides when it runs next.
    pub(crate) async fn run_key(&self, backend: &BackendName, turn: Turn) {
        let started = tokio::time::Instant::now();
        self.metrics
            .queue_seconds
            .with_label_values(&[turn.lane.as_str()])
            .observe(started.duration_since(turn.since).as_secs_f64());
        let ended = self.turns(backend, &turn).await;
        let mut next = self.after(&turn, &ended);
        let result = match (&ended.error, &next) {
            (Some(_), _) => "error",
            (None, Some(_)) => "requeue",
            (None, None) => "success",
        };
        let kind = if matches!(turn.key, Key::Stack(_)) { "stack" } else { "project" };
        self.metrics.runs.with_label_values(&[kind, result]).inc();
        self.metrics.run_seconds.with_label_values(&[kind]).observe(started.elapsed().as_secs_f64());
        let published = self.publish(&turn, &ended, next.as_ref(), started.elapsed()).await;
        if let Err(error) = &published {
            tracing::warn!(key = %turn.key, %error, "the outcome of a run could not be written down");
            // What is published is old until it can be.
            let soon = (backoff::delay(1, self.roll()), Lane::Retry, "its outcome was not written down");
            next = Some(next.filter(|(delay, ..)| *delay <= soon.0).unwrap_or(soon));
        }
        if ended.gone || (matches!(turn.key, Key::Project(_)) && !ended.did.is_empty()) {
            self.wake_waiting(backend, &turn.key);
        }
        let mut state = self.state();
        if ended.error.is_none() && published.is_ok() {
            state.unjudged.remove(&turn.key);
        }
        state.rests(&turn.key);
        let tenant = state.tenant_of(&turn.key);
        if let Some(queue) = state.queues.get_mut(backend) {
            queue.done(&turn.key);
            if let Some((delay, lane, why)) = next {
                queue.later(&turn.key, tokio::time::Instant::now() + delay, lane, why, &tenant);
            }
        }
        drop(state);
        self.stirred.notify_one();
    }

    /// What one key did may be what others wait for: a project that came to exist, a variable that changed, a name that
    /// is free again.
    fn wake_waiting(&self, backend: &BackendName, done: &Key) {
        let now = self.now();
        let waiting: Vec<Key> = {
            let mut state = self.state();
            let keys: Vec<Key> = state
                .wanted
                .stacks
                .values()
                .filter(|s| s.target.backend == *backend)
                .filter(|s| match done {
                    Key::Project(name) => s.target.project.project() == name,
                    Key::Stack(_) => true,
                })
                .map(|s| Key::Stack(s.name.clone()))
                .filter(|k| {
                    matches!(done, Key::Project(_)) || !state.statuses.get(k).is_some_and(|s| s.is_ready())
                })
                .collect();
            for key in &keys {
                state.transient(key).fresh_after = now;
            }
            keys
        };
        for key in waiting {
            self.wake(&key, Lane::Dependency, "what it waits for moved");
        }
    }

    /// When, and why, the key runs again.
    fn after(&self, turn: &Turn, ended: &Ended) -> Option<(Duration, Lane, &'static str)> {
        let failures = {
            let state = self.state();
            state.records.get(&turn.key).and_then(|r| r.failing.as_ref()).map_or(0, |f| f.count)
        };
        if let Some(error) = &ended.error {
            let delay = match error {
                PortError::Retry { after: Some(after), .. } => *after,
                _ => backoff::delay(failures + 1, self.roll()),
            };
            return Some((delay, Lane::Retry, "a failure"));
        }
        if let Some((wait, _)) = &ended.plan.wait {
            return Some((*wait, Lane::Dependency, "a wait"));
        }
        if !ended.plan.blocked.is_empty() || ended.plan.steps.iter().any(|s| !s.is_read()) {
            // Blocked without a time of its own: what it waits for wakes it, and this if that was lost.
            let spread = Duration::from_millis(self.roll() % 30_000);
            return Some((Duration::from_secs(45) + spread, Lane::Drift, "still blocked"));
        }
        None
    }

    async fn turns(&self, backend: &BackendName, turn: &Turn) -> Ended {
        let mut did = Vec::new();
        let mut observed = Observed::default();
        let mut desired = None;
        let mut place = None;
        for _ in 0..TURNS {
            let end = |plan, desired, error, did, gone| Ended { plan, desired, error, did, gone };
            if let Some(why) = self.halted() {
                return end(Plan::default(), desired, Some(why), did, false);
            }
            let fleet = match self.view(backend, &turn.key).await {
                Ok(view) => view,
                Err(error) => return end(Plan::default(), desired, Some(error), did, false),
            };
            self.set_fleet(&turn.key, &mut observed, fleet);
            let mut record = match self.adopt_record(backend, &turn.key, &observed).await {
                Ok(Some(record)) => record,
                Ok(None) => return end(Plan::default(), None, None, did, true),
                Err(error) => return end(Plan::default(), None, Some(error), did, false),
            };
            let thought = self.think(&turn.key, &Proposal::AsWanted, &mut record, &mut observed, false).await;
            let Thought { plan, desired: compiled } = match thought {
                Ok(thought) => thought,
                Err(error) => return end(Plan::default(), desired, Some(error), did, false),
            };
            desired = compiled;
            // Records come first, and many of one zone at once: they wait for no place.
            let is_next = !plan.steps.iter().any(|s| matches!(s, Step::ChangeRecords { .. }));
            if place.is_none()
                && is_next
                && plan.steps.iter().any(|s| matches!(s, Step::CreateApp { .. }))
                && let Some(making) = self.making.get(backend)
            {
                if let Ok(free) = making.try_acquire() {
                    place = Some(free);
                } else {
                    // What was planned may be old by the time there is a place.
                    place = making.acquire().await.ok();
                    continue;
                }
            }
            match self
                .take_turn(backend, turn, &mut record, &mut observed, &plan, desired.as_ref(), &mut did)
                .await
            {
                Ok(Went::Again) => {}
                Ok(Went::Rest) => {
                    let wanted = self.state().is_wanted(&turn.key);
                    let gone = !wanted && self.is_gone(&turn.key, &record, &plan);
                    return end(plan, desired, None, did, gone);
                }
                Err(error) => return end(plan, desired, Some(error), did, false),
            }
        }
        Ended {
            plan: Plan::default(),
            desired,
            error: Some(PortError::Retry { after: None, why: "the run made too many plans".to_owned() }),
            did,
            gone: false,
        }
    }

    fn set_fleet(&self, key: &Key, observed: &mut Observed, fleet: Arc<FleetView>) {
        let mut state = self.state();
        let transient = state.transient(key);
        transient.overlay.retain(|_, (at, _)| *at >= fleet.at);
        observed.overlay =
            transient.overlay.iter().map(|(id, (_, seen))| (id.clone(), seen.clone())).collect();
        observed.fleet = Some(fleet);
    }

    /// The record of the key, made where there is none; `None`: there is nothing to do about this key.
    async fn adopt_record(
        &self,
        backend: &BackendName,
        key: &Key,
        observed: &Observed,
    ) -> Result<Option<Record>, PortError> {
        let (known, wanted, formerly) = {
            let state = self.state();
            let formerly = match key {
                Key::Stack(name) => state.wanted.stacks.get(name).and_then(|s| s.formerly.clone()),
                Key::Project(_) => None,
            };
            (state.records.get(key).map(|r| (**r).clone()), state.is_wanted(key), formerly)
        };
        if let Some(heir) = self.heir(backend, key) {
            // What carries this name's marks is the heir's: nothing of it is ever removed under the old name.
            self.inherit(key, &heir).await?;
            self.wake(&heir, Lane::Change, "it takes over another name");
            return Ok(None);
        }
        if let Some(record) = known {
            return self.generation(key, record).await.map(Some);
        }
        if let Some(old) = formerly.map(Key::Stack)
            && !self.state().is_wanted(&old)
            && let Some(record) = self.inherit(&old, key).await?
        {
            return self.generation(key, record).await.map(Some);
        }
        let marked = match key {
            Key::Stack(name) => {
                observed.fleet.as_ref().is_some_and(|f| f.of_stack(name.as_str()).next().is_some())
            }
            Key::Project(_) => false,
        };
        if !(wanted || marked) {
            return Ok(None);
        }
        let record = Record { backend: Some(backend.clone()), ..Record::default() };
        self.generation(key, record).await.map(Some)
    }

    /// The stack that takes over this one, which is not wanted under its old name any more.
    fn heir(&self, backend: &BackendName, key: &Key) -> Option<Key> {
        let Key::Stack(name) = key else { return None };
        let state = self.state();
        if state.is_wanted(key) {
            return None;
        }
        state.heir(backend, name).map(|s| Key::Stack(s.name.clone()))
    }

    /// A rename: the record moves in one transaction, and the marks follow. An heir that has a record of its own keeps
    /// it, and finds what is there by the marks. `None`: nothing is recorded under the old name.
    async fn inherit(&self, old: &Key, heir: &Key) -> Result<Option<Record>, PortError> {
        let (old_record, own) = {
            let state = self.state();
            (state.records.get(old).map(|r| (**r).clone()), state.records.get(heir).cloned())
        };
        let Some(mut record) = old_record else {
            return Ok(None);
        };
        for (_, app) in &mut record.apps {
            app.applied = None;
        }
        let mut changes = vec![Change::Forget(old.clone())];
        match own {
            None => changes.push(Change::Record(heir.clone(), Box::new(record.clone()))),
            // Records have no list that would show them again: what was written of them is taken over.
            Some(mut own) => {
                if let Some(dns) = &record.dns {
                    let ledger = &mut own.dns.get_or_insert_default().ledger;
                    for (key, entry) in &dns.ledger.0 {
                        ledger.0.entry(key.clone()).or_insert_with(|| entry.clone());
                    }
                    changes.push(Change::Record(heir.clone(), own));
                }
            }
        }
        self.commit(changes).await?;
        Ok(Some(record))
    }

    /// Moves the generation when the spec is not what it was.
    async fn generation(&self, key: &Key, mut record: Record) -> Result<Record, PortError> {
        let (spec, origin, deletes) = {
            let state = self.state();
            match key {
                Key::Stack(name) => {
                    let Some(stack) = state.wanted.stacks.get(name).cloned() else {
                        return Ok(record);
                    };
                    drop(state);
                    (self.spec_hash(&*stack), stack.origin.clone(), false)
                }
                Key::Project(name) => {
                    let Some(project) = state.wanted.projects.get(name).cloned() else {
                        return Ok(record);
                    };
                    drop(state);
                    (self.spec_hash(&*project), project.origin.clone(), project.delete)
                }
            }
        };
        let backend = self.state().backend_of(key);
        if record.spec == Some(spec)
            && record.origin.as_ref() == Some(&origin)
            && record.deletes == deletes
            && record.backend == backend
        {
            return Ok(record);
        }
        if record.spec != Some(spec) {
            record.generation += 1;
            record.failing = None;
        }
        // Who wrote the row waits for this number.
        record.generation = origin.generation.map_or(record.generation, std::num::NonZeroU64::get);
        record.spec = Some(spec);
        record.origin = Some(origin);
        record.deletes = deletes;
        record.backend = backend;
        self.commit(vec![Change::Record(key.clone(), Box::new(record.clone()))]).await?;
        Ok(record)
    }

    /// A hash of a manifest: of everything in it but the place where it stands.
    fn spec_hash(&self, spec: &impl Hashed) -> Hash {
        let mut writer = self.parts.vault.hash_key().begin("spec");
        spec.write(&mut writer);
        writer.finish()
    }

    fn is_gone(&self, key: &Key, record: &Record, plan: &Plan) -> bool {
        let now = self.now();
        let open = self.state().intents.values().any(|i| i.key == *key && now < i.settle_by);
        !open
            && plan.blocked.is_empty()
            && plan.wait.is_none()
            && plan.writes().next().is_none()
            && record.apps.is_empty()
            && record.tombstones.is_empty()
            && record.dns.as_ref().is_none_or(|dns| dns.ledger.is_empty())
    }

    #[allow(clippy::too_many_arguments)]
    async fn take_turn(
        &self,
        backend: &BackendName,
        turn: &Turn,
        record: &mut Record,
        observed: &mut Observed,
        plan: &Plan,
        desired: Option<&Desired>,
        did: &mut Vec<String>,
    ) -> Result<Went, PortError> {
        let key = &turn.key;
        let before = record.clone();
        let mut changes = self.learned(key, record, desired, plan, false);
        if *record != before || !changes.is_empty() {
            changes.push(Change::Record(key.clone(), Box::new(record.clone())));
            self.commit(changes).await?;
            if plan.learned.iter().any(Learned::changes_the_plan) {
                return Ok(Went::Again);
            }
        }
        if plan.steps.iter().any(Step::is_read) {
            let pace = if turn.lane >= Lane::Drift { Pace::Audit } else { Pace::Run };
            self.observe(backend, plan, observed, pace).await?;
            return Ok(Went::Again);
        }
        if plan.steps.is_empty() {
            if plan.wait.is_none() {
                self.state().transient(key).verify = false;
            }
            return Ok(Went::Rest);
        }
        if !self.is_surely_absent(backend, key, record, plan, observed) {
            // A look of the same millisecond would be the same look.
            tokio::time::sleep(Duration::from_millis(1)).await;
            return Ok(Went::Again);
        }
        let before = record.clone();
        let mut changes = self.learned(key, record, desired, plan, true);
        for app in plan.deploys() {
            if let Some(entry) = record.apps.get_mut(app) {
                // A crash between the write and its deployment must not pass for the end of both.
                entry.deploy_due = true;
            }
        }
        if *record != before || !changes.is_empty() {
            changes.push(Change::Record(key.clone(), Box::new(record.clone())));
            self.commit(changes).await?;
        }
        self.promise(key, plan);
        let mut doing = Doing {
            key,
            backend,
            desired,
            record,
            observed,
            did,
            project: None,
            environment: None,
            refused: Vec::new(),
            is_stale: false,
        };
        let mut touched = false;
        for (at, step) in plan.steps.iter().enumerate() {
            if let Some(why) = self.halted() {
                return Err(why);
            }
            let last = plan.is_last_of_app(at);
            touched = true;
            if self.perform(&mut doing, step, last).await? == Next::Replan {
                break;
            }
        }
        let (refused, is_stale) = (doing.refused, doing.is_stale);
        if touched {
            forget_what_changed(observed);
        }
        observed.dns.refused.extend(refused);
        observed.dns.is_stale |= is_stale;
        Ok(Went::Again)
    }

    /// What the store does not know is made only after two looks agree that it is not there: the store may have been
    /// lost or restored before the start, and one list may be short.
    fn is_surely_absent(
        &self,
        backend: &BackendName,
        key: &Key,
        record: &Record,
        plan: &Plan,
        observed: &Observed,
    ) -> bool {
        let (Some(fleet), Key::Stack(name)) = (&observed.fleet, key) else {
            return true;
        };
        let unknown: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|s| match s {
                Step::CreateApp { app, .. } if !record.apps.contains_key(app) => {
                    Some((name.clone(), app.clone()))
                }
                _ => None,
            })
            .collect();
        let mut state = self.state();
        let Some(account) = state.accounts.get_mut(backend).filter(|_| !unknown.is_empty()) else {
            return true;
        };
        // Shown once and not now: one look more decides.
        let sighted = unknown.iter().filter(|app| account.sighted.remove(*app)).count() > 0;
        if account.looks >= 2 && !sighted {
            return true;
        }
        let transient = state.transient(key);
        transient.fresh_after = transient.fresh_after.max(fleet.at);
        false
    }

    /// Addresses that creates under way will take.
    fn promise(&self, key: &Key, plan: &Plan) {
        let creates = plan.steps.iter().filter(|s| matches!(s, Step::CreateApp { .. })).count() as u64;
        if creates > 0 {
            let mut state = self.state();
            if let Some(backend) = state.backend_of(key)
                && let Some(account) = state.accounts.get_mut(&backend)
            {
                account.promised.insert(key.clone(), creates * 2);
            }
        }
    }

    /// The failure count of a key, after a run.
    pub(crate) fn count_failures(record: &mut Record, error: Option<&PortError>) {
        record.failing = error.map(|e| {
            let (reason, message) = classify(e);
            let count = record.failing.as_ref().map_or(0, |f| f.count) + 1;
            Failing { count: count.min(backoff::PARKED_AFTER), reason, message }
        });
    }
}

/// What one turn led to.
enum Went {
    /// Plan again.
    Again,
    /// Nothing more to do now.
    Rest,
}

/// Facts that our own writes made old.
fn forget_what_changed(observed: &mut Observed) {
    observed.details.clear();
    observed.live.clear();
    observed.tasks.clear();
    observed.routers.clear();
    observed.projects.clear();
    observed.jobs = None;
    observed.services = Seen::Unknown;
    observed.services_asked = false;
    observed.probes.clear();
    observed.dns.forget();
}

/// Whether a fleet shows anything that carries this stack's mark, complete or begun (a copy does not count).
pub(crate) fn is_marked(fleet: &FleetView, stack: &str) -> bool {
    fleet
        .of_stack(stack)
        .any(|a| matches!(&a.mark, MarkSeen::Ours(m) if m.id.as_ref().is_none_or(|id| *id == a.id)))
}
