//! Random worlds: sequences of specs under random faults, crashes and lost stores. The end depends on the last spec
//! only, is silent for three further passes, and what belongs to others is as it was. In half of the worlds the hosts are
//! in a zone that one of the DNS providers holds, which has faults as well.
//!
//! A failure prints its seed: `BERTH_SEED=17 cargo test --test random_worlds`. `BERTH_LONG=1` walks 10,000 of them.

use berth_model::dns::Policy;
use berth_sim::{Chaos, Fault};
use berth_store::Memory;
use berth_tests::{Crash, Moment, PROVIDERS, RandomStack, Rig, RigOptions, Walk, ZONE, canon, differences};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const SLOTS: usize = 2;

async fn place(rig: &Rig) {
    rig.foreign().await;
    let made = rig.someone("project.create", json!({"name": "shared"})).await;
    let project = &made["project"]["projectId"];
    rig.someone("environment.create", json!({"name": "staging", "projectId": project})).await;
}

fn chaos(seed: u64, walk: &mut Walk) -> Chaos {
    let second = Duration::from_secs(1);
    let total = [0.0, 0.03, 0.1, 0.25][walk.below(4) as usize];
    let mut chaos = Chaos::even(seed, total);
    let rare = total / 20.0;
    chaos.reads.push((rare, Fault::Hang));
    chaos.mutations.push((rare, Fault::HangAfter));
    chaos.mutations.push((rare, Fault::Late(second * 25)));
    chaos.mutations.push((rare, Fault::Restart));
    chaos
}

fn rig(seed: u64) -> Rig {
    let dns = (seed % 2 == 1).then(|| PROVIDERS[(seed / 2 % 5) as usize]);
    let mut options = RigOptions { dns, ..RigOptions::seed(seed) };
    // Hosts come and go with the manifests.
    options.zone.rules.policy = Policy::Sync;
    let mut rig = Rig::new(options);
    rig.confirms = true;
    rig
}

fn records(rig: &Rig) -> BTreeSet<String> {
    rig.dns.iter().flat_map(|dns| dns.records()).collect()
}

/// The end of a world that knew the last spec only.
async fn only_last(seed: u64, last: &[Option<RandomStack>]) -> (Value, BTreeSet<String>) {
    let mut rig = rig(seed);
    place(&rig).await;
    write(&mut rig, last);
    rig.converge().await;
    (canon(&rig.sim.dump()), records(&rig))
}

fn write(rig: &mut Rig, stacks: &[Option<RandomStack>]) {
    rig.files.clear();
    for (slot, stack) in stacks.iter().enumerate() {
        if let Some(stack) = stack {
            let yaml = stack.yaml().replace(&format!(".slot{slot}.test"), &format!(".slot{slot}.{ZONE}"));
            rig.files.insert(format!("{slot}.yaml"), yaml);
        }
    }
}

async fn world(seed: u64) -> Result<(), String> {
    let mut walk = Walk::new(seed);
    let mut rig = rig(seed);
    place(&rig).await;
    let mut is_forgetful = false;
    let mut stacks: Vec<Option<RandomStack>> = vec![None; SLOTS];
    let steps = 3 + walk.below(6);
    for _ in 0..steps {
        for (slot, stack) in stacks.iter_mut().enumerate() {
            match (stack.as_mut(), walk.below(8)) {
                (None, 0..6) => *stack = Some(RandomStack::new(slot, &mut walk)),
                (Some(_), 0) => *stack = None,
                (Some(s), 1..5) => (0..=walk.below(2)).for_each(|_| s.mutate(&mut walk)),
                _ => {}
            }
        }
        write(&mut rig, &stacks);
        rig.sim.set_chaos(Some(chaos(walk.below(u64::MAX), &mut walk)));
        if let Some(dns) = &rig.dns {
            dns.sim.set_chaos(Some(chaos(walk.below(u64::MAX), &mut walk)));
        }
        let within = Duration::from_millis(200 + walk.below(20) * walk.below(20) * 400);
        let crash = (walk.below(3) == 0)
            .then(|| Crash { call: walk.below(60), moment: Moment::ALL[walk.below(3) as usize] });
        let yesterday = rig.store.fork();
        rig.run_until(within, crash, |_, _| false).await;
        match walk.below(12) {
            0 => {
                is_forgetful = true;
                let now = rig.now();
                rig.replace_store(Memory::new(now));
            }
            1 => {
                is_forgetful = true;
                rig.replace_store(yesterday);
            }
            _ => {}
        }
    }
    rig.sim.set_chaos(None);
    if let Some(dns) = &rig.dns {
        dns.sim.set_chaos(None);
    }
    // What was on its way when the faults ended arrives, what was unanswered settles, and one audit reads every field:
    // an effect that came late over a newer one is found by nothing else.
    rig.run_until(Duration::from_secs(1_100), None, |_, _| false).await;
    let (engine, reached) = rig
        .run_until(Duration::from_secs(4 * 3600), None, |e, _| {
            e.at_rest() && e.statuses().iter().all(berth_model::record::StackStatus::is_ready)
        })
        .await;
    let mut got = canon(&rig.sim.dump());
    // Services that the server made again after their application was gone: no call removes those, and people are told.
    if let Some(services) = got["services"].as_object_mut() {
        let log = rig.log.lock().unwrap();
        let told = |name: &str| {
            let command = format!("docker service rm {}", name.trim_matches('"'));
            log.iter().any(|line| line.contains(&command))
        };
        services.retain(|name, _| !name.strip_prefix("orphan ").is_some_and(told));
    }
    let (mut want, want_records) = only_last(seed, &stacks).await;
    // Volumes are never removed: those of earlier specs stay.
    want["volumes"] = got["volumes"].clone();
    if !reached || got != want {
        let head = if reached { "another end" } else { "not at rest" };
        return Err(format!("{head}:\n{}\n{}", differences(&want, &got), rig.tell(&engine)));
    }
    let got_records = records(&rig);
    // What a lost or older store does not know of is never removed: it stays, with our mark.
    let is_right =
        if is_forgetful { got_records.is_superset(&want_records) } else { got_records == want_records };
    if !is_right {
        let lines = |all: &BTreeSet<String>| all.iter().cloned().collect::<Vec<_>>().join("\n");
        return Err(format!(
            "other records:\n{}\nwanted:\n{}\n{}",
            lines(&got_records),
            lines(&want_records),
            rig.tell(&engine)
        ));
    }
    drop(engine);
    let commits = rig.store.commits();
    rig.log.lock().unwrap().clear();
    rig.sim.clear_calls();
    if let Some(dns) = &rig.dns {
        dns.sim.clear_calls();
    }
    let (engine, _) = rig.run_until(Duration::from_secs(95), None, |_, _| false).await;
    let calls = rig.dns.iter().flat_map(|dns| dns.sim.calls()).chain(rig.sim.calls());
    let writes: Vec<_> = calls.filter(|c| c.mutation).map(|c| c.procedure).collect();
    if !writes.is_empty() || rig.store.commits() != commits {
        return Err(format!(
            "not silent: {writes:?}, {} commits\n{}",
            rig.store.commits() - commits,
            rig.tell(&engine)
        ));
    }
    Ok(())
}

/// The seeds of one share of the walk.
fn seeds(share: u64, of: u64) -> Vec<u64> {
    if let Ok(seed) = std::env::var("BERTH_SEED") {
        return if share == 0 { vec![seed.parse().unwrap()] } else { Vec::new() };
    }
    let count = if std::env::var("BERTH_LONG").is_ok() { 10_000 } else { 500 };
    (0..count).filter(|n| n % of == share).collect()
}

fn walk_all(share: u64, of: u64) {
    let mut failures = Vec::new();
    for seed in seeds(share, of) {
        // A runtime each, so that virtual time begins at zero and a seed alone replays its world.
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        if let Err(why) = runtime.block_on(world(seed)) {
            failures.push(format!("BERTH_SEED={seed}\n{why}"));
            if failures.len() >= 3 {
                break;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn first_quarter() {
    walk_all(0, 4);
}

#[test]
fn second_quarter() {
    walk_all(1, 4);
}

#[test]
fn third_quarter() {
    walk_all(2, 4);
}

#[test]
fn fourth_quarter() {
    walk_all(3, 4);
}
