//! Which servers answer for a zone, and where: given addresses, or the names that the provider says and those that the
//! parent zone says, with their addresses from a recursor. A recursor is asked about servers and about nothing else.

use crate::asker::Asker;
use crate::exchange::Exchange;
use crate::message::{fqdn, name as name_of};
use berth_model::dns::{Delegation, Fqdn, ZoneFacts, ZoneId};
use futures::future::join_all;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RData, RecordType as Kind};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long what was found is kept.
const KEPT: Duration = Duration::from_secs(600);
/// How long is remembered that nothing was found.
const MISSED: Duration = Duration::from_secs(30);
/// The most servers of one zone that are asked, and addresses of one server.
const SERVERS: usize = 16;
const ADDRESSES: usize = 4;
/// Servers of a parent zone that are tried.
const PARENTS: usize = 3;
/// The port of DNS.
const PORT: u16 = 53;

/// A server, by its name where it has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: Option<Fqdn>,
    pub(crate) addresses: Vec<SocketAddr>,
}

/// The servers of a zone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Found {
    pub(crate) targets: Vec<Target>,
    /// In what provider and parent do not agree.
    pub(crate) delegation: Option<String>,
    /// Why there is nobody to ask.
    pub(crate) nothing: Option<String>,
}

type Addresses = BTreeMap<Fqdn, (Instant, Vec<IpAddr>)>;
type Delegated = BTreeMap<Fqdn, (Instant, Option<BTreeSet<Fqdn>>)>;

/// What was found out about servers.
#[derive(Default)]
pub(crate) struct Directory {
    addresses: Mutex<Addresses>,
    delegated: Mutex<Delegated>,
}

fn young(at: Instant, found: bool) -> bool {
    at.elapsed() < if found { KEPT } else { MISSED }
}

/// The names in NS records of this owner.
fn servers_in<'a>(
    records: impl IntoIterator<Item = &'a hickory_proto::rr::Record>,
    owner: &Fqdn,
) -> BTreeSet<Fqdn> {
    let own = records.into_iter().filter(|r| fqdn(&r.name).as_ref() == Some(owner));
    own.filter_map(|r| match &r.data {
        RData::NS(ns) => fqdn(&ns.0),
        _ => None,
    })
    .take(SERVERS)
    .collect()
}

impl Directory {
    /// The servers of a zone.
    pub(crate) async fn find<E: Exchange>(
        &self,
        asker: &Asker<E>,
        resolvers: &[SocketAddr],
        zone: &ZoneId,
        facts: &ZoneFacts,
    ) -> Found {
        let told = match &facts.delegation {
            Delegation::Invalid(why) => Some(why.clone()),
            _ => None,
        };
        if !facts.addresses.is_empty() {
            let one = |a: &SocketAddr| Target { name: None, addresses: vec![*a] };
            return Found {
                targets: facts.addresses.iter().take(SERVERS).map(one).collect(),
                delegation: told,
                nothing: None,
            };
        }
        if resolvers.is_empty() {
            let nothing = Some(
                "no resolver is set that could find its servers: set 'resolvers', or the servers' addresses"
                    .to_owned(),
            );
            return Found { nothing, delegation: told, ..Found::default() };
        }
        let by_provider: BTreeSet<_> = facts.servers.iter().take(SERVERS).cloned().collect();
        let by_parent = self.delegated(asker, resolvers, &zone.name).await;
        let delegation = told.or_else(|| disagree(&zone.name, &by_provider, by_parent.as_ref()));
        let names: BTreeSet<_> =
            by_provider.iter().chain(by_parent.iter().flatten()).take(SERVERS).cloned().collect();
        let all = names.iter().map(|name| async {
            let addresses = self.addresses(asker, resolvers, name).await;
            let addresses = addresses.into_iter().take(ADDRESSES).map(|ip| (ip, PORT).into()).collect();
            Target { name: Some(name.clone()), addresses }
        });
        let targets = join_all(all).await;
        let nothing =
            targets.is_empty().then(|| "neither provider nor parent name a server of the zone".to_owned());
        Found { targets, delegation, nothing }
    }

    /// The addresses of a server, of both families.
    async fn addresses<E: Exchange>(
        &self,
        asker: &Asker<E>,
        resolvers: &[SocketAddr],
        name: &Fqdn,
    ) -> Vec<IpAddr> {
        let kept = |map: &Addresses| {
            map.get(name).filter(|(at, ips)| young(*at, !ips.is_empty())).map(|(_, i)| i.clone())
        };
        if let Some(kept) = kept(&self.addresses.lock().unwrap_or_else(PoisonError::into_inner)) {
            return kept;
        }
        let at = Instant::now();
        let (four, six) = futures::join!(
            recursive(asker, resolvers, name, Kind::A),
            recursive(asker, resolvers, name, Kind::AAAA)
        );
        let ips = four.iter().chain(six.iter()).flat_map(|m| &m.answers).filter_map(|r| match &r.data {
            RData::A(a) => Some(IpAddr::V4(a.0)),
            RData::AAAA(a) => Some(IpAddr::V6(a.0)),
            _ => None,
        });
        let ips: Vec<_> = ips.take(2 * ADDRESSES).collect();
        self.addresses.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), (at, ips.clone()));
        ips
    }

    /// The servers that the parent zone names; none at all where it does not know the zone. `None`: not known.
    async fn delegated<E: Exchange>(
        &self,
        asker: &Asker<E>,
        resolvers: &[SocketAddr],
        zone: &Fqdn,
    ) -> Option<BTreeSet<Fqdn>> {
        let kept =
            |map: &Delegated| map.get(zone).filter(|(at, f)| young(*at, f.is_some())).map(|(_, f)| f.clone());
        if let Some(kept) = kept(&self.delegated.lock().unwrap_or_else(PoisonError::into_inner)) {
            return kept;
        }
        let at = Instant::now();
        let found = self.ask_parent(asker, resolvers, zone).await;
        self.delegated
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(zone.clone(), (at, found.clone()));
        found
    }

    async fn ask_parent<E: Exchange>(
        &self,
        asker: &Asker<E>,
        resolvers: &[SocketAddr],
        zone: &Fqdn,
    ) -> Option<BTreeSet<Fqdn>> {
        let mut parents = BTreeSet::new();
        for above in zone.up().skip(1) {
            let answer = recursive(asker, resolvers, &above, Kind::NS).await?;
            parents = servers_in(&answer.answers, &above);
            if !parents.is_empty() {
                break;
            }
        }
        let name = name_of(zone)?;
        for parent in parents.iter().take(PARENTS) {
            for ip in self.addresses(asker, resolvers, parent).await.into_iter().take(2) {
                let Ok(answer) = asker.ask((ip, PORT).into(), &name, Kind::NS, false).await else { continue };
                match answer.response_code {
                    ResponseCode::NXDomain if answer.authoritative => return Some(BTreeSet::new()),
                    ResponseCode::NoError => {
                        let named = servers_in(answer.authorities.iter().chain(&answer.answers), zone);
                        if !named.is_empty() || answer.authoritative {
                            return Some(named);
                        }
                    }
                    _ => {}
                }
            }
        }
        None
    }
}

/// In what provider and parent do not agree.
fn disagree(zone: &Fqdn, provider: &BTreeSet<Fqdn>, parent: Option<&BTreeSet<Fqdn>>) -> Option<String> {
    let parent = parent?;
    if provider.is_empty() || provider == parent {
        return None;
    }
    let list = |names: &BTreeSet<Fqdn>| names.iter().map(Fqdn::as_str).collect::<Vec<_>>().join(", ");
    Some(if parent.is_empty() {
        format!("{zone} is not delegated: name {} at the domain's registrar", list(provider))
    } else {
        format!(
            "the world is sent to {} for {zone}, and the provider answers at {}",
            list(parent),
            list(provider)
        )
    })
}

/// A recursor's answer: of the first that gives one.
async fn recursive<E: Exchange>(
    asker: &Asker<E>,
    resolvers: &[SocketAddr],
    name: &Fqdn,
    kind: Kind,
) -> Option<Message> {
    let name = name_of(name)?;
    for resolver in resolvers.iter().take(3) {
        if let Ok(answer) = asker.ask(*resolver, &name, kind, true).await
            && matches!(answer.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        {
            return Some(answer);
        }
    }
    None
}
