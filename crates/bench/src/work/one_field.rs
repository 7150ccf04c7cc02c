//! One of many manifests is edited: what happens until its deployment is asked for.

use super::{Report, converged};
use crate::daemon::Daemon;
use crate::stage::{Times, name, stack};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// Edits that are measured; the slowest counts.
const EDITS: usize = 5;

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let mut stage = converged(stacks).await?;
    stage.settings(Times::QUIET, false)?;
    let daemon = Daemon::start(&stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    let (mut most_calls, mut slowest, mut names) = (0, 0f64, Vec::new());
    for edit in 0..EDITS {
        let n = (stacks / 2 + edit) % stacks;
        let text = stack(n, "main", "bench", 7 + edit as u64);
        let saved = stage.clear().await?;
        stage.put(&format!("{}.yaml", name(n)), &text)?;
        let began = Instant::now();
        let (calls, at) = loop {
            let calls = stage.order(json!({"op": "calls"})).await?;
            let calls = calls.as_array().cloned().unwrap_or_default();
            if let Some(at) = calls.iter().position(|c| c[1] == "application.deploy") {
                break (calls, at);
            }
            ensure!(
                began.elapsed() < Duration::from_secs(20),
                "the edit of {} is not deployed: {calls:?}",
                name(n)
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        if at + 1 > most_calls {
            most_calls = at + 1;
            names = calls[..=at].iter().map(|c| c[1].clone()).collect();
        }
        slowest = slowest.max((calls[at][0].as_f64().unwrap_or(f64::NAN) - saved) / 1_000.0);
        daemon.idle().await?;
    }
    let mut report = Report::new("one-field", stacks);
    report.at_most("calls", most_calls as f64, 6.0);
    report.at_most("seconds", slowest, 1.0);
    report.set("deploys", EDITS);
    report.set("which", names);
    Ok(report)
}
