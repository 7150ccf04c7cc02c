//! The HTTP face: paths, methods, content types, keys; REST with coercion and tRPC with batches.
//! It must never answer 405 or 429 on REST: the real server knows neither there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, header};
use serde_json::{Map, Value, json};

use crate::api::{self, Ctx, Procedure};
use crate::auth::Role;
use crate::error::{ApiError, Code};
use crate::fault::Broken;
use crate::lists;
use crate::world::World;

const REST_LIMIT: usize = 1 << 20;
/// Above this the server resets the connection while the client still sends.
const RESET_LIMIT: usize = 4 << 20;
/// Node's limit on the request line and headers together.
const HEAD_LIMIT: usize = 16 << 10;

/// How superjson writes the value of a procedure that returns nothing.
const VOID: &str = r#"{"result":{"data":{"json":null,"meta":{"values":["undefined"],"v":1}}}}"#;

/// A request, taken apart once.
pub(crate) struct Call {
    pub method: Method,
    pub path: String,
    query: String,
    pub(crate) key: String,
    content_type: Option<String>,
    body: Bytes,
    head: usize,
}

impl Call {
    pub(crate) fn new(request: Request<Bytes>) -> Call {
        let (parts, body) = request.into_parts();
        let text = |name| parts.headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        let headers: usize = parts.headers.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum();
        let target = parts.uri.path_and_query().map_or("/", |t| t.as_str());
        Call {
            head: headers + target.len() + parts.method.as_str().len() + 12,
            key: text(http::HeaderName::from_static("x-api-key")).unwrap_or_default(),
            content_type: text(header::CONTENT_TYPE),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            method: parts.method,
            body,
        }
    }

    /// The procedures a request names, and whether it came over tRPC.
    pub(crate) fn names(&self) -> (Vec<&str>, bool) {
        if let Some(rest) = self.path.strip_prefix("/api/trpc/") {
            return (rest.split(',').collect(), true);
        }
        (vec![self.path.strip_prefix("/api/").unwrap_or(&self.path)], false)
    }

    pub(crate) fn is_health(&self) -> bool {
        self.path == "/api/health"
    }

    fn parameter(&self, name: &str) -> Option<String> {
        pairs(&self.query).find(|(key, _)| key == name).map(|(_, value)| value)
    }

    /// Everything the caller sent, as the parameters of a leaked statement.
    fn leak(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or(Value::Null);
        let mut found = Vec::new();
        strings(&body, &mut found);
        format!(
            "Failed query: update \"row\" set \"value\" = $1 returning \"value\"\nparams: {}",
            found.join(",")
        )
    }
}

fn strings(value: &Value, out: &mut Vec<String>) {
    match value {
        Value::Object(map) => map.values().for_each(|v| strings(v, out)),
        Value::Array(list) => list.iter().for_each(|v| strings(v, out)),
        Value::Null => {}
        Value::String(text) => out.push(text.clone()),
        other => out.push(other.to_string()),
    }
}

/// Decoded pairs of a query string.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(key), decode(value))
    })
}

pub(crate) fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).and_then(|h| u8::from_str_radix(h, 16).ok());
        match (bytes[at], hex) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 2;
            }
            (b'+', _) => out.push(b' '),
            (byte, _) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub status: u16,
    pub content_type: Option<&'static str>,
    pub extra: Vec<(&'static str, String)>,
    pub body: Bytes,
}

impl Reply {
    pub(crate) fn json(status: u16, body: String) -> Reply {
        Reply { status, content_type: Some("application/json"), extra: Vec::new(), body: Bytes::from(body) }
    }

    pub(crate) fn plain(status: u16, body: impl Into<Bytes>) -> Reply {
        Reply { status, content_type: None, extra: Vec::new(), body: body.into() }
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        let mut out = Response::new(self.body);
        *out.status_mut() = http::StatusCode::from_u16(self.status).unwrap_or_default();
        if let Some(kind) = self.content_type {
            out.headers_mut().insert(header::CONTENT_TYPE, http::HeaderValue::from_static(kind));
        }
        for (name, value) in self.extra {
            if let Ok(value) = http::HeaderValue::from_str(&value) {
                out.headers_mut().insert(http::HeaderName::from_static(name), value);
            }
        }
        out
    }

    pub(crate) fn unauthorized() -> Reply {
        Reply::json(401, json!({"message": "Unauthorized"}).to_string())
    }
}

/// A call on its way, with what a fault makes of it.
pub(crate) struct Order {
    pub call: Call,
    pub seen: u64,
    pub boot: u64,
    pub creates: usize,
    pub stale: Option<Duration>,
    pub short: bool,
    pub leak: bool,
    pub slot: Arc<Mutex<Option<Result<Reply, Broken>>>>,
}

impl World {
    /// Executes a call unless the process that took it is gone or out of connections.
    pub(crate) fn run_order(&mut self, order: &Order) {
        if order.boot != self.boot || self.wedged && !order.call.is_health() {
            return;
        }
        self.creating_domains -= order.creates.min(self.creating_domains);
        let out = match order.stale {
            Some(age) => self.as_of(age, |world| world.answer(order)),
            None => self.answer(order),
        };
        let out = match out {
            Ok(reply) if order.leak && reply.status < 300 => Ok(self.leaked(&order.call)),
            Ok(reply) if order.short => Ok(lists::shorten(reply, &mut self.rng)),
            other => other,
        };
        if order.call.method == Method::POST {
            self.remember();
        }
        if let Ok(mut slot) = order.slot.lock() {
            *slot = Some(out);
        }
    }

    fn leaked(&self, call: &Call) -> Reply {
        let error = ApiError::internal(call.leak());
        let (names, trpc) = call.names();
        if !trpc {
            return Reply::json(500, error.rest(Some(names[0])));
        }
        let items: Vec<String> = names.iter().map(|name| error.trpc(name)).collect();
        let batch = call.parameter("batch").is_some();
        Reply::json(500, if batch { format!("[{}]", items.join(",")) } else { items.concat() })
    }

    /// Runs a read against the rows as they were that long ago.
    fn as_of<T>(&mut self, age: Duration, run: impl FnOnce(&mut World) -> T) -> T {
        let then = self.now().saturating_sub(age);
        let history = self.history.as_ref();
        let found = history.and_then(|h| h.iter().rev().find(|s| s.at <= then).or_else(|| h.front()));
        let Some((mut db, mut services)) = found.map(|s| (s.db.clone(), s.services.clone())) else {
            return run(self);
        };
        std::mem::swap(&mut self.db, &mut db);
        std::mem::swap(&mut self.swarm.services, &mut services);
        let out = run(self);
        self.db = db;
        self.swarm.services = services;
        out
    }

    fn answer(&mut self, order: &Order) -> Result<Reply, Broken> {
        let call = &order.call;
        if call.head > HEAD_LIMIT {
            return Ok(Reply::plain(431, ""));
        }
        if let Some(location) = corrected(call) {
            let extra = vec![("location", location)];
            return Ok(Reply { status: 308, content_type: None, extra, body: Bytes::new() });
        }
        if call.is_health() {
            return Ok(Reply::json(200, json!({"ok": true}).to_string()));
        }
        if call.path.starts_with("/api/trpc/") {
            return Ok(self.trpc(call, order.seen));
        }
        if !call.path.starts_with("/api/") {
            return Ok(Reply::plain(404, "This page could not be found."));
        }
        if call.body.len() > RESET_LIMIT {
            return Err(Broken::Lost);
        }
        Ok(self.rest(call, order.seen))
    }

    fn verify(&mut self, key: &str) -> Option<Role> {
        let now = self.now();
        let found = self.keys.iter_mut().find(|k| !key.is_empty() && k.key == key)?;
        found.verify(now).then_some(found.role)
    }

    fn rest(&mut self, call: &Call, seen: u64) -> Reply {
        // The body parser stands before everything else.
        let json_type = call.content_type.as_deref().is_some_and(|t| t.starts_with("application/json"));
        if call.body.len() > REST_LIMIT {
            return Reply::plain(413, "Body exceeded 1mb limit");
        }
        let body = match (json_type, call.body.is_empty()) {
            (true, false) => match serde_json::from_slice::<Value>(&call.body) {
                Ok(body) => body,
                Err(_) => return Reply::plain(400, "Invalid JSON"),
            },
            _ => json!({}),
        };
        let Some(role) = self.verify(&call.key) else {
            return Reply::unauthorized();
        };
        if call.method == Method::HEAD {
            return Reply::json(204, String::new());
        }
        let name = &call.path["/api/".len()..];
        let kind = |p: &&Procedure| call.method == if p.mutation { Method::POST } else { Method::GET };
        let Some(procedure) = api::find(name).filter(kind) else {
            let error = ApiError::new(Code::NotFound, "Not found");
            return Reply::json(404, error.rest(None));
        };
        let refuse = |error: ApiError| Reply::json(error.code.http(), error.rest(Some(procedure.name)));
        let input = if procedure.mutation {
            match call.content_type.as_deref() {
                Some("application/json") => body,
                None => {
                    let message = "Missing content-type header";
                    return refuse(ApiError::new(Code::UnsupportedMediaType, message));
                }
                Some(other) => {
                    // The missing quote is the server's own.
                    let message = format!("Unsupported content-type \"{other}");
                    return refuse(ApiError::new(Code::UnsupportedMediaType, message));
                }
            }
        } else {
            query_input(&call.query)
        };
        // The second verification: each REST call counts twice.
        if self.verify(&call.key).is_none() {
            return refuse(ApiError::denied("UNAUTHORIZED"));
        }
        match procedure.call(self, &Ctx { role, seen }, &input, true) {
            Ok(body) => Reply::json(200, body.unwrap_or_default()),
            Err(error) => refuse(error),
        }
    }

    fn trpc(&mut self, call: &Call, seen: u64) -> Reply {
        let (names, _) = call.names();
        let batch = call.parameter("batch").as_deref() == Some("1");
        let mutation = call.method == Method::POST;
        let raw = if mutation {
            String::from_utf8_lossy(&call.body).into_owned()
        } else {
            call.parameter("input").unwrap_or_default()
        };
        let input: Value = serde_json::from_str(&raw).unwrap_or(Value::Null);
        let role = self.verify(&call.key);
        let mut status = None;
        let mut items = Vec::with_capacity(names.len());
        for (at, name) in names.iter().enumerate() {
            let wrapped = if batch { &input[at.to_string()] } else { &input };
            let given = wrapped.get("json").unwrap_or(&Value::Null);
            let (code, item) = match self.item(name, role, mutation, given, seen) {
                Ok(Some(body)) => (200, format!("{{\"result\":{{\"data\":{{\"json\":{body}}}}}}}")),
                Ok(None) => (200, VOID.to_owned()),
                Err(error) => (error.code.http(), error.trpc(name)),
            };
            status = Some(if status.is_none_or(|s| s == code) { code } else { 207 });
            items.push(item);
        }
        let body = if batch { format!("[{}]", items.join(",")) } else { items.concat() };
        Reply::json(status.unwrap_or(200), body)
    }

    fn item(
        &mut self,
        name: &str,
        role: Option<Role>,
        mutation: bool,
        input: &Value,
        seen: u64,
    ) -> Result<Option<String>, ApiError> {
        let Some(procedure) = api::find(name).filter(|p| p.name == name) else {
            return Err(ApiError::new(Code::NotFound, format!("No procedure found on path \"{name}\"")));
        };
        if procedure.mutation != mutation {
            let (method, kind) = if mutation { ("POST", "query") } else { ("GET", "mutation") };
            let message = format!("Unsupported {method}-request to {kind} procedure at path \"{name}\"");
            return Err(ApiError::new(Code::MethodNotSupported, message));
        }
        let open = name == "settings.health";
        let Some(role) = role.or(open.then_some(Role::Member)) else {
            return Err(ApiError::denied("UNAUTHORIZED"));
        };
        procedure.call(self, &Ctx { role, seen }, input, false)
    }
}

/// Trailing and doubled slashes are answered with the right place.
fn corrected(call: &Call) -> Option<String> {
    let mut path = call.path.clone();
    while path.contains("//") {
        path = path.replace("//", "/");
    }
    if path.len() > 1 {
        path.truncate(path.trim_end_matches('/').len());
    }
    let query = if call.query.is_empty() { String::new() } else { format!("?{}", call.query) };
    (path != call.path).then(|| format!("{path}{query}"))
}

/// One field for each parameter; empty values are dropped, repeated ones become a list.
fn query_input(query: &str) -> Value {
    let mut out = Map::new();
    for (key, value) in pairs(query).filter(|(_, value)| !value.is_empty()) {
        match out.get_mut(&key) {
            Some(Value::Array(list)) => list.push(Value::from(value)),
            Some(first) => *first = Value::Array(vec![first.take(), Value::from(value)]),
            None => {
                out.insert(key, Value::from(value));
            }
        }
    }
    Value::Object(out)
}
