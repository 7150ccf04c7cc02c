//! The loop on one rig: what a newcomer would try first.

use berth_tests::{Crash, Moment, Rig, RigOptions, full};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

#[tokio::test(start_paused = true)]
async fn a_full_stack_comes_up_and_is_silent_after() {
    let mut rig = Rig::new(RigOptions::seed(1));
    rig.files.insert("shop.yaml".into(), full("shop"));
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "shop"), "{}", rig.tell(&engine));
    drop(engine);
    let before = rig.sim.dump();
    rig.sim.clear_calls();
    let commits = rig.store.commits();
    rig.run_until(Duration::from_secs(600), None, |_, _| false).await;
    assert_eq!(rig.sim.dump(), before);
    let writes: Vec<_> = rig.sim.calls().into_iter().filter(|c| c.mutation).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(rig.store.commits(), commits, "no status write while nothing changes");
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_first_pass_comes_before_the_manifests_changes_nothing() {
    let mut rig = Rig::new(RigOptions::seed(2));
    rig.files.insert("shop.yaml".into(), full("shop"));
    drop(rig.converge().await);
    rig.sim.clear_calls();
    let commits = rig.store.commits();
    let engine = rig.daemon().await;
    let stop = CancellationToken::new();
    let running = tokio::spawn({
        let (engine, stop) = (engine.clone(), stop.clone());
        async move { engine.run(stop).await }
    });
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert!(engine.unseen().is_empty(), "three passes were made");
    engine.set_wanted(rig.wanted());
    tokio::time::sleep(Duration::from_secs(100)).await;
    stop.cancel();
    running.await.unwrap();
    assert!(engine.at_rest(), "{}", rig.tell(&engine));
    assert_eq!(rig.store.commits(), commits, "no state is published anew: {}", rig.tell(&engine));
    assert!(!rig.sim.calls().iter().any(|c| c.mutation));
}

/// Stacks that each may make the project and the environment that they share.
fn sharing(rig: &mut Rig, stacks: usize) {
    for n in 0..stacks {
        let text = format!(
            "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: s{n}}}\nspec:\n  \
             target: {{dokploy: main, project: together, environment: staging, create: true}}\n  \
             apps: {{app: {{image: \"registry.sim/app:1\"}}}}\n"
        );
        rig.files.insert(format!("s{n}.yaml"), text);
    }
}

fn projects_of_that_name(rig: &Rig) -> (usize, usize) {
    let dump = rig.sim.dump();
    let all = |kind: &str| dump[kind].as_array().cloned().unwrap_or_default();
    let projects = all("projects").into_iter().filter(|p| p["name"] == "together").count();
    (projects, all("environments").into_iter().filter(|e| e["name"] == "staging").count())
}

#[tokio::test(start_paused = true)]
async fn stacks_that_may_make_one_project_make_one() {
    let mut rig = Rig::new(RigOptions::seed(4));
    sharing(&mut rig, 8);
    let engine = rig.converge().await;
    assert!((0..8).all(|n| Rig::ready(&engine, &format!("s{n}"))), "{}", rig.tell(&engine));
    assert_eq!(projects_of_that_name(&rig), (1, 1), "{}", rig.sim.dump());
}

#[tokio::test(start_paused = true)]
async fn however_the_maker_of_a_shared_project_ends_there_is_one() {
    for call in 0..40 {
        for moment in Moment::ALL {
            let mut rig = Rig::new(RigOptions::seed(call));
            sharing(&mut rig, 3);
            let hour = Duration::from_secs(3600);
            let crash = Crash { call, moment };
            drop(rig.run_until(hour, Some(crash), |e, _| e.at_rest()).await);
            // The one whose create is open may be the one that is not wanted any more.
            if call % 2 == 0 {
                rig.files.remove("s0.yaml");
            }
            let engine = rig.converge().await;
            assert_eq!(projects_of_that_name(&rig), (1, 1), "{crash:?}: {}", rig.tell(&engine));
        }
    }
}
