//! One app of a stack: its fields with defaults filled in, each fault told at its own place.
//!
//! Messages about variables never hold their values.

use crate::check;
use crate::env;
use crate::raw::{self, AppSpec};
use crate::read::{At, Many, Short, Sink, Tri, Words};
use crate::resolve::Here;
use crate::running;
use crate::tree::Span;
use berth_model::stack::{
    App, DriftPolicy, Host, HostKey, Https, Mount, Patch, Port, PortKey, RegistryAuth, compact,
};
use berth_model::{AppName, Secret};
use std::collections::BTreeMap;
use std::time::Duration;

/// The most replicas of one app.
const MOST_REPLICAS: u32 = 1_000;

/// A field that may be cleared, resolved.
pub(crate) fn patch<T, U>(field: Option<&Tri<T>>, make: impl FnOnce(&T) -> Option<U>) -> Patch<U> {
    match field.map(|f| f.v.as_ref()) {
        None => Patch::Unset,
        Some(None) => Patch::Clear,
        // A fault was told; what comes out is not used.
        Some(Some(v)) => make(v).map_or(Patch::Unset, Patch::Set),
    }
}

/// An app. None where its name cannot be an app's or a fault was told.
pub(crate) fn resolve(
    name: &str,
    spec: &AppSpec,
    at: Span,
    here: &mut Here<'_>,
    https: &Https,
) -> Option<App> {
    let before = here.sink.problems.iter().filter(|p| !p.warning).count();
    let values = crate::placeholder::Values { app: Some(name), ..here.values };
    let here = &mut Here { values, stage: here.stage, partial: here.partial, sink: &mut *here.sink };
    let (image, follow) = image(spec, at, here);
    let hosts = hosts(spec, here, https);
    let mounts = mounts(spec, here);
    let replicas = patch(spec.replicas.as_ref(), |r| {
        if r.v > MOST_REPLICAS {
            here.sink.error(r.at, format!("{} replicas are too many; at most {MOST_REPLICAS}", r.v));
        }
        Some(r.v)
    });
    let one = !matches!(replicas, Patch::Set(n) if n > 1);
    let volume = mounts.values().any(|m| matches!(m, Mount::Volume { .. }));
    let limits = running::limits(spec, here.sink);
    let app = App {
        name_on_dokploy: spec
            .name_on_dokploy
            .as_ref()
            .and_then(|n| here.checked(n, |t| check::dokploy_name(t).map(|()| t.to_owned()))),
        adopt: spec.adopt.unwrap_or(false),
        image: image.unwrap_or_default(),
        follow,
        registry: spec.registry.as_ref().and_then(|r| registry(r, here)).map(Box::new),
        port: spec.port.as_ref().and_then(|p| port(p, here.sink)),
        env: patch(spec.env.as_ref(), |e| Some(compact(env::app(e, here)))),
        command: patch(spec.command.as_ref(), |c| command(c, here)),
        args: patch(spec.args.as_ref(), |c| command(c, here)),
        replicas,
        memory: limits.memory,
        memory_reserve: limits.memory_reserve,
        cpu: limits.cpu,
        cpu_reserve: limits.cpu_reserve,
        labels: patch(spec.labels.as_ref(), |l| {
            let mut labels = BTreeMap::new();
            for (key, value) in &l.0 {
                here.told(key.at, check::label(&key.text));
                labels.insert(key.text.to_string(), here.text(&value.v, value.at).unwrap_or_default());
            }
            Some(compact(labels))
        }),
        health_cmd: running::health_cmd(spec.health.as_ref(), here),
        health_http: spec
            .health
            .as_ref()
            .and_then(|h| h.v.as_ref())
            .and_then(|h| running::health_http(&h.v, here))
            .map(Box::new),
        update: patch(spec.update.as_ref(), |u| Some(running::update(&u.v, volume && one, here.sink))),
        stop_grace: patch(spec.stop_grace.as_ref(), |g| Some(g.0)),
        hosts: compact(hosts),
        mounts: compact(mounts),
        ports: compact(ports(spec, here.sink)),
        needs: spec
            .needs
            .iter()
            .flat_map(|n| &n.0)
            .filter_map(|n| AppName::new(&n.v).map_err(|e| here.sink.error(n.at, e.to_string())).ok())
            .collect(),
        drift: compact(drift(spec, here.sink)),
    };
    let after = here.sink.problems.iter().filter(|p| !p.warning).count();
    (before == after).then_some(app)
}

fn image(spec: &AppSpec, at: Span, here: &mut Here<'_>) -> (Option<String>, Option<Duration>) {
    let (reference, follow) = match &spec.image {
        Some(Short::Short(image)) => (Some(image), None),
        Some(Short::Full(full)) => (full.reference.as_ref(), full.follow.as_ref()),
        None => (None, None),
    };
    let Some(reference) = reference else {
        let refused = spec.refused.contains(&"image")
            || matches!(&spec.image, Some(Short::Full(full)) if full.refused.contains(&"ref"));
        if !here.partial && !refused {
            here.sink.error_help(at, "the app has no image", "add image: registry.example.com/team/app:1.2");
        }
        return (None, None);
    };
    let image = here.checked(reference, |t| check::image(t).map(|()| t.to_owned()));
    if let (Some(follow), Some(image)) = (follow, &image) {
        if follow.v.0 < Duration::from_secs(30) {
            here.sink.error_help(follow.at, "a tag is looked up too often", "follow: 30s is the least");
        }
        if image.contains('@') {
            here.sink.error_help(
                follow.at,
                "an image with a digest never moves",
                "take the digest or 'follow' out",
            );
        }
    }
    (image, follow.map(|f| f.v.0))
}

fn port(given: &At<u16>, sink: &mut Sink) -> Option<u16> {
    if given.v == 0 {
        sink.error_help(given.at, "port 0 is no port", "ports are 1 to 65535");
        return None;
    }
    Some(given.v)
}

/// Where an app's hosts are written.
pub(crate) fn host_place(spec: &AppSpec) -> Option<Span> {
    let short = spec.host.as_ref().filter(|h| h.v.is_some()).map(|h| h.at);
    short.or_else(|| spec.hosts.as_ref().map(|h| h.at))
}

/// A host as `host: X` means it.
pub(crate) fn plain_host(port: u16, https: Https) -> Host {
    Host { port, https, internal_path: "/".to_owned(), strip_path: false }
}

fn add_host(hosts: &mut BTreeMap<HostKey, Host>, host: String, path: String, value: Host) -> bool {
    hosts.insert(HostKey { host, path }, value).is_none()
}

/// `host.example.com/path` as host and path.
fn split_path(text: &str) -> (&str, Option<&str>) {
    if text.contains("://") {
        return (text, None);
    }
    text.find('/').map_or((text, None), |n| (&text[..n], Some(&text[n..])))
}

fn clean_path(path: &str) -> Result<String, check::Wrong> {
    let path = check::url_path(path)?;
    let clean = path.trim_end_matches('/');
    Ok(if clean.is_empty() { "/".to_owned() } else { clean.to_owned() })
}

fn hosts(spec: &AppSpec, here: &mut Here<'_>, default: &Https) -> BTreeMap<HostKey, Host> {
    let mut hosts = BTreeMap::new();
    let app_port = spec.port.as_ref().map(|p| p.v);
    let no_port = |here: &mut Here<'_>, at: Span| {
        if !here.partial {
            let help = "add 'port:' to the app: the port that it listens on inside the container";
            here.sink.error_help(at, "the host leads to no port", help);
        }
    };
    if let Some(given) = spec.host.as_ref().and_then(|h| h.v.as_ref())
        && let Some(pattern) = here.by_stage(given)
        && let Some(text) = here.text(&pattern.v, pattern.at)
    {
        let (host, path) = split_path(&text);
        let host = here.told(pattern.at, check::host(host));
        let path = here.told(pattern.at, clean_path(path.unwrap_or("/")));
        match (host, path, app_port) {
            (Some(host), Some(path), Some(port)) => {
                add_host(&mut hosts, host, path, plain_host(port, default.clone()));
            }
            (_, _, None) => no_port(here, pattern.at),
            _ => {}
        }
    }
    for (key, value) in spec.hosts.iter().flat_map(|h| &h.v.0) {
        let Some(text) = here.text(&key.text, key.at) else {
            continue;
        };
        let (host, in_key) = split_path(&text);
        let host = here.told(key.at, check::host(host));
        let mut path = in_key.map_or_else(|| Some("/".to_owned()), |p| here.told(key.at, clean_path(p)));
        let v = &value.v;
        if let Some(given) = &v.path {
            if in_key.is_some() {
                here.sink.error_help(
                    given.at,
                    "the path is given twice",
                    "take it out of the host or out of here",
                );
            }
            path = here.checked(given, clean_path);
        }
        let port = match &v.port {
            Some(p) => port(p, here.sink),
            None => {
                if app_port.is_none() {
                    no_port(here, key.at);
                }
                app_port
            }
        };
        let https = v.https.as_ref().map_or(Some(default.clone()), |h| here.checked(h, check::https));
        let internal = v.internal_path.as_ref().map_or(Some("/".to_owned()), |p| here.checked(p, clean_path));
        if let (Some(host), Some(path), Some(port), Some(https), Some(internal_path)) =
            (host, path, port, https, internal)
        {
            let value = Host { port, https, internal_path, strip_path: v.strip_path.unwrap_or(false) };
            if !add_host(&mut hosts, host, path, value) {
                here.sink.error_help(key.at, "this host and path is given twice", "keep one of the two");
            }
        }
    }
    hosts
}

fn mounts(spec: &AppSpec, here: &mut Here<'_>) -> BTreeMap<String, Mount> {
    let mut mounts = BTreeMap::new();
    let mut add = |here: &mut Here<'_>, path: Option<String>, at: Span, mount: Option<Mount>| {
        let (Some(path), Some(mount)) = (path, mount) else {
            return;
        };
        let message = format!("two mounts go to {path}");
        if mounts.insert(path, mount).is_some() {
            here.sink.error_help(at, message, "each path in the container holds one volume, bind or file");
        }
    };
    for (key, path) in spec.volumes.iter().flat_map(|v| &v.0) {
        let name = here.text(&key.text, key.at);
        let name = name.and_then(|n| here.told(key.at, check::volume(&n).map(|()| n.clone())));
        let to = here.checked(path, check::absolute_path);
        add(here, to, path.at, name.map(|name| Mount::Volume { name }));
    }
    for (key, path) in spec.binds.iter().flat_map(|v| &v.0) {
        let from = here.text(&key.text, key.at);
        let from = from.and_then(|f| here.told(key.at, check::absolute_path(&f)));
        let to = here.checked(path, check::absolute_path);
        add(here, to, path.at, from.map(|host_path| Mount::Bind { host_path }));
    }
    for (key, file) in spec.files.iter().flat_map(|v| &v.0) {
        let to = here.text(&key.text, key.at);
        let to = to.and_then(|t| here.told(key.at, check::absolute_path(&t)));
        let kept = to.as_ref().and_then(|t| here.told(key.at, check::file_path(t)));
        let content = match &file.v {
            Short::Short(text) => Some(text),
            Short::Full(full) if full.refused.contains(&"content") => continue,
            Short::Full(full) => full.content.as_ref().map(|c| &c.v),
        };
        if content.is_none() {
            here.sink.error_help(file.at, "the file has no content", "add content: \"…\"");
        }
        let mount = kept
            .zip(content)
            .map(|(file_path, text)| Mount::File { file_path, content: Secret::new(&*text.0) });
        add(here, to, key.at, mount);
    }
    mounts
}

fn ports(spec: &AppSpec, sink: &mut Sink) -> BTreeMap<PortKey, Port> {
    let mut ports = BTreeMap::new();
    for (key, value) in spec.ports.iter().flat_map(|p| &p.0) {
        let (number, protocol) = key.text.split_once('/').map_or((&*key.text, None), |(n, p)| (n, Some(p)));
        let published =
            number.parse::<u16>().ok().filter(|n| *n > 0 && number.bytes().all(|b| b.is_ascii_digit()));
        let udp = match protocol {
            None | Some("tcp") => Some(false),
            Some("udp") => Some(true),
            Some(_) => None,
        };
        let (Some(published), Some(mut udp)) = (published, udp) else {
            let help = "a published port is 1 to 65535, perhaps with its protocol: 8080 or 53/udp";
            sink.error_help(key.at, format!("'{}' is no port of the server", key.text), help);
            continue;
        };
        let (target, host_mode) = match &value.v {
            Short::Short(target) => (Some(target), false),
            Short::Full(full) => {
                if let Some(given) = full.protocol {
                    let given = given == raw::Protocol::Udp;
                    if protocol.is_some() && given != udp {
                        sink.error_help(key.at, "the protocol is given twice", "keep one of the two");
                    }
                    udp = given;
                }
                (full.target.as_ref(), full.mode == Some(raw::PortMode::Host))
            }
        };
        if matches!(&value.v, Short::Full(full) if full.refused.contains(&"target")) {
            continue;
        }
        let Some(target) = target else {
            sink.error_help(value.at, "the port leads nowhere", "add target: the port in the container");
            continue;
        };
        let Some(target) = port(target, sink) else {
            continue;
        };
        if ports.insert(PortKey { published, udp }, Port { target, host_mode }).is_some() {
            sink.error_help(key.at, "this port and protocol is published twice", "keep one of the two");
        }
    }
    ports
}

fn registry(given: &At<raw::Registry>, here: &mut Here<'_>) -> Option<RegistryAuth> {
    let url = given.v.url.as_ref().map_or(Some(String::new()), |u| {
        here.checked(u, |t| {
            let t = t.trim_start_matches("https://").trim_end_matches('/');
            check::registry(t).map(|()| t.to_owned())
        })
    });
    let username = given.v.username.as_ref().and_then(|u| here.text(&u.v, u.at));
    if given.v.username.is_none() && !given.v.refused.contains(&"username") {
        here.sink.error_help(given.at, "the registry has no user", "add username: …");
    }
    let password = match &given.v.password {
        Some(At { v: raw::SecretRef { secret: Some(name), .. }, .. }) => {
            here.checked(name, |t| check::secret_name(t).map(|()| t.to_owned()))
        }
        _ if given.v.refused.contains(&"password") => None,
        _ => {
            let help = "add password: {secret: NAME} and give it with 'berth secret set'";
            here.sink.error_help(given.at, "the registry has no password", help);
            None
        }
    };
    Some(RegistryAuth { url: url?, username: username?, password: password? })
}

/// Words of a command: a list as it is, a text split at spaces.
fn command(given: &At<Many<At<Words>>>, here: &mut Here<'_>) -> Option<Vec<String>> {
    let words: Option<Vec<String>> = match given.v.0.as_slice() {
        [one] if one.at == given.at => {
            if one.v.contains(['"', '\'']) {
                let help = "write a list: [sh, -c, \"echo hello\"]";
                here.sink.error_help(one.at, "quotes are not read in a command that is one text", help);
            }
            let text = here.text(&one.v, one.at)?;
            Some(text.split_whitespace().map(str::to_owned).collect())
        }
        list => list.iter().map(|w| here.text(&w.v, w.at)).collect(),
    };
    if words.as_ref().is_some_and(Vec::is_empty) {
        here.sink.error_help(given.at, "the command has no words", "write null to clear it");
    }
    words
}

fn drift(spec: &AppSpec, sink: &mut Sink) -> BTreeMap<String, DriftPolicy> {
    let policy = |word: raw::DriftWord| match word {
        raw::DriftWord::Repair => DriftPolicy::Repair,
        raw::DriftWord::Report => DriftPolicy::Report,
        raw::DriftWord::Ignore => DriftPolicy::Ignore,
    };
    match spec.drift.as_ref().map(|d| &d.v) {
        None => BTreeMap::new(),
        Some(Short::Short(word)) => BTreeMap::from([(String::new(), policy(*word))]),
        Some(Short::Full(map)) => {
            let mut all = BTreeMap::new();
            for (key, word) in &map.0 {
                if let Err((m, h)) = check::drift_path(&key.text) {
                    sink.error_help(key.at, m, h);
                }
                all.insert(key.text.to_string(), policy(word.v));
            }
            all
        }
    }
}

/// What an app takes from others, checked once all of them are resolved. `faulty` says that some are missing.
pub(crate) fn check_links(
    name: &str,
    spec: &AppSpec,
    apps: &BTreeMap<AppName, Box<App>>,
    faulty: bool,
    sink: &mut Sink,
) {
    let hosts = |name: &str| apps.get(name).map(|a| !a.hosts.is_empty());
    if let Some(health) = spec.health.as_ref().and_then(|h| h.v.as_ref())
        && health.v.http.is_some()
        && hosts(name) == Some(false)
    {
        let help = "give the app a host, or use health.cmd, the container's own check";
        sink.error_help(health.at, "health.http is asked from outside, and the app has no host", help);
    }
    for (key, value) in spec.env.iter().filter_map(|e| e.v.as_ref()).flat_map(|e| &e.0) {
        let Short::Full(raw::EnvRef { from: Some(from), .. }) = &value.v else {
            continue;
        };
        let one = from.v.app.iter();
        for app in one.chain(from.v.apps.iter().flat_map(|a| &a.v)) {
            match hosts(&app.v) {
                Some(true) => {}
                Some(false) => {
                    let help = format!("give '{}' a host, or take {} out", &*app.v, key.text);
                    sink.error_help(app.at, format!("the app '{}' has no host to take", &*app.v), help);
                }
                // Perhaps it is there and faulty itself.
                None if faulty => {}
                None => {
                    let help = crate::read::suggest(&app.v, apps.keys().map(AppName::as_str), "apps");
                    sink.error_help(app.at, format!("there is no app '{}' in this stack", &*app.v), help);
                }
            }
        }
    }
}
