//! Questions about DNS that a plan asks, and their answers: what was seen, or why it was not.

use super::ZoneView;
use super::change::Change;
use super::data::RecordKey;
use super::name::Fqdn;
use super::verify::{Asked, Verification};
use super::zone::{ZoneChoice, ZoneId};
use crate::condition::Reason;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

/// A question. Every one may be asked again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DnsRead {
    /// Into which zone a name is to be written.
    Zone(Fqdn),
    /// What stands at these names of a zone.
    View(ZoneId, BTreeSet<Fqdn>),
    /// Whether the world can see a record.
    Verify(ZoneId, Box<Asked>),
}

impl fmt::Display for DnsRead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DnsRead::Zone(name) => write!(f, "the zone of {name}"),
            DnsRead::View(zone, _) => write!(f, "the records of {zone}"),
            DnsRead::Verify(_, asked) => write!(f, "the servers of {}", asked.key),
        }
    }
}

/// Why something is not known, or was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In a word.
    pub reason: Reason,
    /// In words.
    pub why: String,
}

/// What one run saw of DNS.
#[derive(Debug, Clone, Default)]
pub struct ObservedDns {
    /// Zones, by the names that are to be written into them.
    pub zones: BTreeMap<Fqdn, Result<ZoneChoice, Trouble>>,
    /// What stands in zones.
    pub views: BTreeMap<ZoneId, Result<Arc<ZoneView>, Trouble>>,
    /// What servers answer.
    pub verified: BTreeMap<RecordKey, Result<Verification, Trouble>>,
    /// Changes that were refused in this run: they are not tried again in it.
    pub refused: Vec<(Change, Trouble)>,
    /// Looks from before are too old: something stood otherwise than a look said.
    pub is_stale: bool,
}

impl ObservedDns {
    /// What our own changes made old.
    pub fn forget(&mut self) {
        self.views.clear();
        self.verified.clear();
    }
}
