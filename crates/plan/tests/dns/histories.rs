//! Whatever happened before, in whatever order: nothing is touched that is not ours, nothing is taken over where that
//! is not allowed, and a second judgement after the changes finds nothing to do.

use crate::zone::{Zone, data, key, mark, owner, stack};
use berth_model::Time;
use berth_model::dns::{
    Change, DnsHash, DnsMarkSeen, Ledger, MarkPlace, Policy, RecordData, RecordKey, RecordType, SeenSet,
    Then, Ttl, WantedSet, ZoneRules, ZoneView,
};
use berth_model::ids::StackName;
use berth_plan::dns::{Ask, Judgement, Us, judge};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A set in a few numbers.
type Key = (u8, u8);

#[derive(Debug, Clone)]
enum Event {
    /// The stack wants these; the loop goes round. `cut`: the daemon dies after announcing (1) or after the write (2).
    Want { sets: BTreeMap<Key, (BTreeSet<u8>, bool)>, policy: u8, adopt: bool, cut: u8 },
    /// The stack is removed.
    Remove { policy: u8 },
    /// A stranger adds a value.
    Add { key: Key, value: u8, whose: u8 },
    /// A stranger takes a value away.
    Take { key: Key, nth: u8 },
    /// A stranger changes a value, and leaves what stands beside it.
    Edit { key: Key, nth: u8, value: u8 },
    /// A stranger takes the mark away.
    Unmark { key: Key },
    /// A stranger changes the ttl.
    Ttl { key: Key },
    /// A stranger puts another type there.
    Other { name: u8 },
    /// The ledger is lost.
    Forget,
    /// The ledger is one of earlier.
    Earlier,
}

const NAMES: [&str; 4] = ["z.test", "a.z.test", "*.z.test", "b.a.z.test"];

fn full((name, kind): Key) -> RecordKey {
    let kind = RecordType::ALL[usize::from(kind) % 4];
    key(&format!("{} {kind}", NAMES[usize::from(name) % 4]))
}

fn value(kind: RecordType, n: u8) -> RecordData {
    let n = n % 4;
    data(&match kind {
        RecordType::A => format!("A 192.0.2.{n}"),
        RecordType::Aaaa => format!("AAAA 2001:db8::{n}"),
        RecordType::Cname => format!("CNAME t{n}.test"),
        RecordType::Txt => format!("TXT text{n}"),
    })
}

fn key_strategy() -> impl Strategy<Value = Key> {
    (0u8..4, 0u8..4)
}

fn event() -> impl Strategy<Value = Event> {
    let wanted = btree_map(key_strategy(), (btree_set(0u8..4, 1..3), any::<bool>()), 0..4);
    prop_oneof![
        6 => (wanted, 0u8..3, any::<bool>(), 0u8..6)
            .prop_map(|(sets, policy, adopt, cut)| Event::Want { sets, policy, adopt, cut }),
        1 => (0u8..3).prop_map(|policy| Event::Remove { policy }),
        4 => (key_strategy(), 0u8..4, 0u8..8).prop_map(|(key, value, whose)| Event::Add { key, value, whose }),
        2 => (key_strategy(), 0u8..4).prop_map(|(key, nth)| Event::Take { key, nth }),
        2 => (key_strategy(), 0u8..4, 0u8..4).prop_map(|(key, nth, value)| Event::Edit { key, nth, value }),
        1 => key_strategy().prop_map(|key| Event::Unmark { key }),
        1 => key_strategy().prop_map(|key| Event::Ttl { key }),
        1 => (0u8..4).prop_map(|name| Event::Other { name }),
        1 => Just(Event::Forget),
        1 => Just(Event::Earlier),
    ]
}

/// Whose a value really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// We made it.
    Made,
    /// It stood there and was taken over.
    Adopted,
    /// A stranger's.
    Foreign,
}

type Origins = BTreeMap<(RecordKey, RecordData), Origin>;

struct Story {
    zone: Zone,
    ledger: Ledger,
    earlier: Ledger,
    origins: Origins,
    /// What we ever made.
    once: BTreeSet<(RecordKey, RecordData)>,
}

fn policy(n: u8) -> Policy {
    [Policy::UpsertOnly, Policy::Sync, Policy::CreateOnly][usize::from(n) % 3]
}

impl Story {
    fn origin(&self, key: &RecordKey, value: &RecordData) -> Origin {
        self.origins.get(&(key.clone(), value.clone())).copied().unwrap_or(Origin::Foreign)
    }

    /// What is judged alike whoever did it: under our mark, a value that we once made and that somebody made anew is
    /// ours, and one that stands where ours is missing is ours, changed.
    fn settle_origins(&mut self) {
        for (name, seen) in &self.zone.view.names {
            for (kind, set) in &seen.sets {
                let key = RecordKey::new(name.clone(), *kind);
                if let Some(entry) = self.ledger.get(&key) {
                    // A record that the ledger knows and that has lost its mark looks like this.
                    for value in
                        set.values.iter().filter(|(_, v)| v.mark == DnsMarkSeen::None).map(|(v, _)| v)
                    {
                        let known = entry.values.contains(value)
                            && entry.pending.as_ref().is_none_or(|p| !p.is_empty());
                        let bare = self.zone.view.facts.marks.per_value() || set.mark == DnsMarkSeen::None;
                        if known && bare && self.origin(&key, value) == Origin::Foreign {
                            self.origins.insert((key.clone(), value.clone()), Origin::Made);
                        }
                    }
                }
                let Some(mark) = set.mark.ours().filter(|m| m.stack == stack("shop")) else { continue };
                let really = set.values.keys().filter(|v| self.origin(&key, v) != Origin::Foreign);
                let entry = self.ledger.get(&key);
                // While a change is open, an old value that somebody makes anew looks as if it was not gone yet.
                if mark.hash == DnsHash::of(&key, really) && entry.is_none_or(|e| e.pending.is_none()) {
                    continue;
                }
                let missing = entry.is_some_and(|e| e.values.iter().any(|v| !set.values.contains_key(v)));
                for value in set.values.keys() {
                    let place = (key.clone(), value.clone());
                    let edited = missing
                        && *kind != RecordType::Txt
                        && !self.zone.view.facts.marks.per_value()
                        && entry.is_some_and(|e| !e.beside.contains(value));
                    let edited = edited || (*kind == RecordType::Cname && entry.is_some());
                    let again = self.once.contains(&place)
                        || entry.is_some_and(|e| e.pending.as_ref().is_some_and(|p| p.contains(value)));
                    if (edited || again) && self.origin(&key, value) == Origin::Foreign {
                        self.origins.insert(place, Origin::Made);
                    }
                }
            }
        }
    }

    fn check(&self, judgement: &Judgement, rules: ZoneRules) {
        for change in &judgement.changes {
            for (kind, set) in &change.sets {
                let key = RecordKey::new(change.name.clone(), *kind);
                for value in &set.ours {
                    let origin = self.origin(&key, value);
                    let kept = matches!(&set.then, Then::Put(p) if p.values.contains(value));
                    let fine = match (&set.then, origin) {
                        (_, Origin::Made) => true,
                        (Then::Put(_), Origin::Adopted) => true,
                        (Then::Remove { .. }, Origin::Adopted) => false,
                        (_, Origin::Foreign) => kept,
                    };
                    assert!(fine, "{key} {value} is {origin:?} and would be touched:\n{change}");
                }
                let others = |mark: &DnsMarkSeen| match mark {
                    DnsMarkSeen::Foreign(_) => true,
                    DnsMarkSeen::Ours(mark) => mark.stack != stack("shop"),
                    DnsMarkSeen::None => false,
                };
                let not_ours = if self.zone.view.facts.marks.per_value() {
                    set.ours.iter().any(|v| others(&set.believed.values[v].mark))
                } else {
                    others(&set.believed.mark)
                };
                assert!(!not_ours || set.ours.is_empty(), "{key} is another's");
                if let Then::Put(put) = &set.then {
                    let taken = put
                        .values
                        .iter()
                        .any(|v| set.believed.values.contains_key(v) && !set.ours.contains(v));
                    assert!(!taken || rules.adopt, "{key} would be taken over:\n{change}");
                    let beside = set.kept().any(|v| !put.values.contains(v));
                    let replaced =
                        set.believed.mark == DnsMarkSeen::None && beside && *kind != RecordType::Txt;
                    let known = self.ledger.get(&key).is_some_and(|e| !e.values.is_empty());
                    assert!(!replaced || known, "{key} would be put beside a stranger's:\n{change}");
                } else {
                    assert!(set.believed.mark.ours().is_some(), "{key} has no mark and would go");
                    assert!(self.ledger.get(&key).is_some(), "{key} is not in the ledger and would go");
                }
            }
        }
    }

    fn put(&mut self, change: &Change) {
        for (kind, set) in &change.sets {
            let key = RecordKey::new(change.name.clone(), *kind);
            match &set.then {
                Then::Put(put) => {
                    for value in &set.ours {
                        self.once.insert((key.clone(), value.clone()));
                        if !put.values.contains(value) {
                            self.origins.remove(&(key.clone(), value.clone()));
                        }
                    }
                    for value in &put.values {
                        let there = set.believed.values.contains_key(value) && !set.ours.contains(value);
                        let foreign = self.origin(&key, value) == Origin::Foreign;
                        let origin = if there && foreign { Origin::Adopted } else { Origin::Made };
                        let place = (key.clone(), value.clone());
                        self.once.insert(place.clone());
                        if there || !set.believed.values.contains_key(value) {
                            self.origins.insert(place, origin);
                        }
                    }
                }
                Then::Remove { .. } => {
                    self.origins.retain(|(k, v), _| k != &key || !set.ours.contains(v));
                }
            }
        }
        self.zone.apply(change);
    }

    fn round(&mut self, wanted: &[WantedSet], rules: ZoneRules, removing: bool, cut: u8) {
        self.settle_origins();
        let (owner, shop, formerly) = (owner(), stack("shop"), BTreeSet::<StackName>::new());
        let us = Us { owner: &owner, stack: &shop, formerly: &formerly };
        let before = (self.zone.view.clone(), self.origins.clone());
        let ask =
            Ask { us, wanted, ledger: &self.ledger, rules, adopt: &BTreeSet::new(), removing, now: Time(0) };
        let first = judge(&self.zone.view, &ask);
        let ledger = self.ledger.clone();
        first.learn(&mut self.ledger);
        self.check(&first, rules);
        self.ledger = ledger;
        if rules.policy == Policy::CreateOnly {
            for set in first.changes.iter().flat_map(|c| c.sets.values()) {
                let Then::Put(put) = &set.then else { panic!("create-only removes") };
                assert!(set.ours.is_subset(&put.values), "create-only changes");
            }
        }
        // Whatever is left alone has a reason.
        for set in wanted.iter().filter(|_| !removing) {
            let key = set.key();
            let said = first.blocked.iter().any(|b| b.key == *key)
                || first.notes.iter().any(|n| n.key == *key)
                || first.right.contains(key)
                || first.changes.iter().any(|c| c.keys().any(|k| k == *key));
            assert!(said, "{key} is passed over in silence");
        }
        first.learn(&mut self.ledger);
        self.earlier = self.ledger.clone();
        let zone = self.zone.view.zone.clone();
        for (n, change) in first.changes.iter().enumerate() {
            self.ledger.announce(&zone, change);
            if cut == 1 && n == 0 {
                return;
            }
            self.put(change);
            if cut == 2 && n == 0 {
                return;
            }
            self.ledger.settle(&zone, change);
        }
        self.untouched(&before, &first);
        self.settle_origins();
        let again = judge(
            &self.zone.view,
            &Ask { us, wanted, ledger: &self.ledger, rules, adopt: &BTreeSet::new(), removing, now: Time(0) },
        );
        assert!(again.changes.is_empty(), "not silent:\n{}", again.changes[0]);
        let mut learned = self.ledger.clone();
        again.learn(&mut learned);
        let third = judge(
            &self.zone.view,
            &Ask { us, wanted, ledger: &learned, rules, adopt: &BTreeSet::new(), removing, now: Time(0) },
        );
        assert!(third.changes.is_empty() && third.learned.is_empty(), "{:?}", third.learned);
        self.ledger = learned;
        if removing {
            self.ledger = Ledger::default();
        }
    }

    /// Strangers' values, byte for byte.
    fn untouched(&self, before: &(ZoneView, Origins), judged: &Judgement) {
        for (name, seen) in &before.0.names {
            let now = self.zone.view.names.get(name).cloned().unwrap_or_default();
            assert_eq!(seen.others, now.others);
            for (kind, set) in &seen.sets {
                let key = RecordKey::new(name.clone(), *kind);
                let change = judged.changes.iter().find(|c| c.name == *name).and_then(|c| c.sets.get(kind));
                let empty = SeenSet::default();
                let after = now.sets.get(kind).unwrap_or(&empty);
                if change.is_none() {
                    assert_eq!(set, after, "{key} changed without a change");
                }
                for (value, seen) in &set.values {
                    let origin = before.1.get(&(key.clone(), value.clone()));
                    if origin.is_none_or(|o| *o == Origin::Foreign) {
                        let still = after.values.get(value);
                        if self.origin(&key, value) == Origin::Adopted {
                            assert!(still.is_some(), "{key} {value} was taken over and is gone");
                        } else {
                            assert_eq!(Some(seen), still, "{key} {value} is a stranger's");
                        }
                    }
                }
                assert_eq!(set.opaque, after.opaque);
            }
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Want { sets, policy: p, adopt, cut } => {
                let wanted: Vec<_> = sets
                    .iter()
                    .filter_map(|(k, (values, ttl))| {
                        let key = full(*k);
                        let values: BTreeSet<_> = values.iter().map(|n| value(key.kind, *n)).collect();
                        let ttl = if *ttl { Ttl::Seconds(120) } else { Ttl::Auto };
                        WantedSet::new(key, values, ttl, None).ok()
                    })
                    .collect();
                self.round(&wanted, ZoneRules { policy: policy(*p), adopt: *adopt }, false, *cut);
            }
            Event::Remove { policy: p } => {
                self.round(&[], ZoneRules { policy: policy(*p), adopt: false }, true, 0);
            }
            Event::Add { key, value: n, whose } => {
                let key = full(*key);
                let value = value(key.kind, *n);
                let there = self.zone.set(&key).clone();
                let place = (key.clone(), value.clone());
                // A real zone has no CNAME beside others, and one value once.
                let at = self.zone.view.names.entry(key.name.clone()).or_default();
                let cname = key.kind == RecordType::Cname;
                let beside = at.sets.iter().any(|(k, s)| !s.is_empty() && (cname || *k == RecordType::Cname));
                if there.values.contains_key(&value) || beside || (cname && !at.others.is_empty()) {
                    return;
                }
                // Who knows the API can write marks as well; ours is never forged.
                let mark = match whose {
                    0 => DnsMarkSeen::Foreign("berth/1 other/shop h=00000000".into()),
                    1 => DnsMarkSeen::Ours(mark(&key, "blog", std::slice::from_ref(&value), false)),
                    _ => DnsMarkSeen::None,
                };
                // With one mark a set, nobody writes over somebody's mark.
                let marked = there.mark != DnsMarkSeen::None && !self.zone.view.facts.marks.per_value();
                let mark = if marked { DnsMarkSeen::None } else { mark };
                let known = self.ledger.get(&key).is_some_and(|e| e.values.contains(&value));
                self.origins.entry(place.clone()).or_insert(Origin::Foreign);
                if !known {
                    self.origins.insert(place, Origin::Foreign);
                }
                self.zone.add(&key, value, mark);
            }
            Event::Take { key, nth } => {
                let key = full(*key);
                if let Some(value) = self.nth(&key, *nth) {
                    self.zone.remove(&key, &value);
                }
            }
            Event::Edit { key, nth, value: n } => {
                let key = full(*key);
                let new = value(key.kind, *n);
                let set = self.zone.set(&key).clone();
                let Some(old) = self.nth(&key, *nth) else { return };
                if set.values.contains_key(&new) {
                    return;
                }
                let kept = self.zone.set(&key).values.remove(&old).unwrap();
                self.zone.set(&key).values.insert(new.clone(), kept);
                let origin = self.origin(&key, &old);
                let origin = if key.kind == RecordType::Txt && !self.zone.view.facts.marks.per_value() {
                    Origin::Foreign
                } else {
                    origin
                };
                self.origins.insert((key, new), origin);
            }
            Event::Unmark { key } => {
                let key = full(*key);
                let set = self.zone.set(&key);
                set.mark = DnsMarkSeen::None;
                for value in set.values.values_mut() {
                    value.mark = DnsMarkSeen::None;
                }
            }
            Event::Ttl { key } => {
                for value in self.zone.set(&full(*key)).values.values_mut() {
                    value.ttl = Ttl::Seconds(77);
                }
            }
            Event::Other { name } => {
                let name = NAMES[usize::from(*name) % 4];
                let at = self.zone.view.names.entry(crate::zone::name(name)).or_default();
                let cname = at.sets.get(&RecordType::Cname).is_some_and(|s| !s.is_empty());
                if !cname {
                    self.zone.other(name, "MX");
                }
            }
            Event::Forget => self.ledger = Ledger::default(),
            Event::Earlier => self.ledger = self.earlier.clone(),
        }
    }

    fn nth(&mut self, key: &RecordKey, nth: u8) -> Option<RecordData> {
        let set = self.zone.set(key);
        set.values.keys().nth(usize::from(nth) % set.values.len().max(1)).cloned()
    }
}

fn cases() -> u32 {
    if std::env::var_os("BERTH_LONG").is_some() { 300_000 } else { 5_000 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn nothing_foreign_is_touched_and_the_second_look_is_silent(
        place in 0usize..4,
        events in vec(event(), 1..14),
    ) {
        let place =
            [MarkPlace::Labels, MarkPlace::Comments, MarkPlace::ValueComments, MarkPlace::Companions][place];
        let mut story = Story {
            zone: Zone::new(place),
            ledger: Ledger::default(),
            earlier: Ledger::default(),
            origins: BTreeMap::new(),
            once: BTreeSet::new(),
        };
        for event in &events {
            story.happen(event);
        }
    }

    /// With no strangers about, what is wanted is what stands, and with the stack all of it goes.
    #[test]
    fn alone_it_ends_as_wanted(
        place in 0usize..4,
        rounds in vec(btree_map(key_strategy(), btree_set(0u8..4, 1..3), 0..4), 1..5),
        cuts in vec(0u8..3, 5),
        forget in any::<bool>(),
    ) {
        let place =
            [MarkPlace::Labels, MarkPlace::Comments, MarkPlace::ValueComments, MarkPlace::Companions][place];
        let mut story = Story {
            zone: Zone::new(place),
            ledger: Ledger::default(),
            earlier: Ledger::default(),
            origins: BTreeMap::new(),
            once: BTreeSet::new(),
        };
        let rules = ZoneRules { policy: Policy::Sync, adopt: false };
        let mut last = Vec::new();
        for (sets, cut) in rounds.iter().zip(cuts) {
            // One CNAME or something else at a name, and none at the zone's own.
            last = sets.iter().filter_map(|(k, values)| {
                let key = full(*k);
                let alone = sets.keys().filter(|o| full(**o).name == key.name).count() == 1;
                let fits = key.kind != RecordType::Cname || (alone && key.name != story.zone.view.zone.name);
                let others = sets.keys().any(|o| full(*o).name == key.name && full(*o).kind == RecordType::Cname);
                let values: BTreeSet<_> = values.iter().map(|n| value(key.kind, *n)).collect();
                (fits && (alone || !others)).then(|| WantedSet::new(key, values, Ttl::Auto, None).ok()).flatten()
            }).collect();
            story.round(&last, rules, false, cut);
        }
        if forget {
            story.ledger = Ledger::default();
        }
        story.round(&last, rules, false, 0);
        for set in &last {
            let now = story.zone.set(set.key()).clone();
            prop_assert_eq!(now.data(), set.values().clone());
            prop_assert!(now.mark.ours().is_some());
        }
        if !forget {
            story.round(&[], rules, true, 0);
            let left: Vec<_> = story.zone.view.names.values().flat_map(|n| n.sets.values()).collect();
            prop_assert!(left.iter().all(|s| s.is_nothing()));
        }
    }
}
