//! What the suites share: a fleet in memory behind the real routes, and how to ask it.

// Each suite is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use berth_api::{
    Fleet, Hold, NameState, Options, Plan, PlanLine, Proposal, SecretOf, router, token_hash, token_text,
};
use berth_model::access::{Audit, Role, Token, TokenHash};
use berth_model::condition::{Condition, ConditionType, Reason, Status};
use berth_model::event::{Event, Request as Asking};
use berth_model::ids::{AppName, Key, StackName};
use berth_model::record::{AppStatus, StackStatus};
use berth_model::stack::Origin;
use berth_model::{Secret, Time};
use berth_ports::{Asked, Draft, Expect, Fault, PortError, Put, Refused, SecretRow};
use http_body_util::BodyExt;
use serde_json::Value;
use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub struct Fake {
    pub statuses: Vec<StackStatus>,
    pub events: Vec<Event>,
    pub live: broadcast::Sender<Event>,
    pub ready: Mutex<Result<(), Vec<String>>>,
    pub tokens: Mutex<Vec<Token>>,
    pub audit: Mutex<Vec<Audit>>,
    pub requests: Mutex<Vec<Asking>>,
    pub rows: Mutex<BTreeMap<StackName, Asked>>,
    pub secrets: Mutex<Vec<SecretRow>>,
    pub alive: AtomicBool,
}

pub fn name(text: &str) -> StackName {
    StackName::new(text).unwrap()
}

pub fn stack(text: &str) -> Key {
    Key::Stack(name(text))
}

pub fn status(key: Key, tenant: Option<&str>) -> StackStatus {
    let ready = Condition {
        kind: ConditionType::Ready,
        status: Status::True,
        reason: Reason::Settled,
        message: "all is as the manifest says".to_owned(),
        since: Time(1_000),
    };
    let app = AppStatus {
        name: AppName::new("web").unwrap(),
        id: Some("app-1".into()),
        service: Some("web-1".into()),
        image: "r/web:1".to_owned(),
        hash: None,
        live: None,
        unmanaged: Vec::new(),
    };
    let file = format!("row:{key}");
    StackStatus {
        key,
        generation: 2,
        observed_generation: 2,
        conditions: vec![ready],
        apps: vec![app],
        hosts: Vec::new(),
        url: Some("https://a.example.com".to_owned()),
        phase: None,
        tenant: tenant.map(str::to_owned),
        origin: Some(Origin { file: file.into(), line: 1, generation: None }),
        changed: Time(1_000),
    }
}

pub fn event(id: u64) -> Event {
    let message = format!("number {id}");
    Event { id, at: Time(0), key: stack("john"), warning: false, reason: Reason::Settled, message }
}

pub fn row(text: &str, tenant: Option<&str>, generation: u64) -> Asked {
    Asked {
        name: name(text),
        tenant: tenant.map(str::to_owned),
        stage: "production".to_owned(),
        template: Some("web".to_owned()),
        formerly: None,
        spec: "{\"apps\": {\"web\": {\"env\": {\"PASSWORD\": \"canary-1234\"}}}}".to_owned(),
        generation,
        removing: false,
    }
}

/// Stacks of two tenants, one from a file, and a token of each role for each tenant and for all.
pub fn fake() -> Arc<Fake> {
    let mut by_hand = status(stack("by-hand"), None);
    by_hand.origin = Some(Origin { file: "hand.yaml".into(), line: 3, generation: None });
    let rows = [row("john", Some("j"), 2), row("zoe", Some("z"), 2)];
    let mut tokens = Vec::new();
    for role in Role::ALL {
        for tenant in [None, Some("j"), Some("z")] {
            tokens.push(token(role, tenant));
        }
    }
    Arc::new(Fake {
        statuses: vec![
            status(stack("zoe"), Some("z")),
            status(stack("john"), Some("j")),
            by_hand,
            status(Key::Project("shared".into()), None),
        ],
        events: (1..=5).map(event).collect(),
        live: broadcast::channel(8).0,
        ready: Mutex::new(Ok(())),
        tokens: Mutex::new(tokens),
        audit: Mutex::default(),
        requests: Mutex::default(),
        secrets: Mutex::default(),
        alive: AtomicBool::new(true),
        rows: Mutex::new(rows.into_iter().map(|r| (r.name.clone(), r)).collect()),
    })
}

/// Each token's text follows from its role and tenant.
pub fn text_of(role: Role, tenant: Option<&str>) -> String {
    let mut random = [role as u8; 32];
    random[0] = tenant.map_or(0, |t| t.as_bytes()[0]);
    token_text(&random).expose().to_owned()
}

pub fn token(role: Role, tenant: Option<&str>) -> Token {
    Token {
        name: format!("{role}-{}", tenant.unwrap_or("all")),
        tenant: tenant.map(str::to_owned),
        role,
        hash: token_hash(&text_of(role, tenant)),
        made: Time(0),
        expires: None,
    }
}

impl Fleet for Fake {
    async fn statuses(&self) -> Result<Vec<StackStatus>, PortError> {
        Ok(self.statuses.clone())
    }
    async fn status(&self, key: &Key) -> Result<Option<StackStatus>, PortError> {
        Ok(self.statuses.iter().find(|s| s.key == *key).cloned())
    }
    async fn events_after(&self, after: u64, _: u32) -> Result<Vec<Event>, PortError> {
        Ok(self.events.iter().filter(|e| e.id > after).cloned().collect())
    }
    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.live.subscribe()
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        self.ready.lock().unwrap().clone()
    }
    fn alive(&self) -> bool {
        self.alive.load(Ordering::SeqCst)
    }
    fn metrics(&self) -> String {
        "berth_stacks 1\n".to_owned()
    }
    fn holds(&self) -> Vec<Hold> {
        vec![Hold {
            backend: "main".to_owned(),
            token: "t0".to_owned(),
            removing: [name("zoe")].into(),
            recreating: [].into(),
        }]
    }
    async fn token(&self, hash: TokenHash) -> Result<Option<Token>, PortError> {
        Ok(self.tokens.lock().unwrap().iter().find(|t| t.hash == hash).cloned())
    }
    async fn tokens(&self) -> Result<Vec<Token>, PortError> {
        Ok(self.tokens.lock().unwrap().clone())
    }
    async fn make_token(&self, token: Token, trace: Audit) -> Result<(), PortError> {
        let mut tokens = self.tokens.lock().unwrap();
        if tokens.iter().any(|t| t.name == token.name) {
            return Err(PortError::Conflict("there is one".to_owned()));
        }
        tokens.push(token);
        self.audit.lock().unwrap().push(trace);
        Ok(())
    }
    async fn revoke_token(&self, name: String, trace: Audit) -> Result<(), PortError> {
        self.tokens.lock().unwrap().retain(|t| t.name != name);
        self.audit.lock().unwrap().push(trace);
        Ok(())
    }
    async fn ask(&self, request: Asking, trace: Audit) -> Result<(), PortError> {
        self.requests.lock().unwrap().push(request);
        self.audit.lock().unwrap().push(trace);
        Ok(())
    }
    async fn trace(&self, trace: Audit) -> Result<(), PortError> {
        self.audit.lock().unwrap().push(trace);
        Ok(())
    }
    async fn secrets(&self, stack: &StackName) -> Result<Vec<SecretRow>, PortError> {
        let all = self.secrets.lock().unwrap();
        Ok(all.iter().filter(|r| r.stack == stack.as_str()).cloned().collect())
    }
    async fn give_secret(&self, of: &SecretOf, value: Secret, trace: Audit) -> Result<u32, PortError> {
        let mut all = self.secrets.lock().unwrap();
        let version = u32::try_from(all.len()).unwrap() + 1;
        let (stack, app, name) = (of.stack.to_string(), of.app.clone(), of.name.clone());
        let sealed = vec![u8::try_from(value.expose().len()).unwrap()];
        all.push(SecretRow { stack, app, name, version, sealed, at: trace.at });
        self.audit.lock().unwrap().push(trace);
        Ok(version)
    }
    async fn remove_secret(&self, of: &SecretOf, trace: Audit) -> Result<(), PortError> {
        self.secrets.lock().unwrap().retain(|r| r.name != of.name || r.app != of.app);
        self.audit.lock().unwrap().push(trace);
        Ok(())
    }
    async fn asked(&self, name: &StackName) -> Result<Option<Asked>, PortError> {
        Ok(self.rows.lock().unwrap().get(name).cloned())
    }
    async fn unjudged(&self) -> Result<Vec<Asked>, PortError> {
        let judged = |row: &&Asked| {
            let key = Key::Stack(row.name.clone());
            self.statuses.iter().any(|s| s.key == key && s.observed_generation >= row.generation)
        };
        Ok(self.rows.lock().unwrap().values().filter(|r| !judged(r)).cloned().collect())
    }
    async fn name(&self, name: &StackName) -> Result<NameState, PortError> {
        Ok(match name.as_str() {
            "admin" => NameState::Reserved,
            _ if self.rows.lock().unwrap().contains_key(name) => {
                NameState::Taken("a stack has it".to_owned())
            }
            _ => NameState::Free,
        })
    }
    async fn check(&self, draft: &Draft) -> Result<Vec<Fault>, PortError> {
        if !draft.spec.contains("wrong") {
            return Ok(Vec::new());
        }
        let fault = |path: &str| Fault {
            path: Some(path.to_owned()),
            message: "unknown key".to_owned(),
            help: Some("take it out".to_owned()),
        };
        Ok(vec![fault("spec.wrong"), fault("spec.apps.wrong")])
    }
    async fn put(&self, _: &str, draft: &Draft, expect: Expect, everybody: bool) -> Result<Put, Refused> {
        let mut rows = self.rows.lock().unwrap();
        let Some(there) = rows.get_mut(&draft.name) else {
            if matches!(expect, Expect::Present | Expect::Generation(_)) {
                return Err(Refused::Stale(None));
            }
            let asked = Asked { tenant: draft.tenant.clone(), ..row(draft.name.as_str(), None, 1) };
            rows.insert(draft.name.clone(), asked);
            return Ok(Put { created: true, generation: 1 });
        };
        if there.tenant != draft.tenant && !everybody {
            return Err(Refused::Taken);
        }
        expected(there, expect)?;
        there.generation += 1;
        Ok(Put { created: false, generation: there.generation })
    }
    async fn remove(
        &self,
        _: &str,
        name: &StackName,
        _: Option<&str>,
        expect: Expect,
    ) -> Result<u64, Refused> {
        let mut rows = self.rows.lock().unwrap();
        let there = rows.get_mut(name).ok_or(Refused::FromFile("hand.yaml:3".to_owned()))?;
        expected(there, expect)?;
        there.removing = true;
        there.generation += 1;
        Ok(there.generation)
    }
    async fn scale(
        &self,
        _: &str,
        name: &StackName,
        _: Option<&str>,
        _: &AppName,
        _: u32,
        expect: Expect,
    ) -> Result<u64, Refused> {
        let mut rows = self.rows.lock().unwrap();
        let there = rows.get_mut(name).ok_or(Refused::FromFile("hand.yaml:3".to_owned()))?;
        expected(there, expect)?;
        there.generation += 1;
        Ok(there.generation)
    }
    async fn plan(&self, _: &Proposal) -> Result<Plan, Refused> {
        let line = PlanLine {
            action: "create".to_owned(),
            what: "app web".to_owned(),
            path: None,
            from: None,
            to: None,
        };
        Ok(Plan { lines: vec![line], writes: 3, deploys: 1, blocked: 0 })
    }
    async fn output(
        &self,
        _: &StackName,
        app: &AppName,
        lines: u16,
        since: Option<Duration>,
    ) -> Result<String, Refused> {
        Ok(format!("{app} {lines} {since:?}"))
    }
}

fn expected(there: &Asked, expect: Expect) -> Result<(), Refused> {
    match expect {
        Expect::Anything | Expect::Present => Ok(()),
        Expect::Generation(n) if n == there.generation => Ok(()),
        Expect::Absent | Expect::Generation(_) => Err(Refused::Stale(Some(there.generation))),
    }
}

pub fn options(anonymous: bool) -> Options {
    Options {
        anonymous,
        per_second: NonZeroU32::new(10_000).unwrap(),
        clock: || Time(5_000),
        random: || Some([7; 32]),
        heartbeat: Duration::from_secs(15),
    }
}

/// Asks as anybody.
pub async fn ask(fleet: &Arc<Fake>, request: Request<Body>) -> Response<Body> {
    router(fleet.clone(), &options(true), CancellationToken::new()).oneshot(request).await.unwrap()
}

pub async fn text(answer: Response<Body>) -> (StatusCode, String) {
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

pub async fn get(fleet: &Arc<Fake>, path: &str) -> (StatusCode, String) {
    text(ask(fleet, Request::get(path).body(Body::empty()).unwrap()).await).await
}

pub async fn json(fleet: &Arc<Fake>, path: &str) -> (StatusCode, Value) {
    let (status, text) = get(fleet, path).await;
    (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{path}: {e}: {text}")))
}

/// A request of a token's holder, where nothing may be done without one.
pub async fn as_holder(
    fleet: &Arc<Fake>,
    token: Option<&str>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response<Body> {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/json");
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    router(fleet.clone(), &options(false), CancellationToken::new()).oneshot(request).await.unwrap()
}
