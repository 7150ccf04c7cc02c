//! The port over a simulated world: one zone at one provider, strangers' records in it.

use crate::stack::name;
use berth_dns::{
    Credential, Exchange, ExchangeError, Flow, Options, ProviderOptions, TsigAlgo, TsigKey, Zones,
};
use berth_model::ids::{CredentialName, Owner};
use berth_model::{Secret, Time};
use berth_sim::Broken;
use berth_sim::dns::{Algorithm, Options as Settings, Provider, RESOLVER, Sim, TsigKey as SimKey};
use berth_wire::{FixedKey, Silent, Transport, TransportError};
use bytes::Bytes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

pub(crate) const ALL: [Provider; 5] =
    [Provider::Hetzner, Provider::Cloudflare, Provider::Hostinger, Provider::PowerDns, Provider::Rfc2136];
pub(crate) const ZONE: &str = "z.test";
const SECRET: &[u8] = b"secret-of-the-key-of-simulated-tests";

#[derive(Clone)]
pub(crate) struct World(pub(crate) Sim);

impl Transport for World {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        self.0.send(request).await.map_err(|broken| match broken {
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

impl Exchange for World {
    async fn exchange(
        &self,
        server: SocketAddr,
        message: &[u8],
        tcp: bool,
    ) -> Result<Vec<u8>, ExchangeError> {
        let answers = self.0.exchange(server, message, tcp).await.map_err(told)?;
        let lost = || ExchangeError::Lost("no answer".to_owned());
        answers.into_iter().find(|a| tcp || a.get(..2) == message.get(..2)).ok_or_else(lost)
    }

    async fn stream(
        &self,
        server: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> Result<(), ExchangeError> {
        for answer in self.0.exchange(server, message, true).await.map_err(told)? {
            if take(answer) == Flow::Done {
                return Ok(());
            }
        }
        Err(ExchangeError::Lost("it ended".to_owned()))
    }
}

pub(crate) type Port = Zones<World, World>;

/// The word of a provider's credential.
pub(crate) fn word(provider: Provider) -> &'static str {
    match provider {
        Provider::Hetzner => "hetzner",
        Provider::Cloudflare => "cloudflare",
        Provider::Hostinger => "hostinger",
        Provider::PowerDns => "powerdns",
        Provider::Rfc2136 => "rfc2136",
    }
}

/// A world with one zone at this provider.
pub(crate) fn world(provider: Provider, seed: u64) -> (World, String) {
    let sim = Sim::new(Settings { seed, ..Settings::default() });
    let token = sim.zone(provider, ZONE);
    if provider == Provider::Rfc2136 {
        let key =
            SimKey { name: "berth-key.".to_owned(), algorithm: Algorithm::Sha256, secret: SECRET.to_vec() };
        sim.with(|w| w.grant(ZONE, key, &[]));
    }
    (World(sim), token)
}

/// Puts a stranger's set there, with everything that their provider keeps beside the values.
pub(crate) fn put(world: &World, provider: Provider, name: &str, kind: &str, values: &[&str]) {
    world.0.with(|w| {
        w.put(ZONE, name, kind, 600, values);
        if provider == Provider::Cloudflare
            && let Some(mut set) = w.get(ZONE, name, kind)
        {
            // There, every value has a lifetime of its own.
            for value in &mut set.values {
                value.ttl = Some(600);
            }
            w.put_set(ZONE, name, kind, set);
        }
    });
}

/// What strangers have in the zone.
pub(crate) fn strangers(world: &World, provider: Provider) {
    put(world, provider, "@", "MX", &["10 mail.example.net."]);
    put(world, provider, "@", "TXT", &["\"v=spf1 \" \"-all\"", "\"other words\""]);
    put(world, provider, "mail", "A", &["192.0.2.25"]);
    put(world, provider, "two", "A", &["192.0.2.77", "192.0.2.78"]);
    put(world, provider, "caa", "CAA", &["0 issue \"ca.test\""]);
}

pub(crate) fn credential(world: &World, provider: Provider, token: &str) -> Credential {
    let key: Arc<FixedKey> = Arc::new(FixedKey(Secret::new(token)));
    let mut servers = Vec::new();
    let provider_options = match provider {
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
            let server = world.0.with(|w| w.server("ns1.bind.sim").address());
            servers.push(server);
            ProviderOptions::Rfc2136 {
                server,
                key: Some(TsigKey {
                    name: "berth-key".to_owned(),
                    algorithm: TsigAlgo::Sha256,
                    secret: Secret::new(data_encoding::BASE64.encode(SECRET)),
                }),
                transfers: true,
            }
        }
    };
    let only = (provider == Provider::Rfc2136).then(|| [name(ZONE)].into());
    Credential {
        name: CredentialName::new(word(provider)).unwrap(),
        provider: provider_options,
        zones: only,
        servers,
    }
}

pub(crate) fn port_of(world: &World, credentials: Vec<Credential>, seed: u64) -> Port {
    let start = Instant::now();
    let epoch = world.0.options().epoch.as_millisecond();
    let clock = move || Time(epoch + i64::try_from(start.elapsed().as_millis()).unwrap());
    let count = AtomicU64::new(seed);
    let dice = move || {
        // SplitMix64.
        let mut z =
            count.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed).wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let options = Options {
        owner: Owner::new("prod").unwrap(),
        clock: Arc::new(clock),
        dice: Arc::new(dice),
        observer: Arc::new(Silent),
        resolvers: vec![RESOLVER],
        recursors: vec![RESOLVER],
    };
    let carrier = world.clone();
    Zones::new(options, credentials, move |_| Ok(carrier.clone()), world.clone()).unwrap()
}

/// A world with strangers' records, and the port to it.
pub(crate) fn set_up(provider: Provider) -> (World, Port) {
    let (world, token) = world(provider, 1);
    strangers(&world, provider);
    let credential = credential(&world, provider, &token);
    let port = port_of(&world, vec![credential], 1);
    (world, port)
}

/// Everything in the zone that is not the SOA, as a stranger sees it: values, lifetimes, marks.
pub(crate) fn all(world: &World) -> Vec<String> {
    world.0.with(|w| {
        let now = w.now();
        let zone = w.zone(ZONE);
        let sets = zone.view(now);
        let mut out: Vec<_> = sets
            .iter()
            .filter(|(_, kind, _)| *kind != "SOA")
            .map(|(name, kind, set)| {
                let value = |v: &berth_sim::dns::Value| {
                    let ttl = v.ttl.or(set.ttl);
                    format!("{} {ttl:?} {:?} {}", v.content, v.comment, v.disabled)
                };
                let mut values: Vec<_> = set.values.iter().map(value).collect();
                values.sort_unstable();
                let notes: Vec<_> = set.notes.iter().map(|n| format!("{n:?}")).collect();
                format!("{name} {kind} {values:?} {:?} {notes:?}", set.labels)
            })
            .collect();
        out.sort();
        out
    })
}

/// Our calls that changed something, by procedure.
pub(crate) fn writes(world: &World) -> Vec<String> {
    world.0.calls().into_iter().filter(|c| c.mutation).map(|c| c.procedure).collect()
}
