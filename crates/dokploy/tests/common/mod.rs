//! The simulated world that the adapter's tests share.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its own part")]

use berth_dokploy::{Dokploy, Options};
use berth_model::desired::{Child, ChildKey};
use berth_model::field::{Field, Value};
use berth_model::ids::{AppId, Owner, ServiceName};
use berth_model::observed::Seen;
use berth_model::remote::{Fact, Read, Write, Written};
use berth_model::stack::{Host, HostKey, Https};
use berth_model::{Secret, Time};
use berth_ports::{Pace, Platform};
use berth_sim::{Broken, Sim};
use berth_wire::{KeySource, Transport, TransportError};
use bytes::Bytes;
use std::sync::{Arc, Mutex};

/// The simulator, as an older server would be: without the paths that begin with one of these. After a `!` it is a
/// proxy in between that does not let them through.
pub struct InProcess(pub Sim, pub &'static [&'static str]);

impl Transport for InProcess {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let path = request.uri().path().to_owned();
        if self.1.iter().filter_map(|p| p.strip_prefix('!')).any(|p| path.starts_with(p)) {
            let body = Bytes::from_static(b"<html><body>404 page not found</body></html>");
            return Ok(http::Response::builder().status(404).body(body).unwrap());
        }
        if self.1.iter().any(|p| path.starts_with(p)) {
            let body = r#"{"message":"Not found","code":"NOT_FOUND","data":{"code":"NOT_FOUND","httpStatus":404,"zodError":null}}"#;
            return Ok(http::Response::builder()
                .status(404)
                .body(Bytes::from_static(body.as_bytes()))
                .unwrap());
        }
        self.0.handle(request).await.map_err(|broken| match broken {
            Broken::NotSent => TransportError::NotSent(broken.to_string()),
            Broken::Lost => TransportError::Lost(broken.to_string()),
        })
    }
}

/// A key that a test may change.
pub struct Slot(pub Mutex<(String, bool)>);

impl KeySource for Slot {
    fn read(&self) -> Option<Secret> {
        let mut slot = self.0.lock().unwrap();
        slot.1 = false;
        Some(Secret::new(slot.0.clone()))
    }
    fn changed(&self) -> bool {
        self.0.lock().unwrap().1
    }
}

pub struct World {
    pub sim: Sim,
    pub dokploy: Dokploy<InProcess>,
    pub key: Arc<Slot>,
}

pub fn world_of(options: berth_sim::Options, key: impl FnOnce(&Sim) -> String) -> World {
    world_without(options, key, &[])
}

pub fn world_without(
    options: berth_sim::Options,
    key: impl FnOnce(&Sim) -> String,
    missing: &'static [&'static str],
) -> World {
    let sim = Sim::new(options);
    let key = Arc::new(Slot(Mutex::new((key(&sim), false))));
    let began = tokio::time::Instant::now();
    let clock = Arc::new(move || Time(1_795_226_400_000 + began.elapsed().as_millis() as i64));
    let mut options =
        Options::new("main", Owner::new("us").unwrap(), "http://dokploy.sim:3000", key.clone(), clock);
    let seed = std::sync::atomic::AtomicU64::new(7);
    options.dice = Arc::new(move || {
        seed.fetch_add(0x9E37_79B9_7F4A_7C15, std::sync::atomic::Ordering::Relaxed)
            .wrapping_mul(0xBF58_476D_1CE4_E5B9)
    });
    let dokploy = Dokploy::new(options, InProcess(sim.clone(), missing)).unwrap();
    World { sim, dokploy, key }
}

pub fn world() -> World {
    world_of(berth_sim::Options::default(), Sim::owner_key)
}

/// Procedures that were called since the last look.
pub fn procedures(sim: &Sim) -> Vec<String> {
    let mut names: Vec<_> = sim.calls().into_iter().map(|c| c.procedure).collect();
    sim.clear_calls();
    names.sort();
    names
}

pub async fn app(w: &World, name: &str) -> (AppId, ServiceName) {
    let create = Write::CreateProject { name: format!("p-{name}"), description: "words".into() };
    let Written::Project { environment, .. } = w.dokploy.write(&create).await.unwrap() else { panic!() };
    let create = Write::CreateApp {
        environment,
        name: name.into(),
        service_base: name.into(),
        description: format!("berth/1 us/{name}/web op=o1"),
    };
    let Written::App { id, service } = w.dokploy.write(&create).await.unwrap() else { panic!() };
    (id, service)
}

pub async fn detail(w: &World, id: &AppId) -> berth_model::observed::AppDetail {
    match w.dokploy.read(&Read::App(id.clone()), Pace::Run).await.unwrap() {
        Fact::App(Seen::Present(detail)) => *detail,
        other => panic!("{other:?}"),
    }
}

pub fn update(id: &AppId, image: &str) -> Write {
    Write::UpdateApp {
        id: id.clone(),
        fields: [
            (Field::Source, Value::Text("docker".into())),
            (Field::Image, Value::Text(image.into())),
            (Field::Env, Value::Env([("A".to_owned(), Secret::new("hunter2"))].into())),
            (Field::Replicas, Value::Int(1)),
            (Field::Memory, Value::Int(64 << 20)),
            (
                Field::Labels,
                Value::Map([("berth.dev/hash".to_owned(), "00000000000000ff".to_owned())].into()),
            ),
            (Field::StopGrace, Value::Int(10_000_000_000)),
        ]
        .into(),
        env_text: Some(Secret::new("A='hunter2'")),
        description: None,
    }
}

pub fn domain(host: &str) -> (ChildKey, Child) {
    let child = Host { port: 8080, https: Https::LetsEncrypt, internal_path: "/".into(), strip_path: false };
    (ChildKey::Domain(HostKey { host: host.into(), path: "/".into() }), Child::Domain(child))
}
