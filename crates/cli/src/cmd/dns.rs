//! `berth dns`: looks at zones and changes nothing; what it asks for, the daemon does. Here: what its commands share,
//! `berth dns zones` and `berth dns adopt`.

use super::doctor::{Section, text};
use crate::app::{self, App};
use crate::args::DnsCommand;
use crate::dns::AllZones;
use crate::out;
use crate::settings::{self, Needs};
use anyhow::{Context, Result, bail};
use berth_model::Key;
use berth_model::dns::Fqdn;
use berth_model::event::Request;
use berth_ports::{Dns, Finding, Preflight, Severity};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// # Errors
/// The settings or the state cannot be read, or name no DNS credential.
pub async fn dns(given: Option<&Path>, command: DnsCommand) -> Result<ExitCode> {
    match command {
        DnsCommand::Verify { hosts, output } => super::verify::verify(&open(given)?, &hosts, output).await,
        DnsCommand::Plan { names, output } => super::plan::records(given, names, output).await,
        DnsCommand::Adopt { hosts } => adopt(given, hosts).await,
        DnsCommand::Zones { output } => {
            let found = all(&open(given)?).await;
            let shown: Vec<Shown<'_>> = found.iter().map(Shown::from).collect();
            out::data(output.output, &shown, || text(&sections(&found)))?;
            let bad = found.iter().flat_map(|p| &p.findings).any(|f| f.severity == Severity::Error);
            Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
        }
    }
}

fn open(given: Option<&Path>) -> Result<AllZones> {
    let config = settings::load(given, Needs::All)?;
    let Some(zones) = crate::dns::zones(&config, None, &Arc::default())? else {
        bail!(
            "berth.yaml has no DNS credential; add one, like \
             dns: {{credentials: {{main: {{hetzner: {{key: {{env: HETZNER_TOKEN}}}}}}}}}}"
        );
    };
    Ok(zones)
}

async fn adopt(given: Option<&Path>, hosts: Vec<String>) -> Result<ExitCode> {
    let app = App::to_look(given).await?;
    let wanted = app::wanted(&app.inputs().await?, &app.config).0;
    let mut requests = Vec::new();
    for text in &hosts {
        let host = Fqdn::new(text).with_context(|| format!("'{text}' is no host name"))?;
        let Some(stack) = wanted.stacks.values().find(|s| s.names().any(|name| name == host)) else {
            bail!("no stack has the host {host}; its manifest comes first, then 'berth dns adopt {host}'");
        };
        requests.push(Request::Adopt { key: Key::Stack(stack.name.clone()), host });
    }
    let (config, store, snapshot) = super::ask::open(given).await?;
    super::ask::request(&config, &store, &snapshot, requests).await?;
    anstream::eprintln!(
        "asked to take over the records of {} where they stand exactly as wanted",
        hosts.join(", ")
    );
    Ok(ExitCode::SUCCESS)
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
