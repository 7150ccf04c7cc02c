//! `berth.yaml`: the daemon's own settings, after every `{env: …}` and `{file: …}` was followed.

use crate::dns::{Fqdn, TsigAlgo, Ttl, VerifyMode, ZoneRules};
use crate::ids::{AppName, BackendName, CredentialName, Owner, ProjectName, StackName};
use crate::secret::Secret;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
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
    /// DNS. Without a credential no record is looked at.
    pub dns: Dns,
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
    /// Where the records of its hosts lead; `None` for the address that Dokploy has for its server.
    pub address: Option<Address>,
}

/// Where records lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// To these addresses: at least one.
    Ip {
        /// In an A record.
        v4: Option<Ipv4Addr>,
        /// In an AAAA record.
        v6: Option<Ipv6Addr>,
    },
    /// To this name, in a CNAME record.
    Name(Fqdn),
}

/// How DNS is reached, and what may be done in which zone.
#[derive(Debug, Clone, Default)]
pub struct Dns {
    /// The credentials by name.
    pub credentials: BTreeMap<CredentialName, DnsCredential>,
    /// What differs from the defaults, by zone.
    pub zones: BTreeMap<Fqdn, DnsZone>,
    /// Recursors that are asked for the addresses of name servers; those of the system if there are none.
    pub resolvers: Vec<SocketAddr>,
    /// Recursors whose view of a record is shown, once all authoritative servers are right.
    pub recursors: Vec<SocketAddr>,
}

/// One DNS credential.
#[derive(Debug, Clone)]
pub struct DnsCredential {
    /// What it opens.
    pub provider: DnsProvider,
    /// Use these zones only; `None` for all that it reaches.
    pub zones: Option<BTreeSet<Fqdn>>,
    /// Servers that answer for its zones, to be asked instead of those that are found by name.
    pub servers: Vec<SocketAddr>,
}

/// What a DNS credential opens.
#[derive(Debug, Clone)]
pub enum DnsProvider {
    /// Hetzner's Cloud API.
    Hetzner {
        /// The token of the project.
        key: Credential,
        /// Another address of the API.
        url: Option<String>,
    },
    /// Cloudflare.
    Cloudflare {
        /// An API token with DNS Edit and Zone Read.
        key: Credential,
        /// Another address of the API.
        url: Option<String>,
    },
    /// Hostinger.
    Hostinger {
        /// An API token.
        key: Credential,
        /// Another address of the API.
        url: Option<String>,
    },
    /// PowerDNS, by its HTTP API.
    PowerDns {
        /// `http://host:8081`.
        url: String,
        /// The API key.
        key: Credential,
        /// The server's id.
        server: String,
        /// Marks in TXT records: for backends that have no comments.
        companions: bool,
    },
    /// A server that takes dynamic updates.
    Rfc2136 {
        /// The primary server.
        server: SocketAddr,
        /// The key that signs; `None` for servers that go by address.
        key: Option<TsigCredential>,
        /// Ask for whole zones.
        transfers: bool,
    },
}

impl DnsProvider {
    /// Its secret, if it has one.
    #[must_use]
    pub fn secret(&self) -> Option<&Credential> {
        match self {
            DnsProvider::Hetzner { key, .. }
            | DnsProvider::Cloudflare { key, .. }
            | DnsProvider::Hostinger { key, .. }
            | DnsProvider::PowerDns { key, .. } => Some(key),
            DnsProvider::Rfc2136 { key, .. } => key.as_ref().map(|k| &k.secret),
        }
    }

    /// Its secret, to be told where relative paths begin.
    pub fn secret_mut(&mut self) -> Option<&mut Credential> {
        match self {
            DnsProvider::Hetzner { key, .. }
            | DnsProvider::Cloudflare { key, .. }
            | DnsProvider::Hostinger { key, .. }
            | DnsProvider::PowerDns { key, .. } => Some(key),
            DnsProvider::Rfc2136 { key, .. } => key.as_mut().map(|k| &mut k.secret),
        }
    }
}

/// A key that signs DNS messages.
#[derive(Debug, Clone)]
pub struct TsigCredential {
    /// Its name, the same on both sides.
    pub name: String,
    /// Its algorithm.
    pub algorithm: TsigAlgo,
    /// Its secret, in base64.
    pub secret: Credential,
}

/// What may be done in a zone, and how its records are made and verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DnsZone {
    /// How far changes go.
    pub rules: ZoneRules,
    /// How far records are verified.
    pub verify: VerifyMode,
    /// How long answers may be kept.
    pub ttl: Ttl,
    /// Whether the provider stands in front of the names; `None` leaves it.
    pub proxied: Option<bool>,
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
