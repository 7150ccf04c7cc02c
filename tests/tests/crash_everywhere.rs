//! Crash everywhere: the daemon is killed at every outside call of every kind of change, on each side of the call,
//! and started again with its store, without it, and with yesterday's. The end is the same each time: one of each
//! object, nothing left over.
//!
//! A failure prints what replays it: `BERTH_CRASH="update 17 Applied Lost" cargo test --test crash_everywhere`.

use berth_engine::Engine;
use berth_sim::{Behaviour, Fault};
use berth_store::Memory;
use berth_tests::{Crash, Moment, Rig, RigOptions, START, TestWorld, canon, differences, full, full_with};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

type Files = BTreeMap<String, String>;

/// What becomes of the store in the crash.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Store,
    Lost,
    Yesterday,
}

struct Change {
    name: &'static str,
    from: Files,
    to: Files,
}

fn files(text: Option<String>) -> Files {
    text.map(|t| ("shop.yaml".to_owned(), t)).into_iter().collect()
}

/// A domain more, a port less, other values everywhere.
fn updated() -> String {
    full_with("shop", "registry.sim/shop/api:2", "production", "LEVEL: debug")
        .replace(
            "api.shop.test: {https: none}",
            "api.shop.test: {https: letsencrypt}\n        new.shop.test: {https: none}",
        )
        .replace("ports: {\"18080\": 3000}", "ports: {\"18081\": 3000}")
        .replace("replicas: 2", "replicas: 1")
        .replace(
            "/etc/app.conf: {content: \"level = high\\n\"}",
            "/etc/app.conf: {content: \"level = low\\n\"}",
        )
}

fn change(name: &str) -> Change {
    let (name, from, to) = match name {
        "create" => ("create", None, Some(full("shop"))),
        "update" => ("update", Some(full("shop")), Some(updated())),
        "move" => (
            "move",
            Some(full("shop")),
            Some(full_with("shop", "registry.sim/shop/api:1", "staging", "LEVEL: info")),
        ),
        "rollback" => (
            "rollback",
            Some(full("shop")),
            Some(full_with("shop", "registry.sim/shop/api:bad", "production", "LEVEL: info")),
        ),
        "delete" => ("delete", Some(full("shop")), None),
        other => panic!("no change is called {other}"),
    };
    Change { name, from: files(from), to: files(to) }
}

async fn begin(change: &Change) -> (Rig, Memory) {
    let mut rig = Rig::new(RigOptions::seed(7));
    rig.sim.set_image("registry.sim/shop/api:bad", Behaviour::Crash);
    rig.foreign().await;
    rig.files = change.from.clone();
    rig.converge().await;
    let yesterday = rig.store.fork();
    rig.files = change.to.clone();
    (rig, yesterday)
}

fn rested(engine: &Engine<TestWorld>) -> bool {
    engine.at_rest()
}

/// The end of a change without any crash, and how many calls it took.
async fn reference(change: &Change) -> (Value, u64) {
    let (mut rig, _) = begin(change).await;
    let calls = {
        let (engine, reached) = rig.run_until(Duration::from_secs(3600), None, |e, _| rested(e)).await;
        assert!(reached, "{} without a crash:\n{}", change.name, rig.tell(&engine));
        rig.crashes.calls()
    };
    (canon(&rig.sim.dump()), calls)
}

/// One world with crashes, to its end.
async fn crashed(change: &Change, crashes: &[Crash], kept: Kept, want: &Value) -> Result<(), String> {
    let (mut rig, yesterday) = begin(change).await;
    for (n, crash) in crashes.iter().enumerate() {
        rig.run_until(Duration::from_secs(3600), Some(*crash), |e, _| rested(e)).await;
        if n == 0 {
            match kept {
                Kept::Store => {}
                Kept::Lost => {
                    let now = rig.now();
                    rig.replace_store(Memory::new(now));
                }
                Kept::Yesterday => rig.replace_store(yesterday.fork()),
            }
        }
    }
    let forgotten = change.name == "rollback" && kept == Kept::Lost;
    settle(&mut rig, want, forgotten).await
}

async fn settle(rig: &mut Rig, want: &Value, forgotten: bool) -> Result<(), String> {
    let (engine, reached) = rig.run_until(Duration::from_secs(7200), None, |e, _| rested(e)).await;
    let got = canon(&rig.sim.dump());
    let equal = if forgotten { without_versions(&got) == without_versions(want) } else { got == *want };
    if reached && equal {
        return Ok(());
    }
    let head = if reached { "another end" } else { "not at rest" };
    Err(format!("{head}:\n{}\n{}", differences(want, &got), rig.tell(&engine)))
}

/// A lost store forgets the versions to go back to: which version is left is then open, and nothing else.
fn without_versions(world: &Value) -> Value {
    match world {
        Value::Object(map) => {
            let open =
                ["description", "dockerImage", "labelsSwarm", "spec", "running", "desired", "env", "command"];
            let kept = map.iter().filter(|(name, _)| !open.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), without_versions(value))).collect()
        }
        Value::Array(all) => all.iter().map(without_versions).collect(),
        other => other.clone(),
    }
}

async fn everywhere(name: &str) {
    let change = change(name);
    let (want, calls) = reference(&change).await;
    let only = std::env::var("BERTH_CRASH").ok();
    let mut failures = Vec::new();
    let mut worlds = 0;
    for call in 0..calls {
        for moment in Moment::ALL {
            for kept in [Kept::Store, Kept::Lost, Kept::Yesterday] {
                let id = format!("{name} {call} {moment:?} {kept:?}");
                if only.as_ref().is_some_and(|o| *o != id) {
                    continue;
                }
                worlds += 1;
                if let Err(why) = crashed(&change, &[Crash { call, moment }], kept, &want).await {
                    failures.push(format!("BERTH_CRASH=\"{id}\"\n{why}"));
                    if failures.len() > 3 {
                        break;
                    }
                }
            }
        }
    }
    eprintln!("{name}: {worlds} worlds over {calls} calls");
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

#[tokio::test(start_paused = true)]
async fn pairs_of_crashes_in_a_create() {
    let change = change("create");
    let (want, calls) = reference(&change).await;
    let mut worlds = 0;
    for first in (0..calls).step_by(2) {
        for second in (0..calls).step_by(3) {
            let moment = Moment::ALL[(first as usize + second as usize) % 3];
            let pair = [Crash { call: first, moment: Moment::Applied }, Crash { call: second, moment }];
            worlds += 1;
            if let Err(why) = crashed(&change, &pair, Kept::Store, &want).await {
                panic!("pair {pair:?}: {why}");
            }
        }
    }
    eprintln!("pairs: {worlds} worlds");
}

#[tokio::test(start_paused = true)]
async fn every_lost_answer_and_late_effect_of_a_create() {
    let change = change("create");
    let (want, calls) = reference(&change).await;
    let second = Duration::from_secs(1);
    let faults = [
        Fault::Before,
        Fault::After,
        Fault::Late(second),
        Fault::Late(second * 20),
        Fault::Hang,
        Fault::HangAfter,
        Fault::ErrorAfterCommit,
        Fault::TooMany { retry_after: Some(2) },
        Fault::BadGateway,
        Fault::Unauthorized,
        Fault::ShortList,
        Fault::Restart,
    ];
    let mut failures = Vec::new();
    for call in 1..=calls {
        for fault in &faults {
            let (mut rig, _) = begin(&change).await;
            rig.sim.plan_fault(berth_sim::CallNo::Next(call), fault.clone());
            if let Err(why) = settle(&mut rig, &want, false).await {
                failures.push(format!("call {call} {fault:?}: {why}"));
            }
            if failures.len() > 3 {
                panic!("{}", failures.join("\n\n"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn a_store_lost_at_rest_costs_nothing() {
    let change = change("create");
    let (mut rig, _) = begin(&change).await;
    rig.converge().await;
    let before = rig.sim.dump();
    rig.replace_store(Memory::new(START));
    rig.sim.clear_calls();
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "shop"), "{}", rig.tell(&engine));
    let writes: Vec<_> = rig.sim.calls().into_iter().filter(|c| c.mutation).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(rig.sim.dump(), before);
}
