//! `berth doctor`: everything that would keep Berth from working, looked at without changing anything. It goes on
//! where one thing is wrong, so that all of it is told at once.

use crate::app;
use crate::args::Doctor;
use crate::dns::AllZones;
use crate::out::{self, BAD, BOLD, BUSY, GOOD, paint};
use crate::settings::{self, Needs};
use crate::state::{self, AnyStore};
use crate::world;
use anyhow::Result;
use berth_model::Key;
use berth_model::config::{Config, CredentialSource, Probe};
use berth_model::dns::{Fqdn, RecordKey, ZoneId};
use berth_model::ids::StackName;
use berth_plan::dns::Orphan;
use berth_ports::{Dns as _, Finding, Platform, SealedFor, Severity, Snapshot, Store, Vault, Wanted};
use futures::StreamExt;
use serde::Serialize;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long one name may take to resolve.
const RESOLVE: Duration = Duration::from_secs(3);

/// Records of one zone that are named one by one.
const LOST: usize = 10;
/// Zones of one credential that are looked at for them: each costs a call or more.
const ZONES: usize = 50;

/// What belongs together.
#[derive(Serialize)]
pub struct Section {
    pub about: String,
    pub findings: Vec<Finding>,
}

impl Section {
    fn new(about: impl Into<String>) -> Self {
        Self { about: about.into(), findings: Vec::new() }
    }
    fn say(&mut self, severity: Severity, text: impl Into<String>) {
        self.findings.push(Finding { severity, text: text.into() });
    }
}

/// # Errors
/// The settings cannot be read.
pub async fn doctor(given: Option<&Path>, args: Doctor) -> Result<ExitCode> {
    // Without keys there is nothing to ask a server with: that is an error of the settings, told with its line.
    let config = settings::load(given, Needs::All)?;
    let mut sections = vec![files(&config)];
    // As it stands: who asks how things are must not change a schema.
    let store = AnyStore::open_to_read(&config).await;
    let (section, wanted) = manifests(&config, store.as_ref().ok().and_then(Option::as_ref)).await;
    let mut is_read = section.findings.iter().all(|f| f.severity != Severity::Error);
    sections.push(section);
    sections.push(itself(&config, &wanted));
    let (section, snapshot) = state(&config, store).await;
    is_read &= section.findings.iter().all(|f| f.severity != Severity::Error);
    sections.push(section);
    sections.push(vault(&config, &snapshot));
    sections.extend(backends(&config).await);
    sections.extend(dns(&config, &wanted, is_read.then_some(&snapshot)).await);
    sections.push(names(&config, &wanted).await);
    sections.push(orphans(&snapshot));
    sections.retain(|s| !s.findings.is_empty());
    out::data(args.output.output, &sections, || text(&sections))?;
    let bad = sections.iter().flat_map(|s| &s.findings).any(|f| f.severity == Severity::Error);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The sections as a page, with what they come to.
#[must_use]
pub fn text(sections: &[Section]) -> String {
    let mut text = String::new();
    let mut counts = [0usize; 3];
    for section in sections {
        text.push_str(&format!("{}\n", paint(BOLD, &section.about)));
        for f in &section.findings {
            let (at, sign) = match f.severity {
                Severity::Ok => (0, paint(GOOD, "✓")),
                Severity::Warning => (1, paint(BUSY, "!")),
                Severity::Error => (2, paint(BAD, "✗")),
            };
            counts[at] += 1;
            text.push_str(&format!("  {sign} {}\n", f.text));
        }
        text.push('\n');
    }
    text.push_str(&format!("{} fine, {} to know, {} to mend\n", counts[0], counts[1], counts[2]));
    text
}

fn files(config: &Config) -> Section {
    let mut section = Section::new("settings");
    section.say(Severity::Ok, format!("owner {}, {} backends", config.owner, config.backends.len()));
    let keys = config.backends.values().map(|b| ("an API key", &b.key.from));
    let dns = config.dns.credentials.values().filter_map(|c| c.provider.secret());
    let keys = keys.chain(dns.map(|c| ("a DNS credential", &c.from)));
    for (what, from) in keys.chain([("the vault's keys", &config.vault.from)]) {
        let CredentialSource::File(path) = from else {
            continue;
        };
        match std::fs::metadata(path) {
            Ok(data) if data.permissions().mode() & 0o077 != 0 => section.say(
                Severity::Warning,
                format!("others may read {} with {what}; run: chmod 600 {}", path.display(), path.display()),
            ),
            Ok(_) => {}
            Err(e) => {
                section.say(Severity::Error, format!("{} with {what} cannot be read: {e}", path.display()))
            }
        }
    }
    section
}

/// Whether this daemon is an app of the fleet, as far as it was told.
fn itself(config: &Config, wanted: &Wanted) -> Section {
    let mut section = Section::new("this daemon itself");
    if let Some((stack, app)) = &config.itself {
        let known = wanted.stacks.get(stack).is_some_and(|s| s.apps.contains_key(app));
        if known {
            section.say(Severity::Ok, format!("it is app {app} of stack {stack}, and deploys itself last"));
        } else {
            let text = format!(
                "berth.yaml says 'self: {stack}/{app}', and no manifest has such an app; it deploys nothing last"
            );
            section.say(Severity::Warning, text);
        }
    }
    if std::env::var(world::SERVICE).is_ok() && world::own_service().is_none() {
        let text = format!(
            "{} was not filled in: only Swarm fills in {{{{.Service.Name}}}}; set 'self: STACK/APP' in berth.yaml",
            world::SERVICE
        );
        section.say(Severity::Warning, text);
    }
    section
}

async fn manifests(config: &Config, store: Option<&AnyStore>) -> (Section, Wanted) {
    let from = match (&config.directory, config.rows) {
        (Some(directory), true) => format!("{} and in rows", directory.display()),
        (Some(directory), false) => directory.display().to_string(),
        (None, _) => "rows".to_owned(),
    };
    let mut section = Section::new(format!("manifests in {from}"));
    let inputs = match app::sources(config, store).await {
        Ok(inputs) => inputs,
        Err(error) => {
            section.say(Severity::Error, format!("{error:#}; nothing is removed while it cannot be read"));
            return (section, Wanted::default());
        }
    };
    let (wanted, told) = app::wanted(&inputs, config);
    let errors = told.iter().filter(|d| d.severity == berth_manifest::Severity::Error).count();
    let found = format!(
        "{} stacks, {} projects in {} files",
        wanted.stacks.len(),
        wanted.projects.len(),
        inputs.len()
    );
    section.say(Severity::Ok, found);
    if errors > 0 {
        section.say(
            Severity::Error,
            format!("{errors} errors; 'berth validate' shows them, and removals wait for them"),
        );
    }
    if told.len() > errors {
        section
            .say(Severity::Warning, format!("{} warnings; 'berth validate' shows them", told.len() - errors));
    }
    (section, wanted)
}

async fn state(config: &Config, store: Result<Option<AnyStore>>) -> (Section, Snapshot) {
    let mut section = Section::new(format!("state in {}", state::place(config)));
    let store = match store {
        Ok(Some(store)) => store,
        Ok(None) => {
            section.say(Severity::Warning, "there is none yet; the first 'berth run' makes it");
            return (section, Snapshot::default());
        }
        Err(error) => {
            section.say(Severity::Error, error.to_string());
            return (section, Snapshot::default());
        }
    };
    match store.snapshot().await {
        Ok(snapshot) => {
            let age = out::age(snapshot.made, out::now());
            section.say(
                Severity::Ok,
                format!(
                    "{} records, {} secrets, made {age} ago",
                    snapshot.records.len(),
                    snapshot.secrets.len()
                ),
            );
            let open = snapshot.intents.len();
            if open > 0 {
                section.say(
                    Severity::Warning,
                    format!("{open} creates were sent and not answered; they are looked for"),
                );
            }
            (section, snapshot)
        }
        Err(error) => {
            section.say(Severity::Error, error.to_string());
            (section, Snapshot::default())
        }
    }
}

fn vault(config: &Config, snapshot: &Snapshot) -> Section {
    let mut section = Section::new("vault");
    let ring = match world::vault(config) {
        Ok(ring) => ring,
        Err(error) => {
            section.say(Severity::Error, format!("{error:#}"));
            return section;
        }
    };
    section.say(Severity::Ok, "its keys are good");
    for row in &snapshot.secrets {
        let what = SealedFor { kind: "secret", stack: &row.stack, app: row.app.as_ref(), name: &row.name };
        if let Err(error) = ring.open(what, &row.sealed) {
            let app = row.app.as_ref().map(|a| format!(" {a}")).unwrap_or_default();
            section.say(
                Severity::Error,
                format!(
                    "{} of {} does not open: {error}; give it again: berth secret set {}{app} {}",
                    row.name, row.stack, row.stack, row.name
                ),
            );
        }
    }
    let old = snapshot.secrets.iter().filter(|r| ring.wants_resealing(&r.sealed)).count();
    if old > 0 {
        section.say(
            Severity::Ok,
            format!("{old} secrets are sealed under an older key: keep its line in the key file"),
        );
    }
    section
}

async fn backends(config: &Config) -> Vec<Section> {
    let platforms = match world::platforms(config, None) {
        Ok((platforms, _)) => platforms,
        Err(error) => {
            let mut section = Section::new("backends");
            section.say(Severity::Error, format!("{error:#}"));
            return vec![section];
        }
    };
    let ask = platforms.iter().map(|(name, platform)| async move {
        let url = config.backends.get(name).map(|b| b.url.as_str()).unwrap_or_default();
        let mut section = Section::new(format!("backend {name} at {url}"));
        match platform.diagnose().await {
            Ok(diagnosis) => {
                if let Some(organization) = &diagnosis.organization {
                    section.say(Severity::Ok, format!("organization {organization}"));
                }
                section.findings.splice(0..0, diagnosis.findings);
            }
            Err(error) => section.say(Severity::Error, format!("it cannot be asked: {error}")),
        }
        section
    });
    futures::future::join_all(ask).await
}

/// What a look at DNS tells before anything is written, for the hosts of all stacks; and what nobody knows any more.
async fn dns(config: &Config, wanted: &Wanted, snapshot: Option<&Snapshot>) -> Vec<Section> {
    match crate::dns::zones(config, None, &Arc::default()) {
        Ok(None) => Vec::new(),
        Ok(Some(zones)) => {
            let hosts: BTreeSet<Fqdn> = wanted.stacks.values().flat_map(|s| s.names()).collect();
            let mut sections = super::dns::sections(&zones.preflight(&hosts).await);
            // Where manifests or state cannot be read, everything would look lost.
            if let Some(snapshot) = snapshot {
                sections.push(lost_records(&zones, wanted, snapshot).await);
            }
            sections
        }
        Err(error) => {
            let mut section = Section::new("dns");
            section.say(Severity::Error, format!("{error:#}"));
            vec![section]
        }
    }
}

/// Records with our mark, in every zone that can be listed, of stacks that neither the manifests nor the state know.
async fn lost_records(zones: &AllZones, wanted: &Wanted, snapshot: &Snapshot) -> Section {
    let mut section = Section::new("dns records");
    let ledgers: BTreeSet<(&Key, &RecordKey)> = snapshot
        .records
        .iter()
        .flat_map(|(key, r)| r.dns.iter().flat_map(move |dns| dns.ledger.0.keys().map(move |at| (key, at))))
        .collect();
    let known = |stack: &StackName, at: &RecordKey| {
        ledgers.contains(&(&Key::Stack(stack.clone()), at)) || wanted.may_want(stack, &at.name)
    };
    for (credential, reached) in zones.reached().await {
        // What a credential cannot list was told by the look at it.
        let reached = reached.unwrap_or_default();
        if reached.len() > ZONES {
            let text =
                format!("{credential} reaches {} zones; {ZONES} of them were looked at", reached.len());
            section.say(Severity::Warning, text);
        }
        for name in reached.into_iter().take(ZONES) {
            let zone = ZoneId { credential: credential.clone(), name };
            let lost = match zones.view(&zone, &BTreeSet::new(), Duration::ZERO).await {
                Ok(view) => berth_plan::dns::orphans(&view, known),
                Err(error) => {
                    section.say(Severity::Warning, format!("{zone} cannot be looked at: {error}"));
                    continue;
                }
            };
            for Orphan { key, stack } in lost.iter().take(LOST) {
                section.say(
                    Severity::Warning,
                    format!(
                        "{key} has the mark of stack {stack}, and neither the manifests nor the state know it: take it or its \
                         mark away at the provider, or let the stack have that host again"
                    ),
                );
            }
            if lost.len() > LOST {
                section.say(Severity::Warning, format!("{zone}: … and {} more", lost.len() - LOST));
            }
        }
    }
    section
}

async fn names(config: &Config, wanted: &Wanted) -> Section {
    let mut section = Section::new("host names");
    let hosts: BTreeSet<&str> = wanted
        .stacks
        .values()
        .filter(|s| config.backends.get(&s.target.backend).is_some_and(|b| b.probe == Probe::Host))
        .flat_map(|s| s.apps.values().flat_map(|a| a.hosts.keys()))
        .map(|h| h.host.as_str())
        .collect();
    if hosts.is_empty() {
        return section;
    }
    let lost: Vec<&str> = futures::stream::iter(hosts.iter().copied())
        .map(|host| async move {
            let found = tokio::time::timeout(RESOLVE, tokio::net::lookup_host((host, 443))).await;
            let resolves = found.is_ok_and(|f| f.is_ok_and(|mut addresses| addresses.next().is_some()));
            (!resolves).then_some(host)
        })
        .buffered(16)
        .filter_map(|lost| async move { lost })
        .collect()
        .await;
    if lost.len() < hosts.len() {
        section.say(Severity::Ok, format!("{} of {} resolve here", hosts.len() - lost.len(), hosts.len()));
    }
    for host in lost.iter().take(10) {
        section.say(
            Severity::Warning,
            format!(
                "{host} does not resolve here: its health check and its certificate wait for its DNS record"
            ),
        );
    }
    if lost.len() > 10 {
        section.say(Severity::Warning, format!("… and {} more", lost.len() - 10));
    }
    section
}

fn orphans(snapshot: &Snapshot) -> Section {
    let mut section = Section::new("orphans");
    for (key, record) in &snapshot.records {
        for orphan in &record.tombstones {
            section.say(
                Severity::Warning,
                format!(
                    "{key}: service {} was deleted and still runs; end it with: {}",
                    orphan.service, orphan.command
                ),
            );
        }
    }
    section
}
