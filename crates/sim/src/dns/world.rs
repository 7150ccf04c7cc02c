//! All zones, servers and credentials, and the clock that they share.
//! It must never read the wall clock: time is told by the caller and applied event by event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::access::Token;
use super::hetzner::Action;
use super::limit::{Bucket, Window};
use super::name::{absolute, within};
use super::options::Options;
use super::order::Order;
use super::server::{Mode, Server, TsigKey};
use super::zone::{Change, Draft, Edits, Provider, RrSet, View, Zone};
use crate::clock::Timers;
use crate::rng::Rng;

/// Something that happens by itself when its time has come.
pub(crate) enum Event {
    /// A call whose client may have gone away.
    Call(Box<Order>),
    /// An action of Hetzner's ends.
    Action(u64),
    /// A change that was accepted before.
    Accepted { zone: u64, edits: Edits, by: String },
}

/// What became of the tokens' budgets.
#[derive(Default)]
pub(crate) struct Budgets {
    pub hetzner: BTreeMap<String, Bucket>,
    pub cloudflare: BTreeMap<String, (Window, Window)>,
    pub hostinger: BTreeMap<String, Window>,
}

/// Everything there is. Tests change it to play another person in the provider's console.
pub struct World {
    pub options: Arc<Options>,
    pub zones: BTreeMap<u64, Zone>,
    /// By absolute name.
    pub servers: BTreeMap<String, Server>,
    pub tokens: Vec<Token>,
    /// Everything that ever changed, oldest first.
    pub changes: Vec<Change>,
    /// Outcomes of the next actions of Hetzner's, in turn; without one an action succeeds.
    pub action_errors: Vec<(&'static str, &'static str)>,
    pub(crate) actions: BTreeMap<u64, Action>,
    pub(crate) budgets: Budgets,
    pub(crate) rng: Rng,
    pub(crate) boot: u64,
    /// Writes that PowerDNS has under way, by account.
    pub(crate) writing: BTreeMap<String, usize>,
    /// Reads see the stores as of then.
    pub(crate) as_of: Option<Duration>,
    pub(crate) now: Duration,
    pub(crate) cache: super::recursor::Cache,
    next_id: u64,
    timers: Timers<Event>,
}

impl World {
    pub(crate) fn new(options: Arc<Options>) -> World {
        World {
            rng: Rng::new(options.seed),
            options,
            zones: BTreeMap::new(),
            servers: BTreeMap::new(),
            tokens: Vec::new(),
            changes: Vec::new(),
            action_errors: Vec::new(),
            actions: BTreeMap::new(),
            budgets: Budgets::default(),
            boot: 0,
            writing: BTreeMap::new(),
            as_of: None,
            now: Duration::ZERO,
            cache: super::recursor::Cache::default(),
            next_id: 1_000,
            timers: Timers::default(),
        }
    }

    /// Time since the start of the simulation.
    pub fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn timestamp(&self, at: Duration) -> Timestamp {
        let span = SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
        self.options.epoch.saturating_add(span).unwrap_or(self.options.epoch)
    }

    pub(crate) fn seconds(&self, at: Duration) -> i64 {
        self.timestamp(at).as_second()
    }

    pub(crate) fn iso(&self, at: Duration) -> String {
        self.timestamp(at).strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn hex_id(&mut self) -> String {
        format!("{:016x}{:016x}", self.rng.next(), self.rng.next())
    }

    pub(crate) fn later(&mut self, wait: Duration, event: Event) {
        self.timers.push(self.now + wait, event);
    }

    /// Lets time pass: everything due until `now` happens, each thing at its own moment.
    pub(crate) fn advance(&mut self, now: Duration) {
        while let Some((at, event)) = self.timers.due(now) {
            self.now = self.now.max(at);
            match event {
                Event::Call(order) => self.run_order(&order),
                Event::Action(id) => super::hetzner::finish(self, id),
                Event::Accepted { zone, edits, by } => self.commit(zone, edits, &by),
            }
        }
        self.now = self.now.max(now);
    }

    /// A new zone with its provider's usual servers, answering at once.
    pub fn add_zone(&mut self, provider: Provider, account: &str, name: &str) -> u64 {
        let id = self.next_id();
        let mut zone = Zone::new(id, name, provider, account, self.now);
        let defaults = super::options::defaults(provider);
        zone.servers = defaults.servers.iter().map(|s| (*s).to_owned()).collect();
        zone.soa.primary = zone.servers.first().cloned().unwrap_or_default();
        zone.soa.minimum = defaults.minimum;
        zone.ttl = defaults.ttl;
        zone.quota = defaults.quota;
        if provider == Provider::PowerDns {
            let first = super::options::next_serial(&zone, self.options.epoch, self.now);
            zone.serials = vec![(self.now, first)];
        }
        if provider != Provider::PowerDns && provider != Provider::Rfc2136 {
            (zone.publish, zone.spread) = (self.options.publish, self.options.spread);
        }
        let apex = zone.name.clone();
        for server in zone.servers.clone() {
            self.add_server(&server);
        }
        if defaults.lists_servers {
            let servers: Vec<&str> = zone.servers.iter().map(String::as_str).collect();
            let edits = Edits::from([((apex, "NS".to_owned()), Some(RrSet::new(zone.ttl, &servers)))]);
            zone.apply(edits, self.now, "provider", || Duration::ZERO);
        }
        self.zones.insert(id, zone);
        id
    }

    /// A server of this name, made when there is none.
    pub fn add_server(&mut self, name: &str) -> &mut Server {
        let name = absolute(name);
        let number = self.servers.len() as u16 + 1;
        self.servers.entry(name.clone()).or_insert_with(|| Server::new(&name, number))
    }

    /// # Panics
    /// Where there is none: a defect of the test.
    pub fn server(&mut self, name: &str) -> &mut Server {
        self.servers.get_mut(&absolute(name)).expect("a server of this name")
    }

    pub fn server_mode(&mut self, name: &str, mode: Mode) {
        self.server(name).mode = mode;
    }

    pub(crate) fn server_at(&self, address: SocketAddr) -> Option<&Server> {
        self.servers.values().find(|s| s.address() == address || s.address_v6() == address)
    }

    /// Lets a key update a zone, those types only where some are named, and transfer it. Its servers learn the key.
    pub fn grant(&mut self, zone: &str, key: TsigKey, types: &[&str]) {
        let zone = self.zone_mut(zone);
        let types = types.iter().map(|t| (*t).to_owned()).collect();
        zone.updates.get_or_insert_default().keys.insert(key.name.clone(), types);
        zone.transfers.push(key.name.clone());
        for server in zone.servers.clone() {
            self.add_server(&server).keys.push(key.clone());
        }
    }

    pub fn add_token(&mut self, token: Token) -> String {
        let secret = token.secret.clone();
        self.tokens.push(token);
        secret
    }

    pub(crate) fn token(&self, provider: Provider, secret: &str) -> Option<Token> {
        let fits = |t: &&Token| t.provider == provider && t.secret == secret && !t.expired;
        self.tokens.iter().find(fits).cloned()
    }

    /// The first zone of this name.
    ///
    /// # Panics
    /// Where there is none: a defect of the test.
    pub fn zone(&self, name: &str) -> &Zone {
        let name = absolute(name);
        self.zones.values().find(|z| z.name == name).expect("a zone of this name")
    }

    /// # Panics
    /// Where there is none: a defect of the test.
    pub fn zone_mut(&mut self, name: &str) -> &mut Zone {
        let name = absolute(name);
        self.zones.values_mut().find(|z| z.name == name).expect("a zone of this name")
    }

    /// A zone's store as reads see it now.
    pub(crate) fn store<'a>(&self, zone: &'a Zone) -> View<'a> {
        zone.view(self.as_of.unwrap_or(self.now))
    }

    /// The moment whose records a server shows of a zone.
    pub(crate) fn shown(&self, server: &Server, zone: &Zone) -> Duration {
        let at = self.as_of.unwrap_or(self.now).saturating_sub(zone.publish + server.lag);
        let stuck = match server.mode {
            Mode::Stuck(since) => Some(since),
            _ => None,
        };
        // What changes at that very moment does not come through any more.
        let before = |end: Duration| end.saturating_sub(Duration::from_nanos(1));
        stuck.into_iter().chain(zone.frozen).map(before).fold(at, Duration::min)
    }

    /// Makes edits of a zone's store, with a new serial when they change something.
    pub(crate) fn commit(&mut self, zone: u64, edits: Edits, by: &str) {
        self.write(zone, edits, by, false);
    }

    /// The same with a new serial however little changes.
    pub(crate) fn write(&mut self, zone: u64, edits: Edits, by: &str, always: bool) {
        let (now, rng) = (self.now, &mut self.rng);
        let Some(zone) = self.zones.get_mut(&zone) else { return };
        let spread = zone.spread;
        let changes = zone.apply(edits, now, by, || spread.mul_f64(rng.unit()));
        let changed = !changes.is_empty();
        self.changes.extend(changes);
        if changed || always {
            let next = super::options::next_serial(zone, self.options.epoch, now);
            zone.bump(now, next);
        }
    }

    /// Another person writes a whole RRset, past every rule. Names without a dot at the end are relative.
    pub fn put(&mut self, zone: &str, name: &str, kind: &str, ttl: u32, values: &[&str]) {
        let mut set = RrSet::new(ttl, values);
        for value in &mut set.values {
            value.id = format!("{:016x}{:016x}", self.rng.next(), self.rng.next());
            (value.created, value.modified) = (self.now, self.now);
        }
        self.put_set(zone, name, kind, set);
    }

    /// The same with everything that a provider keeps beside the values.
    pub fn put_set(&mut self, zone: &str, name: &str, kind: &str, set: RrSet) {
        let zone = self.zone(zone);
        let (id, key) = (zone.id, (zone.full(name), kind.to_owned()));
        self.commit(id, Edits::from([(key, Some(set))]), "another person");
    }

    /// Another person deletes an RRset.
    pub fn remove(&mut self, zone: &str, name: &str, kind: &str) {
        let zone = self.zone(zone);
        let (id, key) = (zone.id, (zone.full(name), kind.to_owned()));
        self.commit(id, Edits::from([(key, None)]), "another person");
    }

    /// Another person imports a zone file: what stands beside the values is gone.
    pub fn wipe_marks(&mut self, zone: &str) {
        let zone = self.zone(zone);
        let id = zone.id;
        let mut draft = Draft::new(zone, self.now);
        for (name, kind) in draft.keys() {
            let mut set = draft.get(&name, &kind).cloned().unwrap_or_default();
            set.labels.clear();
            set.notes.clear();
            for value in &mut set.values {
                value.comment = None;
                value.tags.clear();
            }
            draft.put(&name, &kind, set);
        }
        let edits = draft.into_edits();
        self.commit(id, edits, "another person");
    }

    /// What stands in the store now.
    pub fn get(&self, zone: &str, name: &str, kind: &str) -> Option<RrSet> {
        let zone = self.zone(zone);
        zone.view(self.now).get(&zone.full(name), kind).cloned()
    }

    /// The sorted contents of what stands in the store now; empty where nothing does.
    pub fn contents(&self, zone: &str, name: &str, kind: &str) -> Vec<String> {
        let set = self.get(zone, name, kind).unwrap_or_default();
        set.contents().into_iter().map(str::to_owned).collect()
    }

    /// How often something was made at a name and type where nothing stood.
    pub fn created(&self, name: &str, kind: &str) -> usize {
        let name = absolute(name);
        self.changes.iter().filter(|c| c.creates() && c.name == name && c.kind == kind).count()
    }

    /// The zone with the longest name that holds a name, of those that a server answers for.
    pub(crate) fn zone_served(&self, server: &Server, name: &str) -> Option<&Zone> {
        let served = self.zones.values().filter(|z| z.servers.contains(&server.name));
        served.filter(|z| within(name, &z.name)).max_by_key(|z| z.name.len())
    }

    /// The process of a provider dies and comes back: calls in flight are lost.
    pub(crate) fn restart(&mut self) {
        self.boot += 1;
        self.writing.clear();
    }
}
