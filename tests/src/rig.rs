//! A rig: one simulated server, one store, and a daemon that can be started, killed and started again.

use crate::crash::{Crash, Crashes};
use crate::dns::SimDns;
use crate::world::{Seeded, SimClock, SimProber, SimRegistry, SimTransport, TestWorld};
use berth_dokploy::Dokploy;
use berth_engine::{BackendOptions, Engine, Identity, Options, Parts};
use berth_manifest::{Context, Input};
use berth_model::config::{Address, DnsZone, Intervals};
use berth_model::dns::Fqdn;
use berth_model::event::Request;
use berth_model::ids::{BackendName, Key, Owner, StackName};
use berth_model::{Secret, Time};
use berth_ports::{Change, Store, Trust, Wanted};
use berth_sim::Sim;
use berth_sim::dns::Provider;
use berth_store::{Memory, Verdict};
use berth_vault::Ring;
use berth_wire::FixedKey;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// 2026-01-01: when every simulated world begins.
pub const START: Time = Time(1_767_225_600_000);

/// How a rig is made.
pub struct RigOptions {
    /// Of everything random.
    pub seed: u64,
    /// The server.
    pub sim: berth_sim::Options,
    /// Times of the daemon.
    pub intervals: Intervals,
    /// A zone at this provider, which the daemon has a credential for.
    pub dns: Option<Provider>,
    /// What differs in that zone from the defaults.
    pub zone: DnsZone,
    /// Where records lead.
    pub address: Option<Address>,
}

impl RigOptions {
    /// The usual rig, from a seed.
    pub fn seed(seed: u64) -> Self {
        let sim = berth_sim::Options { seed, epoch: jiff_at(START), ..Default::default() };
        let v4 = std::net::Ipv4Addr::new(203, 0, 113, 7);
        let v6 = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7);
        Self {
            seed,
            sim,
            intervals: Intervals::default(),
            dns: None,
            zone: DnsZone::default(),
            address: Some(Address::Ip { v4: Some(v4), v6: Some(v6) }),
        }
    }
}

fn jiff_at(time: Time) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(time.0).unwrap()
}

/// The rig.
pub struct Rig {
    /// The server.
    pub sim: Sim,
    /// Its DNS, where there is one.
    pub dns: Option<SimDns>,
    /// How often the registry was asked.
    pub looked_up: Arc<std::sync::atomic::AtomicU64>,
    /// How often hosts were asked from outside.
    pub probed: Arc<std::sync::atomic::AtomicU64>,
    /// The store.
    pub store: Memory,
    /// The switch.
    pub crashes: Crashes,
    /// What is wanted, file by file.
    pub files: BTreeMap<String, String>,
    /// What a source asks to be removed, where one can.
    pub removed: Option<BTreeSet<Key>>,
    /// Somebody is there who confirms whatever a guard over records holds.
    pub confirms: bool,
    /// Which app the daemon is.
    pub identity: Identity,
    /// What was committed, in short.
    pub log: Arc<std::sync::Mutex<Vec<String>>>,
    options: RigOptions,
    start: Instant,
    lives: u64,
}

impl Rig {
    /// A new world. Call it inside a runtime with paused time.
    pub fn new(options: RigOptions) -> Self {
        let sim = Sim::new(options.sim.clone());
        let dns = options.dns.map(|provider| SimDns::new(provider, options.seed));
        let rig = Self {
            sim,
            dns,
            looked_up: Arc::default(),
            probed: Arc::default(),
            store: Memory::new(START),
            crashes: Crashes::default(),
            files: BTreeMap::new(),
            removed: None,
            confirms: false,
            identity: Identity::default(),
            log: Arc::default(),
            options,
            start: Instant::now(),
            lives: 0,
        };
        rig.hook();
        rig
    }

    fn hook(&self) {
        let crashes = self.crashes.clone();
        let log = self.log.clone();
        self.store.on_commit(Box::new(move |changes| {
            let verdict = crashes.at_commit();
            if !matches!(verdict, Verdict::RefuseBefore(_)) {
                log.lock().unwrap().extend(changes.iter().map(brief));
            }
            verdict
        }));
    }

    /// Replaces the store: lost, or an older copy.
    pub fn replace_store(&mut self, store: Memory) {
        self.store = store;
        self.hook();
    }

    /// The virtual time.
    pub fn now(&self) -> Time {
        SimClock::at(START, self.start)
    }

    /// What the files say, compiled.
    ///
    /// # Panics
    /// Where a file that is meant to be valid is not: with the reader's own words.
    pub fn wanted(&self) -> Arc<Wanted> {
        let inputs: Vec<_> = self
            .files
            .iter()
            .map(|(name, text)| Input::new(name.clone(), text.clone().into_bytes()))
            .collect();
        let fleet = berth_manifest::load(&inputs, &Context::default());
        assert!(fleet.errors.is_empty(), "{}", berth_manifest::render(&fleet.errors, &inputs[..], false));
        Arc::new(Wanted {
            stacks: fleet.stacks,
            projects: fleet.projects,
            trust: Trust::Complete,
            removed: self.removed.clone(),
            invalid: BTreeMap::new(),
        })
    }

    /// A daemon over today's store and server.
    ///
    /// # Panics
    /// Where it cannot be made: a defect of the rig.
    pub async fn daemon(&mut self) -> Arc<Engine<TestWorld>> {
        self.lives += 1;
        let seed = self.options.seed.wrapping_mul(1_000_003).wrapping_add(self.lives);
        let main = BackendName::new("main").unwrap();
        let owner = Owner::new("test").unwrap();
        let start = self.start;
        let transport = SimTransport { sim: self.sim.clone(), crashes: self.crashes.clone() };
        let key = Arc::new(FixedKey(Secret::new(self.sim.owner_key())));
        let mut options = berth_dokploy::Options::new(
            "main",
            owner.clone(),
            "http://dokploy.sim:3000",
            key,
            Arc::new(move || SimClock::at(START, start)),
        );
        let dice = Arc::new(Seeded::new(seed ^ 0xabcd));
        options.dice = Arc::new(move || berth_ports::Dice::roll(&*dice));
        let platform = Dokploy::new(options, transport).unwrap();
        let ring = Ring::with_dice(
            &Secret::new("1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
            &owner,
            Arc::new(Seeded::new(seed ^ 0x1234)),
        )
        .unwrap();
        let parts = Parts {
            platforms: [(main.clone(), Arc::new(platform))].into(),
            store: self.store.clone(),
            vault: ring,
            prober: SimProber {
                sim: self.sim.clone(),
                asked: self.probed.clone(),
                clock: SimClock { base: START, start },
            },
            registry: SimRegistry(self.sim.clone(), self.looked_up.clone()),
            clock: SimClock { base: START, start },
            dice: Seeded::new(seed),
            dns: self.dns.as_ref().map(|dns| dns.zones(&self.crashes, &owner, start, seed)),
        };
        let zone = Fqdn::new(crate::dns::ZONE).unwrap();
        let options = Options {
            owner,
            backends: [(
                main,
                BackendOptions { check_registry: true, address: self.options.address.clone() },
            )]
            .into(),
            zones: [(zone, self.options.zone.clone())].into(),
            intervals: self.options.intervals.clone(),
            runs: 32,
            makes: 8,
            settle: Duration::from_secs(60),
            probes: 8,
            identity: self.identity.clone(),
        };
        Engine::new(parts, options).await.unwrap()
    }

    /// Runs a daemon until `done` says so, or for at most `within` of virtual time, or until it crashes.
    /// Answers whether `done` was reached.
    pub async fn run_until(
        &mut self,
        within: Duration,
        crash: Option<Crash>,
        mut done: impl FnMut(&Engine<TestWorld>, &Sim) -> bool,
    ) -> (Arc<Engine<TestWorld>>, bool) {
        self.crashes.arm(crash);
        let engine = self.daemon().await;
        engine.set_wanted(self.wanted());
        let deadline = Instant::now() + within;
        let reached = {
            let run = engine.run(CancellationToken::new());
            tokio::pin!(run);
            let mut reached = false;
            while !reached && Instant::now() < deadline {
                let step = (Instant::now() + Duration::from_millis(200)).min(deadline);
                tokio::select! {
                    () = &mut run => break,
                    () = self.crashes.died() => break,
                    () = tokio::time::sleep_until(step) => {
                        let asked = self.confirms && self.confirm(&engine).await;
                        reached = !asked && done(&engine, &self.sim);
                    }
                }
            }
            reached
        };
        (engine, reached)
    }

    /// Confirms what a guard over records holds, if it holds anything.
    async fn confirm(&self, engine: &Engine<TestWorld>) -> bool {
        let tokens = engine.zone_tokens();
        let is_held = !tokens.is_empty();
        for token in tokens {
            let request = Request::Confirm { token };
            // While the store takes nothing, it is asked again later.
            let _ = self.store.commit(vec![Change::Request { at: self.now(), request }]).await;
        }
        is_held
    }

    /// The task of this service that runs, waited for until there is one.
    ///
    /// # Panics
    /// Where none comes up within a minute.
    pub async fn task_of(&self, service: &str) -> String {
        for _ in 0..600 {
            let live = |w: &mut berth_sim::World| Some(w.swarm.services.get(service)?.live()?.id.clone());
            if let Some(task) = self.sim.with(live) {
                return task;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("no task of {service} runs");
    }

    /// One life of a daemon that runs inside this service: as [`Rig::run_until`], and it ends with its task.
    pub async fn live_in(
        &mut self,
        service: &str,
        within: Duration,
        done: impl FnMut(&Engine<TestWorld>, &Sim) -> bool,
    ) -> (Arc<Engine<TestWorld>>, bool) {
        let task = self.task_of(service).await;
        self.crashes.lives_in(service, &task);
        self.run_until(within, None, done).await
    }

    /// Runs until everything is Ready (or as Ready as it can be), which must happen within an hour of virtual time.
    ///
    /// # Panics
    /// Where it does not: with every state and the last runs.
    pub async fn converge(&mut self) -> Arc<Engine<TestWorld>> {
        let (engine, reached) = self.run_until(Duration::from_secs(3600), None, |e, _| e.at_rest()).await;
        assert!(reached, "not at rest after an hour:\n{}", self.tell(&engine));
        engine
    }

    /// Everything that helps to see why.
    pub fn tell(&self, engine: &Engine<TestWorld>) -> String {
        let mut out = String::new();
        for key in engine.keys() {
            out.push_str(&format!("{key}\n  record {:?}\n", engine.record(&key)));
            match engine.status_of(&key) {
                Some(status) => {
                    for c in status.conditions {
                        out.push_str(&format!(
                            "  {:?} {:?} {:?}: {}\n",
                            c.kind, c.status, c.reason, c.message
                        ));
                    }
                }
                None => out.push_str("  no status\n"),
            }
        }
        out.push_str(&format!("not judged yet: {:?}\n", engine.unjudged()));
        if std::env::var("BERTH_TELL").is_err() {
            out.push_str("(BERTH_TELL=1 shows commits and calls)\n");
            return out;
        }
        out.push_str("writes:\n");
        for call in self.sim.calls().iter().filter(|c| c.mutation) {
            out.push_str(&format!(
                "  {} {:?} {} {:?} {:?}\n",
                call.no, call.at, call.procedure, call.status, call.fault
            ));
        }
        out.push_str("last commits:\n");
        for line in self.log.lock().unwrap().iter().rev().take(120).rev() {
            out.push_str(&format!("  {line}\n"));
        }
        out.push_str("last calls:\n");
        for call in self.sim.calls().iter().rev().take(4000).rev() {
            out.push_str(&format!(
                "  {} {:?} {} {:?} {:?}\n",
                call.no, call.at, call.procedure, call.status, call.fault
            ));
        }
        out
    }

    /// Somebody else at the API: one mutation with the owner's key.
    ///
    /// # Panics
    /// Where the server does not take it.
    pub async fn someone(&self, procedure: &str, body: serde_json::Value) -> serde_json::Value {
        let request = http::Request::post(format!("http://dokploy.sim:3000/api/{procedure}"))
            .header("x-api-key", self.sim.owner_key())
            .header("content-type", "application/json")
            .body(bytes::Bytes::from(body.to_string()))
            .unwrap();
        let answer = self.sim.handle(request).await.unwrap();
        assert_eq!(answer.status(), 200, "{procedure}: {:?}", answer.body());
        serde_json::from_slice(answer.body()).unwrap_or(serde_json::Value::Null)
    }

    /// Objects of somebody else, which are to stay as they are.
    pub async fn foreign(&self) {
        use serde_json::json;
        let made = self.someone("project.create", json!({"name": "theirs", "env": "X=1"})).await;
        let environment = &made["environment"]["environmentId"];
        let app = self
            .someone(
                "application.create",
                json!({"name": "their-app", "environmentId": environment, "description": "hands off"}),
            )
            .await;
        let id = &app["applicationId"];
        self.someone("application.update", json!({"applicationId": id, "sourceType": "docker", "dockerImage": "registry.sim/their:1", "env": "A=b"})).await;
        self.someone(
            "domain.create",
            json!({"host": "their.test", "applicationId": id, "domainType": "application", "port": 80}),
        )
        .await;
        self.someone("application.deploy", json!({"applicationId": id})).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    /// Whether a stack is Ready.
    pub fn ready(engine: &Engine<TestWorld>, name: &str) -> bool {
        engine.status_of(&stack(name)).is_some_and(|s| s.is_ready())
    }
}

fn brief(change: &berth_ports::Change) -> String {
    let text = format!("{change:?}");
    text.chars().take(600).collect()
}

fn stack(name: &str) -> Key {
    Key::Stack(StackName::new(name).unwrap())
}
