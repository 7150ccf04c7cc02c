//! A daemon inside the Dokploy that it looks after, in an application of a stack of its own. It deploys itself last, is
//! killed by that at the instant Swarm ends its task, and its successor goes on where the record ends.

use berth_engine::{Engine, Identity};
use berth_model::condition::{ConditionType, Reason};
use berth_model::ids::{AppName, Key, StackName};
use berth_sim::Behaviour;
use berth_store::Memory;
use berth_tests::{Rig, RigOptions, TestWorld};
use serde_json::json;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const OTHERS: usize = 5;

/// The daemon's own stack: itself, and an app beside it whose name comes behind.
fn own(version: u32, order: &str, adopt: bool) -> String {
    let adopt = if adopt { "adopt: true, nameOnDokploy: berth-by-hand, " } else { "" };
    format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: ops}}\nspec:\n  \
         target: {{dokploy: main, project: ops, create: true}}\n  apps:\n    \
         berth: {{{adopt}image: \"registry.sim/berth:{version}\", update: {{order: {order}}}, \
         env: {{BERTH_SERVICE: \"{{{{.Service.Name}}}}\"}}}}\n    \
         viewer: {{image: \"registry.sim/viewer:{version}\"}}\n"
    )
}

fn other(n: usize, version: u32) -> String {
    format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: s{n}}}\nspec:\n  \
         target: {{dokploy: main, project: together, create: true}}\n  \
         apps: {{app: {{image: \"registry.sim/app:{version}\"}}}}\n"
    )
}

fn want(rig: &mut Rig, version: u32, order: &str, adopt: bool) {
    rig.files.insert("ops.yaml".into(), own(version, order, adopt));
    for n in 0..OTHERS {
        rig.files.insert(format!("s{n}.yaml"), other(n, version));
    }
}

fn key(name: &str) -> Key {
    Key::Stack(StackName::new(name).unwrap())
}

/// The service of the daemon's own application.
fn service(engine: &Engine<TestWorld>) -> String {
    let record = engine.record(&key("ops")).unwrap();
    record.apps[&AppName::new("berth").unwrap()].service.clone().unwrap().to_string()
}

/// The services that were deployed, in order, one for each deployment.
fn deployments(rig: &Rig) -> Vec<String> {
    rig.sim.with(|w| {
        let name = |id: &str| w.db.applications.get(id).map(|a| a.app_name.to_string()).unwrap_or_default();
        let mut rows: Vec<_> =
            w.db.deployments.iter().map(|d| (d.created_at.clone(), name(&d.application_id))).collect();
        rows.sort();
        rows.into_iter().map(|(_, name)| name).collect()
    })
}

/// A fleet at its first version, with a daemon of it that knows what it is; its service. `at_once`: a deployment is over
/// before the call that asks for it is answered.
async fn fleet(order: &str, adopt: bool, named: bool, at_once: bool) -> (Rig, String) {
    let mut options = RigOptions::seed(11);
    if at_once {
        (options.sim.queue_delay, options.sim.build_time) = (Duration::ZERO, Duration::ZERO);
    }
    let mut rig = Rig::new(options);
    if adopt {
        let made = rig.someone("project.create", json!({"name": "ops"})).await;
        let environment = &made["environment"]["environmentId"];
        let app = rig
            .someone("application.create", json!({"name": "berth-by-hand", "environmentId": environment}))
            .await;
        let id = &app["applicationId"];
        let image =
            json!({"applicationId": id, "sourceType": "docker", "dockerImage": "registry.sim/berth:1"});
        rig.someone("application.update", image).await;
        rig.someone("application.deploy", json!({"applicationId": id})).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    want(&mut rig, 1, order, adopt);
    let service = service(&*rig.converge().await);
    rig.identity = if named {
        Identity {
            named: Some((StackName::new("ops").unwrap(), AppName::new("berth").unwrap())),
            service: None,
        }
    } else {
        Identity { named: None, service: Some(service.as_str().into()) }
    };
    (rig, service)
}

/// Whether every stack runs this version and is Ready.
fn all_ready(engine: &Engine<TestWorld>) -> bool {
    let mut names = (0..OTHERS).map(|n| format!("s{n}")).chain(["ops".to_owned()]);
    engine.at_rest() && names.all(|n| Rig::ready(engine, &n))
}

#[tokio::test(start_paused = true)]
async fn it_deploys_itself_last_and_its_successor_goes_on() {
    for order in ["stop-first", "start-first"] {
        for case in 0..16 {
            let [adopt, named, lost, at_once] = [1, 2, 4, 8].map(|bit| case & bit != 0);
            its_own_deployment(order, adopt, named, lost, at_once).await;
        }
    }
}

async fn its_own_deployment(order: &str, adopt: bool, named: bool, lost: bool, at_once: bool) {
    let case = format!("{order}, adopted {adopt}, named {named}, store lost {lost}, at once {at_once}");
    let (mut rig, service) = fleet(order, adopt, named, at_once).await;
    let before = deployments(&rig).len();
    want(&mut rig, 2, order, adopt);
    let (engine, reached) = rig.live_in(&service, HOUR, |e, _| all_ready(e)).await;
    // Started first, the old one may see its successor pass the gate before it ends.
    assert!(!reached || order == "start-first", "{case}: it survived\n{}", rig.tell(&engine));
    let asked = deployments(&rig).split_off(before);
    assert_eq!(asked.len(), OTHERS + 2, "{case}: {asked:?}");
    assert_eq!(asked.last(), Some(&service), "{case}: {asked:?}");
    if order == "stop-first" {
        let record = engine.record(&key("ops")).unwrap();
        let rollout = record.apps[&AppName::new("berth").unwrap()].rollout.clone().unwrap();
        assert_eq!(rollout.unanswered, at_once, "{case}: it ended at another instant");
    }
    for n in 0..OTHERS {
        assert!(Rig::ready(&engine, &format!("s{n}")), "{case}: {}", rig.tell(&engine));
    }
    drop(engine);
    if lost {
        let now = rig.now();
        rig.replace_store(Memory::new(now));
    }
    let (engine, reached) = rig.live_in(&service, HOUR, |e, _| all_ready(e)).await;
    assert!(reached, "{case}: {}", rig.tell(&engine));
    assert_eq!(deployments(&rig).len(), before + OTHERS + 2, "{case}: deployed again");
    let dump = rig.sim.dump();
    let apps = dump["applications"].as_array().unwrap().len();
    assert_eq!(apps, OTHERS + 2, "{case}: {dump}");
    let runs = rig.sim.with(|w| w.swarm.services[&service].spec.image.clone());
    assert_eq!(runs, "registry.sim/berth:2", "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_know_itself_deploys_in_the_usual_order() {
    // What the tests above rest on: without the knowledge it would not come last.
    let (mut rig, service) = fleet("stop-first", false, false, false).await;
    rig.identity = Identity::default();
    let before = deployments(&rig).len();
    want(&mut rig, 2, "stop-first", false);
    rig.live_in(&service, HOUR, |e, _| all_ready(e)).await;
    assert_ne!(deployments(&rig).split_off(before).last(), Some(&service));
}

#[tokio::test(start_paused = true)]
async fn a_preview_shows_what_it_would_do_to_itself() {
    let (mut rig, _) = fleet("stop-first", false, false, false).await;
    want(&mut rig, 2, "stop-first", false);
    rig.files.insert("ops.yaml".into(), own(1, "stop-first", false).replace("berth:1", "berth:2"));
    let engine = rig.daemon().await;
    // Every key waits for a run that never comes.
    engine.set_wanted(rig.wanted());
    let plan = engine.plan(&key("ops")).await.unwrap().plan;
    let deploys: Vec<_> = plan.deploys().map(AppName::as_str).collect();
    assert_eq!(deploys, ["berth"], "{plan:?}");
}

#[tokio::test(start_paused = true)]
async fn a_bad_version_of_itself_is_put_back() {
    for order in ["stop-first", "start-first"] {
        let (mut rig, service) = fleet(order, false, false, false).await;
        rig.sim.set_image("registry.sim/berth:2", Behaviour::Crash);
        want(&mut rig, 2, order, false);
        let stalled = |e: &Engine<TestWorld>| e.at_rest() && !Rig::ready(e, "ops");
        let mut lives = 0;
        let engine = loop {
            lives += 1;
            assert!(lives < 5, "{order}: it dies again and again");
            let (engine, reached) = rig.live_in(&service, HOUR, |e, _| stalled(e)).await;
            if reached {
                break engine;
            }
        };
        let status = engine.status_of(&key("ops")).unwrap();
        let reason = status.condition(ConditionType::Ready).unwrap().reason;
        assert_eq!(reason, Reason::RolledBack, "{order}: {}", rig.tell(&engine));
        let runs = rig.sim.with(|w| w.swarm.services[&service].spec.image.clone());
        assert_eq!(runs, "registry.sim/berth:1", "{order}");
        for n in 0..OTHERS {
            assert!(Rig::ready(&engine, &format!("s{n}")), "{order}: {}", rig.tell(&engine));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_end_puts_it_off_for_ten_minutes_only() {
    let (mut rig, service) = fleet("stop-first", false, false, false).await;
    // Another stack waits for an answer that never comes.
    let health = "port: 80, host: s0.test, health: {http: /, within: 1h}, image";
    let waiting =
        other(0, 2).replace("image", health).replace("host: s0.test", "hosts: {s0.test: {https: none}}");
    rig.files.insert("s0.yaml".into(), waiting);
    rig.sim.with(|w| w.traefik.down = true);
    rig.files.insert("ops.yaml".into(), own(2, "stop-first", false));
    let began = tokio::time::Instant::now();
    let (engine, _) = rig.live_in(&service, HOUR, |_, _| false).await;
    let waited = began.elapsed();
    assert!((600..660).contains(&waited.as_secs()), "{waited:?}: {}", rig.tell(&engine));
}

#[tokio::test(start_paused = true)]
async fn it_does_not_remove_itself() {
    let (mut rig, service) = fleet("stop-first", false, false, false).await;
    rig.files.remove("ops.yaml");
    let (engine, _) = rig.live_in(&service, HOUR / 4, |_, _| false).await;
    let status = engine.status_of(&key("ops")).unwrap();
    let ready = status.condition(ConditionType::Ready).unwrap();
    assert_eq!(ready.reason, Reason::RunsHere, "{}", rig.tell(&engine));
    assert!(status.condition(ConditionType::Stalled).is_some());
    rig.task_of(&service).await;
    // The app beside it is gone: nothing else is held up.
    let dump = rig.sim.dump();
    assert_eq!(dump["applications"].as_array().unwrap().len(), OTHERS + 1, "{dump}");
}
