//! What a verification asks and what it found, server by server.

use super::data::{RecordData, RecordKey};
use super::mark::DnsHash;
use super::name::Fqdn;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// How far a zone's records are verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyMode {
    /// Every authoritative server must answer what is wanted.
    #[default]
    Authoritative,
    /// What the provider's API shows is enough: for networks in which port 53 is closed.
    Provider,
}

/// What must be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Expected {
    /// These values, and none but these and those that are known to stand beside them.
    Values {
        /// Ours: all of them.
        ours: BTreeSet<RecordData>,
        /// Others': any of them.
        beside: BTreeSet<RecordData>,
    },
    /// Some answer: what is stored and what is answered cannot be compared.
    Presence,
    /// None of these.
    Gone(BTreeSet<RecordData>),
}

/// What is to be verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Which set.
    pub key: RecordKey,
    /// What must be so.
    pub expected: Expected,
    /// How far to look.
    pub mode: VerifyMode,
    /// Ask recursors as well, once all authoritative servers are right. Their answers are shown and decide nothing.
    pub recursors: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Of which set.
    pub key: RecordKey,
    /// When it was begun.
    pub at: Time,
    /// In short.
    pub verdict: Verdict,
    /// Each authoritative server. Empty where the provider did not show it yet: then nobody was asked.
    pub servers: Vec<ServerAnswer>,
    /// Recursors, where they were asked.
    pub recursors: Vec<ServerAnswer>,
    /// The servers that the parent zone names are not those of the provider: in what.
    pub delegation: Option<String>,
    /// Whoever asked before the record was there may not see it for so many seconds more.
    pub negative_ttl: Option<u32>,
}

/// What a verification comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "is", content = "why")]
pub enum Verdict {
    /// All that was to be asked is as it must be.
    Right,
    /// Something is not. What, and where.
    Wrong(String),
    /// Nothing is wrong, and not all could be asked.
    Unknown(String),
}

/// One server's answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServerAnswer {
    /// Its name, where it was found by one.
    pub server: Option<Fqdn>,
    /// Where it was asked.
    pub address: SocketAddr,
    /// What it says.
    pub says: ServerSays,
}

/// What one server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "says")]
pub enum ServerSays {
    /// What must be so.
    Right {
        /// How long its answer may be kept.
        ttl: Option<u32>,
    },
    /// Other values.
    Other {
        /// Which, as they were answered.
        values: Vec<SmolStr>,
        /// How long they may be kept.
        ttl: u32,
    },
    /// Nothing of the kind.
    Missing {
        /// Not even the name (`NXDOMAIN`).
        name: bool,
        /// For how long others may remember that.
        negative_ttl: Option<u32>,
    },
    /// That the name is another server's.
    Referral {
        /// Whose.
        to: Vec<SmolStr>,
    },
    /// That it is not its zone, or that it does not answer such questions.
    NotServed {
        /// In its words.
        why: String,
    },
    /// Nothing.
    Silent {
        /// What was tried.
        why: String,
    },
}

impl ServerSays {
    /// Whether it is as it must be.
    #[must_use]
    pub fn is_right(&self) -> bool {
        matches!(self, ServerSays::Right { .. })
    }

    /// How long its answer may be kept, in seconds, where it gave one.
    #[must_use]
    pub fn ttl(&self) -> Option<u32> {
        match self {
            ServerSays::Right { ttl } => *ttl,
            ServerSays::Other { ttl, .. } => Some(*ttl),
            _ => None,
        }
    }
}

/// In words: `answers 192.0.2.1`.
impl fmt::Display for ServerSays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerSays::Right { .. } => f.write_str("answers as it must"),
            ServerSays::Other { values, .. } => write!(f, "answers {}", values.join(", ")),
            ServerSays::Missing { name: true, .. } => f.write_str("says that the name does not exist"),
            ServerSays::Missing { name: false, .. } => f.write_str("has no such record"),
            ServerSays::Referral { to } => write!(f, "points to {}", to.join(", ")),
            ServerSays::NotServed { why } => write!(f, "does not serve the zone: {why}"),
            ServerSays::Silent { why } => write!(f, "is silent: {why}"),
        }
    }
}

/// `ns1.example.net (192.0.2.53:53) answers as it must`.
impl fmt::Display for ServerAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.server {
            Some(name) => write!(f, "{name} ({}) {}", self.address, self.says),
            None => write!(f, "{} {}", self.address, self.says),
        }
    }
}

/// That a set was verified: remembered, so that what does not change costs nothing, and forgotten in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verified {
    /// Of these values.
    pub hash: DnsHash,
    /// When.
    pub at: Time,
}

impl Verified {
    /// Whether it still counts: for the same values, and not for ever.
    #[must_use]
    pub fn counts(&self, values: DnsHash, now: Time, at_most: Duration) -> bool {
        self.hash == values && now >= self.at && now.since(self.at) < at_most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::RecordType;

    /// What was right once is asked again: after a while, and at once for other values.
    #[test]
    fn a_verification_does_not_count_for_ever() {
        let key = RecordKey::new(Fqdn::new("a.b").unwrap(), RecordType::A);
        let hash = |text: &str| {
            let value = RecordData::parse(RecordType::A, text, None).unwrap();
            DnsHash::of(&key, [&value])
        };
        let verified = Verified { hash: hash("192.0.2.1"), at: Time(1_000) };
        let hour = Duration::from_secs(3600);
        assert!(verified.counts(hash("192.0.2.1"), Time(2_000), hour));
        assert!(!verified.counts(hash("192.0.2.2"), Time(2_000), hour));
        assert!(!verified.counts(hash("192.0.2.1"), Time(3_601_000), hour));
        assert!(!verified.counts(hash("192.0.2.1"), Time(0), hour));
    }
}
