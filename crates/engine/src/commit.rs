//! Writing down: first in the store, then in memory, so that memory never knows what a crash would forget.

use crate::Engine;
use berth_model::condition::Reason;
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_ports::{Change, PortError, Store, World};

impl<W: World> Engine<W> {
    /// All of it, or nothing.
    pub(crate) async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.metrics.commits.inc();
        if let Err(error) = self.parts.store.commit(changes.clone()).await {
            self.metrics.store_errors.inc();
            return Err(error);
        }
        let mut state = self.state();
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

    /// A change that tells what happened.
    pub(crate) fn event(&self, key: &Key, warning: bool, reason: Reason, message: String) -> Change {
        let at = self.now();
        let mut state = self.state();
        state.last_event += 1;
        Change::Event(Event { id: state.last_event, at, key: key.clone(), warning, reason, message })
    }
}
