//! Private servers for tests and benches: real programs from the system's packages, on loopback, each with a folder of
//! its own that goes with it. Nothing of a running system is used, and nothing is left behind.

mod pgbouncer;
mod postgres;

pub use pgbouncer::Pgbouncer;
pub use postgres::{Copy, Postgres, Session};

use std::net::TcpListener;

/// A port of loopback that nobody listens on now.
///
/// # Panics
/// Where loopback has none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
    listener.local_addr().expect("its number").port()
}
