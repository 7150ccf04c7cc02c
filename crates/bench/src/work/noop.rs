//! Processor time of passes that find nothing, all of it counted: sockets, decompression, parsing, judging.

use super::{Report, converged, number};
use crate::daemon::Daemon;
use crate::stage::Times;
use anyhow::Result;
use std::time::Duration;

const PASSES: f64 = 25.0;

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let mut stage = converged(stacks).await?;
    stage.settings(Times::QUIET, false)?;
    let daemon = Daemon::start(&stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    let idle = daemon.cpu_us()?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let idle = (daemon.cpu_us()? - idle) / 10.0;
    daemon.end().await?;

    stage.settings(Times { resync: "1s", audit: "100000h" }, false)?;
    let daemon = Daemon::start(&stage).await?;
    daemon.passes(2.0).await?;
    daemon.idle().await?;
    let count = async |d: &Daemon| d.metric("berth_pass_seconds_count", &[]).await;
    let before = count(&daemon).await?;
    stage.clear().await?;
    let (cpu, began) = (daemon.cpu_us()?, std::time::Instant::now());
    // Asked rarely: the asking costs the daemon time as well.
    tokio::time::sleep(Duration::from_secs_f64(PASSES)).await;
    let cpu = daemon.cpu_us()? - cpu - idle * began.elapsed().as_secs_f64();
    let passes = count(&daemon).await? - before;
    let counts = stage.counts().await?;
    let mut report = Report::new("noop", stacks);
    report.set("passes", passes);
    report.set("calls", counts["requests"].clone());
    report.at_most("writes", number(&counts["writes"]), 0.0);
    report.set("idle_us_per_second", idle);
    report.at_most("cpu_us_per_stack", cpu / passes / stacks as f64, 20.0);
    Ok(report)
}
