//! Hostinger: whole sets are replaced, several in one call, of which nothing says that they change together. Marks are
//! companions: written before their record, removed after it, so that what is cut short leaves a mark without a record
//! and never a record without a mark.

mod errors;
mod parse;

use crate::account::{Account, Common, json};
use crate::provider::{Companion, Manner, Op, Provider, Scope, SetOp, Zone};
use crate::raw::Listing;
use berth_model::Time;
use berth_model::dns::{Delegation, Fqdn, Known, MarkPlace, RecordKey, Ttl, TtlBounds, Writable, ZoneFacts};
use berth_ports::{BackendState, PortError};
use berth_wire::{Budget, Call, KeyPlace, Transport, segment};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use parse::fuzz;

/// Where it is, unless a test says otherwise.
pub(crate) const URL: &str = "https://developers.hostinger.com";
/// How much may be asked is not published, and who asks too much is locked out by address.
const CALLS: (u32, Duration) = (1, Duration::from_secs(1));

/// An account at Hostinger.
pub(crate) struct Hostinger<T> {
    account: Account<T>,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
}

#[derive(Serialize)]
struct Update<'a> {
    overwrite: bool,
    zone: &'a [Set],
}

#[derive(Serialize)]
struct Set {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Record {
    content: String,
}

#[derive(Serialize)]
struct Delete<'a> {
    filters: &'a [Filter],
}

#[derive(Serialize)]
struct Filter {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
}

/// What is to be done, in this order.
#[derive(Default)]
struct Steps {
    marks: Vec<Set>,
    gone: Vec<Filter>,
    sets: Vec<Set>,
    unmarked: Vec<Filter>,
}

fn relative(key: &RecordKey, zone: &Zone) -> String {
    key.name.relative_to(&zone.name).unwrap_or("@").to_owned()
}

impl Steps {
    fn add(&mut self, zone: &Zone, op: &SetOp<'_>) -> Result<(), PortError> {
        let name = || relative(&op.key, zone);
        let kind = op.key.kind.as_str();
        if op.kept().any(|v| v.disabled) {
            let why =
                format!("{}: a record of it is disabled, and a change would switch it on: remove it", op.key);
            return Err(PortError::Refused { why });
        }
        let changes = op.coming().next().is_some() || op.gone().next().is_some();
        let ttl = match op.ttl(Ttl::Auto) {
            Ttl::Seconds(s) => Some(s),
            Ttl::Auto => None,
        };
        let moved = op.put().is_some() && op.before.ttl().is_some_and(|t| Some(t) != ttl.map(Ttl::Seconds));
        if !op.leaves_something() {
            if !op.before.values.is_empty() {
                self.gone.push(Filter { name: name(), kind });
            }
        } else if changes || moved {
            let there = op.kept().chain(op.same()).map(|v| v.text.clone());
            let records = there.chain(op.coming().map(|d| d.zone_text()));
            let records = records.map(|content| Record { content }).collect();
            self.sets.push(Set { name: name(), kind, ttl, records });
        }
        let Some(companion) = &op.companion else { return Ok(()) };
        match op.mark() {
            Some(mark) if companion.is(mark) => {}
            Some(mark) => self.marks.push(Set {
                name: relative(&companion.key, zone),
                kind: "TXT",
                ttl: None,
                records: vec![Record { content: Companion::data(mark).zone_text() }],
            }),
            None if companion.before.values.is_empty() => {}
            None => self.unmarked.push(Filter { name: relative(&companion.key, zone), kind: "TXT" }),
        }
        Ok(())
    }
}

impl<T: Transport> Hostinger<T> {
    pub(crate) fn new(
        common: Common,
        url: &str,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
        transport: T,
    ) -> Result<Self, String> {
        let probe = Call::get("hostinger.portfolio", "/api/domains/v1/portfolio");
        let budget = Budget::new(CALLS.0, CALLS.1);
        let judge = Arc::new(errors::Answers);
        let account = Account::new(common, url, KeyPlace::bearer(), judge, probe, Some(budget), transport)?;
        Ok(Self { account, clock })
    }

    fn path(&self, zone: &Zone) -> String {
        format!("/api/dns/v1/zones/{}", segment(&zone.key))
    }

    async fn send(
        &self,
        method: http::Method,
        procedure: &'static str,
        path: String,
        body: &(impl Serialize + Sync),
    ) -> Result<(), PortError> {
        let body = serde_json::to_vec(body)
            .map_err(|_| PortError::Refused { why: "the change cannot be written as JSON".to_owned() })?;
        let call = Call::write(method, procedure, path, Some(Bytes::from(body)));
        self.account.ask(&call).await.map(drop)
    }

    async fn replace(&self, zone: &Zone, sets: &[Set]) -> Result<(), PortError> {
        if sets.is_empty() {
            return Ok(());
        }
        // Said outright: without the word, and with the other one, values are added to what is there.
        let body = Update { overwrite: true, zone: sets };
        self.send(http::Method::PUT, "hostinger.update", self.path(zone), &body).await
    }

    async fn delete(&self, zone: &Zone, filters: &[Filter]) -> Result<(), PortError> {
        if filters.is_empty() {
            return Ok(());
        }
        self.send(http::Method::DELETE, "hostinger.delete", self.path(zone), &Delete { filters }).await
    }
}

impl<T: Transport> Provider for Hostinger<T> {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        let call = Call::get("hostinger.portfolio", "/api/domains/v1/portfolio");
        let rows: Vec<parse::DomainRow> = self.account.get(&call).await?;
        let zone = |row: parse::DomainRow| {
            let domain = row.domain?;
            let name = Fqdn::new(&domain).ok()?;
            let facts = ZoneFacts {
                servers: Vec::new(),
                addresses: Vec::new(),
                // A domain whose servers are elsewhere takes changes all the same.
                delegation: Delegation::Unknown,
                writable: Writable::Yes,
                default_ttl: None,
                ttl: TtlBounds::ANY,
                quota: None,
                marks: MarkPlace::Companions,
                proxies: false,
                apex_cname: false,
            };
            Some(Zone { key: name.to_string(), name, facts: Arc::new(facts) })
        };
        Ok(rows.into_iter().filter_map(zone).collect())
    }

    async fn read(&self, zone: &Zone, _: Scope<'_>) -> Result<Listing, PortError> {
        let at = (self.clock)();
        let call = Call::get("hostinger.zone", self.path(zone));
        let reply = self.account.ask(&call).await?;
        let rows: Vec<parse::SetRow> = json(&call.procedure, &reply.body)?;
        let mut listing = Listing::new(at, Known::All);
        parse::fill(&mut listing, zone, rows);
        Ok(listing)
    }

    async fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        let mut steps = Steps::default();
        for op in ops.iter().flat_map(|op| &op.sets) {
            steps.add(zone, op)?;
        }
        if !steps.sets.is_empty() && steps.gone.is_empty() {
            // A rehearsal: what is refused here leaves nothing half done. It cannot be had where the new takes the
            // place of what has to go first.
            let path = format!("{}/validate", self.path(zone));
            let body = Update { overwrite: true, zone: &steps.sets };
            self.send(http::Method::POST, "hostinger.validate", path, &body).await?;
        }
        self.replace(zone, &steps.marks).await?;
        self.delete(zone, &steps.gone).await?;
        self.replace(zone, &steps.sets).await?;
        self.delete(zone, &steps.unmarked).await
    }

    fn manner(&self) -> Manner {
        Manner { together: 50, serial: true, lags: true, blind: true }
    }

    fn state(&self) -> BackendState {
        self.account.state()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
