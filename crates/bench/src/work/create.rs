//! Stacks with a domain and a volume come to be; builds take no time.

use super::{Report, number};
use crate::daemon::Daemon;
use crate::stage::{LATENCY_MS, Stage, Times, project};
use anyhow::Result;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Calls in flight, and domain writes among them, as `berth.yaml` has them when it says nothing.
const IN_FLIGHT: f64 = 4.0;
const DOMAIN_WRITES: f64 = 2.0;

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let mut stage = Stage::set().await?;
    stage.settings(Times { resync: "1000h", audit: "100000h" }, false)?;
    stage.latency(LATENCY_MS).await?;
    stage.put("project.yaml", &project("bench", "main"))?;
    let daemon = Daemon::start(&stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    let latency = stage.answer_seconds().await?;
    stage.clear().await?;
    // All at once, as a checkout does.
    let began = Instant::now();
    stage.manifests(0..stacks)?;
    daemon
        .until(Duration::from_secs(300), "all Ready", async |d| {
            // The list of all stacks costs the daemon more than many of its own turns.
            tokio::time::sleep(Duration::from_millis(40)).await;
            let (_, text) = d.get("/api/v1/stacks").await?;
            Ok(ready(&text) >= stacks)
        })
        .await?;
    let seconds = began.elapsed().as_secs_f64();
    let counts = stage.counts().await?;
    let (memory, _) = daemon.memory()?;
    let requests = number(&counts["requests"]);
    let domains = counts["by"]["domain.create"].as_f64().unwrap_or(0.0);
    let bound = (requests * latency / IN_FLIGHT).max(domains * latency / DOMAIN_WRITES);
    let mut report = Report::new("create", stacks);
    report.set("calls", counts["items"].clone());
    report.set("requests", requests);
    report.at_most("writes_per_stack", number(&counts["writes"]) / stacks as f64, 5.0);
    report.at_most("reads", number(&counts["reads"]), 150.0);
    report.at_most("deploys", number(&counts["deploys"]), stacks as f64);
    report.set("answer_ms", latency * 1_000.0);
    report.set("bound_seconds", bound);
    report.at_most("seconds", seconds, bound * 1.2);
    report.set("rss_mib", memory);
    report.set("by", counts["by"].clone());
    Ok(report)
}

/// How many stacks of the list are Ready.
fn ready(text: &str) -> usize {
    let Ok(list) = serde_json::from_str::<Value>(text) else {
        return 0;
    };
    let is_ready = |row: &&Value| {
        let conditions = row["conditions"].as_array();
        row["key"]["kind"] == "stack"
            && conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
    };
    list["items"].as_array().map_or(0, |rows| rows.iter().filter(is_ready).count())
}
