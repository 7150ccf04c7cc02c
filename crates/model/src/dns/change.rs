//! A change of what stands at one name, together with what the plan believed to stand there. It can say what is to
//! become of values that are ours, and has no words for anything else.

use super::data::{RecordData, RecordKey, RecordType, Ttl};
use super::mark::{DnsMark, DnsMarkSeen};
use super::name::Fqdn;
use super::seen::SeenSet;
use super::zone::ZoneFacts;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// A change of some sets at one name. They belong together: where the provider can, they happen at once, and never is
/// one tried without the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name.
    pub name: Fqdn,
    /// What is to become of its sets.
    pub sets: BTreeMap<RecordType, SetChange>,
}

/// A change of one set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetChange {
    /// The set as the plan saw it; empty where it saw none. Where it stands otherwise by now, nothing is changed.
    pub believed: SeenSet,
    /// Which of its values are ours. All others stay, byte for byte.
    pub ours: BTreeSet<RecordData>,
    /// What is to become of ours.
    pub then: Then,
}

/// What is to become of a set's values that are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// These take their place, under this mark.
    Put(Put),
    /// They go, and with them the mark. With no values of ours, the mark alone goes.
    Remove {
        /// Values that were taken over: they stay, without our mark.
        release: BTreeSet<RecordData>,
    },
}

/// What is put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Our values.
    pub values: BTreeSet<RecordData>,
    /// How long answers may be kept. Of a set that others share it is theirs, and stays.
    pub ttl: Ttl,
    /// Whether the provider stands in front; `None` leaves it.
    pub proxied: Option<bool>,
    /// Whose they are.
    pub mark: DnsMark,
}

impl SetChange {
    /// The values that are not ours.
    pub fn kept(&self) -> impl Iterator<Item = &RecordData> {
        self.believed.values.keys().filter(|v| !self.ours.contains(*v))
    }

    /// All values afterwards.
    #[must_use]
    pub fn after(&self) -> BTreeSet<RecordData> {
        let mut after: BTreeSet<_> = self.kept().cloned().collect();
        if let Then::Put(put) = &self.then {
            after.extend(put.values.iter().cloned());
        }
        after
    }

    /// Whether the set stands as this change would leave it.
    #[must_use]
    pub fn is_met_by(&self, now: &SeenSet, facts: &ZoneFacts) -> bool {
        let per_value = facts.marks.per_value();
        let ours = |mark: &DnsMarkSeen| mark.ours().is_some();
        match &self.then {
            Then::Remove { release } => {
                let marked = match per_value {
                    true => release.iter().filter_map(|v| now.values.get(v)).any(|v| ours(&v.mark)),
                    false => ours(&now.mark),
                };
                !marked && !self.ours.iter().any(|v| now.values.contains_key(v))
            }
            Then::Put(put) => {
                let mark = DnsMarkSeen::Ours(put.mark.clone());
                let shared = !per_value && self.shares();
                let fits = |value: &RecordData| {
                    now.values.get(value).is_some_and(|seen| {
                        let marked = if per_value { seen.mark == mark } else { now.mark == mark };
                        let wanted = facts.ttl.nearest(put.ttl);
                        let ttl = shared || seen.proxied || wanted.is_met_by(seen.ttl, facts.default_ttl);
                        marked && ttl && put.proxied.is_none_or(|p| p == seen.proxied)
                    })
                };
                put.values.iter().all(fits)
                    && !self.ours.difference(&put.values).any(|v| now.values.contains_key(v))
            }
        }
    }

    /// Whether values stand in the set afterwards that are not ours.
    #[must_use]
    pub fn shares(&self) -> bool {
        let own = |value: &RecordData| match &self.then {
            Then::Put(put) => put.values.contains(value),
            Then::Remove { .. } => false,
        };
        !self.believed.opaque.is_empty() || self.kept().any(|v| !own(v))
    }
}

impl Change {
    /// The keys of its sets.
    pub fn keys(&self) -> impl Iterator<Item = RecordKey> {
        self.sets.keys().map(|kind| RecordKey::new(self.name.clone(), *kind))
    }
}

/// One line for each value that comes (`+`), goes (`-`) or stays while something beside it changes (`~`).
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = Vec::new();
        for (kind, set) in &self.sets {
            let line = |sign: char, value: &RecordData, more: &str| {
                format!("{sign} {} {kind} {value}{more}", self.name)
            };
            let (new, put) = match &set.then {
                Then::Put(put) => (put.values.clone(), Some(put)),
                Then::Remove { .. } => (BTreeSet::new(), None),
            };
            lines.extend(set.ours.difference(&new).map(|v| line('-', v, "")));
            if let Some(put) = put {
                for value in &new {
                    let more = format!(" ({})", put.ttl);
                    let there = set.believed.values.contains_key(value);
                    lines.push(line(if there { '~' } else { '+' }, value, &more));
                }
            } else if set.ours.is_empty() {
                lines.push(format!("- the mark of {} {kind}", self.name));
            }
        }
        f.write_str(&lines.join("\n"))
    }
}

/// What a change came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Changed {
    /// Something was sent. Where all stood as wanted already, nothing is.
    pub sent: bool,
    /// The changed sets as they stand now.
    pub now: BTreeMap<RecordType, SeenSet>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{DnsHash, SeenValue};
    use crate::ids::{Owner, StackName};

    #[test]
    fn others_values_stay() {
        let v = |text: &str| RecordData::parse(RecordType::A, text, None).unwrap();
        let (old, new, foreign) = (v("192.0.2.1"), v("192.0.2.2"), v("192.0.2.9"));
        let name = Fqdn::new("a.b").unwrap();
        let key = RecordKey::new(name.clone(), RecordType::A);
        let mark = DnsMark {
            owner: Owner::new("o").unwrap(),
            stack: StackName::new("s").unwrap(),
            hash: DnsHash::of(&key, [&new]),
            adopted: false,
        };
        let mut believed = SeenSet::default();
        for value in [&old, &foreign] {
            believed.values.insert(value.clone(), SeenValue::default());
        }
        let put = Put { values: [new.clone()].into(), ttl: Ttl::Seconds(60), proxied: None, mark };
        let change = SetChange { believed, ours: [old.clone()].into(), then: Then::Put(put) };
        assert_eq!(change.after(), [new, foreign.clone()].into());
        assert!(change.shares());
        let gone = SetChange { then: Then::Remove { release: [].into() }, ..change.clone() };
        assert_eq!(gone.after(), [foreign].into());
        let shown = Change { name, sets: [(RecordType::A, change)].into() }.to_string();
        assert_eq!(shown, "- a.b A 192.0.2.1\n+ a.b A 192.0.2.2 (60 s)");
    }
}
