//! A small server in memory: what there is after the same writes. It knows who made what, which no server does, so
//! that a test can tell when something foreign was touched.

use berth_model::Secret;
use berth_model::Time;
use berth_model::desired::{Child, ChildKey};
use berth_model::dotenv;
use berth_model::field::{Field, Fields, Value};
use berth_model::hash::Hash;
use berth_model::ids::{AppId, ChildId, EnvironmentId, Owner, ProjectId, ServiceName};
use berth_model::mark;
use berth_model::observed::{
    AppDetail, Deployment, DeploymentStatus, EnvironmentDetail, FleetView, Jobs, Live, ProjectDetail, Seen,
    SeenApp, SeenChild, SeenDomain, SeenEnvironment, SeenProject, SeenService, Task, UpdateState,
};
use berth_model::remote::{Fact, Read, Write, Written};
use berth_model::stack::{Host, HostKey, Https};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

/// How long a deployment takes.
const DEPLOYS_IN: Duration = Duration::from_secs(2);

/// An application.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct App {
    pub(crate) id: AppId,
    pub(crate) name: String,
    pub(crate) service: ServiceName,
    pub(crate) environment: EnvironmentId,
    pub(crate) fields: Fields,
    pub(crate) env_text: String,
    pub(crate) description: Option<String>,
    pub(crate) children: Vec<SeenChild>,
    pub(crate) deployments: Vec<Deployment>,
    pub(crate) jobs: Vec<(Time, String)>,
    pub(crate) created: u64,
    /// The daemon made it.
    pub(crate) ours: bool,
    /// Children that the daemon made.
    pub(crate) our_children: BTreeSet<ChildId>,
}

/// The server.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct World {
    pub(crate) now: Time,
    next: u64,
    pub(crate) projects: Vec<(ProjectDetail, bool)>,
    pub(crate) apps: BTreeMap<AppId, App>,
    pub(crate) live: BTreeMap<ServiceName, Live>,
    /// Writes that take effect later.
    pub(crate) pending: Vec<(Time, Write)>,
    /// Jobs to be lost by a restart of the server.
    pub(crate) loses_jobs: usize,
    /// Writes so far.
    pub(crate) writes: Vec<String>,
}

impl World {
    fn id(&mut self, prefix: &str) -> String {
        self.next += 1;
        format!("{prefix}{}", self.next)
    }

    /// Moves the time on; what was due happens.
    pub(crate) fn later(&mut self, by: Duration) {
        self.now = self.now.after(by);
        let (due, rest) = std::mem::take(&mut self.pending).into_iter().partition(|(at, _)| *at <= self.now);
        self.pending = rest;
        let due: Vec<(Time, Write)> = due;
        for (_, write) in due {
            self.apply(&write);
        }
        for app in self.apps.values_mut() {
            let (done, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut app.jobs).into_iter().partition(|(at, _)| *at <= self.now);
            app.jobs = rest;
            for (at, title) in done {
                if self.loses_jobs > 0 {
                    self.loses_jobs -= 1;
                    continue;
                }
                let image = text(&app.fields, Field::Image).unwrap_or_default();
                let bad = image.contains("bad");
                app.deployments.insert(
                    0,
                    Deployment {
                        id: format!("deploy-{}", app.deployments.len() + 1).into(),
                        title,
                        status: if bad { DeploymentStatus::Error } else { DeploymentStatus::Done },
                        created: format!("{:012}", at.0),
                    },
                );
                if !bad {
                    self.live.insert(app.service.clone(), serve(&app.fields));
                }
            }
        }
    }

    /// Somebody's project.
    pub(crate) fn project(&mut self, name: &str, environments: &[&str]) -> ProjectId {
        let id: ProjectId = self.id("project-").into();
        let environments =
            environments.iter().enumerate().map(|(i, name)| self.environment(name, i == 0, None)).collect();
        let detail = ProjectDetail {
            id: id.clone(),
            name: name.into(),
            description: None,
            env: Secret::default(),
            environments,
        };
        self.projects.push((detail, false));
        id
    }

    fn environment(
        &mut self,
        name: &str,
        is_default: bool,
        description: Option<String>,
    ) -> EnvironmentDetail {
        EnvironmentDetail {
            id: self.id("environment-").into(),
            name: name.to_owned(),
            description,
            is_default,
            env: Secret::default(),
            services: 0,
        }
    }

    /// Somebody's application.
    pub(crate) fn foreign(
        &mut self,
        project: &str,
        environment: &str,
        name: &str,
        description: Option<&str>,
    ) -> AppId {
        let found =
            self.projects.iter().find(|(p, _)| p.name.as_str() == project).expect("a project of that name");
        let place =
            found.0.environments.iter().find(|e| e.name == environment).expect("an environment of that name");
        let write = Write::CreateApp {
            environment: place.id.clone(),
            name: name.to_owned(),
            service_base: name.to_owned(),
            description: description.unwrap_or("").to_owned(),
        };
        let Written::App { id, .. } = self.apply(&write) else { unreachable!() };
        let app = self.apps.get_mut(&id).expect("just made");
        app.ours = false;
        app.description = description.map(str::to_owned);
        id
    }

    /// Somebody's domain on an application.
    pub(crate) fn foreign_domain(&mut self, app: &AppId, host: &str, port: u16) {
        let key = ChildKey::Domain(HostKey { host: host.to_owned(), path: "/".to_owned() });
        let child = Child::Domain(Host {
            port,
            https: Https::None,
            internal_path: "/".to_owned(),
            strip_path: false,
        });
        let id: ChildId = self.id("theirs-").into();
        if let Some(app) = self.apps.get_mut(app) {
            app.children.push(SeenChild { id, key, child, router: None });
        }
    }

    /// One write takes effect.
    pub(crate) fn apply(&mut self, write: &Write) -> Written {
        self.writes.push(write.verb().to_owned());
        match write {
            Write::CreateProject { name, description } => {
                let environment = self.environment("production", true, None);
                let id: ProjectId = self.id("project-").into();
                let answer = Written::Project { project: id.clone(), environment: environment.id.clone() };
                let detail = ProjectDetail {
                    id,
                    name: name.as_str().into(),
                    description: Some(description.clone()),
                    env: Secret::default(),
                    environments: vec![environment],
                };
                self.projects.push((detail, true));
                return answer;
            }
            Write::CreateEnvironment { project, name, description } => {
                let environment = self.environment(name, false, Some(description.clone()));
                let id = environment.id.clone();
                if let Some((p, _)) = self.projects.iter_mut().find(|(p, _)| p.id == *project) {
                    p.environments.push(environment);
                }
                return Written::Environment(id);
            }
            Write::RemoveEnvironment { project, id } => {
                if let Some((p, _)) = self.projects.iter_mut().find(|(p, _)| p.id == *project) {
                    p.environments.retain(|e| e.id != *id);
                }
            }
            Write::RemoveProject { id } => self.projects.retain(|(p, _)| p.id != *id),
            Write::UpdateProject { .. } | Write::UpdateEnvironment { .. } => {}
            Write::CreateApp { environment, name, service_base, description } => {
                let id: AppId = self.id("app-").into();
                let service: ServiceName = format!("{service_base}-{}", self.next).into();
                let app = App {
                    id: id.clone(),
                    name: name.clone(),
                    service: service.clone(),
                    environment: environment.clone(),
                    fields: [
                        (Field::Name, Value::Text(name.clone())),
                        (Field::Replicas, Value::Int(1)),
                        (Field::AutoDeploy, Value::Bool(true)),
                    ]
                    .into(),
                    env_text: String::new(),
                    description: Some(description.clone()),
                    children: Vec::new(),
                    deployments: Vec::new(),
                    jobs: Vec::new(),
                    created: self.next,
                    ours: true,
                    our_children: BTreeSet::new(),
                };
                self.apps.insert(id.clone(), app);
                return Written::App { id, service };
            }
            Write::MoveApp { id, environment } => {
                if let Some(app) = self.apps.get_mut(id) {
                    app.environment = environment.clone();
                }
            }
            Write::UpdateApp { id, fields, env_text, description } => {
                if let Some(app) = self.apps.get_mut(id) {
                    app.fields.extend(fields.clone());
                    if let Some(env) = env_text {
                        env.expose().clone_into(&mut app.env_text);
                    }
                    if fields.contains_key(&Field::Env) {
                        let vars = dotenv::parse(&app.env_text);
                        let vars = vars.into_iter().map(|(k, v)| (k, Secret::new(v))).collect();
                        app.fields.insert(Field::Env, Value::Env(vars));
                    }
                    if let Some(name) = text(fields, Field::Name) {
                        app.name = name;
                    }
                    if let Some(description) = description {
                        app.description = Some(description.clone());
                    }
                }
            }
            Write::CreateChild { app, key, child } => {
                let id: ChildId = self.id("child-").into();
                if let Some(app) = self.apps.get_mut(app) {
                    app.our_children.insert(id.clone());
                    let (key, child) = (key.clone(), child.clone());
                    app.children.push(SeenChild { id: id.clone(), key, child, router: None });
                }
                return Written::Child(id);
            }
            Write::UpdateChild { app, id, key, child } => {
                let app = self.apps.get_mut(app);
                if let Some(seen) = app.and_then(|a| a.children.iter_mut().find(|c| c.id == *id)) {
                    seen.key = key.clone();
                    seen.child = child.clone();
                }
            }
            Write::RemoveChild { app, id, .. } => {
                if let Some(app) = self.apps.get_mut(app) {
                    app.children.retain(|c| c.id != *id);
                }
            }
            Write::Deploy { app, token } => {
                let at = self.now.after(DEPLOYS_IN);
                if let Some(app) = self.apps.get_mut(app) {
                    app.jobs.push((at, token.clone()));
                }
            }
            Write::Restart { .. } => {}
            Write::DeleteApp { id } => {
                if let Some(app) = self.apps.remove(id) {
                    self.live.remove(&app.service);
                }
            }
        }
        Written::Done
    }

    /// The whole fleet as lists show it.
    pub(crate) fn fleet(&self, owner: &Owner) -> FleetView {
        let project_of = |environment: &EnvironmentId| {
            let found =
                self.projects.iter().find(|(p, _)| p.environments.iter().any(|e| e.id == *environment));
            found.map_or_else(|| "?".into(), |(p, _)| p.id.clone())
        };
        let mut domains: HashMap<AppId, Vec<SeenDomain>> = HashMap::new();
        for app in self.apps.values() {
            for child in &app.children {
                let (ChildKey::Domain(at), Child::Domain(host)) = (&child.key, &child.child) else {
                    continue;
                };
                domains.entry(app.id.clone()).or_default().push(SeenDomain {
                    id: child.id.clone(),
                    host: at.host.as_str().into(),
                    path: at.path.as_str().into(),
                    port: Some(host.port),
                    https: host.https != Https::None,
                    certificate: match host.https {
                        Https::None => "none",
                        Https::LetsEncrypt => "letsencrypt",
                        Https::Resolver(_) => "custom",
                    }
                    .into(),
                    enabled: true,
                });
            }
        }
        let mut view = FleetView {
            at: self.now,
            projects: self
                .projects
                .iter()
                .map(|(p, _)| SeenProject {
                    mark: p.description.as_deref().and_then(|d| berth_model::mark::read_place(d, owner)),
                    id: p.id.clone(),
                    name: p.name.clone(),
                    description: p.description.clone(),
                    env: p.env.clone(),
                    environments: p
                        .environments
                        .iter()
                        .map(|e| SeenEnvironment {
                            id: e.id.clone(),
                            name: e.name.clone(),
                            is_default: e.is_default,
                            services: self.services_in(&e.id),
                        })
                        .collect(),
                })
                .collect(),
            apps: self
                .apps
                .values()
                .map(|a| SeenApp {
                    id: a.id.clone(),
                    name: a.name.as_str().into(),
                    service: a.service.clone(),
                    project: project_of(&a.environment),
                    environment: a.environment.clone(),
                    mark: mark::read(a.description.as_deref().unwrap_or(""), owner),
                    mark_print: mark::print(a.description.as_deref().and_then(mark::line)),
                    created: format!("{:06}", a.created).into(),
                })
                .collect(),
            domains: Seen::Present(domains),
            services: Seen::Present(self.services()),
            ..FleetView::default()
        };
        view.index();
        view
    }

    fn services_in(&self, environment: &EnvironmentId) -> usize {
        self.apps.values().filter(|a| a.environment == *environment).count()
    }

    fn services(&self) -> HashMap<ServiceName, SeenService> {
        let row = |live: &Live| {
            let wanted = live.replicas.unwrap_or(1);
            SeenService { image: live.image.as_str().into(), running: wanted, wanted }
        };
        self.live.iter().map(|(name, live)| (name.clone(), row(live))).collect()
    }

    /// The answer to one question.
    pub(crate) fn read(&self, read: &Read) -> Fact {
        match read {
            Read::App(id) => Fact::App(self.apps.get(id).map_or(Seen::Absent, |a| {
                Seen::Present(Box::new(AppDetail {
                    id: a.id.clone(),
                    service: a.service.clone(),
                    environment: a.environment.clone(),
                    fields: a.fields.clone(),
                    env_text: Secret::new(a.env_text.clone()),
                    description: a.description.clone(),
                    children: a.children.clone(),
                    deployments: a.deployments.clone(),
                }))
            })),
            Read::Address => Fact::Address(Seen::Absent),
            Read::Live(service) => {
                Fact::Live(self.live.get(service).map_or(Seen::Absent, |l| Seen::Present(l.clone())))
            }
            Read::Tasks(_) => Fact::Tasks(vec![Task {
                desired: "Running".to_owned(),
                state: "running".to_owned(),
                error: None,
            }]),
            Read::Services => Fact::Services(Seen::Present(Arc::new(self.services()))),
            Read::Routers(id) => Fact::Routers(self.apps.get(id).map_or(Seen::Absent, |a| {
                let rules = a.children.iter().filter_map(|c| match &c.key {
                    ChildKey::Domain(at) if at.path == "/" => Some(format!("rule: Host(`{}`)\n", at.host)),
                    ChildKey::Domain(at) => {
                        Some(format!("rule: Host(`{}`) && PathPrefix(`{}`)\n", at.host, at.path))
                    }
                    _ => None,
                });
                Seen::Present(rules.collect())
            })),
            Read::Jobs => Fact::Jobs(Arc::new(Jobs {
                at: self.now,
                queued: self
                    .apps
                    .values()
                    .filter(|a| !a.jobs.is_empty())
                    .map(|a| (a.id.clone(), a.jobs.iter().map(|(_, t)| t.clone()).collect()))
                    .collect(),
                rows: self.apps.values().map(|a| (a.id.clone(), a.deployments.clone())).collect(),
            })),
            Read::Project(id) => {
                let found = self.projects.iter().find(|(p, _)| p.id == *id);
                Fact::Project(found.map_or(Seen::Absent, |(p, _)| {
                    let mut detail = p.clone();
                    for e in &mut detail.environments {
                        e.services = self.services_in(&e.id);
                    }
                    Seen::Present(Box::new(detail))
                }))
            }
            Read::Output { .. } => Fact::Output(String::new()),
            Read::Log(_) => Fact::Log("no such image".to_owned()),
        }
    }

    /// Everything that the daemon did not make: it may never change.
    pub(crate) fn theirs(&self) -> World {
        let mut world =
            World { projects: self.projects.clone(), apps: self.apps.clone(), ..World::default() };
        world.projects.retain(|(_, ours)| !ours);
        world.apps.retain(|_, a| !a.ours);
        for (project, _) in &mut world.projects {
            project.environments.retain(|e| e.description.is_none());
        }
        world
    }

    /// Children that others put on applications of ours.
    pub(crate) fn their_children(&self) -> Vec<(AppId, SeenChild)> {
        let foreign = |a: &App| {
            let theirs = a.children.iter().filter(|c| !a.our_children.contains(&c.id)).cloned();
            theirs.map(|c| (a.id.clone(), c)).collect::<Vec<_>>()
        };
        self.apps.values().filter(|a| a.ours).flat_map(foreign).collect()
    }
}

/// A field's value, where it is a text.
pub(crate) fn text(fields: &Fields, field: Field) -> Option<String> {
    match fields.get(&field) {
        Some(Value::Text(t)) => Some(t.clone()),
        _ => None,
    }
}

fn serve(fields: &Fields) -> Live {
    let hash = match fields.get(&Field::Labels) {
        Some(Value::Map(labels)) => labels.get(berth_plan::HASH_LABEL).and_then(|h| Hash::parse(h)),
        _ => None,
    };
    let replicas = match fields.get(&Field::Replicas) {
        Some(Value::Int(n)) => u32::try_from(*n).ok(),
        _ => Some(1),
    };
    Live {
        hash,
        image: text(fields, Field::Image).unwrap_or_default(),
        update: UpdateState::Settled,
        replicas,
    }
}
