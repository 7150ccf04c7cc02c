//! `berth dns`: looks at zones and changes nothing. Here: what its commands share, and `berth dns zones`.

use super::doctor::{Section, text};
use crate::args::DnsCommand;
use crate::dns::AllZones;
use crate::out;
use crate::settings::{self, Needs};
use anyhow::{Result, bail};
use berth_model::dns::Fqdn;
use berth_ports::{Dns, Finding, Preflight, Severity};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// # Errors
/// The settings cannot be read, or name no DNS credential.
pub async fn dns(given: Option<&Path>, command: DnsCommand) -> Result<ExitCode> {
    let config = settings::load(given, Needs::All)?;
    let Some(zones) = crate::dns::zones(&config, None, &Arc::default())? else {
        bail!(
            "berth.yaml has no DNS credential; add one, like \
             dns: {{credentials: {{main: {{hetzner: {{key: {{env: HETZNER_TOKEN}}}}}}}}}}"
        );
    };
    match command {
        DnsCommand::Verify { hosts, output } => super::verify::verify(&zones, &hosts, output).await,
        DnsCommand::Zones { output } => {
            let found = all(&zones).await;
            let shown: Vec<Shown<'_>> = found.iter().map(Shown::from).collect();
            out::data(output.output, &shown, || text(&sections(&found)))?;
            let bad = found.iter().flat_map(|p| &p.findings).any(|f| f.severity == Severity::Error);
            Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

/// One credential, or one zone of it.
#[derive(Serialize)]
struct Shown<'a> {
    credential: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    zone: Option<&'a Fqdn>,
    findings: &'a [Finding],
}

impl<'a> From<&'a Preflight> for Shown<'a> {
    fn from(p: &'a Preflight) -> Self {
        Self { credential: p.credential.as_str(), zone: p.zone.as_ref(), findings: &p.findings }
    }
}

/// Every credential, each followed by its zones.
async fn all(zones: &AllZones) -> Vec<Preflight> {
    // A zone's own name is a host of it. What cannot be listed is told by the look itself.
    let reached: BTreeSet<Fqdn> =
        zones.reached().await.into_iter().filter_map(|(_, zones)| zones.ok()).flatten().collect();
    let mut found = zones.preflight(&reached).await;
    found.sort_by(|a, b| (&a.credential, &a.zone).cmp(&(&b.credential, &b.zone)));
    found
}

/// What a look found, as the sections of a page.
pub fn sections(found: &[Preflight]) -> Vec<Section> {
    let one = |p: &Preflight| {
        let about = match &p.zone {
            Some(zone) => format!("dns zone {zone} of credential {}", p.credential),
            None => format!("dns credential {}", p.credential),
        };
        Section { about, findings: p.findings.clone() }
    };
    found.iter().map(one).collect()
}
