//! A zone with everything that ever stood in it. A change is made whole or not at all, and none is forgotten.
//! It must never know a provider's rules: who writes has checked them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::name::{absolute, expand};

/// Whose API holds the zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    Hetzner,
    Cloudflare,
    Hostinger,
    PowerDns,
    /// A plain name server with dynamic updates; it behaves as BIND.
    Rfc2136,
}

impl Provider {
    pub const ALL: [Provider; 5] =
        [Provider::Hetzner, Provider::Cloudflare, Provider::Hostinger, Provider::PowerDns, Provider::Rfc2136];

    /// As procedures, rules and the log begin.
    pub fn name(self) -> &'static str {
        match self {
            Provider::Hetzner => "hetzner",
            Provider::Cloudflare => "cloudflare",
            Provider::Hostinger => "hostinger",
            Provider::PowerDns => "powerdns",
            Provider::Rfc2136 => "dns",
        }
    }
}

/// What the provider finds when it looks at the parent's delegation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delegation {
    Valid,
    PartiallyValid,
    Invalid,
    Lame,
    Unregistered,
    Unknown,
}

/// One value of an RRset, with what providers keep beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Value {
    /// Of a provider that keeps one object for each value.
    pub id: String,
    /// As it was written.
    pub content: String,
    /// Its own TTL, where values have one.
    pub ttl: Option<u32>,
    pub comment: Option<String>,
    pub tags: Vec<String>,
    pub disabled: bool,
    pub proxied: bool,
    pub flatten: bool,
    pub created: Duration,
    pub modified: Duration,
}

impl Value {
    pub fn new(content: &str) -> Value {
        Value { content: content.to_owned(), ..Value::default() }
    }
}

/// A comment on a whole RRset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    pub content: String,
    pub account: String,
    pub modified: i64,
}

/// All values of one name and type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RrSet {
    /// `None` is the zone's default.
    pub ttl: Option<u32>,
    pub values: Vec<Value>,
    pub labels: BTreeMap<String, String>,
    pub protected: bool,
    pub notes: Vec<Note>,
}

impl RrSet {
    pub fn new(ttl: u32, values: &[&str]) -> RrSet {
        RrSet { ttl: Some(ttl), values: values.iter().map(|v| Value::new(v)).collect(), ..RrSet::default() }
    }

    /// The contents, sorted.
    pub fn contents(&self) -> Vec<&str> {
        let mut out: Vec<&str> = self.values.iter().map(|v| v.content.as_str()).collect();
        out.sort_unstable();
        out
    }
}

/// Name and type.
pub type Key = (String, String);

/// What stands at keys after a change; `None` is nothing.
pub(crate) type Edits = BTreeMap<Key, Option<RrSet>>;

#[derive(Clone, Debug)]
struct Version {
    at: Duration,
    /// How much later than the rest of the zone the servers show it.
    late: Duration,
    set: Option<Arc<RrSet>>,
}

/// One thing that happened to one RRset.
#[derive(Clone, Debug)]
pub struct Change {
    pub at: Duration,
    pub zone: String,
    pub name: String,
    pub kind: String,
    /// The credential that it was made with, or who else made it.
    pub by: String,
    pub before: Option<Arc<RrSet>>,
    pub after: Option<Arc<RrSet>>,
}

impl Change {
    /// Something was made where nothing stood.
    pub fn creates(&self) -> bool {
        self.before.is_none() && self.after.is_some()
    }

    pub fn deletes(&self) -> bool {
        self.before.is_some() && self.after.is_none()
    }
}

/// The start of authority but for its serial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa {
    pub primary: String,
    pub mailbox: String,
    pub refresh: u32,
    pub retry: u32,
    pub expire: u32,
    /// The TTL of negative answers, together with `ttl`.
    pub minimum: u32,
    pub ttl: u32,
}

impl Soa {
    pub(crate) fn content(&self, serial: u32) -> String {
        let Soa { primary, mailbox, refresh, retry, expire, minimum, .. } = self;
        format!("{primary} {mailbox} {serial} {refresh} {retry} {expire} {minimum}")
    }
}

/// Who may update a zone by DNS messages.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Updates {
    /// Key names and the types that each may write; no types means all.
    pub keys: BTreeMap<String, Vec<String>>,
    /// Without a signature, too.
    pub unsigned: bool,
}

/// The zone as it was at a change, of a provider that keeps such.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub id: u64,
    pub reason: String,
    pub at: Duration,
    pub sets: Vec<(Key, Arc<RrSet>)>,
}

#[derive(Clone, Debug)]
pub struct Zone {
    pub id: u64,
    /// Absolute, with its dot.
    pub name: String,
    pub provider: Provider,
    /// Project, account, user or server that holds it.
    pub account: String,
    pub ttl: u32,
    pub soa: Soa,
    /// Names of the servers that answer for it.
    pub servers: Vec<String>,
    pub delegation: Delegation,
    /// False for one that is only a copy of what another primary has.
    pub primary: bool,
    /// From the store to the servers.
    pub publish: Duration,
    /// At most this much more, for each RRset another amount.
    pub spread: Duration,
    /// What the servers show stands still since then: publishing failed.
    pub frozen: Option<Duration>,
    pub updates: Option<Updates>,
    /// Keys that may transfer it; none means nobody may.
    pub transfers: Vec<String>,
    /// Values at most.
    pub quota: usize,
    /// `active`, `pending`, … as the provider says it.
    pub status: String,
    pub labels: BTreeMap<String, String>,
    pub created: Duration,
    pub(crate) serials: Vec<(Duration, u32)>,
    pub(crate) snapshots: Vec<Snapshot>,
    pub(crate) last_change: Duration,
    names: BTreeMap<String, BTreeMap<String, Vec<Version>>>,
}

impl Zone {
    pub(crate) fn new(id: u64, name: &str, provider: Provider, account: &str, now: Duration) -> Zone {
        let name = absolute(name);
        let soa = Soa {
            primary: String::new(),
            mailbox: format!("hostmaster.{name}"),
            refresh: 10_800,
            retry: 3_600,
            expire: 604_800,
            minimum: 3_600,
            ttl: 3_600,
        };
        Zone {
            id,
            name,
            provider,
            account: account.to_owned(),
            ttl: 3_600,
            soa,
            servers: Vec::new(),
            delegation: Delegation::Valid,
            primary: true,
            publish: Duration::ZERO,
            spread: Duration::ZERO,
            frozen: None,
            updates: None,
            transfers: Vec::new(),
            quota: usize::MAX,
            status: "active".to_owned(),
            labels: BTreeMap::new(),
            created: now,
            serials: vec![(now, 1)],
            snapshots: Vec::new(),
            last_change: now,
            names: BTreeMap::new(),
        }
    }

    /// The store at a moment.
    pub fn view(&self, at: Duration) -> View<'_> {
        View { zone: self, at, served: false }
    }

    /// What a server shows that is as far behind as `at`.
    pub(crate) fn served(&self, at: Duration) -> View<'_> {
        View { zone: self, at, served: true }
    }

    pub fn serial(&self) -> u32 {
        self.serials.last().map_or(1, |(_, serial)| *serial)
    }

    pub(crate) fn bump(&mut self, now: Duration, serial: u32) {
        self.serials.push((now, serial));
        self.last_change = now;
    }

    /// Makes the edits; tells what they changed.
    pub(crate) fn apply(
        &mut self,
        edits: Edits,
        now: Duration,
        by: &str,
        mut late: impl FnMut() -> Duration,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for ((name, kind), set) in edits {
            let before = self.view(now).shared(&name, &kind);
            let after = set.filter(|set| !set.values.is_empty() || !set.notes.is_empty()).map(Arc::new);
            if before == after {
                continue;
            }
            let version = Version { at: now, late: late(), set: after.clone() };
            self.names.entry(name.clone()).or_default().entry(kind.clone()).or_default().push(version);
            let (zone, by) = (self.name.clone(), by.to_owned());
            changes.push(Change { at: now, zone, name, kind, by, before, after });
        }
        changes
    }

    /// Everything that stood at a name and type, with the time since when.
    pub fn history(&self, name: &str, kind: &str) -> Vec<(Duration, Option<Arc<RrSet>>)> {
        let versions = self.names.get(&self.full(name)).and_then(|kinds| kinds.get(kind));
        versions.into_iter().flatten().map(|v| (v.at, v.set.clone())).collect()
    }

    /// An absolute name from `@`, a relative or a dotted one.
    pub fn full(&self, name: &str) -> String {
        if name.ends_with('.') { absolute(name) } else { expand(name, &self.name) }
    }
}

/// A zone at one moment.
#[derive(Clone, Copy)]
pub struct View<'a> {
    zone: &'a Zone,
    at: Duration,
    served: bool,
}

impl<'a> View<'a> {
    fn pick(self, versions: &'a [Version]) -> Option<&'a Arc<RrSet>> {
        let late = |v: &Version| if self.served { v.late } else { Duration::ZERO };
        versions.iter().rev().find(|v| v.at + late(v) <= self.at).and_then(|v| v.set.as_ref())
    }

    fn shared(self, name: &str, kind: &str) -> Option<Arc<RrSet>> {
        self.zone.names.get(name)?.get(kind).and_then(|versions| self.pick(versions)).cloned()
    }

    /// By an absolute name.
    pub fn get(self, name: &str, kind: &str) -> Option<&'a RrSet> {
        self.zone.names.get(name)?.get(kind).and_then(|versions| self.pick(versions)).map(Arc::as_ref)
    }

    /// Types that stand at an absolute name.
    pub fn kinds(self, name: &str) -> Vec<&'a str> {
        let kinds = self.zone.names.get(name).into_iter().flatten();
        kinds.filter(|(_, versions)| self.pick(versions).is_some()).map(|(kind, _)| kind.as_str()).collect()
    }

    /// All RRsets, by name and type.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str, &'a RrSet)> {
        self.zone.names.iter().flat_map(move |(name, kinds)| {
            kinds.iter().filter_map(move |(kind, versions)| {
                Some((name.as_str(), kind.as_str(), self.pick(versions)?.as_ref()))
            })
        })
    }

    pub(crate) fn sets(self) -> Vec<(Key, Arc<RrSet>)> {
        let each =
            self.iter().map(|(name, kind, set)| ((name.to_owned(), kind.to_owned()), Arc::new(set.clone())));
        each.collect()
    }

    /// The serial of that moment.
    pub fn serial(self) -> u32 {
        let serials = &self.zone.serials;
        let found = serials.iter().rev().find(|(at, _)| *at <= self.at).or(serials.first());
        found.map_or(1, |(_, serial)| *serial)
    }
}

/// A change that is being prepared: reads see it, nobody else does.
pub(crate) struct Draft<'a> {
    view: View<'a>,
    edits: Edits,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(zone: &'a Zone, now: Duration) -> Draft<'a> {
        Draft { view: zone.view(now), edits: Edits::new() }
    }

    pub(crate) fn get(&self, name: &str, kind: &str) -> Option<&RrSet> {
        match self.edits.get(&(name.to_owned(), kind.to_owned())) {
            Some(edit) => edit.as_ref(),
            None => self.view.get(name, kind),
        }
    }

    pub(crate) fn put(&mut self, name: &str, kind: &str, set: RrSet) {
        self.edits.insert((name.to_owned(), kind.to_owned()), Some(set));
    }

    pub(crate) fn remove(&mut self, name: &str, kind: &str) {
        self.edits.insert((name.to_owned(), kind.to_owned()), None);
    }

    /// Types that stand at a name and have values.
    pub(crate) fn kinds(&self, name: &str) -> BTreeSet<String> {
        let edited = self.edits.keys().filter(|(n, _)| n == name).map(|(_, kind)| kind.clone());
        let all = self.view.kinds(name).into_iter().map(str::to_owned).chain(edited);
        all.filter(|kind| self.get(name, kind).is_some_and(|set| !set.values.is_empty())).collect()
    }

    /// All keys with something at them.
    pub(crate) fn keys(&self) -> BTreeSet<Key> {
        let stored = self.view.iter().map(|(name, kind, _)| (name.to_owned(), kind.to_owned()));
        let all = stored.chain(self.edits.keys().cloned());
        all.filter(|(name, kind)| self.get(name, kind).is_some()).collect()
    }

    pub(crate) fn into_edits(self) -> Edits {
        self.edits
    }
}
