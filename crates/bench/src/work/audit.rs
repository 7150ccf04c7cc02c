//! Every field of every stack is read, with the live services; then the same against a server without batches.

use super::{Report, converged, number};
use crate::daemon::Daemon;
use crate::stage::Times;
use anyhow::Result;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// One audit of all: what was called, and how long it took.
async fn once(stage: &mut crate::stage::Stage, stacks: usize, batches: bool) -> Result<(Value, f64)> {
    // Due with every pass, and there are no passes but the first, and the one that is waited for.
    stage.settings(Times { resync: "15s", audit: "1s" }, false)?;
    let daemon = Daemon::start(stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    stage.clear().await?;
    let stack = ["controller=\"stack\"", "success"];
    let before = daemon.metric("controller_runtime_reconcile_total", &stack).await?;
    daemon.passes(2.0).await?;
    let began = Instant::now();
    daemon
        .until(Duration::from_secs(240), "every stack's run", async |d| {
            Ok(d.metric("controller_runtime_reconcile_total", &stack).await? - before >= stacks as f64)
        })
        .await?;
    // One by one it takes longer than from one pass to the next: there is no rest then.
    let mut seconds = began.elapsed().as_secs_f64();
    if batches {
        daemon.idle().await?;
        // Rest is known one look after it came.
        seconds = began.elapsed().as_secs_f64() - 0.3;
    }
    let counts = stage.counts().await?;
    let runs = daemon.metric("controller_runtime_reconcile_total", &stack).await? - before;
    let errors = daemon.metric("controller_runtime_reconcile_total", &["result=\"error\""]).await?;
    eprintln!("runs {runs}, errors {errors}, {counts}");
    daemon.end().await?;
    Ok((counts, seconds))
}

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let mut stage = converged(stacks).await?;
    let (counts, seconds) = once(&mut stage, stacks, true).await?;
    let mut report = Report::new("audit", stacks);
    report.set("calls", counts["items"].clone());
    report.at_most("requests", number(&counts["requests"]), 60.0);
    report.at_most("seconds", seconds, 4.0);
    report.at_most("writes", number(&counts["writes"]), 0.0);
    report.must("reads_all", number(&counts["items"]) >= 2.0 * stacks as f64);
    stage.order(json!({"op": "refuse-batches"})).await?;
    let (counts, seconds) = once(&mut stage, stacks, false).await?;
    report.set("single_requests", counts["requests"].clone());
    report.set("single_seconds", seconds);
    report.must("single_reads_all", number(&counts["items"]) >= 2.0 * stacks as f64);
    Ok(report)
}
