//! From `berth.yaml` to [`Config`]: references followed, defaults filled in, every fault told.
//!
//! No message here holds a value that was read through a reference.

use crate::check;
use crate::config_dns;
use crate::diag::{Diagnostic, Severity};
use crate::raw_config::{RawBackend, RawConfig};
use crate::read::{At, Given, Problem, Read, Sink, Words};
use crate::resolve::path_of;
use crate::tree::{self, Kind, Node, Span, Via};
use berth_model::config::{
    Api, Backend, Config, Credential, CredentialSource, Defaults, Intervals, Probe, StatePlace, Tls,
};
use berth_model::stack::Https;
use berth_model::{AppName, BackendName, Owner, Secret, StackName};
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Where references of `berth.yaml` lead.
pub trait Lookup {
    /// An environment variable.
    fn env(&self, name: &str) -> Option<String>;

    /// A file's content.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn file(&self, path: &Path) -> Result<String, String>;
}

/// The names that no stack may have unless `reservedNames` says otherwise.
pub(crate) fn reserved_names() -> Vec<String> {
    ["admin", "api", "www", "root", "system", "test", "demo", "portal", "deploy"].map(str::to_owned).to_vec()
}

/// Reads `berth.yaml`.
///
/// # Errors
/// Every fault of the file.
pub fn load_config(file: &str, text: &[u8], lookup: &dyn Lookup) -> Result<Config, Vec<Diagnostic>> {
    read_config(file, text, lookup).map(|(config, _)| config)
}

/// Reads `berth.yaml`, with what is odd in it and no fault.
///
/// # Errors
/// Every fault of the file, and what is odd.
pub fn read_config(
    file: &str,
    text: &[u8],
    lookup: &dyn Lookup,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let (mut roots, faults) = tree::parse(0, text);
    let mut sink = Sink::default();
    for f in faults {
        sink.problems.push(Problem {
            at: f.at,
            message: f.message,
            help: f.help,
            also: None,
            warning: false,
        });
    }
    let top = Span { line: 1, column: 1, ..Span::default() };
    if roots.len() > 1 {
        sink.error_help(roots[1].at, "the settings are one document", "remove the second one");
    } else if roots.is_empty() && sink.problems.is_empty() {
        sink.error_help(top, "the file holds no settings", "'berth init' writes one");
    }
    roots.truncate(1);
    let root = roots.pop();
    let config = root.as_ref().and_then(|root| {
        let mut follow = Follow { lookup, sink: &mut sink, failed: Vec::new() };
        let followed = follow.node(root);
        let failed = follow.failed;
        together(root, &failed, &mut sink);
        let before = sink.problems.len();
        let config =
            RawConfig::read(&followed, &mut sink).and_then(|raw| resolve(&raw, &followed, &mut sink));
        // What only follows from a reference that leads nowhere is not told again.
        let mut n = 0;
        sink.problems.retain(|p| {
            n += 1;
            n <= before || !failed.contains(&p.at)
        });
        config
    });
    let failed = sink.failed();
    sink.problems.sort_by_key(|p| p.at);
    let tell = |p: Problem| {
        let mut d = Diagnostic::at(file, p.at, p.message);
        d.help = p.help;
        d.path = root.as_ref().and_then(|r| path_of(r, p.at));
        if p.warning {
            d.severity = Severity::Warning;
        }
        d
    };
    let mut all: Vec<_> = std::mem::take(&mut sink.problems).into_iter().map(tell).collect();
    match config {
        Some(config) if !failed => Ok((config, all)),
        _ => {
            if !failed {
                all.push(Diagnostic::at(file, top, "the settings cannot be read".to_owned()));
            }
            Err(all)
        }
    }
}

/// Replaces `{env: VAR}` and `{file: PATH}` by what they lead to.
struct Follow<'a> {
    lookup: &'a dyn Lookup,
    sink: &'a mut Sink,
    failed: Vec<Span>,
}

/// What a map of one entry refers to.
fn reference(node: &Node) -> Option<(Via, Span)> {
    let Kind::Map(entries) = &node.kind else {
        return None;
    };
    let [(key, value)] = entries.as_slice() else {
        return None;
    };
    let text = value.text()?.to_owned();
    match &*key.text {
        "env" => Some((Via::Env(text), value.at)),
        "file" => Some((Via::File(text), value.at)),
        _ => None,
    }
}

impl Follow<'_> {
    fn node(&mut self, node: &Arc<Node>) -> Arc<Node> {
        if let Some((via, at)) = reference(node) {
            return match self.value(&via, at) {
                Some(text) => {
                    let kind = Kind::Scalar { text: text.into(), plain: true, via: Some(Arc::new(via)) };
                    Arc::new(Node { kind, at: node.at })
                }
                None => {
                    self.failed.push(node.at);
                    Arc::new(Node { kind: Kind::Null, at: node.at })
                }
            };
        }
        match &node.kind {
            Kind::Map(entries) => {
                let entries = entries.iter().map(|(k, v)| (k.clone(), self.node(v))).collect();
                Arc::new(Node { kind: Kind::Map(entries), at: node.at })
            }
            Kind::Seq(items) => {
                let items = items.iter().map(|i| self.node(i)).collect();
                Arc::new(Node { kind: Kind::Seq(items), at: node.at })
            }
            _ => node.clone(),
        }
    }

    fn value(&mut self, via: &Via, at: Span) -> Option<String> {
        let (text, what, help) = match via {
            Via::Env(name) => {
                let what = format!("the environment variable {name}");
                let Some(text) = self.lookup.env(name) else {
                    self.sink.error_help(at, format!("{what} is not set"), "set it where berth runs");
                    return None;
                };
                (text, what, "set it where berth runs")
            }
            Via::File(path) => {
                let what = format!("the file {path}");
                match self.lookup.file(Path::new(path)) {
                    Ok(text) => (text, what, "write the value into it"),
                    Err(why) => {
                        let help = "make it, and let berth read it";
                        self.sink.error_help(at, format!("{what} cannot be read: {why}"), help);
                        return None;
                    }
                }
            }
        };
        let text = text.trim_end_matches(['\n', '\r']).to_owned();
        if text.trim().is_empty() {
            self.sink.error_help(at, format!("{what} is empty"), help);
            return None;
        }
        if text.trim_start().starts_with("${{") {
            let help =
                "the platform that starts berth did not replace it; define the variable that it refers to";
            self.sink.error_help(at, format!("{what} holds a reference that was not resolved"), help);
            return None;
        }
        Some(text)
    }
}

/// The default project and environment stand for one place: where one of two variables is missing, both are named.
fn together(root: &Node, failed: &[Span], sink: &mut Sink) {
    let Some(target) = root.get("defaults").and_then(|d| d.get("target")) else {
        return;
    };
    let (Some(project), Some(environment)) = (target.get("project"), target.get("environment")) else {
        return;
    };
    let (Some((Via::Env(p), p_at)), Some((Via::Env(e), e_at))) = (reference(project), reference(environment))
    else {
        return;
    };
    if failed.contains(&project.at) == failed.contains(&environment.at) {
        return;
    }
    let missing = if failed.contains(&project.at) { p_at } else { e_at };
    if let Some(problem) = sink.problems.iter_mut().find(|x| x.at == missing) {
        problem.help = Some(format!("{p} and {e} go together: set both, or take both out"));
    }
}

/// A required key that is not there.
pub(crate) fn missing(node: &Node, key: &str, example: &str, sink: &mut Sink) {
    if node.get(key).is_none() {
        sink.error_help(node.at, format!("'{key}' is missing"), format!("add {example}"));
    }
}

fn resolve(raw: &RawConfig, root: &Node, sink: &mut Sink) -> Option<Config> {
    missing(root, "owner", "owner: prod-eu", sink);
    missing(
        root,
        "backends",
        "backends: {main: {dokploy: \"http://…:3000\", key: {env: DOKPLOY_API_TOKEN}}}",
        sink,
    );
    missing(root, "source", "source: {directory: /etc/berth/stacks}", sink);
    missing(root, "state", "state: {sqlite: /var/lib/berth/berth.db}", sink);
    missing(root, "vault", "vault: {keys: {file: /etc/berth/vault.keys}}", sink);

    let owner = raw.owner.as_ref().and_then(|o| {
        let told = |e: berth_model::BadName| sink.error_help(o.at, e.to_string(), "write one like prod-eu");
        Owner::new(&o.v).map_err(told).ok()
    });
    let mut backends = BTreeMap::new();
    if let Some(given) = &raw.backends {
        if given.v.0.is_empty()
            && matches!(root.get("backends").map(|b| &b.kind), Some(Kind::Map(m)) if m.is_empty())
        {
            sink.error_help(given.at, "there is no Dokploy account", "add one: {main: {dokploy: …, key: …}}");
        }
        for (key, b) in &given.v.0 {
            let name = BackendName::new(&key.text).map_err(|e| sink.error(key.at, e.to_string())).ok();
            let node = root.get("backends").and_then(|n| n.get(&key.text));
            let resolved = backend(b, node.map_or(root, |n| n), sink);
            if let (Some(name), Some(resolved)) = (name, resolved) {
                backends.insert(name, resolved);
            }
        }
    }
    let place = |words: &At<Words>, what: &str, sink: &mut Sink| {
        if words.v.trim().is_empty() {
            sink.error(words.at, format!("{what} may not be empty"));
        }
        std::path::PathBuf::from(&*words.v)
    };
    let (source, state) = (raw.source.as_ref().map(|s| &s.v), raw.state.as_ref().map(|s| &s.v));
    if let (Some(s), Some(node)) = (source, root.get("source"))
        && s.directory.is_none()
        && s.postgres.is_none()
    {
        missing(node, "directory", "directory: /etc/berth/stacks", sink);
    }
    let directory = source.and_then(|s| s.directory.as_ref()).map(|d| place(d, "the directory", sink));
    let rows = source.and_then(|s| s.postgres.as_ref());
    let rows = rows.and_then(|p| Some((p.at, credential(p, "the database's URL", sink)?)));
    let state = match (state.and_then(|s| s.sqlite.as_ref()), state.and_then(|s| s.postgres.as_ref())) {
        (Some(_), Some(p)) => {
            sink.error_help(p.at, "the state is kept in one place", "take out sqlite or postgres");
            None
        }
        (Some(d), None) => Some(StatePlace::Sqlite(place(d, "the state file", sink))),
        (None, Some(p)) => credential(p, "the database's URL", sink).map(StatePlace::Postgres),
        (None, None) => {
            if let Some(node) = root.get("state") {
                missing(node, "sqlite", "sqlite: /var/lib/berth/berth.db", sink);
            }
            None
        }
    };
    if let (Some((at, rows)), Some(state)) = (&rows, &state) {
        // What a row asks for and what became of it change in one transaction.
        let same = matches!(state, StatePlace::Postgres(c) if c.value.expose() == rows.value.expose());
        if !same {
            let help = "write the same under 'state': {postgres: …}";
            sink.error_help(*at, "rows and state are kept in one database", help);
        }
    }
    let vault = raw.vault.as_ref().and_then(|v| {
        if let Some(node) = root.get("vault") {
            missing(node, "keys", "keys: {file: /etc/berth/vault.keys}", sink);
        }
        v.v.keys.as_ref().and_then(|k| credential(k, "the vault's keys", sink))
    });
    let defaults = defaults(raw, &backends, sink);
    let reserved_names = match &raw.reserved_names {
        None => reserved_names(),
        Some(names) => names.v.iter().map(|n| n.v.to_string()).collect(),
    };
    let dns = config_dns::dns(raw.dns.as_ref(), root.get("dns").map(|n| &**n), sink);
    let itself = raw.itself.as_ref().and_then(|i| itself(i, sink));
    let listen = raw.listen.as_ref().map_or_else(
        || Some(std::net::SocketAddr::from(([127, 0, 0, 1], 9477))),
        |l| {
            let parsed = l.v.parse().ok();
            if parsed.is_none() {
                sink.error_help(
                    l.at,
                    "this is no address to listen on",
                    "write one like 127.0.0.1:9477 or [::]:9477",
                );
            }
            parsed
        },
    );
    let intervals = intervals(raw, sink);
    let api = api(raw, root, listen.is_some_and(|l| l.ip().is_loopback()) && rows.is_none(), sink);
    Some(Config {
        owner: owner?,
        backends,
        dns,
        directory,
        rows: rows.is_some(),
        state: state?,
        vault: vault?,
        defaults,
        reserved_names,
        itself,
        listen: listen?,
        api: api?,
        intervals,
    })
}

fn api(raw: &RawConfig, root: &Node, open: bool, sink: &mut Sink) -> Option<Api> {
    let mut api = Api { anonymous: open, per_second: NonZeroU32::MIN.saturating_add(49), tls: None };
    let Some(given) = &raw.api else {
        return Some(api);
    };
    if let Some(words) = &given.anonymous {
        match &*words.v {
            "read" => api.anonymous = true,
            "none" => api.anonymous = false,
            _ => sink.error_help(words.at, "this cannot be done without a token", "write read, or none"),
        }
    }
    if let Some(number) = &given.requests_per_second {
        match NonZeroU32::new(number.v).filter(|n| n.get() <= 10_000) {
            Some(n) => api.per_second = n,
            None => sink.error_help(number.at, "this is no rate", "write 1 to 10000"),
        }
    }
    if let Some(tls) = &given.tls {
        if let Some(node) = root.get("api").and_then(|a| a.get("tls")) {
            missing(node, "certificate", "certificate: /etc/berth/tls.crt", sink);
            missing(node, "key", "key: /etc/berth/tls.key", sink);
        }
        let mut path = |words: &Option<At<Words>>| {
            let words = words.as_ref()?;
            if words.v.trim().is_empty() {
                sink.error(words.at, "the file may not be empty");
            }
            Some(std::path::PathBuf::from(&*words.v))
        };
        api.tls = Some(Tls { certificate: path(&tls.v.certificate)?, key: path(&tls.v.key)? });
    }
    Some(api)
}

/// `STACK/APP`.
fn itself(given: &At<Words>, sink: &mut Sink) -> Option<(StackName, AppName)> {
    let parts = given.v.split_once('/');
    let named = parts.and_then(|(stack, app)| Some((StackName::new(stack).ok()?, AppName::new(app).ok()?)));
    if named.is_none() {
        sink.error_help(given.at, "this is no app of a stack", "write STACK/APP, like berth/daemon");
    }
    named
}

fn intervals(raw: &RawConfig, sink: &mut Sink) -> Intervals {
    let default = Intervals::default();
    let Some(given) = &raw.intervals else {
        return default;
    };
    let mut time = |t: &Option<At<crate::read::Period>>, default: Duration| match t {
        None => default,
        Some(t) => {
            if t.v.0 < Duration::from_secs(1) {
                sink.error_help(t.at, "this interval is too short", "1s is the least");
            }
            t.v.0
        }
    };
    Intervals {
        resync: time(&given.resync, default.resync),
        audit: time(&given.audit, default.audit),
        rescan: time(&given.rescan, default.rescan),
        health: time(&given.health, default.health),
    }
}

fn defaults(raw: &RawConfig, backends: &BTreeMap<BackendName, Backend>, sink: &mut Sink) -> Defaults {
    let Some(given) = raw.defaults.as_ref().map(|d| &d.v) else {
        return Defaults::default();
    };
    let target = given.target.as_ref();
    let named = raw.backends.as_ref().map(|b| b.v.0.iter().map(|(k, _)| &*k.text).collect::<Vec<_>>());
    let backend = target.and_then(|t| t.dokploy.as_ref()).and_then(|d| {
        let name = BackendName::new(&d.v).map_err(|e| sink.error(d.at, e.to_string())).ok()?;
        // A backend with faults is told at its own place.
        let known = named.unwrap_or_default();
        if !backends.contains_key(&name) && !known.contains(&name.as_str()) {
            let help = crate::read::suggest(name.as_str(), known.into_iter(), "accounts");
            sink.error_help(d.at, format!("there is no backend '{name}'"), help);
        }
        Some(name)
    });
    let mut shown = |words: Option<&At<Words>>, what: &str| {
        words.and_then(|w| {
            check::display_name(&w.v, what).map_err(|(m, h)| sink.error_help(w.at, m, h)).ok()?;
            Some(w.v.to_string())
        })
    };
    let project = shown(target.and_then(|t| t.project.as_ref()), "a project");
    let environment = shown(target.and_then(|t| t.environment.as_ref()), "an environment");
    let host_suffix = given.host_suffix.as_ref().and_then(|s| {
        let suffix = s.v.trim_start_matches('.');
        check::host(suffix).map_err(|(m, h)| sink.error_help(s.at, m, h)).ok()
    });
    Defaults { backend, project: project.map(Into::into), environment, host_suffix }
}

/// A secret, which must not stand in the file.
pub(crate) fn credential(given: &At<Given>, what: &str, sink: &mut Sink) -> Option<Credential> {
    let from = match given.v.via.as_deref() {
        Some(Via::Env(name)) => CredentialSource::Env(name.clone()),
        Some(Via::File(path)) => CredentialSource::File(path.into()),
        None => {
            let help = "write {env: VARIABLE} or {file: PATH}, and change what stood here: it was seen";
            sink.error_help(given.at, format!("{what} may not stand in the file"), help);
            return None;
        }
    };
    Some(Credential { value: Secret::new(&*given.v.text), from })
}

fn backend(given: &At<RawBackend>, node: &Node, sink: &mut Sink) -> Option<Backend> {
    let b = &given.v;
    missing(node, "dokploy", "dokploy: \"http://10.100.0.20:3000\"", sink);
    missing(node, "key", "key: {env: DOKPLOY_API_TOKEN}", sink);
    let url =
        b.dokploy.as_ref().and_then(|d| base_url(&d.v).map_err(|(m, h)| sink.error_help(d.at, m, h)).ok());
    let key = b.key.as_ref().and_then(|k| credential(k, "the API key", sink));
    let https = b.https.as_ref().map_or(Some(Https::LetsEncrypt), |h| {
        check::https(&h.v).map_err(|(m, help)| sink.error_help(h.at, m, help)).ok()
    });
    let probe = b.probe.as_ref().map_or(Some(Probe::Host), |p| match &*p.v {
        "host" => Some(Probe::Host),
        text if text
            .rsplit_once(':')
            .is_some_and(|(h, port)| !h.is_empty() && port.parse::<u16>().is_ok()) =>
        {
            Some(Probe::Address(text.to_owned()))
        }
        _ => {
            sink.error_help(p.at, "this is no place to send health checks to", "write host, or ADDRESS:PORT");
            None
        }
    });
    let mut count = |n: &Option<At<u32>>, default: usize| match n {
        None => default,
        Some(n) if (1..=256).contains(&n.v) => n.v as usize,
        Some(n) => {
            sink.error_help(n.at, "this many calls cannot be in flight", "write 1 to 256");
            default
        }
    };
    let (in_flight, domain_writes) = (count(&b.in_flight, 4), count(&b.domain_writes, 2));
    let timeout = b.timeout.as_ref().map_or(Duration::from_secs(30), |t| {
        if t.v.0 < Duration::from_secs(1) {
            sink.error_help(t.at, "no call is done in this time", "1s is the least, 30s the default");
        }
        t.v.0
    });
    let check_registry = b.check_registry.unwrap_or(true);
    let address = match &b.address {
        Some(address) => config_dns::address(address, sink).map(Some),
        None => Some(None),
    };
    Some(Backend {
        url: url?,
        key: key?,
        https: https?,
        probe: probe?,
        in_flight,
        domain_writes,
        check_registry,
        timeout,
        address: address?,
    })
}

/// The address of an account: scheme, host and perhaps port.
pub(crate) fn base_url(text: &str) -> Result<String, check::Wrong> {
    let help = "write one like http://10.100.0.20:3000, without a path".to_owned();
    let clean = text.trim_end_matches('/');
    let rest = clean.strip_prefix("http://").or_else(|| clean.strip_prefix("https://"));
    let Some(rest) = rest else {
        return Err(("the address has no http:// or https://".to_owned(), help));
    };
    if rest.contains('@') {
        return Err((
            "the address holds a user or password".to_owned(),
            "give the API key as 'key:'".to_owned(),
        ));
    }
    if rest.contains(['/', '?', '#']) {
        return Err(("the address has a path".to_owned(), help));
    }
    let host = match rest.strip_prefix('[') {
        Some(six) => six.split_once(']').filter(|(_, tail)| tail.is_empty() || tail.starts_with(':')),
        None => Some(rest.split_once(':').unwrap_or((rest, ""))),
    };
    let port = |tail: &str| {
        let port = tail.trim_start_matches(':');
        port.is_empty() || port.parse::<u16>().is_ok_and(|n| n > 0)
    };
    match host {
        Some((host, tail))
            if !host.is_empty()
                && port(tail)
                && host
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'_')) =>
        {
            Ok(clean.to_owned())
        }
        _ => Err(("this is no address".to_owned(), help)),
    }
}
