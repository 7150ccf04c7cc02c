//! A stack as it is wanted: templates laid under, defaults filled in, placeholders resolved.
//!
//! What a server gives only later (ids) stays symbolic in [`Text`]. Nothing here knows a backend's field names.

use crate::dns::Fqdn;
use crate::ids::{AppName, BackendName, ProjectName, StackName};
use crate::units::{Bytes, NanoCpus};
use litemap::LiteMap;
use smol_str::SmolStr;
use std::time::Duration;

/// A map that takes no more memory than its entries: most stacks have one or two of each.
#[must_use]
pub fn compact<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> LiteMap<K, V> {
    let mut entries = entries.into_iter().collect::<LiteMap<K, V>>().into_tuple_vec();
    entries.shrink_to_fit();
    LiteMap::from_sorted_store_unchecked(entries)
}

/// What a manifest says of one field: nothing, "clear it", or a value.
///
/// The difference of the first two matters on adopted objects only: omitted is left to its owner, `null` clears.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Patch<T> {
    /// Omitted.
    #[default]
    Unset,
    /// `null`.
    Clear,
    /// A value.
    Set(T),
}

impl<T> Patch<T> {
    /// The value, where one is set.
    pub fn value(&self) -> Option<&T> {
        match self {
            Patch::Set(v) => Some(v),
            _ => None,
        }
    }
}

/// A text with places for ids that are known only after a create.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text(pub Vec<Part>);

/// A piece of a [`Text`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// Literal text.
    Lit(String),
    /// `{projectId}`: the id of the project the document lives in or declares.
    ProjectId,
    /// `{environmentId.NAME}`: the id of that environment of the same project.
    EnvironmentId(String),
}

/// A value may be a secret, wherever it stands: how long it is, and no more.
impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Part::Lit(text) => write!(f, "<{} bytes>", text.len()),
            Part::ProjectId => f.write_str("ProjectId"),
            Part::EnvironmentId(name) => write!(f, "EnvironmentId({name:?})"),
        }
    }
}

impl Text {
    /// A text without late parts.
    #[must_use]
    pub fn lit(text: impl Into<String>) -> Self {
        Self(vec![Part::Lit(text.into())])
    }

    /// The text, if it has no late parts.
    #[must_use]
    pub fn as_lit(&self) -> Option<&str> {
        match self.0.as_slice() {
            [] => Some(""),
            [Part::Lit(t)] => Some(t),
            _ => None,
        }
    }
}

/// Where a document came from: shown in errors, and the reason why a removal is believed.
#[derive(Debug, Clone, PartialEq, Eq, Default, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Origin {
    /// The file, relative to the watched directory (or the table, for rows).
    pub file: SmolStr,
    /// The line on which the document begins, from 1.
    pub line: u32,
    /// The row's own count of its changes. A file has none: there the daemon counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<std::num::NonZeroU64>,
}

impl Origin {
    /// How the place of a row begins, before its key.
    pub const ROW: &'static str = "row:";

    /// Whether it came from a row.
    #[must_use]
    pub fn is_row(&self) -> bool {
        self.file.starts_with(Self::ROW)
    }
}

/// `stage:` of a stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// The default.
    #[default]
    Production,
    /// `staging`
    Staging,
    /// `preview`
    Preview,
    /// `development`
    Development,
}

impl Stage {
    /// As written in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Production => "production",
            Stage::Staging => "staging",
            Stage::Preview => "preview",
            Stage::Development => "development",
        }
    }
}

/// A stack, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stack {
    /// Its name, unique over the fleet.
    pub name: StackName,
    /// Whose it is.
    pub tenant: Option<String>,
    /// The name it had before: its objects are taken over, not made again.
    pub formerly: Option<StackName>,
    /// Its stage.
    pub stage: Stage,
    /// Nothing is changed while true; it is still observed.
    pub paused: bool,
    /// Where it runs.
    pub target: Target,
    /// Its apps.
    pub apps: LiteMap<AppName, Box<App>>,
    /// What becomes of a stack that never came up.
    pub on_first_failure: OnFirstFailure,
    /// The template it was laid over.
    pub template: Option<String>,
    /// Who writes the DNS records of its hosts.
    pub records: Records,
    /// Where it is written.
    pub origin: Origin,
}

impl Stack {
    /// Its hosts, as names that records can have.
    pub fn names(&self) -> impl Iterator<Item = Fqdn> {
        let hosts = self.apps.values().flat_map(|app| app.hosts.keys());
        hosts.filter_map(|at| Fqdn::new(&at.host).ok())
    }
}

/// `domain.records`: who writes DNS records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Records {
    /// Berth, in the zones that its credentials reach.
    #[default]
    Managed,
    /// Nobody: a wildcard record is there. What it answers is verified.
    Wildcard,
}

/// `onFirstFailure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFirstFailure {
    /// Leave what there is, to be looked at.
    #[default]
    Keep,
    /// Undo in reverse order, never a volume.
    Remove,
}

/// Where a stack runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The Dokploy account of `berth.yaml`.
    pub backend: BackendName,
    /// The project.
    pub project: Place,
    /// The environment in it, by name or id.
    pub environment: String,
}

/// Which project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A shared one, by name or id. Never deleted by a stack; made only where `create` says so.
    Shared {
        /// Its name or id.
        project: ProjectName,
        /// Make it where it is absent.
        create: bool,
    },
    /// The stack's own: made for it, and removed with it when it is empty.
    Own {
        /// Its name, `ai-stack-{name}` unless said otherwise.
        project: ProjectName,
    },
}

impl Place {
    /// The project's name (or id).
    #[must_use]
    pub fn project(&self) -> &ProjectName {
        match self {
            Place::Shared { project, .. } | Place::Own { project } => project,
        }
    }
}

/// What is done about a field that differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftPolicy {
    /// Put it back: the default for what a manifest sets.
    #[default]
    Repair,
    /// Say so and leave it.
    Report,
    /// Leave it.
    Ignore,
}

/// One app of a stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// Overrides the application's name in Dokploy.
    pub name_on_dokploy: Option<String>,
    /// Take over an unmarked application of that name instead of making one.
    pub adopt: bool,
    /// The image reference.
    pub image: String,
    /// Follow a moving tag by its digest, looked up this often.
    pub follow: Option<Duration>,
    /// Credentials for the image's registry.
    pub registry: Option<Box<RegistryAuth>>,
    /// The port that hosts lead to where they name none.
    pub port: Option<u16>,
    /// Environment variables.
    pub env: Patch<LiteMap<String, EnvValue>>,
    /// The entrypoint, word by word.
    pub command: Patch<Vec<String>>,
    /// Its arguments.
    pub args: Patch<Vec<String>>,
    /// How many run. 1 by default; 0 is allowed and means stopped.
    pub replicas: Patch<u32>,
    /// Memory that may be used.
    pub memory: Patch<Bytes>,
    /// Memory set aside.
    pub memory_reserve: Patch<Bytes>,
    /// Processor share that may be used.
    pub cpu: Patch<NanoCpus>,
    /// Processor share set aside.
    pub cpu_reserve: Patch<NanoCpus>,
    /// Container labels. `berth.dev/…` is reserved.
    pub labels: Patch<LiteMap<String, String>>,
    /// The container's own check.
    pub health_cmd: Patch<Box<HealthCmd>>,
    /// What Berth asks from outside.
    pub health_http: Option<Box<HealthHttp>>,
    /// How a new version replaces the old.
    pub update: Patch<UpdatePolicy>,
    /// How long a task may take to stop.
    pub stop_grace: Patch<Duration>,
    /// Hosts that lead here.
    pub hosts: LiteMap<HostKey, Host>,
    /// Volumes, binds and files, by the path in the container.
    pub mounts: LiteMap<String, Mount>,
    /// Published ports, by published port and protocol.
    pub ports: LiteMap<PortKey, Port>,
    /// Apps that must be Ready first.
    pub needs: Vec<AppName>,
    /// Drift per field path: `env.FOO`, `replicas`, …; `""` is the whole app.
    pub drift: LiteMap<String, DriftPolicy>,
}

/// Credentials for a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryAuth {
    /// Host, with port where it has one; empty for Docker Hub.
    pub url: String,
    /// The user.
    pub username: String,
    /// The given secret that holds the password.
    pub password: String,
}

/// The value of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EnvValue {
    /// A text. It may hold `${{project.X}}`, which Dokploy resolves.
    Text(Text),
    /// `{secret: REF}`: given by the operator, kept in the vault.
    Secret(String),
    /// `{generate: {…}}`: derived from the vault's key.
    Generate(Generate),
    /// `{from: {app: api, key: url}}`: the first host's URL of other apps of the stack, joined.
    FromApps(Box<FromApps>),
}

/// `{from: …}` of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FromApps {
    /// Whose.
    pub apps: Vec<AppName>,
    /// `url` or `host`.
    pub key: String,
    /// What stands between them.
    pub join: String,
}

/// `{generate: {bytes: 32, encoding: hex, version: 1}}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Generate {
    /// How many bytes are derived: 1 to 255.
    pub bytes: u8,
    /// How they are written.
    pub encoding: Encoding,
    /// Raised to rotate.
    pub version: u32,
}

/// How generated bytes are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Lower-case hexadecimal.
    #[default]
    Hex,
    /// Base64 with padding.
    Base64,
    /// URL-safe base64 without padding.
    Base64Url,
}

/// The container's own health check.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct HealthCmd {
    /// `["CMD", …]` or `["CMD-SHELL", …]`.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: Duration,
    /// How long one may take.
    pub timeout: Duration,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
    /// Time at the start in which failures do not count.
    pub start_period: Duration,
}

/// The check that Berth makes from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthHttp {
    /// Tried in order; the first that answers as expected passes.
    pub paths: Vec<String>,
    /// Lowest and highest good status.
    pub expect: (u16, u16),
    /// Time between two asks.
    pub every: Duration,
    /// When the gate gives up.
    pub within: Duration,
}

/// How a new version replaces the old.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct UpdatePolicy {
    /// Start the new task first, or stop the old one first.
    pub start_first: bool,
    /// Tasks at a time.
    pub parallel: u32,
    /// How long a new task is watched for failure.
    pub monitor: Duration,
    /// Put the old version back when a task fails (else pause).
    pub rollback: bool,
}

/// Host and path: unique over the fleet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct HostKey {
    /// Lower case, without a trailing dot.
    pub host: String,
    /// Begins with `/`.
    pub path: String,
}

/// How a host is served.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Host {
    /// The container's port.
    pub port: u16,
    /// Certificates.
    pub https: Https,
    /// The path that the app sees instead of `path`.
    pub internal_path: String,
    /// Take `path` away before the app sees it.
    pub strip_path: bool,
}

/// `https:` of a host.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Https {
    /// Plain HTTP.
    None,
    /// Dokploy's `letsencrypt` resolver.
    LetsEncrypt,
    /// A resolver of that name.
    Resolver(String),
}

/// Something mounted into the container.
#[derive(Clone, PartialEq, Eq)]
pub enum Mount {
    /// A named volume. Kept when the stack goes.
    Volume {
        /// Its name.
        name: String,
    },
    /// A directory of the host.
    Bind {
        /// Its path.
        host_path: String,
    },
    /// A file with this content.
    File {
        /// Its path below the application's own directory.
        file_path: String,
        /// Its content.
        content: crate::Secret,
    },
}

impl std::fmt::Debug for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Mount::Volume { name } => write!(f, "volume {name}"),
            Mount::Bind { host_path } => write!(f, "bind {host_path}"),
            Mount::File { file_path, .. } => write!(f, "file {file_path}"),
        }
    }
}

/// A published port and its protocol.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct PortKey {
    /// On the server.
    pub published: u16,
    /// UDP instead of TCP.
    pub udp: bool,
}

/// Where a published port leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Port {
    /// In the container.
    pub target: u16,
    /// Bound on the node itself instead of the routing mesh.
    pub host_mode: bool,
}
