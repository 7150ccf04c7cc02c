//! Faults at every commit: each one is refused, done and not answered, lost on its way, late, or the last thing that
//! the daemon sees, in every kind of change. The end is the same each time, and what the daemon has in memory is what
//! the store has.
//!
//! A failure prints what replays it: `BERTH_COMMIT="update 17 Lost" cargo test --test commits_everywhere`.

use berth_model::Time;
use berth_model::record::StackStatus;
use berth_ports::Store;
use berth_tests::{AtCommit, Change, Reference, canon, differences};
use serde_json::Value;
use std::time::Duration;

/// One world whose commits go wrong as planned, to its end.
async fn world(change: &Change, plan: &[(u64, AtCommit)], want: &Value) -> Result<(), String> {
    let (mut rig, _) = change.begin().await;
    rig.crashes.plan_commits(plan.iter().copied());
    let within = Duration::from_secs(7200);
    let (mut engine, mut reached) = rig.run_until(within, None, |e, _| e.at_rest()).await;
    if rig.crashes.is_dead() {
        drop(engine);
        (engine, reached) = rig.run_until(within, None, |e, _| e.at_rest()).await;
    }
    let got = canon(&rig.sim.dump());
    if !reached || got != *want {
        let head = if reached { "another end" } else { "not at rest" };
        return Err(format!("{head}:\n{}\n{}", differences(want, &got), rig.tell(&engine)));
    }
    let kept = rig.store.snapshot().await.map_err(|e| e.to_string())?;
    for key in engine.keys() {
        let (memory, store) = (engine.record(&key), kept.record(&key).cloned());
        if memory != store {
            return Err(format!("the record of {key}: in memory {memory:?}, in the store {store:?}"));
        }
        let timeless = |s: &StackStatus| StackStatus { changed: Time(0), ..s.clone() };
        let (memory, store) = (engine.status_of(&key).map(|s| timeless(&s)), kept.status(&key).map(timeless));
        if memory != store {
            return Err(format!("the status of {key}: in memory {memory:?}, in the store {store:?}"));
        }
    }
    if kept.records.len() != engine.keys().len() {
        return Err(format!("left in the store: {:?}", kept.records));
    }
    if !kept.intents.is_empty() {
        return Err(format!("open for ever: {:?}", kept.intents));
    }
    drop(engine);
    rig.sim.clear_calls();
    let (engine, _) = rig.run_until(Duration::from_secs(95), None, |_, _| false).await;
    let writes: Vec<_> = rig.sim.calls().into_iter().filter(|c| c.mutation).map(|c| c.procedure).collect();
    if writes.is_empty() { Ok(()) } else { Err(format!("not silent: {writes:?}\n{}", rig.tell(&engine))) }
}

async fn everywhere(name: &str) {
    let change = Change::named(name);
    let Reference { world: want, commits, .. } = change.reference().await;
    let only = std::env::var("BERTH_COMMIT").ok();
    let mut failures = Vec::new();
    let mut worlds = 0;
    let single = AtCommit::ALL.map(|fault| (format!("{fault:?}"), vec![fault]));
    // The store is away for a while, and for a while after it took what it did not acknowledge.
    let away = ("Away".to_owned(), vec![AtCommit::Refused; 6]);
    let gone = ("LostThenAway".to_owned(), [vec![AtCommit::Lost], vec![AtCommit::Refused; 3]].concat());
    for at in 0..commits {
        for (word, faults) in single.iter().chain([&away, &gone]) {
            let id = format!("{name} {at} {word}");
            if only.as_ref().is_some_and(|o| *o != id) {
                continue;
            }
            worlds += 1;
            let plan: Vec<_> = (at..).zip(faults.iter().copied()).collect();
            if let Err(why) = world(&change, &plan, &want).await {
                failures.push(format!("BERTH_COMMIT=\"{id}\"\n{why}"));
            }
            assert!(failures.len() < 4, "{}", failures.join("\n\n"));
        }
    }
    eprintln!("{name}: {worlds} worlds over {commits} commits");
    assert!(failures.is_empty(), "{} of {worlds} worlds failed:\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn create() {
    everywhere("create").await;
}

#[tokio::test(start_paused = true)]
async fn update() {
    everywhere("update").await;
}

#[tokio::test(start_paused = true)]
async fn r#move() {
    everywhere("move").await;
}

#[tokio::test(start_paused = true)]
async fn roll_back() {
    everywhere("rollback").await;
}

#[tokio::test(start_paused = true)]
async fn delete() {
    everywhere("delete").await;
}
