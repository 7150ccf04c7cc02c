//! `berth wait`: a pipeline's step. It reads the state file and prints what moves; it changes nothing.

use crate::args::{Wait, WaitFor};
use crate::live::{self, Glance, Mark, glance};
use crate::out;
use anyhow::Result;
use berth_model::condition::{ConditionType, Status};
use berth_model::ids::Key;
use berth_model::record::StackStatus;
use berth_ports::{Snapshot, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::time::Instant;

/// How often the state file is asked.
const POLL: Duration = Duration::from_millis(250);

/// Waits.
///
/// # Errors
/// The state cannot be read.
pub async fn wait(given: Option<&Path>, args: Wait) -> Result<ExitCode> {
    let began = Instant::now();
    let deadline = began + args.timeout;
    let mut said: BTreeMap<Key, Glance> = BTreeMap::new();
    loop {
        // A pipeline may be here before the daemon has made the file.
        let (_, store) = super::to_read(given).await?;
        let snapshot = match &store {
            Some(store) => store.snapshot().await?,
            None => Snapshot::default(),
        };
        let keys = args
            .names
            .iter()
            .map(|n| super::key(n, &|k| super::knows(&snapshot, k)))
            .collect::<Result<Vec<_>>>()?;
        let mut missing = Vec::new();
        for key in keys {
            let status = snapshot.status(&key);
            let seen = glance(status);
            let same = said
                .get(&key)
                .is_some_and(|s| (s.mark, s.phase, s.reason) == (seen.mark, seen.phase, seen.reason));
            if !same {
                let what = seen.phase.map_or_else(|| seen.reason.to_owned(), live::phase);
                let at = out::seconds(began.elapsed());
                let line = format!(
                    "{at:>6}  {} {:<22} {what:<14} {}",
                    seen.mark.sign(),
                    live::name(&key),
                    seen.message
                );
                anstream::eprintln!("{}", line.trim_end());
            }
            said.insert(key.clone(), seen);
            if !holds(&args, &snapshot, &key, status) {
                missing.push((key, status.cloned()));
            }
        }
        if missing.is_empty() {
            return Ok(ExitCode::SUCCESS);
        }
        let hopeless = missing.iter().find(|(_, s)| is_hopeless(&args, s.as_ref()));
        if hopeless.is_some() || Instant::now() >= deadline {
            let why = if hopeless.is_some() {
                "it needs a person".to_owned()
            } else {
                format!("timed out after {}", out::seconds(args.timeout))
            };
            anstream::eprintln!("{} {why}; not {}:", Mark::Bad.sign(), word(args.state));
            for (key, status) in missing {
                let seen = glance(status.as_ref());
                anstream::eprintln!(
                    "  {} {}: {}: {}",
                    seen.mark.sign(),
                    live::name(&key),
                    seen.reason,
                    seen.message
                );
            }
            return Ok(ExitCode::FAILURE);
        }
        tokio::time::sleep(POLL.min(deadline.saturating_duration_since(Instant::now()))).await;
    }
}

fn word(state: WaitFor) -> &'static str {
    match state {
        WaitFor::Ready => "ready",
        WaitFor::Deployed => "deployed",
        WaitFor::Healthy => "healthy",
        WaitFor::Gone => "gone",
    }
}

fn holds(args: &Wait, snapshot: &Snapshot, key: &Key, status: Option<&StackStatus>) -> bool {
    let kind = match args.state {
        WaitFor::Gone => return !super::knows(snapshot, key),
        WaitFor::Ready => ConditionType::Ready,
        WaitFor::Deployed => ConditionType::Deployed,
        WaitFor::Healthy => ConditionType::Healthy,
    };
    status.is_some_and(|s| {
        // Judged of an older manifest, it says nothing of this one.
        let judged = s.observed_generation == s.generation
            && args.generation.is_none_or(|g| s.observed_generation >= g);
        judged && s.condition(kind).is_some_and(|c| c.status == Status::True)
    })
}

/// Nothing will move by itself. Only where the generation was named is that certain to be about what was asked.
fn is_hopeless(args: &Wait, status: Option<&StackStatus>) -> bool {
    let (Some(wanted), Some(status)) = (args.generation, status) else {
        return false;
    };
    args.state != WaitFor::Gone
        && status.observed_generation >= wanted
        && status.condition(ConditionType::Stalled).is_some()
}
