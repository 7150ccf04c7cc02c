//! The world that the engine works with in production: Dokploy over sockets, SQLite, the vault's ring, the system's
//! clock and randomness. Wiring only: it decides nothing.

use crate::dns::AllZones;
use crate::state::AnyStore;
use anyhow::{Context, Result, anyhow};
use berth_dokploy::Dokploy;
use berth_engine::{Engine, Identity, Metrics, Parts};
use berth_model::Time;
use berth_model::config::{Config, Credential, CredentialSource};
use berth_ports::{Clock, World};
use berth_store::Held;
use berth_vault::{Ring, SystemDice};
use berth_wire::{
    FixedKey, ImageRegistry, KeyFile, KeySource, Observer, Probe, Sockets, SocketsOptions, Transport,
    TransportError,
};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Production.
pub struct Production;

impl World for Production {
    type Platform = Dokploy<Guarded>;
    type Store = AnyStore;
    type Vault = Ring;
    type Prober = Probe<Sockets>;
    type Registry = ImageRegistry<Door>;
    type Clock = SystemClock;
    type Dice = SystemDice;
    type Dns = AllZones;
}

/// The accounts by name.
pub type Platforms = BTreeMap<berth_model::BackendName, Arc<Dokploy<Guarded>>>;

/// Wall time of this host.
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Time {
        crate::out::now()
    }
}

/// The way to image registries.
pub enum Door {
    /// By their own names.
    Open(Sockets),
    /// Every registry is this one on loopback: for the demo, whose images exist nowhere else.
    Loopback(Sockets, SocketAddr),
}

impl Door {
    /// To the registries themselves.
    ///
    /// # Errors
    /// The TLS set-up of the system is broken.
    pub fn open() -> Result<Self> {
        Ok(Door::Open(sockets()?))
    }
}

impl Transport for Door {
    async fn send(&self, mut request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        match self {
            Door::Open(sockets) => sockets.send(request).await,
            Door::Loopback(sockets, to) => {
                let path = request.uri().path_and_query().map_or("/", |p| p.as_str());
                let uri = format!("http://{to}{path}");
                *request.uri_mut() =
                    uri.parse().map_err(|_| TransportError::NotSent("not an address".to_owned()))?;
                sockets.send(request).await
            }
        }
    }
}

/// The way to Dokploy, and to whoever else changes something for us: shut as soon as another daemon may lead.
pub struct Guarded {
    sockets: Sockets,
    /// `None` where nobody else can lead.
    held: Option<Held>,
}

/// Why nothing is sent any more.
pub const SHUT: &str = "this daemon does not lead any more";

impl Guarded {
    /// Shut with this lead; open for ever where nobody else can lead.
    ///
    /// # Errors
    /// The TLS set-up of the system is broken.
    pub fn new(held: Option<&Held>) -> Result<Self> {
        Ok(Self { sockets: sockets()?, held: held.cloned() })
    }
}

impl Transport for Guarded {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        if self.held.as_ref().is_some_and(|held| !held.may_call()) {
            return Err(TransportError::NotSent(SHUT.to_owned()));
        }
        self.sockets.send(request).await
    }
}

/// Sockets as usual.
///
/// # Errors
/// The TLS set-up of the system is broken.
pub fn sockets() -> Result<Sockets> {
    Sockets::new(&SocketsOptions::default()).map_err(|e| anyhow!("{e}; see the system's TLS certificates"))
}

/// Counts the calls of one account. The engine, which owns the metrics, is made after the accounts: until then there
/// is nothing to count.
pub struct Counting {
    backend: String,
    metrics: Arc<OnceLock<Arc<Metrics>>>,
}

impl Counting {
    /// Under this label.
    #[must_use]
    pub fn under(backend: String, late: &Arc<OnceLock<Arc<Metrics>>>) -> Self {
        Self { backend, metrics: late.clone() }
    }
}

impl Observer for Counting {
    fn call(&self, procedure: &str, outcome: &'static str, _: f64) {
        if let Some(metrics) = self.metrics.get() {
            metrics.calls.with_label_values(&[self.backend.as_str(), procedure, outcome]).inc();
        }
    }
    fn request(&self, _: &str, seconds: f64) {
        if let Some(metrics) = self.metrics.get() {
            metrics.requests.with_label_values(&[self.backend.as_str()]).inc();
            metrics.call_seconds.with_label_values(&[self.backend.as_str()]).observe(seconds);
        }
    }
    fn waited(&self, seconds: f64) {
        if let Some(metrics) = self.metrics.get() {
            metrics.waits.with_label_values(&[self.backend.as_str()]).observe(seconds);
        }
    }
}

/// A key that is read again when its file changes.
#[must_use]
pub fn key(credential: &Credential) -> Arc<dyn KeySource> {
    match &credential.from {
        CredentialSource::Env(_) => Arc::new(FixedKey(credential.value.clone())),
        CredentialSource::File(path) => Arc::new(KeyFile::new(path)),
    }
}

/// The accounts of the settings, and where their counts go once there is an engine. They are called only while the lead
/// is held, if there is one.
///
/// # Errors
/// A URL that is none, or no key.
pub fn platforms(config: &Config, held: Option<&Held>) -> Result<(Platforms, Arc<OnceLock<Arc<Metrics>>>)> {
    let late: Arc<OnceLock<Arc<Metrics>>> = Arc::default();
    let mut platforms = Platforms::new();
    for (name, backend) in &config.backends {
        let key = key(&backend.key);
        let clock = Arc::new(crate::out::now);
        let mut options =
            berth_dokploy::Options::new(name.as_str(), config.owner.clone(), &backend.url, key, clock);
        options.limits.in_flight = backend.in_flight;
        options.limits.timeout = backend.timeout;
        options.domain_writes = backend.domain_writes;
        options.aside = true;
        options.observer = Arc::new(Counting::under(name.to_string(), &late));
        let platform = Dokploy::new(options, Guarded::new(held)?)
            .map_err(|e| anyhow!("{e}; see 'backends' in berth.yaml"))?;
        platforms.insert(name.clone(), Arc::new(platform));
    }
    Ok((platforms, late))
}

/// The vault of the settings.
///
/// # Errors
/// The key file is not one.
pub fn vault(config: &Config) -> Result<Ring> {
    let from = match &config.vault.from {
        CredentialSource::Env(name) => format!("the variable {name}"),
        CredentialSource::File(path) => format!("the file {}", path.display()),
    };
    Ring::parse(&config.vault.value, &config.owner)
        .with_context(|| format!("the vault's keys in {from} cannot be used; 'berth init' makes good ones"))
}

/// Holds the name of the Swarm service that this process runs in, where its manifest or stack file says so.
pub const SERVICE: &str = "BERTH_SERVICE";

/// The Swarm service that this process runs in. What Swarm did not fill in is no name.
#[must_use]
pub fn own_service() -> Option<String> {
    std::env::var(SERVICE).ok().filter(|name| !name.is_empty() && !name.contains("{{"))
}

/// The engine over everything, with nothing wanted yet.
///
/// # Errors
/// A part cannot be made, or the store cannot be read.
pub async fn engine(
    config: &Config,
    platforms: Platforms,
    late: &OnceLock<Arc<Metrics>>,
    store: AnyStore,
    door: Door,
    dns: Option<AllZones>,
) -> Result<Arc<Engine<Production>>> {
    let probes = config.backends.iter().map(|(name, b)| (name.as_str(), &b.probe));
    let longest = config.backends.values().map(|b| b.timeout).max().unwrap_or_default();
    let in_flight = config.backends.values().map(|b| b.in_flight).max().unwrap_or(1);
    let options = berth_engine::Options {
        owner: config.owner.clone(),
        backends: config
            .backends
            .iter()
            .map(|(n, b)| {
                (n.clone(), {
                    let address = b.address.clone();
                    berth_engine::BackendOptions { check_registry: b.check_registry, address }
                })
            })
            .collect(),
        zones: config.dns.zones.clone(),
        intervals: config.intervals.clone(),
        // A run makes its calls one by one and waits for looks that it shares with others: many more runs than places
        // for calls keep the places full, and let looks be shared.
        runs: in_flight * 64,
        makes: in_flight * 8,
        settle: longest + Duration::from_secs(30),
        probes: 16,
        identity: Identity {
            named: config.itself.clone(),
            service: own_service().map(|s| s.as_str().into()),
        },
    };
    let parts = Parts {
        platforms,
        store,
        vault: vault(config)?,
        prober: Probe::new(probes).map_err(|e| anyhow!("{e}; see 'probe' in berth.yaml"))?,
        registry: ImageRegistry::new(door),
        clock: SystemClock,
        dice: SystemDice::new().context("the system gives no randomness")?,
        dns,
    };
    let engine = Engine::<Production>::new(parts, options).await?;
    // Set once: the metrics are made with the engine.
    let _ = late.set(engine.metrics());
    Ok(engine)
}
