//! Passes over unchanged stacks. A pass must be cheap and still notice what others change.

use super::{Report, converged, number};
use crate::daemon::Daemon;
use crate::stage::{Times, name};
use anyhow::{Result, ensure};
use serde_json::json;
use std::time::{Duration, Instant};

/// Changes by hand, and the write that must follow.
const CHANGES: [(&str, &[&str]); 5] = [
    ("application", &["application.create"]),
    ("mark", &["application.update"]),
    ("domain", &["domain.create"]),
    ("image", &["application.deploy"]),
    ("replicas", &["application.deploy", "application.update"]),
];

const RESYNC: Duration = Duration::from_secs(2);
/// Passes that are counted.
const COUNTED: f64 = 3.0;

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let mut stage = converged(stacks).await?;
    stage.settings(Times { resync: "2s", audit: "100000h" }, false)?;
    let daemon = Daemon::start(&stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    let begin = daemon.metric("berth_pass_seconds_count", &[]).await?;
    daemon.passes(begin + 1.0).await?;
    let seconds = daemon.metric("berth_pass_seconds_sum", &[]).await?;
    stage.clear().await?;
    daemon.passes(begin + 1.0 + COUNTED).await?;
    let counts = stage.counts().await?;
    let seconds = daemon.metric("berth_pass_seconds_sum", &[]).await? - seconds;
    let (now, most) = daemon.memory()?;

    let mut report = Report::new("steady", stacks);
    report.at_most("calls", number(&counts["requests"]) / COUNTED, 4.0);
    report.at_most("seconds", seconds / COUNTED, 1.0);
    report.at_most("rss_mib", now, 40.0);
    report.set("rss_peak_mib", most);
    report.at_most("answers_mib", number(&counts["bytes"]) / COUNTED / (1024.0 * 1024.0), 1.0);
    report.at_most("writes", number(&counts["writes"]), 0.0);
    report.set("by", counts["by"].clone());

    for (n, (what, writes)) in CHANGES.into_iter().enumerate() {
        stage.clear().await?;
        let app = name(n + 1);
        let done = stage.order(json!({"op": "mutate", "what": what, "app": app})).await?;
        ensure!(done["done"] == true, "{what} of {app} could not be changed");
        let began = Instant::now();
        let noticed = loop {
            let by = stage.counts().await?["by"].clone();
            if writes.iter().any(|w| by.get(*w).is_some()) {
                break true;
            }
            if began.elapsed() > RESYNC + Duration::from_secs(2) {
                eprintln!("{what}: only {by}");
                break false;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        report.must(&format!("notices_{what}"), noticed);
        daemon.idle().await?;
    }
    Ok(report)
}
