//! What is wanted of one stack, in the terms of its backend: fields, children, hashes. Made by `plan::compile`.

use crate::field::Fields;
use crate::hash::Hash;
use crate::ids::{AppName, BackendName, StackName};
use crate::stack::{
    DriftPolicy, HealthHttp, Host, HostKey, Mount, OnFirstFailure, Place, Port, PortKey, Records,
};
use litemap::LiteMap;
use std::collections::BTreeMap;

/// A stack, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct Desired {
    /// Its name.
    pub stack: StackName,
    /// The name it had before.
    pub formerly: Option<StackName>,
    /// Its account.
    pub backend: BackendName,
    /// Its project.
    pub place: Place,
    /// Its environment, by name or id.
    pub environment: String,
    /// Its apps, dependencies first.
    pub apps: Vec<DesiredApp>,
    /// Apps that are left exactly as they are: their wanted version failed and there is none to go back to.
    pub left: std::collections::BTreeSet<AppName>,
    /// What becomes of it if it never comes up.
    pub on_first_failure: OnFirstFailure,
    /// Who writes the DNS records of its hosts.
    pub records: Records,
    /// Changes nothing.
    pub paused: bool,
}

/// One app, compiled.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredApp {
    /// Its name in the stack.
    pub name: AppName,
    /// What Dokploy's `appName` is to begin with.
    pub service_base: String,
    /// Take over an unmarked application of this display name.
    pub adopt: bool,
    /// The fields that are managed, with their values.
    pub fields: Fields,
    /// Only the named variables are managed (an adopted application).
    pub env_is_partial: bool,
    /// Children that are to exist.
    pub children: BTreeMap<ChildKey, Child>,
    /// Hash of all that a deploy carries to the container.
    pub hash: Hash,
    /// Hash of everything that is managed, also what needs no deploy.
    pub full: Hash,
    /// Apps that must be Ready first.
    pub needs: Vec<AppName>,
    /// What Berth asks from outside: the first host is asked.
    pub health: Option<HealthHttp>,
    /// Drift per path.
    pub drift: LiteMap<String, DriftPolicy>,
    /// Versions of the given secrets in it.
    pub secrets: BTreeMap<String, u32>,
}

impl DesiredApp {
    /// The first host, where the health check goes.
    #[must_use]
    pub fn first_host(&self) -> Option<(&HostKey, &Host)> {
        self.children.iter().find_map(|(k, c)| match (k, c) {
            (ChildKey::Domain(key), Child::Domain(host)) => Some((key, host)),
            _ => None,
        })
    }

    /// Its hosts; one may come more than once.
    pub fn hosts(&self) -> impl Iterator<Item = &str> {
        self.children.keys().filter_map(|key| match key {
            ChildKey::Domain(at) => Some(at.host.as_str()),
            _ => None,
        })
    }

    /// What to do about a difference at `path`: the longest prefix that `drift:` names decides.
    #[must_use]
    pub fn policy(&self, path: &str) -> DriftPolicy {
        let mut prefix = path;
        loop {
            if let Some(policy) = self.drift.get(prefix) {
                return *policy;
            }
            match prefix.rfind('.') {
                Some(dot) => prefix = &prefix[..dot],
                None if prefix.is_empty() => return DriftPolicy::Repair,
                None => prefix = "",
            }
        }
    }
}

/// What tells a child from its siblings: unique under one application.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChildKey {
    /// A mount, by its path in the container.
    Mount(String),
    /// A published port.
    Port(PortKey),
    /// A domain.
    Domain(HostKey),
}

impl std::fmt::Display for ChildKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ChildKey::Mount(path) => write!(f, "mount {path}"),
            ChildKey::Port(p) => write!(f, "port {}/{}", p.published, if p.udp { "udp" } else { "tcp" }),
            ChildKey::Domain(d) => write!(f, "domain {}{}", d.host, d.path),
        }
    }
}

/// A child's own values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Child {
    /// A mount.
    Mount(Mount),
    /// A port.
    Port(Port),
    /// A domain.
    Domain(Host),
}

impl Child {
    /// As a person may see it.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Child::Mount(m) => format!("{m:?}"),
            Child::Port(p) => format!("→ {}{}", p.target, if p.host_mode { " on the node" } else { "" }),
            Child::Domain(h) => {
                let https = match &h.https {
                    crate::stack::Https::None => "http".to_owned(),
                    crate::stack::Https::LetsEncrypt => "letsencrypt".to_owned(),
                    crate::stack::Https::Resolver(r) => r.clone(),
                };
                let mut text = format!("→ {} {https}", h.port);
                if h.internal_path != "/" {
                    text.push_str(&format!(" as {}", h.internal_path));
                }
                if h.strip_path {
                    text.push_str(" stripped");
                }
                text
            }
        }
    }
}
