//! What was seen of the world. Every remote fact is present, absent or unknown; unknown forbids both a create over it
//! and a delete because of it.

use crate::desired::{Child, ChildKey};
use crate::dns::ObservedDns;
use crate::field::Fields;
use crate::ids::{AppId, ChildId, DeploymentId, EnvironmentId, ProjectId, ProjectName, ServiceName};
use crate::mark::{MarkSeen, PlaceMark};
use crate::secret::Secret;
use crate::time::Time;
use smol_str::SmolStr;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// A remote fact.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Seen<T> {
    /// Not looked at, or looked at without an answer.
    #[default]
    Unknown,
    /// Looked at: there is none.
    Absent,
    /// There it is.
    Present(T),
}

impl<T> Seen<Box<T>> {
    /// The fact itself.
    #[must_use]
    pub fn unbox(self) -> Seen<T> {
        match self {
            Seen::Unknown => Seen::Unknown,
            Seen::Absent => Seen::Absent,
            Seen::Present(t) => Seen::Present(*t),
        }
    }
}

impl<T> Seen<T> {
    /// The fact, where it is present.
    pub fn present(&self) -> Option<&T> {
        match self {
            Seen::Present(t) => Some(t),
            _ => None,
        }
    }
    /// Whether nothing is known.
    pub fn is_unknown(&self) -> bool {
        matches!(self, Seen::Unknown)
    }
}

/// One look at everything an account shows cheaply. Shared by every stack that waits for it.
#[derive(Debug, Default)]
pub struct FleetView {
    /// When the first of its reads was sent.
    pub at: Time,
    /// Projects with their environments.
    pub projects: Vec<SeenProject>,
    /// Applications.
    pub apps: Vec<SeenApp>,
    /// Places in `apps`, in order of their ids.
    pub by_id: Box<[u32]>,
    /// Places in `apps` of those with a mark of ours, in order of the stacks that it names.
    pub by_stack: Box<[u32]>,
    /// Domains by the application they lead to; `Unknown` where the server has no list of all domains.
    pub domains: Seen<HashMap<AppId, Vec<SeenDomain>>>,
    /// What runs, by service name; `Unknown` where the server did not say (an empty answer says nothing).
    pub services: Seen<HashMap<ServiceName, SeenService>>,
    /// Addresses of the services' network.
    pub network: Seen<Network>,
}

impl FleetView {
    /// The application with this id.
    #[must_use]
    pub fn app(&self, id: &AppId) -> Option<&SeenApp> {
        let place = self.by_id.binary_search_by(|n| self.apps[*n as usize].id.cmp(id)).ok()?;
        Some(&self.apps[self.by_id[place] as usize])
    }
    /// The applications whose mark names this stack.
    pub fn of_stack<'a>(&'a self, stack: &str) -> impl Iterator<Item = &'a SeenApp> {
        let first = self.by_stack.partition_point(|n| self.apps[*n as usize].stack() < Some(stack));
        let apps = self.by_stack[first..].iter().map(|n| &self.apps[*n as usize]);
        apps.take_while(move |a| a.stack() == Some(stack))
    }
    /// Builds the indexes after `apps` was filled.
    pub fn index(&mut self) {
        let apps = &self.apps;
        let all = 0..u32::try_from(apps.len()).unwrap_or(u32::MAX);
        self.by_id = all.clone().collect();
        self.by_id.sort_by(|a, b| apps[*a as usize].id.cmp(&apps[*b as usize].id));
        self.by_stack = all.filter(|n| apps[*n as usize].stack().is_some()).collect();
        self.by_stack.sort_by(|a, b| apps[*a as usize].stack().cmp(&apps[*b as usize].stack()));
    }
}

/// The address space that services share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    /// Addresses that services and tasks can have in all.
    pub usable: u64,
    /// Addresses in use, by what the services ask for.
    pub used: u64,
}

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenProject {
    /// Its id.
    pub id: ProjectId,
    /// Its name; not unique.
    pub name: ProjectName,
    /// Its description, where the list shows it.
    pub description: Option<String>,
    /// The mark in it, if it is ours.
    pub mark: Option<PlaceMark>,
    /// Its variables as text.
    pub env: Secret,
    /// Its environments.
    pub environments: Vec<SeenEnvironment>,
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenEnvironment {
    /// Its id.
    pub id: EnvironmentId,
    /// Its name.
    pub name: String,
    /// The one that every project has.
    pub is_default: bool,
    /// Services of any kind in it.
    pub services: usize,
}

/// An application as a list shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenApp {
    /// Its id.
    pub id: AppId,
    /// Its display name.
    pub name: SmolStr,
    /// Its Swarm service.
    pub service: ServiceName,
    /// Its project.
    pub project: ProjectId,
    /// Its environment.
    pub environment: EnvironmentId,
    /// Whose it is.
    pub mark: MarkSeen,
    /// Of the mark line as it stands ([`crate::mark::print`]): two that differ tell that it was edited.
    pub mark_print: u64,
    /// When it was made, as a text that sorts.
    pub created: SmolStr,
}

impl SeenApp {
    /// The stack that a mark of ours names.
    #[must_use]
    pub fn stack(&self) -> Option<&str> {
        match &self.mark {
            MarkSeen::Ours(mark) => Some(mark.stack.as_str()),
            MarkSeen::None | MarkSeen::Foreign(_) => None,
        }
    }
}

/// A domain as the list of all domains shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenDomain {
    /// Its id.
    pub id: ChildId,
    /// Lower case.
    pub host: SmolStr,
    /// Path.
    pub path: SmolStr,
    /// Container port.
    pub port: Option<u16>,
    /// Whether it has HTTPS.
    pub https: bool,
    /// `none`, `letsencrypt`, `custom`.
    pub certificate: SmolStr,
    /// Switched on.
    pub enabled: bool,
}

/// A running service as the list of services shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenService {
    /// Its image.
    pub image: SmolStr,
    /// Tasks that run.
    pub running: u32,
    /// Tasks that should.
    pub wanted: u32,
}

/// Everything about one application, from one read.
#[derive(Debug, Clone, PartialEq)]
pub struct AppDetail {
    /// Its id.
    pub id: AppId,
    /// Its Swarm service.
    pub service: ServiceName,
    /// Its environment.
    pub environment: EnvironmentId,
    /// All fields Berth can manage.
    pub fields: Fields,
    /// The variables as they stand, for an adopted application's merge.
    pub env_text: Secret,
    /// Its description.
    pub description: Option<String>,
    /// Its children; one natural key may be there more than once.
    pub children: Vec<SeenChild>,
    /// Its deployments, newest first.
    pub deployments: Vec<Deployment>,
}

/// A child as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenChild {
    /// Its id.
    pub id: ChildId,
    /// Its natural key.
    pub key: ChildKey,
    /// Its values.
    pub child: Child,
    /// The key of its router, for a domain.
    pub router: Option<u64>,
}

/// A deployment row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deployment {
    /// Its id.
    pub id: DeploymentId,
    /// Title and description, where our token stands.
    pub title: String,
    /// How far it is.
    pub status: DeploymentStatus,
    /// When it began, by the server's clock.
    pub created: String,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeploymentStatus {
    /// It runs.
    Running,
    /// Dokploy handed the spec to Swarm. Says nothing about what runs.
    Done,
    /// It failed.
    Error,
    /// A restart of the server ended it.
    Cancelled,
}

/// What waits or runs in the server's deployment queue, with deployments that are open.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Jobs {
    /// When it was asked.
    pub at: Time,
    /// Titles of jobs that wait or run, by application.
    pub queued: BTreeMap<AppId, Vec<String>>,
    /// Rows by application, newest first.
    pub rows: BTreeMap<AppId, Vec<Deployment>>,
}

impl Jobs {
    /// The row of the deployment of this application that carries the token.
    #[must_use]
    pub fn row(&self, app: &AppId, token: &str) -> Option<&Deployment> {
        self.rows.get(app)?.iter().find(|d| d.title.contains(token))
    }

    /// Whether a job of this application that carries the token waits or runs.
    #[must_use]
    pub fn holds(&self, app: &AppId, token: &str) -> bool {
        self.queued.get(app).is_some_and(|titles| titles.iter().any(|t| t.contains(token)))
    }
}

/// The live service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The hash on its containers.
    pub hash: Option<crate::hash::Hash>,
    /// Its image.
    pub image: String,
    /// How its last update went.
    pub update: UpdateState,
    /// Replicas its spec asks for.
    pub replicas: Option<u32>,
}

/// How a service's last update went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpdateState {
    /// Never updated, or completed.
    Settled,
    /// Under way.
    Updating,
    /// Swarm put the old spec back, or does so.
    RolledBack(String),
    /// Swarm stopped in the middle.
    Paused(String),
}

/// A task of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What Swarm wants of it.
    pub desired: String,
    /// What it is, without the time.
    pub state: String,
    /// Its error, if it has one.
    pub error: Option<String>,
}

/// A project in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectDetail {
    /// Its id.
    pub id: ProjectId,
    /// Its name.
    pub name: ProjectName,
    /// Its description.
    pub description: Option<String>,
    /// Its variables as text.
    pub env: Secret,
    /// Its environments.
    pub environments: Vec<EnvironmentDetail>,
}

/// An environment in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentDetail {
    /// Its id.
    pub id: EnvironmentId,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// The one that every project has.
    pub is_default: bool,
    /// Its variables as text.
    pub env: Secret,
    /// Services of any kind in it.
    pub services: usize,
}

/// What an outside health check got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeResult {
    /// An answer.
    Status {
        /// The path that was asked.
        path: String,
        /// The status.
        status: u16,
    },
    /// No answer: why, in words.
    NoAnswer(String),
    /// The certificate is not there yet, or wrong; the answer behind it, if one was had without it.
    Certificate(String),
}

/// A health check's outcome, and the certificate that was met on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// What became of it.
    pub result: ProbeResult,
    /// What the handshake showed; `None` where there was none.
    pub certificate: Option<Certificate>,
}

/// A host's certificate as a handshake showed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// When it expires, where that can be read.
    pub until: Option<Time>,
    /// Why it is not believed, in words.
    pub trouble: Option<String>,
}

/// What a registry said of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageAnswer {
    /// It is there, with this digest where one was told.
    Found(Option<String>),
    /// It is not.
    Missing,
    /// The registry wants other credentials.
    Denied,
    /// The registry did not answer.
    NoAnswer(String),
}

/// What is known of one stack's surroundings in one run: the fleet, and what was read on top of it.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    /// The fleet.
    pub fleet: Option<Arc<FleetView>>,
    /// Applications as our own writes left them since that look.
    pub overlay: BTreeMap<AppId, SeenApp>,
    /// Applications in full.
    pub details: BTreeMap<AppId, Seen<AppDetail>>,
    /// Live services.
    pub live: BTreeMap<ServiceName, Seen<Live>>,
    /// Every running service, where it was asked for apart from the fleet.
    pub services: Seen<Arc<HashMap<ServiceName, SeenService>>>,
    /// They were asked for, whatever came of it.
    pub services_asked: bool,
    /// Their tasks.
    pub tasks: BTreeMap<ServiceName, Vec<Task>>,
    /// The text of the applications' Traefik files.
    pub routers: BTreeMap<AppId, Seen<String>>,
    /// Deployment jobs.
    pub jobs: Option<Arc<Jobs>>,
    /// Projects in full.
    pub projects: BTreeMap<ProjectId, Seen<ProjectDetail>>,
    /// Ends of deployment logs.
    pub logs: BTreeMap<DeploymentId, String>,
    /// Health checks, by app.
    pub probes: BTreeMap<crate::ids::AppName, ProbeResult>,
    /// Images, by reference.
    pub images: BTreeMap<String, ImageAnswer>,
    /// The address that Dokploy has for its server, where it was asked for.
    pub address: Option<Seen<IpAddr>>,
    /// DNS.
    pub dns: ObservedDns,
}
