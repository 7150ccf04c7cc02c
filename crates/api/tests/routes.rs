//! What is read, and the watch: resumed, alive while nothing happens, and without a reader that does not keep up.

mod common;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use berth_api::router;
use common::*;
use http_body_util::BodyExt;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

#[tokio::test]
async fn health_and_metrics() {
    let fleet = fake();
    assert_eq!(get(&fleet, "/healthz").await, (StatusCode::OK, "ok\n".to_owned()));
    assert_eq!(json(&fleet, "/readyz").await.0, StatusCode::OK);
    *fleet.ready.lock().unwrap() = Err(vec!["backend main was not looked at yet".to_owned()]);
    let (status, body) = json(&fleet, "/readyz").await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(body["why"][0], "backend main was not looked at yet");
    assert_eq!(get(&fleet, "/metrics").await.1, "berth_stacks 1\n");
    assert_eq!(get(&fleet, "/health").await.0, StatusCode::OK, "not ready is not dead");
    fleet.alive.store(false, Ordering::SeqCst);
    for path in ["/healthz", "/health"] {
        let (status, body) = get(&fleet, path).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert!(body.contains("the loop stands still"), "{path}: {body}");
    }
}

#[tokio::test]
async fn stacks_are_listed_in_order_and_by_tenant() {
    let fleet = fake();
    let (_, body) = json(&fleet, "/api/v1/stacks").await;
    let names: Vec<_> = body["items"].as_array().unwrap().iter().map(|i| i["name"].clone()).collect();
    assert_eq!(names, ["shared", "by-hand", "john", "zoe"]);
    assert_eq!(body["holds"][0]["token"], "t0");
    let (_, body) = json(&fleet, "/api/v1/stacks?tenant=j").await;
    assert_eq!(body["items"].as_array().unwrap().len(), 1);
    assert!(body["holds"].as_array().unwrap().is_empty(), "a hold names other tenants' stacks");
}

#[tokio::test]
async fn one_stack() {
    let fleet = fake();
    let (status, body) = json(&fleet, "/api/v1/stacks/john").await;
    assert_eq!((status, &body["observedGeneration"]), (StatusCode::OK, &Value::from(2)));
    assert_eq!(json(&fleet, "/api/v1/stacks/nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(json(&fleet, "/api/v1/stacks/NO").await.0, StatusCode::BAD_REQUEST);
    assert_eq!(json(&fleet, "/api/v1/projects/shared").await.0, StatusCode::OK);
}

#[tokio::test]
async fn errors_are_json() {
    let fleet = fake();
    let (status, body) = json(&fleet, "/nothing").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &Value::from("notFound")));
    let answer = ask(&fleet, Request::post("/api/v1/stacks").body(Body::empty()).unwrap()).await;
    let (status, body) = text(answer).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(body.contains("methodNotAllowed"), "{body}");
    assert_eq!(json(&fleet, "/api/v1/events?after=x").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_page_loads_nothing_from_elsewhere() {
    let fleet = fake();
    let answer = ask(&fleet, Request::get("/").body(Body::empty()).unwrap()).await;
    assert!(answer.headers()["content-security-policy"].to_str().unwrap().starts_with("default-src 'none'"));
    let page = answer.into_body().collect().await.unwrap().to_bytes();
    let page = String::from_utf8(page.to_vec()).unwrap();
    for outside in ["src=", "<link", "@import", "innerHTML", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
}

/// What the watch sends next.
async fn frame(body: &mut Body) -> Option<String> {
    let frame = body.frame().await?.unwrap();
    Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
}

async fn watch(fleet: &Arc<Fake>, last: Option<&str>) -> Body {
    let mut request = Request::get("/api/v1/events");
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let answer = ask(fleet, request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    answer.into_body()
}

#[tokio::test(start_paused = true)]
async fn a_watch_resumes_and_goes_on() {
    let fleet = fake();
    let mut body = watch(&fleet, Some("3")).await;
    assert!(frame(&mut body).await.unwrap().contains(": watching"));
    assert!(frame(&mut body).await.unwrap().contains("id: 4"));
    assert!(frame(&mut body).await.unwrap().contains("id: 5"));
    // Told again by the live side: sent once.
    fleet.live.send(event(5)).unwrap();
    fleet.live.send(event(6)).unwrap();
    let next = frame(&mut body).await.unwrap();
    assert!(next.contains("id: 6") && next.contains("number 6"), "{next}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_without_a_number_begins_now_and_stays_alive() {
    let fleet = fake();
    let mut body = watch(&fleet, None).await;
    assert!(frame(&mut body).await.unwrap().contains(": watching"));
    let began = tokio::time::Instant::now();
    assert!(frame(&mut body).await.unwrap().contains(": alive"));
    assert_eq!(began.elapsed().as_secs(), 15);
    fleet.live.send(event(9)).unwrap();
    assert!(frame(&mut body).await.unwrap().contains("id: 9"));
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_falls_behind_is_dropped() {
    let fleet = fake();
    let mut body = watch(&fleet, None).await;
    assert!(frame(&mut body).await.unwrap().contains(": watching"));
    for id in 10..2_000 {
        let _ = fleet.live.send(event(id));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut got = 0;
    while frame(&mut body).await.is_some() {
        got += 1;
    }
    assert!(got <= 256, "{got}");
    assert_eq!(fleet.live.receiver_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn there_is_room_for_so_many_readers_and_it_comes_back() {
    let fleet = fake();
    let app = router(fleet.clone(), &options(true), CancellationToken::new());
    let ask = || app.clone().oneshot(Request::get("/api/v1/events").body(Body::empty()).unwrap());
    let mut open = Vec::new();
    for _ in 0..64 {
        open.push(ask().await.unwrap());
    }
    assert_eq!(ask().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    drop(open);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(ask().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_with_the_daemon() {
    let fleet = fake();
    let stop = CancellationToken::new();
    let app = router(fleet, &options(true), stop.clone());
    let answer = app.oneshot(Request::get("/api/v1/events").body(Body::empty()).unwrap()).await.unwrap();
    let mut body = answer.into_body();
    assert!(frame(&mut body).await.is_some());
    stop.cancel();
    assert!(frame(&mut body).await.is_none());
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_one_stack_shows_how_it_stands_and_its_events_only() {
    let fleet = fake();
    let request = Request::get("/api/v1/stacks/john/events?after=4").body(Body::empty()).unwrap();
    let mut body = ask(&fleet, request).await.into_body();
    assert!(frame(&mut body).await.unwrap().contains(": watching"));
    assert!(frame(&mut body).await.unwrap().contains("id: 5"), "what it missed");
    let shown = frame(&mut body).await.unwrap();
    assert!(shown.contains("event: status") && shown.contains("\"ready\":true"), "{shown}");
    fleet.live.send(berth_model::event::Event { key: stack("zoe"), ..event(6) }).unwrap();
    fleet.live.send(event(7)).unwrap();
    assert!(frame(&mut body).await.unwrap().contains("id: 7"));
    // A changed row is not ready before it was judged.
    fleet.rows.lock().unwrap().get_mut(&name("john")).unwrap().generation = 3;
    let shown = frame(&mut body).await.unwrap();
    assert!(shown.contains("\"ready\":false") && shown.contains("Pending"), "{shown}");
    assert!(!shown.contains("canary"), "what is asked for is not shown to who may not change it: {shown}");
    let began = tokio::time::Instant::now();
    assert!(frame(&mut body).await.unwrap().contains(": alive"));
    assert_eq!(began.elapsed().as_secs(), 15);
}
