//! Private servers for tests and benches: real programs from the system's packages, on loopback, each with a folder of
//! its own that goes with it. Nothing of a running system is used, and nothing is left behind.

mod bind;
mod pgbouncer;
mod postgres;
mod powerdns;
mod process;

pub use bind::Bind;
pub use pgbouncer::Pgbouncer;
pub use postgres::{Copy, Postgres, Session};
pub use powerdns::PowerDns;

use std::net::{TcpListener, UdpSocket};

/// A port of loopback that nobody listens on now.
///
/// # Panics
/// Where loopback has none.
#[must_use]
pub fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port on loopback");
    listener.local_addr().expect("its number").port()
}

/// A port of loopback on which nobody listens now, neither for connections nor for datagrams.
///
/// # Panics
/// Where loopback has none.
#[must_use]
pub fn free_dns_port() -> u16 {
    for _ in 0..100 {
        let port = free_port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of loopback is free for both");
}
