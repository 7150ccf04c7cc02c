//! DNS in production: the zones of all credentials of the settings, over sockets. Wiring only: it decides nothing.

use crate::world::{Counting, Guarded, SHUT, key};
use anyhow::{Result, anyhow};
use berth_dns::{
    Credential, DnsSockets, Exchange, ExchangeError, Flow, Options, ProviderOptions, TsigKey, Zones,
    system_resolvers,
};
use berth_engine::Metrics;
use berth_model::config::{Config, DnsCredential, DnsProvider};
use berth_store::Held;
use berth_wire::{Observer, system_dice};
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

/// The zones of production.
pub type AllZones = Zones<Guarded, GuardedSockets>;

/// DNS messages over sockets: shut as soon as another daemon may lead, since some of them are updates.
#[derive(Clone)]
pub struct GuardedSockets {
    sockets: DnsSockets,
    /// `None` where nobody else can lead.
    held: Option<Held>,
}

impl GuardedSockets {
    fn open(&self) -> Result<(), ExchangeError> {
        if self.held.as_ref().is_some_and(|held| !held.may_call()) {
            return Err(ExchangeError::NotSent(SHUT.to_owned()));
        }
        Ok(())
    }
}

impl Exchange for GuardedSockets {
    async fn exchange(
        &self,
        server: SocketAddr,
        message: &[u8],
        tcp: bool,
    ) -> Result<Vec<u8>, ExchangeError> {
        self.open()?;
        self.sockets.exchange(server, message, tcp).await
    }

    async fn stream(
        &self,
        server: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> Result<(), ExchangeError> {
        self.open()?;
        self.sockets.stream(server, message, take).await
    }
}

/// Counts the calls of each credential as those of a backend `dns/NAME`.
struct ByCredential(Arc<OnceLock<Arc<Metrics>>>);

// What is no credential's is not there to be counted.
impl Observer for ByCredential {
    fn call(&self, _: &str, _: &'static str, _: f64) {}
    fn request(&self, _: &str, _: f64) {}
    fn waited(&self, _: f64) {}
    fn of(&self, credential: &str) -> Option<Arc<dyn Observer>> {
        Some(Arc::new(Counting::under(format!("dns/{credential}"), &self.0)))
    }
}

/// All zones of the settings; `None` where they name no credential. They are called only while the lead is held, if
/// there is one, and are counted once there is an engine to count them.
///
/// # Errors
/// A credential that cannot be used as it stands.
pub fn zones(
    config: &Config,
    held: Option<&Held>,
    late: &Arc<OnceLock<Arc<Metrics>>>,
) -> Result<Option<AllZones>> {
    let dns = &config.dns;
    if dns.credentials.is_empty() {
        return Ok(None);
    }
    let options = Options {
        owner: config.owner.clone(),
        clock: Arc::new(crate::out::now),
        dice: system_dice(),
        observer: Arc::new(ByCredential(late.clone())),
        resolvers: if dns.resolvers.is_empty() { system_resolvers() } else { dns.resolvers.clone() },
        recursors: dns.recursors.clone(),
    };
    let credentials = dns.credentials.iter().map(|(name, credential)| Credential {
        name: name.clone(),
        provider: provider(credential),
        zones: credential.zones.clone(),
        servers: credential.servers.clone(),
    });
    let transport = |_: &_| Guarded::new(held).map_err(|e| e.to_string());
    let exchange = GuardedSockets { sockets: DnsSockets, held: held.cloned() };
    let zones = Zones::new(options, credentials.collect(), transport, exchange);
    Ok(Some(zones.map_err(|why| anyhow!("{why}; see 'dns' in berth.yaml"))?))
}

fn provider(credential: &DnsCredential) -> ProviderOptions {
    match &credential.provider {
        DnsProvider::Hetzner { key: token, url } => {
            ProviderOptions::Hetzner { key: key(token), url: url.clone() }
        }
        DnsProvider::Cloudflare { key: token, url } => {
            ProviderOptions::Cloudflare { key: key(token), url: url.clone() }
        }
        DnsProvider::Hostinger { key: token, url } => {
            ProviderOptions::Hostinger { key: key(token), url: url.clone() }
        }
        DnsProvider::PowerDns { url, key: token, server, companions } => ProviderOptions::PowerDns {
            url: url.clone(),
            key: key(token),
            server: server.clone(),
            companions: *companions,
        },
        DnsProvider::Rfc2136 { server, key, transfers } => ProviderOptions::Rfc2136 {
            server: *server,
            key: key.as_ref().map(|k| TsigKey {
                name: k.name.clone(),
                algorithm: k.algorithm,
                secret: k.secret.value.clone(),
            }),
            transfers: *transfers,
        },
    }
}
