//! The loop on one rig: what a newcomer would try first.

use berth_tests::{Rig, RigOptions, full};
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
