//! Berth's words: names, specs, desired and observed state, plans, records, conditions.
//!
//! Everything here is a value. This crate does no IO, knows no clock, no randomness and no async runtime; whoever
//! needs the time passes it in.

pub mod access;
pub mod condition;
pub mod config;
pub mod desired;
pub mod dns;
pub mod dotenv;
pub mod event;
pub mod field;
pub mod hash;
mod hashed;
pub mod ids;
pub mod mark;
pub mod observed;
pub mod project;
pub mod record;
pub mod remote;
pub mod secret;
pub mod stack;
pub mod step;
pub mod time;
pub mod units;

pub use ids::*;
pub use secret::Secret;
pub use time::Time;
