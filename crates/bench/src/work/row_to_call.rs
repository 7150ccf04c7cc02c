//! Rows of a PostgreSQL database: from the commit of a change to the daemon's first call that follows from it, idle and
//! while all stacks are judged again and again, with notifications and without; and what rows cost that do not change.

use super::Report;
use crate::daemon::{self, Daemon};
use crate::stage::{LATENCY_MS, Stage, Times, name};
use anyhow::{Context, Result, ensure};
use berth_servers::{Postgres, Session};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// Changes that are measured, each way.
const EDITS: usize = 100;
/// Those of which no notification tells.
const UNTOLD: usize = 10;
/// Those that come while a connection breaks.
const BROKEN: usize = 30;
/// How long idle rows are watched.
const IDLE: Duration = Duration::from_secs(20);

/// A durable server, as one is set up; it tells when transactions were committed, and counts statements.
const SETTINGS: [&str; 4] = [
    "fsync=on",
    "track_commit_timestamp=on",
    "shared_preload_libraries=pg_stat_statements",
    "pg_stat_statements.track=top",
];

/// The project, and this many stacks in it.
fn rows(stacks: usize) -> String {
    format!(
        "insert into berth.projects (name, spec) values ('bench', '{{\"dokploy\": \"main\", \"create\": true}}'); \
         insert into berth.stacks (name, spec) select s, jsonb_build_object( \
             'target', jsonb_build_object('dokploy', 'main', 'project', 'bench'), \
             'apps', jsonb_build_object('web', jsonb_build_object( \
                 'image', 'registry.sim/app:1', 'port', 3000, 'replicas', 1, 'host', s || '.bench.test', \
                 'volumes', jsonb_build_object(s || '-data', '/data'), \
                 'env', jsonb_build_object('EDITION', '0', 'MODE', 'production')))) \
         from (select 's' || lpad(n::text, 5, '0') as s from generate_series(0, {stacks} - 1) n) names;"
    )
}

/// The database, the way to it, and what is played on.
struct Play {
    stage: Stage,
    db: Session,
    /// Changes so far.
    edits: usize,
    stacks: usize,
}

impl Play {
    fn sql(&mut self, text: &str) -> Result<String> {
        self.db.run(text).context("the database does not answer")
    }

    fn number(&mut self, text: &str) -> Result<f64> {
        let said = self.sql(text)?;
        said.trim().parse().with_context(|| format!("{text}: {said:?}"))
    }

    /// Changes one row, with statements around it; answers how many milliseconds after its commit the first call came
    /// that is none of `others`.
    async fn edit(&mut self, before: &str, after: &str, others: &BTreeSet<String>) -> Result<f64> {
        self.edits += 1;
        // Far from the last one, and none twice.
        let stack = name(self.edits * 7_919 % self.stacks);
        let began = self.stage.clear_at().await?;
        let at = self.number(&format!(
            "begin; {before} update berth.stacks set spec = jsonb_set(spec, '{{apps,web,env,EDITION}}', '\"{}\"') \
             where name = '{stack}'; {after} commit; \
             select extract(epoch from pg_xact_commit_timestamp(xmin)) * 1000 from berth.manifests \
             where key = 'stack/{stack}';",
            self.edits
        ))?;
        let told = Instant::now();
        loop {
            let calls = self.stage.order(json!({"op": "calls"})).await?;
            let calls = calls.as_array().cloned().unwrap_or_default();
            let ours = |c: &&serde_json::Value| c[1].as_str().is_some_and(|p| !others.contains(p));
            if let Some(call) = calls.iter().find(ours) {
                let called = call[0].as_f64().context("a call without a time")?;
                return Ok(called + began - at);
            }
            ensure!(told.elapsed() < Duration::from_secs(20), "the change of {stack} leads to no call");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What passes call.
    async fn passes(&mut self, daemon: &Daemon) -> Result<BTreeSet<String>> {
        self.stage.clear().await?;
        let done = daemon.metric("berth_pass_seconds_count", &[]).await?;
        daemon.passes(done + 2.0).await?;
        let by = self.stage.counts().await?["by"].clone();
        Ok(by.as_object().into_iter().flatten().map(|(procedure, _)| procedure.clone()).collect())
    }
}

fn part(sorted: &[f64], share: f64) -> f64 {
    let at = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(at.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or(f64::NAN)
}

pub(crate) async fn run(stacks: usize) -> Result<Report> {
    let server = Postgres::start_with(&SETTINGS);
    let url = server.database();
    let mut stage = Stage::set().await?;
    stage.latency(0).await?;
    stage.settings_for_rows(Times { resync: "5s", audit: "100000h" }, &url)?;
    // It brings the schema.
    let daemon = Daemon::start(&stage).await?;
    daemon
        .until(Duration::from_secs(60), "a lead", async |d| Ok(d.metric("berth_leader", &[]).await? == 1.0))
        .await?;
    daemon.end().await?;
    let mut play = Play { stage, db: server.session(&url), edits: 0, stacks };
    play.sql("create extension pg_stat_statements;")?;
    let began = Instant::now();
    play.sql(&rows(stacks))?;
    let burst = began.elapsed();
    let took = daemon::converge(&play.stage, Duration::from_secs(3_600)).await?;
    eprintln!("{stacks} stacks were made in {:.1} s", took.as_secs_f64());
    play.stage.latency(LATENCY_MS).await?;
    play.sql("vacuum analyze;")?;
    let mut report = Report::new("row-to-call", stacks);
    report.set("burst_seconds", burst.as_secs_f64());
    report.set("made_seconds", took.as_secs_f64());

    play.stage.settings_for_rows(Times::QUIET, &url)?;
    let daemon = Daemon::start(&play.stage).await?;
    daemon.passes(1.0).await?;
    daemon.idle().await?;
    idle(&mut play, &mut report).await?;
    let mut trips = Vec::new();
    let mut took = Vec::new();
    for _ in 0..EDITS {
        let began = Instant::now();
        play.sql("select 1;")?;
        trips.push(began.elapsed().as_secs_f64() * 1_000.0);
        took.push(play.edit("", "", &BTreeSet::new()).await?);
        daemon.idle().await?;
    }
    took.sort_by(f64::total_cmp);
    trips.sort_by(f64::total_cmp);
    report.set("round_trip_ms", part(&trips, 0.5));
    report.at_most("p50_ms", part(&took, 0.5), 10.0);
    report.at_most("p99_ms", part(&took, 0.99), 50.0);

    let mut took = Vec::new();
    for _ in 0..UNTOLD {
        let set = |does: &str| format!("alter table berth.manifests {does} trigger after_update;");
        took.push(play.edit(&set("disable"), &set("enable"), &BTreeSet::new()).await?);
        daemon.idle().await?;
    }
    took.sort_by(f64::total_cmp);
    report.at_most("untold_ms", part(&took, 1.0), 5_000.0);
    daemon.end().await?;

    busy(&mut play, &url, &mut report).await?;
    Ok(report)
}

/// Rows that do not change.
async fn idle(play: &mut Play, report: &mut Report) -> Result<()> {
    // By the tables' own counts, and not by what this asks itself.
    const WRITES: &str = "select sum(n_tup_ins + n_tup_upd + n_tup_del) from pg_stat_user_tables \
                          where schemaname = 'berth' and relname <> 'lease';";
    const CALLS: &str = "select coalesce(sum(calls), 0) from pg_stat_statements \
                         where query not like '%pg_stat%' and query not like '%pg_sleep%';";
    play.sql("select pg_stat_statements_reset();")?;
    // Counts are told late.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (writes, calls) = (play.number(WRITES)?, play.number(CALLS)?);
    tokio::time::sleep(IDLE).await;
    let calls = play.number(CALLS)? - calls;
    tokio::time::sleep(Duration::from_secs(2)).await;
    report.at_most("writes", play.number(WRITES)? - writes, 0.0);
    // One more or less, as the seconds fall.
    report.at_most("statements_per_second", (calls - 1.0) / IDLE.as_secs_f64(), 1.0);
    Ok(())
}

/// Changes while all stacks are judged anew every second; and the same while the connection of the lease breaks again and
/// again, with which notifications may be lost.
async fn busy(play: &mut Play, url: &str, report: &mut Report) -> Result<()> {
    play.stage.settings_for_rows(Times { resync: "1s", audit: "100000h" }, url)?;
    let daemon = Daemon::start(&play.stage).await?;
    daemon.passes(2.0).await?;
    daemon.idle_runs().await?;
    let others = play.passes(&daemon).await?;
    let took = edits(play, &daemon, &others, EDITS, false).await?;
    report.set("busy_p50_ms", part(&took, 0.5));
    report.at_most("busy_p99_ms", part(&took, 0.99), 100.0);
    let took = edits(play, &daemon, &others, BROKEN, true).await?;
    report.set("broken_p50_ms", part(&took, 0.5));
    report.at_most("broken_ms", part(&took, 1.0), 5_000.0);
    report.set("passes", daemon.metric("berth_pass_seconds_count", &[]).await?);
    daemon.end().await
}

/// So many changes, each at another moment of a pass; how long each took, sorted.
async fn edits(
    play: &mut Play,
    daemon: &Daemon,
    others: &BTreeSet<String>,
    count: usize,
    breaks: bool,
) -> Result<Vec<f64>> {
    let mut took = Vec::new();
    for n in 0..count {
        if breaks {
            play.sql(
                "select count(pg_terminate_backend(pid)) from pg_stat_activity \
                 where application_name = 'berth' and query like '%renew_lease%';",
            )?;
        }
        tokio::time::sleep(Duration::from_millis(n as u64 * 137 % 1_500)).await;
        took.push(play.edit("", "", others).await?);
        daemon.idle_runs().await?;
    }
    took.sort_by(f64::total_cmp);
    Ok(took)
}
