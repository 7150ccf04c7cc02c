//! Stacks that change all the time, and an account that hangs: neither keeps others waiting.

use super::{Report, converged};
use crate::daemon::Daemon;
use crate::stage::{LATENCY_MS, Times, name, project, stack};
use anyhow::Result;
use serde_json::json;
use std::time::{Duration, Instant};

const HOT: usize = 40;
const COLD: usize = 100;

pub(crate) async fn run() -> Result<Report> {
    let mut stage = converged(HOT + COLD).await?;
    stage.settings(Times::QUIET, true)?;
    stage.put("second.yaml", &project("second", "other"))?;
    let daemon = Daemon::start(&stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    let lane = ["lane=\"change\""];
    let waited = async |d: &Daemon| -> Result<(f64, f64)> {
        let all = d.metric("workqueue_queue_duration_seconds_count", &lane).await?;
        let soon = ["lane=\"change\"", "le=\"1\""];
        Ok((all, d.metric("workqueue_queue_duration_seconds_bucket", &soon).await?))
    };
    let before = waited(&daemon).await?;
    let mut edition = 100;
    let began = Instant::now();
    let mut cold_changed = false;
    while began.elapsed() < Duration::from_secs(8) {
        edition += 1;
        for n in 0..HOT {
            stage.put(&format!("{}.yaml", name(n)), &stack(n, "main", "bench", edition))?;
        }
        if !cold_changed && began.elapsed() > Duration::from_secs(3) {
            // All of the others at once, in the middle of the storm.
            cold_changed = true;
            for n in HOT..HOT + COLD {
                stage.put(&format!("{}.yaml", name(n)), &stack(n, "main", "bench", 1))?;
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // By then everything that was woken has started, so that no wait is missing from the count.
    daemon.idle().await?;
    let after = waited(&daemon).await?;
    let (all, soon) = (after.0 - before.0, after.1 - before.1);
    let mut report = Report::new("fairness", HOT + COLD);
    report.set("runs", all);
    report.must("all_ran", all >= (HOT + COLD) as f64);
    report.at_most("runs_late", all - soon, 0.0);

    // An account that never answers again, with changes for it; then a change for the one that does.
    stage.order(json!({"op": "hang-second"})).await?;
    for n in 5_000..5_040 {
        stage.put(&format!("{}.yaml", name(n)), &stack(n, "other", "second", 0))?;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let saved = stage.clear().await?;
    stage.put(&format!("{}.yaml", name(HOT + 1)), &stack(HOT + 1, "main", "bench", 2))?;
    let began = Instant::now();
    let mut seconds = f64::INFINITY;
    while began.elapsed() < Duration::from_secs(10) {
        let calls = stage.order(json!({"op": "calls"})).await?;
        let deploy = calls.as_array().and_then(|c| c.iter().find(|c| c[1] == "application.deploy"));
        if let Some(at) = deploy.and_then(|c| c[0].as_f64()) {
            seconds = (at - saved) / 1_000.0;
            break;
        }
        tokio::time::sleep(Duration::from_millis(LATENCY_MS)).await;
    }
    report.at_most("seconds_beside_a_hanging_account", seconds.min(1e6), 1.0);
    Ok(report)
}
