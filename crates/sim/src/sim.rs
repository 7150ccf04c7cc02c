//! The simulator's handle: exchanges, faults, keys, and access to the world.
//! It must never hold the world's lock across an await, nor let time pass but through tokio's clock.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::api;
use crate::auth::Role;
use crate::fault::{Broken, CallNo, CallRecord, Chaos, Fault, Rule};
use crate::http_api::{Call, Order, Reply};
use crate::image::Behaviour;
use crate::ledger::{Ledger, Subject};
use crate::traefik::Certificate;
use crate::world::{Event, World};

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// Bits of the shared network's subnet.
    pub capacity_prefix: u8,
    /// How long a deployment job runs.
    pub build_time: Duration,
    /// From a queued job to its start on an idle queue.
    pub queue_delay: Duration,
    /// From a new task to a running one.
    pub start_time: Duration,
    /// How long Swarm watches an update before it calls it completed or rolled back.
    pub monitor: Duration,
    /// The wall time at the start.
    pub epoch: Timestamp,
    /// Database connections of the server.
    pub pool: usize,
    /// Host name of the registry this simulator answers for.
    pub registry: String,
    /// What `settings.getDokployVersion` says.
    pub version: String,
    /// What `settings.getIp` says: empty where nobody set it.
    pub address: String,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 1,
            capacity_prefix: 24,
            build_time: Duration::from_millis(300),
            queue_delay: Duration::from_millis(20),
            start_time: Duration::from_millis(500),
            monitor: Duration::from_secs(5),
            epoch: Timestamp::from_second(1_795_226_400).unwrap_or(Timestamp::UNIX_EPOCH),
            pool: 10,
            registry: "registry.sim".to_owned(),
            version: "v0.30.2".to_owned(),
            address: String::new(),
        }
    }
}

/// What a request for a host and path would get from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// The proxy knows no router for it: 404.
    NoRoute,
    /// A router, but nothing that answers behind it: 502.
    BadGateway,
    /// The application answered.
    Status(u16),
    /// The proxy itself does not listen.
    Refused,
}

impl Probe {
    /// The status a client sees; `None` for a refused connection.
    pub fn status(self) -> Option<u16> {
        match self {
            Probe::NoRoute => Some(404),
            Probe::BadGateway => Some(502),
            Probe::Status(code) => Some(code),
            Probe::Refused => None,
        }
    }
}

struct Shared {
    start: Instant,
    options: Arc<Options>,
    world: Mutex<World>,
    ledger: Mutex<Ledger>,
    boots: watch::Sender<u64>,
    keys: [String; 3],
}

/// A simulated server. Clones share one world.
#[derive(Clone)]
pub struct Sim(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    pub fn new(options: Options) -> Sim {
        let options = Arc::new(options);
        let mut world = World::new(Arc::clone(&options));
        let day = Duration::from_secs(86_400);
        let keys = [
            world.add_key("owner", Role::Owner, None).key,
            world.add_key("member", Role::Member, None).key,
            world.add_key("limited", Role::Owner, Some((day, 10))).key,
        ];
        Sim(Arc::new(Shared {
            start: Instant::now(),
            options,
            world: Mutex::new(world),
            ledger: Mutex::new(Ledger::default()),
            boots: watch::Sender::new(0),
            keys,
        }))
    }

    pub fn options(&self) -> &Options {
        &self.0.options
    }

    fn elapsed(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0.start)
    }

    /// The world, brought up to the present.
    fn world(&self) -> MutexGuard<'_, World> {
        let now = self.elapsed();
        let mut world = lock(&self.0.world);
        world.advance(now);
        world
    }

    /// One exchange with the API.
    pub async fn handle(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        let call = Call::new(request);
        let (no, fault, latency) = self.record(&call);
        let out = self.exchange(call, fault, latency).await;
        if let Ok(reply) = &out {
            lock(&self.0.ledger).answered(no, reply.status, reply.body.len());
        }
        out.map(Reply::into_response)
    }

    fn record(&self, call: &Call) -> (u64, Option<Fault>, Duration) {
        let at = self.elapsed();
        let (names, _) = call.names();
        let found = api::find(names[0]);
        let mutation = found.map_or(call.method == Method::POST, |p| p.mutation);
        let subject = Subject {
            key: call.key.clone(),
            procedure: names[0].to_owned(),
            mutation,
            items: names.len(),
            ..Subject::default()
        };
        let mut ledger = lock(&self.0.ledger);
        let (no, fault) = ledger.enter(at, subject);
        (no, fault, ledger.latency)
    }

    async fn exchange(&self, call: Call, fault: Option<Fault>, latency: Duration) -> Result<Reply, Broken> {
        match fault {
            Some(Fault::Before) => return Err(Broken::NotSent),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Restart) => {
                self.restart();
                return Err(Broken::Lost);
            }
            Some(Fault::TooMany { retry_after }) => {
                let mut reply = Reply::plain(429, "Too Many Requests");
                reply.extra.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
                return Ok(reply);
            }
            Some(Fault::Unavailable { retry_after }) => {
                let mut reply = Reply::plain(503, "Service Unavailable");
                reply.extra.extend(retry_after.map(|seconds| ("retry-after", seconds.to_string())));
                return Ok(reply);
            }
            Some(Fault::ServerError) => return Ok(Reply::plain(500, "Internal Server Error")),
            Some(Fault::Forbidden) => return Ok(Reply::plain(403, "Forbidden")),
            Some(Fault::BadGateway) => return Ok(Reply::plain(502, "Bad Gateway")),
            Some(Fault::Unauthorized) => return Ok(Reply::unauthorized()),
            _ => {}
        }
        let mut boots = self.0.boots.subscribe();
        let mut wait = latency;
        let order = {
            let mut world = self.world();
            let mut order = admit(&mut world, call);
            match &fault {
                Some(Fault::StaleList(age)) => order.stale = Some(*age).filter(|_| is_list(&order.call)),
                Some(Fault::ShortList) => order.short = is_list(&order.call),
                Some(Fault::ErrorAfterCommit) => order.leak = true,
                Some(Fault::Slow(more)) => wait += *more,
                _ => {}
            }
            let slot = Arc::clone(&order.slot);
            let effect = match fault {
                Some(Fault::Late(more)) => wait + more,
                _ => wait,
            };
            // The effect is on the clock, not in this future: a client that hangs up does not undo it.
            if effect.is_zero() {
                world.run_order(&order);
            } else {
                world.later(effect, Event::Call(order));
            }
            slot
        };
        if !wait.is_zero() {
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                _ = boots.changed() => return Err(Broken::Lost),
            }
            drop(self.world());
        }
        match &fault {
            Some(Fault::After | Fault::Late(_)) => return Err(Broken::Lost),
            Some(Fault::HangAfter) => std::future::pending().await,
            _ => {}
        }
        let done = lock(&order).take();
        match done {
            Some(Ok(reply)) => {
                let body = fault.map_or_else(|| reply.body.clone(), |f| f.spoil(reply.body.clone()));
                Ok(Reply { body, ..reply })
            }
            Some(Err(broken)) => Err(broken),
            None => {
                // Out of connections: nothing answers until the process is gone.
                let _ = boots.changed().await;
                Err(Broken::Lost)
            }
        }
    }

    pub fn owner_key(&self) -> String {
        self.0.keys[0].clone()
    }

    pub fn member_key(&self) -> String {
        self.0.keys[1].clone()
    }

    /// A key as `user.createApiKey` makes it without rate-limit fields: ten verifications a day.
    pub fn limited_key(&self) -> String {
        self.0.keys[2].clone()
    }

    pub fn issue_key(&self, role: Role) -> String {
        self.world().add_key(role.name(), role, None).key
    }

    pub fn revoke_key(&self, key: &str) {
        self.world().keys.retain(|k| k.key != key);
    }

    /// Plans a fault for one call.
    pub fn plan_fault(&self, at: CallNo, fault: Fault) {
        if matches!(fault, Fault::StaleList(_)) {
            self.keep_history();
        }
        lock(&self.0.ledger).plan(at, fault);
    }

    /// Faults of the calls that fit, in place of the rules before; `seed` is for those with a chance.
    pub fn set_rules(&self, rules: Vec<Rule>, seed: u64) {
        if rules.iter().any(|rule| matches!(rule.fault, Fault::StaleList(_))) {
            self.keep_history();
        }
        lock(&self.0.ledger).set_rules(rules, seed);
    }

    /// Draws faults for every call from now on, or stops doing so.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        if chaos.as_ref().is_some_and(Chaos::has_stale) {
            self.keep_history();
        }
        lock(&self.0.ledger).set_chaos(chaos);
    }

    fn keep_history(&self) {
        let mut world = self.world();
        if world.history.is_none() {
            world.history = Some(std::collections::VecDeque::new());
            world.remember();
        }
    }

    /// How long every call takes; its effect happens at the end of it.
    pub fn set_latency(&self, latency: Duration) {
        lock(&self.0.ledger).latency = latency;
    }

    pub fn call_count(&self) -> u64 {
        lock(&self.0.ledger).count
    }

    pub fn calls(&self) -> Vec<CallRecord> {
        lock(&self.0.ledger).calls.clone()
    }

    /// Forgets the records; the numbering goes on.
    pub fn clear_calls(&self) {
        lock(&self.0.ledger).calls.clear();
    }

    /// The server process dies and comes back: queue lost, running rows cancelled, calls in flight broken.
    pub fn restart(&self) {
        self.world().restart();
        self.0.boots.send_modify(|boot| *boot += 1);
    }

    /// Access to everything, for another person in the UI or a shell on the host.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        let mut world = self.world();
        let out = f(&mut world);
        // Bring what was changed onto the clock.
        let now = world.now();
        world.advance(now);
        out
    }

    /// All rows, services, volumes and routers in a canonical order.
    pub fn dump(&self) -> Value {
        crate::dump::dump(&self.world())
    }

    /// What a request from outside would get now.
    pub fn probe(&self, host: &str, path: &str) -> Probe {
        self.world().probe(host, path)
    }

    /// Declares what handshakes for a host show from now on.
    pub fn set_certificate(&self, host: &str, certificate: Option<Certificate>) {
        self.with(|world| match certificate {
            Some(certificate) => drop(world.traefik.certificates.insert(host.to_owned(), certificate)),
            None => drop(world.traefik.certificates.remove(host)),
        });
    }

    /// The certificate that a handshake for this host would show now.
    pub fn certificate(&self, host: &str) -> Option<Certificate> {
        self.world().traefik.certificates.get(host).cloned()
    }

    /// Declares how containers of an image behave.
    pub fn set_image(&self, reference: &str, behaviour: Behaviour) {
        self.with(|world| {
            let now = world.now();
            world.swarm.set_image(reference, behaviour, now);
        });
    }

    /// Moves a tag to new content and tells its digest.
    pub fn push_image(&self, reference: &str, behaviour: Behaviour) -> String {
        self.world().swarm.images.push(reference, behaviour)
    }

    /// The image registry: `/v2/` and `/v2/NAME/manifests/REFERENCE`.
    pub fn registry(&self, request: Request<Bytes>) -> Response<Bytes> {
        crate::registry::answer(&self.world().swarm.images, &self.0.options.registry, &request)
    }
}

fn is_list(call: &Call) -> bool {
    let (names, _) = call.names();
    names.iter().any(|name| api::find(name).is_some_and(|p| p.list))
}

/// Takes a call in, and notices when too many transactions want a second connection.
fn admit(world: &mut World, call: Call) -> Order {
    let (names, trpc) = call.names();
    let creates = names.iter().filter(|name| **name == "domain.create").count();
    world.creating_domains += creates;
    let pool = world.options.pool;
    if trpc && creates >= pool + 2 || world.creating_domains > pool * 12 / 5 {
        world.wedged = true;
    }
    Order {
        call,
        seen: world.seq,
        boot: world.boot,
        creates,
        stale: None,
        short: false,
        leak: false,
        slot: Arc::default(),
    }
}
