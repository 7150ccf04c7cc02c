//! What runs: answers as Docker and Dokploy write them.

use super::*;
use serde_json::json;

fn inspected(update: serde_json::Value) -> Vec<u8> {
    json!({
        "ID": "x",
        "Spec": {
            "Name": "app-a1b2c3",
            "TaskTemplate": { "ContainerSpec": {
                "Image": "nginx:1@sha256:00", "Labels": { "berth.dev/hash": "00000000000000ff" }, "Env": ["A=hunter2"]
            } },
            "Mode": { "Replicated": { "Replicas": 2 } },
        },
        "UpdateStatus": update,
    })
    .to_string()
    .into_bytes()
}

#[test]
fn services() {
    let state = |update| service(&inspected(update)).unwrap().unwrap().update;
    assert_eq!(state(json!(null)), UpdateState::Settled);
    assert_eq!(state(json!({ "State": "completed", "Message": "update completed" })), UpdateState::Settled);
    assert_eq!(state(json!({ "State": "updating" })), UpdateState::Updating);
    assert_eq!(state(json!({ "State": "paused" })), UpdateState::Paused("paused".into()));
    assert_eq!(
        state(json!({ "State": "rollback_completed", "Message": "rollback completed" })),
        UpdateState::RolledBack("rollback completed".into())
    );
    let live = service(&inspected(json!(null))).unwrap().unwrap();
    assert_eq!(
        (live.hash, live.replicas, live.image.as_str()),
        (Some(Hash(255)), Some(2), "nginx:1@sha256:00")
    );
    for nothing in ["", "null", " ", "\"\"", r#"{"Name":"dokploy-network","IPAM":{}}"#] {
        assert_eq!(service(nothing.as_bytes()), Ok(None), "{nothing}");
    }
    assert!(service(b"[]").is_err());
    assert!(service(br#"{"Spec":{}}"#).is_err());
}

#[test]
fn tasks_lose_times_and_empty_errors() {
    let body = br#"[{"containerId":"x","name":"a.1","state":"running","currentState":"Running less than a second ago","node":"vm","error":"Error:"},
        {"state":"shutdown","currentState":"Failed 2 minutes ago","error":"Error: \"task: non-zero exit (1)\""}]"#;
    let got = tasks(body).unwrap();
    assert_eq!(
        (got[0].desired.as_str(), got[0].state.as_str(), got[0].error.as_deref()),
        ("running", "Running", None)
    );
    assert_eq!((got[1].state.as_str(), got[1].error.as_deref()), ("Failed", Some("task: non-zero exit (1)")));
    assert_eq!(tasks(b""), Ok(vec![]));
}

#[test]
fn jobs_by_application() {
    let queue = br#"[{"id":"job-29","data":{"applicationId":"a","titleLog":"t1","descriptionLog":""},"state":"waiting"},
        {"id":"job-30","data":{"composeId":"c","titleLog":"x"},"state":"active"}]"#;
    let rows = br#"[{"deploymentId":"d1","title":"old","description":null,"status":"done","applicationId":"a","createdAt":"2026-01-01T00:00:00.000Z"},
        {"deploymentId":"d2","title":"new","description":"Berth","status":"running","applicationId":"a","createdAt":"2026-01-02T00:00:00.000Z"},
        {"deploymentId":"d3","title":"c","description":"","status":"done","applicationId":null,"composeId":"c","createdAt":"2026"}]"#;
    let jobs = jobs(queue, rows, Time(5)).unwrap();
    assert_eq!(jobs.queued, BTreeMap::from([(AppId::from("a"), vec!["t1\n".to_owned()])]));
    let rows = &jobs.rows[&AppId::from("a")];
    assert_eq!(rows.iter().map(|d| d.title.as_str()).collect::<Vec<_>>(), ["new\nBerth", "old\n"]);
    assert_eq!(jobs.rows.len(), 1);
}

#[test]
fn texts() {
    assert_eq!(routers(b"null"), Ok(None));
    assert_eq!(routers(b"\"http:\\n\""), Ok(Some("http:\n".into())));
    assert_eq!(log(b"\"one\\n\\ntoken=hunter2\\n\"").unwrap(), "one\ntoken= ***");
    assert_eq!(log(b"").unwrap(), "");
}

#[test]
fn the_network_is_known_by_its_name_and_its_parts() {
    let check = |body: &str, is: bool| {
        assert_eq!(super::is_network(body.as_bytes(), "dokploy-network"), is, "{body}");
    };
    check(r#"{"Name": "dokploy-network", "IPAM": {"Config": []}}"#, true);
    check(r#"{"Name": "other-network", "IPAM": {"Config": []}}"#, false);
    // A service that somebody called like the network.
    check(r#"{"Name": "dokploy-network", "Spec": {}}"#, false);
    for nothing in ["", "null", "[]", "\"\"", "{"] {
        check(nothing, false);
    }
}
