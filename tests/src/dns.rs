//! A simulated DNS beside the simulated server: one zone at one provider, strangers' records in it.

use crate::crash::{Crashes, Moment};
use crate::rig::START;
use crate::world::{Seeded, SimClock};
use berth_dns::{
    Credential, Exchange, ExchangeError, Flow, Options, ProviderOptions, TsigAlgo, TsigKey, Zones,
};
use berth_model::Secret;
use berth_model::dns::Fqdn;
use berth_model::ids::{CredentialName, Owner};
use berth_sim::Broken;
use berth_sim::dns::{Algorithm, Options as Settings, Provider, RESOLVER, Sim, TsigKey as SimKey};
use berth_wire::{FixedKey, Silent, Transport, TransportError};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// The zone.
pub const ZONE: &str = "z.test";
/// Every kind of provider.
pub const PROVIDERS: [Provider; 5] =
    [Provider::Hetzner, Provider::Cloudflare, Provider::Hostinger, Provider::PowerDns, Provider::Rfc2136];

/// The key of dynamic updates.
const SECRET: &[u8] = b"secret-of-the-key-of-simulated-tests";

/// The simulated DNS.
#[derive(Clone)]
pub struct SimDns {
    /// The world of DNS.
    pub sim: Sim,
    /// Who holds the zone.
    pub provider: Provider,
    token: String,
    strangers: Vec<String>,
}

impl SimDns {
    /// A zone at this provider, with records of others in it.
    pub fn new(provider: Provider, seed: u64) -> Self {
        let epoch = jiff::Timestamp::from_millisecond(START.0).expect("a time");
        let sim = Sim::new(Settings { seed, epoch, ..Settings::default() });
        let token = sim.zone(provider, ZONE);
        sim.with(|w| {
            if provider == Provider::Rfc2136 {
                let name = "berth-key.".to_owned();
                w.grant(ZONE, SimKey { name, algorithm: Algorithm::Sha256, secret: SECRET.to_vec() }, &[]);
            }
            w.put(ZONE, "@", "MX", 600, &["10 mail.example.net."]);
            w.put(ZONE, "@", "TXT", 600, &["\"v=spf1 \" \"-all\"", "\"other words\""]);
            w.put(ZONE, "mail", "A", 600, &["192.0.2.25"]);
            w.put(ZONE, "two", "A", 600, &["192.0.2.77", "192.0.2.78"]);
        });
        let mut dns = Self { sim, provider, token, strangers: Vec::new() };
        dns.strangers = dns.records();
        dns
    }

    /// Every set of the zone but the SOA: name, type, values, marks.
    pub fn records(&self) -> Vec<String> {
        self.sim.with(|w| {
            let now = w.now();
            let sets = w.zone(ZONE).view(now);
            let sets = sets.iter().filter(|(_, kind, _)| *kind != "SOA" && *kind != "NS");
            let mut out: Vec<_> = sets
                .map(|(name, kind, set)| {
                    let mut values: Vec<_> =
                        set.values.iter().map(|v| format!("{} {:?}", v.content, v.comment)).collect();
                    values.sort_unstable();
                    // When a comment was written is all of it that depends on the way.
                    let notes: Vec<_> =
                        set.notes.iter().map(|n| format!("{} {}", n.account, n.content)).collect();
                    format!("{name} {kind} {values:?} {:?} {notes:?}", set.labels)
                })
                .collect();
            out.sort();
            out
        })
    }

    /// The sets that lead somewhere and are not others': name, type, values.
    pub fn ours(&self) -> Vec<String> {
        self.sim.with(|w| {
            let now = w.now();
            let sets = w.zone(ZONE).view(now);
            let leads = sets.iter().filter(|(name, kind, _)| {
                matches!(*kind, "A" | "AAAA" | "CNAME")
                    && !["mail", "two"].iter().any(|s| name.starts_with(s))
            });
            let mut out: Vec<_> = leads
                .map(|(name, kind, set)| {
                    let mut values: Vec<_> = set.values.iter().map(|v| v.content.clone()).collect();
                    values.sort_unstable();
                    format!("{name} {kind} {}", values.join(" "))
                })
                .collect();
            out.sort();
            out
        })
    }

    /// # Panics
    /// Where a record of others is not as it was.
    pub fn others_are_as_they_were(&self) {
        let now = self.records();
        for record in &self.strangers {
            // A text stands beside others' texts; its own line is looked at value by value.
            assert!(now.contains(record), "{record} is not as it was:\n{}", now.join("\n"));
        }
    }

    /// # Panics
    /// Where anything but others' records is there.
    pub fn holds_nothing_of_ours(&self) {
        assert_eq!(self.records(), self.strangers, "{:?}", self.provider);
    }

    /// Somebody else makes every call that the account may make: the answer that says so.
    ///
    /// # Panics
    /// Where the provider has no limit.
    pub async fn use_up(&self) -> http::Response<Bytes> {
        let url = match self.provider {
            Provider::Hetzner => "https://api.hetzner.cloud/v1/zones".to_owned(),
            Provider::Cloudflare => "https://api.cloudflare.com/client/v4/zones".to_owned(),
            Provider::Hostinger => format!("https://developers.hostinger.com/api/dns/v1/zones/{ZONE}"),
            Provider::PowerDns | Provider::Rfc2136 => panic!("{:?} has no limit", self.provider),
        };
        for _ in 0..10_000 {
            let request = http::Request::get(&url).header("authorization", format!("Bearer {}", self.token));
            let answer =
                self.sim.send(request.body(Bytes::new()).expect("a request")).await.expect("an answer");
            if answer.status() != 429 {
                assert_eq!(answer.status(), 200, "{answer:?}");
                continue;
            }
            // One limit is a second's, and is over soon.
            let wait = answer.headers().get("retry-after").and_then(|v| v.to_str().ok()?.parse().ok());
            match wait {
                Some(seconds @ 0..=5) => tokio::time::sleep(std::time::Duration::from_secs(seconds)).await,
                _ => return answer,
            }
        }
        panic!("{:?} lets every call through", self.provider)
    }

    /// The marks at a name, and those beside it, as if another owner had made them.
    pub fn give_away(&self, name: &str, owner: &str) {
        let is_its = |fqdn: &str| {
            let own = fqdn.strip_suffix(&format!(".{ZONE}.")).unwrap_or_default();
            own == name || own.starts_with("_berth-") && own.ends_with(&format!(".{name}"))
        };
        self.sim.with(|w| {
            let now = w.now();
            let view = w.zone(ZONE).view(now);
            let keys: Vec<_> =
                view.iter().map(|(n, kind, _)| ((*n).to_owned(), (*kind).to_owned())).collect();
            for (fqdn, kind) in keys.into_iter().filter(|(n, _)| is_its(n)) {
                let own = fqdn.trim_end_matches(&format!(".{ZONE}."));
                let Some(mut set) = w.get(ZONE, own, &kind) else { continue };
                let renamed = |text: &str| text.replace("berth/1 test/", &format!("berth/1 {owner}/"));
                for label in set.labels.values_mut().filter(|l| *l == "test") {
                    *label = owner.to_owned();
                }
                for value in &mut set.values {
                    value.content = renamed(&value.content);
                    value.comment = value.comment.as_deref().map(renamed);
                }
                for note in &mut set.notes {
                    note.content = renamed(&note.content);
                }
                w.put_set(ZONE, own, &kind, set);
            }
        });
    }

    pub(crate) fn zones(&self, crashes: &Crashes, owner: &Owner, start: Instant, seed: u64) -> TestDns {
        let carrier = Carrier { sim: self.sim.clone(), crashes: crashes.clone(), life: crashes.life() };
        let dice = Arc::new(Seeded::new(seed ^ 0x0d25));
        let options = Options {
            owner: owner.clone(),
            clock: Arc::new(move || SimClock::at(START, start)),
            dice: Arc::new(move || berth_ports::Dice::roll(&*dice)),
            observer: Arc::new(Silent),
            resolvers: vec![RESOLVER],
            recursors: vec![RESOLVER],
        };
        let http = carrier.clone();
        Zones::new(options, vec![self.credential()], move |_| Ok(http.clone()), carrier)
            .expect("a credential that is one")
    }

    fn credential(&self) -> Credential {
        let key: Arc<FixedKey> = Arc::new(FixedKey(Secret::new(&self.token)));
        let mut servers = Vec::new();
        let mut zones = None;
        let provider = match self.provider {
            Provider::Hetzner => ProviderOptions::Hetzner { key, url: None },
            Provider::Cloudflare => ProviderOptions::Cloudflare { key, url: None },
            Provider::Hostinger => ProviderOptions::Hostinger { key, url: None },
            Provider::PowerDns => ProviderOptions::PowerDns {
                url: "http://ns1.powerdns.sim:8081".to_owned(),
                key,
                server: "localhost".to_owned(),
                companions: false,
            },
            Provider::Rfc2136 => {
                let server = self.sim.with(|w| w.server("ns1.bind.sim").address());
                servers.push(server);
                zones = Some([Fqdn::new(ZONE).expect("a name")].into());
                let key = TsigKey {
                    name: "berth-key".to_owned(),
                    algorithm: TsigAlgo::Sha256,
                    secret: Secret::new(data_encoding::BASE64.encode(SECRET)),
                };
                ProviderOptions::Rfc2136 { server, key: Some(key), transfers: true }
            }
        };
        Credential { name: CredentialName::new("zones").expect("a name"), provider, zones, servers }
    }
}

/// DNS of a test.
pub type TestDns = Zones<Carrier, Carrier>;

/// Calls and messages into the simulated DNS, with crashes.
#[derive(Clone)]
pub struct Carrier {
    sim: Sim,
    crashes: Crashes,
    /// The life that it belongs to: what an earlier one had under way ended with it.
    life: u64,
}

impl Carrier {
    /// Carries one thing over, unless the daemon dies at it.
    async fn carry<R>(&self, counts: bool, work: impl Future<Output = R>) -> R {
        if self.crashes.is_dead() || self.crashes.life() != self.life {
            return std::future::pending().await;
        }
        let moment = if counts { self.crashes.next_call() } else { None };
        if moment == Some(Moment::Before) {
            return self.crashes.crash().await;
        }
        let result = work.await;
        match moment {
            Some(Moment::Applied) => return self.crashes.crash().await,
            Some(Moment::Answered) => self.crashes.crash_at_commit(),
            _ => {}
        }
        result
    }
}

impl Transport for Carrier {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let result = self.carry(true, self.sim.send(request)).await;
        result.map_err(|broken| match broken {
            Broken::NotSent => TransportError::NotSent(broken.to_string()),
            Broken::Lost => TransportError::Lost(broken.to_string()),
        })
    }
}

fn told(broken: Broken) -> ExchangeError {
    match broken {
        Broken::NotSent => ExchangeError::NotSent(broken.to_string()),
        Broken::Lost => ExchangeError::Lost(broken.to_string()),
    }
}

impl Exchange for Carrier {
    async fn exchange(
        &self,
        server: SocketAddr,
        message: &[u8],
        tcp: bool,
    ) -> Result<Vec<u8>, ExchangeError> {
        // The opcode of an update: other messages change nothing.
        let is_update = message.get(2).is_some_and(|byte| byte >> 3 & 0xf == 5);
        let answers = self.carry(is_update, self.sim.exchange(server, message, tcp)).await.map_err(told)?;
        let lost = || ExchangeError::Lost("no answer".to_owned());
        answers.into_iter().find(|a| tcp || a.get(..2) == message.get(..2)).ok_or_else(lost)
    }

    async fn stream(
        &self,
        server: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> Result<(), ExchangeError> {
        let answers = self.carry(false, self.sim.exchange(server, message, true)).await.map_err(told)?;
        for answer in answers {
            if take(answer) == Flow::Done {
                return Ok(());
            }
        }
        Err(ExchangeError::Lost("it ended".to_owned()))
    }
}
