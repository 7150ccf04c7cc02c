//! The narrow traits that the engine needs from the world, and their one error.
//!
//! A port speaks in domain types only: no HTTP status, no SQL error, no JSON value crosses it. Every port has its
//! real adapter, and the simulator or an in-memory twin that passes the same contract tests.

mod dns;
mod error;
mod platform;
mod rows;
mod store;
mod vault;
mod wanted;

pub use dns::{Dns, Preflight};
pub use error::PortError;
pub use platform::{BackendState, Breaker, Diagnosis, Finding, Pace, Platform, Prober, Registry, Severity};
pub use rows::{Asked, Draft, Expect, Fault, Put, Refused};
pub use store::{Answer, Change, Query, SecretRow, Snapshot, Store};
pub use vault::{SealedFor, Vault};
pub use wanted::{Trust, Wanted};

use berth_model::Time;

/// Wall time.
pub trait Clock: Send + Sync + 'static {
    /// Now.
    fn now(&self) -> Time;
}

/// Where random bits come from: a seed in a test, the system in production.
pub trait Dice: Send + Sync + 'static {
    /// The next 64 bits.
    fn roll(&self) -> u64;
}

/// Everything the engine needs, as one type.
pub trait World: Send + Sync + 'static {
    /// Backends.
    type Platform: Platform;
    /// The state store.
    type Store: Store;
    /// Secrets.
    type Vault: Vault;
    /// Health checks.
    type Prober: Prober;
    /// Image look-ups.
    type Registry: Registry;
    /// Wall time.
    type Clock: Clock;
    /// Randomness.
    type Dice: Dice;
    /// DNS.
    type Dns: Dns;
}
