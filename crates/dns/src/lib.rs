//! The DNS adapters: the `Dns` port over Hetzner, Cloudflare, Hostinger, PowerDNS and any server that takes dynamic
//! updates.
//!
//! It translates and nothing more: what is to be done is decided elsewhere. It writes nothing but the sets that a change
//! names, keeps nothing but short-lived looks at zones, and lets no HTTP status, JSON value or remote text through that
//! was not made fit to be shown.

mod asker;
mod exchange;
mod message;
mod sockets;
mod tsig;

pub use exchange::{Exchange, ExchangeError, Flow};
pub use sockets::DnsSockets;
pub use tsig::TsigAlgo;
