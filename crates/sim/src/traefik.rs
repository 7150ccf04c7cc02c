//! The reverse proxy: one file of routers per application, rewritten at every domain write.
//! Routing must never look at domain rows: a lost router is lost although its row is there.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

use crate::rows::Domain;

#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    /// The domain's `uniqueConfigKey`.
    pub key: u64,
    pub host: String,
    pub path: String,
    pub internal_path: String,
    pub strip: bool,
    pub https: bool,
    pub certificate: String,
    pub resolver: Option<String>,
    pub entrypoint: Option<String>,
    pub middlewares: Vec<String>,
    pub port: i64,
}

impl Router {
    pub fn of(row: &Domain) -> Router {
        Router {
            key: row.unique_config_key,
            host: row.host.clone(),
            path: row.path.clone().unwrap_or_else(|| "/".to_owned()),
            internal_path: row.internal_path.clone().unwrap_or_else(|| "/".to_owned()),
            strip: row.strip_path,
            https: row.https,
            certificate: row.certificate_type.clone(),
            resolver: row.custom_cert_resolver.clone(),
            entrypoint: row.custom_entrypoint.clone(),
            middlewares: row.middlewares.clone(),
            port: row.port.filter(|p| *p != 0).unwrap_or(80),
        }
    }

    fn matches(&self, host: &str, path: &str) -> bool {
        self.host.eq_ignore_ascii_case(host) && (self.path == "/" || path.starts_with(self.path.as_str()))
    }

    /// The path the backend sees.
    pub fn rewrite(&self, path: &str) -> String {
        let mut out = path.to_owned();
        if self.strip && self.path != "/" {
            out = path.strip_prefix(self.path.as_str()).unwrap_or(path).to_owned();
        }
        if self.internal_path != "/" && !self.internal_path.is_empty() {
            out = format!("{}{out}", self.internal_path);
        }
        if out.starts_with('/') { out } else { format!("/{out}") }
    }
}

#[derive(Clone, Debug, Default)]
pub struct File {
    pub routers: Vec<Router>,
    /// The content before the last write, and when that was: what an overlapping write had read.
    before: Vec<Router>,
    written: u64,
}

/// What a handshake with the proxy would show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Milliseconds since 1970.
    pub until: i64,
    /// False: the proxy's own, for nobody.
    pub believed: bool,
}

#[derive(Clone, Debug, Default)]
pub struct Traefik {
    /// By application name. Files outlive what they route to.
    pub files: BTreeMap<String, File>,
    /// True: the proxy itself refuses connections.
    pub down: bool,
    /// By host: the certificate that it shows.
    pub certificates: BTreeMap<String, Certificate>,
    drop_next: HashSet<String>,
}

impl Traefik {
    /// The next router written for this application goes missing (its domain row stays).
    pub fn drop_next_router(&mut self, app_name: &str) {
        self.drop_next.insert(app_name.to_owned());
    }

    /// One read-modify-write. `lost` means that the file was read before the last write to it.
    pub(crate) fn write(&mut self, app: &str, key: u64, router: Option<Router>, seq: u64, lost: bool) {
        let file = self.files.entry(app.to_owned()).or_default();
        let base = if lost { file.before.clone() } else { file.routers.clone() };
        file.before = std::mem::replace(&mut file.routers, base);
        file.written = seq;
        let dropped = router.is_some() && self.drop_next.remove(app);
        match (router.filter(|_| !dropped), file.routers.iter().position(|r| r.key == key)) {
            (Some(router), Some(at)) => file.routers[at] = router,
            (Some(router), None) => file.routers.push(router),
            (None, Some(at)) => {
                file.routers.remove(at);
            }
            (None, None) => {}
        }
    }

    /// True when the application's file was written after the given moment.
    pub(crate) fn written_since(&self, app: &str, seq: u64) -> bool {
        self.files.get(app).is_some_and(|f| f.written > seq)
    }

    /// The router that takes a request, with the application it belongs to: the longest path wins.
    pub fn route(&self, host: &str, path: &str) -> Option<(&str, &Router)> {
        let all =
            self.files.iter().flat_map(|(app, file)| file.routers.iter().map(move |r| (app.as_str(), r)));
        all.filter(|(_, router)| router.matches(host, path)).max_by_key(|(_, router)| router.path.len())
    }

    /// The text of an application's file; `None` when no router is left in it.
    pub fn text(&self, app: &str) -> Option<String> {
        let routers = &self.files.get(app)?.routers;
        if routers.is_empty() {
            return None;
        }
        let mut out = String::from("http:\n  routers:\n");
        for router in routers {
            let redirect = if router.https { Some("redirect-to-https".to_owned()) } else { None };
            let own = own_middlewares(app, router);
            let web = redirect.map_or_else(|| own.clone(), |r| vec![r]);
            let entry = router.entrypoint.as_deref().unwrap_or("web");
            router_text(&mut out, app, router, "router", &web, entry);
            if router.https {
                router_text(&mut out, app, router, "router-websecure", &own, "websecure");
                match (router.certificate.as_str(), router.resolver.as_deref()) {
                    ("letsencrypt", _) => out.push_str("      tls:\n        certResolver: letsencrypt\n"),
                    ("custom", Some(name)) => {
                        let _ = writeln!(out, "      tls:\n        certResolver: {name}");
                    }
                    _ => {}
                }
            }
        }
        out.push_str("  services:\n");
        for router in routers {
            let (key, port) = (router.key, router.port);
            let _ = write!(
                out,
                "    {app}-service-{key}:\n      loadBalancer:\n        servers:\n          \
                 - url: http://{app}:{port}\n        passHostHeader: true\n"
            );
        }
        Some(out)
    }
}

fn own_middlewares(app: &str, router: &Router) -> Vec<String> {
    let mut list = Vec::new();
    if router.strip && router.path != "/" {
        list.push(format!("stripprefix-{app}-{}", router.key));
    }
    if router.internal_path != "/" && !router.internal_path.is_empty() {
        list.push(format!("addprefix-{app}-{}", router.key));
    }
    list.extend(router.middlewares.iter().cloned());
    list
}

fn router_text(
    out: &mut String,
    app: &str,
    router: &Router,
    kind: &str,
    middlewares: &[String],
    entry: &str,
) {
    let key = router.key;
    let host = &router.host;
    let path = if router.path == "/" { String::new() } else { format!(" && PathPrefix(`{}`)", router.path) };
    // Hosts are lower-cased in the rule, as the recorded file shows.
    let host = host.to_ascii_lowercase();
    let _ = write!(
        out,
        "    {app}-{kind}-{key}:\n      rule: Host(`{host}`){path}\n      service: {app}-service-{key}\n"
    );
    if middlewares.is_empty() {
        out.push_str("      middlewares: []\n");
    } else {
        out.push_str("      middlewares:\n");
        for name in middlewares {
            let _ = writeln!(out, "        - {name}");
        }
    }
    let _ = write!(out, "      entryPoints:\n        - {entry}\n");
}
