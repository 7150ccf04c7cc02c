//! The adapters against simulated providers and servers, on virtual time.

mod faults;
mod providers;
mod random;
mod rig;
#[path = "../common/stack.rs"]
mod stack;
mod verify;
