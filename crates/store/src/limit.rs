//! How much history a store keeps. The only place that says so.

use std::time::Duration;

/// The bounds of what only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Events, over all keys.
    pub events: u64,
    /// Runs of one key.
    pub runs_of_a_key: u64,
    /// Runs over all keys: without it, stacks that are long gone (previews, say) would fill the store one by one.
    pub runs: u64,
    /// Versions of one app.
    pub versions: u64,
    /// Requests that were carried out. One that was not is never dropped.
    pub requests: u64,
    /// Who changed what. Besides, none is kept for longer than [`AUDIT_FOR`].
    pub audit: u64,
}

/// How long the audit goes back at most.
pub(crate) const AUDIT_FOR: Duration = Duration::from_secs(400 * 24 * 3600);

impl Limits {
    /// What every store keeps.
    pub const STANDARD: Limits = Limits {
        events: 10_000,
        runs_of_a_key: 50,
        runs: 100_000,
        versions: 10,
        requests: 1_000,
        audit: 100_000,
    };
}
