//! What the engine holds in memory: the store's content, what is wanted, what was seen last. Plain data behind one
//! lock; whoever holds it does not wait for anything.

use crate::queue::Queue;
use berth_model::Time;
use berth_model::condition::{Phase, Reason};
use berth_model::config::DnsZone;
use berth_model::dns::{Fqdn, RecordKey, ZoneId};
use berth_model::ids::{AppId, AppName, BackendName, Key, OperationId, StackName};
use berth_model::observed::{FleetView, SeenApp};
use berth_model::record::{Intent, IntentTarget, Record, StackStatus};
use berth_model::stack::Stack;
use berth_plan::{Expected, Hold};
use berth_ports::{SecretRow, Snapshot, Wanted};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Settings of the engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Us.
    pub owner: berth_model::Owner,
    /// Per account.
    pub backends: BTreeMap<BackendName, BackendOptions>,
    /// What differs from the defaults, by DNS zone.
    pub zones: BTreeMap<Fqdn, DnsZone>,
    /// Times.
    pub intervals: berth_model::config::Intervals,
    /// Runs at once, per account: what was woken starts soon, however many others are at it.
    pub runs: usize,
    /// Runs at once that make new applications, per account: the first of many is done early, not all of them late.
    pub makes: usize,
    /// What an unanswered create may take to show: the call's own time limit and 30 s.
    pub settle: Duration,
    /// Health checks at once.
    pub probes: usize,
    /// Which app this daemon is.
    pub identity: crate::itself::Identity,
}

/// Settings of one account.
#[derive(Debug, Clone, Default)]
pub struct BackendOptions {
    /// Ask the registry before a create.
    pub check_registry: bool,
    /// Where the records of its hosts lead; `None` for the address that it has for its server itself.
    pub address: Option<berth_model::config::Address>,
}

/// The state.
pub(crate) struct State {
    pub(crate) records: BTreeMap<Key, Box<Record>>,
    pub(crate) intents: BTreeMap<OperationId, Intent>,
    pub(crate) statuses: BTreeMap<Key, Box<StackStatus>>,
    pub(crate) secrets: Secrets,
    pub(crate) last_event: u64,
    pub(crate) last_run: u64,
    pub(crate) last_request: u64,
    pub(crate) wanted: Arc<Wanted>,
    pub(crate) queues: BTreeMap<BackendName, Queue>,
    pub(crate) accounts: BTreeMap<BackendName, Account>,
    pub(crate) expected: HashMap<Key, Expected>,
    pub(crate) live: HashMap<Key, Transient>,
    pub(crate) confirmed: BTreeSet<String>,
    /// Records that may go though they are many.
    pub(crate) confirmed_records: BTreeSet<(ZoneId, RecordKey)>,
    /// Records with our mark that nobody knows, by zone, as far as zones were looked at.
    pub(crate) lost_records: BTreeMap<ZoneId, usize>,
    /// Tags that are followed, by image.
    pub(crate) followed: BTreeMap<String, crate::follow::Followed>,
    pub(crate) stopping: bool,
    /// A commit was not answered: memory and store may differ.
    pub(crate) doubt: bool,
    /// Why the last commit failed, if it did.
    pub(crate) store_trouble: Option<String>,
    /// Keys that no run has judged since they last changed, or since the start.
    pub(crate) unjudged: BTreeSet<Key>,
    /// When the wanted set last changed, for the time from change to first call.
    pub(crate) changed: HashMap<Key, Instant>,
    pub(crate) first_calls: HashMap<Key, Instant>,
    /// Places that more than one stack may make, while one makes them.
    pub(crate) making: BTreeSet<Place>,
    /// When such places were made: who looked before that does not know them.
    pub(crate) made: BTreeMap<Place, Time>,
    pub(crate) probes: BTreeMap<(Instant, Key), ()>,
    pub(crate) probe_of: HashMap<Key, Instant>,
    /// Looks at certificates that nothing else would show.
    pub(crate) handshakes: crate::certificates::Handshakes,
}

/// A project or environment of an account.
pub(crate) type Place = (BackendName, IntentTarget);

/// Given secrets, sealed, by stack.
#[derive(Debug, Default)]
pub(crate) struct Secrets(HashMap<String, Vec<SecretRow>>);

impl Secrets {
    pub(crate) fn new(rows: Vec<SecretRow>) -> Self {
        let mut all = Self::default();
        for row in rows {
            all.0.entry(row.stack.clone()).or_default().push(row);
        }
        all
    }

    pub(crate) fn find(&self, stack: &str, app: Option<&AppName>, name: &str) -> Option<&SecretRow> {
        self.0.get(stack)?.iter().find(|r| r.app.as_ref() == app && r.name == name)
    }

    pub(crate) fn put(&mut self, row: SecretRow) {
        self.remove(&row.stack, row.app.as_ref(), &row.name);
        self.0.entry(row.stack.clone()).or_default().push(row);
    }

    pub(crate) fn remove(&mut self, stack: &str, app: Option<&AppName>, name: &str) {
        if let Some(rows) = self.0.get_mut(stack) {
            rows.retain(|r| !(r.app.as_ref() == app && r.name == name));
        }
    }
}

/// What is known of an account between runs.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) view: Option<Arc<FleetView>>,
    /// Looks since the start.
    pub(crate) looks: u64,
    /// Apps that a look showed and the store does not know.
    pub(crate) sighted: BTreeSet<(StackName, AppName)>,
    /// The last attempt to look failed: why.
    pub(crate) trouble: Option<(Reason, String)>,
    pub(crate) hold: Option<Hold>,
    /// The hold that was told as an event.
    pub(crate) told: Option<String>,
    /// Addresses promised to stacks that are being made: until they are Ready no look shows all that they take.
    pub(crate) promised: BTreeMap<Key, u64>,
    /// Where the audit stands: the last key it visited.
    pub(crate) audited: Option<Key>,
    /// Keys that the audit is due to read, with what adds up to one.
    pub(crate) audit_due: f64,
    /// Places that a stack was woken for because it does not use them.
    pub(crate) places_told: BTreeSet<String>,
    pub(crate) next_pass: Option<Instant>,
    /// A pass has judged the account since the start.
    pub(crate) passed: bool,
    /// Its hosts' certificates, as they were last seen.
    pub(crate) certificates: crate::certificates::Certificates,
}

impl Account {
    /// Addresses left for new services, apart from those promised to others than this key; `None` where it is not known.
    pub(crate) fn room(&self, key: Option<&Key>) -> Option<u64> {
        let network = self.view.as_ref()?.network.present()?;
        let promised: u64 = self.promised.iter().filter(|(k, _)| Some(*k) != key).map(|(_, n)| n).sum();
        Some(network.usable.saturating_sub(network.used + promised))
    }
}

/// What need not survive a restart.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Transient {
    /// A view older than this does not show our own deletes.
    pub(crate) fresh_after: Time,
    /// Applications as our writes left them.
    pub(crate) overlay: BTreeMap<AppId, (Time, SeenApp)>,
    /// Read everything again in the next run.
    pub(crate) verify: bool,
    /// Deploy again in the next run.
    pub(crate) pull: bool,
    /// When each phase of the open rollout began.
    pub(crate) phases: Vec<(Phase, Time)>,
    /// What a probe last said of each app, with when.
    pub(crate) health: BTreeMap<AppName, (bool, String)>,
    /// Bad answers in a row of each app.
    pub(crate) bad: BTreeMap<AppName, u32>,
    /// Since when the daemon's own deployment is put off.
    pub(crate) put_off: Option<Time>,
    /// Why it runs next, for `explain`.
    pub(crate) next: Option<(Time, String)>,
}

impl State {
    pub(crate) fn new<'a>(
        snapshot: Snapshot,
        backends: impl Iterator<Item = &'a BackendName> + Clone,
    ) -> Self {
        let mut state = Self {
            records: BTreeMap::new(),
            intents: BTreeMap::new(),
            statuses: BTreeMap::new(),
            secrets: Secrets::default(),
            last_event: 0,
            last_run: 0,
            last_request: 0,
            wanted: Arc::default(),
            queues: backends.clone().map(|b| (b.clone(), Queue::default())).collect(),
            accounts: backends.map(|b| (b.clone(), Account::default())).collect(),
            expected: HashMap::new(),
            live: HashMap::new(),
            confirmed: BTreeSet::new(),
            confirmed_records: BTreeSet::new(),
            lost_records: BTreeMap::new(),
            followed: BTreeMap::new(),
            stopping: false,
            doubt: false,
            store_trouble: None,
            unjudged: BTreeSet::new(),
            changed: HashMap::new(),
            first_calls: HashMap::new(),
            making: BTreeSet::new(),
            made: BTreeMap::new(),
            probes: BTreeMap::new(),
            probe_of: HashMap::new(),
            handshakes: Default::default(),
        };
        state.keep(snapshot);
        state
    }

    /// Takes what the store holds.
    pub(crate) fn keep(&mut self, mut snapshot: Snapshot) {
        snapshot.records.iter_mut().for_each(|(_, record)| record.compact());
        snapshot.statuses.iter_mut().for_each(|status| status.compact());
        self.records = snapshot.records.into_iter().collect();
        self.intents = snapshot.intents.into_iter().map(|i| (i.op.clone(), i)).collect();
        self.statuses = snapshot.statuses.into_iter().map(|s| (s.key.clone(), s)).collect();
        self.secrets = Secrets::new(snapshot.secrets);
        self.last_event = snapshot.last_event;
        self.last_run = snapshot.last_run;
        self.last_request = snapshot.last_request;
    }

    /// The account a key lives in: its manifest's, else the recorded one.
    pub(crate) fn backend_of(&self, key: &Key) -> Option<BackendName> {
        let wanted = match key {
            Key::Stack(name) => self.wanted.stacks.get(name).map(|s| s.target.backend.clone()),
            Key::Project(name) => self.wanted.projects.get(name).map(|p| p.backend.clone()),
        };
        wanted.or_else(|| self.records.get(key).and_then(|r| r.backend.clone()))
    }

    pub(crate) fn tenant_of(&self, key: &Key) -> String {
        match key {
            Key::Stack(name) => {
                self.wanted.stacks.get(name).and_then(|s| s.tenant.clone()).unwrap_or_default()
            }
            Key::Project(_) => String::new(),
        }
    }

    /// Names that wanted stacks had before.
    pub(crate) fn former_names(&self) -> BTreeSet<StackName> {
        self.wanted.stacks.values().filter_map(|s| s.formerly.clone()).collect()
    }

    /// The wanted stack of an account that had this name before.
    pub(crate) fn heir(&self, backend: &BackendName, name: &StackName) -> Option<&Arc<Stack>> {
        let mut all = self.wanted.stacks.values();
        all.find(|s| s.formerly.as_ref() == Some(name) && s.target.backend == *backend)
    }

    /// Whether a key is wanted.
    pub(crate) fn is_wanted(&self, key: &Key) -> bool {
        match key {
            Key::Stack(name) => self.wanted.stacks.contains_key(name),
            Key::Project(name) => self.wanted.projects.contains_key(name),
        }
    }

    /// Most keys rest, and then there is nothing to keep of them.
    pub(crate) fn rests(&mut self, key: &Key) {
        if self.live.get(key).is_some_and(|t| *t == Transient::default()) {
            self.live.remove(key);
            if self.live.capacity() > 4 * self.live.len() + 256 {
                self.live.shrink_to(2 * self.live.len());
            }
        }
    }

    pub(crate) fn transient(&mut self, key: &Key) -> &mut Transient {
        self.live.entry(key.clone()).or_default()
    }
}
