//! `berth events` and `berth history`: what happened, and what can be gone back to.

use crate::args::{Events, History};
use crate::out::{self, BAD, BOLD, DIM, paint};
use anyhow::{Result, bail};
use berth_model::Time;
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_model::record::{Record, Run};
use berth_ports::{Answer, Query, Store};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How often the state file is asked while following.
const POLL: Duration = Duration::from_millis(500);

/// One event in one line.
#[must_use]
pub fn event_line(event: &Event, with_key: bool) -> String {
    let sign = if event.warning { paint(BAD, "!") } else { " ".to_owned() };
    let key = if with_key { format!("{:<24} ", event.key.to_string()) } else { String::new() };
    let at = paint(DIM, out::clock(event.at));
    format!("{at} {sign} {key}{:<18} {}", event.reason.as_str(), out::one_line(&event.message))
        .trim_end()
        .to_owned()
}

/// Prints events.
///
/// # Errors
/// The state cannot be read.
pub async fn events(given: Option<&Path>, args: Events) -> Result<ExitCode> {
    let (_, store) = super::state(given).await?;
    let key = match &args.name {
        Some(name) => {
            let snapshot = store.snapshot().await?;
            Some(super::key(name, &|k| super::knows(&snapshot, k))?)
        }
        None => None,
    };
    let mut after = 0;
    let mut limit = args.last;
    loop {
        let Answer::Events(events) = store.query(Query::Events { after, key: key.clone(), limit }).await?
        else {
            bail!("the state file answered something else; this is a defect")
        };
        for event in &events {
            out::item(args.output.output, event, || event_line(event, key.is_none()))?;
            after = after.max(event.id);
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        limit = 10_000;
        tokio::select! {
            () = tokio::time::sleep(POLL) => {}
            () = crate::interrupted() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// A version without its sealed content.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    app: String,
    generation: u64,
    hash: String,
    image: String,
    at: Time,
    role: String,
}

#[derive(Serialize)]
struct Shown {
    versions: Vec<Kept>,
    runs: Vec<Run>,
}

/// Lists versions and runs.
///
/// # Errors
/// The state cannot be read, or nothing has the name.
pub async fn history(given: Option<&Path>, args: History) -> Result<ExitCode> {
    let (_, store) = super::state(given).await?;
    let snapshot = store.snapshot().await?;
    let key = super::known(&args.name, &snapshot)?;
    let record = snapshot.record(&key).cloned().unwrap_or_default();
    let mut versions = Vec::new();
    if let Key::Stack(name) = &key
        && let Answer::Versions(kept) = store.query(Query::Versions { stack: name.clone() }).await?
    {
        versions = kept
            .into_iter()
            .map(|v| Kept {
                role: role(&record, &v),
                app: v.app.to_string(),
                generation: v.generation,
                hash: v.hash.to_string(),
                image: v.image,
                at: v.at,
            })
            .collect();
    }
    let runs = super::explain::runs(&store, &key, args.last).await?;
    let shown = Shown { versions, runs };
    out::data(args.output.output, &shown, || text(&key, &shown))?;
    Ok(ExitCode::SUCCESS)
}

fn role(record: &Record, version: &berth_model::record::Version) -> String {
    let Some(app) = record.apps.get(&version.app) else {
        return String::new();
    };
    let hash = Some(version.hash);
    if app.live == hash {
        "runs".to_owned()
    } else if app.quarantined == hash {
        "given up".to_owned()
    } else {
        String::new()
    }
}

fn text(key: &Key, shown: &Shown) -> String {
    let now = out::now();
    let mut text = format!("{}\n\n", paint(BOLD, key));
    if shown.versions.is_empty() {
        text.push_str("  No version passed its gate yet.\n");
    } else {
        let rows: Vec<Vec<String>> = shown
            .versions
            .iter()
            .map(|v| {
                let ago = format!("{} ago", out::age(v.at, now));
                vec![format!("  {}", v.generation), v.app.clone(), v.image.clone(), ago, v.role.clone()]
            })
            .collect();
        text.push_str(&out::table(&["  GENERATION", "APP", "IMAGE", "PASSED", ""], &rows));
        text.push_str(&format!(
            "  {}\n",
            paint(DIM, format!("berth rollback {} --to GENERATION", key.name()))
        ));
    }
    if !shown.runs.is_empty() {
        let rows: Vec<Vec<String>> = shown
            .runs
            .iter()
            .map(|r| {
                vec![
                    format!("  {}", r.id),
                    out::clock(r.at),
                    r.generation.to_string(),
                    out::one_line(&r.outcome),
                    r.because.join(", "),
                    match r.did.len() {
                        0 => "nothing".to_owned(),
                        1 => "1 change".to_owned(),
                        n => format!("{n} changes"),
                    },
                ]
            })
            .collect();
        text.push('\n');
        text.push_str(&out::table(&["  RUN", "AT", "GENERATION", "OUTCOME", "BECAUSE", "DID"], &rows));
    }
    text
}
