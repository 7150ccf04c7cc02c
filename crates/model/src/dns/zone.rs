//! Zones: which one holds a name, what its provider can do, and what may be done in it.

use super::data::Ttl;
use super::name::Fqdn;
use crate::ids::CredentialName;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;
use std::net::SocketAddr;

/// A zone as one credential reaches it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ZoneId {
    /// The credential of `berth.yaml`.
    pub credential: CredentialName,
    /// The zone's name.
    pub name: Fqdn,
}

impl fmt::Display for ZoneId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.credential)
    }
}

/// Where a name is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ZoneChoice {
    /// In this zone.
    Zone(ZoneId),
    /// Nowhere that is reached: the longest zone that is reached hands this part of itself to other servers. What would
    /// be written into it there would be accepted, and answered by nobody.
    Delegated {
        /// The zone that hands it on.
        zone: ZoneId,
        /// From which name on.
        cut: Cut,
    },
    /// No credential reaches a zone for it. All of them could be asked.
    Nowhere,
}

/// Where a zone hands a part of itself on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cut {
    /// The name from which on it is another's.
    pub name: Fqdn,
    /// Whose: the names of its servers, as they were seen, to be shown.
    pub to: Vec<SmolStr>,
}

/// What may be done in a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ZoneRules {
    /// How far changes go.
    pub policy: Policy,
    /// Take over records without a mark whose values are exactly the wanted ones.
    pub adopt: bool,
}

/// How far changes go. In none of them is anything touched that is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// What is wanted is made and kept right, also where the type of a wanted host's record changes. A host that
    /// vanished from the manifest of a stack that lives on keeps its record: the record still leads to a server that
    /// is there, and a line that got lost in an edit costs nobody the host. With the stack itself its records go: that
    /// is a wish of its own, and a record that leads to nothing is an invitation to others.
    #[default]
    UpsertOnly,
    /// As `upsert-only`, and a host that vanished from the manifest loses its record.
    Sync,
    /// What is not there is made. What is there is never changed and never removed, not even with its stack; what
    /// would have been done is said.
    CreateOnly,
}

impl Policy {
    /// Whether what is ours and there may be changed.
    #[must_use]
    pub fn updates(self) -> bool {
        self != Policy::CreateOnly
    }
}

/// What is known of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFacts {
    /// The names of its servers as the provider says.
    pub servers: Vec<Fqdn>,
    /// Servers to be asked instead of those that the names lead to.
    pub addresses: Vec<SocketAddr>,
    /// Whether the world is sent to these servers.
    pub delegation: Delegation,
    /// Whether records can be written.
    pub writable: Writable,
    /// What `auto` means, where the provider says.
    pub default_ttl: Option<u32>,
    /// What a lifetime may be.
    pub ttl: TtlBounds,
    /// How many records there may be.
    pub quota: Option<Quota>,
    /// Where marks stand.
    pub marks: MarkPlace,
    /// The provider can stand in front of a name.
    pub proxies: bool,
    /// A CNAME may stand at the zone's own name; it is answered by the addresses of its target.
    pub apex_cname: bool,
}

/// Whether the world is sent to a zone's servers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delegation {
    /// It is.
    Valid,
    /// It is not, or not to all of them. What is written is right and is not seen.
    Invalid(String),
    /// Not known.
    Unknown,
}

/// Whether records can be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Writable {
    /// Nothing speaks against it.
    Yes,
    /// They cannot: why, and what would change it.
    No(String),
}

/// What a lifetime may be, in seconds. `Auto` stands beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TtlBounds {
    /// Not less.
    pub least: u32,
    /// Not more.
    pub most: u32,
}

impl TtlBounds {
    /// What DNS itself allows.
    pub const ANY: TtlBounds = TtlBounds { least: 1, most: Ttl::LARGEST };

    /// The nearest that may be: what is wanted and cannot be would differ for ever.
    #[must_use]
    pub fn nearest(self, ttl: Ttl) -> Ttl {
        match ttl {
            Ttl::Auto => Ttl::Auto,
            Ttl::Seconds(s) => Ttl::Seconds(s.max(self.least).min(self.most)),
        }
    }
}

/// How many records there are and may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// There are.
    pub used: u64,
    /// There may be, where that is known.
    pub most: Option<u64>,
}

/// Where marks stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MarkPlace {
    /// In labels of the set, written with its create.
    Labels,
    /// In a comment of the set, written with it.
    Comments,
    /// In the comment of each value: every value says for itself whose it is.
    ValueComments,
    /// In a TXT record beside the set.
    Companions,
}

impl MarkPlace {
    /// Whether every value says for itself whose it is.
    #[must_use]
    pub fn per_value(self) -> bool {
        self == MarkPlace::ValueComments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ttl_out_of_bounds_is_the_nearest_that_may_be() {
        let bounds = TtlBounds { least: 60, most: 86_400 };
        let table = [(1, 60), (60, 60), (300, 300), (86_401, 86_400)];
        for (wanted, got) in table {
            assert_eq!(bounds.nearest(Ttl::Seconds(wanted)), Ttl::Seconds(got));
        }
        assert_eq!(bounds.nearest(Ttl::Auto), Ttl::Auto);
    }
}
