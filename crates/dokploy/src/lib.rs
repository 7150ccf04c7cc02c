//! The Dokploy adapter: the `Platform` port over Dokploy's HTTP API.
//!
//! It translates and nothing more: it decides nothing, keeps nothing but short-lived looks at the server, and lets no
//! HTTP status, JSON value or remote text through that was not made fit to be shown.

mod adapter;
mod batch;
mod cell;
mod children;
mod columns;
mod detail;
mod diagnose;
mod errors;
mod fleet;
mod live;
mod pace;
mod parse;
mod reads;
mod writes;

pub use adapter::{Dokploy, Options};

/// Feeds every answer parser; finds a panic, proves nothing else.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    parse::fuzz(data);
}
