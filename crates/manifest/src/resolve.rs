//! From a merged spec to a [`Stack`]: where it runs and what belongs to the whole. Apps are in `app`.
//!
//! Every fault is told; a stack comes out only where there is none.

use crate::app;
use crate::domain;
use crate::placeholder::{self, Values};
use crate::raw::{self, ByStage, Metadata, StackSpec, TargetSpec};
use crate::read::{At, Read, Short, Sink, Words};
use crate::tree::{Kind, Node, Span};
use crate::{Context, check};
use berth_model::stack::{HostKey, OnFirstFailure, Origin, Place, Stack, Stage, Target, compact};
use berth_model::{AppName, BackendName, ProjectName, StackName};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a text is resolved with.
pub(crate) struct Here<'a> {
    pub(crate) values: Values<'a>,
    pub(crate) stage: Stage,
    /// A template alone: what a stack may still add is not missed.
    pub(crate) partial: bool,
    pub(crate) sink: &'a mut Sink,
}

impl Here<'_> {
    /// The text with its placeholders filled.
    pub(crate) fn text(&mut self, text: &str, at: Span) -> Option<String> {
        match placeholder::fill(text, &self.values) {
            Ok(text) => text.as_lit().map(str::to_owned),
            Err(wrong) => {
                wrong.into_iter().for_each(|(m, h)| self.sink.error_help(at, m, h));
                None
            }
        }
    }

    /// The text with its placeholders filled, checked.
    pub(crate) fn checked<T>(
        &mut self,
        text: &At<Words>,
        check: impl FnOnce(&str) -> Result<T, check::Wrong>,
    ) -> Option<T> {
        let filled = self.text(&text.v, text.at)?;
        self.told(text.at, check(&filled))
    }

    pub(crate) fn told<T>(&mut self, at: Span, result: Result<T, check::Wrong>) -> Option<T> {
        result.map_err(|(m, h)| self.sink.error_help(at, m, h)).ok()
    }

    /// The value for this stack's stage.
    pub(crate) fn by_stage<'v, T>(&mut self, value: &'v ByStage<T>) -> Option<&'v T> {
        match value {
            Short::Short(v) => Some(v),
            Short::Full(map) => {
                let found = map.by[self.stage as usize].as_ref();
                if found.is_none() && !self.partial {
                    let stage = self.stage.as_str();
                    let help = format!("add '{stage}:' to the map, or give one value for all stages");
                    self.sink.error_help(map.at, format!("there is no value for the stage {stage}"), help);
                }
                found
            }
        }
    }
}

/// The name of a stack or template.
pub(crate) fn name(given: &At<Words>, sink: &mut Sink) -> Option<StackName> {
    StackName::new(&given.v)
        .map_err(|e| sink.error_help(given.at, e.to_string(), "write one like john-dev"))
        .ok()
}

/// Refuses what is read but not built yet.
fn unsupported(spec: &StackSpec, sink: &mut Sink) {
    let mut refuse = |at: Option<Span>, what: &str| {
        if let Some(at) = at {
            let help =
                "this version runs stacks on Dokploy; take it out, or keep this file for a later version";
            sink.error_help(at, format!("{what} is not supported by this version"), help);
        }
    };
    refuse(spec.rollout.as_ref().map(|v| v.at), "'rollout'");
    refuse(spec.databases.as_ref().map(|v| v.at), "'databases'");
    refuse(spec.network.as_ref().map(|v| v.at), "'network'");
    refuse(spec.routing.as_ref().map(|v| v.at), "'routing'");
    refuse(spec.target.as_ref().and_then(|t| t.v.swarm.as_ref()).map(|v| v.at), "a Swarm target");
    for (_, app) in spec.apps.iter().flat_map(|a| &a.v.0) {
        refuse(app.v.uses.as_ref().map(|v| v.at), "'uses'");
        refuse(app.v.requires.as_ref().map(|v| v.at), "'requires'");
        refuse(app.v.frontends.as_ref().map(|v| v.at), "'frontends'");
        refuse(app.v.autoscale.as_ref().map(|v| v.at), "'autoscale'");
        refuse(app.v.configs.as_ref().map(|v| v.at), "'configs'");
        refuse(app.v.secrets.as_ref().map(|v| v.at), "'secrets'");
    }
}

/// Checks a template by itself, once, so that its faults are not told again for each stack.
pub(crate) fn template(spec: &Node, sink: &mut Sink, cx: &Context) {
    let Some(read) = StackSpec::read(spec, sink) else {
        return;
    };
    if let Some(t) = &read.template {
        sink.error_help(t.at, "a template cannot lie over another template", "write it out in one template");
    }
    unsupported(&read, sink);
    let values =
        Values { name: Some("name"), app: None, tenant: Some("tenant"), stage: Some("stage"), late: false };
    let mut here = Here { values, stage: Stage::Production, partial: true, sink };
    target(read.target.as_ref(), spec.at, &mut here, cx);
    if let Some(plan) = &read.domain {
        domain::template(plan, &mut here);
    }
    let https = cx.https(None);
    for (key, app) in read.apps.iter().flat_map(|a| &a.v.0) {
        app_name(key, here.sink);
        app::resolve(&key.text, &app.v, app.at, &mut here, &https);
    }
}

fn app_name(key: &crate::tree::Key, sink: &mut Sink) -> Option<AppName> {
    AppName::new(&key.text)
        .map_err(|e| sink.error_help(key.at, format!("'{}': {e}", key.text), "write one like web"))
        .ok()
}

/// A whole stack. `spec` is already laid over its template.
pub(crate) fn stack(
    meta: &Metadata,
    named: &At<Words>,
    spec: &Arc<Node>,
    origin: Origin,
    sink: &mut Sink,
    cx: &Context,
) -> Option<Stack> {
    let stack_name = name(named, sink);
    if cx.reserved_names.iter().any(|r| **r == *named.v) {
        sink.error_help(
            named.at,
            format!("the name '{}' is reserved", &*named.v),
            "choose another, or see reservedNames",
        );
    }
    if &*named.v == "dokploy" || named.v.starts_with("dokploy-") {
        let help = "Dokploy keeps names that begin with 'dokploy-' for itself";
        sink.error_help(named.at, format!("a stack may not be called '{}'", &*named.v), help);
    }
    let formerly = meta.formerly.as_ref().and_then(|f| name(f, sink));
    if let (Some(f), Some(n)) = (&meta.formerly, &formerly)
        && Some(n) == stack_name.as_ref()
    {
        sink.error_help(
            f.at,
            "'formerly' is the stack's own name",
            "take it out, or give the name it had before",
        );
    }
    let tenant = meta.tenant.as_ref().and_then(|t| {
        check::display_name(&t.v, "a tenant").map_err(|(m, h)| sink.error_help(t.at, m, h)).ok()?;
        Some(t.v.to_string())
    });
    let stage = stage(meta.stage);
    let read = StackSpec::read(spec, sink)?;
    unsupported(&read, sink);

    let text = named.v.to_string();
    let values = Values {
        name: Some(&text),
        app: None,
        tenant: meta.tenant.as_ref().map(|t| &*t.v),
        stage: Some(stage.as_str()),
        late: false,
    };
    let mut here = Here { values, stage, partial: false, sink };
    let target = target(read.target.as_ref(), named.at, &mut here, cx);
    let https = cx.https(target.as_ref().map(|t| &t.backend));

    let empty = Vec::new();
    let given = read.apps.as_ref().map_or(&empty, |a| &a.v.0);
    if given.is_empty() {
        let at = read.apps.as_ref().map_or(named.at, |a| a.at);
        let help = "add one under spec.apps: {web: {image: …, port: …}}, or name a template";
        here.sink.error_help(at, "the stack has no apps", help);
    }
    let mut apps = BTreeMap::new();
    let patterned = read.domain.as_ref().is_some_and(|d| d.v.pattern.is_some());
    let mut wants_host = None;
    for (key, app) in given {
        let name = app_name(key, here.sink);
        let resolved = app::resolve(&key.text, &app.v, app.at, &mut here, &https);
        if given.len() == 1 && !patterned && app.v.host.is_none() && app.v.hosts.is_none() {
            wants_host = app.v.port.as_ref().map(|p| p.at);
        }
        if let (Some(name), Some(app)) = (name, resolved) {
            apps.insert(name, Box::new(app));
        }
    }
    if let (Some(at), Some(suffix), Some(app)) =
        (wants_host, &cx.defaults.host_suffix, apps.values_mut().next())
    {
        let host = format!("{text}.{}", suffix.trim_start_matches('.'));
        if let (Some(host), Some(port)) = (here.told(at, check::host(&host)), app.port) {
            let key = HostKey { host, path: "/".to_owned() };
            app.hosts = compact([(key, app::plain_host(port, https.clone()))]);
        }
    }
    if let Some(plan) = &read.domain {
        domain::apply(plan, given, &mut apps, &https, &mut here);
    }
    let faulty = apps.len() < given.len();
    for (key, app) in given {
        app::check_links(&key.text, &app.v, &apps, faulty, here.sink);
    }
    same_hosts(&apps, given, here.sink);
    needs(given, here.sink);
    if here.sink.failed() {
        return None;
    }
    Some(Stack {
        name: stack_name?,
        tenant,
        formerly,
        stage,
        paused: read.paused.unwrap_or(false),
        target: target?,
        apps: compact(apps),
        on_first_failure: match read.on_first_failure {
            Some(raw::OnFirstFailure::Remove) => OnFirstFailure::Remove,
            Some(raw::OnFirstFailure::Keep) | None => OnFirstFailure::Keep,
        },
        template: read.template.map(|t| t.v.to_string()),
        records: domain::records(read.domain.as_ref()),
        origin,
    })
}

pub(crate) fn stage(given: Option<raw::Stage>) -> Stage {
    match given {
        None | Some(raw::Stage::Production) => Stage::Production,
        Some(raw::Stage::Staging) => Stage::Staging,
        Some(raw::Stage::Preview) => Stage::Preview,
        Some(raw::Stage::Development) => Stage::Development,
    }
}

/// Which account: the given one, the default, or the only one.
pub(crate) fn backend(
    given: Option<&At<Words>>,
    at: Span,
    sink: &mut Sink,
    cx: &Context,
) -> Option<BackendName> {
    if let Some(given) = given {
        let name = BackendName::new(&given.v).map_err(|e| sink.error(given.at, e.to_string())).ok()?;
        if let Some(known) = &cx.backends
            && !known.contains_key(&name)
        {
            let help = crate::read::suggest(name.as_str(), known.keys().map(BackendName::as_str), "accounts");
            sink.error_help(given.at, format!("berth.yaml has no backend '{name}'"), help);
            return None;
        }
        return Some(name);
    }
    if let Some(name) = &cx.defaults.backend {
        return Some(name.clone());
    }
    match &cx.backends {
        None => BackendName::new("main").ok(),
        Some(known) if known.len() == 1 => known.keys().next().cloned(),
        Some(_) => {
            let help = "write target.dokploy here, or defaults.target.dokploy in berth.yaml";
            sink.error_help(at, "there are several Dokploy accounts and none is named", help);
            None
        }
    }
}

fn target(given: Option<&At<TargetSpec>>, at: Span, here: &mut Here<'_>, cx: &Context) -> Option<Target> {
    let at = given.map_or(at, |t| t.at);
    let empty = TargetSpec::default();
    let spec = given.map_or(&empty, |t| &t.v);
    let backend = if here.partial && spec.dokploy.is_none() {
        None
    } else {
        backend(spec.dokploy.as_ref(), at, here.sink, cx)
    };
    let mut place = |value: &Option<ByStage<At<Words>>>, what: &str| -> Option<Option<(String, Span)>> {
        let Some(value) = value else { return Some(None) };
        let value = here.by_stage(value)?;
        let text = here.text(&value.v, value.at)?;
        here.told(value.at, check::display_name(&text, what))?;
        Some(Some((text, value.at)))
    };
    let project = place(&spec.project, "a project");
    let own = place(&spec.own_project, "a project");
    let environment = place(&spec.environment, "an environment");
    let (project, own, environment) = (project?, own?, environment?);
    if let (Some(_), Some((_, at))) = (&project, &own) {
        let help = "keep 'project' for a shared one, or 'ownProject' for one that is made and removed with the stack";
        here.sink.error_help(*at, "a stack runs in one project, and two are named", help);
        return None;
    }
    // The default project is one of the default account.
    let default = backend.is_none() || cx.defaults.backend.is_none() || backend == cx.defaults.backend;
    let default = cx.defaults.project.clone().filter(|_| default && own.is_none());
    let by_default = project.is_none() && default.is_some();
    let shared: Option<ProjectName> = project.map(|(p, _)| p.into()).or(default);
    if let (Some(create), None) = (&spec.create, &shared)
        && !here.partial
    {
        let help = "a project of the stack's own is always made; 'create' goes with 'project'";
        here.sink.error_help(create.at, "there is no shared project to create", help);
    }
    let environment = environment
        .map(|(e, _)| e)
        .or_else(|| cx.defaults.environment.clone().filter(|_| by_default))
        .unwrap_or_else(|| "production".to_owned());
    let project = match shared {
        Some(project) => Place::Shared { project, create: spec.create.as_ref().is_some_and(|c| c.v) },
        None => {
            let name =
                own.map(|(o, _)| o).unwrap_or_else(|| format!("ai-stack-{}", here.values.name.unwrap_or("")));
            Place::Own { project: name.into() }
        }
    };
    Some(Target { backend: backend?, project, environment })
}

/// Two apps of one stack with one host and path.
fn same_hosts(
    apps: &BTreeMap<AppName, Box<berth_model::stack::App>>,
    given: &[(crate::tree::Key, At<raw::AppSpec>)],
    sink: &mut Sink,
) {
    let mut seen = BTreeMap::new();
    for (key, spec) in given {
        let Some(app) = apps.get(&*key.text) else { continue };
        for host in app.hosts.keys() {
            if let Some(first) = seen.insert(host, &key.text) {
                let at = app::host_place(&spec.v).unwrap_or(key.at);
                let path = if host.path == "/" { "" } else { &host.path };
                let message = format!("{}{path} leads to the app '{first}' already", host.host);
                sink.error_help(at, message, "a host and path can lead to one app only");
            }
        }
    }
}

/// Unknown names and cycles in `needs`.
fn needs(given: &[(crate::tree::Key, At<raw::AppSpec>)], sink: &mut Sink) {
    let names: Vec<&str> = given.iter().map(|(k, _)| &*k.text).collect();
    let known: BTreeSet<&str> = names.iter().copied().collect();
    let mut graph: BTreeMap<&str, Vec<(&str, Span)>> = BTreeMap::new();
    for (key, app) in given {
        for need in app.v.needs.iter().flat_map(|n| &n.0) {
            if known.contains(&*need.v) {
                graph.entry(&*key.text).or_default().push((&*need.v, need.at));
            } else {
                let help =
                    crate::read::suggest(&need.v, names.iter().copied().filter(|n| *n != &*key.text), "apps");
                sink.error_help(need.at, format!("there is no app '{}' in this stack", &*need.v), help);
            }
        }
    }
    let mut done = BTreeSet::new();
    for (start, _) in given {
        let mut path: Vec<(&str, usize)> = Vec::new();
        if done.contains(&*start.text) {
            continue;
        }
        path.push((&start.text, 0));
        while let Some((name, next)) = path.last_mut() {
            let Some((to, at)) = graph.get(name).and_then(|n| n.get(*next)).copied() else {
                done.insert(*name);
                path.pop();
                continue;
            };
            *next += 1;
            if let Some(begin) = path.iter().position(|(n, _)| *n == to) {
                let mut cycle: Vec<&str> = path[begin..].iter().map(|(n, _)| *n).collect();
                cycle.push(to);
                let help = "take one of these needs out";
                sink.error_help(
                    at,
                    format!("apps wait for each other in a circle: {}", cycle.join(" → ")),
                    help,
                );
            } else if !done.contains(to) {
                path.push((to, 0));
            }
        }
    }
}

/// The path of the value that stands at a place, for messages.
pub(crate) fn path_of(node: &Node, at: Span) -> Option<String> {
    let mut path = Vec::new();
    if !find(node, at, &mut path) {
        return None;
    }
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) => {
                if !text.is_empty() {
                    text.push('.');
                }
                if key.contains(['.', '/', ' ']) {
                    text.push_str(&format!("{key:?}"));
                } else {
                    text.push_str(key);
                }
            }
            Step::Item(n) => text.push_str(&format!("[{n}]")),
        }
    }
    Some(text)
}

enum Step<'a> {
    Key(&'a str),
    Item(usize),
}

fn find<'a>(node: &'a Node, at: Span, path: &mut Vec<Step<'a>>) -> bool {
    match &node.kind {
        Kind::Map(entries) => entries.iter().any(|(key, value)| {
            path.push(Step::Key(&key.text));
            let here = key.at == at || value.at == at || find(value, at, path);
            if !here {
                path.pop();
            }
            here
        }),
        Kind::Seq(items) => items.iter().enumerate().any(|(n, item)| {
            path.push(Step::Item(n));
            let here = item.at == at || find(item, at, path);
            if !here {
                path.pop();
            }
            here
        }),
        _ => false,
    }
}
