//! The four lists that show the whole fleet, made into one view. What a list does not say stays unknown.

use crate::children::{host, path};
use crate::detail::count;
use crate::parse::{Count, json, nullable};
use berth_model::Secret;
use berth_model::Time;
use berth_model::ids::{AppId, Owner, ServiceName};
use berth_model::mark::{self, MarkSeen};
use berth_model::observed::{
    FleetView, Network, Seen, SeenApp, SeenDomain, SeenEnvironment, SeenProject, SeenService,
};
use berth_ports::PortError;
use serde::Deserialize;
use smol_str::SmolStr;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectRow<'a> {
    #[serde(borrow)]
    project_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    environments: Vec<EnvironmentRow<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentRow<'a> {
    #[serde(borrow)]
    environment_id: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default)]
    is_default: bool,
    #[serde(borrow)]
    applications: Vec<AppRow<'a>>,
    compose: Count,
    // One by one and not flattened: flattening would keep every row in memory first.
    #[serde(default)]
    postgres: Count,
    #[serde(default)]
    mysql: Count,
    #[serde(default)]
    mariadb: Count,
    #[serde(default)]
    mongo: Count,
    #[serde(default)]
    redis: Count,
    #[serde(default)]
    libsql: Count,
}

/// The id has two names in different versions.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppRow<'a> {
    #[serde(borrow)]
    application_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    app_name: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    created_at: Option<Cow<'a, str>>,
    // Without it nothing would have a mark.
    #[serde(borrow, deserialize_with = "nullable")]
    description: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DomainRow<'a> {
    #[serde(borrow)]
    domain_id: Cow<'a, str>,
    #[serde(borrow)]
    host: Cow<'a, str>,
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    port: Option<i64>,
    https: bool,
    #[serde(borrow)]
    certificate_type: Option<Cow<'a, str>>,
    enabled: Option<bool>,
    #[serde(borrow, deserialize_with = "nullable")]
    service_owner_id: Option<Cow<'a, str>>,
    #[serde(borrow, deserialize_with = "nullable")]
    service_owner_type: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct NodeApp<'a> {
    #[serde(rename = "Name", borrow)]
    name: Cow<'a, str>,
    #[serde(rename = "Image", borrow)]
    image: Cow<'a, str>,
    #[serde(rename = "Replicas", borrow)]
    replicas: Cow<'a, str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectText<'a> {
    #[serde(borrow)]
    project_id: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "nullable")]
    description: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "nullable")]
    env: Option<Secret>,
}

/// `2/3`: running and wanted. A job's `0/1 (1/1 completed)` reads alike.
fn replicas(text: &str) -> Option<(u32, u32)> {
    let (running, wanted) = text.trim().split_once('/')?;
    let digits = wanted.find(|c: char| !c.is_ascii_digit()).unwrap_or(wanted.len());
    Some((running.parse().ok()?, wanted[..digits].parse().ok()?))
}

/// Reads `swarm.getNodeApps`. Nothing at all is no list: the server answers so when it could not ask Docker.
pub(crate) fn services(body: &[u8]) -> Result<Seen<HashMap<ServiceName, SeenService>>, PortError> {
    if crate::parse::is_nothing(body) {
        return Ok(Seen::Unknown);
    }
    let rows: Vec<NodeApp<'_>> = json("swarm.getNodeApps", body)?;
    if rows.is_empty() {
        return Ok(Seen::Unknown);
    }
    let mut services = HashMap::with_capacity(rows.len());
    // Hundreds run the same image: its name is kept once.
    let mut images: HashSet<SmolStr> = HashSet::new();
    for row in rows {
        let (running, wanted) = replicas(&row.replicas).ok_or_else(|| PortError::Unsupported {
            what: "swarm.getNodeApps: a service's Replicas is not of the form 1/1".to_owned(),
        })?;
        let image = images.get(row.image.as_ref()).cloned().unwrap_or_else(|| {
            let image = SmolStr::new(&row.image);
            images.insert(image.clone());
            image
        });
        let service = SeenService { image, running, wanted };
        services.insert(ServiceName::from(row.name.as_ref()), service);
    }
    Ok(Seen::Present(services))
}

/// The room of a subnet: addresses for services and tasks.
fn room(subnet: &str) -> Option<u64> {
    let (address, prefix) = subnet.split_once('/')?;
    let address: std::net::Ipv4Addr = address.parse().ok()?;
    let prefix: u32 = prefix.parse().ok().filter(|p| *p <= 32)?;
    let _ = address;
    Some((1u64 << (32 - prefix)).saturating_sub(4))
}

/// Reads the inspection of the services' network: the room that it has, where it says so.
pub(crate) fn network_room(body: &[u8]) -> Option<u64> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Inspected {
        #[serde(rename = "IPAM")]
        ipam: Ipam,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Ipam {
        config: Vec<Subnet>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Subnet {
        subnet: String,
    }
    let inspected: Inspected = serde_json::from_slice(body).ok()?;
    let rooms: Vec<u64> = inspected.ipam.config.iter().filter_map(|c| room(&c.subnet)).collect();
    (!rooms.is_empty()).then(|| rooms.iter().sum())
}

/// The bodies of the lists.
pub(crate) struct Lists<'a> {
    /// `project.allForPermissions`.
    pub(crate) inventory: &'a [u8],
    /// `project.all`.
    pub(crate) projects: &'a [u8],
    /// `overview.domains`; absent on servers that do not have it.
    pub(crate) domains: Option<&'a [u8]>,
    /// `swarm.getNodeApps`.
    pub(crate) services: &'a [u8],
    /// Addresses that the network has.
    pub(crate) room: Option<u64>,
}

/// Makes the view.
pub(crate) fn view(lists: &Lists<'_>, us: &Owner, at: Time) -> Result<FleetView, PortError> {
    let rows: Vec<ProjectRow<'_>> = json("project.allForPermissions", lists.inventory)?;
    let texts: Vec<ProjectText<'_>> = json("project.all", lists.projects)?;
    let mut texts: HashMap<_, _> =
        texts.into_iter().map(|t| (t.project_id, (t.description, t.env))).collect();
    let all = rows.iter().flat_map(|p| &p.environments).map(|e| e.applications.len()).sum();
    let mut view = FleetView { at, apps: Vec::with_capacity(all), ..FleetView::default() };
    for row in rows {
        let project = berth_model::ids::ProjectId::from(row.project_id.as_ref());
        // A project made between the two reads has no text yet.
        let (description, env) = texts.remove(&row.project_id).unwrap_or_default();
        let mut environments = Vec::with_capacity(row.environments.len());
        for e in row.environments {
            let others =
                count([&e.compose, &e.postgres, &e.mysql, &e.mariadb, &e.mongo, &e.redis, &e.libsql]);
            let environment = berth_model::ids::EnvironmentId::from(e.environment_id.as_ref());
            environments.push(SeenEnvironment {
                id: environment.clone(),
                name: e.name.into_owned(),
                is_default: e.is_default,
                services: e.applications.len() + others,
            });
            for app in e.applications {
                let id = app.application_id.or(app.id).ok_or_else(|| PortError::Unsupported {
                    what: "project.allForPermissions: an application has no applicationId".to_owned(),
                })?;
                let description = app.description.as_deref().unwrap_or("");
                view.apps.push(SeenApp {
                    id: AppId::from(id.as_ref()),
                    name: app.name.into(),
                    service: ServiceName::from(app.app_name.as_ref()),
                    project: project.clone(),
                    environment: environment.clone(),
                    mark: if description.is_empty() { MarkSeen::None } else { mark::read(description, us) },
                    mark_print: mark::print(mark::line(description)),
                    // Always UTC, by ISO 8601: without the zone it still sorts, and needs no memory of its own.
                    created: app.created_at.unwrap_or_default().trim_end_matches('Z').into(),
                });
            }
        }
        view.projects.push(SeenProject {
            id: project,
            name: row.name.as_ref().into(),
            mark: description.as_deref().and_then(|d| mark::read_place(d, us)),
            description: description.filter(|d| !d.is_empty()).map(Cow::into_owned),
            env: env.unwrap_or_default(),
            environments,
        });
    }
    if let Some(domains) = lists.domains {
        view.domains = Seen::Present(self::domains(domains)?);
    }
    view.services = services(lists.services)?;
    if let (Some(usable), Seen::Present(services)) = (lists.room, &view.services) {
        // One address for the service itself and one for each task.
        let used = services.values().map(|s| 1 + u64::from(s.wanted)).sum();
        view.network = Seen::Present(Network { usable, used });
    }
    view.index();
    Ok(view)
}

fn domains(body: &[u8]) -> Result<HashMap<AppId, Vec<SeenDomain>>, PortError> {
    let rows: Vec<DomainRow<'_>> = json("overview.domains", body)?;
    let mut domains: HashMap<AppId, Vec<SeenDomain>> = HashMap::with_capacity(rows.len());
    for row in rows {
        let (Some(owner), Some("application")) = (&row.service_owner_id, row.service_owner_type.as_deref())
        else {
            continue;
        };
        // Most have one.
        let of_app = domains.entry(AppId::from(owner.as_ref())).or_insert_with(|| Vec::with_capacity(1));
        of_app.push(SeenDomain {
            id: row.domain_id.as_ref().into(),
            host: host(&row.host).into(),
            path: path(row.path.as_deref()).into(),
            port: row.port.and_then(|p| u16::try_from(p).ok()),
            https: row.https,
            certificate: row.certificate_type.as_deref().unwrap_or("none").into(),
            enabled: row.enabled.unwrap_or(true),
        });
    }
    Ok(domains)
}

pub(crate) fn fuzz(data: &[u8]) {
    let _ = services(data);
    let _ = network_room(data);
    let _ = domains(data);
    let Ok(us) = Owner::new("fuzz") else { return };
    let lists = Lists { inventory: data, projects: b"[]", domains: None, services: b"", room: None };
    if let Ok(view) = view(&lists, &us, Time::default()) {
        assert_eq!(view.apps.len(), view.apps.iter().filter(|a| view.app(&a.id).is_some()).count());
    }
    let lists = Lists { inventory: b"[]", projects: data, domains: None, services: b"", room: None };
    let _ = view(&lists, &us, Time::default());
}

#[cfg(test)]
#[path = "fleet_tests.rs"]
mod tests;
