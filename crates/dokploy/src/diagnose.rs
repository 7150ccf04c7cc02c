//! Who we are there and what the server can do: at start, by `berth doctor`, and before any inventory is believed.

use crate::adapter::{Inner, query};
use crate::parse::json;
use berth_ports::{Diagnosis, Finding, PortError, Severity};
use berth_wire::{Transport, http_date};
use futures::FutureExt;
use serde::Deserialize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The first version with `project.allForPermissions` and `deployment.queueList`.
const OLDEST: (u32, u32, u32) = (0, 28, 3);
/// How long a good standing is believed: a role can be taken away without any call failing.
const GOOD_FOR: Duration = Duration::from_secs(600);
/// How long a bad one is: asking again costs calls, of which a limited key has few.
const BAD_FOR: Duration = Duration::from_secs(30);

/// Whether the account may be believed.
#[derive(Debug, Clone)]
pub(crate) struct Standing {
    version: Option<String>,
    organization: Option<String>,
    role: Option<String>,
    findings: Vec<Finding>,
    /// Seconds that the server's clock is ahead.
    skew: Option<i64>,
}

impl Standing {
    /// `Ok` where an inventory may be believed.
    pub(crate) fn usable(&self) -> Result<(), PortError> {
        match self.findings.iter().find(|f| f.severity == Severity::Error) {
            None => Ok(()),
            Some(f) => Err(PortError::Auth { why: f.text.clone() }),
        }
    }
}

/// `v0.30.2` as numbers.
fn version(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim().trim_start_matches('v');
    let mut parts = text.split(['.', '-', '+']).map(|p| p.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// The organization in `user.session`.
pub(crate) fn organization(body: &[u8]) -> Result<Option<String>, PortError> {
    #[derive(Deserialize)]
    struct Body {
        session: Session,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Session {
        active_organization_id: Option<String>,
    }
    json::<Body>("user.session", body).map(|b| b.session.active_organization_id.filter(|o| !o.is_empty()))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Member {
    role: String,
    organization_id: Option<String>,
}

fn finding(severity: Severity, text: impl Into<String>) -> Finding {
    Finding { severity, text: text.into() }
}

impl<T: Transport> Inner<T> {
    /// What makes a key that works.
    fn advice(&self, organization: Option<&str>) -> String {
        format!(
            "make a key as an owner or admin, in Dokploy under Settings, Profile, API keys, with rate limiting off, or by: \
             curl -X POST {}/api/user.createApiKey -H 'x-api-key: KEY' -H 'content-type: application/json' \
             -d '{{\"name\":\"berth\",\"metadata\":{{\"organizationId\":\"{}\"}},\"rateLimitEnabled\":false}}'",
            self.client.base(),
            organization.unwrap_or("ORGANIZATION")
        )
    }

    /// The standing, looked at anew when the key changed, was refused, or some minutes have passed.
    pub(crate) async fn standing(self: &Arc<Self>) -> Result<Arc<Standing>, PortError> {
        let standing = self.standing_within(GOOD_FOR).await?;
        if standing.usable().is_ok() {
            return Ok(standing);
        }
        self.standing_within(BAD_FOR).await
    }

    async fn standing_within(self: &Arc<Self>, max_age: Duration) -> Result<Arc<Standing>, PortError> {
        let look = || {
            let inner = Arc::clone(self);
            async move { inner.look_at_standing().await.map(Arc::new) }.boxed()
        };
        self.standing.get(max_age, self.epoch.load(Ordering::SeqCst), look).await
    }

    async fn look_at_standing(&self) -> Result<Standing, PortError> {
        let (about, session, member) =
            (query("settings.getDokployVersion"), query("user.session"), query("user.get"));
        let (about, session, member) =
            futures::join!(self.ask(&about), self.ask(&session), self.ask(&member));
        let about = about?;
        let text: String = json("settings.getDokployVersion", &about.body)?;
        let text = berth_wire::redact::cap(&text, 40);
        let before = self.version.lock().unwrap_or_else(PoisonError::into_inner).replace(text.clone());
        if before.is_some_and(|before| before != text) {
            self.has_domains.store(true, Ordering::Relaxed);
            self.batching.refused.store(false, Ordering::Relaxed);
        }
        let member: Member = json("user.get", &member?.body)?;
        let organization = match session {
            Ok(reply) => organization(&reply.body)?,
            // Before v0.28.5; the member's own row tells it as well.
            Err(PortError::Unsupported { .. }) => None,
            Err(error) => return Err(error),
        }
        .or(member.organization_id);

        let mut findings = Vec::new();
        match version(&text) {
            Some(v) if v < OLDEST => findings.push(finding(
                Severity::Error,
                format!("Dokploy {text} is too old: Berth needs v0.28.3 or newer; update Dokploy"),
            )),
            Some(_) => findings.push(finding(Severity::Ok, format!("Dokploy {text}"))),
            None => findings.push(finding(
                Severity::Warning,
                format!("the version '{text}' cannot be read; going by what the server can do"),
            )),
        }
        if matches!(member.role.as_str(), "owner" | "admin") {
            findings.push(finding(Severity::Ok, format!("the key's role is {}", member.role)));
        } else {
            findings.push(finding(
                Severity::Error,
                format!(
                    "the key's role is '{}', which sees only part of the fleet; {}",
                    berth_wire::redact::cap(&member.role, 40),
                    self.advice(organization.as_deref())
                ),
            ));
        }
        match &organization {
            Some(id) if self.pin(id) => {}
            Some(id) => {
                let pinned = self.pinned.lock().unwrap_or_else(PoisonError::into_inner).clone();
                findings.push(finding(
                    Severity::Error,
                    format!(
                        "the key belongs to organization {}, this account is pinned to {}: nothing of it is believed",
                        berth_wire::redact::cap(id, 60),
                        pinned.as_deref().unwrap_or("another")
                    ),
                ));
            }
            None => findings.push(finding(
                Severity::Error,
                format!(
                    "the server does not say which organization the key belongs to; {}",
                    self.advice(None)
                ),
            )),
        }
        let skew = about
            .header(http::header::DATE)
            .and_then(http_date)
            .map(|server| server.saturating_sub(self.now().0.div_euclid(1000)));
        Ok(Standing { version: Some(text), organization, role: Some(member.role), findings, skew })
    }

    /// Everything worth saying about the account.
    pub(crate) async fn diagnose(self: &Arc<Self>) -> Result<Diagnosis, PortError> {
        // Asked for by a person or at start: never from memory.
        let standing = match self.standing_within(Duration::ZERO).await {
            Ok(standing) => standing,
            Err(error @ (PortError::Auth { .. } | PortError::Unsupported { .. })) => {
                let limited = self.limited();
                let mut findings = vec![finding(Severity::Error, format!("{error}; {}", self.advice(None)))];
                findings.extend(limited.iter().map(|l| finding(Severity::Error, l.clone())));
                return Ok(Diagnosis { limited, findings, ..Diagnosis::default() });
            }
            Err(error) => return Err(error),
        };
        let mut findings = standing.findings.clone();
        let limited = self.limited();
        if let Some(limited) = &limited {
            let text = format!("{limited}; {}", self.advice(standing.organization.as_deref()));
            findings.push(finding(Severity::Warning, text));
        }
        if let Some(skew) = standing.skew
            && skew.abs() > 5
        {
            let way = if skew > 0 { "ahead of" } else { "behind" };
            findings.push(finding(
                Severity::Warning,
                format!("the server's clock is {} s {way} ours; set both by NTP", skew.abs()),
            ));
        }
        if standing.usable().is_ok() {
            match self.sweep(Duration::from_secs(60)).await {
                Ok(fleet) => self.of_fleet(&fleet, &mut findings),
                Err(error) => {
                    findings.push(finding(Severity::Error, format!("the fleet cannot be read: {error}")))
                }
            }
        }
        findings.sort_by_key(|f| match f.severity {
            Severity::Error => 0,
            Severity::Warning => 1,
            Severity::Ok => 2,
        });
        Ok(Diagnosis {
            version: standing.version.clone(),
            organization: standing.organization.clone(),
            role: standing.role.clone(),
            limited,
            findings,
        })
    }

    fn of_fleet(&self, fleet: &berth_model::observed::FleetView, findings: &mut Vec<Finding>) {
        findings.push(finding(
            Severity::Ok,
            format!("{} projects, {} applications", fleet.projects.len(), fleet.apps.len()),
        ));
        if !self.has_domains.load(Ordering::Relaxed) {
            findings.push(finding(
                Severity::Warning,
                "no overview.domains (older than v0.30.0): a domain taken by an application that Berth does not manage is not noticed",
            ));
        }
        if fleet.services.is_unknown() {
            findings.push(finding(
                Severity::Warning,
                "swarm.getNodeApps shows nothing: what runs is unknown; check that Docker Swarm is up on the server",
            ));
        }
        if let Some(network) = fleet.network.present() {
            let tight = network.used * 10 >= network.usable * 8;
            let text = format!(
                "dokploy-network: {} of {} addresses are asked for (one a service and one a task){}",
                network.used,
                network.usable,
                if tight {
                    "; when they run out, tasks stay in New without an error: make the network anew with a larger subnet"
                } else {
                    ""
                }
            );
            findings.push(finding(if tight { Severity::Warning } else { Severity::Ok }, text));
        }
    }

    /// Why the key is thought to be limited: refused without a reason after it had worked.
    fn limited(&self) -> Option<String> {
        let after = *self.refused_after.lock().unwrap_or_else(PoisonError::into_inner);
        after.map(|n| {
            format!(
                "the key was refused without a reason after {n} calls had passed: it is rate-limited (a key made without \
                 rateLimitEnabled:false is good for five calls a day), was deleted, or has expired"
            )
        })
    }
}

pub(crate) fn fuzz(data: &[u8]) {
    let _ = organization(data);
    let _ = json::<Member>("user.get", data);
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = version(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        assert_eq!(version("v0.30.2"), Some((0, 30, 2)));
        assert_eq!(version("0.28.3-canary.1"), Some((0, 28, 3)));
        assert_eq!(version("canary"), None);
        assert!(version("v0.9.12").unwrap() < OLDEST);
    }
}
