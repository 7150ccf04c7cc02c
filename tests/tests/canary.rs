//! A canary in every place where a secret may stand: it is in no log, event, status, plan, metric, error, or byte of
//! the store.

use berth_model::ids::{AppName, Key, StackName};
use berth_ports::{Answer, Change, Query, SealedFor, SecretRow, Snapshot, Store, Vault};
use berth_sim::{Chaos, Fault};
use berth_tests::{Rig, RigOptions};
use std::time::Duration;

const GIVEN: &str = "canary-given-4e1f0c";
const PLAIN: &str = "canary-plain-77ab21";
const PASSWORD: &str = "canary-password-90d3";

fn manifest() -> String {
    format!(
        "
apiVersion: berth.dev/v1
kind: Stack
metadata: {{name: shop}}
spec:
  target: {{dokploy: main, project: shared, environment: production, create: true}}
  apps:
    api:
      image: registry.sim/api:1
      registry: {{url: registry.sim, username: ada, password: {{secret: PULL}}}}
      env: {{GIVEN: {{secret: GIVEN}}, PLAIN: {PLAIN}, MADE: {{generate: {{bytes: 16}}}}}}
      files: {{/etc/key: {{content: \"{PLAIN}\"}}}}
"
    )
}

async fn give(rig: &Rig, name: &str, value: &str) {
    let ring = berth_vault::Ring::with_dice(
        &berth_model::Secret::new("1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        &berth_model::Owner::new("test").unwrap(),
        std::sync::Arc::new(berth_tests::Seeded::new(5)),
    )
    .unwrap();
    let app = AppName::new("api").unwrap();
    let what = SealedFor { kind: "secret", stack: "shop", app: Some(&app), name };
    let row = SecretRow {
        stack: "shop".into(),
        app: Some(app.clone()),
        name: name.into(),
        version: 1,
        sealed: ring.seal(what, value.as_bytes()),
        at: rig.now(),
    };
    rig.store.commit(vec![Change::Secret(row)]).await.unwrap();
}

/// Everything that the store would show anybody, as text.
async fn stored(rig: &Rig) -> String {
    let Snapshot { records, intents, statuses, secrets, .. } = rig.store.snapshot().await.unwrap();
    let mut text = format!("{records:?}{intents:?}{statuses:?}{secrets:?}");
    let key = Key::Stack(StackName::new("shop").unwrap());
    let queries = [
        Query::Events { after: 0, key: None, limit: 10_000 },
        Query::Runs { key, limit: 10_000 },
        Query::Versions { stack: StackName::new("shop").unwrap() },
    ];
    for query in queries {
        let answer: Answer = rig.store.query(query).await.unwrap();
        if let Answer::Versions(versions) = &answer {
            for version in versions {
                text.push_str(&String::from_utf8_lossy(&version.sealed));
            }
        }
        text.push_str(&format!("{answer:?}"));
    }
    text
}

#[tokio::test(start_paused = true)]
async fn no_secret_is_anywhere_but_where_it_is_meant_for() {
    let mut rig = Rig::new(RigOptions::seed(21));
    give(&rig, "GIVEN", GIVEN).await;
    give(&rig, "PULL", PASSWORD).await;
    rig.files.insert("shop.yaml".into(), manifest());
    // Errors that echo what was sent, as the real server does.
    let mut chaos = Chaos::even(9, 0.2);
    chaos.mutations.push((0.3, Fault::ErrorAfterCommit));
    rig.sim.set_chaos(Some(chaos));
    rig.run_until(Duration::from_secs(300), None, |_, _| false).await;
    rig.sim.set_chaos(None);
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "shop"), "{}", rig.tell(&engine));
    let world = rig.sim.dump().to_string();
    for secret in [GIVEN, PLAIN, PASSWORD] {
        assert!(world.contains(secret), "{secret} arrived where it is meant for");
    }
    let plan = engine.plan(&Key::Stack(StackName::new("shop").unwrap())).await.unwrap();
    let shown = berth_plan::render("plan", &plan.plan, &|_, text| text.to_owned());
    let mut everything = stored(&rig).await;
    everything.push_str(&shown);
    everything.push_str(&format!("{:?}", engine.statuses()));
    everything.push_str(&rig.log.lock().unwrap().join("\n"));
    for family in engine.metrics().registry.gather() {
        everything.push_str(&format!("{family:?}"));
    }
    for secret in [GIVEN, PLAIN, PASSWORD] {
        assert!(!everything.contains(secret), "{secret} leaked: {}", around(&everything, secret));
    }
}

/// A panic prints what the code around it holds: whatever carries a secret must not print it.
#[tokio::test(start_paused = true)]
async fn a_panic_that_prints_everything_prints_no_secret() {
    let mut rig = Rig::new(RigOptions::seed(22));
    give(&rig, "GIVEN", GIVEN).await;
    give(&rig, "PULL", PASSWORD).await;
    rig.files.insert("shop.yaml".into(), manifest());
    let wanted = rig.wanted();
    let engine = rig.converge().await;
    let plan = engine.plan(&Key::Stack(StackName::new("shop").unwrap())).await.unwrap();
    let key = berth_model::hash::HashKey::new(&[7; 32]);
    let stack = wanted.stacks.values().next().unwrap();
    struct Given;
    impl berth_plan::Secrets for Given {
        fn given(&self, _: &str, _: &AppName, _: &str) -> Option<(berth_model::Secret, u32)> {
            Some((berth_model::Secret::new(GIVEN), 1))
        }
        fn generated(
            &self,
            _: &str,
            _: &AppName,
            _: &str,
            _: &berth_model::stack::Generate,
        ) -> berth_model::Secret {
            berth_model::Secret::new(PASSWORD)
        }
    }
    let around_it = berth_plan::Surroundings { project: None, environment: None };
    let existing = |_: &AppName| berth_plan::Existing { adopted: false, env: None };
    let compiled = berth_plan::compile(stack, &key, &Given, around_it, &existing);
    let panicked = std::panic::catch_unwind(move || {
        panic!("{wanted:?}\n{plan:?}\n{:?}\n{:?}", compiled.desired, compiled.blocked);
    });
    let payload = panicked.unwrap_err();
    let message = payload.downcast_ref::<String>().unwrap();
    assert!(message.contains("GIVEN") && message.len() > 1_000, "it prints what there is: {message}");
    for secret in [GIVEN, PLAIN, PASSWORD] {
        assert!(!message.contains(secret), "{secret} leaked: {}", around(message, secret));
    }
}

fn around(text: &str, needle: &str) -> String {
    let at = text.find(needle).unwrap_or(0);
    text.chars().skip(at.saturating_sub(80)).take(200).collect()
}
