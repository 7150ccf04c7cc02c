//! Why a set is left alone, and what else there is to say about one, as values and in words.

use berth_model::dns::{Cut, Quota, RecordKey};
use berth_model::ids::StackName;
use smol_str::SmolStr;
use std::fmt;

/// A wanted set, or a removal, about which nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Which.
    pub key: RecordKey,
    /// Why.
    pub why: Why,
}

/// Why nothing is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Nobody knows what stands there.
    Unknown,
    /// The name is not in this zone.
    NotInZone,
    /// The zone hands the name on to other servers.
    Delegated(Cut),
    /// Something else stands there.
    Conflict {
        /// The record, as it is shown: `CNAME x.example.com`.
        with: String,
        /// Whose it is.
        whose: Whose,
    },
    /// Our mark stands there and nobody knows for which values: a copied record, or one that was changed by hand while
    /// the store was lost.
    Unproven {
        /// The values.
        values: String,
    },
    /// The stack wants a CNAME and something else under one name.
    Contradiction,
    /// Something else wanted under the same name cannot be made, and the record that would have made room stays.
    Held,
    /// A CNAME cannot stand at the zone's own name.
    ApexCname,
    /// Nothing in front of names is to be had here.
    NoProxy,
    /// Records of this zone cannot be written.
    ReadOnly(String),
    /// The provider was told to refuse changes of this set.
    Protected,
    /// The zone is full.
    Full(Quota),
}

/// Whose a record is that stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// Nobody's: it has no mark.
    Unmarked,
    /// Another stack's of this owner.
    Stack(StackName),
    /// Another owner's, as its mark says.
    Owner(SmolStr),
    /// This stack's own; its policy leaves it.
    Kept,
}

impl fmt::Display for Whose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Whose::Unmarked => f.write_str("without a mark"),
            Whose::Stack(stack) => write!(f, "of the stack {stack}"),
            Whose::Owner(mark) => write!(f, "marked '{mark}'"),
            Whose::Kept => f.write_str("of this stack, which the zone's policy leaves as it is"),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Unknown => f.write_str("what stands there could not be read"),
            Why::NotInZone => f.write_str("the name is not in this zone"),
            Why::Delegated(cut) => {
                write!(f, "{} is handed on to {}: write it there", cut.name, cut.to.join(", "))
            }
            Why::Conflict { with, whose: Whose::Unmarked } => write!(
                f,
                "{with} stands there without a mark: remove it, or adopt it where its values are the wanted ones"
            ),
            Why::Conflict { with, whose } => write!(f, "{with} stands there, {whose}"),
            Why::Unproven { values } => write!(
                f,
                "{values} carries our mark, and neither ledger nor mark know these values: remove the record or its mark"
            ),
            Why::Contradiction => {
                f.write_str("a CNAME is wanted beside other records of the same name: want one of them")
            }
            Why::Held => f.write_str("waits for what is in the way of the other records of its name"),
            Why::ApexCname => {
                f.write_str("a CNAME cannot stand at the zone's own name: want A and AAAA records there")
            }
            Why::NoProxy => f.write_str("this provider cannot stand in front of a name: leave 'proxied' out"),
            Why::ReadOnly(why) => write!(f, "the zone cannot be written: {why}"),
            Why::Protected => f.write_str("the record is protected against changes at its provider"),
            Why::Full(quota) => match quota.most {
                Some(most) => write!(f, "the zone holds {} of {most} records", quota.used),
                None => f.write_str("the zone is full"),
            },
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

/// Something worth saying that holds nothing up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// About which set.
    pub key: RecordKey,
    /// What.
    pub what: Noted,
}

/// What is worth saying.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// It is exactly as wanted and has no mark that fits: right, and not managed.
    Unmanaged,
    /// Somebody's values stand beside ours: answers are shared out among them.
    Beside(String),
    /// It differs from what is wanted, and the policy changes nothing that is there.
    Differs(String),
    /// It is no longer wanted, and the policy leaves it.
    Left,
    /// Values that were taken over stay, without our mark.
    Released(String),
    /// It was to be removed and is not ours any more: left.
    Disowned,
    /// The wanted lifetime cannot be had here; the nearest one is used.
    TtlMoved(u32),
}

impl fmt::Display for Noted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Noted::Unmanaged => f.write_str(
                "stands there exactly as wanted, without a mark that fits: left as it is; 'berth dns adopt' takes it over",
            ),
            Noted::Beside(values) => {
                write!(f, "{values} stands beside ours: answers are shared out among them")
            }
            Noted::Differs(what) => write!(f, "{what}: the zone's policy changes nothing that is there"),
            Noted::Left => f.write_str("is no longer wanted; the zone's policy leaves it"),
            Noted::Released(values) => write!(f, "{values} stood there before and stays, without our mark"),
            Noted::Disowned => f.write_str("was to be removed and carries our mark no more: left as it is"),
            Noted::TtlMoved(to) => write!(f, "its ttl cannot be had here: {to} s is used"),
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.key, self.what)
    }
}
