//! HTTP: health, status, watch, metrics, and one page that shows the fleet.
//!
//! It reads and never changes anything. It knows neither the engine nor the store: whoever serves brings a [`Fleet`].

mod error;
mod routes;
mod watch;

pub use routes::{router, serve};

use berth_model::event::Event;
use berth_model::ids::{Key, StackName};
use berth_model::record::StackStatus;
use berth_ports::PortError;
use serde::Serialize;
use std::collections::BTreeSet;
use std::future::Future;
use tokio::sync::broadcast;

/// What a guard holds until a person confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// In which account.
    pub backend: String,
    /// Confirms it: `berth confirm TOKEN`.
    pub token: String,
    /// Stacks that would be removed.
    pub removing: BTreeSet<StackName>,
    /// Stacks that would be made again.
    pub recreating: BTreeSet<StackName>,
}

/// What is served.
pub trait Fleet: Send + Sync + 'static {
    /// All published states.
    fn statuses(&self) -> impl Future<Output = Result<Vec<StackStatus>, PortError>> + Send;
    /// One published state.
    fn status(&self, key: &Key) -> impl Future<Output = Result<Option<StackStatus>, PortError>> + Send;
    /// Events after this number, oldest first; the newest `limit` where there are more.
    fn events_after(
        &self,
        after: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Event>, PortError>> + Send;
    /// Events from now on.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
    /// `Err` says why the daemon cannot be relied on yet.
    ///
    /// # Errors
    /// Each reason in words.
    fn ready(&self) -> Result<(), Vec<String>>;
    /// Whether the daemon's loop turns; one that does not should be started again.
    fn alive(&self) -> bool {
        true
    }
    /// The metrics in Prometheus' text form.
    fn metrics(&self) -> String;
    /// What guards hold.
    fn holds(&self) -> Vec<Hold>;
    /// Who leads, where daemons take turns.
    fn lead(&self) -> Option<Lead> {
        None
    }
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    /// This daemon does.
    pub leads: bool,
    /// Which one does, as far as is known, where it is another.
    pub leader: Option<String>,
    /// Where that one is asked.
    pub address: Option<String>,
}
