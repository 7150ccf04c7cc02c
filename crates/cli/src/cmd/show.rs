//! `berth get` and `berth describe`: how things stand, from the state file, beside a daemon or without one.

use crate::args::{Describe, Get};
use crate::live::{self, glance};
use crate::out::{self, BOLD, DIM, paint};
use anyhow::{Result, bail};
use berth_model::Time;
use berth_model::condition::Status;
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_model::record::{Run, StackStatus};
use berth_ports::{Answer, Query, Store};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

/// The kind that a word asks for.
fn kind(word: &str) -> Option<&'static str> {
    match word {
        "stack" | "stacks" => Some("stack"),
        "project" | "projects" => Some("project"),
        _ => None,
    }
}

/// Lists.
///
/// # Errors
/// The state cannot be read, or nothing has the name.
pub async fn get(given: Option<&Path>, args: Get) -> Result<ExitCode> {
    let (_, store) = super::state(given).await?;
    let snapshot = store.snapshot().await?;
    let (only, name) = match args.what.as_slice() {
        [] => (None, None),
        [one] => kind(one).map_or((None, Some(one)), |k| (Some(k), None)),
        [first, second, ..] => match kind(first) {
            Some(kind) => (Some(kind), Some(second)),
            None => bail!("'{first}' is no kind; write 'berth get stack NAME' or 'berth get project NAME'"),
        },
    };
    let wanted = match (only, name) {
        (Some(kind), Some(name)) if !name.contains('/') => {
            Some(super::known(&format!("{kind}/{name}"), &snapshot)?)
        }
        (_, Some(name)) => Some(super::known(name, &snapshot)?),
        _ => None,
    };
    let statuses: BTreeMap<Key, Box<StackStatus>> =
        snapshot.statuses.into_iter().map(|s| (s.key.clone(), s)).collect();
    let known = snapshot.records.iter().map(|(k, _)| k.clone()).chain(statuses.keys().cloned());
    let mut keys: Vec<Key> = known
        .filter(|k| match (&wanted, only) {
            (Some(wanted), _) => k == wanted,
            (None, Some(kind)) => matches!(k, Key::Stack(_)) == (kind == "stack"),
            (None, None) => true,
        })
        .filter(|k| args.tenant.is_none() || statuses.get(k).is_some_and(|s| s.tenant == args.tenant))
        .collect();
    keys.sort();
    keys.dedup();
    let shown: Vec<&StackStatus> = keys.iter().filter_map(|k| Some(&**statuses.get(k)?)).collect();
    out::data(args.output.output, &shown, || listing(&keys, &statuses))?;
    Ok(ExitCode::SUCCESS)
}

fn listing(keys: &[Key], statuses: &BTreeMap<Key, Box<StackStatus>>) -> String {
    if keys.is_empty() {
        return "Nothing was made or judged yet.\n".to_owned();
    }
    let now = out::now();
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| {
            let status = statuses.get(key).map(|s| &**s);
            let seen = glance(status);
            let ready = status.and_then(|s| s.conditions.first());
            let truth = match ready.map(|c| c.status) {
                Some(Status::True) => "True",
                Some(Status::False) => "False",
                _ => "Unknown",
            };
            vec![
                format!("{} {}", seen.mark.sign(), live::name(key)),
                truth.to_owned(),
                ready.map_or("Pending", |c| c.reason.as_str()).to_owned(),
                seen.phase.map(live::phase).unwrap_or_default(),
                status.and_then(|s| s.url.clone()).unwrap_or_default(),
                ready.map(|c| out::age(c.since, now)).unwrap_or_default(),
            ]
        })
        .collect();
    out::table(&["  NAME", "READY", "REASON", "PHASE", "URL", "AGE"], &rows)
}

/// All of one key, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    status: Option<StackStatus>,
    paused: bool,
    orphans: Vec<berth_model::record::Tombstone>,
    events: Vec<Event>,
    last_run: Option<Run>,
}

/// Shows one in full.
///
/// # Errors
/// The state cannot be read, or nothing has the name.
pub async fn describe(given: Option<&Path>, args: Describe) -> Result<ExitCode> {
    let (_, store) = super::state(given).await?;
    let snapshot = store.snapshot().await?;
    let key = super::known(&args.name, &snapshot)?;
    let record = snapshot.record(&key);
    let Answer::Events(events) =
        store.query(Query::Events { after: 0, key: Some(key.clone()), limit: 10 }).await?
    else {
        bail!("the state file answered something else; this is a defect")
    };
    let last_run = super::explain::runs(&store, &key, 1).await?.into_iter().next();
    let described = Described {
        status: snapshot.status(&key).cloned(),
        paused: record.is_some_and(|r| r.paused),
        orphans: record.map(|r| r.tombstones.clone()).unwrap_or_default(),
        events,
        last_run,
    };
    out::data(args.output.output, &described, || text(&key, &described))?;
    Ok(ExitCode::SUCCESS)
}

fn text(key: &Key, d: &Described) -> String {
    let mut out = String::new();
    let seen = glance(d.status.as_ref());
    let _ = writeln!(out, "{} {}  {}", seen.mark.sign(), paint(BOLD, key), seen.reason);
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {name:<11} {value}");
        }
    };
    if let Some(s) = &d.status {
        fact("url", s.url.clone().unwrap_or_default());
        fact("tenant", s.tenant.clone().unwrap_or_default());
        fact("manifest", s.origin.as_ref().map(|o| format!("{}:{}", o.file, o.line)).unwrap_or_default());
        fact("generation", format!("{} (judged: {})", s.generation, s.observed_generation));
    }
    if d.paused {
        fact("paused", format!("by hand; 'berth resume {}' ends it", key.name()));
    }
    let now = out::now();
    if let Some(s) = &d.status {
        let rows: Vec<Vec<String>> = s
            .conditions
            .iter()
            .map(|c| {
                let (kind, truth) = (format!("{:?}", c.kind), format!("{:?}", c.status));
                vec![
                    format!("  {kind}"),
                    truth,
                    c.reason.as_str().to_owned(),
                    out::age(c.since, now),
                    c.message.clone(),
                ]
            })
            .collect();
        let _ =
            write!(out, "\n{}", out::table(&["  CONDITION", "STATUS", "REASON", "AGE", "MESSAGE"], &rows));
        let rows: Vec<Vec<String>> = s.apps.iter().map(app).collect();
        if !rows.is_empty() {
            let _ = write!(out, "\n{}", out::table(&["  APP", "IMAGE", "RUNS", "SERVICE", "ID"], &rows));
        }
        let rows: Vec<Vec<String>> = s.hosts.iter().map(|h| host(h, now)).collect();
        if !rows.is_empty() {
            let _ = write!(out, "\n{}", out::table(&["  HOST", "ZONE", "RECORDS", "VERIFIED"], &rows));
        }
        for a in s.apps.iter().filter(|a| !a.unmanaged.is_empty()) {
            let _ = writeln!(
                out,
                "  {}",
                paint(DIM, format!("app {}: not managed: {}", a.name, a.unmanaged.join(", ")))
            );
        }
    }
    for orphan in &d.orphans {
        let _ = writeln!(
            out,
            "\n  {} was deleted and still runs; end it with: {}",
            orphan.service, orphan.command
        );
    }
    if !d.events.is_empty() {
        let _ = writeln!(out, "\n  {}", paint(DIM, "EVENTS"));
        for event in &d.events {
            let _ = writeln!(out, "  {}", super::history::event_line(event, false));
        }
    }
    if let Some((at, why)) = d.last_run.as_ref().and_then(|r| r.next.as_ref()) {
        let _ = writeln!(out, "\n  next run {}: {why}", super::explain::when(*at, now));
    }
    out
}

fn host(h: &berth_model::record::HostStatus, now: Time) -> Vec<String> {
    let records: Vec<_> = h.records.iter().map(|r| format!("{r:?}")).collect();
    let verified =
        h.verified_at.map_or_else(|| "not yet".to_owned(), |at| format!("{} ago", out::age(at, now)));
    vec![format!("  {}", h.host), h.zone.to_string(), records.join(", "), verified]
}

fn app(a: &berth_model::record::AppStatus) -> Vec<String> {
    let runs = match (a.hash, a.live) {
        (Some(wanted), Some(live)) if wanted == live => "what is wanted",
        (_, Some(_)) => "another version",
        (_, None) => "not seen yet",
    };
    vec![
        format!("  {}", a.name),
        a.image.clone(),
        runs.to_owned(),
        a.service.as_ref().map(ToString::to_string).unwrap_or_default(),
        a.id.as_ref().map(ToString::to_string).unwrap_or_default(),
    ]
}
