//! Mounts, ports and domains: rows of Dokploy to children and back. It drops rows that have no form here, which can
//! only be others' rows.

use berth_model::Secret;
use berth_model::desired::{Child, ChildKey};
use berth_model::ids::{AppId, ChildId};
use berth_model::observed::SeenChild;
use berth_model::stack::{Host, HostKey, Https, Mount, Port, PortKey};
use serde::Deserialize;
use serde_json::{Value as Json, json};

/// HTTPS with a certificate that nobody asks for: has no form in a manifest, and differs from everything that has.
const NO_RESOLVER: &str = "(no certificate)";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MountRow {
    mount_id: String,
    r#type: String,
    mount_path: String,
    service_type: Option<String>,
    volume_name: Option<String>,
    host_path: Option<String>,
    file_path: Option<String>,
    content: Option<Secret>,
}

impl MountRow {
    pub(crate) fn seen(self) -> Option<SeenChild> {
        if self.service_type.as_deref().is_some_and(|t| t != "application") {
            return None;
        }
        let mount = match self.r#type.as_str() {
            "volume" => Mount::Volume { name: self.volume_name.unwrap_or_default() },
            "bind" => Mount::Bind { host_path: self.host_path.unwrap_or_default() },
            "file" => Mount::File {
                file_path: self.file_path.unwrap_or_default(),
                content: self.content.unwrap_or_default(),
            },
            _ => return None,
        };
        Some(SeenChild {
            id: self.mount_id.into(),
            key: ChildKey::Mount(self.mount_path),
            child: Child::Mount(mount),
            router: None,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortRow {
    port_id: String,
    published_port: i64,
    target_port: i64,
    protocol: String,
    publish_mode: Option<String>,
}

impl PortRow {
    pub(crate) fn seen(self) -> Option<SeenChild> {
        // The server takes 99999; no socket does.
        let published = u16::try_from(self.published_port).ok()?;
        let target = u16::try_from(self.target_port).ok()?;
        Some(SeenChild {
            id: self.port_id.into(),
            key: ChildKey::Port(PortKey { published, udp: self.protocol == "udp" }),
            child: Child::Port(Port { target, host_mode: self.publish_mode.as_deref() != Some("ingress") }),
            router: None,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DomainRow {
    domain_id: String,
    host: String,
    https: bool,
    port: Option<i64>,
    path: Option<String>,
    internal_path: Option<String>,
    strip_path: Option<bool>,
    certificate_type: Option<String>,
    custom_cert_resolver: Option<String>,
    unique_config_key: Option<u64>,
}

/// A host as it is compared.
pub(crate) fn host(text: &str) -> String {
    text.trim_end_matches('.').to_ascii_lowercase()
}

/// A path as it is compared: an empty one is the root.
pub(crate) fn path(text: Option<&str>) -> String {
    match text {
        None | Some("") => "/".to_owned(),
        Some(t) => t.to_owned(),
    }
}

impl DomainRow {
    pub(crate) fn seen(self) -> Option<SeenChild> {
        let https = match (self.https, self.certificate_type.as_deref()) {
            (false, _) => Https::None,
            (true, Some("letsencrypt")) => Https::LetsEncrypt,
            (true, Some("custom")) => {
                Https::Resolver(self.custom_cert_resolver.unwrap_or_else(|| NO_RESOLVER.to_owned()))
            }
            (true, _) => Https::Resolver(NO_RESOLVER.to_owned()),
        };
        Some(SeenChild {
            id: self.domain_id.into(),
            key: ChildKey::Domain(HostKey { host: host(&self.host), path: path(self.path.as_deref()) }),
            child: Child::Domain(Host {
                // Dokploy leads a domain without a port to 80.
                port: u16::try_from(self.port.unwrap_or(80)).ok()?,
                https,
                internal_path: path(self.internal_path.as_deref()),
                strip_path: self.strip_path.unwrap_or(false),
            }),
            router: self.unique_config_key,
        })
    }
}

/// A child's columns, the same for a create and an update. `None` where key and child are of different kinds.
pub(crate) fn columns(key: &ChildKey, child: &Child) -> Option<Json> {
    Some(match (key, child) {
        (ChildKey::Mount(path), Child::Mount(mount)) => match mount {
            Mount::Volume { name } => json!({ "type": "volume", "mountPath": path, "volumeName": name }),
            Mount::Bind { host_path } => json!({ "type": "bind", "mountPath": path, "hostPath": host_path }),
            Mount::File { file_path, content } => {
                json!({ "type": "file", "mountPath": path, "filePath": file_path, "content": content.expose() })
            }
        },
        (ChildKey::Port(key), Child::Port(port)) => json!({
            "publishedPort": key.published,
            "targetPort": port.target,
            "protocol": if key.udp { "udp" } else { "tcp" },
            "publishMode": if port.host_mode { "host" } else { "ingress" },
        }),
        (ChildKey::Domain(key), Child::Domain(host)) => {
            let (certificate, resolver) = match &host.https {
                Https::None => ("none", Json::Null),
                Https::LetsEncrypt => ("letsencrypt", Json::Null),
                Https::Resolver(r) => ("custom", json!(r)),
            };
            let mut columns = json!({
                "host": key.host,
                "path": key.path,
                "port": host.port,
                "https": host.https != Https::None,
                "certificateType": certificate,
                "domainType": "application",
                "internalPath": host.internal_path,
                "stripPath": host.strip_path,
            });
            columns["customCertResolver"] = resolver;
            columns
        }
        _ => return None,
    })
}

/// The procedure and the body that make a child.
pub(crate) fn create(app: &AppId, key: &ChildKey, child: &Child) -> Option<(&'static str, Json)> {
    let mut body = columns(key, child)?;
    let procedure = match key {
        ChildKey::Mount(_) => {
            body["serviceId"] = json!(app.as_str());
            // Without it the row belongs to nobody.
            body["serviceType"] = json!("application");
            "mounts.create"
        }
        ChildKey::Port(_) => {
            body["applicationId"] = json!(app.as_str());
            "port.create"
        }
        ChildKey::Domain(_) => {
            body["applicationId"] = json!(app.as_str());
            "domain.create"
        }
    };
    Some((procedure, body))
}

/// The procedure and the body that write a child's values over what is there.
pub(crate) fn update(id: &ChildId, key: &ChildKey, child: &Child) -> Option<(&'static str, Json)> {
    let mut body = columns(key, child)?;
    let procedure = match key {
        ChildKey::Mount(_) => {
            body["mountId"] = json!(id.as_str());
            "mounts.update"
        }
        ChildKey::Port(_) => {
            body["portId"] = json!(id.as_str());
            "port.update"
        }
        ChildKey::Domain(_) => {
            body["domainId"] = json!(id.as_str());
            // A domain that somebody switched off is on again; servers before v0.30 pass over it.
            body["enabled"] = json!(true);
            "domain.update"
        }
    };
    Some((procedure, body))
}

/// The procedure and the body that remove a child.
pub(crate) fn remove(id: &ChildId, key: &ChildKey) -> (&'static str, Json) {
    match key {
        ChildKey::Mount(_) => ("mounts.remove", json!({ "mountId": id.as_str() })),
        ChildKey::Port(_) => ("port.delete", json!({ "portId": id.as_str() })),
        ChildKey::Domain(_) => ("domain.delete", json!({ "domainId": id.as_str() })),
    }
}

/// The id in the answer to a create.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Made {
    mount_id: Option<String>,
    port_id: Option<String>,
    domain_id: Option<String>,
}

impl Made {
    pub(crate) fn id(self, key: &ChildKey) -> Option<ChildId> {
        match key {
            ChildKey::Mount(_) => self.mount_id,
            ChildKey::Port(_) => self.port_id,
            ChildKey::Domain(_) => self.domain_id,
        }
        .map(ChildId::from)
    }
}

#[cfg(test)]
#[path = "children_tests.rs"]
mod tests;
