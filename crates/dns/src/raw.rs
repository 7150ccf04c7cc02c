//! A zone as its provider holds it: values with their ids and their text byte for byte, which the port does not show
//! and a change must be able to send back.

use crate::provider::Zone;
use berth_model::Time;
use berth_model::dns::{
    Cut, DnsMarkSeen, Fqdn, Known, MarkPlace, RecordData, RecordKey, RecordType, SeenName, SeenSet,
    SeenValue, Ttl, ZoneFacts, ZoneId, ZoneView, companion, companion_of, read,
};
use berth_model::ids::Owner;
use smol_str::SmolStr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RawValue {
    /// What it is; `None` where it cannot be read.
    pub(crate) data: Option<RecordData>,
    /// As it was sent.
    pub(crate) text: String,
    /// The provider's id, where values have one.
    pub(crate) id: Option<String>,
    pub(crate) ttl: Ttl,
    pub(crate) proxied: bool,
    /// It is there and is not answered.
    pub(crate) disabled: bool,
    pub(crate) comment: Option<String>,
}

impl RawValue {
    /// What can be compared: a value that is switched off is not the value.
    pub(crate) fn live(&self) -> Option<&RecordData> {
        self.data.as_ref().filter(|_| !self.disabled)
    }
}

/// A comment of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RawComment {
    pub(crate) content: String,
    pub(crate) account: String,
    pub(crate) modified: Option<i64>,
}

/// One set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct RawSet {
    pub(crate) values: Vec<RawValue>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) comments: Vec<RawComment>,
    pub(crate) protected: bool,
}

impl RawSet {
    /// The lifetime of the set: of its first value.
    pub(crate) fn ttl(&self) -> Option<Ttl> {
        self.values.first().map(|v| v.ttl)
    }
}

/// One look at a zone.
#[derive(Debug, Clone)]
pub(crate) struct Listing {
    pub(crate) at: Time,
    pub(crate) known: Known,
    pub(crate) sets: BTreeMap<Fqdn, BTreeMap<RecordType, RawSet>>,
    pub(crate) others: BTreeMap<Fqdn, BTreeSet<SmolStr>>,
    pub(crate) cuts: BTreeMap<Fqdn, Cut>,
    /// The targets of the NS records at the zone's own name.
    pub(crate) servers: BTreeSet<Fqdn>,
}

/// The longest text of a value that cannot be read, as it is shown.
const SHOWN: usize = 80;

impl Listing {
    pub(crate) fn new(at: Time, known: Known) -> Self {
        Self {
            at,
            known,
            sets: BTreeMap::new(),
            others: BTreeMap::new(),
            cuts: BTreeMap::new(),
            servers: BTreeSet::new(),
        }
    }

    pub(crate) fn set(&mut self, key: RecordKey) -> &mut RawSet {
        self.sets.entry(key.name).or_default().entry(key.kind).or_default()
    }

    /// A record of a type that Berth does not write. `target` is an NS record's.
    pub(crate) fn other(&mut self, zone: &Fqdn, name: Fqdn, kind: &str, target: Option<&str>) {
        if kind.eq_ignore_ascii_case("NS") {
            if name == *zone {
                self.servers.extend(target.and_then(|t| Fqdn::new(t).ok()));
            } else {
                let cut = Cut { name: name.clone(), to: Vec::new() };
                let to = &mut self.cuts.entry(name.clone()).or_insert(cut).to;
                let text = SmolStr::from(berth_wire::redact::cap(target.unwrap_or("?"), SHOWN));
                if !to.contains(&text) {
                    to.push(text);
                    to.sort();
                }
            }
        }
        self.others.entry(name).or_default().insert(berth_wire::redact::cap(kind, 16).into());
    }

    /// How many values it shows, and types of records that Berth does not write.
    pub(crate) fn size(&self) -> usize {
        let values = self.sets.values().flatten().map(|(_, set)| set.values.len());
        values.sum::<usize>() + self.others.values().map(BTreeSet::len).sum::<usize>()
    }

    pub(crate) fn get(&self, key: &RecordKey) -> RawSet {
        self.sets.get(&key.name).and_then(|s| s.get(&key.kind)).cloned().unwrap_or_default()
    }

    /// Takes what a younger look says of these names.
    pub(crate) fn take(&mut self, younger: Listing, names: &BTreeSet<Fqdn>) {
        if younger.known == Known::All {
            *self = younger;
            return;
        }
        let Listing { mut sets, mut others, mut cuts, servers, .. } = younger;
        for name in names {
            fn one<V>(old: &mut BTreeMap<Fqdn, V>, new: &mut BTreeMap<Fqdn, V>, name: &Fqdn) {
                match new.remove(name) {
                    Some(v) => old.insert(name.clone(), v),
                    None => old.remove(name),
                };
            }
            one(&mut self.sets, &mut sets, name);
            one(&mut self.others, &mut others, name);
            one(&mut self.cuts, &mut cuts, name);
        }
        self.cuts.extend(cuts);
        if !servers.is_empty() {
            self.servers = servers;
        }
        if let Known::Names(known) = &mut self.known {
            known.extend(names.iter().cloned());
        }
    }

    /// What stands in a set, with whose it is.
    pub(crate) fn seen(&self, key: &RecordKey, us: &Owner, place: MarkPlace) -> SeenSet {
        let raw = self.get(key);
        let mut set = SeenSet { protected: raw.protected, ..SeenSet::default() };
        for value in &raw.values {
            match value.live() {
                Some(data) => {
                    let mark = match (&value.comment, place) {
                        (Some(text), MarkPlace::ValueComments) => read(text, us),
                        _ => DnsMarkSeen::None,
                    };
                    let seen = SeenValue { ttl: value.ttl, proxied: value.proxied, mark };
                    set.values.insert(data.clone(), seen);
                }
                None => {
                    let off = if value.disabled { "disabled: " } else { "" };
                    let text = format!("{off}{}", berth_wire::redact::cap(&value.text, SHOWN));
                    set.opaque.insert(text.into());
                }
            }
        }
        set.mark = match place {
            MarkPlace::Labels => labels::seen(&raw.labels, us),
            MarkPlace::Comments => one_of(raw.comments.iter().map(|c| read(&c.content, us))),
            MarkPlace::ValueComments => sum(set.values.values().map(|v| &v.mark)),
            MarkPlace::Companions => self.companion(key, us),
        };
        set
    }

    fn companion(&self, key: &RecordKey, us: &Owner) -> DnsMarkSeen {
        let Ok(name) = companion(key) else {
            return DnsMarkSeen::None;
        };
        let raw = self.get(&RecordKey::new(name, RecordType::Txt));
        one_of(raw.values.iter().map(|v| match &v.data {
            Some(RecordData::Txt(text)) => match read(&String::from_utf8_lossy(text.bytes()), us) {
                // What stands in our place and says nothing is another's all the same.
                DnsMarkSeen::None => DnsMarkSeen::Foreign("a text that is no mark".into()),
                mark => mark,
            },
            _ => DnsMarkSeen::Foreign("a text that cannot be read".into()),
        }))
    }

    /// As the port shows it.
    pub(crate) fn view(&self, zone: &Zone, id: &ZoneId, us: &Owner) -> ZoneView {
        let place = zone.facts.marks;
        let mut facts = ZoneFacts::clone(&zone.facts);
        if facts.servers.is_empty() {
            facts.servers = self.servers.iter().cloned().collect();
        }
        let mut names: BTreeMap<Fqdn, SeenName> = BTreeMap::new();
        let mut show = |key: RecordKey| {
            let set = self.seen(&key, us, place);
            if !set.is_nothing() {
                names.entry(key.name).or_default().sets.insert(key.kind, set);
            }
        };
        for (name, sets) in &self.sets {
            for kind in sets.keys() {
                match companion_of(name)
                    .filter(|_| place == MarkPlace::Companions && *kind == RecordType::Txt)
                {
                    // Also where its record is not there: a half.
                    Some(of) => show(of),
                    None => show(RecordKey::new(name.clone(), *kind)),
                }
            }
        }
        for (name, others) in &self.others {
            names.entry(name.clone()).or_default().others = others.clone();
        }
        ZoneView {
            zone: id.clone(),
            at: self.at,
            known: self.known.clone(),
            names,
            cuts: self.cuts.clone(),
            facts: Arc::new(facts),
        }
    }
}

/// Several marks that do not agree are nobody's to touch.
fn one_of(marks: impl Iterator<Item = DnsMarkSeen>) -> DnsMarkSeen {
    let mut found = DnsMarkSeen::None;
    for mark in marks.filter(|m| *m != DnsMarkSeen::None) {
        if found != DnsMarkSeen::None && found != mark {
            return DnsMarkSeen::Foreign("several marks that do not agree".into());
        }
        found = mark;
    }
    found
}

/// What values say together: ours as soon as one is.
fn sum<'a>(marks: impl Iterator<Item = &'a DnsMarkSeen> + Clone) -> DnsMarkSeen {
    let ours = marks.clone().find(|m| m.ours().is_some());
    ours.or_else(|| marks.clone().find(|m| **m != DnsMarkSeen::None)).cloned().unwrap_or_default()
}

/// Marks in labels, a word each.
pub(crate) mod labels {
    use berth_model::dns::{DnsMark, DnsMarkSeen};
    use berth_model::ids::Owner;
    use std::collections::BTreeMap;

    const OWNER: &str = "berth.dev/owner";
    const STACK: &str = "berth.dev/stack";
    /// What was made; the text mark's `h`.
    const MADE: &str = "berth.dev/h";
    /// What was taken over; the text mark's `a`.
    const ADOPTED: &str = "berth.dev/a";

    /// The mark in a set of labels.
    pub(crate) fn seen(labels: &BTreeMap<String, String>, us: &Owner) -> DnsMarkSeen {
        let get = |key: &str| labels.get(key).map(String::as_str);
        if [OWNER, STACK, MADE, ADOPTED].iter().all(|k| get(k).is_none()) {
            return DnsMarkSeen::None;
        }
        let (owner, stack) = (get(OWNER).unwrap_or("?"), get(STACK).unwrap_or("?"));
        let word = match (get(MADE), get(ADOPTED)) {
            (Some(hash), None) => format!("h={hash}"),
            (None, Some(hash)) => format!("a={hash}"),
            _ => String::new(),
        };
        let text = format!("berth/1 {owner}/{stack} {word}");
        match berth_model::dns::read(&text, us) {
            DnsMarkSeen::None => DnsMarkSeen::Foreign("labels that are no mark".into()),
            mark => mark,
        }
    }

    /// The labels with this mark among them, or without any mark. Other labels stay.
    pub(crate) fn with(
        labels: &BTreeMap<String, String>,
        mark: Option<&DnsMark>,
    ) -> BTreeMap<String, String> {
        let mut labels = labels.clone();
        labels.retain(|key, _| ![OWNER, STACK, MADE, ADOPTED].contains(&key.as_str()));
        if let Some(mark) = mark {
            labels.insert(OWNER.to_owned(), mark.owner.to_string());
            labels.insert(STACK.to_owned(), mark.stack.to_string());
            let key = if mark.adopted { ADOPTED } else { MADE };
            labels.insert(key.to_owned(), mark.hash.to_string());
        }
        labels
    }
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
