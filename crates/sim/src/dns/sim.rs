//! The handle of the simulated DNS: calls to providers, messages to servers, faults, and access to the world.
//! It must never hold the world's lock across an await, nor let time pass but through tokio's clock.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use super::access::Token;
use super::front;
use super::http::Ask;
use super::message;
use super::options::Options;
use super::order::{Out, What};
use super::world::{Event, World};
use super::zone::Provider;
use crate::fault::{Broken, CallNo, CallRecord, Chaos, Fault, Rule};
use crate::http_api::Reply;
use crate::ledger::Ledger;

struct Shared {
    start: Instant,
    options: Arc<Options>,
    world: Mutex<World>,
    ledger: Mutex<Ledger>,
    boots: watch::Sender<u64>,
}

/// A simulated DNS with its providers. Clones share one world.
#[derive(Clone)]
pub struct Sim(Arc<Shared>);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Sim {
    pub fn new(options: Options) -> Sim {
        let options = Arc::new(options);
        Sim(Arc::new(Shared {
            start: Instant::now(),
            world: Mutex::new(World::new(Arc::clone(&options))),
            options,
            ledger: Mutex::new(Ledger::default()),
            boots: watch::Sender::new(0),
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

    /// One exchange with the provider whose host the request names.
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, Broken> {
        match front::by_host(request.uri().host().unwrap_or_default()) {
            Some(provider) => self.handle(provider, request).await,
            None => Err(Broken::NotSent),
        }
    }

    /// One exchange with a provider's API.
    ///
    /// # Errors
    /// Where no answer comes.
    pub async fn handle(
        &self,
        provider: Provider,
        request: Request<Bytes>,
    ) -> Result<Response<Bytes>, Broken> {
        match self.pass(What::Http { provider, ask: Ask::new(request) }).await? {
            Out::Reply(reply) => Ok(reply.into_response()),
            Out::Messages(_) | Out::Silence => Err(Broken::Lost),
        }
    }

    /// One message to a name server; the answers are several where a zone is transferred. What is lost on the way over
    /// UDP is never answered.
    ///
    /// # Errors
    /// Where a connection breaks.
    pub async fn exchange(
        &self,
        server: SocketAddr,
        bytes: &[u8],
        tcp: bool,
    ) -> Result<Vec<Vec<u8>>, Broken> {
        match self.pass(What::Message { server, bytes: bytes.to_vec(), tcp }).await {
            Ok(Out::Messages(messages)) => Ok(messages),
            Err(broken) if tcp => Err(broken),
            _ => std::future::pending().await,
        }
    }

    async fn pass(&self, what: What) -> Result<Out, Broken> {
        let at = self.elapsed();
        let subject = what.subject(&self.world());
        let (no, fault, latency) = {
            let mut ledger = lock(&self.0.ledger);
            let (no, fault) = ledger.enter(at, subject);
            (no, fault, ledger.latency)
        };
        let out = self.carry(what, fault, latency).await;
        match &out {
            Ok(Out::Reply(reply)) => lock(&self.0.ledger).answered(no, reply.status, reply.body.len()),
            Ok(Out::Messages(messages)) => {
                let code = messages.first().map_or(0, |m| message::code(m));
                lock(&self.0.ledger).answered(no, code, messages.iter().map(Vec::len).sum());
            }
            _ => {}
        }
        out
    }

    async fn carry(&self, what: What, fault: Option<Fault>, latency: Duration) -> Result<Out, Broken> {
        match &fault {
            Some(Fault::Before) => return Err(Broken::NotSent),
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Restart) => {
                self.restart();
                return Err(Broken::Lost);
            }
            Some(fault) => {
                if let Some(out) = front::instead(fault, &what) {
                    return Ok(out);
                }
            }
            None => {}
        }
        let mut boots = self.0.boots.subscribe();
        let mut wait = latency;
        let slot = {
            let mut world = self.world();
            let mut order = world.admit(what);
            if order.holds.is_some() {
                wait += self.0.options.powerdns_write;
            }
            match &fault {
                Some(Fault::StaleList(age)) => order.stale = Some(*age).filter(|_| !writes(&order.what)),
                Some(Fault::ShortList) => order.short = !writes(&order.what),
                Some(Fault::ErrorAfterCommit) => order.leak = true,
                Some(Fault::Slow(more)) => wait += *more,
                _ => {}
            }
            let slot = Arc::clone(&order.slot);
            let effect = match &fault {
                Some(Fault::Late(more)) => wait + *more,
                _ => wait,
            };
            // The effect is on the clock, not in this future: a client that hangs up does not undo it.
            if effect.is_zero() {
                world.run_order(&order);
            } else {
                world.later(effect, Event::Call(Box::new(order)));
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
        let done = lock(&slot).take();
        match done {
            Some(Out::Silence) => std::future::pending().await,
            Some(out) => Ok(spoilt(out, fault.as_ref())),
            None => Err(Broken::Lost),
        }
    }

    /// Plans a fault for one call.
    pub fn plan_fault(&self, at: CallNo, fault: Fault) {
        lock(&self.0.ledger).plan(at, fault);
    }

    /// Draws faults for every call from now on, or stops doing so.
    pub fn set_chaos(&self, chaos: Option<Chaos>) {
        lock(&self.0.ledger).set_chaos(chaos);
    }

    /// Faults of the calls that fit, in place of the rules before.
    pub fn set_rules(&self, rules: Vec<Rule>) {
        lock(&self.0.ledger).set_rules(rules, self.0.options.seed);
    }

    /// How long every call takes; its effect happens at the end of it.
    pub fn set_latency(&self, latency: Duration) {
        lock(&self.0.ledger).latency = latency;
    }

    pub fn call_count(&self) -> u64 {
        lock(&self.0.ledger).count
    }

    /// Every call with its time, its credential and what it asked.
    pub fn calls(&self) -> Vec<CallRecord> {
        lock(&self.0.ledger).calls.clone()
    }

    /// Forgets the records; the numbering goes on.
    pub fn clear_calls(&self) {
        lock(&self.0.ledger).calls.clear();
    }

    /// The providers' processes die and come back: calls in flight are broken.
    pub fn restart(&self) {
        self.world().restart();
        self.0.boots.send_modify(|boot| *boot += 1);
    }

    /// Access to everything, for another person in a provider's console.
    pub fn with<R>(&self, f: impl FnOnce(&mut World) -> R) -> R {
        f(&mut self.world())
    }

    /// A zone with its provider's usual servers, and a token that may do everything in it.
    pub fn zone(&self, provider: Provider, name: &str) -> String {
        let mut world = self.world();
        world.add_zone(provider, "main", name);
        let secret = front::usual_token(provider);
        if world.token(provider, secret).is_none() {
            world.add_token(Token::new(provider, "main", secret));
        }
        secret.to_owned()
    }

    /// All zones and their records in a canonical order, and apart from them the serials.
    pub fn dump(&self) -> Value {
        super::dump::dump(&self.world())
    }
}

fn writes(what: &What) -> bool {
    match what {
        What::Http { ask, .. } => ask.writes(),
        What::Message { bytes, .. } => message::is_update(bytes),
    }
}

fn spoilt(out: Out, fault: Option<&Fault>) -> Out {
    let Some(fault) = fault else { return out };
    match out {
        Out::Reply(reply) => {
            let body = fault.spoil(reply.body.clone());
            Out::Reply(Reply { body, ..reply })
        }
        Out::Messages(messages) => {
            Out::Messages(messages.into_iter().map(|m| fault.spoil(Bytes::from(m)).to_vec()).collect())
        }
        Out::Silence => Out::Silence,
    }
}
