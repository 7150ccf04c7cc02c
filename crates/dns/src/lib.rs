//! The DNS adapters: the `Dns` port over Hetzner, Cloudflare, Hostinger, PowerDNS and any server that takes dynamic
//! updates.
//!
//! It translates and nothing more: what is to be done is decided elsewhere. It writes nothing but the sets that a change
//! names, keeps nothing but short-lived looks at zones, and lets no HTTP status, JSON value or remote text through that
//! was not made fit to be shown.

mod account;
mod any;
mod asker;
mod cloudflare;
mod exchange;
mod fuzz;
mod hetzner;
mod hostinger;
mod managed;
mod message;
mod options;
mod powerdns;
mod preflight;
mod provider;
mod raw;
mod rfc2136;
#[cfg(test)]
mod script;
mod sockets;
mod tsig;
mod verify;
mod zones;

pub use berth_model::dns::TsigAlgo;
pub use exchange::{Exchange, ExchangeError, Flow};
pub use options::{Credential, Options, ProviderOptions, TsigKey};
pub use sockets::{DnsSockets, system_resolvers};
pub use zones::Zones;

/// Feeds every reader of answers; finds a panic, proves nothing else.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    fuzz::fuzz(data);
}
