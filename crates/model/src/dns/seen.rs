//! A zone as one look showed it: sets with their values and marks, and, as bare type names, whatever else stands there.

use super::data::{RecordData, RecordKey, RecordType, Ttl};
use super::mark::DnsMarkSeen;
use super::name::Fqdn;
use super::zone::{Cut, ZoneFacts, ZoneId};
use crate::observed::Seen;
use crate::time::Time;
use smol_str::SmolStr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One value of a set that was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenValue {
    /// How long answers may be kept.
    pub ttl: Ttl,
    /// The provider stands in front of it.
    pub proxied: bool,
    /// Whose it is, where values say so for themselves; `None` where the set's mark speaks for all.
    pub mark: DnsMarkSeen,
}

/// A set that was seen. Without values and with a mark it is a half: the record was not made yet, or is gone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenSet {
    /// Its values.
    pub values: BTreeMap<RecordData, SeenValue>,
    /// Values that cannot be read, or are switched off: nobody's that we know. They stay as they are.
    pub opaque: BTreeSet<SmolStr>,
    /// Whose it is. Where values say so for themselves: ours as soon as one is, another's where only others' are.
    pub mark: DnsMarkSeen,
    /// The provider was told to refuse changes.
    pub protected: bool,
}

impl SeenSet {
    /// Whether no record is there. A mark may be.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.opaque.is_empty()
    }

    /// Whether nothing at all is there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.is_empty() && self.mark == DnsMarkSeen::None
    }

    /// Its values, without what stands beside them.
    #[must_use]
    pub fn data(&self) -> BTreeSet<RecordData> {
        self.values.keys().cloned().collect()
    }
}

/// Everything at one name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SeenName {
    /// The sets of types that Berth writes.
    pub sets: BTreeMap<RecordType, SeenSet>,
    /// The names of all other types that stand there.
    pub others: BTreeSet<SmolStr>,
}

impl SeenName {
    /// Whether nothing at all is there.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.others.is_empty() && self.sets.values().all(SeenSet::is_nothing)
    }
}

/// What a look covered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// The whole zone: what is not shown is not there.
    All,
    /// These names: nothing is known of any other. Of types that Berth does not write, only some are known.
    Names(BTreeSet<Fqdn>),
}

impl Known {
    /// Whether the look covered this name.
    #[must_use]
    pub fn covers(&self, name: &Fqdn) -> bool {
        match self {
            Known::All => true,
            Known::Names(names) => names.contains(name),
        }
    }
}

/// One look at a zone. Shared by everybody who waits for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneView {
    /// Which.
    pub zone: ZoneId,
    /// When the look began.
    pub at: Time,
    /// What it covered.
    pub known: Known,
    /// What is there. Companions are not among them: they are the marks of their sets.
    pub names: BTreeMap<Fqdn, SeenName>,
    /// Where the zone hands parts of itself on.
    pub cuts: BTreeMap<Fqdn, Cut>,
    /// What is known of the zone itself.
    pub facts: Arc<ZoneFacts>,
}

impl ZoneView {
    /// Everything at a name.
    #[must_use]
    pub fn name(&self, name: &Fqdn) -> Seen<&SeenName> {
        match self.names.get(name) {
            Some(seen) if !seen.is_nothing() => Seen::Present(seen),
            _ if self.known.covers(name) => Seen::Absent,
            _ => Seen::Unknown,
        }
    }

    /// A set. One that has a mark and no record is present.
    #[must_use]
    pub fn set(&self, key: &RecordKey) -> Seen<&SeenSet> {
        match self.name(&key.name) {
            Seen::Present(name) => match name.sets.get(&key.kind) {
                Some(set) if !set.is_nothing() => Seen::Present(set),
                _ => Seen::Absent,
            },
            Seen::Absent => Seen::Absent,
            Seen::Unknown => Seen::Unknown,
        }
    }

    /// The cut that takes this name out of the zone.
    #[must_use]
    pub fn cut(&self, name: &Fqdn) -> Option<&Cut> {
        name.up().take_while(|n| *n != self.zone.name).filter_map(|n| self.cuts.get(&n)).last()
    }

    /// The names that tell what answers for a host of a zone: itself, those above it, and the wildcards among them.
    #[must_use]
    pub fn tells(host: &Fqdn, zone: &Fqdn) -> BTreeSet<Fqdn> {
        let above = host.up().take_while(|name| name != zone).chain([zone.clone()]);
        above.flat_map(|name| [name.wildcard(), Some(name)]).flatten().collect()
    }

    /// Where that stands which answers for a host, and what it is. A wildcard answers for names below a name that is
    /// there, and for none where something stands nearer to them (RFC 4592, 3.3.1).
    #[must_use]
    pub fn answering(&self, host: &Fqdn) -> Option<(Fqdn, &SeenName)> {
        if let Seen::Present(seen) = self.name(host) {
            return Some((host.clone(), seen));
        }
        let is_there = |name: &Fqdn| self.names.iter().any(|(n, seen)| n.is_in(name) && !seen.is_nothing());
        let mut names = host.up().take_while(|name| name.is_in(&self.zone.name));
        if is_there(&names.next()?) {
            return None;
        }
        for above in names {
            let wildcard = above.wildcard();
            if let Some((at, Seen::Present(seen))) = wildcard.map(|at| (at.clone(), self.name(&at))) {
                return Some((at, seen));
            }
            if is_there(&above) {
                return None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::{Delegation, MarkPlace, TtlBounds, Writable};
    use crate::ids::CredentialName;

    fn name(text: &str) -> Fqdn {
        Fqdn::new(text).unwrap()
    }

    fn view(names: &[&str]) -> ZoneView {
        let facts = ZoneFacts {
            servers: vec![],
            addresses: vec![],
            delegation: Delegation::Unknown,
            writable: Writable::Yes,
            default_ttl: None,
            ttl: TtlBounds::ANY,
            quota: None,
            marks: MarkPlace::Comments,
            proxies: false,
            apex_cname: false,
        };
        let data = RecordData::parse(RecordType::A, "192.0.2.1", None).unwrap();
        let set = SeenSet { values: [(data, SeenValue::default())].into(), ..SeenSet::default() };
        let seen = SeenName { sets: [(RecordType::A, set)].into(), ..SeenName::default() };
        ZoneView {
            zone: ZoneId { credential: CredentialName::new("main").unwrap(), name: name("z.test") },
            at: Time(0),
            known: Known::All,
            names: names.iter().map(|n| (name(n), seen.clone())).collect(),
            cuts: [].into(),
            facts: Arc::new(facts),
        }
    }

    #[test]
    fn what_was_not_asked_is_unknown_and_cuts_reach_down() {
        let cut = Cut { name: name("sub.z.test"), to: vec!["ns.other.test".into()] };
        let mut view = ZoneView {
            known: Known::Names([name("a.z.test")].into()),
            cuts: [(cut.name.clone(), cut.clone())].into(),
            ..view(&[])
        };
        assert_eq!(view.name(&name("a.z.test")), Seen::Absent);
        assert_eq!(view.name(&name("b.z.test")), Seen::Unknown);
        view.known = Known::All;
        assert_eq!(view.name(&name("b.z.test")), Seen::Absent);
        for (text, cuts) in
            [("sub.z.test", true), ("x.sub.z.test", true), ("z.test", false), ("xsub.z.test", false)]
        {
            assert_eq!(view.cut(&name(text)), cuts.then_some(&cut), "{text}");
        }
    }

    /// As name servers choose: the name itself, else the wildcard below the nearest name that is there.
    #[test]
    fn what_answers_for_a_host() {
        let zone = view(&["z.test", "a.z.test", "*.z.test", "b.c.z.test", "*.d.z.test"]);
        let table = [
            ("a.z.test", Some("a.z.test")),
            ("x.z.test", Some("*.z.test")),
            ("x.y.z.test", Some("*.z.test")),
            ("x.a.z.test", None),
            ("c.z.test", None),
            ("x.c.z.test", None),
            ("b.c.z.test", Some("b.c.z.test")),
            ("x.d.z.test", Some("*.d.z.test")),
            ("*.z.test", Some("*.z.test")),
        ];
        for (host, at) in table {
            let found = zone.answering(&name(host)).map(|(at, _)| at);
            assert_eq!(found, at.map(name), "{host}");
        }
        assert!(view(&["z.test"]).answering(&name("x.z.test")).is_none());
        let asked: Vec<_> =
            ZoneView::tells(&name("x.y.z.test"), &name("z.test")).iter().map(ToString::to_string).collect();
        assert_eq!(asked, ["*.x.y.z.test", "*.y.z.test", "*.z.test", "x.y.z.test", "y.z.test", "z.test"]);
    }
}
