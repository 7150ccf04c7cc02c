//! The planner against a small world in memory: no runtime, no clock, no sockets.
//!
//! `stories` hold what a plan says, `properties` what holds of every plan.

mod daemon;
mod memory;
mod properties;
mod rules;
mod script;
mod stories;
mod world;
