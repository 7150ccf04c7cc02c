//! The adapters against real servers that the tests start on loopback: PowerDNS and BIND.

mod bind;
mod powerdns;
mod rig;
#[path = "../common/stack.rs"]
mod stack;
mod verify;
