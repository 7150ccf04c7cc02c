//! Records of many hosts, at a provider that takes batches: what passes call while nothing changes, and how many calls
//! bring the records of new hosts of one zone about.

use super::{Report, number};
use crate::daemon::{self, Daemon};
use crate::stage::{Dns, LATENCY_MS, Stage, Times, name, port, project, stack};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::time::Duration;

const ZONES: usize = 5;
/// Passes that are watched.
const PASSES: f64 = 10.0;
/// Records on one page of what is listed, at the provider that has pages.
const PAGE: f64 = 1_000.0;

pub(crate) async fn run(hosts: usize) -> Result<Report> {
    let mut report = Report::new("dns-steady", hosts);
    report.set("hosts", hosts);
    report.set("zones", ZONES);
    let mut all = 0.0;
    for provider in ["cloudflare", "powerdns"] {
        let new = begin(hosts, provider, 1).await?;
        report.at_most(&format!("{provider}_writes"), number(&new.counts["writes"]), 5.0);
        report.set(&format!("{provider}_first_reads"), new.counts["reads"].clone());
        drop(new);
        let mut played = begin(hosts, provider, ZONES).await?;
        played.settings(Times { resync: "1s", audit: "100000h" })?;
        let daemon = Daemon::start(&played.stage).await?;
        daemon.passes(2.0).await?;
        daemon.idle_runs().await?;
        let count = async |d: &Daemon| d.metric("berth_pass_seconds_count", &[]).await;
        played.stage.order(json!({"op": "dns-counts"})).await?;
        let before = count(&daemon).await?;
        tokio::time::sleep(Duration::from_secs_f64(PASSES)).await;
        // A pass may be under way.
        let passes = count(&daemon).await? - before + 1.0;
        let counts = played.stage.order(json!({"op": "dns-counts"})).await?;
        daemon.end().await?;
        let calls = number(&counts["requests"]);
        all += calls;
        report.set(&format!("{provider}_calls"), calls);
        report.set(&format!("{provider}_passes"), passes);
        // Hosts, and what a zone has of its own.
        let pages =
            if provider == "cloudflare" { ((hosts / ZONES) as f64 / PAGE).floor() + 1.0 } else { 1.0 };
        let listings = calls / passes / ZONES as f64 / pages;
        report.at_most(&format!("{provider}_listings_per_pass_and_zone"), listings, 1.0);
        report.at_most(&format!("{provider}_idle_writes"), number(&counts["writes"]), 0.0);
    }
    report.set("calls", all);
    Ok(report)
}

/// A stage whose hosts have their records.
struct Played {
    stage: Stage,
    provider: &'static str,
    port: u16,
    token: String,
    zones: Vec<String>,
    /// What that called.
    counts: Value,
}

impl Played {
    fn settings(&self, times: Times) -> Result<()> {
        let dns = Dns { provider: self.provider, port: self.port, token: &self.token, zones: &self.zones };
        self.stage.settings_with_dns(times, &dns)
    }
}

/// This many stacks with a host each, in so many zones, made at once.
async fn begin(hosts: usize, provider: &'static str, zones: usize) -> Result<Played> {
    let mut stage = Stage::set().await?;
    let zones: Vec<_> = (0..zones).map(|n| format!("z{n}.test")).collect();
    let order = json!({"op": "dns", "provider": provider, "zones": zones, "ms": LATENCY_MS});
    let told = stage.order(order).await?;
    let token = told["token"].as_str().context("no token")?.to_owned();
    let mut played =
        Played { stage, provider, port: port(&told, "port")?, token, zones, counts: Value::Null };
    played.settings(Times::QUIET)?;
    played.stage.put("project.yaml", &project("bench", "main"))?;
    for n in 0..hosts {
        let zone = &played.zones[n % played.zones.len()];
        let text = stack(n, "main", "bench", 0).replace("bench.test", zone);
        played.stage.put(&format!("{}.yaml", name(n)), &text)?;
    }
    let took = daemon::converge(&played.stage, Duration::from_secs(900)).await?;
    eprintln!(
        "{hosts} stacks in {} zones at {provider} were made in {:.1} s",
        played.zones.len(),
        took.as_secs_f64()
    );
    played.counts = played.stage.order(json!({"op": "dns-counts"})).await?;
    Ok(played)
}
