//! The table of Dokploy's bad answers, as a running server wrote them, and what each means for a read, for an update
//! and for a create.

use super::*;
use bytes::Bytes;

const BARE_401: &str = r#"{"message":"Unauthorized"}"#;
const CANARY: &str = "hunter2";

fn body(message: &str, code: &str, status: u16, path: Option<&str>) -> String {
    let mut data = serde_json::json!({ "code": code, "httpStatus": status, "zodError": null });
    if let Some(path) = path {
        data["path"] = path.into();
    }
    serde_json::json!({ "message": message, "code": code, "data": data }).to_string()
}

fn judge(nature: Nature, status: u16, body: &str, headers: &[(&'static str, &str)]) -> Verdict {
    let mut call = match nature {
        Nature::Read => Call::get("application.one", "/api/application.one"),
        _ => Call::post("application.update", "/api/application.update", Bytes::new()),
    };
    call.idempotent = nature != Nature::Create;
    let reply = Reply {
        status,
        headers: headers
            .iter()
            .map(|(n, v)| (http::HeaderName::from_static(n), http::HeaderValue::from_str(v).unwrap()))
            .collect(),
        body: Bytes::copy_from_slice(body.as_bytes()),
    };
    Answers.judge(&call, &reply).unwrap_err()
}

fn word(error: &PortError) -> &'static str {
    match error {
        PortError::NotFound(_) => "not found",
        PortError::Conflict(_) => "conflict",
        PortError::Refused { .. } => "refused",
        PortError::Retry { .. } => "retry",
        PortError::Unknown { .. } => "unknown",
        PortError::Auth { .. } => "auth",
        PortError::Unsupported { .. } => "unsupported",
    }
}

#[test]
fn classes() {
    let leak = format!("Failed query: update \"application\" set \"env\" = $1\nparams: {CANARY}");
    let leak_400 = format!("Error creating the project: Failed query: insert {CANARY}");
    let invalid = r#"{"message":"Input validation failed","code":"BAD_REQUEST","data":{"code":"BAD_REQUEST","httpStatus":400,"path":"application.one","zodError":{}},"issues":[{"expected":"string","code":"invalid_type","path":["applicationId"],"message":"Invalid input: expected string, received undefined"}]}"#;
    let p = Some("application.one");
    // status, body, read, update, create
    let table: Vec<(u16, String, [&str; 3])> = vec![
        (400, invalid.to_owned(), ["refused"; 3]),
        (400, "Invalid JSON".to_owned(), ["refused"; 3]),
        (400, body("Error updating application", "BAD_REQUEST", 400, p), ["not found"; 3]),
        (
            400,
            body("Error updating the environment: Environment not found", "BAD_REQUEST", 400, p),
            ["not found"; 3],
        ),
        (
            400,
            body("You cannot create a environment with the name 'production'", "BAD_REQUEST", 400, p),
            ["refused"; 3],
        ),
        (
            400,
            body(
                "Cannot delete environment: it has active services. Delete all services first.",
                "BAD_REQUEST",
                400,
                p,
            ),
            ["conflict"; 3],
        ),
        (400, body("Error creating the project: unauthorized to access", "BAD_REQUEST", 400, p), ["auth"; 3]),
        (400, body(&leak_400, "BAD_REQUEST", 400, p), ["retry", "unknown", "unknown"]),
        (400, body("Error creating domain", "BAD_REQUEST", 400, p), ["retry", "retry", "unknown"]),
        (401, BARE_401.to_owned(), ["auth"; 3]),
        (401, body("UNAUTHORIZED", "UNAUTHORIZED", 401, p), ["auth"; 3]),
        (401, body("You don't have access to this service", "UNAUTHORIZED", 401, p), ["auth"; 3]),
        (403, body("You are not a member of this organization", "FORBIDDEN", 403, p), ["auth"; 3]),
        (404, body("Application not found", "NOT_FOUND", 404, p), ["not found"; 3]),
        (404, body("Not found", "NOT_FOUND", 404, None), ["unsupported"; 3]),
        (404, "404 page not found\n".to_owned(), ["retry"; 3]),
        (409, body("taken", "CONFLICT", 409, p), ["conflict"; 3]),
        (413, "Body exceeded 1mb limit".to_owned(), ["refused"; 3]),
        (415, body("Missing content-type header", "UNSUPPORTED_MEDIA_TYPE", 415, p), ["refused"; 3]),
        (429, "slow down".to_owned(), ["retry"; 3]),
        (500, body("No values to set", "INTERNAL_SERVER_ERROR", 500, p), ["refused"; 3]),
        (500, body(&leak, "INTERNAL_SERVER_ERROR", 500, p), ["retry", "unknown", "unknown"]),
        (502, "<html>bad gateway".to_owned(), ["retry", "unknown", "unknown"]),
        (503, String::new(), ["retry", "unknown", "unknown"]),
        (504, String::new(), ["retry", "unknown", "unknown"]),
        (308, String::new(), ["refused"; 3]),
    ];
    for (status, body, expected) in table {
        for (nature, expected) in [Nature::Read, Nature::Update, Nature::Create].into_iter().zip(expected) {
            let verdict = judge(nature, status, &body, &[]);
            assert_eq!(word(&verdict.error), expected, "{status} {nature:?} {body}");
            let text = format!("{:?} {}", verdict.error, verdict.error);
            assert!(!text.contains(CANARY), "{text}");
        }
    }
}

#[test]
fn only_a_bare_401_counts_against_the_key() {
    let counts = |status, body: &str| judge(Nature::Read, status, body, &[]).counts;
    assert_eq!(counts(401, BARE_401), Counts::NotLetIn);
    assert_eq!(counts(401, &body("UNAUTHORIZED", "UNAUTHORIZED", 401, Some("x"))), Counts::NotLetIn);
    assert_eq!(counts(401, &body("You don't have access", "UNAUTHORIZED", 401, Some("x"))), Counts::Answered);
    assert_eq!(counts(502, ""), Counts::NoAnswer);
    assert_eq!(counts(500, "{}"), Counts::Answered);
}

#[test]
fn not_now_says_when() {
    let verdict = judge(Nature::Create, 429, "", &[("retry-after", "7")]);
    assert!(verdict.again);
    let seven = Some(std::time::Duration::from_secs(7));
    assert!(matches!(verdict.error, PortError::Retry { after, .. } if after == seven));
    let verdict = judge(Nature::Create, 503, "", &[("retry-after", "7")]);
    assert!(matches!(verdict.error, PortError::Retry { after, .. } if after == seven));
}

#[test]
fn issues_name_the_field() {
    let text = r#"{"message":"Input validation failed","data":{"path":"x"},"issues":[{"path":["a",0,"b"],"message":"too small"}]}"#;
    let PortError::Refused { why } = judge(Nature::Update, 400, text, &[]).error else { panic!() };
    assert_eq!(why, "application.update: a.0.b: too small");
}
