//! The adapter against a simulated server, on virtual time: faults of the way, of the server and of the key.

mod common;

use common::*;

use berth_model::Secret;
use berth_model::desired::{Child, ChildKey};
use berth_model::field::{Field, Value};
use berth_model::remote::{Read, Write, Written};
use berth_model::stack::Mount;
use berth_ports::{Breaker, Pace, Platform, PortError, Severity};
use berth_sim::{CallNo, Fault, Role, Sim};
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn creates_are_sent_once_and_updates_again() {
    let w = world();
    let (id, _) = app(&w, "one").await;
    let create = Write::CreateProject { name: "p".into(), description: String::new() };
    for fault in [Fault::After, Fault::Hang, Fault::BadGateway, Fault::ErrorAfterCommit] {
        w.sim.clear_calls();
        w.sim.plan_fault(CallNo::Next(1), fault.clone());
        assert!(matches!(w.dokploy.write(&create).await, Err(PortError::Unknown { .. })), "{fault:?}");
        assert_eq!(procedures(&w.sim), ["project.create"], "{fault:?}");
    }
    for fault in
        [Fault::Before, Fault::TooMany { retry_after: Some(3) }, Fault::TooMany { retry_after: None }]
    {
        w.sim.clear_calls();
        w.sim.plan_fault(CallNo::Next(1), fault.clone());
        assert!(matches!(w.dokploy.write(&create).await, Ok(Written::Project { .. })), "{fault:?}");
        assert_eq!(procedures(&w.sim), ["project.create"; 2], "{fault:?}");
    }
    for fault in [Fault::After, Fault::Hang, Fault::BadGateway, Fault::Before] {
        w.sim.clear_calls();
        w.sim.plan_fault(CallNo::Next(1), fault.clone());
        assert_eq!(w.dokploy.write(&update(&id, "x")).await, Ok(Written::Done), "{fault:?}");
        assert_eq!(procedures(&w.sim), ["application.update"; 2], "{fault:?}");
    }
    let deploy = Write::Deploy { app: id.clone(), token: "t".into() };
    w.sim.plan_fault(CallNo::Next(1), Fault::After);
    assert!(matches!(w.dokploy.write(&deploy).await, Err(PortError::Unknown { .. })));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_obeyed() {
    let w = world();
    app(&w, "one").await;
    w.sim.plan_fault(CallNo::Next(1), Fault::TooMany { retry_after: Some(11) });
    let began = tokio::time::Instant::now();
    w.dokploy.read(&Read::Services, Pace::Run).await.unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(11) && took < Duration::from_secs(13), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_api_is_named_and_not_hammered() {
    let w = world();
    let (id, _) = app(&w, "one").await;
    w.sim.with(|world| world.wedged = true);
    let error = w.dokploy.read(&Read::App(id.clone()), Pace::Run).await.unwrap_err();
    assert!(error.to_string().contains("/api/health answers"), "{error}");
    let Breaker::Open { why, .. } = w.dokploy.state().breaker else { panic!("{:?}", w.dokploy.state()) };
    assert!(why.contains("restart the dokploy service"), "{why}");
    w.sim.clear_calls();
    let began = tokio::time::Instant::now();
    while began.elapsed() < Duration::from_secs(600) {
        let result = w.dokploy.read(&Read::App(id.clone()), Pace::Run).await;
        assert!(matches!(result, Err(PortError::Retry { .. })), "{result:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    // Probes and looks at the process, a handful of each.
    assert!(w.sim.calls().len() <= 20, "{}", w.sim.calls().len());
    w.sim.restart();
    tokio::time::sleep(Duration::from_secs(460)).await;
    w.dokploy.read(&Read::App(id), Pace::Run).await.unwrap();
    assert_eq!(w.dokploy.state().breaker, Breaker::Closed);
}

#[tokio::test(start_paused = true)]
async fn domain_writes_never_lock_the_server_up() {
    let w = world();
    w.sim.set_latency(Duration::from_millis(50));
    let mut ids = Vec::new();
    for i in 0..40 {
        ids.push(app(&w, &format!("a{i}")).await.0);
    }
    let writes = ids.iter().flat_map(|id| {
        [0, 1].map(|n| {
            let (key, child) = domain(&format!("h{n}-{id}.example"));
            Write::CreateChild { app: id.clone(), key, child }
        })
    });
    // Ids may hold characters that no host may; what counts is that every call is answered.
    let writes: Vec<_> = writes.collect();
    let results = futures::future::join_all(writes.iter().map(|write| w.dokploy.write(write))).await;
    assert!(results.iter().all(|r| !matches!(r, Err(PortError::Unknown { .. } | PortError::Retry { .. }))));
    assert!(!w.sim.with(|world| world.wedged));
}

#[tokio::test(start_paused = true)]
async fn a_member_key_is_not_believed() {
    let w = world_of(berth_sim::Options::default(), Sim::member_key);
    let error = w.dokploy.sweep(Duration::ZERO).await.unwrap_err();
    assert!(matches!(&error, PortError::Auth { why } if why.contains("'member'")), "{error}");
    let diagnosis = w.dokploy.diagnose().await.unwrap();
    assert!(!diagnosis.usable());
    assert!(diagnosis.findings[0].text.contains("rateLimitEnabled\":false"));
}

#[tokio::test(start_paused = true)]
async fn a_limited_key_is_recognised() {
    let w = world_of(berth_sim::Options::default(), Sim::limited_key);
    let mut error = None;
    for _ in 0..4 {
        error = w.dokploy.sweep(Duration::ZERO).await.err().or(error);
    }
    assert!(matches!(error, Some(PortError::Auth { .. })), "{error:?}");
    let diagnosis = w.dokploy.diagnose().await.unwrap();
    assert!(diagnosis.limited.is_some_and(|l| l.contains("rate-limited")));
    assert!(diagnosis.findings.iter().any(|f| f.severity == Severity::Error));
}

#[tokio::test(start_paused = true)]
async fn a_good_account_is_described() {
    let w = world();
    app(&w, "one").await;
    let diagnosis = w.dokploy.diagnose().await.unwrap();
    assert!(diagnosis.usable(), "{diagnosis:?}");
    assert_eq!(diagnosis.version.as_deref(), Some("v0.30.2"));
    assert_eq!(diagnosis.role.as_deref(), Some("owner"));
    assert!(diagnosis.organization.is_some() && diagnosis.limited.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_old_server_is_refused() {
    let options = berth_sim::Options { version: "v0.28.2".into(), ..berth_sim::Options::default() };
    let w = world_of(options, Sim::owner_key);
    let error = w.dokploy.sweep(Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("too old"), "{error}");
    assert!(!w.dokploy.diagnose().await.unwrap().usable());
}

#[tokio::test(start_paused = true)]
async fn a_new_key_is_tried_before_the_old_one_goes() {
    let w = world();
    let (id, _) = app(&w, "one").await;
    let old = w.sim.owner_key();
    // A key that is not let in does not replace the one that is.
    *w.key.0.lock().unwrap() = ("wrong".into(), true);
    detail(&w, &id).await;
    // A good one does, at once.
    *w.key.0.lock().unwrap() = (w.sim.issue_key(Role::Admin), true);
    detail(&w, &id).await;
    w.sim.revoke_key(&old);
    detail(&w, &id).await;
    // A refused key is looked up again in its source, also without a sign of change.
    let third = w.sim.issue_key(Role::Owner);
    let second = std::mem::replace(&mut *w.key.0.lock().unwrap(), (third, false)).0;
    w.sim.revoke_key(&second);
    detail(&w, &id).await;
    assert_eq!(w.dokploy.state().breaker, Breaker::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_refused_key_opens_the_breaker_slowly_and_says_so() {
    let w = world();
    let (id, _) = app(&w, "one").await;
    w.sim.revoke_key(&w.sim.owner_key());
    for _ in 0..5 {
        let result = w.dokploy.read(&Read::App(id.clone()), Pace::Run).await;
        assert!(matches!(result, Err(PortError::Auth { .. })), "{result:?}");
    }
    assert!(matches!(w.dokploy.state().breaker, Breaker::Open { why, .. } if why.contains("not let in")));
}

#[tokio::test(start_paused = true)]
async fn no_error_tells_a_secret() {
    const CANARY: &str = "canary-9f2c";
    let w = world();
    let (id, _) = app(&w, "one").await;
    let secret = || Secret::new(CANARY);
    let writes = [
        Write::UpdateApp {
            id: id.clone(),
            fields: [
                (Field::Env, Value::Env([("A".to_owned(), secret())].into())),
                (Field::RegistryPassword, Value::Secret(secret())),
                (Field::Replicas, Value::Int(3)),
            ]
            .into(),
            env_text: Some(Secret::new(format!("A='{CANARY}'"))),
            description: None,
        },
        Write::CreateChild {
            app: id.clone(),
            key: ChildKey::Mount("/x".into()),
            child: Child::Mount(Mount::File { file_path: "x".into(), content: secret() }),
        },
        Write::UpdateApp {
            id: "nope".into(),
            fields: [(Field::RegistryPassword, Value::Secret(secret()))].into(),
            env_text: None,
            description: None,
        },
        Write::UpdateEnvironment { id: "nope".into(), env: Secret::new(format!("A={CANARY}\u{0}")) },
    ];
    let faults = [
        None,
        Some(Fault::ErrorAfterCommit),
        Some(Fault::Unauthorized),
        Some(Fault::After),
        Some(Fault::Hang),
    ];
    let mut errors = 0;
    for write in &writes {
        for fault in &faults {
            if let Some(fault) = fault {
                w.sim.plan_fault(CallNo::Next(1), fault.clone());
            }
            if let Err(error) = w.dokploy.write(write).await {
                errors += 1;
                assert!(!format!("{error} {error:?}").contains(CANARY), "{error}");
            }
        }
    }
    assert!(errors > 8, "{errors}");
    assert!(!format!("{:?}", detail(&w, &id).await).contains(CANARY));
}

#[tokio::test(start_paused = true)]
async fn too_large_a_body_is_not_sent() {
    let w = world();
    w.sim.clear_calls();
    let write = Write::UpdateEnvironment { id: "e".into(), env: Secret::new("x".repeat(1_000_001)) };
    assert!(matches!(w.dokploy.write(&write).await, Err(PortError::Refused { .. })));
    assert_eq!(w.sim.calls().len(), 0);
}
