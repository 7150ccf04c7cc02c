//! Any server that takes dynamic updates: one message for a whole batch, all or nothing, and only where everything
//! stands as it was believed. The zone is read by a transfer where that is allowed, else name by name. Marks are
//! companions.
//!
//! Some servers say yes to an update and ignore a part of it. What was written counts as written when it was read back.

mod names;
mod transfer;
mod update;

use crate::asker::Asker;
use crate::exchange::{Exchange, ExchangeError};
use crate::message::name as name_of;
use crate::provider::{Manner, Op, Provider, Scope, Zone};
use crate::raw::{Listing, RawValue};
use crate::tsig::{Key, Rejected};
use berth_model::Time;
use berth_model::dns::{Delegation, Fqdn, MarkPlace, Ttl, TtlBounds, Writable, ZoneFacts, txt};
use berth_ports::{BackendState, Breaker, PortError};
use berth_wire::{Dice, Observer};
use futures::StreamExt;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Record, RecordType as Kind};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long an update or the beginning of a transfer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// What `auto` is: an update names a lifetime.
const DEFAULT_TTL: u32 = 300;
/// For how long a refused transfer is not asked for again.
const REFUSED_FOR: Duration = Duration::from_secs(600);
/// Questions in flight.
const AT_ONCE: usize = 8;

/// How a server is used.
pub(crate) struct Options {
    pub(crate) name: String,
    pub(crate) server: SocketAddr,
    pub(crate) key: Option<Key>,
    pub(crate) zones: Vec<Fqdn>,
    /// Ask for transfers.
    pub(crate) transfers: bool,
    pub(crate) clock: Arc<dyn Fn() -> Time + Send + Sync>,
    pub(crate) dice: Dice,
    pub(crate) observer: Arc<dyn Observer>,
}

/// A server.
pub(crate) struct Rfc2136<E> {
    asker: Asker<E>,
    options: Options,
    /// When a transfer was refused last, and how.
    refused: Mutex<Option<(Instant, String)>>,
    /// Why the last exchange failed.
    broken: Mutex<Option<String>>,
}

/// Seconds of 1970.
fn seconds(now: Time) -> u64 {
    u64::try_from(now.0 / 1000).unwrap_or(0)
}

impl<E: Exchange> Rfc2136<E> {
    pub(crate) fn new(options: Options, exchange: E) -> Result<Self, String> {
        if options.zones.is_empty() {
            return Err(format!(
                "dns credential {}: a server that takes updates cannot list its zones: name them under 'zones'",
                options.name
            ));
        }
        let asker = Asker { exchange, dice: options.dice.clone() };
        Ok(Self { asker, options, refused: Mutex::default(), broken: Mutex::default() })
    }

    fn now(&self) -> Time {
        (self.options.clock)()
    }

    /// Counts an exchange, and remembers how the last one went.
    fn went(&self, procedure: &'static str, began: Instant, failed: Option<&str>) {
        let took = began.elapsed().as_secs_f64();
        let outcome = if failed.is_some() { "retry" } else { "ok" };
        self.options.observer.request(procedure, took);
        self.options.observer.call(procedure, outcome, took);
        *self.broken.lock().unwrap_or_else(PoisonError::into_inner) = failed.map(str::to_owned);
    }

    /// Why a transfer is not asked for now.
    fn no_transfer(&self) -> Option<String> {
        if !self.options.transfers {
            return Some("transfers are switched off".to_owned());
        }
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.as_ref().filter(|(at, _)| at.elapsed() < REFUSED_FOR).map(|(_, why)| why.clone())
    }

    /// One zone's facts, by its SOA.
    async fn zone(&self, zone: &Fqdn) -> Result<Zone, PortError> {
        let began = Instant::now();
        let name =
            name_of(zone).ok_or_else(|| PortError::Refused { why: format!("{zone} is not a name") })?;
        let answer = self.asker.ask(self.options.server, &name, Kind::SOA, false).await;
        self.went("rfc2136.soa", began, answer.as_ref().err().map(String::as_str));
        let answer = answer.map_err(|why| PortError::Retry {
            after: None,
            why: format!("{} about {zone}: {why}", self.options.server),
        })?;
        let soa =
            answer.answers.iter().any(|r| r.record_type() == Kind::SOA && r.name.to_lowercase() == name);
        let writable = if answer.authoritative && answer.response_code == ResponseCode::NoError && soa {
            Writable::Yes
        } else {
            let code = code(answer.response_code);
            Writable::No(format!("{} does not serve it: {code}", self.options.server))
        };
        let facts = ZoneFacts {
            servers: Vec::new(),
            addresses: Vec::new(),
            delegation: Delegation::Unknown,
            writable,
            default_ttl: None,
            ttl: TtlBounds::ANY,
            quota: None,
            marks: MarkPlace::Companions,
            proxies: false,
            apex_cname: false,
        };
        Ok(Zone { name: zone.clone(), key: zone.to_string(), facts: Arc::new(facts) })
    }
}

impl<E: Exchange> Provider for Rfc2136<E> {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        let all: Vec<_> = self.options.zones.iter().map(|zone| self.zone(zone)).collect();
        let all = futures::stream::iter(all).buffered(AT_ONCE);
        all.collect::<Vec<_>>().await.into_iter().collect()
    }

    async fn read(&self, zone: &Zone, scope: Scope<'_>) -> Result<Listing, PortError> {
        match scope {
            Scope::All(names) => {
                if self.no_transfer().is_none() {
                    match self.transfer(zone).await {
                        Ok(listing) => return Ok(listing),
                        Err(PortError::Refused { why }) => {
                            tracing::info!(zone = %zone.name, why, "the zone is read name by name: no transfer");
                            let refused = Some((Instant::now(), why));
                            *self.refused.lock().unwrap_or_else(PoisonError::into_inner) = refused;
                        }
                        Err(error) => return Err(error),
                    }
                }
                self.ask_names(zone, names).await
            }
            Scope::Names(names) => self.ask_names(zone, names).await,
        }
    }

    async fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        self.update(zone, ops).await
    }

    fn manner(&self) -> Manner {
        Manner { together: 50, serial: false, lags: false, blind: false }
    }

    fn state(&self) -> BackendState {
        let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let breaker = broken.map_or(Breaker::Closed, |why| Breaker::HalfOpen { why });
        BackendState { breaker, in_flight: 0, calls_left: None }
    }
}

/// A record as it is kept, chunk by chunk.
fn raw(record: &Record) -> RawValue {
    let text = match &record.data {
        hickory_proto::rr::RData::TXT(t) => txt::quote_chunks(t.txt_data.iter().map(|c| &**c)),
        other => other.to_string(),
    };
    RawValue {
        data: crate::message::data(&record.data),
        text,
        ttl: Ttl::Seconds(record.ttl),
        ..RawValue::default()
    }
}

/// Puts a record of an answer into a listing.
fn take(listing: &mut Listing, zone: &Fqdn, record: &Record) {
    let Some(name) = crate::message::fqdn(&record.name).filter(|n| n.is_in(zone)) else {
        // A name that the model cannot say holds no host of ours.
        return;
    };
    match crate::message::known(record.record_type()) {
        Some(kind) => {
            let set = listing.set(berth_model::dns::RecordKey::new(name, kind));
            let value = raw(record);
            if !set.values.contains(&value) {
                set.values.push(value);
            }
        }
        // What signs the zone stands beside everything, and in nobody's way.
        None if matches!(record.record_type(), Kind::RRSIG | Kind::NSEC | Kind::NSEC3) => {}
        None => {
            let kind = record.record_type().to_string();
            listing.other(zone, name, &kind, Some(&record.data.to_string()));
        }
    }
}

/// A response code as it is shown.
fn code(code: ResponseCode) -> &'static str {
    match code {
        ResponseCode::NoError => "it is not its zone",
        ResponseCode::FormErr => "FORMERR",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::NotImp => "NOTIMP",
        ResponseCode::Refused => "REFUSED",
        ResponseCode::YXDomain => "YXDOMAIN",
        ResponseCode::YXRRSet => "YXRRSET",
        ResponseCode::NXRRSet => "NXRRSET",
        ResponseCode::NotAuth => "NOTAUTH",
        ResponseCode::NotZone => "NOTZONE",
        _ => "an unknown code",
    }
}

/// What an answer that is not believed means for the caller.
fn rejected(why: Rejected, changes: bool, of: &str) -> PortError {
    match why {
        Rejected::BadKey | Rejected::BadSecret | Rejected::BadTime => {
            PortError::Auth { why: format!("{of}: {why}") }
        }
        Rejected::Unsigned | Rejected::Wrong if changes => PortError::Unknown { why: format!("{of}: {why}") },
        Rejected::Unsigned | Rejected::Wrong => PortError::Auth { why: format!("{of}: {why}") },
    }
}

/// What a broken exchange means for the caller.
fn broken(error: &ExchangeError, changes: bool, of: &str) -> PortError {
    let why = format!("{of}: {error}");
    match error {
        ExchangeError::Lost(_) if changes => PortError::Unknown { why },
        _ => PortError::Retry { after: None, why },
    }
}

/// Feeds the readers.
pub(crate) fn fuzz(data: &[u8], zone: &Zone) -> Option<Listing> {
    transfer::fuzz(data, zone);
    let message = crate::asker::read(data)?;
    let mut listing = Listing::new(Time(0), berth_model::dns::Known::All);
    for record in message.answers.iter().chain(&message.authorities) {
        take(&mut listing, &zone.name, record);
    }
    Some(listing)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
