//! Helpers that the suites share: a whole Berth in process, on virtual time, against the simulated server.
//!
//! The same engine and the same adapter as in production; only sockets, the disk and the clock are replaced.

mod canon;
mod change;
mod crash;
mod dns;
mod full;
mod rig;
mod spec;
mod world;

pub use canon::{canon, differences};
pub use change::{Change, Reference, settle};
pub use crash::{AtCommit, Crash, Crashes, Moment};
pub use dns::{PROVIDERS, SimDns, TestDns, ZONE};
pub use full::{full, full_with};
pub use rig::{Rig, RigOptions, START};
pub use spec::{RandomStack, Walk};
pub use world::{Seeded, SimProber, SimRegistry, SimTransport, TestWorld};
