//! Crash everywhere: the daemon is killed at every outside call of every kind of change, on each side of the call,
//! and started again with its store, without it, and with yesterday's. The end is the same each time: one of each
//! object, nothing left over.
//!
//! A failure prints what replays it: `BERTH_CRASH="update 17 Applied Lost" cargo test --test crash_everywhere`.

use berth_sim::Fault;
use berth_store::Memory;
use berth_tests::{Change, Crash, Moment, Reference, Rig, START, settle};
use serde_json::Value;
use std::time::Duration;

/// What becomes of the store in the crash.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Store,
    Lost,
    Yesterday,
}

/// One world with crashes, to its end.
async fn crashed(change: &Change, crashes: &[Crash], kept: Kept, want: &Value) -> Result<(), String> {
    let (mut rig, yesterday) = change.begin().await;
    for (n, crash) in crashes.iter().enumerate() {
        rig.run_until(Duration::from_secs(3600), Some(*crash), |e, _| e.at_rest()).await;
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

async fn everywhere(name: &str) {
    let change = Change::named(name);
    let Reference { world: want, calls, .. } = change.reference().await;
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
    let change = Change::named("create");
    let Reference { world: want, calls, .. } = change.reference().await;
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
    let change = Change::named("create");
    let Reference { world: want, calls, .. } = change.reference().await;
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
            let (mut rig, _) = change.begin().await;
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
    let change = Change::named("create");
    let (mut rig, _) = change.begin().await;
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
