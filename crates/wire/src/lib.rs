//! The one HTTP client: timeout, cap on calls in flight, breaker, retry, redaction, spans.
//!
//! `reqwest` appears here and nowhere else. Nothing here knows what a call means: whoever uses the client brings a
//! [`Judge`] that reads the answers. All timing goes by tokio's clock and all chance by an injected function, so that
//! a simulator can stand in for the sockets and run the same code on virtual time.

mod breaker;
mod budget;
mod call;
mod client;
mod expiry;
pub mod json;
mod keys;
mod observe;
mod prober;
pub mod redact;
mod reference;
mod registry;
mod retry;
mod sockets;
mod transport;

pub use budget::Budget;
pub use call::{Call, Counts, Judge, Lane, Reply, Verdict, http_date, rate_limit, retry_after, segment};
pub use client::{Client, KeyPlace, Limits, Setup};
pub use expiry::Expiry;
pub use keys::{FixedKey, KeyFile, KeySource};
pub use observe::{Observer, Silent};
pub use prober::{Probe, Route};
pub use reference::{Reference, check_reference};
pub use registry::ImageRegistry;
pub use retry::{Dice, system_dice};
pub use sockets::{Sockets, SocketsOptions, install_crypto};
pub use transport::{Transport, TransportError};
