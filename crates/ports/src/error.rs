//! How a call through a port fails. The texts are already redacted: they may be logged and stored.

use std::time::Duration;

/// Why a call did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// The object is not there.
    #[error("not found: {0}")]
    NotFound(String),
    /// Something else stands in the way.
    #[error("conflict: {0}")]
    Conflict(String),
    /// The other side understood and says no: the same call will fail again.
    #[error("refused: {why}")]
    Refused {
        /// Its reason.
        why: String,
    },
    /// It had no effect and may pass later.
    #[error("not now: {why}")]
    Retry {
        /// How long to wait, where the other side said so.
        after: Option<Duration>,
        /// Why.
        why: String,
    },
    /// Sent, not answered: the effect may have happened, may happen yet, or not.
    #[error("sent and not answered: {why}")]
    Unknown {
        /// What broke.
        why: String,
    },
    /// The key is refused, used up, or limited; nobody can tell which from the answer alone.
    #[error("not let in: {why}")]
    Auth {
        /// What was said.
        why: String,
    },
    /// The other side's version cannot do it.
    #[error("unsupported: {what}")]
    Unsupported {
        /// What is missing.
        what: String,
    },
}
