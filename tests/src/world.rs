//! The simulated server behind the engine's ports.

use crate::crash::{Crashes, Moment};
use berth_dokploy::Dokploy;
use berth_model::observed::{Certificate, ImageAnswer, ProbeResult, Probed};
use berth_model::step::ProbeSpec;
use berth_model::{Secret, Time};
use berth_ports::{Clock, Dice, Prober, Registry, World};
use berth_sim::{Broken, Probe, Sim};
use berth_store::Memory;
use berth_vault::Ring;
use berth_wire::{Transport, TransportError};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

/// Everything in process.
pub struct TestWorld;

impl World for TestWorld {
    type Platform = Dokploy<SimTransport>;
    type Store = Memory;
    type Vault = Ring;
    type Prober = SimProber;
    type Registry = SimRegistry;
    type Clock = SimClock;
    type Dice = Seeded;
    type Dns = crate::dns::TestDns;
}

/// Calls into the simulator, with crashes.
#[derive(Clone)]
pub struct SimTransport {
    /// The server.
    pub sim: Sim,
    /// The switch.
    pub crashes: Crashes,
}

impl Transport for SimTransport {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        if self.crashes.is_dead() {
            return std::future::pending().await;
        }
        if self.crashes.lost_its_host(&self.sim) {
            return std::future::pending().await;
        }
        let moment = self.crashes.next_call();
        if moment == Some(Moment::Before) {
            return self.crashes.crash().await;
        }
        let result = self.sim.handle(request).await;
        if self.crashes.lost_its_host(&self.sim) {
            return std::future::pending().await;
        }
        match moment {
            Some(Moment::Applied) => return self.crashes.crash().await,
            Some(Moment::Answered) => self.crashes.crash_at_commit(),
            _ => {}
        }
        result.map_err(|broken| match broken {
            Broken::NotSent => TransportError::NotSent("connection refused".to_owned()),
            Broken::Lost => TransportError::Lost("connection reset".to_owned()),
        })
    }
}

/// Asks the simulated proxy, by TLS where the host has a certificate there. Counts the questions.
pub struct SimProber {
    /// The server.
    pub sim: Sim,
    /// How often it was asked.
    pub asked: Arc<AtomicU64>,
    /// Certificates expire by it.
    pub clock: SimClock,
}

impl SimProber {
    fn ask(&self, spec: &ProbeSpec) -> ProbeResult {
        let mut last = ProbeResult::NoAnswer("no path to ask".to_owned());
        for path in &spec.paths {
            last = match self.sim.probe(&spec.host, path) {
                Probe::Status(status) => ProbeResult::Status { path: path.clone(), status },
                Probe::NoRoute => ProbeResult::Status { path: path.clone(), status: 404 },
                Probe::BadGateway => ProbeResult::Status { path: path.clone(), status: 502 },
                Probe::Refused => ProbeResult::NoAnswer("connection refused".to_owned()),
            };
            if matches!(last, ProbeResult::Status { status, .. } if (spec.expect.0..=spec.expect.1).contains(&status))
            {
                break;
            }
        }
        last
    }
}

impl Prober for SimProber {
    async fn probe(&self, _backend: &str, spec: &ProbeSpec) -> Probed {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let result = self.ask(spec);
        let shown = self.sim.certificate(&spec.host).filter(|_| spec.https);
        let Some(shown) = shown.filter(|_| !matches!(result, ProbeResult::NoAnswer(_))) else {
            return Probed { result, certificate: None };
        };
        let until = Time(shown.until);
        let trouble = if !shown.believed {
            Some("unknown issuer".to_owned())
        } else if until <= self.clock.now() {
            // As the TLS library tells it: with the time, which is another one each time.
            Some(format!("expired: it is {} now", self.clock.now().0))
        } else {
            None
        };
        let result = trouble.as_ref().map_or(result, |why| ProbeResult::Certificate(why.clone()));
        Probed { result, certificate: Some(Certificate { until: Some(until), trouble }) }
    }
}

/// Asks the simulated registry: every image it was not told about is there, without a digest. Counts the look-ups.
pub struct SimRegistry(pub Sim, pub Arc<AtomicU64>);

impl Registry for SimRegistry {
    async fn image(&self, reference: &str, _auth: Option<(&str, &Secret)>) -> ImageAnswer {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.with(|w| match w.swarm.images.behaviour(reference) {
            berth_sim::Behaviour::Missing => ImageAnswer::Missing,
            _ => ImageAnswer::Found(w.swarm.images.tags.get(reference).map(|i| i.digest.clone())),
        })
    }
}

/// Virtual time, from a fixed day.
pub struct SimClock {
    pub(crate) base: Time,
    pub(crate) start: Instant,
}

impl SimClock {
    pub(crate) fn at(base: Time, start: Instant) -> Time {
        base.after(start.elapsed())
    }
}

impl Clock for SimClock {
    fn now(&self) -> Time {
        Self::at(self.base, self.start)
    }
}

/// A seeded generator (splitmix64): the same seed, the same rolls.
pub struct Seeded(AtomicU64);

impl Seeded {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }
}

impl Dice for Seeded {
    fn roll(&self) -> u64 {
        let mut z =
            self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
