//! Name servers: where they are, how far behind they are, what is wrong with them, which keys they know.
//! A server must never hold records: it shows zones of the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::rr::rdata::tsig::TsigAlgorithm;

/// What a server does with a question.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    #[default]
    Answers,
    /// REFUSED to everything.
    Refuses,
    /// SERVFAIL to everything.
    Fails,
    /// Nothing ever comes back.
    Silent,
    /// Answers as one that is not an authority: nothing, without the flag.
    Lame,
    /// It took no transfer since then.
    Stuck(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Sha256,
    Sha384,
    Sha512,
}

impl Algorithm {
    pub(crate) fn tsig(self) -> TsigAlgorithm {
        match self {
            Algorithm::Sha256 => TsigAlgorithm::HmacSha256,
            Algorithm::Sha384 => TsigAlgorithm::HmacSha384,
            Algorithm::Sha512 => TsigAlgorithm::HmacSha512,
        }
    }
}

/// A secret that signs messages.
#[derive(Clone, Debug)]
pub struct TsigKey {
    /// Absolute, with its dot.
    pub name: String,
    pub algorithm: Algorithm,
    pub secret: Vec<u8>,
}

#[derive(Clone, Debug)]
pub struct Server {
    /// Absolute, with its dot.
    pub name: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub port: u16,
    pub mode: Mode,
    /// Behind the first of the zone's servers.
    pub lag: Duration,
    pub keys: Vec<TsigKey>,
    /// How far its clock is ahead, in seconds.
    pub skew: i64,
}

impl Server {
    pub(crate) fn new(name: &str, number: u16) -> Server {
        let [high, low] = number.to_be_bytes();
        Server {
            name: name.to_owned(),
            v4: Ipv4Addr::new(198, 18, high, low),
            v6: Ipv6Addr::new(0x2001, 0xdb8, 0x53, 0, 0, 0, 0, number),
            port: 53,
            mode: Mode::Answers,
            lag: Duration::ZERO,
            keys: Vec::new(),
            skew: 0,
        }
    }

    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(self.v4), self.port)
    }

    pub fn address_v6(&self) -> SocketAddr {
        SocketAddr::new(IpAddr::V6(self.v6), self.port)
    }
}
