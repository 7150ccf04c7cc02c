//! The workloads.

pub(crate) mod audit;
pub(crate) mod create;
pub(crate) mod dns_steady;
pub(crate) mod fairness;
pub(crate) mod noop;
pub(crate) mod one_field;
pub(crate) mod row_to_call;
pub(crate) mod startup;
pub(crate) mod steady;

use crate::daemon;
use crate::stage::{LATENCY_MS, Stage, Times};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What a workload came to.
pub(crate) struct Report {
    fields: Map<String, Value>,
    goal: Map<String, Value>,
    ok: bool,
}

impl Report {
    pub(crate) fn new(name: &str, stacks: usize) -> Self {
        let mut report = Self { fields: Map::new(), goal: Map::new(), ok: true };
        report.set("name", name);
        report.set("stacks", stacks);
        report
    }

    /// What was counted.
    pub(crate) fn set(&mut self, name: &str, value: impl Into<Value>) {
        self.fields.insert(name.to_owned(), tidy(value.into()));
    }

    /// What was counted, and the most that it may be.
    pub(crate) fn at_most(&mut self, name: &str, value: f64, most: f64) {
        self.set(name, value);
        self.goal.insert(name.to_owned(), tidy(most.into()));
        self.ok &= value <= most;
    }

    /// What must be so.
    pub(crate) fn must(&mut self, name: &str, holds: bool) {
        self.set(name, holds);
        self.goal.insert(name.to_owned(), true.into());
        self.ok &= holds;
    }

    pub(crate) fn ok(&self) -> bool {
        self.ok
    }

    pub(crate) fn line(&self) -> String {
        let mut all = self.fields.clone();
        all.insert("goal".to_owned(), Value::Object(self.goal.clone()));
        all.insert("ok".to_owned(), self.ok.into());
        Value::Object(all).to_string()
    }
}

/// Three digits after the point are enough, and none where there is nothing.
fn tidy(value: Value) -> Value {
    match value.as_f64() {
        Some(n) if value.is_f64() => {
            let n = (n * 1_000.0).round() / 1_000.0;
            if n.fract() == 0.0 && n.abs() < 1e15 { json!(n as i64) } else { json!(n) }
        }
        _ => value,
    }
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// A stage with this many converged stacks whose daemon was stopped; from here on answers take their time.
pub(crate) async fn converged(stacks: usize) -> Result<Stage> {
    let mut stage = Stage::set().await?;
    stage.latency(0).await?;
    stage.manifests(0..stacks)?;
    stage.settings(Times { resync: "5s", audit: "100000h" }, false)?;
    let took = daemon::converge(&stage, Duration::from_secs(1_800)).await?;
    eprintln!("{stacks} stacks were made in {:.1} s", took.as_secs_f64());
    stage.latency(LATENCY_MS).await?;
    Ok(stage)
}
