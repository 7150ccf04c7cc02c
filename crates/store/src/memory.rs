//! The store in memory: the twin of SQLite for tests and the simulator. It keeps the same promises in the same way and
//! must never be laxer, or a test against it would prove nothing.

use crate::limit::{AUDIT_FOR, Limits};
use crate::secret;
use berth_model::Time;
use berth_model::access::{Audit, Token};
use berth_model::event::{Event, Request};
use berth_model::ids::{AppName, Key, OperationId, StackName};
use berth_model::record::{Intent, Record, Run, StackStatus, Version};
use berth_ports::{Answer, Change, PortError, Query, SecretRow, Snapshot, Store};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What a hook says of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Let it happen.
    Apply,
    /// Nothing happens, and the caller is told this.
    RefuseBefore(PortError),
    /// It happens, and the caller is told this all the same: the answer was lost.
    ApplyThenError(PortError),
    /// It happens when this time has passed.
    ApplyAfter(Duration),
}

/// A hook: sees every commit before it happens.
pub type OnCommit = Box<dyn Fn(&[Change]) -> Verdict + Send + Sync>;

/// A store in memory. Clones share one store; [`Memory::fork`] copies it.
#[derive(Clone)]
pub struct Memory {
    shared: Arc<Shared>,
    /// The epoch this handle leads under, if it leads.
    epoch: Option<u64>,
}

struct Shared {
    state: Mutex<State>,
    hook: Mutex<Option<Arc<OnCommit>>>,
}

type SecretKey = (String, Option<AppName>, String);
type VersionKey = (StackName, AppName);

#[derive(Debug, Clone)]
struct State {
    limits: Limits,
    made: Time,
    epoch: u64,
    commits: u64,
    records: BTreeMap<Key, Record>,
    intents: BTreeMap<OperationId, Intent>,
    statuses: BTreeMap<Key, StackStatus>,
    secrets: BTreeMap<SecretKey, SecretRow>,
    events: BTreeMap<u64, Event>,
    runs: BTreeMap<u64, Run>,
    runs_of: BTreeMap<Key, std::collections::BTreeSet<u64>>,
    /// Oldest first.
    versions: BTreeMap<VersionKey, Vec<(u64, Version)>>,
    last_version: u64,
    requests: BTreeMap<u64, (Time, Request)>,
    request_given: u64,
    request_done: u64,
    tokens: BTreeMap<String, Token>,
    /// Oldest first.
    audit: VecDeque<Audit>,
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        write!(f, "Memory({} records, {} intents)", state.records.len(), state.intents.len())
    }
}

impl Memory {
    /// An empty store, made at this instant.
    #[must_use]
    pub fn new(made: Time) -> Self {
        Self::with_limits(made, Limits::STANDARD)
    }

    /// An empty store that keeps less, or more, than the usual.
    #[must_use]
    pub fn with_limits(made: Time, limits: Limits) -> Self {
        Self::of(State {
            limits,
            made,
            epoch: 0,
            commits: 0,
            records: BTreeMap::new(),
            intents: BTreeMap::new(),
            statuses: BTreeMap::new(),
            secrets: BTreeMap::new(),
            events: BTreeMap::new(),
            runs: BTreeMap::new(),
            runs_of: BTreeMap::new(),
            versions: BTreeMap::new(),
            last_version: 0,
            requests: BTreeMap::new(),
            request_given: 0,
            request_done: 0,
            tokens: BTreeMap::new(),
            audit: VecDeque::new(),
        })
    }

    fn of(state: State) -> Self {
        Self { shared: Arc::new(Shared { state: Mutex::new(state), hook: Mutex::new(None) }), epoch: None }
    }

    /// A copy that goes its own way: yesterday's backup. Takes no hook along and leads nothing.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self::of(self.state().clone())
    }

    /// Sets the hook that sees every commit from now on.
    pub fn on_commit(&self, hook: OnCommit) {
        *lock(&self.shared.hook) = Some(Arc::new(hook));
    }

    /// Takes the hook away.
    pub fn no_hook(&self) {
        *lock(&self.shared.hook) = None;
    }

    /// A handle that leads from now on: every earlier leader's commits are refused.
    #[must_use]
    pub fn lead(&self) -> Self {
        let mut state = self.state();
        state.epoch += 1;
        let epoch = Some(state.epoch);
        drop(state);
        Self { shared: Arc::clone(&self.shared), epoch }
    }

    /// How many commits changed this store: a test that says "converged means silent" looks here.
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.state().commits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.shared.state)
    }

    fn commit_now(&self, changes: Vec<Change>) -> Result<(), PortError> {
        let mut state = self.state();
        if let Some(epoch) = self.epoch
            && epoch != state.epoch
        {
            return Err(PortError::Conflict(format!(
                "this daemon led under epoch {epoch} and another leads under {} now: nothing was written",
                state.epoch
            )));
        }
        state.check_secrets(&changes)?;
        state.check_tokens(&changes)?;
        if !changes.is_empty() {
            state.commits += 1;
        }
        for change in changes {
            state.apply(change);
        }
        state.trim_runs_and_events();
        Ok(())
    }
}

impl Store for Memory {
    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        let state = self.state();
        Ok(Snapshot {
            records: state.records.iter().map(|(k, r)| (k.clone(), Box::new(r.clone()))).collect(),
            intents: state.intents.values().cloned().collect(),
            statuses: state.statuses.values().cloned().map(Box::new).collect(),
            secrets: state.secrets.values().cloned().collect(),
            last_event: state.events.last_key_value().map_or(0, |(id, _)| *id),
            last_run: state.runs.last_key_value().map_or(0, |(id, _)| *id),
            last_request: state.request_done,
            made: state.made,
        })
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        // The hook runs outside both locks, so that it may look at the store itself.
        let hook = lock(&self.shared.hook).clone();
        match hook.map_or(Verdict::Apply, |hook| hook(&changes)) {
            Verdict::Apply => self.commit_now(changes),
            Verdict::RefuseBefore(error) => Err(error),
            Verdict::ApplyThenError(error) => self.commit_now(changes).and(Err(error)),
            Verdict::ApplyAfter(time) => {
                tokio::time::sleep(time).await;
                self.commit_now(changes)
            }
        }
    }

    async fn query(&self, query: Query) -> Result<Answer, PortError> {
        Ok(self.state().answer(&query))
    }
}

impl State {
    fn check_tokens(&self, changes: &[Change]) -> Result<(), PortError> {
        for change in changes {
            if let Change::Token(token) = change
                && self.tokens.get(&token.name).is_some_and(|held| held != token)
            {
                return Err(crate::secret::token_exists(&token.name));
            }
        }
        Ok(())
    }

    /// Everything that can be refused is refused before anything is changed.
    fn check_secrets(&self, changes: &[Change]) -> Result<(), PortError> {
        let mut changed: BTreeMap<SecretKey, Option<(u32, Time)>> = BTreeMap::new();
        for change in changes {
            match change {
                Change::Secret(row) => {
                    let key = (row.stack.clone(), row.app.clone(), row.name.clone());
                    let held = match changed.get(&key) {
                        Some(held) => *held,
                        None => self.secrets.get(&key).map(|held| (held.version, held.at)),
                    };
                    secret::may_write(held, row)?;
                    changed.insert(key, Some((row.version, row.at)));
                }
                Change::RemoveSecret { stack, app, name } => {
                    changed.insert((stack.clone(), app.clone(), name.clone()), None);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Record(key, record) => {
                self.records.insert(key, *record);
            }
            Change::Forget(key) => {
                self.records.remove(&key);
                self.statuses.remove(&key);
                if let Key::Stack(name) = key {
                    self.versions.retain(|(stack, _), _| *stack != name);
                }
            }
            Change::Intent(intent) => {
                self.intents.insert(intent.op.clone(), intent);
            }
            Change::Settled(op) => {
                self.intents.remove(&op);
            }
            Change::Status(status) => {
                self.statuses.insert(status.key.clone(), *status);
            }
            Change::Event(event) => {
                self.events.insert(event.id, event);
            }
            Change::Run(run) => self.run(*run),
            Change::Version(version) => self.version(*version),
            Change::Secret(row) => {
                self.secrets.insert((row.stack.clone(), row.app.clone(), row.name.clone()), row);
            }
            Change::RemoveSecret { stack, app, name } => {
                self.secrets.remove(&(stack, app, name));
            }
            Change::Request { at, request } => {
                self.request_given += 1;
                self.requests.insert(self.request_given, (at, request));
            }
            Change::RequestsDone(upto) => {
                self.request_done = self.request_done.max(upto);
                let keep_after =
                    self.request_done.min(self.request_given.saturating_sub(self.limits.requests));
                self.requests = self.requests.split_off(&(keep_after + 1));
            }
            Change::Token(token) => {
                self.tokens.insert(token.name.clone(), token);
            }
            Change::RevokeToken(name) => {
                self.tokens.remove(&name);
            }
            Change::Audit(entry) => {
                let now = entry.at;
                self.audit.push_back(entry);
                while self.audit.len() as u64 > self.limits.audit
                    || self.audit.front().is_some_and(|e| now.since(e.at) > AUDIT_FOR)
                {
                    self.audit.pop_front();
                }
            }
        }
    }

    fn run(&mut self, run: Run) {
        if let Some(old) = self.runs.get(&run.id)
            && let Some(ids) = self.runs_of.get_mut(&old.key)
        {
            ids.remove(&run.id);
        }
        let ids = self.runs_of.entry(run.key.clone()).or_default();
        ids.insert(run.id);
        while ids.len() as u64 > self.limits.runs_of_a_key {
            if let Some(oldest) = ids.pop_first() {
                self.runs.remove(&oldest);
            }
        }
        if ids.contains(&run.id) {
            self.runs.insert(run.id, run);
        }
    }

    fn version(&mut self, version: Version) {
        self.last_version += 1;
        let list = self.versions.entry((version.stack.clone(), version.app.clone())).or_default();
        list.retain(|(_, held)| (held.generation, held.hash) != (version.generation, version.hash));
        list.push((self.last_version, version));
        let limit = usize::try_from(self.limits.versions).unwrap_or(usize::MAX);
        let over = list.len().saturating_sub(limit);
        list.drain(..over);
    }

    fn trim_runs_and_events(&mut self) {
        // As in SQLite: numbers rise by one, so the newest so many are those above a number.
        let last = self.events.last_key_value().map(|(id, _)| *id);
        if let Some(gone) = last.and_then(|last| last.checked_sub(self.limits.events)) {
            while self.events.first_key_value().is_some_and(|(id, _)| *id <= gone) {
                self.events.pop_first();
            }
        }
        let last = self.runs.last_key_value().map(|(id, _)| *id);
        let Some(gone) = last.and_then(|last| last.checked_sub(self.limits.runs)) else {
            return;
        };
        while let Some(entry) = self.runs.first_entry()
            && *entry.key() <= gone
        {
            let (id, run) = entry.remove_entry();
            if let Some(ids) = self.runs_of.get_mut(&run.key) {
                ids.remove(&id);
                if ids.is_empty() {
                    self.runs_of.remove(&run.key);
                }
            }
        }
    }

    fn answer(&self, query: &Query) -> Answer {
        match query {
            Query::Events { after, key, limit } => {
                let mut list: Vec<Event> = self
                    .events
                    .iter()
                    .rev()
                    .take_while(|(id, _)| *id > after)
                    .map(|(_, event)| event)
                    .filter(|event| key.as_ref().is_none_or(|key| event.key == *key))
                    .take(*limit as usize)
                    .cloned()
                    .collect();
                list.reverse();
                Answer::Events(list)
            }
            Query::Runs { key, limit } => Answer::Runs(
                self.runs_of
                    .get(key)
                    .into_iter()
                    .flat_map(|ids| ids.iter().rev())
                    .filter_map(|id| self.runs.get(id))
                    .take(*limit as usize)
                    .cloned()
                    .collect(),
            ),
            Query::Versions { stack } => {
                let mut list: Vec<&(u64, Version)> = self
                    .versions
                    .iter()
                    .filter(|((of, _), _)| of == stack)
                    .flat_map(|(_, list)| list)
                    .collect();
                list.sort_by_key(|(number, _)| std::cmp::Reverse(*number));
                Answer::Versions(list.into_iter().map(|(_, version)| version.clone()).collect())
            }
            Query::Requests { after } => Answer::Requests(
                self.requests
                    .iter()
                    .filter(|(number, _)| *number > after)
                    .map(|(number, (_, request))| (*number, request.clone()))
                    .collect(),
            ),
            Query::Secrets => Answer::Secrets(self.secrets.values().cloned().collect()),
            Query::Statuses => Answer::Statuses(self.statuses.values().cloned().collect()),
            Query::Status(key) => Answer::Statuses(self.statuses.get(key).cloned().into_iter().collect()),
            Query::Record(key) => Answer::Record(self.records.get(key).cloned().map(Box::new)),
            Query::Token(hash) => {
                Answer::Tokens(self.tokens.values().filter(|t| t.hash == *hash).cloned().collect())
            }
            Query::Tokens => Answer::Tokens(self.tokens.values().cloned().collect()),
            Query::Audit { key, tenant, limit } => {
                let wanted = |e: &&Audit| {
                    key.as_ref().is_none_or(|k| e.key.as_ref() == Some(k))
                        && tenant.as_ref().is_none_or(|t| e.tenant.as_ref() == Some(t))
                };
                Answer::Audit(self.audit.iter().rev().filter(wanted).take(*limit as usize).cloned().collect())
            }
        }
    }
}

/// A panic in a test's hook must not hide the store from the test's other half: every change is applied as a whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    //! What only the twin in memory can do.

    use super::{Memory, Verdict};
    use crate::samples::{MADE, intent, record, stack};
    use berth_ports::{Change, PortError, Store};
    use std::sync::atomic::{AtomicU32, Ordering};

    fn lost() -> PortError {
        PortError::Unknown { why: "the answer was lost".to_owned() }
    }

    #[tokio::test]
    async fn a_copy_goes_its_own_way() {
        let today = Memory::new(MADE);
        today.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
        let yesterday = today.fork();
        today.commit(vec![Change::Record(stack("shop"), record(2))]).await.unwrap();
        today.clone().commit(vec![Change::Intent(intent("op"))]).await.unwrap();
        assert_eq!(today.snapshot().await.unwrap().intents.len(), 1, "a clone is the same store");
        let old = yesterday.snapshot().await.unwrap();
        assert_eq!((old.records[0].1.generation, old.intents.len()), (1, 0));
        assert_eq!((today.commits(), yesterday.commits()), (3, 1));
    }

    #[tokio::test]
    async fn commits_fail_before_and_after() {
        let store = Memory::new(MADE);
        let nth = AtomicU32::new(0);
        store.on_commit(Box::new(move |changes| match nth.fetch_add(1, Ordering::Relaxed) {
            0 => Verdict::RefuseBefore(lost()),
            1 => Verdict::ApplyThenError(lost()),
            _ => {
                assert_eq!(changes.len(), 1);
                Verdict::Apply
            }
        }));
        let change = |n| vec![Change::Record(stack(&format!("s-{n}")), record(n))];
        assert_eq!(store.commit(change(1)).await, Err(lost()));
        assert_eq!(store.snapshot().await.unwrap().records.len(), 0);
        assert_eq!(store.commit(change(2)).await, Err(lost()));
        assert_eq!(store.snapshot().await.unwrap().records.len(), 1);
        assert_eq!(store.commit(change(3)).await, Ok(()));
        store.no_hook();
        store.commit(Vec::new()).await.unwrap();
        assert_eq!(store.commits(), 2);
    }

    #[tokio::test]
    async fn a_hook_may_look_at_the_store() {
        let store = Memory::new(MADE);
        let other = store.clone();
        store.on_commit(Box::new(move |_| {
            assert_eq!(other.commits(), 0);
            Verdict::Apply
        }));
        store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    }

    #[tokio::test]
    async fn a_daemon_that_lost_the_lead_changes_nothing() {
        let store = Memory::new(MADE);
        let old = store.lead();
        old.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
        let new = store.lead();
        let refused = old.commit(vec![Change::Forget(stack("shop"))]).await;
        assert!(matches!(refused, Err(PortError::Conflict(_))), "{refused:?}");
        assert_eq!(new.snapshot().await.unwrap().records.len(), 1);
        new.commit(vec![Change::Forget(stack("shop"))]).await.unwrap();
        store.commit(vec![Change::Record(stack("shop"), record(2))]).await.expect("a command leads nothing");
    }
}
