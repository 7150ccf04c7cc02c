//! The gate, drift, guards and hands on the wheel: one story each, on virtual time.

use berth_engine::Engine;
use berth_model::condition::{ConditionType, Reason, Status};
use berth_model::event::Request;
use berth_model::ids::{Key, StackName};
use berth_ports::{Change, Store};
use berth_sim::{Behaviour, Sim};
use berth_tests::{Rig, RigOptions, TestWorld};
use serde_json::json;

use std::sync::atomic::Ordering;
use std::time::Duration;

fn one(image: &str, more: &str) -> String {
    format!(
        "
apiVersion: berth.dev/v1
kind: Stack
metadata: {{name: one}}
spec:
  target: {{dokploy: main, project: shared, environment: production, create: true}}
  {more}
  apps:
    app:
      image: {image}
      port: 3000
      hosts: {{one.test: {{https: none}}}}
      env: {{LEVEL: info}}
      health: {{http: /up, every: 1s, within: 20s}}
"
    )
}

fn key() -> Key {
    Key::Stack(StackName::new("one").unwrap())
}

/// What a condition says: status, reason, message.
fn says(engine: &Engine<TestWorld>, kind: ConditionType) -> Option<(Status, Reason, String)> {
    let status = engine.status_of(&key())?;
    status.condition(kind).map(|c| (c.status, c.reason, c.message.clone()))
}

fn image_that_runs(sim: &Sim) -> String {
    sim.with(|w| w.swarm.services.values().next().map(|s| s.spec.image.clone()).unwrap_or_default())
}

/// Files of so many stacks, each with a name and a host of its own.
fn fleet(rig: &mut Rig, count: usize, image: &str) {
    for n in 0..count {
        let text = one(image, "")
            .replace("name: one", &format!("name: s{n}"))
            .replace("one.test", &format!("s{n}.test"));
        rig.files.insert(format!("{n}.yaml"), text);
    }
}

async fn up(image: &str) -> Rig {
    let mut rig = Rig::new(RigOptions::seed(11));
    rig.files.insert("one.yaml".into(), one(image, ""));
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
    rig
}

fn deploys(rig: &Rig) -> usize {
    rig.sim.calls().iter().filter(|c| c.procedure == "application.deploy").count()
}

#[tokio::test(start_paused = true)]
async fn a_version_that_crashes_is_rolled_back_once_and_says_why() {
    let mut rig = up("registry.sim/app:1").await;
    rig.sim.set_image("registry.sim/app:bad", Behaviour::Crash);
    rig.files.insert("one.yaml".into(), one("registry.sim/app:bad", ""));
    rig.sim.clear_calls();
    let engine = rig.converge().await;
    let (status, reason, message) = says(&engine, ConditionType::Ready).unwrap();
    assert_eq!((status, reason), (Status::False, Reason::RolledBack), "{message}");
    assert!(message.contains("last good version was put back"), "{message}");
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:1");
    drop(engine);
    assert_eq!(deploys(&rig), 2, "one of the bad version, one of the good one");
    rig.run_until(Duration::from_secs(1800), None, |_, _| false).await;
    assert_eq!(deploys(&rig), 2, "restored once, never in a loop");
    rig.files.insert("one.yaml".into(), one("registry.sim/app:2", ""));
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:2");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_does_not_answer_is_rolled_back_with_its_last_answer() {
    let mut rig = up("registry.sim/app:1").await;
    rig.sim.set_image("registry.sim/app:sick", Behaviour::Unhealthy);
    rig.files.insert("one.yaml".into(), one("registry.sim/app:sick", ""));
    let engine = rig.converge().await;
    let (_, reason, message) = says(&engine, ConditionType::Ready).unwrap();
    assert_eq!(reason, Reason::RolledBack);
    assert!(message.contains("did not pass within 20s: one.test/up answered 500"), "{message}");
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:1");
}

#[tokio::test(start_paused = true)]
async fn a_first_version_that_fails_is_kept_to_be_looked_at_or_removed_as_asked() {
    for (more, left) in [("", 1), ("onFirstFailure: remove", 0)] {
        let mut rig = Rig::new(RigOptions::seed(12));
        rig.sim.set_image("registry.sim/app:sick", Behaviour::Unhealthy);
        rig.files.insert("one.yaml".into(), one("registry.sim/app:sick", more));
        let engine = rig.converge().await;
        let (status, reason, _) = says(&engine, ConditionType::Ready).unwrap();
        assert_eq!((status, reason), (Status::False, Reason::Quarantined), "{more}: {}", rig.tell(&engine));
        drop(engine);
        rig.run_until(Duration::from_secs(900), None, |_, _| false).await;
        assert_eq!(rig.sim.with(|w| w.db.applications.iter().count()), left, "{more}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_that_is_missing_blocks_before_anything_is_made() {
    let mut rig = Rig::new(RigOptions::seed(13));
    rig.sim.set_image("registry.sim/app:none", Behaviour::Missing);
    rig.files.insert("one.yaml".into(), one("registry.sim/app:none", ""));
    let engine = rig.converge().await;
    assert_eq!(says(&engine, ConditionType::Ready).unwrap().1, Reason::ImageUnavailable);
    assert_eq!(rig.sim.with(|w| w.db.applications.iter().count()), 0);
}

#[tokio::test(start_paused = true)]
async fn what_others_change_is_put_back_and_a_second_writer_is_slowed_and_named() {
    let mut rig = up("registry.sim/app:1").await;
    let id = rig
        .sim
        .with(|w| w.db.applications.iter().find(|a| a.text("name") == Some("one")).unwrap().id.clone());
    let mut repairs = 0;
    for round in 0..8 {
        rig.someone("application.update", json!({"applicationId": id, "replicas": 5})).await;
        rig.sim.clear_calls();
        // A mark that was edited calls the whole application into question.
        rig.someone(
            "application.update",
            json!({"applicationId": id, "description": format!("by hand {round}")}),
        )
        .await;
        let (engine, _) = rig.run_until(Duration::from_secs(50), None, |_, _| false).await;
        let replicas = rig.sim.with(|w| w.db.applications.get(&id).unwrap().int("replicas"));
        repairs += usize::from(replicas == Some(1));
        let mark =
            rig.sim.with(|w| w.db.applications.get(&id).unwrap().text("description").unwrap().to_owned());
        assert!(
            mark.contains("berth/1 test/one/app"),
            "the mark is repaired while the field is contested: {mark}"
        );
        if round == 7 {
            let (_, reason, message) = says(&engine, ConditionType::Drifted).expect("drift is told");
            assert_eq!(reason, Reason::Contested);
            assert!(message.contains("replicas"), "{message}");
        }
    }
    assert!((3..7).contains(&repairs), "{repairs} of 8 rounds were repaired");
}

#[tokio::test(start_paused = true)]
async fn a_service_scaled_by_hand_and_a_deleted_domain_are_noticed_by_the_cheap_look() {
    let mut rig = up("registry.sim/app:1").await;
    let (domain, service) = rig.sim.with(|w| {
        let service = w.swarm.services.keys().next().unwrap().clone();
        (w.db.domains.iter().next().unwrap().domain_id.clone(), service)
    });
    rig.someone("domain.delete", json!({"domainId": domain})).await;
    rig.sim.with(|w| {
        let now = w.now();
        w.swarm.scale(&service, 4, now);
    });
    let (engine, _) = rig.run_until(Duration::from_secs(120), None, |_, _| false).await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
    assert_eq!(rig.sim.with(|w| w.db.domains.iter().count()), 1);
    assert_eq!(rig.sim.with(|w| w.swarm.services[&service].spec.desired()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_show_is_written_once_more() {
    let mut rig = Rig::new(RigOptions::seed(14));
    rig.files.insert("one.yaml".into(), one("registry.sim/app:1", ""));
    rig.run_until(Duration::from_secs(60), None, |_, sim| {
        sim.with(|w| {
            let service = w.db.applications.iter().next().map(|a| a.app_name.clone());
            service.is_some_and(|s| {
                w.traefik.drop_next_router(&s);
                true
            })
        })
    })
    .await;
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
}

#[tokio::test(start_paused = true)]
async fn a_mass_removal_is_held_until_confirmed() {
    let mut rig = Rig::new(RigOptions::seed(15));
    fleet(&mut rig, 10, "registry.sim/app:1");
    rig.converge().await;
    let files = std::mem::take(&mut rig.files);
    rig.sim.clear_calls();
    let (engine, _) = rig.run_until(Duration::from_secs(900), None, |_, _| false).await;
    assert!(rig.sim.calls().iter().all(|c| !c.mutation), "nothing is removed");
    let token = engine.holds().first().expect("it is held").token.clone();
    let key = Key::Stack(StackName::new("s0").unwrap());
    assert_eq!(engine.status_of(&key).unwrap().condition(ConditionType::Ready).unwrap().reason, Reason::Held);
    drop(engine);
    let now = rig.now();
    rig.store.commit(vec![Change::Request { at: now, request: Request::Confirm { token } }]).await.unwrap();
    rig.run_until(Duration::from_secs(600), None, |e, _| e.keys().is_empty()).await;
    assert_eq!(rig.sim.with(|w| w.db.applications.iter().count()), 0);
    rig.files = files;
    rig.converge().await;
    assert_eq!(rig.sim.with(|w| w.db.applications.iter().count()), 10);
}

#[tokio::test(start_paused = true)]
async fn an_inventory_that_lacks_most_stacks_makes_nothing() {
    let mut rig = Rig::new(RigOptions::seed(16));
    fleet(&mut rig, 10, "registry.sim/app:1");
    rig.converge().await;
    let ids: Vec<_> = rig.sim.with(|w| w.db.applications.iter().map(|a| a.id.clone()).collect());
    for id in ids.iter().take(8) {
        rig.someone("application.delete", json!({"applicationId": id})).await;
    }
    rig.sim.clear_calls();
    let (engine, _) = rig.run_until(Duration::from_secs(600), None, |_, _| false).await;
    let writes: Vec<_> = rig.sim.calls().into_iter().filter(|c| c.mutation).collect();
    assert!(writes.is_empty(), "{writes:?}");
    assert_eq!(engine.holds()[0].recreating.len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_and_a_rollback_goes_back() {
    let mut rig = up("registry.sim/app:1").await;
    rig.files.insert("one.yaml".into(), one("registry.sim/app:2", ""));
    rig.converge().await;
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:2");
    let now = rig.now();
    let ask = |request| Change::Request { at: now, request };
    rig.store.commit(vec![ask(Request::Rollback { key: key(), to: None })]).await.unwrap();
    let (engine, _) = rig.run_until(Duration::from_secs(120), None, |_, _| false).await;
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:1", "{}", rig.tell(&engine));
    assert_eq!(says(&engine, ConditionType::Ready).unwrap().1, Reason::RolledBack);
    drop(engine);
    rig.store.commit(vec![ask(Request::Pause { key: key() })]).await.unwrap();
    rig.files.insert("one.yaml".into(), one("registry.sim/app:3", ""));
    let (engine, _) = rig.run_until(Duration::from_secs(120), None, |_, _| false).await;
    assert_eq!(says(&engine, ConditionType::Ready).unwrap().1, Reason::Paused);
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:1");
    drop(engine);
    rig.store.commit(vec![ask(Request::Resume { key: key() })]).await.unwrap();
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
    assert_eq!(image_that_runs(&rig.sim), "registry.sim/app:3");
}

#[tokio::test(start_paused = true)]
async fn a_full_network_blocks_with_its_name() {
    let mut options = RigOptions::seed(17);
    options.sim.capacity_prefix = 29;
    let mut rig = Rig::new(options);
    rig.foreign().await;
    fleet(&mut rig, 4, "registry.sim/app:1");
    let engine = rig.converge().await;
    let reasons: Vec<_> = engine
        .statuses()
        .iter()
        .filter_map(|s| s.condition(ConditionType::Ready).map(|c| c.reason))
        .collect();
    assert!(reasons.contains(&Reason::AddressSpace) && reasons.contains(&Reason::Settled), "{reasons:?}");
    assert!(rig.sim.with(|w| w.db.applications.iter().count()) < 5);
}

#[tokio::test(start_paused = true)]
async fn health_is_asked_after_ready_and_a_broken_app_is_told_but_not_touched() {
    let mut rig = up("registry.sim/app:1").await;
    rig.sim.set_image("registry.sim/app:1", Behaviour::Unhealthy);
    rig.sim.clear_calls();
    let (engine, reached) = rig
        .run_until(Duration::from_secs(400), None, |e, _| {
            says(e, ConditionType::Healthy).is_some_and(|(status, ..)| status == Status::False)
        })
        .await;
    assert!(reached, "{}", rig.tell(&engine));
    assert!(rig.sim.calls().iter().all(|c| !c.mutation));
}

#[tokio::test(start_paused = true)]
async fn a_hanging_server_is_named_and_not_hammered() {
    let mut rig = up("registry.sim/app:1").await;
    rig.sim.with(|w| w.wedged = true);
    rig.sim.clear_calls();
    let (engine, _) = rig.run_until(Duration::from_secs(1800), None, |_, _| false).await;
    let (status, ..) = says(&engine, ConditionType::Ready).unwrap();
    assert_ne!(status, Status::False, "what was Ready is not called broken because the API hangs");
    assert!(rig.sim.calls().len() < 200, "{} calls in half an hour", rig.sim.calls().len());
    drop(engine);
    rig.sim.restart();
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
}

#[tokio::test(start_paused = true)]
async fn a_moving_tag_is_followed_by_its_digest_and_a_bad_one_is_rolled_back() {
    const TAG: &str = "registry.sim/app:latest";
    let mut rig = Rig::new(RigOptions::seed(19));
    let aaa = rig.sim.push_image(TAG, Behaviour::Ok);
    fleet(&mut rig, 2, &format!("{{ref: \"{TAG}\", follow: 1m}}"));
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "s0") && Rig::ready(&engine, "s1"), "{}", rig.tell(&engine));
    drop(engine);
    let images = |rig: &Rig| {
        rig.sim.with(|w| w.swarm.services.values().map(|s| s.spec.image.clone()).collect::<Vec<_>>())
    };
    assert_eq!(images(&rig), [format!("{TAG}@{aaa}"), format!("{TAG}@{aaa}")]);

    rig.looked_up.store(0, Ordering::SeqCst);
    rig.sim.clear_calls();
    rig.run_until(Duration::from_secs(600), None, |_, _| false).await;
    let asked = rig.looked_up.load(Ordering::SeqCst);
    assert!((9..=11).contains(&asked), "{asked} look-ups in ten minutes for one image of two stacks");
    assert_eq!(deploys(&rig), 0, "nothing moved");

    let bbb = rig.sim.push_image(TAG, Behaviour::Ok);
    let (engine, _) = rig.run_until(Duration::from_secs(300), None, |_, _| false).await;
    assert!(Rig::ready(&engine, "s0"), "{}", rig.tell(&engine));
    drop(engine);
    assert_eq!(images(&rig), [format!("{TAG}@{bbb}"), format!("{TAG}@{bbb}")]);
    assert_eq!(deploys(&rig), 2);

    rig.sim.push_image(TAG, Behaviour::Crash);
    let (engine, _) = rig.run_until(Duration::from_secs(900), None, |_, _| false).await;
    let key = Key::Stack(StackName::new("s0").unwrap());
    let ready = engine.status_of(&key).unwrap().condition(ConditionType::Ready).unwrap().clone();
    assert_eq!(ready.reason, Reason::RolledBack, "{}", ready.message);
    drop(engine);
    assert_eq!(images(&rig), [format!("{TAG}@{bbb}"), format!("{TAG}@{bbb}")]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_of_the_server_loses_the_job_and_one_deploy_more_finds_it() {
    let mut rig = Rig::new(RigOptions::seed(18));
    rig.files.insert("one.yaml".into(), one("registry.sim/app:1", ""));
    rig.run_until(Duration::from_secs(60), None, |_, sim| {
        sim.with(|w| !w.queue.waiting.is_empty() || !w.queue.active.is_empty())
    })
    .await;
    rig.sim.restart();
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{}", rig.tell(&engine));
    assert!(deploys(&rig) <= 2, "{}", deploys(&rig));
}
