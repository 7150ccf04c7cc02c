//! What happened, for people and portals. An event never carries a secret.

use crate::condition::Reason;
use crate::dns::Fqdn;
use crate::ids::{AppName, Key};
use crate::time::Time;
use serde::{Deserialize, Serialize};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Rises by one; a reader resumes after it.
    pub id: u64,
    /// When.
    pub at: Time,
    /// About what.
    pub key: Key,
    /// Whether a person should look.
    pub warning: bool,
    /// In one word.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// Something that a person asks of the daemon, handed over through the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "do")]
pub enum Request {
    /// Run now; `pull` deploys again even where nothing changed, so that a moved tag is taken.
    Reconcile {
        /// What.
        key: Key,
        /// Deploy again.
        pull: bool,
    },
    /// Change nothing of it until resumed.
    Pause {
        /// What.
        key: Key,
    },
    /// Undo a pause.
    Resume {
        /// What.
        key: Key,
    },
    /// Let a held pass go on: the token names what was held.
    Confirm {
        /// As shown with the hold.
        token: String,
    },
    /// Go back to an earlier version until the manifest changes.
    Rollback {
        /// Which stack.
        key: Key,
        /// The generation to go back to; the newest good one before the current if `None`.
        to: Option<u64>,
    },
    /// Take over the records of a host that stand there exactly as they are wanted, without a mark.
    Adopt {
        /// Of which stack.
        key: Key,
        /// Which.
        host: Fqdn,
    },
    /// Start containers anew, with the settings that they have.
    Restart {
        /// Of which stack.
        key: Key,
        /// Of which app; of all if `None`.
        app: Option<AppName>,
    },
}

impl Request {
    /// In a word, for the audit.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Request::Reconcile { pull: false, .. } => "reconcile",
            Request::Reconcile { pull: true, .. } => "deploy",
            Request::Pause { .. } => "pause",
            Request::Resume { .. } => "resume",
            Request::Confirm { .. } => "confirm",
            Request::Rollback { .. } => "rollback",
            Request::Adopt { .. } => "adopt",
            Request::Restart { .. } => "restart",
        }
    }

    /// About what, if about one key.
    #[must_use]
    pub fn key(&self) -> Option<&Key> {
        match self {
            Request::Reconcile { key, .. }
            | Request::Pause { key }
            | Request::Resume { key }
            | Request::Rollback { key, .. }
            | Request::Adopt { key, .. }
            | Request::Restart { key, .. } => Some(key),
            Request::Confirm { .. } => None,
        }
    }
}
