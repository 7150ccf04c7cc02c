//! The judgement itself: name by name, what is to be put, what is to go, what is left alone and why.

use super::reasons::{Blocked, Note, Noted, Whose, Why};
use super::whose::{Owned, Standing, whose};
use berth_model::Time;
use berth_model::dns::{
    Asked, Change, DnsHash, DnsMark, Expected, Fqdn, Ledger, LedgerEntry, Put, RecordData, RecordKey,
    RecordType, SeenName, SeenSet, SeenValue, SetChange, Then, Ttl, VerifyMode, WantedSet, Writable,
    ZoneRules, ZoneView,
};
use berth_model::ids::{Owner, StackName};
use berth_model::observed::Seen;
use std::collections::{BTreeMap, BTreeSet};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Us<'a> {
    /// Which Berth.
    pub owner: &'a Owner,
    /// Which stack.
    pub stack: &'a StackName,
    /// Its former names: what they own is its own.
    pub formerly: &'a BTreeSet<StackName>,
}

impl Us<'_> {
    pub(super) fn is(&self, stack: &StackName) -> bool {
        stack == self.stack || self.formerly.contains(stack)
    }
}

/// What is asked: everything of one stack in one zone.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// Who asks.
    pub us: Us<'a>,
    /// What it wants in this zone. Nothing counts while the stack is removed.
    pub wanted: &'a [WantedSet],
    /// What it wrote. Entries of other zones are passed over.
    pub ledger: &'a Ledger,
    /// What may be done here.
    pub rules: ZoneRules,
    /// Names at which it may be taken over what stands there exactly as wanted, whatever the rules say.
    pub adopt: &'a BTreeSet<Fqdn>,
    /// The stack itself goes.
    pub removing: bool,
    /// Now.
    pub now: Time,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Judgement {
    /// Changes, in the order of their names. They do not depend on each other.
    pub changes: Vec<Change>,
    /// What nothing is done about, and why.
    pub blocked: Vec<Blocked>,
    /// What else there is to say.
    pub notes: Vec<Note>,
    /// What the ledger is to hold for these keys, whatever becomes of the changes; `None` for nothing. To be kept before
    /// the changes are announced.
    pub learned: Vec<(RecordKey, Option<LedgerEntry>)>,
    /// Wanted sets that stand as wanted, ours or not.
    pub right: BTreeSet<RecordKey>,
    /// Nothing is done about a set before then: what was sent for it was not answered, and may take effect yet.
    pub unsettled: Option<Time>,
}

impl Judgement {
    /// Writes what was learned into the ledger.
    pub fn learn(&self, ledger: &mut Ledger) {
        for (key, entry) in &self.learned {
            match entry {
                Some(entry) => ledger.0.insert(key.clone(), entry.clone()),
                None => ledger.0.remove(key),
            };
        }
    }

    fn block(&mut self, key: &RecordKey, why: Why) {
        self.blocked.push(Blocked { key: key.clone(), why });
    }

    fn note(&mut self, key: &RecordKey, what: Noted) {
        self.notes.push(Note { key: key.clone(), what });
    }
}

/// Judges a stack's records in one zone.
#[must_use]
pub fn judge(view: &ZoneView, ask: &Ask<'_>) -> Judgement {
    let mut out = Judgement::default();
    let mut names: BTreeMap<&Fqdn, BTreeMap<RecordType, &WantedSet>> = BTreeMap::new();
    for wanted in ask.wanted.iter().filter(|_| !ask.removing) {
        if wanted.key().name.is_in(&view.zone.name) {
            names.entry(&wanted.key().name).or_default().insert(wanted.key().kind, wanted);
        } else {
            out.block(wanted.key(), Why::NotInZone);
        }
    }
    for (key, _) in ask.ledger.0.iter().filter(|(_, e)| e.zone.name == view.zone.name) {
        names.entry(&key.name).or_default();
    }
    let empty = SeenName::default();
    for (name, wanted) in names {
        let found = BTreeMap::new();
        let mut at = AtName { view, ask, name, wanted, seen: &empty, found, sets: BTreeMap::new() };
        match view.name(name) {
            Seen::Present(seen) => at.seen = seen,
            Seen::Absent => {}
            Seen::Unknown => {
                at.unknown(&mut out);
                continue;
            }
        }
        at.judge(&mut out);
    }
    out
}

/// What a verification of a wanted set has to ask, given what the provider shows.
#[must_use]
pub fn asked(view: &ZoneView, wanted: &WantedSet, mode: VerifyMode, recursors: bool) -> Asked {
    let key = wanted.key().clone();
    let set = view.set(&key);
    let seen = set.present();
    let hidden = seen.is_some_and(|s| s.values.values().any(|v| v.proxied));
    let flattened = key.kind == RecordType::Cname && key.name == view.zone.name;
    let expected = if hidden || flattened {
        Expected::Presence
    } else {
        let ours = wanted.values().clone();
        let beside = seen.map(|s| s.data().difference(&ours).cloned().collect()).unwrap_or_default();
        Expected::Values { ours, beside }
    };
    Asked { key, expected, mode, recursors }
}

/// Everything at one name.
struct AtName<'a> {
    view: &'a ZoneView,
    ask: &'a Ask<'a>,
    name: &'a Fqdn,
    wanted: BTreeMap<RecordType, &'a WantedSet>,
    seen: &'a SeenName,
    /// What the marks at a wanted name know and the ledger does not.
    found: BTreeMap<RecordType, LedgerEntry>,
    sets: BTreeMap<RecordType, SetChange>,
}

fn shown(name: &Fqdn, kind: RecordType, values: &BTreeSet<RecordData>, set: &SeenSet) -> String {
    format!("{kind} {name} {}", all(values, set))
}

/// These values, and those of the set that cannot be read.
fn all(values: &BTreeSet<RecordData>, set: &SeenSet) -> String {
    let opaque = set.opaque.iter().map(ToString::to_string);
    values.iter().map(ToString::to_string).chain(opaque).collect::<Vec<_>>().join(", ")
}

/// Whether a value says for itself that it is ours.
fn marked(set: &SeenSet, value: &RecordData) -> bool {
    set.values.get(value).is_some_and(|v| v.mark.ours().is_some())
}

fn listed(values: &BTreeSet<RecordData>) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl<'a> AtName<'a> {
    fn key(&self, kind: RecordType) -> RecordKey {
        RecordKey::new(self.name.clone(), kind)
    }

    fn entry(&self, kind: RecordType) -> Option<&LedgerEntry> {
        let kept = self.ask.ledger.get(&self.key(kind)).filter(|e| e.zone.name == self.view.zone.name);
        kept.or_else(|| self.found.get(&kind))
    }

    /// The ledger of a stack that lives on is found again in its marks, as far as they prove which values are ours.
    fn find(&mut self, out: &mut Judgement) {
        for kind in RecordType::ALL {
            if self.wanted.is_empty() || self.wanted.contains_key(&kind) || self.entry(kind).is_some() {
                continue;
            }
            if let Standing::Ours(owned) = self.standing(kind) {
                let beside = self.set(kind).data().difference(&owned.values).cloned().collect();
                let entry = self.written(&owned, beside);
                out.learned.push((self.key(kind), Some(entry.clone())));
                self.found.insert(kind, entry);
            }
        }
    }

    fn written(&self, owned: &Owned, beside: BTreeSet<RecordData>) -> LedgerEntry {
        LedgerEntry {
            adopted: owned.adopted.clone(),
            beside,
            ..LedgerEntry::of(&self.view.zone, owned.values.clone())
        }
    }

    fn set(&self, kind: RecordType) -> SeenSet {
        self.seen.sets.get(&kind).cloned().unwrap_or_default()
    }

    fn standing(&self, kind: RecordType) -> Standing {
        let wanted = self.wanted.get(&kind).map(|w| w.values());
        let place = self.view.facts.marks;
        whose(&self.key(kind), &self.set(kind), self.entry(kind), wanted, &self.ask.us, place)
    }

    /// Kinds that the ledger holds and nobody wants any more.
    fn gone(&self) -> impl Iterator<Item = RecordType> {
        RecordType::ALL.into_iter().filter(|k| self.entry(*k).is_some() && !self.wanted.contains_key(k))
    }

    /// Whether what is no longer wanted at this name is to go.
    fn removes(&self) -> bool {
        let policy = self.ask.rules.policy;
        if self.ask.removing || !self.wanted.is_empty() {
            // The stack goes, or the host lives on with other records.
            policy.updates()
        } else {
            policy == berth_model::dns::Policy::Sync
        }
    }

    fn unknown(&self, out: &mut Judgement) {
        for kind in self.wanted.keys().copied() {
            out.block(&self.key(kind), Why::Unknown);
        }
        if self.removes() {
            for kind in self.gone() {
                out.block(&self.key(kind), Why::Unknown);
            }
        }
    }

    fn judge(mut self, out: &mut Judgement) {
        self.find(out);
        let leaving: Vec<_> = self.gone().collect();
        for kind in &leaving {
            self.leave(*kind, out);
        }
        let before = out.blocked.len();
        let wanted: Vec<_> = self.wanted.values().copied().collect();
        for set in wanted {
            if let Err(why) = self.want(set, out) {
                out.block(set.key(), why);
            }
        }
        if out.blocked.len() > before {
            // What would take its place cannot be made: what there is stays, so that the host goes on answering.
            let made_room =
                self.sets.contains_key(&RecordType::Cname) && leaving.contains(&RecordType::Cname);
            self.sets.retain(|kind, _| !leaving.contains(kind));
            if made_room {
                for kind in std::mem::take(&mut self.sets).into_keys() {
                    out.block(&self.key(kind), Why::Held);
                }
            }
        }
        if self.sets.is_empty() {
            return;
        }
        if let Writable::No(why) = &self.view.facts.writable {
            for kind in self.sets.keys() {
                out.right.remove(&self.key(*kind));
                out.block(&self.key(*kind), Why::ReadOnly(why.clone()));
            }
            return;
        }
        out.changes.push(Change { name: self.name.clone(), sets: self.sets });
    }

    /// Whether what is there still says that it is ours: only then it goes.
    fn says(&self, kind: RecordType, owned: &Owned) -> bool {
        let set = self.set(kind);
        let per_value = self.view.facts.marks.per_value();
        owned.mark.is_some() || (per_value && owned.values.iter().any(|v| marked(&set, v)))
    }

    /// A set that we wrote and nobody wants any more.
    fn leave(&mut self, kind: RecordType, out: &mut Judgement) {
        let key = self.key(kind);
        let removes = self.removes();
        // What was sent and not answered may come yet, and would stay. Where the host lives on it is found by its mark.
        let open = self.entry(kind).and_then(|e| e.settle_by).filter(|until| self.ask.now < *until);
        if removes && self.wanted.is_empty() && open.is_some() {
            out.unsettled = out.unsettled.max(open);
            return;
        }
        let owned = match self.standing(kind) {
            Standing::Half(_) => Owned { values: BTreeSet::new(), adopted: BTreeSet::new(), mark: None },
            Standing::Ours(owned) if self.says(kind, &owned) => owned,
            Standing::Nothing => {
                out.learned.push((key, None));
                return;
            }
            _ => {
                if removes {
                    out.note(&key, Noted::Disowned);
                    out.learned.push((key, None));
                }
                return;
            }
        };
        if !removes {
            out.note(&key, Noted::Left);
            return;
        }
        let believed = self.set(kind);
        if believed.protected {
            out.block(&key, Why::Protected);
            return;
        }
        let per_value = self.view.facts.marks.per_value();
        let made = owned.values.difference(&owned.adopted);
        let ours = made.filter(|v| !per_value || marked(&believed, v)).cloned().collect();
        if !owned.adopted.is_empty() {
            out.note(&key, Noted::Released(listed(&owned.adopted)));
        }
        let then = Then::Remove { release: owned.adopted };
        self.sets.insert(kind, SetChange { believed, ours, then });
    }

    /// A set that is wanted.
    fn want(&mut self, wanted: &WantedSet, out: &mut Judgement) -> Result<(), Why> {
        let key = wanted.key();
        if let Some(cut) = self.view.cut(self.name) {
            return Err(Why::Delegated(cut.clone()));
        }
        if wanted.proxied() == Some(true) && !self.view.facts.proxies {
            return Err(Why::NoProxy);
        }
        self.room(key.kind)?;
        let set = self.set(key.kind);
        let beside_all = key.kind == RecordType::Txt;
        match self.standing(key.kind) {
            Standing::Nothing | Standing::Half(_) => {
                self.full()?;
                self.moved(wanted, out);
                self.put(wanted, set, Owned { values: BTreeSet::new(), adopted: BTreeSet::new(), mark: None })
            }
            Standing::Ours(owned) => self.keep(wanted, set, owned, out),
            Standing::Unmarked if beside_all => self.add(wanted, set, out),
            Standing::Taken(whose) if beside_all && self.view.facts.marks.per_value() => {
                if set.data().is_disjoint(wanted.values()) {
                    return self.add(wanted, set, out);
                }
                Err(Why::Conflict { with: shown(self.name, key.kind, &set.data(), &set), whose })
            }
            Standing::Unmarked | Standing::Unproven
                if set.data() == *wanted.values() && set.opaque.is_empty() =>
            {
                self.adopt(wanted, set, out)
            }
            Standing::Unmarked => Err(Why::Conflict {
                with: shown(self.name, key.kind, &set.data(), &set),
                whose: Whose::Unmarked,
            }),
            Standing::Unproven => Err(Why::Unproven { values: listed(&set.data()) }),
            Standing::Taken(whose) => {
                let with = if set.is_empty() {
                    format!("a mark for {key}")
                } else {
                    shown(self.name, key.kind, &set.data(), &set)
                };
                Err(Why::Conflict { with, whose })
            }
        }
    }

    /// Whether other types at the name leave room for this one.
    fn room(&self, kind: RecordType) -> Result<(), Why> {
        let cname = kind == RecordType::Cname;
        if cname && self.wanted.len() > 1 {
            return Err(Why::Contradiction);
        }
        if !cname && self.wanted.contains_key(&RecordType::Cname) {
            return Err(Why::Contradiction);
        }
        let apex = *self.name == self.view.zone.name;
        let flattens = self.view.facts.apex_cname;
        if cname && apex && !flattens {
            return Err(Why::ApexCname);
        }
        for (other, set) in &self.seen.sets {
            let excludes =
                if cname { !(apex && *other == RecordType::Txt) } else { *other == RecordType::Cname };
            if *other == kind || set.is_empty() || !excludes {
                continue;
            }
            // What is ours and goes with this change makes room.
            if self.sets.get(other).is_some_and(|c| c.after().is_empty() && set.opaque.is_empty()) {
                continue;
            }
            let whose = match self.standing(*other) {
                Standing::Taken(whose) => whose,
                Standing::Ours(_) => Whose::Kept,
                _ => Whose::Unmarked,
            };
            return Err(Why::Conflict { with: shown(self.name, *other, &set.data(), set), whose });
        }
        if cname
            && !apex
            && let Some(other) = self.seen.others.first()
        {
            let with = format!("{other} {}", self.name);
            return Err(Why::Conflict { with, whose: Whose::Unmarked });
        }
        Ok(())
    }

    fn full(&self) -> Result<(), Why> {
        match self.view.facts.quota {
            Some(quota) if quota.most.is_some_and(|most| quota.used >= most) => Err(Why::Full(quota)),
            _ => Ok(()),
        }
    }

    fn ttl(&self, wanted: &WantedSet) -> Ttl {
        self.view.facts.ttl.nearest(wanted.ttl())
    }

    fn moved(&self, wanted: &WantedSet, out: &mut Judgement) {
        if let Ttl::Seconds(to) = self.ttl(wanted)
            && Ttl::Seconds(to) != wanted.ttl()
        {
            out.note(wanted.key(), Noted::TtlMoved(to));
        }
    }

    /// A set that is ours, in part or whole.
    fn keep(
        &mut self,
        wanted: &WantedSet,
        set: SeenSet,
        owned: Owned,
        out: &mut Judgement,
    ) -> Result<(), Why> {
        let key = wanted.key();
        self.moved(wanted, out);
        let kept: BTreeSet<_> = set.data().difference(&owned.values).cloned().collect();
        let beside: BTreeSet<_> = kept.difference(wanted.values()).cloned().collect();
        if key.kind != RecordType::Txt && !(beside.is_empty() && set.opaque.is_empty()) {
            out.note(key, Noted::Beside(all(&beside, &set)));
        }
        let differs = self.differences(wanted, &set, &owned);
        self.learn(key, &owned, kept.clone(), out);
        if differs.is_empty() {
            out.right.insert(key.clone());
            return Ok(());
        }
        if !self.ask.rules.policy.updates() {
            out.note(key, Noted::Differs(differs.join("; ")));
            return Ok(());
        }
        // A value that is put and stands there as somebody else's would become ours.
        if let Some(value) = kept.iter().find(|v| wanted.values().contains(*v))
            && !self.ask.rules.adopt
        {
            let one = [value.clone()].into();
            return Err(Why::Conflict {
                with: shown(self.name, key.kind, &one, &SeenSet::default()),
                whose: Whose::Unmarked,
            });
        }
        self.put(wanted, set, owned)
    }

    /// What is not as wanted, in words.
    fn differences(&self, wanted: &WantedSet, set: &SeenSet, owned: &Owned) -> Vec<String> {
        let mut out = Vec::new();
        if owned.values != *wanted.values() {
            out.push(format!("is {}, wanted is {}", listed(&owned.values), listed(wanted.values())));
        }
        let ours: Vec<&SeenValue> = owned.values.iter().filter_map(|v| set.values.get(v)).collect();
        if let Some(proxied) = wanted.proxied()
            && ours.iter().any(|v| v.proxied != proxied)
        {
            out.push(if proxied { "is not proxied" } else { "is proxied" }.to_owned());
        }
        let shared = !self.view.facts.marks.per_value()
            && (set.values.len() > owned.values.len() || !set.opaque.is_empty());
        let ttl = self.ttl(wanted);
        let met = |v: &&&SeenValue| !v.proxied && !ttl.is_met_by(v.ttl, self.view.facts.default_ttl);
        if !shared && let Some(value) = ours.iter().find(met) {
            out.push(format!("its ttl is {}, wanted is {ttl}", value.ttl));
        }
        if out.is_empty() && owned.mark.as_ref() != Some(&self.mark(wanted, &owned.adopted)) {
            out.push("its mark is not up to date".to_owned());
        }
        out
    }

    fn mark(&self, wanted: &WantedSet, adopted: &BTreeSet<RecordData>) -> DnsMark {
        DnsMark {
            owner: self.ask.us.owner.clone(),
            stack: self.ask.us.stack.clone(),
            hash: DnsHash::of(wanted.key(), wanted.values()),
            adopted: !adopted.is_disjoint(wanted.values()),
        }
    }

    /// Keeps the ledger at what is seen of ours.
    fn learn(&self, key: &RecordKey, owned: &Owned, beside: BTreeSet<RecordData>, out: &mut Judgement) {
        let entry = self.written(owned, beside);
        if self.entry(key.kind) != Some(&entry) {
            out.learned.push((key.clone(), Some(entry)));
        }
    }

    /// Texts of nobody known: ours go beside them.
    fn add(&mut self, wanted: &WantedSet, set: SeenSet, out: &mut Judgement) -> Result<(), Why> {
        let there: BTreeSet<_> = set.data().intersection(wanted.values()).cloned().collect();
        if !there.is_empty() && !self.ask.rules.adopt {
            if there == *wanted.values() {
                out.note(wanted.key(), Noted::Unmanaged);
                out.right.insert(wanted.key().clone());
                return Ok(());
            }
            let with = shown(self.name, RecordType::Txt, &there, &SeenSet::default());
            return Err(Why::Conflict { with, whose: Whose::Unmarked });
        }
        self.full()?;
        self.moved(wanted, out);
        self.put(wanted, set, Owned { values: BTreeSet::new(), adopted: there, mark: None })
    }

    /// Exactly what is wanted, without a mark that fits it.
    fn adopt(&mut self, wanted: &WantedSet, set: SeenSet, out: &mut Judgement) -> Result<(), Why> {
        if self.ask.rules.adopt || self.ask.adopt.contains(self.name) {
            let adopted = set.data();
            return self.put(wanted, set, Owned { values: BTreeSet::new(), adopted, mark: None });
        }
        out.note(wanted.key(), Noted::Unmanaged);
        out.right.insert(wanted.key().clone());
        Ok(())
    }

    fn put(&mut self, wanted: &WantedSet, believed: SeenSet, owned: Owned) -> Result<(), Why> {
        if believed.protected {
            return Err(Why::Protected);
        }
        let updates = self.ask.rules.policy.updates();
        let stands = !believed.is_empty();
        let stood: BTreeSet<_> = wanted
            .values()
            .iter()
            .filter(|v| believed.values.contains_key(*v) && !owned.values.contains(*v))
            .collect();
        let adopted: BTreeSet<_> = owned.adopted.iter().chain(stood).cloned().collect();
        let put = Put {
            values: wanted.values().clone(),
            // Where nothing that is there may change, taking over is the mark alone.
            ttl: if stands && !updates { Ttl::Auto } else { self.ttl(wanted) },
            proxied: if stands && !updates { None } else { wanted.proxied() },
            mark: self.mark(wanted, &adopted),
        };
        let change = SetChange { believed, ours: owned.values, then: Then::Put(put) };
        self.sets.insert(wanted.key().kind, change);
        Ok(())
    }
}
