//! `berth explain`: why it ran, what that run saw and did, what is in its way, when it runs next.

use crate::args::Explain;
use crate::live::glance;
use crate::out::{self, BAD, BOLD, DIM, paint};
use anyhow::{Result, bail};
use berth_model::Time;
use berth_model::ids::Key;
use berth_model::record::{Record, Run, StackStatus};
use berth_model::units::show_duration;
use berth_ports::{Answer, Query, Store};
use serde::Serialize;
use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Explained<'a> {
    status: Option<&'a StackStatus>,
    record: Option<&'a Record>,
    runs: &'a [Run],
}

/// The runs of a key, newest first.
///
/// # Errors
/// The state cannot be read.
pub async fn runs(store: &impl Store, key: &Key, limit: u32) -> Result<Vec<Run>> {
    match store.query(Query::Runs { key: key.clone(), limit }).await? {
        Answer::Runs(runs) => Ok(runs),
        _ => bail!("the state file answered something else; this is a defect"),
    }
}

/// Explains.
///
/// # Errors
/// The state cannot be read, or nothing has the name.
pub async fn explain(given: Option<&Path>, args: Explain) -> Result<ExitCode> {
    let (_, store) = super::state(given).await?;
    let snapshot = store.snapshot().await?;
    let key = super::known(&args.name, &snapshot)?;
    let runs = runs(&store, &key, 5).await?;
    let status = snapshot.status(&key);
    let record = snapshot.record(&key);
    let explained = Explained { status, record, runs: &runs };
    out::data(args.output.output, &explained, || text(&key, &explained))?;
    Ok(ExitCode::SUCCESS)
}

/// An instant relative to now.
#[must_use]
pub fn when(at: Time, now: Time) -> String {
    if at <= now {
        return "now".to_owned();
    }
    let span = Duration::from_secs(at.since(now).as_secs().max(1));
    format!("in {}", show_duration(span))
}

fn text(key: &Key, e: &Explained<'_>) -> String {
    let now = out::now();
    let mut out = String::new();
    let seen = glance(e.status);
    let _ = writeln!(out, "{} {}  {}", seen.mark.sign(), paint(BOLD, key), seen.reason);
    if let Some(ready) = e.status.and_then(|s| s.conditions.first()) {
        let _ = writeln!(out, "  since {} ago: {}", out::age(ready.since, now), ready.message);
    }
    let Some(run) = e.runs.first() else {
        let _ = writeln!(out, "\n  It was not run yet, or no run changed anything.");
        return out;
    };
    let mut section = |name: &str, lines: &[String], none: &str| {
        let _ = writeln!(out, "\n  {}", paint(DIM, name));
        if lines.is_empty() {
            let _ = writeln!(out, "    {none}");
        }
        for line in lines {
            let _ = writeln!(out, "    {line}");
        }
    };
    let head =
        format!("WHY IT RAN  run {}, {} ago, generation {}", run.id, out::age(run.at, now), run.generation);
    let lines = |all: &[String]| all.iter().map(|l| out::one_line(l)).collect::<Vec<_>>();
    section(&head, &lines(&run.because), "no reason was noted");
    section("WHAT IT DID", &lines(&run.did), "nothing outside was changed");
    section("WHAT IT LEFT ALONE", &lines(&run.blocked), "nothing");
    let mut came =
        vec![format!("{}, after {}", run.outcome, show_duration(Duration::from_millis(millis(run.took))))];
    if !run.phases.is_empty() {
        came.push(phases(run));
    }
    section("WHAT CAME OF IT", &came, "");
    if let Some(record) = e.record {
        section("WHAT IT REMEMBERS", &remembered(record, now), "nothing out of the ordinary");
    }
    let next = match &run.next {
        Some((at, why)) => vec![format!("{}: {why}", when(*at, now))],
        None => Vec::new(),
    };
    section(
        "WHEN IT RUNS NEXT",
        &next,
        "when its manifest changes, when a pass over the fleet sees it differ, or when asked: berth reconcile",
    );
    if e.runs.len() > 1 {
        let earlier: Vec<String> = e.runs[1..]
            .iter()
            .map(|r| {
                format!(
                    "{:>4} ago  {:<24} {}",
                    out::age(r.at, now),
                    out::one_line(&r.outcome),
                    r.because.join(", ")
                )
            })
            .collect();
        section("EARLIER", &earlier, "");
    }
    out
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// `create 0.3s, deploy 1.2s`.
#[must_use]
pub fn phases(run: &Run) -> String {
    let each = run
        .phases
        .iter()
        .map(|(p, ms)| format!("{} {}", p.as_str(), out::seconds(Duration::from_millis(*ms))));
    each.collect::<Vec<_>>().join(", ")
}

fn remembered(record: &Record, now: Time) -> Vec<String> {
    let mut lines = Vec::new();
    if record.paused {
        lines.push("paused by hand; 'berth resume' ends it".to_owned());
    }
    if let Some(failing) = &record.failing {
        lines.push(format!(
            "failed {} times in a row: {}: {}",
            failing.count,
            failing.reason.as_str(),
            failing.message
        ));
    }
    for (app, known) in &record.apps {
        if let Some(rollout) = &known.rollout {
            let last = if rollout.last.is_empty() { String::new() } else { format!(": {}", rollout.last) };
            lines.push(format!(
                "app {app}: a rollout of {} is in phase {}, attempt {}{last}",
                rollout.hash,
                rollout.phase.as_str(),
                rollout.attempts
            ));
        }
        if let Some((reason, message)) =
            known.quarantine_reason.as_ref().filter(|_| known.quarantined.is_some())
        {
            let reason = paint(BAD, reason.as_str());
            lines.push(format!("app {app}: a version was given up: {reason}: {message}"));
        }
        for (path, fight) in &known.fights {
            let ago = out::age(fight.last, now);
            lines.push(match fight.repairs {
                0 | 1 => format!("app {app}: {path} was changed by someone and put back, {ago} ago"),
                n => format!(
                    "app {app}: {path} was put back {n} times, last {ago} ago; someone keeps changing it"
                ),
            });
        }
    }
    for orphan in &record.tombstones {
        lines.push(format!(
            "service {} was deleted and still runs; end it with: {}",
            orphan.service, orphan.command
        ));
    }
    lines
}
