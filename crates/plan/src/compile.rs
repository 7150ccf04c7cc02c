//! From a stack as it is written to what is wanted of its backend: names, fields, secrets, hashes.
//!
//! Pure: secrets come in through [`Secrets`], what is known of the place through [`Surroundings`].

use berth_model::condition::Reason;
use berth_model::desired::{Child, ChildKey, Desired, DesiredApp};
use berth_model::dotenv::{self, Reference};
use berth_model::field::{Field, Fields, Value};
use berth_model::hash::{Hash, HashKey};
use berth_model::ids::{AppName, EnvironmentId};
use berth_model::observed::ProjectDetail;
use berth_model::stack::{App, EnvValue, Generate, Mount, Part, Patch, Stack, Text, UpdatePolicy};
use berth_model::step::Blocked;
use berth_model::{Secret, StackName};
use litemap::LiteMap;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::time::Duration;

/// The label under which the applied hash travels to the running container.
pub const HASH_LABEL: &str = "berth.dev/hash";

/// What stands in a plan for an id that a create will tell.
pub const LATER: &str = "(known after create)";

/// Where secrets come from.
pub trait Secrets {
    /// A given secret and its version: the app's own, else the stack's.
    fn given(&self, stack: &str, app: &AppName, name: &str) -> Option<(Secret, u32)>;
    /// A generated one.
    fn generated(&self, stack: &str, app: &AppName, name: &str, how: &Generate) -> Secret;
}

/// What is known of the place a stack lives in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// Its project in full, where it was read.
    pub project: Option<&'a ProjectDetail>,
    /// Its environment, where it exists.
    pub environment: Option<&'a EnvironmentId>,
}

/// What compiling needs to know of an app that exists already.
#[derive(Debug, Clone, Copy, Default)]
pub struct Existing<'a> {
    /// It was taken over: only what the manifest names is managed.
    pub adopted: bool,
    /// Its variables as they stand: generated values are kept where an adopted app has one already.
    pub env: Option<&'a BTreeMap<String, Secret>>,
}

/// The result of compiling.
#[derive(Debug, Clone, PartialEq)]
pub struct Compiled {
    /// What is wanted, as far as it could be told.
    pub desired: Desired,
    /// What stands in the way: nothing of the stack is deployed while this is not empty.
    pub blocked: Vec<Blocked>,
    /// The project's variables or ids are needed and were not read yet.
    pub needs_project: bool,
}

/// Compiles a stack. Deterministic and total.
#[must_use]
pub fn compile<'a>(
    stack: &Stack,
    key: &HashKey,
    secrets: &dyn Secrets,
    around: Surroundings<'_>,
    existing: &dyn Fn(&AppName) -> Existing<'a>,
) -> Compiled {
    let mut cx = Cx { stack, key, secrets, around, blocked: Vec::new(), needs_project: false };
    let order = order(stack);
    let apps = order.into_iter().map(|name| cx.app(name, &stack.apps[name], existing(name))).collect();
    Compiled {
        desired: Desired {
            stack: stack.name.clone(),
            formerly: stack.formerly.clone(),
            backend: stack.target.backend.clone(),
            place: stack.target.project.clone(),
            environment: stack.target.environment.clone(),
            apps,
            left: BTreeSet::new(),
            on_first_failure: stack.on_first_failure,
            records: stack.records,
            paused: stack.paused,
        },
        blocked: cx.blocked,
        needs_project: cx.needs_project,
    }
}

/// Apps with their dependencies first; ties by name. A cycle cannot come from the reader; its members follow last.
fn order(stack: &Stack) -> Vec<&AppName> {
    let mut done: BTreeSet<&AppName> = BTreeSet::new();
    let mut order = Vec::new();
    while order.len() < stack.apps.len() {
        let ready = stack.apps.iter().find(|(name, app)| {
            !done.contains(name) && app.needs.iter().all(|n| done.contains(n) || !stack.apps.contains_key(n))
        });
        let next = ready.or_else(|| stack.apps.iter().find(|(n, _)| !done.contains(n)));
        let Some((name, _)) = next else { break };
        done.insert(name);
        order.push(name);
    }
    order
}

/// What an application is called in Dokploy.
#[must_use]
pub fn display_name(stack: &Stack, app: &AppName) -> String {
    match &stack.apps[app].name_on_dokploy {
        Some(name) => name.clone(),
        None if stack.apps.len() == 1 => stack.name.to_string(),
        None => format!("{}-{app}", stack.name),
    }
}

/// What a service name begins with: at most 56 characters, since Dokploy adds seven and Swarm allows 63.
#[must_use]
pub(crate) fn service_base(key: &HashKey, stack: &StackName, display: &str) -> String {
    let mut base: String = display
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' })
        .collect();
    // A leading sign would be read as a flag by docker, and `dokploy-` hides a service from the list of services.
    if !base.starts_with(|c: char| c.is_ascii_lowercase()) || base.starts_with("dokploy-") {
        base.insert_str(0, "app-");
    }
    if base.len() > 56 {
        let mut hash = key.begin("service name");
        hash.text(stack.as_str()).text(display);
        base.truncate(49);
        let _ = write!(base, "-{}", &hash.finish().to_string()[..6]);
    }
    base
}

struct Cx<'a> {
    stack: &'a Stack,
    key: &'a HashKey,
    secrets: &'a dyn Secrets,
    around: Surroundings<'a>,
    blocked: Vec<Blocked>,
    needs_project: bool,
}

impl Cx<'_> {
    fn block(&mut self, app: &AppName, reason: Reason, message: String) {
        self.blocked.push(Blocked { what: format!("app {app}"), reason, message });
    }

    fn app(&mut self, name: &AppName, app: &App, existing: Existing<'_>) -> DesiredApp {
        let display = display_name(self.stack, name);
        let mut versions = BTreeMap::new();
        let mut fields = Fields::new();
        // On an application that Berth made an omitted field means the default; on an adopted one, hands off.
        let mut put = |field, value: Option<Value>| {
            if let Some(value) = value.or((!existing.adopted).then_some(Value::Null)) {
                fields.insert(field, value);
            }
        };
        put(Field::Source, Some(Value::Text("docker".to_owned())));
        put(Field::Image, Some(Value::Text(app.image.clone())));
        if let Some(auth) = &app.registry {
            let password = self.given(name, &auth.password, &mut versions);
            put(Field::RegistryUser, Some(Value::Text(auth.username.clone())));
            put(Field::RegistryPassword, Some(Value::Secret(password)));
            put(
                Field::RegistryUrl,
                Some(if auth.url.is_empty() { Value::Null } else { Value::Text(auth.url.clone()) }),
            );
        } else {
            put(Field::RegistryUser, None);
            put(Field::RegistryPassword, None);
            put(Field::RegistryUrl, None);
        }
        put(Field::Command, words(&app.command));
        put(Field::Args, words(&app.args));
        put(Field::Memory, number(&app.memory, |v| v.0));
        put(Field::MemoryReserve, number(&app.memory_reserve, |v| v.0));
        put(Field::Cpu, number(&app.cpu, |v| v.0));
        put(Field::CpuReserve, number(&app.cpu_reserve, |v| v.0));
        put(Field::HealthCmd, patched(&app.health_cmd, |h| Value::Health(h.as_ref().clone())));
        put(Field::StopGrace, number(&app.stop_grace, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)));
        let replicas = app.replicas.value().copied().unwrap_or(1);
        if !matches!(app.replicas, Patch::Unset) || !existing.adopted {
            fields.insert(Field::Replicas, Value::Int(u64::from(replicas)));
        }
        if let Some(update) = self.update(app, replicas, existing.adopted) {
            fields.insert(Field::Update, update);
        }
        if !existing.adopted {
            fields.insert(Field::Name, Value::Text(display.clone()));
        }
        fields.insert(Field::AutoDeploy, Value::Bool(false));
        let mut resolved = BTreeMap::new();
        let env = self.env(name, app, existing, &mut versions, &mut resolved);
        if !existing.adopted || !matches!(app.env, Patch::Unset) {
            fields.insert(Field::Env, Value::Env(env));
        }
        let children = children(app);
        let labels = app.labels.value().into_iter().flatten();
        let mut labels: BTreeMap<_, _> = labels.map(|(k, v)| (k.clone(), v.clone())).collect();
        fields.insert(Field::Labels, Value::Map(labels.clone()));

        let hash = self.hash(&fields, &children, &resolved);
        labels.insert(HASH_LABEL.to_owned(), hash.to_string());
        fields.insert(Field::Labels, Value::Map(labels));
        let full = self.full(&fields, &children, &app.drift, hash);
        DesiredApp {
            name: name.clone(),
            service_base: service_base(self.key, &self.stack.name, &display),
            adopt: app.adopt,
            fields,
            env_is_partial: existing.adopted,
            children,
            hash,
            full,
            needs: app.needs.clone(),
            health: app.health_http.as_deref().cloned(),
            drift: app.drift.clone(),
            secrets: versions,
        }
    }

    fn update(&self, app: &App, replicas: u32, adopted: bool) -> Option<Value> {
        match &app.update {
            Patch::Set(policy) => Some(Value::Update(policy.clone())),
            Patch::Clear => Some(Value::Null),
            Patch::Unset if adopted => None,
            // Two tasks at once on one volume is how databases are lost.
            Patch::Unset
                if replicas == 1 && app.mounts.values().any(|m| matches!(m, Mount::Volume { .. })) =>
            {
                Some(Value::Update(UpdatePolicy {
                    start_first: false,
                    parallel: 1,
                    monitor: Duration::from_secs(5),
                    rollback: true,
                }))
            }
            Patch::Unset => Some(Value::Null),
        }
    }

    fn given(&mut self, app: &AppName, name: &str, versions: &mut BTreeMap<String, u32>) -> Secret {
        if let Some((secret, version)) = self.secrets.given(self.stack.name.as_str(), app, name) {
            versions.insert(name.to_owned(), version);
            return secret;
        }
        let stack = &self.stack.name;
        self.block(
            app,
            Reason::MissingSecret,
            format!(
                "app '{app}' needs the secret '{name}', which was not given; give it with: berth secret set {stack} {app} {name}"
            ),
        );
        Secret::default()
    }

    fn env(
        &mut self,
        name: &AppName,
        app: &App,
        existing: Existing<'_>,
        versions: &mut BTreeMap<String, u32>,
        resolved: &mut BTreeMap<String, String>,
    ) -> BTreeMap<String, Secret> {
        let mut env = BTreeMap::new();
        for (variable, value) in app.env.value().into_iter().flatten() {
            let value = match value {
                EnvValue::Text(text) => Secret::new(self.late(text)),
                EnvValue::Secret(reference) => self.given(name, reference, versions),
                EnvValue::Generate(how) => {
                    let kept = existing.env.filter(|_| existing.adopted).and_then(|e| e.get(variable));
                    kept.cloned().unwrap_or_else(|| {
                        self.secrets.generated(self.stack.name.as_str(), name, variable, how)
                    })
                }
                EnvValue::FromApps(from) => {
                    let urls: Vec<_> = from.apps.iter().filter_map(|a| self.address(a, &from.key)).collect();
                    Secret::new(urls.join(&from.join))
                }
            };
            if let Err(unwritable) = dotenv::assignment_line(variable, value.expose()) {
                self.block(name, Reason::Invalid, unwritable.to_string());
            }
            self.references(name, variable, value.expose(), resolved);
            env.insert(variable.clone(), value);
        }
        env
    }

    /// The URL (or host) under which another app of the stack is reached from outside.
    fn address(&self, app: &AppName, key: &str) -> Option<String> {
        let (at, host) = self.stack.apps.get(app)?.hosts.iter().next()?;
        let scheme = if host.https == berth_model::stack::Https::None { "http" } else { "https" };
        let path = if at.path == "/" { "" } else { &at.path };
        Some(if key == "host" { at.host.clone() } else { format!("{scheme}://{}{path}", at.host) })
    }

    /// Fills in ids that exist; what does not exist yet shows as such and keeps the stack from being deployed.
    fn late(&mut self, text: &Text) -> String {
        let mut out = String::new();
        for part in &text.0 {
            match part {
                Part::Lit(t) => out.push_str(t),
                Part::ProjectId => match self.around.project {
                    Some(p) => out.push_str(p.id.as_str()),
                    None => {
                        self.needs_project = true;
                        out.push_str(LATER);
                    }
                },
                Part::EnvironmentId(wanted) => {
                    let found = self
                        .around
                        .project
                        .map(|p| p.environments.iter().find(|e| e.name == *wanted).map(|e| e.id.to_string()));
                    match found {
                        Some(Some(id)) => out.push_str(&id),
                        Some(None) => {
                            self.blocked.push(Blocked {
                                what: "environment".to_owned(),
                                reason: Reason::PlaceMissing,
                                message: format!(
                                    "{{environmentId.{wanted}}}: the project has no environment '{wanted}'"
                                ),
                            });
                        }
                        None => {
                            self.needs_project = true;
                            out.push_str(LATER);
                        }
                    }
                }
            }
        }
        out
    }

    /// Looks up `${{project.X}}` and `${{environment.X}}`: an unknown one would fail the deploy, and a changed one has
    /// to redeploy exactly the apps that refer to it.
    fn references(
        &mut self,
        app: &AppName,
        variable: &str,
        value: &str,
        resolved: &mut BTreeMap<String, String>,
    ) {
        for reference in dotenv::references(value) {
            let (scope, name) = match &reference {
                Reference::Project(n) => ("project", n),
                Reference::Environment(n) => ("environment", n),
                Reference::Own(n) => {
                    let known = self.stack.apps[app].env.value().is_some_and(|e| e.contains_key(n));
                    if !known {
                        self.block(
                            app,
                            Reason::ReferenceMissing,
                            format!("env {variable} refers to ${{{{{n}}}}}, which the app does not set"),
                        );
                    }
                    continue;
                }
                Reference::Other(_) => continue,
            };
            let Some(project) = self.around.project else {
                self.needs_project = true;
                continue;
            };
            let text = match scope {
                "project" => Some(project.env.expose()),
                _ => self
                    .around
                    .environment
                    .and_then(|id| project.environments.iter().find(|e| e.id == *id))
                    .map(|e| e.env.expose()),
            };
            match text.and_then(|t| dotenv::parse(t).remove(name)) {
                Some(found) => {
                    resolved.insert(format!("{scope}.{name}"), found);
                }
                None => self.block(
                    app,
                    Reason::ReferenceMissing,
                    format!(
                        "env {variable} refers to ${{{{{scope}.{name}}}}}, but the {scope} has no variable {name}; set it there or in the Project manifest"
                    ),
                ),
            }
        }
    }

    fn hash(
        &self,
        fields: &Fields,
        children: &BTreeMap<ChildKey, Child>,
        resolved: &BTreeMap<String, String>,
    ) -> Hash {
        let mut w = self.key.begin("app");
        w.fields(fields);
        for (key, child) in children.iter().filter(|(k, _)| !matches!(k, ChildKey::Domain(_))) {
            write_child(&mut w, key, child);
        }
        for (name, value) in resolved {
            w.text(name).text(value);
        }
        w.finish()
    }

    fn full(
        &self,
        fields: &Fields,
        children: &BTreeMap<ChildKey, Child>,
        drift: &LiteMap<String, berth_model::stack::DriftPolicy>,
        hash: Hash,
    ) -> Hash {
        let mut w = self.key.begin("full");
        w.text(self.stack.name.as_str()).text(&hash.to_string());
        w.text(&format!("{:?} {:?}", fields.get(&Field::Name), fields.get(&Field::AutoDeploy)));
        w.text(&format!("{:?} {:?} {drift:?}", self.stack.target.project, self.stack.target.environment));
        for (key, child) in children {
            write_child(&mut w, key, child);
        }
        w.finish()
    }
}

/// A digest of a child, for the mark: recognises what is about to be made.
#[must_use]
pub fn child_digest(hash_key: &HashKey, key: &ChildKey, child: &Child) -> Hash {
    let mut w = hash_key.begin("child");
    write_child(&mut w, key, child);
    w.finish()
}

fn write_child(w: &mut berth_model::hash::Writer, key: &ChildKey, child: &Child) {
    w.text(&key.to_string()).text(&child.show());
    if let Child::Mount(Mount::File { content, .. }) = child {
        w.text(content.expose());
    }
}

fn children(app: &App) -> BTreeMap<ChildKey, Child> {
    let mounts = app.mounts.iter().map(|(p, m)| (ChildKey::Mount(p.clone()), Child::Mount(m.clone())));
    let ports = app.ports.iter().map(|(k, p)| (ChildKey::Port(k.clone()), Child::Port(p.clone())));
    let hosts = app.hosts.iter().map(|(k, h)| (ChildKey::Domain(k.clone()), Child::Domain(h.clone())));
    mounts.chain(ports).chain(hosts).collect()
}

fn patched<T>(patch: &Patch<T>, value: impl Fn(&T) -> Value) -> Option<Value> {
    match patch {
        Patch::Unset => None,
        Patch::Clear => Some(Value::Null),
        Patch::Set(v) => Some(value(v)),
    }
}

fn number<T>(patch: &Patch<T>, value: impl Fn(&T) -> u64) -> Option<Value> {
    patched(patch, |v| Value::Int(value(v)))
}

fn words(patch: &Patch<Vec<String>>) -> Option<Value> {
    patched(patch, |v| if v.is_empty() { Value::Null } else { Value::List(v.clone()) })
}
