//! All zones of all credentials, as one thing: which zone a name belongs to, and who reaches it.

use crate::account::Common;
use crate::any::Any;
use crate::asker::Asker;
use crate::cloudflare::{self, Cloudflare};
use crate::exchange::Exchange;
use crate::hetzner::{self, Hetzner};
use crate::hostinger::{self, Hostinger};
use crate::managed::Managed;
use crate::options::{Credential, Options, ProviderOptions};
use crate::powerdns::PowerDns;
use crate::provider::{Provider, Zone};
use crate::rfc2136::{self, Rfc2136};
use crate::tsig::Key;
use crate::verify::Directory;
use berth_model::dns::{Asked, Change, Changed, Fqdn, Verification, ZoneChoice, ZoneId, ZoneView};
use berth_model::ids::CredentialName;
use berth_ports::{BackendState, Dns, PortError, Preflight};
use berth_wire::Transport;
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a list of zones is good enough.
const LISTED: Duration = Duration::from_secs(300);
/// How long it is good enough to say that a zone is not there.
const MISSING: Duration = Duration::from_secs(30);
/// How long a list that failed is not asked for again: at first, and at most. One account that is down must not hold
/// up the names of others again and again.
const FAILED: (Duration, Duration) = (Duration::from_secs(3), Duration::from_secs(60));
/// How old a look may be that tells where a zone hands parts of itself on.
const CUTS: Duration = Duration::from_secs(300);

type Place<T, E> = Managed<Any<T, E>>;

/// How the list of zones was read last.
#[derive(Default)]
struct Listed {
    last: Option<(Instant, Result<(), PortError>)>,
    /// Failures in a row.
    failures: u32,
}

/// The zones of one credential.
pub(crate) struct Holder<T, E> {
    pub(crate) name: CredentialName,
    provider: Arc<Any<T, E>>,
    only: Option<BTreeSet<Fqdn>>,
    servers: Vec<SocketAddr>,
    owner: berth_model::ids::Owner,
    serial: Arc<tokio::sync::Mutex<()>>,
    /// When the list was last read, well or not.
    listed: tokio::sync::Mutex<Listed>,
    zones: Mutex<BTreeMap<Fqdn, Arc<Place<T, E>>>>,
}

fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T: Transport, E: Exchange> Holder<T, E> {
    /// Makes sure that the list of zones is not older. A list that fails leaves the zones of the one before.
    pub(crate) async fn list(&self, max_age: Duration) -> Result<(), PortError> {
        let entered = Instant::now();
        let mut listed = self.listed.lock().await;
        if let Some((at, result)) = listed.last.as_ref().filter(|_| !max_age.is_zero()) {
            let good = result.is_ok() && at.elapsed() <= max_age;
            let wait = FAILED.0.saturating_mul(1 << listed.failures.min(10)).min(FAILED.1);
            // Who waited behind a list that failed does not ask again at once either.
            if good || (result.is_err() && (*at >= entered || at.elapsed() < wait)) {
                return result.clone();
            }
        }
        let result = self.provider.zones().await.map(|zones| self.take(zones));
        listed.failures = if result.is_ok() { 0 } else { listed.failures + 1 };
        listed.last = Some((Instant::now(), result.clone()));
        result
    }

    fn take(&self, zones: Vec<Zone>) {
        let mut known = lock(&self.zones);
        let mut now = BTreeMap::new();
        for mut zone in zones {
            if self.only.as_ref().is_some_and(|only| !only.contains(&zone.name)) {
                continue;
            }
            if !self.servers.is_empty() {
                Arc::make_mut(&mut zone.facts).addresses.clone_from(&self.servers);
            }
            let place = match known.get(&zone.name) {
                Some(place) => {
                    place.renew(zone.clone());
                    Arc::clone(place)
                }
                None => {
                    let id = ZoneId { credential: self.name.clone(), name: zone.name.clone() };
                    let serial = Arc::clone(&self.serial);
                    Managed::new(id, Arc::clone(&self.provider), self.owner.clone(), zone.clone(), serial)
                }
            };
            now.insert(zone.name, place);
        }
        *known = now;
    }

    pub(crate) fn get(&self, zone: &Fqdn) -> Option<Arc<Place<T, E>>> {
        lock(&self.zones).get(zone).cloned()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Place<T, E>>> {
        lock(&self.zones).values().cloned().collect()
    }

    /// Zones that were named and are not reached.
    pub(crate) fn missing(&self) -> Vec<Fqdn> {
        let known = lock(&self.zones);
        self.only.iter().flatten().filter(|z| !known.contains_key(*z)).cloned().collect()
    }
}

/// DNS: all zones that all credentials reach.
pub struct Zones<T: Transport, E: Exchange> {
    pub(crate) holders: Vec<Holder<T, E>>,
    pub(crate) asker: Asker<E>,
    pub(crate) options: Options,
    pub(crate) directory: Directory,
}

impl<T: Transport, E: Exchange + Clone> Zones<T, E> {
    /// Over these transports: `transport` makes one for each credential that speaks HTTP. Sends nothing yet.
    ///
    /// # Errors
    /// A credential that cannot be used as it stands: which, and why.
    pub fn new(
        options: Options,
        credentials: Vec<Credential>,
        mut transport: impl FnMut(&CredentialName) -> Result<T, String>,
        exchange: E,
    ) -> Result<Self, String> {
        let mut holders: Vec<Holder<T, E>> = Vec::new();
        for credential in credentials {
            if holders.iter().any(|h| h.name == credential.name) {
                return Err(format!("two dns credentials are called {}", credential.name));
            }
            let Credential { name, provider, zones, servers } = credential;
            let provider = open(&options, &name, provider, zones.as_ref(), &mut transport, &exchange)?;
            holders.push(Holder {
                name,
                provider: Arc::new(provider),
                only: zones,
                servers,
                owner: options.owner.clone(),
                serial: Arc::default(),
                listed: tokio::sync::Mutex::default(),
                zones: Mutex::default(),
            });
        }
        let asker = Asker { exchange, dice: options.dice.clone() };
        Ok(Self { holders, asker, options, directory: Directory::default() })
    }
}

impl<T: Transport, E: Exchange> Zones<T, E> {
    /// The zones that each credential reaches now, or why they cannot be listed.
    pub async fn reached(&self) -> Vec<(CredentialName, Result<Vec<Fqdn>, PortError>)> {
        join_all(self.holders.iter().map(|holder| async move {
            let listed = holder.list(MISSING).await;
            (holder.name.clone(), listed.map(|()| holder.all().iter().map(|p| p.id.name.clone()).collect()))
        }))
        .await
    }
}

/// Makes the provider of a credential.
fn open<T: Transport, E: Exchange + Clone>(
    options: &Options,
    name: &CredentialName,
    provider: ProviderOptions,
    zones: Option<&BTreeSet<Fqdn>>,
    transport: &mut impl FnMut(&CredentialName) -> Result<T, String>,
    exchange: &E,
) -> Result<Any<T, E>, String> {
    let clock = || Arc::clone(&options.clock);
    let owner = || options.owner.clone();
    let observer = options.observer.of(name.as_str()).unwrap_or_else(|| Arc::clone(&options.observer));
    let common = |key| Common {
        name: name.to_string(),
        key,
        dice: options.dice.clone(),
        observer: Arc::clone(&observer),
    };
    Ok(match provider {
        ProviderOptions::Hetzner { key, url } => {
            let url = url.as_deref().unwrap_or(hetzner::URL);
            Any::Hetzner(Hetzner::new(common(key), url, clock(), transport(name)?)?)
        }
        ProviderOptions::Cloudflare { key, url } => {
            let url = url.as_deref().unwrap_or(cloudflare::URL);
            Any::Cloudflare(Cloudflare::new(common(key), url, owner(), clock(), transport(name)?)?)
        }
        ProviderOptions::Hostinger { key, url } => {
            let url = url.as_deref().unwrap_or(hostinger::URL);
            Any::Hostinger(Hostinger::new(common(key), url, clock(), transport(name)?)?)
        }
        ProviderOptions::PowerDns { url, key, server, companions } => {
            let transport = transport(name)?;
            Any::PowerDns(PowerDns::new(common(key), &url, &server, companions, owner(), clock(), transport)?)
        }
        ProviderOptions::Rfc2136 { server, key, transfers } => {
            let key = key.map(|k| Key::new(&k.name, k.algorithm, &k.secret)).transpose();
            let key = key.map_err(|why| format!("dns credential {name}: {why}"))?;
            let options = rfc2136::Options {
                name: name.to_string(),
                server,
                key,
                zones: zones.into_iter().flatten().cloned().collect(),
                transfers,
                clock: clock(),
                dice: options.dice.clone(),
                observer: Arc::clone(&observer),
            };
            Any::Rfc2136(Rfc2136::new(options, exchange.clone())?)
        }
    })
}

impl<T: Transport, E: Exchange> Zones<T, E> {
    pub(crate) async fn managed(&self, zone: &ZoneId) -> Result<Arc<Place<T, E>>, PortError> {
        let holder = self.holders.iter().find(|h| h.name == zone.credential);
        let holder =
            holder.ok_or_else(|| PortError::NotFound(format!("no dns credential {}", zone.credential)))?;
        if let Some(place) = holder.get(&zone.name) {
            // Facts of the zone grow old; that they cannot be renewed is no reason not to use it.
            let _ = holder.list(LISTED).await;
            return Ok(holder.get(&zone.name).unwrap_or(place));
        }
        holder.list(MISSING).await?;
        holder.get(&zone.name).ok_or_else(|| {
            PortError::NotFound(format!(
                "the dns credential {} reaches no zone {}",
                zone.credential, zone.name
            ))
        })
    }

    /// The longest zone of the name, with everybody who reaches it.
    fn longest(&self, name: &Fqdn) -> Option<(Fqdn, Vec<&Holder<T, E>>)> {
        name.up().find_map(|zone| {
            let by: Vec<_> = self.holders.iter().filter(|h| h.get(&zone).is_some()).collect();
            (!by.is_empty()).then_some((zone, by))
        })
    }

    async fn lists(&self, max_age: Duration) -> Vec<(&CredentialName, Result<(), PortError>)> {
        join_all(self.holders.iter().map(|h| async { (&h.name, h.list(max_age).await) })).await
    }

    async fn choose(&self, name: &Fqdn) -> Result<ZoneChoice, PortError> {
        let mut lists = self.lists(LISTED).await;
        let mut found = self.longest(name);
        if found.is_none() {
            lists = self.lists(MISSING).await;
            found = self.longest(name);
        }
        let Some((zone, by)) = found else {
            let failed: Vec<_> = lists.iter().filter_map(|(n, r)| Some((n, r.as_ref().err()?))).collect();
            if failed.is_empty() {
                return Ok(ZoneChoice::Nowhere);
            }
            let keys = failed.iter().all(|(_, error)| matches!(error, PortError::Auth { .. }));
            let failed: Vec<_> = failed.iter().map(|(name, error)| format!("{name}: {error}")).collect();
            let why =
                format!("no zone for {name} was found, and not all could be listed: {}", failed.join("; "));
            return Err(if keys { PortError::Auth { why } } else { PortError::Retry { after: None, why } });
        };
        let [one] = by.as_slice() else {
            let names: Vec<_> = by.iter().map(|h| h.name.to_string()).collect();
            return Err(PortError::Conflict(format!(
                "the zone {zone} is reached by several dns credentials: {}; name it under 'zones' of one of them only",
                names.join(", ")
            )));
        };
        let id = ZoneId { credential: one.name.clone(), name: zone };
        let ask: BTreeSet<_> = name.up().take_while(|n| *n != id.name).collect();
        let view = self.managed(&id).await?.view(&ask, CUTS).await?;
        Ok(match view.cut(name) {
            Some(cut) => ZoneChoice::Delegated { cut: cut.clone(), zone: id },
            None => ZoneChoice::Zone(id),
        })
    }
}

impl<T: Transport, E: Exchange> Dns for Zones<T, E> {
    async fn zone_of(&self, name: &Fqdn) -> Result<ZoneChoice, PortError> {
        self.choose(name).await
    }

    async fn view(
        &self,
        zone: &ZoneId,
        ask: &BTreeSet<Fqdn>,
        max_age: Duration,
    ) -> Result<Arc<ZoneView>, PortError> {
        self.managed(zone).await?.view(ask, max_age).await
    }

    async fn change(&self, zone: &ZoneId, change: Change) -> Result<Changed, PortError> {
        self.managed(zone).await?.change(change).await
    }

    async fn verify(&self, zone: &ZoneId, asked: &Asked) -> Result<Verification, PortError> {
        self.look(zone, asked).await
    }

    async fn preflight(&self, hosts: &BTreeSet<Fqdn>) -> Vec<Preflight> {
        self.findings(hosts).await
    }

    fn states(&self) -> Vec<(CredentialName, BackendState)> {
        self.holders.iter().map(|h| (h.name.clone(), h.provider.state())).collect()
    }
}
