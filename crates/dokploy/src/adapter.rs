//! One account: what it holds, and the port's methods, each a line that leads to where the work is done.

use crate::batch::{Batching, Queue};
use crate::cell::Cell;
use crate::diagnose::Standing;
use crate::pace::Pace;
use berth_model::Time;
use berth_model::ids::{AppId, Owner, ServiceName};
use berth_model::observed::{FleetView, Jobs, Seen, SeenService};
use berth_model::remote::{Fact, Read, Write, Written};
use berth_ports::{BackendState, Diagnosis, Pace as Urgency, Platform, PortError};
use berth_wire::{Call, Client, Dice, KeyPlace, KeySource, Limits, Observer, Reply, Setup, Transport};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// How one account is used.
pub struct Options {
    /// Its name in `berth.yaml`.
    pub name: String,
    /// Whose marks are ours.
    pub owner: Owner,
    /// `http://host:3000`.
    pub url: String,
    /// Where its key comes from. It is read once when the account is made.
    pub key: Arc<dyn KeySource>,
    /// Requests in flight, the longest wait, retries.
    pub limits: Limits,
    /// Domain writes in flight: a server locks itself up over twelve, so keep this far below ten.
    pub domain_writes: usize,
    /// Reads in one batch.
    pub batch: usize,
    /// The organization that the key must belong to. `None` takes the first one seen and stays with it.
    pub organization: Option<String>,
    /// Wall time.
    pub clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Chance.
    pub dice: Dice,
    /// Counts calls.
    pub observer: Arc<dyn Observer>,
    /// Long lists are read by a thread of their own, so that nothing waits for that. Off by default: on virtual time
    /// a run replays only while no thread takes part.
    pub aside: bool,
}

impl Options {
    /// With what may be left out filled in.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        owner: Owner,
        url: impl Into<String>,
        key: Arc<dyn KeySource>,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
    ) -> Self {
        Self {
            name: name.into(),
            owner,
            url: url.into(),
            key,
            limits: Limits::default(),
            domain_writes: 2,
            batch: 20,
            organization: None,
            clock,
            dice: berth_wire::system_dice(),
            observer: Arc::new(berth_wire::Silent),
            aside: false,
        }
    }
}

/// How long reads that follow each stack's writes wait for those of other stacks, while there are such.
const GATHERED: Duration = Duration::from_millis(100);

/// What `swarm.getNodeApps` shows.
pub(crate) type Services = Seen<Arc<HashMap<ServiceName, SeenService>>>;

/// When shared looks last began.
#[derive(Default)]
pub(crate) struct Looked {
    pub(crate) jobs: Mutex<Option<Instant>>,
    pub(crate) services: Mutex<Option<Instant>>,
}

/// A Dokploy account.
pub struct Dokploy<T: Transport> {
    inner: Arc<Inner<T>>,
}

impl<T: Transport> Clone for Dokploy<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

pub(crate) struct Inner<T> {
    pub(crate) name: String,
    pub(crate) owner: Owner,
    pub(crate) aside: bool,
    pub(crate) client: Client<T>,
    pub(crate) clock: Arc<dyn Fn() -> Time + Send + Sync>,
    key: Arc<dyn KeySource>,
    renewing: tokio::sync::Mutex<()>,
    /// The organization that the account was pinned to.
    pub(crate) pinned: Mutex<Option<String>>,
    /// Our writes that were finished, well or not.
    writes: AtomicU64,
    /// Rises with every key and every refusal: what was found out about the key before counts no more.
    pub(crate) epoch: AtomicU64,
    /// Calls that passed with the key in use.
    pub(crate) passed: AtomicU64,
    /// How many had passed when the key was refused without a reason.
    pub(crate) refused_after: Mutex<Option<u64>>,
    /// The version that was last seen: with another one, what the server can do is found out anew.
    pub(crate) version: Mutex<Option<String>>,
    /// `overview.domains` is there.
    pub(crate) has_domains: AtomicBool,
    pub(crate) standing: Arc<Cell<Arc<Standing>>>,
    pub(crate) fleet: Arc<Cell<Arc<FleetView>>>,
    pub(crate) jobs: Arc<Cell<Arc<Jobs>>>,
    pub(crate) services: Arc<Cell<Services>>,
    /// When the last looks at the queue and at what runs began.
    pub(crate) looked: Looked,
    pub(crate) room: Arc<Cell<Option<u64>>>,
    pub(crate) run: Arc<Queue>,
    pub(crate) docker: Arc<Queue>,
    pub(crate) routers: Arc<Queue>,
    pub(crate) audit: Arc<Queue>,
    pub(crate) batching: Batching,
    pub(crate) domain_places: usize,
    pub(crate) domain_writes: Semaphore,
    per_app: Mutex<HashMap<AppId, Weak<tokio::sync::Mutex<()>>>>,
}

impl<T: Transport> Dokploy<T> {
    /// An account over this transport. Sends nothing yet.
    ///
    /// # Errors
    /// The URL is not one, or there is no key.
    pub fn new(options: Options, transport: T) -> Result<Self, String> {
        let key = options
            .key
            .read()
            .ok_or_else(|| format!("backend {}: its key cannot be read, or is empty", options.name))?;
        let setup = Setup {
            base: options.url,
            key_place: KeyPlace::header("x-api-key"),
            key,
            limits: options.limits,
            judge: Arc::new(crate::errors::Answers),
            probe: query("user.session"),
            health: Some((
                Call::get("health", "/api/health"),
                "the API hangs while /api/health answers: Dokploy's database pool is locked; restart the dokploy service"
                    .to_owned(),
            )),
            dice: options.dice,
            observer: options.observer,
            budget: None,
        };
        let client =
            Client::new(transport, setup).map_err(|why| format!("backend {}: {why}", options.name))?;
        let domain_places = options.domain_writes.clamp(1, 8);
        let batch = options.batch.clamp(1, 50);
        let inner = Inner {
            name: options.name,
            owner: options.owner,
            client,
            clock: options.clock,
            key: options.key,
            aside: options.aside,
            renewing: tokio::sync::Mutex::new(()),
            pinned: Mutex::new(options.organization),
            writes: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            passed: AtomicU64::new(0),
            refused_after: Mutex::new(None),
            version: Mutex::new(None),
            has_domains: AtomicBool::new(true),
            standing: Cell::new(),
            fleet: Cell::new(),
            jobs: Cell::new(),
            services: Cell::new(),
            looked: Looked::default(),
            room: Cell::new(),
            run: Arc::new(Queue::new(false)),
            docker: Arc::new(Queue::spaced(GATHERED)),
            routers: Arc::new(Queue::spaced(GATHERED)),
            audit: Arc::new(Queue::new(true)),
            batching: Batching {
                most: batch,
                refused: AtomicBool::new(false),
                pace: Mutex::new(Pace::new(batch)),
            },
            domain_places,
            domain_writes: Semaphore::new(domain_places),
            per_app: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }
}

impl<T: Transport> Platform for Dokploy<T> {
    async fn sweep(&self, max_age: Duration) -> Result<Arc<FleetView>, PortError> {
        self.inner.sweep(max_age).await
    }

    async fn read(&self, read: &Read, pace: Urgency) -> Result<Fact, PortError> {
        self.inner.read(read, pace == Urgency::Audit).await
    }

    async fn write(&self, write: &Write) -> Result<Written, PortError> {
        self.inner.write(write).await
    }

    async fn diagnose(&self) -> Result<Diagnosis, PortError> {
        self.inner.diagnose().await
    }

    fn state(&self) -> BackendState {
        self.inner.client.state()
    }
}

/// A read of the REST transport.
pub(crate) fn query(procedure: &'static str) -> Call {
    Call::get(procedure, format!("/api/{procedure}"))
}

/// Counts a write as finished, however it ends: from then on, earlier looks are too old.
pub(crate) struct Finishing<'a>(&'a AtomicU64);

impl Drop for Finishing<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<T: Transport> Inner<T> {
    pub(crate) fn now(&self) -> Time {
        (self.clock)()
    }

    /// Our writes that were finished.
    pub(crate) fn finished(&self) -> u64 {
        self.writes.load(Ordering::SeqCst)
    }

    pub(crate) fn finishing(&self) -> Finishing<'_> {
        Finishing(&self.writes)
    }

    /// Makes a call, with a newer key where there is one.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Reply, PortError> {
        if self.key.changed() {
            self.renew().await;
        }
        let mut result = self.client.call(call).await;
        if matches!(result, Err(PortError::Auth { .. })) && self.renew().await {
            result = self.client.call(call).await;
        }
        match &result {
            Ok(_) => {
                self.passed.fetch_add(1, Ordering::Relaxed);
            }
            Err(PortError::Auth { why }) => {
                let passed = self.passed.swap(0, Ordering::Relaxed);
                if passed > 0 {
                    self.epoch.fetch_add(1, Ordering::SeqCst);
                    if why.contains(crate::errors::BARE) {
                        *self.refused_after.lock().unwrap_or_else(PoisonError::into_inner) = Some(passed);
                    }
                }
            }
            Err(_) => {}
        }
        result
    }

    /// Reads the key again and takes a new one into use, once the server has let it in to the same organization.
    async fn renew(&self) -> bool {
        let _one = self.renewing.lock().await;
        let Some(key) = self.key.read() else { return false };
        if key == self.client.key() {
            return false;
        }
        let reply = match self.client.try_key(&query("user.session"), &key).await {
            Ok(reply) => reply,
            Err(error) => {
                tracing::warn!(backend = %self.name, %error, "a new key was read and is not let in; the old one stays");
                return false;
            }
        };
        match crate::diagnose::organization(&reply.body) {
            Ok(Some(organization)) if self.pin(&organization) => {}
            _ => {
                tracing::warn!(backend = %self.name, "a new key belongs to another organization; the old one stays");
                return false;
            }
        }
        self.client.use_key(key);
        self.passed.store(0, Ordering::Relaxed);
        *self.refused_after.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.epoch.fetch_add(1, Ordering::SeqCst);
        tracing::info!(backend = %self.name, "a new key is in use");
        true
    }

    /// Whether the organization is the pinned one; the first one seen is pinned.
    pub(crate) fn pin(&self, organization: &str) -> bool {
        let mut pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner);
        pinned.get_or_insert_with(|| organization.to_owned()) == organization
    }

    /// The lock of one application's routers.
    pub(crate) fn routers_of(&self, app: &AppId) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.per_app.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lock) = locks.get(app).and_then(Weak::upgrade) {
            return lock;
        }
        locks.retain(|_, weak| weak.strong_count() > 0);
        let lock = Arc::new(tokio::sync::Mutex::new(()));
        locks.insert(app.clone(), Arc::downgrade(&lock));
        lock
    }
}
