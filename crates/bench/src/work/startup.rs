//! A start with a kept store, and what a stack costs in memory.

use super::{Report, converged, number};
use crate::daemon::Daemon;
use crate::stage::Times;
use anyhow::Result;
use std::time::Duration;

/// One start: seconds until all were judged, seconds that the reads took, and memory.
async fn start(stacks: usize) -> Result<(f64, f64, f64, serde_json::Value)> {
    let mut stage = converged(stacks).await?;
    stage.settings(Times::QUIET, false)?;
    stage.clear().await?;
    let daemon = Daemon::start(&stage).await?;
    let runs = stacks as f64;
    let took = daemon
        .until(Duration::from_secs(120), "all judged", async |d| {
            let done =
                d.metric("controller_runtime_reconcile_total", &["controller=\"stack\"", "success"]).await?;
            Ok(done >= runs && d.metric("berth_pass_seconds_count", &[]).await? >= 1.0)
        })
        .await?;
    let reads = daemon.metric("berth_pass_seconds_sum", &[]).await?;
    let counts = stage.counts().await?;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (memory, _) = daemon.memory()?;
    Ok((took.as_secs_f64(), reads, memory, counts))
}

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let few = (stacks / 10).max(1);
    let (_, _, small, _) = start(few).await?;
    let (took, reads, large, counts) = start(stacks).await?;
    let mut report = Report::new("startup", stacks);
    report.set("calls", counts["items"].clone());
    report.set("requests", counts["requests"].clone());
    report.at_most("writes", number(&counts["writes"]), 0.0);
    report.set("seconds", took);
    report.set("first_pass_seconds", reads);
    report.at_most("seconds_beyond_reads", took - reads, 2.0);
    report.set("rss_mib", large);
    report.at_most("kib_per_stack", (large - small) * 1024.0 / (stacks - few).max(1) as f64, 8.0);
    Ok(report)
}
