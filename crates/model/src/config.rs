//! `berth.yaml`: the daemon's own settings, after every `{env: …}` and `{file: …}` was followed.

use crate::ids::{AppName, BackendName, Owner, ProjectName, StackName};
use crate::secret::Secret;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

/// The daemon's settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// Stands in every mark.
    pub owner: Owner,
    /// Dokploy accounts by name.
    pub backends: BTreeMap<BackendName, Backend>,
    /// The watched directory, if manifests come from one.
    pub directory: Option<PathBuf>,
    /// Manifests come from rows of the state's database.
    pub rows: bool,
    /// Where the state is kept.
    pub state: StatePlace,
    /// The vault's keys.
    pub vault: Credential,
    /// What manifests may leave out.
    pub defaults: Defaults,
    /// Names no stack may have.
    pub reserved_names: Vec<String>,
    /// The app that this daemon itself runs as, if the settings say one.
    pub itself: Option<(StackName, AppName)>,
    /// Where the status API listens.
    pub listen: std::net::SocketAddr,
    /// How the API behaves.
    pub api: Api,
    /// Times.
    pub intervals: Intervals,
}

/// How the API behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Api {
    /// Whether one may read without a token.
    pub anonymous: bool,
    /// Requests a second of one caller.
    pub per_second: NonZeroU32,
    /// With a certificate.
    pub tls: Option<Tls>,
}

/// A certificate with its chain, and its key, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// The certificate, and those between it and the root.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// Where the state is kept.
#[derive(Debug, Clone)]
pub enum StatePlace {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A PostgreSQL database, by its URL.
    Postgres(Credential),
}

/// A secret and where it is read again from.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The value when the file was read.
    pub value: Secret,
    /// Where it stands.
    pub from: CredentialSource,
}

/// Where a secret stands. It never stands in the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialSource {
    /// An environment variable.
    Env(String),
    /// A file, read again when it changes.
    File(PathBuf),
}

/// One Dokploy account.
#[derive(Debug, Clone)]
pub struct Backend {
    /// `http://host:3000`, without a path.
    pub url: String,
    /// The API key.
    pub key: Credential,
    /// What `https` means where a host does not say.
    pub https: crate::stack::Https,
    /// Where health checks go: the host's own address, or one fixed `host:port`.
    pub probe: Probe,
    /// Calls in flight.
    pub in_flight: usize,
    /// Domain writes in flight.
    pub domain_writes: usize,
    /// Ask the image's registry before a create.
    pub check_registry: bool,
    /// The longest one call may take.
    pub timeout: Duration,
}

/// Where health checks go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Probe {
    /// To the host itself, as its users do.
    #[default]
    Host,
    /// To this `host:port`, with the host's name in the request.
    Address(String),
}

/// What manifests may leave out.
#[derive(Debug, Clone, Default)]
pub struct Defaults {
    /// `target.dokploy`.
    pub backend: Option<BackendName>,
    /// `target.project`.
    pub project: Option<ProjectName>,
    /// `target.environment`.
    pub environment: Option<String>,
    /// A stack's single app without a host gets `{name}.SUFFIX`.
    pub host_suffix: Option<String>,
}

/// Times that may be set.
#[derive(Debug, Clone)]
pub struct Intervals {
    /// Between two passes over the whole fleet.
    pub resync: Duration,
    /// In which every owned object is read in full once.
    pub audit: Duration,
    /// Between two full reads of the directory.
    pub rescan: Duration,
    /// Between two health checks of a Ready stack.
    pub health: Duration,
}

impl Default for Intervals {
    fn default() -> Self {
        Self {
            resync: Duration::from_secs(30),
            audit: Duration::from_secs(15 * 60),
            rescan: Duration::from_secs(60),
            health: Duration::from_secs(60),
        }
    }
}
