//! The simulator's own behaviour: queue, rollback, addresses, faults, keys, determinism.
//! A test here must never depend on the wall clock: all of them run on tokio's paused one.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{Behaviour, Broken, CallNo, Chaos, Fault, Options, Probe, Role, Sim};

fn request(key: &str, method: Method, path: &str, body: &Value) -> Request<Bytes> {
    let body = if method == Method::GET { Bytes::new() } else { Bytes::from(body.to_string()) };
    let mut request = Request::new(body);
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().expect("a path");
    request.headers_mut().insert("x-api-key", key.parse().expect("a header"));
    request.headers_mut().insert("content-type", "application/json".parse().expect("a header"));
    request
}

async fn exchange(sim: &Sim, method: Method, path: &str, body: Value) -> Result<(u16, Value), Broken> {
    let response = sim.handle(request(&sim.owner_key(), method, path, &body)).await?;
    let status = response.status().as_u16();
    Ok((status, serde_json::from_slice(response.body()).unwrap_or(Value::Null)))
}

async fn post(sim: &Sim, name: &str, body: Value) -> Value {
    let (status, answer) =
        exchange(sim, Method::POST, &format!("/api/{name}"), body).await.expect("an answer");
    assert_eq!(status, 200, "{name}: {answer}");
    answer
}

async fn get(sim: &Sim, path: &str) -> Value {
    let (status, answer) =
        exchange(sim, Method::GET, &format!("/api/{path}"), Value::Null).await.expect("an answer");
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

struct App {
    id: String,
    name: String,
    environment: String,
}

async fn app(sim: &Sim, image: &str) -> App {
    let project = post(sim, "project.create", json!({"name": "p"})).await;
    let environment = project["environment"]["environmentId"].as_str().expect("an id").to_owned();
    app_in(sim, environment, image).await
}

async fn app_in(sim: &Sim, environment: String, image: &str) -> App {
    let row =
        post(sim, "application.create", json!({"name": "a", "appName": "a", "environmentId": environment}))
            .await;
    let id = row["applicationId"].as_str().expect("an id").to_owned();
    let name = row["appName"].as_str().expect("a name").to_owned();
    let patch = json!({"applicationId": id, "sourceType": "docker", "dockerImage": image});
    assert_eq!(post(sim, "application.update", patch).await, json!(true));
    App { id, name, environment }
}

async fn deploy(sim: &Sim, app: &App) {
    post(sim, "application.deploy", json!({"applicationId": app.id, "title": "t"})).await;
    sleep(Duration::from_millis(400)).await;
}

async fn update_state(sim: &Sim, app: &App) -> Value {
    get(sim, &format!("docker.getConfig?containerId={}", app.name)).await["UpdateStatus"]["State"].clone()
}

async fn replicas(sim: &Sim, app: &App) -> String {
    let rows = get(sim, "swarm.getNodeApps").await;
    let row = rows.as_array().expect("rows").iter().find(|r| r["Name"] == app.name.as_str()).cloned();
    row.map(|r| r["Replicas"].as_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_deployment_passes_through_queue_row_and_swarm() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "registry.sim/web:1").await;
    post(
        &sim,
        "domain.create",
        json!({"host": "a.test", "applicationId": app.id, "domainType": "application"}),
    )
    .await;
    assert_eq!(sim.probe("a.test", "/"), Probe::BadGateway);
    assert_eq!(sim.probe("b.test", "/"), Probe::NoRoute);
    post(&sim, "application.deploy", json!({"applicationId": app.id, "description": "token"})).await;
    let one = get(&sim, &format!("application.one?applicationId={}", app.id)).await;
    assert_eq!((&one["applicationStatus"], &one["deployments"]), (&json!("idle"), &json!([])));
    assert_eq!(get(&sim, "deployment.queueList").await[0]["state"], "waiting");
    sleep(Duration::from_millis(50)).await;
    let rows = get(&sim, &format!("deployment.all?applicationId={}", app.id)).await;
    assert_eq!((&rows[0]["status"], &rows[0]["description"]), (&json!("running"), &json!("token")));
    sleep(Duration::from_millis(400)).await;
    assert_eq!(replicas(&sim, &app).await, "0/1");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(replicas(&sim, &app).await, "1/1");
    assert_eq!(sim.probe("A.test", "/x"), Probe::Status(200));
    assert_eq!(update_state(&sim, &app).await, Value::Null);
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_fifo_keeps_eleven_rows_and_dies_with_the_server() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "web").await;
    for turn in 0..14 {
        post(&sim, "application.deploy", json!({"applicationId": app.id, "title": turn.to_string()})).await;
    }
    sleep(Duration::from_secs(10)).await;
    let rows = get(&sim, &format!("deployment.all?applicationId={}", app.id)).await;
    let titles: Vec<&str> =
        rows.as_array().expect("rows").iter().filter_map(|r| r["title"].as_str()).collect();
    assert_eq!(titles, ["13", "12", "11", "10", "9", "8", "7", "6", "5", "4", "3"]);
    for _ in 0..3 {
        post(&sim, "application.deploy", json!({"applicationId": app.id})).await;
    }
    sleep(Duration::from_millis(100)).await;
    sim.restart();
    sleep(Duration::from_secs(5)).await;
    let one = get(&sim, &format!("application.one?applicationId={}", app.id)).await;
    assert_eq!(one["applicationStatus"], "idle");
    let rows = get(&sim, &format!("deployment.all?applicationId={}", app.id)).await;
    assert_eq!((&rows[0]["status"], &rows[0]["finishedAt"]), (&json!("cancelled"), &Value::Null));
    assert_eq!(rows[1]["title"], "13");
}

#[tokio::test(start_paused = true)]
async fn a_crashing_update_is_done_and_then_rolled_back() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "web").await;
    deploy(&sim, &app).await;
    sleep(Duration::from_secs(10)).await;
    post(&sim, "application.update", json!({"applicationId": app.id, "command": "/nosuch"})).await;
    deploy(&sim, &app).await;
    assert_eq!(get(&sim, &format!("deployment.all?applicationId={}", app.id)).await[0]["status"], "done");
    assert_eq!(update_state(&sim, &app).await, "updating");
    sleep(Duration::from_millis(600)).await;
    assert_eq!(update_state(&sim, &app).await, "rollback_started");
    assert_eq!(replicas(&sim, &app).await, "1/1");
    sleep(Duration::from_secs(6)).await;
    let config = get(&sim, &format!("docker.getConfig?containerId={}", app.name)).await;
    assert_eq!(config["UpdateStatus"]["State"], "rollback_completed");
    assert_eq!(config["Spec"]["TaskTemplate"]["ContainerSpec"].get("Command"), None);
    // Once repaired, the update completes.
    post(&sim, "application.update", json!({"applicationId": app.id, "command": null, "env": "A=1"})).await;
    deploy(&sim, &app).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(update_state(&sim, &app).await, "completed");
}

#[tokio::test(start_paused = true)]
async fn a_first_crash_restarts_for_ever_and_pause_pauses() {
    let sim = Sim::new(Options::default());
    let first = app(&sim, "bad").await;
    sim.set_image("bad", Behaviour::Crash);
    deploy(&sim, &first).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(replicas(&sim, &first).await, "0/1");
    assert_eq!(update_state(&sim, &first).await, Value::Null);
    sim.set_image("bad", Behaviour::Ok);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replicas(&sim, &first).await, "1/1");
    let pause = json!({"Parallelism": 1, "Order": "start-first", "FailureAction": "pause"});
    let patch = json!({"applicationId": first.id, "updateConfigSwarm": pause, "env": "BERTH_SIM_CRASH=1"});
    post(&sim, "application.update", patch).await;
    deploy(&sim, &first).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(update_state(&sim, &first).await, "paused");
}

#[tokio::test(start_paused = true)]
async fn failing_deployments_tell_only_in_the_log() {
    let sim = Sim::new(Options::default());
    sim.set_image("gone:1", Behaviour::Missing);
    sim.set_image("local:1", Behaviour::LocalOnly);
    let app = app(&sim, "gone:1").await;
    for (image, env, memory, says) in [
        ("gone:1", "", Value::Null, "manifest unknown"),
        ("local:1", "", Value::Null, "no such host"),
        ("web", "A=${{project.NO}}", Value::Null, "project.NO"),
        ("web", "", json!("256m"), "at least 4MiB"),
    ] {
        let patch = json!({"applicationId": app.id, "dockerImage": image, "env": env, "memoryLimit": memory});
        post(&sim, "application.update", patch).await;
        deploy(&sim, &app).await;
        let row = get(&sim, &format!("deployment.all?applicationId={}", app.id)).await[0].clone();
        assert_eq!((&row["status"], &row["errorMessage"]), (&json!("error"), &Value::Null));
        let id = row["deploymentId"].as_str().expect("an id");
        let log = get(&sim, &format!("deployment.readLogs?deploymentId={id}")).await;
        assert!(log.as_str().is_some_and(|text| text.contains(says)), "{log}");
    }
    let patch = json!({"applicationId": app.id, "dockerImage": "local:1", "memoryLimit": null});
    post(&sim, "application.update", patch).await;
    post(&sim, "application.redeploy", json!({"applicationId": app.id})).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replicas(&sim, &app).await, "1/1");
}

#[tokio::test(start_paused = true)]
async fn addresses_run_out_without_an_error() {
    let sim = Sim::new(Options { capacity_prefix: 28, ..Options::default() });
    let first = app(&sim, "web").await;
    let mut apps = vec![first];
    for _ in 0..7 {
        let environment = apps[0].environment.clone();
        apps.push(app_in(&sim, environment, "web").await);
    }
    for app in &apps {
        deploy(&sim, app).await;
    }
    sleep(Duration::from_secs(10)).await;
    // Twelve addresses: six services with a virtual address and a task each.
    let mut up = 0;
    for app in &apps {
        up += usize::from(replicas(&sim, app).await == "1/1");
    }
    assert_eq!(up, 6);
    let network = get(&sim, "docker.getConfig?containerId=dokploy-network").await;
    assert_eq!(network["IPAM"]["Config"][0]["Subnet"], "10.0.0.0/28");
    post(&sim, "application.delete", json!({"applicationId": apps[0].id})).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replicas(&sim, &apps[6]).await, "1/1");
    assert_eq!(replicas(&sim, &apps[7]).await, "0/1");
    for app in &apps[1..] {
        post(&sim, "application.delete", json!({"applicationId": app.id})).await;
    }
    assert_eq!(sim.with(|w| w.swarm.used), 0);
}

#[tokio::test(start_paused = true)]
async fn removing_a_project_orphans_services_and_volumes_survive() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "web").await;
    let mount = json!({"type": "volume", "volumeName": "data", "mountPath": "/d", "serviceId": app.id,
                       "serviceType": "application"});
    post(&sim, "mounts.create", mount).await;
    assert!(sim.with(|w| w.swarm.volumes.is_empty()));
    deploy(&sim, &app).await;
    sleep(Duration::from_secs(1)).await;
    let projects = get(&sim, "project.all").await;
    post(&sim, "project.remove", json!({"projectId": projects[0]["projectId"]})).await;
    assert_eq!(replicas(&sim, &app).await, "1/1");
    assert!(sim.with(|w| w.db.applications.is_empty()
        && w.db.mounts.is_empty()
        && w.swarm.remove(&app.name, w.now())));
    assert!(sim.with(|w| w.swarm.volumes.contains_key("data")));
}

#[tokio::test(start_paused = true)]
async fn a_running_job_brings_a_deleted_service_back() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "web").await;
    post(&sim, "application.deploy", json!({"applicationId": app.id})).await;
    sleep(Duration::from_millis(100)).await;
    post(&sim, "application.delete", json!({"applicationId": app.id})).await;
    assert_eq!(replicas(&sim, &app).await, "");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(replicas(&sim, &app).await, "1/1");
}

#[tokio::test(start_paused = true)]
async fn faults_by_step() {
    let sim = Sim::new(Options::default());
    let create = || exchange(&sim, Method::POST, "/api/project.create", json!({"name": "secret"}));
    let count = || sim.with(|w| w.db.projects.len());
    // A restart also kills what was still on its way: the late effect before it never comes.
    for (fault, broken, effect) in [
        (Fault::Before, Broken::NotSent, 0),
        (Fault::After, Broken::Lost, 1),
        (Fault::Late(Duration::from_secs(3)), Broken::Lost, 1),
        (Fault::Restart, Broken::Lost, 1),
    ] {
        sim.plan_fault(CallNo::Next(1), fault);
        assert_eq!(create().await, Err(broken));
        assert_eq!(count(), effect);
    }
    sim.plan_fault(CallNo::Next(1), Fault::Late(Duration::from_secs(3)));
    assert_eq!(create().await, Err(Broken::Lost));
    sleep(Duration::from_secs(4)).await;
    assert_eq!(count(), 2);
    for (fault, status) in [
        (Fault::TooMany { retry_after: Some(7) }, 429),
        (Fault::BadGateway, 502),
        (Fault::Unauthorized, 401),
        (Fault::ErrorAfterCommit, 500),
    ] {
        sim.plan_fault(CallNo::Next(1), fault);
        let (seen, body) = create().await.expect("an answer");
        assert_eq!(seen, status);
        assert!(status != 500 || body["message"].as_str().is_some_and(|m| m.contains("params: secret")));
    }
    assert_eq!(count(), 3);
    for fault in [Fault::Hang, Fault::HangAfter] {
        sim.plan_fault(CallNo::Next(1), fault);
        assert!(tokio::time::timeout(Duration::from_secs(60), create()).await.is_err());
    }
    assert_eq!(count(), 4);
    sim.plan_fault(CallNo::Next(1), Fault::ShortList);
    let short = get(&sim, "project.all").await;
    assert_ne!(short, get(&sim, "project.all").await);
    sim.plan_fault(CallNo::Next(3), Fault::StaleList(Duration::from_secs(5)));
    sleep(Duration::from_secs(10)).await;
    create().await.expect("an answer");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(get(&sim, "project.all").await.as_array().map(Vec::len), Some(5));
    assert_eq!(get(&sim, "project.all").await.as_array().map(Vec::len), Some(4));
    let names: Vec<_> = sim.calls().iter().filter_map(|c| c.fault).collect();
    assert_eq!(names.len(), 13);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_still_takes_effect() {
    let sim = Sim::new(Options::default());
    sim.set_latency(Duration::from_millis(200));
    let call = exchange(&sim, Method::POST, "/api/project.create", json!({"name": "x"}));
    assert!(tokio::time::timeout(Duration::from_millis(50), call).await.is_err());
    assert_eq!(sim.with(|w| w.db.projects.len()), 0);
    sleep(Duration::from_millis(200)).await;
    assert_eq!(sim.with(|w| w.db.projects.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn too_many_domain_creates_wedge_the_server_until_a_restart() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "web").await;
    sim.set_latency(Duration::from_millis(50));
    let burst = |n: usize| {
        let calls: Vec<_> = (0..n)
            .map(|i| {
                let body = json!({"host": format!("h{i}.test"), "applicationId": app.id});
                tokio::time::timeout(
                    Duration::from_secs(20),
                    exchange(&sim, Method::POST, "/api/domain.create", body),
                )
            })
            .collect();
        futures::future::join_all(calls)
    };
    assert!(burst(24).await.iter().all(Result::is_ok));
    assert!(burst(40).await.iter().all(Result::is_err));
    let version = exchange(&sim, Method::GET, "/api/settings.getDokployVersion", Value::Null);
    assert!(tokio::time::timeout(Duration::from_secs(20), version).await.is_err());
    assert_eq!(get(&sim, "health").await, json!({"ok": true}));
    sim.restart();
    assert_eq!(get(&sim, "settings.getDokployVersion").await, "v0.30.2");
    // Overlapping writes of one application's file lost routers, the rows are all there.
    let (rows, text) = sim.with(|w| (w.db.domains.len(), w.traefik.text(&app.name).unwrap_or_default()));
    assert_eq!(rows, 24);
    assert!(text.matches("rule:").count() < 24);
}

#[tokio::test(start_paused = true)]
async fn keys_are_counted_twice_on_rest_and_once_on_trpc() {
    let sim = Sim::new(Options::default());
    let call = |key: String, path: &'static str| {
        let sim = sim.clone();
        async move {
            let response =
                sim.handle(request(&key, Method::GET, path, &Value::Null)).await.expect("an answer");
            (response.status().as_u16(), String::from_utf8_lossy(response.body()).into_owned())
        }
    };
    let rest = "/api/settings.getDokployVersion";
    for _ in 0..5 {
        assert_eq!(call(sim.limited_key(), rest).await.0, 200);
    }
    assert_eq!(call(sim.limited_key(), rest).await, (401, "{\"message\":\"Unauthorized\"}".to_owned()));
    sleep(Duration::from_secs(86_401)).await;
    for _ in 0..10 {
        assert_eq!(call(sim.limited_key(), "/api/trpc/settings.getDokployVersion").await.0, 200);
    }
    let (status, body) = call(sim.limited_key(), "/api/trpc/settings.getDokployVersion").await;
    assert!(status == 401 && body.contains("\"code\":-32001"));
    assert_eq!(call(sim.member_key(), "/api/project.all").await, (200, "[]".to_owned()));
    assert_eq!(call(sim.member_key(), "/api/application.one?applicationId=x").await.0, 401);
    let issued = sim.issue_key(Role::Admin);
    assert_eq!(call(issued.clone(), rest).await.0, 200);
    sim.revoke_key(&issued);
    assert_eq!(call(issued, rest).await.0, 401);
}

#[tokio::test(start_paused = true)]
async fn batches_mix_and_long_ones_are_refused() {
    let sim = Sim::new(Options::default());
    let app = app(&sim, "web").await;
    let batch = |n: usize| {
        let names = vec!["application.one"; n].join(",");
        let input: serde_json::Map<String, Value> =
            (0..n).map(|i| (i.to_string(), json!({"json": {"applicationId": app.id}}))).collect();
        let input: String = Value::Object(input)
            .to_string()
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-_".contains(&b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect();
        format!("/api/trpc/{names}?batch=1&input={input}")
    };
    let (status, body) = exchange(&sim, Method::GET, &batch(150), Value::Null).await.expect("an answer");
    assert_eq!((status, body.as_array().map(Vec::len)), (200, Some(150)));
    let (status, _) = exchange(&sim, Method::GET, &batch(160), Value::Null).await.expect("an answer");
    assert_eq!(status, 431);
    let body = json!({"0": {"json": {"applicationId": app.id, "description": "x"}},
                      "1": {"json": {"applicationId": "no", "name": "x"}}});
    let path = "/api/trpc/application.update,application.update?batch=1";
    let (status, body) = exchange(&sim, Method::POST, path, body).await.expect("an answer");
    assert_eq!((status, &body[0]["result"]["data"]["json"]), (207, &json!(true)));
    assert_eq!(body[1]["error"]["json"]["data"]["code"], "BAD_REQUEST");
}

async fn history(seed: u64) -> (String, Vec<(u64, Option<u16>, usize)>) {
    let sim = Sim::new(Options { seed, ..Options::default() });
    let first = app(&sim, "web").await;
    sim.set_chaos(Some(Chaos::even(seed, 0.5)));
    for turn in 0..60 {
        let body = json!({"applicationId": first.id, "env": format!("T={turn}")});
        let _ = exchange(&sim, Method::POST, "/api/application.update", body).await;
        let _ =
            exchange(&sim, Method::POST, "/api/application.deploy", json!({"applicationId": first.id})).await;
        let _ = exchange(&sim, Method::GET, "/api/project.all", Value::Null).await;
        sleep(Duration::from_millis(100)).await;
    }
    let calls = sim.calls().into_iter().map(|c| (c.no, c.status, c.bytes)).collect();
    (sim.dump().to_string(), calls)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_world() {
    let first = history(7).await;
    assert_eq!(first, history(7).await);
    assert_ne!(first.0, history(8).await.0);
}

#[tokio::test(start_paused = true)]
async fn the_registry_knows_what_was_declared() {
    let sim = Sim::new(Options::default());
    sim.set_image("registry.sim/team/web:1", Behaviour::Ok);
    sim.set_image("registry.sim/team/web:2", Behaviour::Missing);
    let head = |path: &str| {
        let response = sim.registry(request("", Method::HEAD, path, &Value::Null));
        let digest =
            response.headers().get("docker-content-digest").and_then(|v| v.to_str().ok()).map(str::to_owned);
        (response.status().as_u16(), digest)
    };
    let (status, digest) = head("/v2/team/web/manifests/1");
    let digest = digest.expect("a digest");
    assert_eq!(status, 200);
    assert_eq!(head(&format!("/v2/team/web/manifests/{digest}")).0, 200);
    assert_eq!(head("/v2/team/web/manifests/2").0, 404);
    assert_ne!(sim.push_image("registry.sim/team/web:1", Behaviour::Crash), digest);
    let pinned = format!("registry.sim/team/web@{digest}");
    sim.with(|w| {
        assert_eq!(w.swarm.images.behaviour(&pinned), &Behaviour::Ok);
        assert_eq!(w.swarm.images.behaviour("registry.sim/team/web:1"), &Behaviour::Crash);
    });
}
