//! Writing down: first in the store, then in memory, so that memory never knows what a crash would forget. A commit that
//! was not answered may have happened or not: from then on nothing is done until the store was read again.

use crate::Engine;
use crate::queue::Lane;
use crate::state::State;
use berth_model::condition::Reason;
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_ports::{Change, PortError, Snapshot, Store, World};
use std::collections::BTreeSet;
use std::time::Duration;

/// Between two tries to read the state again.
const AGAIN: Duration = Duration::from_secs(1);

fn in_doubt() -> PortError {
    let why = "a commit was not answered: the state is read again first".to_owned();
    PortError::Retry { after: None, why }
}

impl<W: World> Engine<W> {
    /// All of it, or nothing.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        if changes.is_empty() {
            return Ok(());
        }
        if self.state().doubt {
            return Err(in_doubt());
        }
        self.metrics.commits.inc();
        if let Err(error) = self.parts.store.commit(changes.clone()).await {
            self.metrics.store_errors.inc();
            self.metrics.store_up.set(0);
            let mut state = self.state();
            state.store_trouble = Some(error.to_string());
            if matches!(error, PortError::Unknown { .. }) {
                state.doubt = true;
                drop(state);
                self.stirred.notify_one();
            }
            return Err(error);
        }
        self.metrics.store_up.set(1);
        let mut state = self.state();
        state.store_trouble = None;
        for change in changes {
            match change {
                Change::Record(key, record) => {
                    state.records.insert(key, record);
                }
                Change::Forget(key) => {
                    state.records.remove(&key);
                    state.statuses.remove(&key);
                    state.expected.remove(&key);
                    state.live.remove(&key);
                }
                Change::Intent(intent) => {
                    state.intents.insert(intent.op.clone(), intent);
                }
                Change::Settled(op) => {
                    state.intents.remove(&op);
                }
                Change::Status(status) => {
                    state.statuses.insert(status.key.clone(), status);
                }
                Change::Event(event) => {
                    // Nobody listening is no error.
                    let _ = self.events.send(event);
                }
                Change::Secret(row) => {
                    state.secrets.put(row);
                }
                Change::RemoveSecret { stack, app, name } => {
                    state.secrets.remove(&stack, app.as_ref(), &name);
                }
                Change::RequestsDone(n) => state.last_request = n,
                Change::Run(_)
                | Change::Version(_)
                | Change::Request { .. }
                | Change::Token(_)
                | Change::RevokeToken(_)
                | Change::Audit(_) => {}
            }
        }
        Ok(())
    }

    /// Why runs are to end where they are.
    pub(crate) fn halted(&self) -> Option<PortError> {
        let state = self.state();
        if state.doubt {
            return Some(in_doubt());
        }
        let why = || "the daemon is stopping".to_owned();
        state.stopping.then(|| PortError::Retry { after: None, why: why() })
    }

    /// Takes the store's word for what it holds, after a commit that was not answered. Nothing is under way meanwhile.
    pub(crate) async fn read_again(&self) {
        let mut told = false;
        let snapshot = loop {
            if self.state().stopping {
                return;
            }
            match self.parts.store.snapshot().await {
                Ok(snapshot) => break snapshot,
                Err(error) => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(%error, "a commit was not answered, and the state cannot be read again");
                    }
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        self.metrics.store_up.set(1);
        let differ = self.state().take_over(snapshot);
        tracing::info!(keys = differ.len(), "a commit was not answered; the state was read again");
        for key in differ {
            self.wake(&key, Lane::Dependency, "the state was read again");
        }
    }

    /// Why the state cannot be written, where the last try failed.
    #[must_use]
    pub fn store_trouble(&self) -> Option<String> {
        self.state().store_trouble.clone()
    }

    /// A change that tells what happened.
    pub(crate) fn event(&self, key: &Key, warning: bool, reason: Reason, message: String) -> Change {
        let at = self.now();
        let mut state = self.state();
        state.last_event += 1;
        Change::Event(Event { id: state.last_event, at, key: key.clone(), warning, reason, message })
    }
}

impl State {
    /// Replaces what the store knows better. Answers the keys of which it knew something else.
    fn take_over(&mut self, snapshot: Snapshot) -> BTreeSet<Key> {
        let old = std::mem::take(&mut self.records);
        let old_statuses = std::mem::take(&mut self.statuses);
        let mut differ: BTreeSet<Key> = self.intents.values().map(|i| i.key.clone()).collect();
        let (event, run) = (self.last_event, self.last_run);
        self.keep(snapshot);
        // Numbers that were given out are not given out again.
        (self.last_event, self.last_run) = (self.last_event.max(event), self.last_run.max(run));
        differ.extend(self.intents.values().map(|i| i.key.clone()));
        let all =
            old.keys().chain(self.records.keys()).chain(old_statuses.keys()).chain(self.statuses.keys());
        for key in all {
            if old.get(key) != self.records.get(key) || old_statuses.get(key) != self.statuses.get(key) {
                differ.insert(key.clone());
            }
        }
        for key in &differ {
            self.expected.remove(key);
        }
        self.doubt = false;
        self.store_trouble = None;
        differ
    }
}
