//! `domain:` of a stack: host names by a pattern, the zone that they stay in, and who writes their DNS records.

use crate::app;
use crate::check;
use crate::raw::{AppSpec, ByStage};
use crate::read::{At, Words, object, words};
use crate::resolve::Here;
use crate::tree::Key;
use berth_model::AppName;
use berth_model::dns::Fqdn;
use berth_model::stack::{App, HostKey, Https, Records, compact};
use std::collections::{BTreeMap, BTreeSet};

object!(
    /// Host names and DNS records of all apps.
    DomainPlan {
        /// The DNS zone, or one per stage: every host of the stack is it or stands below it.
        "zone" zone: ByStage<At<Words>>,
        /// The host name of each app that has a `port` and says neither `host` nor `hosts`, or one per stage:
        /// `{app}.staging.example.com`.
        "pattern" pattern: ByStage<At<Words>>,
        /// Who writes the records. `managed` by default.
        "records" records: RecordsWord,
    }
);

words!(
    /// Who writes DNS records.
    RecordsWord {
        /// Berth, in the zones that the credentials of `berth.yaml` reach.
        Managed = "managed",
        /// Nobody: a wildcard record is there. What it answers is verified.
        Wildcard = "wildcard",
    }
);

/// Who writes the records of the stack's hosts.
pub(crate) fn records(plan: Option<&At<DomainPlan>>) -> Records {
    match plan.and_then(|p| p.v.records) {
        Some(RecordsWord::Wildcard) => Records::Wildcard,
        Some(RecordsWord::Managed) | None => Records::Managed,
    }
}

/// Whether an app takes its host from the pattern. `host: null` and `hosts: {}` say that it has none.
fn takes(spec: &AppSpec) -> bool {
    spec.port.is_some() && spec.host.is_none() && spec.hosts.is_none()
}

/// Checks a template's plan with any app's name: what only a stack's values show is told there.
pub(crate) fn template(plan: &At<DomainPlan>, here: &mut Here<'_>) {
    let pattern = plan.v.pattern.as_ref().and_then(|p| here.by_stage(p));
    if let Some(pattern) = pattern {
        host(pattern, "app", here);
    }
    zone(plan, here);
}

/// The host that the pattern gives to an app.
fn host(pattern: &At<Words>, app: &str, here: &mut Here<'_>) -> Option<String> {
    let values = crate::placeholder::Values { app: Some(app), ..here.values };
    let mut here = Here { values, stage: here.stage, partial: here.partial, sink: &mut *here.sink };
    here.checked(pattern, check::host)
}

fn zone(plan: &At<DomainPlan>, here: &mut Here<'_>) -> Option<Fqdn> {
    let given = plan.v.zone.as_ref().and_then(|z| here.by_stage(z))?;
    here.checked(given, |text| {
        let help = || "write one like example.com".to_owned();
        match Fqdn::new(text) {
            Ok(name) if name.is_wildcard() => Err(("a zone's name has no '*'".to_owned(), help())),
            Ok(name) => Ok(name),
            Err(e) => Err((e.to_string(), help())),
        }
    })
}

/// Gives hosts to the apps that name none, and holds all of them to the zone.
pub(crate) fn apply(
    plan: &At<DomainPlan>,
    given: &[(Key, At<AppSpec>)],
    apps: &mut BTreeMap<AppName, Box<App>>,
    https: &Https,
    here: &mut Here<'_>,
) {
    let pattern = plan.v.pattern.as_ref().and_then(|p| here.by_stage(p));
    let mut by_pattern: BTreeMap<String, &str> = BTreeMap::new();
    for (key, spec) in given {
        let (Some(pattern), true) = (pattern, takes(&spec.v)) else { continue };
        // Faults of the pattern are the same for all.
        let Some(host) = host(pattern, &key.text, here) else { break };
        if let Some(first) = by_pattern.get(&host) {
            let message = format!("the pattern gives '{first}' and '{}' the same host {host}", key.text);
            let help = "put {app} into it, or give one of the two 'host:', or 'host: null' for none";
            here.sink.error_help(pattern.at, message, help);
            break;
        }
        by_pattern.insert(host.clone(), &key.text);
        if let Some(app) = apps.get_mut(&*key.text)
            && let Some(port) = app.port
        {
            let host = HostKey { host, path: "/".to_owned() };
            app.hosts = compact([(host, app::plain_host(port, https.clone()))]);
        }
    }
    let Some(zone) = zone(plan, here) else { return };
    for (key, spec) in given {
        // One host may have several paths.
        let hosts: BTreeSet<&str> =
            apps.get(&*key.text).into_iter().flat_map(|a| a.hosts.keys()).map(|h| h.host.as_str()).collect();
        for host in hosts.into_iter().filter(|h| Fqdn::new(h).is_ok_and(|name| !name.is_in(&zone))) {
            let at = match pattern {
                Some(pattern) if takes(&spec.v) => pattern.at,
                _ => app::host_place(&spec.v).unwrap_or(key.at),
            };
            let help = format!("write one like {}.{zone}, or change domain.zone", key.text);
            here.sink.error_help(at, format!("the host {host} stands outside of the zone {zone}"), help);
        }
    }
}
