//! Replays recorded exchanges with a real server against the simulator: status, keys, JSON types, error bodies.
//! A case must never be bent to fit the simulator; the recordings are the truth.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use berth_sim::{Options, Role, Sim};
use bytes::Bytes;
use http::{Method, Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    method: String,
    path: String,
    query: Option<BTreeMap<String, Value>>,
    body: Option<Value>,
    /// A body that is not JSON.
    raw: Option<String>,
    /// The content type when it is not JSON's; empty for none.
    #[serde(rename = "type")]
    content_type: Option<String>,
    /// Whose key: the owner's unless said otherwise.
    key: Option<String>,
    status: u16,
    /// Keys and types of a good answer.
    shape: Option<Value>,
    /// The exact body of an error, statements cut after the table's name.
    error: Option<Value>,
    text: Option<String>,
    location: Option<String>,
}

/// What the placeholders of a case stand for in one fresh world.
struct Stage {
    sim: Sim,
    ids: BTreeMap<&'static str, String>,
    wrong: String,
}

impl Stage {
    async fn post(&self, name: &str, body: Value) -> Value {
        let request = build(
            &self.sim.owner_key(),
            "POST",
            &format!("/api/{name}"),
            body.to_string(),
            "application/json",
        );
        let response = self.sim.handle(request).await.expect("an answer");
        assert_eq!(response.status(), 200, "{name}: {response:?}");
        serde_json::from_slice(response.body()).unwrap_or(Value::Null)
    }

    async fn new() -> Stage {
        let sim = Sim::new(Options::default());
        let wrong = sim.issue_key(Role::Owner);
        sim.revoke_key(&wrong);
        let mut stage = Stage { sim, ids: BTreeMap::new(), wrong };
        let id = |row: &Value, key: &str| row[key].as_str().expect("an id").to_owned();
        let project = stage.post("project.create", json!({"name": "p", "env": "X=1"})).await;
        let environment = id(&project["environment"], "environmentId");
        let project = id(&project["project"], "projectId");
        let staging = json!({"name": "staging", "projectId": project});
        let empty = id(&stage.post("environment.create", staging.clone()).await, "environmentId");
        let busy = id(&stage.post("environment.create", staging).await, "environmentId");
        let new = |environment: &str| json!({"name": "web", "appName": "web", "environmentId": environment});
        stage.post("application.create", new(&busy)).await;
        let idle = stage.post("application.create", new(&environment)).await;
        let (idle, idle_name) = (id(&idle, "applicationId"), id(&idle, "appName"));
        let row = stage.post("application.create", new(&environment)).await;
        let application = id(&row, "applicationId");
        let patch = json!({"applicationId": application, "sourceType": "docker", "dockerImage": "web:1"});
        stage.post("application.update", patch).await;
        let domain =
            json!({"host": "a.example.test", "applicationId": application, "domainType": "application"});
        let domain = id(&stage.post("domain.create", domain).await, "domainId");
        let mount = json!({"type": "volume", "volumeName": "appdata", "mountPath": "/data",
                           "serviceId": application, "serviceType": "application"});
        let mount = id(&stage.post("mounts.create", mount).await, "mountId");
        let port = json!({"publishedPort": 18080, "targetPort": 8080, "applicationId": application});
        let port = id(&stage.post("port.create", port).await, "portId");
        stage.post("application.deploy", json!({"applicationId": application})).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        // One job runs and one waits while the cases are asked.
        stage.post("application.deploy", json!({"applicationId": application})).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        stage.post("application.deploy", json!({"applicationId": application})).await;
        let deployment = stage.sim.with(|w| {
            w.db.deployments.of(&application).next().map(|d| d.deployment_id.clone()).expect("a deployment")
        });
        let organization = stage.sim.with(|w| w.organization.clone());
        let metadata = json!({"name": "k", "metadata": {"organizationId": organization}});
        let key = id(&stage.post("user.createApiKey", metadata).await, "id");
        stage.ids = BTreeMap::from([
            ("$project", project),
            ("$environment", environment),
            ("$empty", empty),
            ("$busy", busy),
            ("$idle", idle),
            ("$idleName", idle_name),
            ("$application", application),
            ("$domain", domain),
            ("$mount", mount),
            ("$port", port),
            ("$deployment", deployment),
            ("$organization", organization),
            ("$key", key),
            ("$gone", "gone".to_owned()),
        ]);
        stage
    }

    fn bind(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.ids.get(text.as_str()).unwrap_or(text).clone()),
            Value::Array(list) => list.iter().map(|v| self.bind(v)).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), self.bind(v))).collect(),
            other => other.clone(),
        }
    }

    async fn ask(&self, case: &Case) -> Response<Bytes> {
        let key = match case.key.as_deref() {
            None => self.sim.owner_key(),
            Some("member") => self.sim.member_key(),
            Some("wrong") => self.wrong.clone(),
            Some("empty") => String::new(),
            Some(_) => "-".to_owned(),
        };
        let mut path = case.path.clone();
        for (at, (name, value)) in case.query.iter().flatten().enumerate() {
            let list = match self.bind(value) {
                Value::Array(list) => list,
                one => vec![one],
            };
            for value in list {
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                let mark = if at == 0 && !path.contains('?') { '?' } else { '&' };
                let _ = write!(path, "{mark}{name}={}", escape(&text));
            }
        }
        let body = case.body.as_ref().map(|body| self.bind(body).to_string());
        let body = body.or_else(|| case.raw.clone()).unwrap_or_default();
        let kind = case.content_type.as_deref().unwrap_or("application/json");
        let request = build(&key, &case.method, &path, body, kind);
        self.sim.handle(request).await.expect("an answer")
    }

    /// Real ids back to placeholders, statements cut: what makes two servers' errors comparable.
    fn plain(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(cut(&text.replace("$idleName", &self.ids["$idleName"]))),
            Value::Array(list) => list.iter().map(|v| self.plain(v)).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), self.plain(v))).collect(),
            other => other.clone(),
        }
    }
}

/// `… Failed query: insert into "table"` without the rest.
fn cut(text: &str) -> String {
    let Some(at) = text.find("Failed query: ") else {
        return text.to_owned();
    };
    let mut quotes = text[at..].match_indices('"').map(|(i, _)| at + i);
    match (quotes.next(), quotes.next()) {
        (Some(_), Some(end)) => text[..=end].to_owned(),
        _ => text.to_owned(),
    }
}

fn escape(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

fn build(key: &str, method: &str, path: &str, body: String, kind: &str) -> Request<Bytes> {
    let mut request = Request::new(Bytes::from(body));
    *request.method_mut() = Method::from_bytes(method.as_bytes()).expect("a method");
    *request.uri_mut() = path.parse().expect("a path");
    if key != "-" {
        request.headers_mut().insert("x-api-key", key.parse().expect("a header"));
    }
    if !kind.is_empty() {
        request.headers_mut().insert("content-type", kind.parse().expect("a header"));
    }
    request
}

/// Compares a value with a shape. Null fits everything; empty lists fit every list.
fn differs(shape: &Value, seen: &Value, path: &str, out: &mut Vec<String>) {
    match (shape, seen) {
        (_, Value::Null) => {}
        (Value::String(kind), _) if kind == "null" => {}
        (Value::String(kind), seen) => {
            let got = match seen {
                Value::Null => "null",
                Value::Bool(_) => "boolean",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            if got != kind {
                out.push(format!("{path}: {kind} recorded, {got} answered"));
            }
        }
        (Value::Array(shapes), Value::Array(list)) => {
            if let (Some(shape), Some(first)) = (shapes.first(), list.first()) {
                differs(shape, first, &format!("{path}[0]"), out);
            }
        }
        (Value::Object(shapes), Value::Object(map)) => {
            for key in shapes.keys().filter(|key| !map.contains_key(*key)) {
                out.push(format!("{path}.{key}: missing"));
            }
            for key in map.keys().filter(|key| !shapes.contains_key(*key)) {
                out.push(format!("{path}.{key}: not recorded"));
            }
            for (key, shape) in shapes {
                if let Some(value) = map.get(key) {
                    differs(shape, value, &format!("{path}.{key}"), out);
                }
            }
        }
        (shape, seen) => out.push(format!("{path}: {shape} recorded, {seen} answered")),
    }
}

fn judge(stage: &Stage, case: &Case, response: &Response<Bytes>) -> Vec<String> {
    let mut out = Vec::new();
    let text = String::from_utf8_lossy(response.body());
    if response.status().as_u16() != case.status {
        out.push(format!("status {} recorded, {} answered: {text:.300}", case.status, response.status()));
        return out;
    }
    if let Some(expected) = &case.text
        && *expected != text
    {
        out.push(format!("text {expected:?} recorded, {text:?} answered"));
    }
    if let Some(expected) = &case.location {
        let seen = response.headers().get("location").and_then(|v| v.to_str().ok()).unwrap_or_default();
        if seen != expected {
            out.push(format!("location {expected} recorded, {seen} answered"));
        }
    }
    let seen: Value = serde_json::from_slice(response.body()).unwrap_or(Value::Null);
    if let Some(shape) = &case.shape {
        if seen.is_null() && *shape != json!("null") {
            out.push(format!("no JSON answered: {text:.300}"));
        }
        differs(shape, &seen, "", &mut out);
    }
    if let Some(error) = &case.error {
        let (expected, seen) = (stage.plain(error), stage.plain(&seen));
        if expected != seen {
            out.push(format!("error recorded {expected}\n      answered {seen}"));
        }
    }
    out
}

#[tokio::test(start_paused = true)]
async fn the_simulator_answers_as_the_recorded_server_did() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("conformance");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the recordings").map(|f| f.expect("a file").path()).collect();
    files.sort();
    let (mut count, mut failures) = (0, String::new());
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a recording");
        let cases: Vec<Case> = serde_json::from_str(&text).expect("a list of cases");
        for case in &cases {
            count += 1;
            let stage = Stage::new().await;
            let response = stage.ask(case).await;
            let found = judge(&stage, case, &response);
            if !found.is_empty() {
                let name = file.file_stem().unwrap_or_default().to_string_lossy();
                let _ = writeln!(failures, "{name}: {} {} ({})", case.method, case.path, case.name);
                for line in found {
                    let _ = writeln!(failures, "    {line}");
                }
            }
        }
    }
    assert!(count > 150, "only {count} cases found");
    assert!(failures.is_empty(), "{failures}");
}

#[tokio::test(start_paused = true)]
async fn body_limits_hold_on_rest_and_not_on_trpc() {
    let stage = Stage::new().await;
    let sizes = [(1000, Ok(200)), (1100, Ok(413)), (5000, Err(()))];
    for (kib, expected) in sizes {
        let body = json!({"name": "big", "description": "d".repeat(kib << 10)}).to_string();
        let request = build(&stage.sim.owner_key(), "POST", "/api/project.create", body, "application/json");
        let seen = stage.sim.handle(request).await.map(|r| r.status().as_u16()).map_err(drop);
        assert_eq!(seen, expected, "{kib} KiB");
    }
    let body = json!({"json": {"name": "big", "description": "d".repeat(5000 << 10)}}).to_string();
    let request = build(&stage.sim.owner_key(), "POST", "/api/trpc/project.create", body, "application/json");
    assert_eq!(stage.sim.handle(request).await.map(|r| r.status().as_u16()), Ok(200));
}
