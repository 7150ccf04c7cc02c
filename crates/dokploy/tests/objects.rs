//! The adapter against a simulated server, on virtual time: what it reads and writes, and how few calls that takes.

mod common;

use common::*;

use berth_model::Secret;
use berth_model::desired::{Child, ChildKey};
use berth_model::field::{Field, Value};
use berth_model::observed::{DeploymentStatus, Seen};
use berth_model::remote::{Fact, Read, Write, Written};
use berth_model::stack::{Mount, Port, PortKey};
use berth_ports::{Pace, Platform, PortError};
use berth_sim::Sim;
use std::time::Duration;

#[tokio::test(start_paused = true)]
async fn a_whole_life() {
    let w = world();
    let (id, service) = app(&w, "one").await;
    w.dokploy.write(&update(&id, "registry.sim/app:1")).await.unwrap();
    let children = [
        domain("one.example"),
        (
            ChildKey::Mount("/etc/x".into()),
            Child::Mount(Mount::File { file_path: "x".into(), content: Secret::new("c") }),
        ),
        (
            ChildKey::Port(PortKey { published: 5432, udp: false }),
            Child::Port(Port { target: 5432, host_mode: true }),
        ),
    ];
    for (key, child) in &children {
        let create = Write::CreateChild { app: id.clone(), key: key.clone(), child: child.clone() };
        assert!(matches!(w.dokploy.write(&create).await.unwrap(), Written::Child(_)));
    }
    let seen = detail(&w, &id).await;
    assert_eq!(seen.fields[&Field::Memory], Value::Int(64 << 20));
    assert_eq!(seen.fields[&Field::StopGrace], Value::Int(10_000_000_000));
    assert_eq!(seen.env_text.expose(), "A='hunter2'");
    assert_eq!(seen.children.len(), 3);
    for (key, child) in &children {
        assert!(seen.children.iter().any(|c| c.key == *key && c.child == *child), "{key}");
        assert!(seen.children.iter().any(|c| c.router.is_some()));
    }
    let live = Read::Live(service.clone());
    // Nothing runs at all: an empty list says nothing.
    assert!(matches!(
        w.dokploy.read(&live, Pace::Run).await.unwrap(),
        Fact::Live(Seen::Unknown | Seen::Absent)
    ));
    w.dokploy.write(&Write::Deploy { app: id.clone(), token: "tok-1".into() }).await.unwrap();
    let Fact::Jobs(jobs) = w.dokploy.read(&Read::Jobs, Pace::Run).await.unwrap() else { panic!() };
    let waits = jobs.queued.get(&id).is_some_and(|t| t.iter().any(|t| t.starts_with("tok-1\n")));
    let runs = jobs.rows.get(&id).is_some_and(|r| r[0].title.starts_with("tok-1\n"));
    assert!(waits || runs, "{jobs:?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(detail(&w, &id).await.deployments[0].status, DeploymentStatus::Done);
    let Fact::Live(Seen::Present(running)) = w.dokploy.read(&live, Pace::Run).await.unwrap() else {
        panic!()
    };
    assert_eq!(running.hash.map(|h| h.0), Some(255));
    let Fact::Tasks(tasks) = w.dokploy.read(&Read::Tasks(service.clone()), Pace::Run).await.unwrap() else {
        panic!()
    };
    assert_eq!((tasks.len(), tasks[0].state.as_str()), (1, "Running"));
    let Fact::Routers(Seen::Present(text)) =
        w.dokploy.read(&Read::Routers(id.clone()), Pace::Run).await.unwrap()
    else {
        panic!()
    };
    assert!(text.contains("Host(`one.example`)"));
    let fleet = w.dokploy.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(fleet.of_stack("one").count(), 1);
    assert_eq!(fleet.services.present().unwrap()[&service].running, 1);
    assert_eq!(fleet.domains.present().unwrap()[&id][0].host, "one.example");
    assert_eq!(fleet.network.present().unwrap().usable, 252);
    for child in detail(&w, &id).await.children {
        let remove = Write::RemoveChild { app: id.clone(), id: child.id, key: child.key };
        assert_eq!(w.dokploy.write(&remove).await, Ok(Written::Done));
        assert_eq!(w.dokploy.write(&remove).await, Ok(Written::Done));
    }
    // A project that holds something stays.
    let project = fleet.projects[0].id.clone();
    let remove = Write::RemoveProject { id: project };
    assert!(matches!(w.dokploy.write(&remove).await, Err(PortError::Conflict(_))));
    for _ in 0..2 {
        assert_eq!(w.dokploy.write(&Write::DeleteApp { id: id.clone() }).await, Ok(Written::Done));
        assert!(matches!(
            w.dokploy.read(&Read::App(id.clone()), Pace::Run).await,
            Ok(Fact::App(Seen::Absent))
        ));
    }
    assert!(matches!(w.dokploy.write(&update(&id, "x")).await, Err(PortError::NotFound(_))));
    assert_eq!(w.dokploy.write(&remove).await, Ok(Written::Done));
    assert_eq!(w.dokploy.write(&remove).await, Ok(Written::Done));
}

#[tokio::test(start_paused = true)]
async fn a_steady_sweep_is_four_calls_shared_by_all() {
    let w = world();
    app(&w, "one").await;
    w.sim.set_latency(Duration::from_millis(30));
    w.dokploy.sweep(Duration::ZERO).await.unwrap();
    procedures(&w.sim);
    let all = futures::future::join_all((0..20).map(|_| w.dokploy.sweep(Duration::ZERO))).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(
        procedures(&w.sim),
        ["overview.domains", "project.all", "project.allForPermissions", "swarm.getNodeApps"]
    );
    w.dokploy.sweep(Duration::from_secs(5)).await.unwrap();
    assert_eq!(procedures(&w.sim).len(), 0);
    // Our own write makes it too old.
    app(&w, "two").await;
    procedures(&w.sim);
    let fleet = w.dokploy.sweep(Duration::from_secs(3600)).await.unwrap();
    assert_eq!((fleet.apps.len(), procedures(&w.sim).len()), (2, 4));
}

#[tokio::test(start_paused = true)]
async fn reads_gather_into_batches() {
    let w = world();
    w.sim.set_latency(Duration::from_millis(40));
    let mut ids = Vec::new();
    for i in 0..30 {
        ids.push(app(&w, &format!("a{i}")).await.0);
    }
    w.sim.clear_calls();
    detail(&w, &ids[0]).await;
    assert_eq!(w.sim.calls()[0].items, 1);
    w.sim.clear_calls();
    // Everybody asks at once, and twice.
    let reads: Vec<_> = ids.iter().chain(&ids).map(|id| Read::App(id.clone())).collect();
    let facts = futures::future::join_all(reads.iter().map(|r| w.dokploy.read(r, Pace::Run))).await;
    assert!(facts.iter().all(|f| matches!(f, Ok(Fact::App(Seen::Present(_))))));
    let sizes: Vec<_> = w.sim.calls().iter().map(|c| c.items).collect();
    assert_eq!(sizes, [20, 10]);
    // Absent ones among present ones, and other procedures in the same batch.
    w.sim.clear_calls();
    let (a, b, c) = (Read::App("nope".into()), Read::App(ids[0].clone()), Read::Routers(ids[1].clone()));
    let ask = async |pace| {
        let (a, b, c) =
            futures::join!(w.dokploy.read(&a, pace), w.dokploy.read(&b, pace), w.dokploy.read(&c, pace));
        assert!(matches!(a, Ok(Fact::App(Seen::Absent))));
        assert!(matches!(b, Ok(Fact::App(Seen::Present(_)))));
        assert!(matches!(c, Ok(Fact::Routers(_))));
        let mut sizes: Vec<_> = w.sim.calls().iter().map(|c| c.items).collect();
        sizes.sort_unstable();
        w.sim.clear_calls();
        sizes
    };
    assert_eq!(ask(Pace::Audit).await, [3]);
    // Routers are gathered for longer, and nobody who asks for something else waits for them.
    assert_eq!(ask(Pace::Run).await, [1, 2]);
    // The audit goes its own way and no faster than half of the time.
    w.sim.clear_calls();
    let facts = futures::future::join_all(reads[..30].iter().map(|r| w.dokploy.read(r, Pace::Audit))).await;
    assert!(facts.iter().all(Result::is_ok));
    assert_eq!(w.sim.calls().iter().map(|c| c.items).collect::<Vec<_>>(), [20, 10]);
}

#[tokio::test(start_paused = true)]
async fn behind_a_proxy_that_knows_no_batches_reads_go_one_by_one() {
    let w = world_without(berth_sim::Options::default(), Sim::owner_key, &["!/api/trpc/"]);
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(app(&w, &format!("a{i}")).await.0);
    }
    let reads: Vec<_> = ids.iter().map(|id| Read::App(id.clone())).collect();
    let began = tokio::time::Instant::now();
    for round in 0..5 {
        w.sim.clear_calls();
        for pace in [Pace::Run, Pace::Audit] {
            let facts = futures::future::join_all(reads.iter().map(|r| w.dokploy.read(r, pace))).await;
            assert!(facts.iter().all(|f| matches!(f, Ok(Fact::App(Seen::Present(_))))), "{round}: {facts:?}");
        }
        assert!(w.sim.calls().iter().all(|c| c.items == 1), "what arrives are single reads");
    }
    assert!(
        matches!(w.dokploy.state().breaker, berth_ports::Breaker::Closed),
        "and nothing is called broken"
    );
    assert!(began.elapsed() < std::time::Duration::from_secs(1), "nothing waits for a refusal to go away");
}

#[tokio::test(start_paused = true)]
async fn an_older_server_is_used_for_what_it_can_do() {
    let missing = &["/api/overview.domains", "/api/trpc/", "/api/docker.getConfig"];
    let w = world_without(berth_sim::Options::default(), Sim::owner_key, missing);
    w.sim.set_latency(Duration::from_millis(30));
    let mut ids = Vec::new();
    for i in 0..5 {
        ids.push(app(&w, &format!("a{i}")).await.0);
    }
    let fleet = w.dokploy.sweep(Duration::ZERO).await.unwrap();
    assert!(fleet.domains.is_unknown() && fleet.network.is_unknown());
    assert_eq!(fleet.apps.len(), 5);
    w.sim.clear_calls();
    w.dokploy.sweep(Duration::ZERO).await.unwrap();
    assert_eq!(procedures(&w.sim).len(), 3);
    for _ in 0..2 {
        let reads: Vec<_> = ids.iter().map(|id| Read::App(id.clone())).collect();
        let facts = futures::future::join_all(reads.iter().map(|r| w.dokploy.read(r, Pace::Run))).await;
        assert!(facts.iter().all(|f| matches!(f, Ok(Fact::App(Seen::Present(_))))));
        assert_eq!(procedures(&w.sim), ["application.one"; 5]);
    }
    let diagnosis = w.dokploy.diagnose().await.unwrap();
    assert!(diagnosis.usable());
    assert!(diagnosis.findings.iter().any(|f| f.text.contains("overview.domains")));
}

#[tokio::test(start_paused = true)]
async fn a_service_is_absent_where_nothing_runs_only_while_docker_answers() {
    let w = world();
    let (_, service) = app(&w, "one").await;
    let live = Read::Live(service);
    let got = w.dokploy.read(&live, Pace::Run).await.unwrap();
    let Fact::Services(services) = w.dokploy.read(&Read::Services, Pace::Run).await.unwrap() else {
        panic!()
    };
    // With nothing running, "not listed" and "no answer" look alike in the list; the network tells them apart.
    assert!(services.is_unknown());
    assert!(matches!(got, Fact::Live(Seen::Absent)), "{got:?}");
}
