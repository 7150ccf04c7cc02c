//! Each role against each verb, tokens that are wrong or of somebody else, and bodies that are wrong: the right status,
//! an error that is JSON, and nothing changed.

mod common;

use axum::http::StatusCode;
use berth_model::access::Role;
use common::*;
use serde_json::Value;
use std::sync::Arc;

/// Method, path, body, who may, and the status for those who may.
const VERBS: &[(&str, &str, &str, &str, u16)] = &[
    ("GET", "/api/v1/stacks", "", "viewer developer admin owner", 200),
    ("GET", "/api/v1/stacks/john", "", "viewer developer admin owner", 200),
    ("GET", "/api/v1/stacks/john/events", "", "viewer developer admin owner", 200),
    ("GET", "/api/v1/names/new", "", "viewer developer admin owner", 200),
    ("GET", "/api/v1/projects/shared", "", "viewer developer admin owner", 200),
    ("GET", "/api/v1/stacks/john/apps/web/logs", "", "developer admin owner", 200),
    ("POST", "/api/v1/stacks/john/apps/web/restart", "", "developer admin owner", 202),
    ("PUT", "/api/v1/stacks/new", "{\"template\": \"web\"}", "admin owner", 201),
    ("PUT", "/api/v1/stacks/john", "{\"template\": \"web\"}", "admin owner", 200),
    ("PUT", "/api/v1/stacks/john?dryRun=true", "{\"template\": \"web\"}", "admin owner", 200),
    ("POST", "/api/v1/stacks/john/apps/web/scale", "{\"replicas\": 2}", "admin owner", 200),
    ("POST", "/api/v1/stacks/john/actions", "{\"do\": \"reconcile\", \"pull\": true}", "admin owner", 202),
    ("POST", "/api/v1/stacks/john/actions", "{\"do\": \"pause\"}", "admin owner", 202),
    ("GET", "/api/v1/stacks/john/secrets", "", "admin owner", 200),
    ("PUT", "/api/v1/stacks/john/secrets/KEY", "{\"value\": \"canary-9\"}", "admin owner", 200),
    ("DELETE", "/api/v1/stacks/john?dryRun=true", "", "owner", 200),
    ("DELETE", "/api/v1/stacks/john", "", "owner", 202),
    ("GET", "/api/v1/tokens", "", "owner", 200),
    ("POST", "/api/v1/tokens", "{\"name\": \"ci\", \"role\": \"viewer\"}", "owner", 201),
    ("DELETE", "/api/v1/tokens/viewer-j", "", "owner", 204),
];

/// Method, path, headers, body, and the status and code of the error.
type Wrong<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

/// What must not have changed.
fn state(fleet: &Arc<Fake>) -> String {
    let (rows, requests) = (fleet.rows.lock().unwrap(), fleet.requests.lock().unwrap());
    let (tokens, secrets) = (fleet.tokens.lock().unwrap(), fleet.secrets.lock().unwrap());
    format!("{rows:?} {requests:?} {tokens:?} {secrets:?}")
}

fn error_code(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {body}"));
    assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    body["error"]["code"].as_str().expect("a code").to_owned()
}

#[tokio::test(start_paused = true)]
async fn each_role_may_what_it_may_and_nothing_else() {
    for (method, path, body, may, status) in VERBS {
        for role in Role::ALL {
            let fleet = fake();
            let before = state(&fleet);
            let answer = as_holder(&fleet, Some(&text_of(role, Some("j"))), method, path, &[], body).await;
            if may.split(' ').any(|r| r == role.as_str()) {
                assert_eq!(answer.status().as_u16(), *status, "{role}: {method} {path}");
                continue;
            }
            let (status, body) = text(answer).await;
            assert_eq!(
                (status, &*error_code(&body)),
                (StatusCode::FORBIDDEN, "forbidden"),
                "{role}: {method} {path}"
            );
            assert_eq!(state(&fleet), before, "{role}: {method} {path}");
            // The refusal leaves a trace.
            let audit = fleet.audit.lock().unwrap();
            assert_eq!(audit.len(), 1);
            assert!(
                audit[0].outcome.starts_with("refused") && audit[0].who == format!("token {role}-j"),
                "{audit:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_and_strangers_may_nothing() {
    let wrong = berth_api::token_text(&[99; 32]);
    for (method, path, body, ..) in VERBS {
        for token in [None, Some(wrong.expose()), Some("berth_"), Some("x")] {
            let fleet = fake();
            let before = state(&fleet);
            let answer = as_holder(&fleet, token, method, path, &[], body).await;
            assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"berth\"");
            let (status, body) = text(answer).await;
            assert_eq!(
                (status, &*error_code(&body)),
                (StatusCode::UNAUTHORIZED, "unauthorized"),
                "{method} {path}"
            );
            assert_eq!(state(&fleet), before, "{method} {path}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn another_tenants_token_finds_nothing() {
    for (method, path, body, ..) in VERBS {
        if !path.contains("john") {
            continue;
        }
        let fleet = fake();
        let before = state(&fleet);
        let answer = as_holder(&fleet, Some(&text_of(Role::Owner, Some("z"))), method, path, &[], body).await;
        let (status, body) = text(answer).await;
        // A name that is taken is all that is told; of what it is nothing.
        let told = if *method == "PUT" && !path.contains("secrets") {
            (StatusCode::CONFLICT, "conflict")
        } else {
            (StatusCode::NOT_FOUND, "notFound")
        };
        assert_eq!((status, &*error_code(&body)), told, "{method} {path}: {body}");
        assert_eq!(state(&fleet), before, "{method} {path}");
    }
    let fleet = fake();
    let owner = text_of(Role::Owner, Some("z"));
    let (_, body) = text(as_holder(&fleet, Some(&owner), "GET", "/api/v1/stacks", &[], "").await).await;
    assert!(body.contains("zoe") && !body.contains("john") && !body.contains("t0"), "{body}");
    let (_, body) = text(as_holder(&fleet, Some(&owner), "GET", "/api/v1/tokens", &[], "").await).await;
    assert!(body.contains("viewer-z") && !body.contains("-j") && !body.contains("-all"), "{body}");
    let (status, _) =
        text(as_holder(&fleet, Some(&owner), "DELETE", "/api/v1/tokens/viewer-j", &[], "").await).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    for (path, body) in [
        ("/api/v1/stacks/new", "{\"tenant\": \"j\"}"),
        ("/api/v1/tokens", "{\"name\": \"x\", \"role\": \"owner\", \"tenant\": \"j\"}"),
    ] {
        let method = if path.ends_with("tokens") { "POST" } else { "PUT" };
        let (status, _) = text(as_holder(&fleet, Some(&owner), method, path, &[], body).await).await;
        assert_eq!(status, StatusCode::FORBIDDEN, "{path}");
    }
    let (status, _) = text(as_holder(&fleet, Some(&owner), "GET", "/api/v1/events", &[], "").await).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_none() {
    let fleet = fake();
    let text = text_of(Role::Viewer, None);
    let expire = |at: i64| {
        let mut tokens = fleet.tokens.lock().unwrap();
        tokens.iter_mut().find(|t| t.name == "viewer-all").unwrap().expires = Some(berth_model::Time(at));
    };
    expire(5_001);
    assert_eq!(
        as_holder(&fleet, Some(&text), "GET", "/api/v1/stacks", &[], "").await.status(),
        StatusCode::OK
    );
    expire(5_000);
    let refused = as_holder(&fleet, Some(&text), "GET", "/api/v1/stacks", &[], "").await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(start_paused = true)]
async fn bodies_and_conditions_that_are_wrong_change_nothing() {
    let large = format!("{{\"spec\": {{\"x\": \"{}\"}}}}", "y".repeat(1 << 20));
    let put = "/api/v1/stacks/john";
    let scale = "/api/v1/stacks/john/apps/web/scale";
    let cases: &[Wrong<'_>] = &[
        ("PUT", put, &[], &large, 413, "tooLarge"),
        ("PUT", put, &[], "{\"spec\": {", 400, "badRequest"),
        ("PUT", put, &[], "[]", 422, "invalid"),
        ("PUT", put, &[], "{\"spek\": {}}", 422, "invalid"),
        ("PUT", put, &[], "{\"template\": 7}", 422, "invalid"),
        ("PUT", put, &[], "{\"spec\": {\"wrong\": 1}}", 422, "invalid"),
        ("PUT", put, &[("content-type", "text/plain")], "{}", 415, "unsupportedMediaType"),
        ("PUT", put, &[("if-match", "\"1\"")], "{}", 412, "preconditionFailed"),
        ("PUT", put, &[("if-match", "x")], "{}", 400, "badRequest"),
        ("PUT", put, &[("if-match", "*"), ("if-none-match", "*")], "{}", 400, "badRequest"),
        ("PUT", put, &[("if-none-match", "*")], "{}", 412, "preconditionFailed"),
        ("PUT", "/api/v1/stacks/new", &[("if-match", "*")], "{}", 412, "preconditionFailed"),
        ("PUT", "/api/v1/stacks/New", &[], "{}", 400, "badRequest"),
        ("PUT", "/api/v1/stacks/admin", &[], "{}", 409, "conflict"),
        ("PUT", "/api/v1/stacks/john?dryRun=maybe", &[], "{}", 400, "badRequest"),
        ("DELETE", put, &[("if-match", "7")], "", 412, "preconditionFailed"),
        ("DELETE", "/api/v1/stacks/by-hand", &[], "", 409, "conflict"),
        ("DELETE", "/api/v1/stacks/none", &[], "", 404, "notFound"),
        ("POST", scale, &[], "{\"replicas\": 1001}", 422, "invalid"),
        ("POST", scale, &[], "{\"replicas\": -1}", 422, "invalid"),
        ("POST", scale, &[], "{\"replicas\": 1.5}", 422, "invalid"),
        ("POST", scale, &[("if-match", "9")], "{\"replicas\": 1}", 412, "preconditionFailed"),
        ("POST", "/api/v1/stacks/john/apps/none/scale", &[], "{\"replicas\": 1}", 404, "notFound"),
        ("POST", "/api/v1/stacks/john/apps/none/restart", &[], "", 404, "notFound"),
        ("POST", "/api/v1/stacks/john/actions", &[], "{\"do\": \"explode\"}", 422, "invalid"),
        ("GET", "/api/v1/stacks/john/apps/web/logs?tail=0", &[], "", 400, "badRequest"),
        ("GET", "/api/v1/stacks/john/apps/web/logs?since=now", &[], "", 400, "badRequest"),
        ("POST", "/api/v1/tokens", &[], "{\"name\": \"a b\", \"role\": \"viewer\"}", 422, "invalid"),
        ("POST", "/api/v1/tokens", &[], "{\"name\": \"a\", \"role\": \"root\"}", 422, "invalid"),
        ("POST", "/api/v1/tokens", &[], "{\"name\": \"viewer-j\", \"role\": \"viewer\"}", 409, "conflict"),
        ("PUT", "/api/v1/stacks/john/secrets/KEY", &[], "{\"value\": \"\"}", 422, "invalid"),
        ("PUT", "/api/v1/stacks/john/secrets/A%20B", &[], "{\"value\": \"x\"}", 400, "badRequest"),
        ("PUT", "/api/v1/stacks/john/secrets/KEY?app=NO", &[], "{\"value\": \"x\"}", 400, "badRequest"),
        ("DELETE", "/api/v1/stacks/john/secrets/KEY", &[], "", 404, "notFound"),
        ("PATCH", put, &[], "{}", 405, "methodNotAllowed"),
        ("GET", "/api/v1/none", &[], "", 404, "notFound"),
    ];
    let owner = text_of(Role::Owner, None);
    for (method, path, headers, body, status, code) in cases {
        let fleet = fake();
        let before = state(&fleet);
        let (got, answer) = text(as_holder(&fleet, Some(&owner), method, path, headers, body).await).await;
        let shown = &body[..body.len().min(60)];
        assert_eq!(
            (got.as_u16(), &*error_code(&answer)),
            (*status, *code),
            "{method} {path} {shown}: {answer}"
        );
        assert_eq!(state(&fleet), before, "{method} {path} {shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_is_named_and_the_generation_is_told() {
    let fleet = fake();
    let admin = text_of(Role::Admin, Some("j"));
    let body = "{\"spec\": {\"wrong\": 1}}";
    let (_, answer) =
        text(as_holder(&fleet, Some(&admin), "PUT", "/api/v1/stacks/john", &[], body).await).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["error"]["faults"][0]["path"], "spec.wrong");
    assert_eq!(answer["error"]["faults"].as_array().unwrap().len(), 2);
    let stale = [("if-match", "\"1\"")];
    let (_, answer) =
        text(as_holder(&fleet, Some(&admin), "PUT", "/api/v1/stacks/john", &stale, "{}").await).await;
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["error"]["generation"], 2);
    let right = [("if-match", "\"2\"")];
    let answer = as_holder(&fleet, Some(&admin), "PUT", "/api/v1/stacks/john", &right, "{}").await;
    assert_eq!((answer.status(), &answer.headers()["etag"]), (StatusCode::OK, &"\"3\"".parse().unwrap()));
}

#[tokio::test(start_paused = true)]
async fn what_is_asked_for_is_shown_to_those_who_may_change_it_only() {
    let fleet = fake();
    for (role, sees) in
        [(Role::Viewer, false), (Role::Developer, false), (Role::Admin, true), (Role::Owner, true)]
    {
        let token = text_of(role, Some("j"));
        let (_, body) =
            text(as_holder(&fleet, Some(&token), "GET", "/api/v1/stacks/john", &[], "").await).await;
        assert_eq!(body.contains("canary-1234"), sees, "{role}: {body}");
        let (_, body) = text(as_holder(&fleet, Some(&token), "GET", "/api/v1/stacks", &[], "").await).await;
        assert!(!body.contains("canary-1234"), "{role}: {body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tokens_text_is_answered_once_and_works_until_it_is_revoked() {
    let fleet = fake();
    let owner = text_of(Role::Owner, Some("j"));
    let new = "{\"name\": \"ci\", \"role\": \"admin\", \"expiresIn\": \"1h\"}";
    let answer = as_holder(&fleet, Some(&owner), "POST", "/api/v1/tokens", &[], new).await;
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (_, body) = text(answer).await;
    let made: Value = serde_json::from_str(&body).unwrap();
    let token = made["token"].as_str().unwrap().to_owned();
    assert!(
        token.starts_with("berth_") && made["tenant"] == "j" && made["expires"] == "1970-01-01T01:00:05Z",
        "{made}"
    );
    let (_, body) = text(as_holder(&fleet, Some(&owner), "GET", "/api/v1/tokens", &[], "").await).await;
    assert!(body.contains("\"ci\"") && !body.contains(&token), "{body}");
    let path = "/api/v1/stacks/john/apps/web/restart";
    assert_eq!(as_holder(&fleet, Some(&token), "POST", path, &[], "").await.status(), StatusCode::ACCEPTED);
    let revoked = as_holder(&fleet, Some(&owner), "DELETE", "/api/v1/tokens/ci", &[], "").await;
    assert_eq!(revoked.status(), StatusCode::NO_CONTENT);
    assert_eq!(
        as_holder(&fleet, Some(&token), "POST", path, &[], "").await.status(),
        StatusCode::UNAUTHORIZED
    );
    let audit = fleet.audit.lock().unwrap();
    let told: Vec<_> =
        audit.iter().map(|a| format!("{} {} {:?} {}", a.who, a.what, a.key, a.outcome)).collect();
    assert_eq!(
        told,
        [
            "token owner-j make Some(\"token/ci\") done",
            "token ci restart Some(\"stack/john\") asked",
            "token owner-j revoke Some(\"token/ci\") done"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_often_waits() {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;
    let fleet = fake();
    let options = berth_api::Options { per_second: std::num::NonZeroU32::new(2).unwrap(), ..options(false) };
    let app = berth_api::router(fleet, &options, tokio_util::sync::CancellationToken::new());
    let ask = async |token: String| {
        let request = Request::get("/api/v1/stacks").header("authorization", format!("Bearer {token}"));
        app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    };
    let viewer = text_of(Role::Viewer, None);
    let mut statuses = Vec::new();
    for _ in 0..9 {
        statuses.push(ask(viewer.clone()).await.status().as_u16());
    }
    assert_eq!(statuses[..8], [200; 8]);
    let limited = ask(viewer).await;
    assert_eq!(limited.headers()["retry-after"], "1");
    let (status, body) = text(limited).await;
    assert_eq!((status, &*error_code(&body)), (StatusCode::TOO_MANY_REQUESTS, "tooManyRequests"));
    // Nobody else waits for it.
    assert_eq!(ask(text_of(Role::Owner, None)).await.status(), StatusCode::OK);
}

/// The document names every path with its methods, and no other.
#[tokio::test(start_paused = true)]
async fn the_document_is_of_these_routes() {
    let fleet = fake();
    let (_, document) = json(&fleet, "/api/v1/openapi.json").await;
    let owner = text_of(Role::Owner, None);
    let mut known = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let real = path.replace("{name}", "john").replace("{app}", "web").replace("{secret}", "KEY");
        for method in ["get", "put", "post", "delete", "patch"] {
            let answer = as_holder(&fleet, Some(&owner), &method.to_uppercase(), &real, &[], "").await;
            let served = answer.status() != StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(item.get(method).is_some(), served, "{method} {path}: {}", answer.status());
            known += usize::from(served);
        }
    }
    assert_eq!(known, 18);
}

#[tokio::test(start_paused = true)]
async fn a_secret_comes_in_and_never_goes_out() {
    let fleet = fake();
    let admin = text_of(Role::Admin, Some("j"));
    let path = "/api/v1/stacks/john/secrets/KEY?app=web";
    let body = "{\"value\": \"canary-4321\"}";
    let (status, given) = text(as_holder(&fleet, Some(&admin), "PUT", path, &[], body).await).await;
    assert_eq!(status, StatusCode::OK);
    let (_, listed) =
        text(as_holder(&fleet, Some(&admin), "GET", "/api/v1/stacks/john/secrets", &[], "").await).await;
    let audit = format!("{:?}", fleet.audit.lock().unwrap());
    for shown in [&given, &listed, &audit] {
        assert!(shown.contains("KEY") && !shown.contains("canary"), "{shown}");
    }
    assert_eq!(
        as_holder(&fleet, Some(&admin), "DELETE", path, &[], "").await.status(),
        StatusCode::NO_CONTENT
    );
    assert!(fleet.secrets.lock().unwrap().is_empty());
}
