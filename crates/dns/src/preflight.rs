//! What there is to say about credentials and zones before anything is written: reached or not, read or not, written or
//! not, delegated or not.

use crate::exchange::Exchange;
use crate::zones::Zones;
use berth_model::dns::{Delegation, Fqdn, ServerSays, Writable, ZoneId};
use berth_ports::{Finding, Preflight, Severity};
use berth_wire::Transport;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How old a look may be.
const LOOKED: Duration = Duration::from_secs(30);

fn finding(severity: Severity, text: impl Into<String>) -> Finding {
    Finding { severity, text: text.into() }
}

/// Worst first.
fn sorted(mut findings: Vec<Finding>) -> Vec<Finding> {
    let rank = |f: &Finding| match f.severity {
        Severity::Error => 0,
        Severity::Warning => 1,
        Severity::Ok => 2,
    };
    findings.sort_by_key(rank);
    findings
}

impl<T: Transport, E: Exchange> Zones<T, E> {
    /// Findings for every credential, and for every zone that holds one of these hosts.
    pub(crate) async fn findings(&self, hosts: &BTreeSet<Fqdn>) -> Vec<Preflight> {
        let mut out = Vec::new();
        let mut reached: BTreeMap<Fqdn, Vec<String>> = BTreeMap::new();
        let mut zones = BTreeSet::new();
        for holder in &self.holders {
            let listed = holder.list(Duration::ZERO).await;
            let mut findings = Vec::new();
            let all = holder.all();
            match &listed {
                Err(error) => {
                    findings.push(finding(Severity::Error, format!("its zones cannot be listed: {error}")))
                }
                Ok(()) if all.is_empty() => {
                    findings.push(finding(
                        Severity::Warning,
                        "it reaches no zone: is it the right account, with the right rights?",
                    ));
                }
                Ok(()) => findings.push(finding(Severity::Ok, format!("it reaches {} zones", all.len()))),
            }
            if listed.is_ok() {
                let missing = holder.missing();
                findings.extend(missing.iter().map(|zone| {
                    finding(
                        Severity::Error,
                        format!("the zone {zone} is named for it and is not reached by it"),
                    )
                }));
            }
            for place in &all {
                reached.entry(place.id.name.clone()).or_default().push(holder.name.to_string());
            }
            let longest = |host: &Fqdn| host.up().find(|zone| all.iter().any(|p| p.id.name == *zone));
            let of_hosts = hosts.iter().filter_map(longest);
            zones.extend(of_hosts.map(|name| ZoneId { credential: holder.name.clone(), name }));
            out.push(Preflight { credential: holder.name.clone(), zone: None, findings: sorted(findings) });
        }
        for (zone, by) in reached.iter().filter(|(_, by)| by.len() > 1) {
            let text = format!(
                "the zone {zone} is reached by several credentials, {}: name it under 'zones' of one of them only",
                by.join(", ")
            );
            for preflight in out.iter_mut().filter(|p| by.contains(&p.credential.to_string())) {
                preflight.findings.insert(0, finding(Severity::Error, text.clone()));
            }
        }
        for zone in zones {
            let findings = sorted(self.zone_findings(&zone).await);
            out.push(Preflight { credential: zone.credential, zone: Some(zone.name), findings });
        }
        out
    }

    async fn zone_findings(&self, zone: &ZoneId) -> Vec<Finding> {
        let look = match self.managed(zone).await {
            Ok(place) => place.view(&[zone.name.clone()].into(), LOOKED).await,
            Err(error) => Err(error),
        };
        let view = match look {
            Ok(view) => view,
            Err(error) => return vec![finding(Severity::Error, format!("it cannot be read: {error}"))],
        };
        let mut out = vec![finding(Severity::Ok, format!("it is read: {} names", view.names.len()))];
        if let Writable::No(why) = &view.facts.writable {
            out.push(finding(Severity::Error, format!("it cannot be written: {why}")));
        }
        if let Some(quota) = view.facts.quota
            && let Some(most) = quota.most
            && quota.used * 10 >= most * 9
        {
            out.push(finding(Severity::Warning, format!("{} of {most} records are used", quota.used)));
        }
        let (found, answers) = self.serves(zone, &view.facts).await;
        match (&view.facts.delegation, &found.delegation) {
            (Delegation::Invalid(why), _) | (_, Some(why)) => {
                out.push(finding(Severity::Warning, why.clone()))
            }
            (Delegation::Valid, None) => {
                out.push(finding(Severity::Ok, "it is delegated to its provider's servers"))
            }
            (Delegation::Unknown, None) => {}
        }
        if let Some(why) = found.nothing {
            out.push(finding(Severity::Warning, format!("its records cannot be verified: {why}")));
        }
        for answer in answers.iter().filter(|a| !a.says.is_right()) {
            let severity = match answer.says {
                // An address of a family that this machine does not have looks like this.
                ServerSays::Silent { .. }
                    if answers.iter().any(|a| a.server == answer.server && a.says.is_right()) =>
                {
                    continue;
                }
                _ => Severity::Warning,
            };
            out.push(finding(severity, format!("the server {answer}")));
        }
        out
    }
}
