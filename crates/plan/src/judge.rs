//! The cheap judgement of a settled stack: does one look at the fleet still show what it should?
//!
//! Made for hundreds of stacks a pass: two fingerprints are compared and nothing is allocated.

use crate::runs::same_image;
use berth_model::desired::{Child, ChildKey, Desired};
use berth_model::field::{Field, Value, text};
use berth_model::ids::{AppId, AppName, EnvironmentId, ServiceName};
use berth_model::observed::{FleetView, Seen};
use berth_model::record::Record;
use berth_model::stack::Https;
use litemap::LiteMap;
use std::hash::{DefaultHasher, Hash, Hasher};

/// What a settled stack looks like from afar.
#[derive(Debug, Clone, PartialEq)]
pub struct Expected {
    apps: Box<[ExpectedApp]>,
}

#[derive(Debug, Clone, PartialEq)]
struct ExpectedApp {
    name: AppName,
    id: AppId,
    service: ServiceName,
    environment: EnvironmentId,
    /// Of the mark line.
    mark: u64,
    /// Of each domain, with its id: the sum, so that their order does not matter.
    domains: u64,
    domain_count: usize,
    image: Option<Box<str>>,
    replicas: Option<u32>,
}

/// The judgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing to do.
    Quiet,
    /// An application is not there.
    Missing(AppName),
    /// Something differs: look closely.
    Drift(AppName, &'static str),
    /// As it should be, but not all replicas run.
    Degraded(AppName),
}

fn print(parts: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    hasher.finish()
}

/// What to expect of a stack, if it is settled.
#[must_use]
pub fn expect(desired: &Desired, record: &Record, fleet: &FleetView) -> Option<Expected> {
    if record.apps.len() != desired.apps.len() {
        return None;
    }
    let mut apps = Vec::with_capacity(desired.apps.len());
    for app in &desired.apps {
        let known = record.apps.get(&app.name)?;
        let settled = known.applied == Some(app.full)
            && known.live == Some(app.hash)
            && known.rollout.is_none()
            && known.routers_due.is_none();
        let id = known.id.clone().filter(|_| settled)?;
        let seen = fleet.app(&id)?;
        let mut domains = 0u64;
        let mut domain_count = 0;
        for (key, child) in &app.children {
            let (ChildKey::Domain(at), Child::Domain(host)) = (key, child) else {
                continue;
            };
            let child_id = known.children.get(key)?;
            let certificate = match host.https {
                Https::None => "none",
                Https::LetsEncrypt => "letsencrypt",
                Https::Resolver(_) => "custom",
            };
            let https = host.https != Https::None;
            domains = domains.wrapping_add(print((
                child_id.as_str(),
                at.host.as_str(),
                at.path.as_str(),
                Some(host.port),
                https,
                certificate,
                true,
            )));
            domain_count += 1;
        }
        apps.push(ExpectedApp {
            name: app.name.clone(),
            service: known.service.clone()?,
            environment: seen.environment.clone(),
            mark: seen.mark_print,
            domains,
            domain_count,
            image: text(&app.fields, Field::Image).map(Into::into),
            replicas: match app.fields.get(&Field::Replicas) {
                Some(Value::Int(n)) => u32::try_from(*n).ok(),
                _ => None,
            },
            id,
        });
    }
    Some(Expected { apps: apps.into() })
}

/// Judges a stack by one look at the fleet.
#[must_use]
pub fn judge(expected: &Expected, record: &Record, fleet: &FleetView) -> Verdict {
    let mut degraded = None;
    for app in &expected.apps {
        let Some(seen) = fleet.app(&app.id) else {
            return Verdict::Missing(app.name.clone());
        };
        if seen.mark_print != app.mark {
            return Verdict::Drift(app.name.clone(), "the mark was edited");
        }
        if seen.environment != app.environment {
            return Verdict::Drift(app.name.clone(), "it was moved");
        }
        let children = record.apps.get(&app.name).map(|r| &r.children);
        if app.domain_count > 0
            && let Seen::Present(domains) = &fleet.domains
            && !domains_match(app, children, domains.get(&app.id).map_or(&[], Vec::as_slice))
        {
            return Verdict::Drift(app.name.clone(), "a domain was changed");
        }
        let Seen::Present(services) = &fleet.services else {
            continue;
        };
        let Some(service) = services.get(&app.service) else {
            return Verdict::Drift(app.name.clone(), "its service is gone");
        };
        if app.image.as_ref().is_some_and(|i| !same_image(i, &service.image)) {
            return Verdict::Drift(app.name.clone(), "another image runs");
        }
        if app.replicas.is_some_and(|n| n != service.wanted) {
            return Verdict::Drift(app.name.clone(), "it was scaled");
        }
        if service.running < service.wanted {
            degraded.get_or_insert(&app.name);
        }
    }
    degraded.map_or(Verdict::Quiet, |name| Verdict::Degraded(name.clone()))
}

fn domains_match(
    app: &ExpectedApp,
    children: Option<&LiteMap<ChildKey, berth_model::ChildId>>,
    domains: &[berth_model::observed::SeenDomain],
) -> bool {
    let Some(children) = children else { return false };
    let mut sum = 0u64;
    let mut count = 0;
    for d in domains {
        if !children.values().any(|id| *id == d.id) {
            continue;
        }
        sum = sum.wrapping_add(print((
            d.id.as_str(),
            d.host.as_str(),
            d.path.as_str(),
            d.port,
            d.https,
            d.certificate.as_str(),
            d.enabled,
        )));
        count += 1;
    }
    count == app.domain_count && sum == app.domains
}
