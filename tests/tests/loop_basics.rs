//! The loop on one rig: what a newcomer would try first.

use berth_tests::{Rig, RigOptions, full};

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
    rig.run_until(std::time::Duration::from_secs(600), None, |_, _| false).await;
    assert_eq!(rig.sim.dump(), before);
    let writes: Vec<_> = rig.sim.calls().into_iter().filter(|c| c.mutation).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(rig.store.commits(), commits, "no status write while nothing changes");
}
