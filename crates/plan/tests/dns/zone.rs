//! A zone in memory, with somebody who knows who made what. It carries changes out as they are written down, and panics
//! where one was planned for what does not stand there.

use berth_model::dns::{
    Change, Cut, Delegation, DnsHash, DnsMark, DnsMarkSeen, Fqdn, Known, MarkPlace, RecordData, RecordKey,
    RecordType, SeenSet, SeenValue, Then, Ttl, TtlBounds, Writable, ZoneFacts, ZoneId, ZoneView,
};
use berth_model::ids::{CredentialName, Owner, StackName};
use berth_model::time::Time;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) fn name(text: &str) -> Fqdn {
    Fqdn::new(text).unwrap()
}

pub(crate) fn data(text: &str) -> RecordData {
    RecordData::try_from(text.to_owned()).unwrap()
}

pub(crate) fn key(text: &str) -> RecordKey {
    RecordKey::parse(text).unwrap()
}

pub(crate) fn owner() -> Owner {
    Owner::new("prod").unwrap()
}

pub(crate) fn stack(text: &str) -> StackName {
    StackName::new(text).unwrap()
}

pub(crate) fn mark(key: &RecordKey, whose: &str, values: &[RecordData], adopted: bool) -> DnsMark {
    DnsMark { owner: owner(), stack: stack(whose), hash: DnsHash::of(key, values), adopted }
}

pub(crate) struct Zone {
    pub(crate) view: ZoneView,
}

impl Zone {
    pub(crate) fn new(marks: MarkPlace) -> Self {
        let facts = ZoneFacts {
            servers: vec![],
            addresses: vec![],
            delegation: Delegation::Unknown,
            writable: Writable::Yes,
            default_ttl: Some(3600),
            ttl: TtlBounds { least: 60, most: 86_400 },
            quota: None,
            marks,
            proxies: marks.per_value(),
            apex_cname: marks.per_value(),
        };
        let zone = ZoneId { credential: CredentialName::new("main").unwrap(), name: name("z.test") };
        let view = ZoneView {
            zone,
            at: Time(0),
            known: Known::All,
            names: BTreeMap::new(),
            cuts: BTreeMap::new(),
            facts: Arc::new(facts),
        };
        let mut zone = Self { view };
        zone.other("z.test", "SOA");
        zone.other("z.test", "NS");
        zone
    }

    pub(crate) fn facts(&mut self) -> &mut ZoneFacts {
        Arc::get_mut(&mut self.view.facts).unwrap()
    }

    pub(crate) fn other(&mut self, at: &str, kind: &str) {
        self.view.names.entry(name(at)).or_default().others.insert(kind.into());
    }

    pub(crate) fn cut(&mut self, at: &str) {
        self.view.cuts.insert(name(at), Cut { name: name(at), to: vec!["ns.other.test".into()] });
    }

    pub(crate) fn set(&mut self, key: &RecordKey) -> &mut SeenSet {
        self.view.names.entry(key.name.clone()).or_default().sets.entry(key.kind).or_default()
    }

    /// Somebody puts a value there.
    pub(crate) fn add(&mut self, key: &RecordKey, value: RecordData, mark: DnsMarkSeen) {
        let per_value = self.view.facts.marks.per_value();
        let set = self.set(key);
        let own = if per_value { mark.clone() } else { DnsMarkSeen::None };
        set.values.insert(value, SeenValue { ttl: Ttl::Seconds(300), proxied: false, mark: own });
        if !per_value && mark != DnsMarkSeen::None {
            set.mark = mark;
        }
        self.sum(key);
    }

    pub(crate) fn remove(&mut self, key: &RecordKey, value: &RecordData) {
        let per_record = !matches!(self.view.facts.marks, MarkPlace::Companions);
        let set = self.set(key);
        set.values.remove(value);
        if set.is_empty() && per_record {
            set.mark = DnsMarkSeen::None;
        }
        self.sum(key);
    }

    /// With marks on values, what they say together.
    pub(crate) fn sum(&mut self, key: &RecordKey) {
        if !self.view.facts.marks.per_value() {
            return;
        }
        let set = self.set(key);
        let of = |ours: bool| {
            set.values.values().map(|v| &v.mark).find(|m| match m {
                DnsMarkSeen::Ours(_) => ours,
                DnsMarkSeen::Foreign(_) => !ours,
                DnsMarkSeen::None => false,
            })
        };
        set.mark = of(true).or(of(false)).cloned().unwrap_or_default();
    }

    pub(crate) fn apply(&mut self, change: &Change) {
        let per_value = self.view.facts.marks.per_value();
        for (kind, set) in &change.sets {
            let key = RecordKey::new(change.name.clone(), *kind);
            let now = self.set(&key).clone();
            assert_eq!(now, set.believed, "{key} was planned for what does not stand there");
            let shared = set.shares() && !per_value;
            let shared_ttl = now.values.values().next().map(|v| v.ttl);
            let mut after = now.clone();
            after.values.retain(|v, _| !set.ours.contains(v));
            match &set.then {
                Then::Put(put) => {
                    for value in &put.values {
                        let old = now.values.get(value);
                        let proxied = put.proxied.unwrap_or(old.is_some_and(|o| o.proxied));
                        let ttl = match put.ttl {
                            _ if proxied => Ttl::Auto,
                            Ttl::Auto => old.map_or(Ttl::Auto, |o| o.ttl),
                            ttl => ttl,
                        };
                        let ttl = if shared { shared_ttl.unwrap_or(ttl) } else { ttl };
                        let mark = DnsMarkSeen::Ours(put.mark.clone());
                        let own = if per_value { mark } else { DnsMarkSeen::None };
                        after.values.insert(value.clone(), SeenValue { ttl, proxied, mark: own });
                    }
                    after.mark = DnsMarkSeen::Ours(put.mark.clone());
                }
                Then::Remove { release } => {
                    after.mark = DnsMarkSeen::None;
                    for value in release {
                        if let Some(value) = after.values.get_mut(value) {
                            value.mark = DnsMarkSeen::None;
                        }
                    }
                }
            }
            assert_eq!(after.data(), set.after());
            *self.set(&key) = after;
            self.sum(&key);
            let now = self.set(&key).clone();
            assert!(set.is_met_by(&now, &self.view.facts), "{key} was changed and is not as it was to be");
        }
        // What a real zone refuses.
        let at = &self.view.names[&change.name];
        let records = |kind| at.sets.get(&kind).is_some_and(|s| !s.is_empty());
        if records(RecordType::Cname) && change.name != self.view.zone.name {
            let beside = [RecordType::A, RecordType::Aaaa, RecordType::Txt].into_iter().any(records);
            assert!(!beside && at.others.is_empty(), "a CNAME beside others at {}", change.name);
            assert!(at.sets[&RecordType::Cname].values.len() <= 1, "two CNAMEs at {}", change.name);
        }
    }
}
