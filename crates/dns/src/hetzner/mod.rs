//! Hetzner's Cloud API: sets with labels, which are written with their create. Every write is an action that runs on
//! after the answer; the next one waits for it.

mod errors;
mod parse;

use crate::account::{Account, Common, json};
use crate::provider::{Manner, Op, Provider, Scope, SetOp, Zone};
use crate::raw::{Listing, RawValue, labels};
use berth_model::Time;
use berth_model::dns::{Delegation, Fqdn, Known, MarkPlace, Quota, Ttl, TtlBounds, Writable, ZoneFacts};
use berth_ports::{BackendState, PortError};
use berth_wire::{Budget, Call, KeyPlace, Transport, segment};
use bytes::Bytes;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use parse::fuzz;

/// Where it is, unless a test says otherwise.
pub(crate) const URL: &str = "https://api.hetzner.cloud";
/// 3600 calls an hour are the project's, one back each second: some are left to others.
const CALLS: (u32, Duration) = (3_000, Duration::from_secs(3_000));
/// Pages of one list that are read.
const PAGES: u32 = 2_000;
/// Names that are read one by one; more are read with the whole zone.
const ONE_BY_ONE: usize = 6;
/// When to ask for an action again, and then in steps of the last.
const POLLS: [u64; 4] = [500, 1_000, 2_000, 4_000];
/// How long an action is waited for.
const RUNS: Duration = Duration::from_secs(60);

/// A project at Hetzner.
pub(crate) struct Hetzner<T> {
    account: Account<T>,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
}

#[derive(Serialize)]
struct Create<'a> {
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    labels: BTreeMap<String, String>,
    records: Vec<Record>,
}

#[derive(Serialize)]
struct Labels {
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Records {
    records: Vec<Record>,
}

#[derive(Serialize)]
struct NewTtl {
    ttl: u32,
}

#[derive(Serialize)]
struct Record {
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl Record {
    fn of(value: &RawValue) -> Self {
        Self { value: value.text.clone(), comment: value.comment.clone().filter(|c| !c.is_empty()) }
    }

    fn new(value: String) -> Self {
        Self { value, comment: None }
    }
}

impl<T: Transport> Hetzner<T> {
    pub(crate) fn new(
        common: Common,
        url: &str,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
        transport: T,
    ) -> Result<Self, String> {
        let probe = Call::get("hetzner.zones", "/v1/zones").with("per_page", "1");
        let budget = Budget::new(CALLS.0, CALLS.1);
        let judge = Arc::new(errors::Answers);
        let account = Account::new(common, url, KeyPlace::bearer(), judge, probe, Some(budget), transport)?;
        Ok(Self { account, clock })
    }

    /// All pages of a list, from one state of it.
    async fn pages<L: parse::Listed>(&self, call: &Call) -> Result<Vec<L::Row>, PortError> {
        for _ in 0..2 {
            let mut rows = Vec::new();
            let mut total = None;
            let mut moved = false;
            let mut page = Some(1);
            while let Some(number) = page.filter(|n| *n <= PAGES) {
                let call = call.clone().with("page", number.to_string());
                let list: L = self.account.get(&call).await?;
                let pagination = list.pagination();
                if pagination.total_entries.is_some() {
                    moved |= total.is_some() && total != pagination.total_entries;
                    total = pagination.total_entries;
                }
                page = pagination.next_page.filter(|next| *next > number);
                rows.extend(list.rows());
            }
            let ids: BTreeSet<_> = rows.iter().map(L::id).collect();
            let whole = total.is_none_or(|t| t == ids.len() as u64) && ids.len() == rows.len();
            if whole && !moved {
                return Ok(rows);
            }
        }
        let why = format!("{}: the list changed while it was read", call.procedure);
        Err(PortError::Retry { after: Some(Duration::from_secs(1)), why })
    }

    fn sets(&self, zone: &Zone) -> String {
        format!("/v1/zones/{}/rrsets", segment(&zone.key))
    }

    fn path(&self, zone: &Zone, op: &SetOp<'_>) -> String {
        let name = op.key.name.relative_to(&zone.name).unwrap_or("@");
        format!("{}/{}/{}", self.sets(zone), segment(name), op.key.kind)
    }

    /// Sends a write and waits until its action is over.
    async fn act(
        &self,
        method: http::Method,
        procedure: &'static str,
        path: String,
        body: Option<impl Serialize>,
    ) -> Result<(), PortError> {
        let body = body.map(|b| serde_json::to_vec(&b)).transpose();
        let body =
            body.map_err(|_| PortError::Refused { why: "the change cannot be written as JSON".to_owned() })?;
        let call = Call::write(method, procedure, path, body.map(Bytes::from));
        let reply = self.account.ask(&call).await?;
        let done: parse::Acted =
            json(procedure, &reply.body).map_err(|e| PortError::Unknown { why: e.to_string() })?;
        let Some(mut action) = done.action else { return Ok(()) };
        let began = tokio::time::Instant::now();
        let mut waits = POLLS.iter().chain(std::iter::repeat(&POLLS[POLLS.len() - 1]));
        loop {
            match action.status.as_str() {
                "success" => return Ok(()),
                "error" => return Err(errors::action(procedure, action.error.as_ref())),
                _ if began.elapsed() >= RUNS => {
                    let why = format!("{procedure}: its action still runs after {} s", RUNS.as_secs());
                    return Err(PortError::Unknown { why });
                }
                _ => {}
            }
            tokio::time::sleep(Duration::from_millis(waits.next().copied().unwrap_or(4_000))).await;
            let call = Call::get("hetzner.action", format!("/v1/zones/actions/{}", action.id));
            let polled: parse::Polled = match self.account.get(&call).await {
                Ok(polled) => polled,
                // The write was accepted: what became of it is not known.
                Err(error) => return Err(PortError::Unknown { why: error.to_string() }),
            };
            action = polled.action;
        }
    }

    /// What is ours goes; what others have beside it stays.
    async fn remove(&self, zone: &Zone, op: &SetOp<'_>) -> Result<(), PortError> {
        let path = self.path(zone, op);
        if !op.leaves_something() {
            if op.before.values.is_empty() {
                return Ok(());
            }
            return self.act(http::Method::DELETE, "hetzner.delete", path, None::<Labels>).await;
        }
        let gone: Vec<_> = op.gone().map(Record::of).collect();
        if !gone.is_empty() {
            let to = format!("{path}/actions/remove_records");
            self.act(http::Method::POST, "hetzner.remove_records", to, Some(Records { records: gone }))
                .await?;
        }
        self.label(path, op).await
    }

    async fn label(&self, path: String, op: &SetOp<'_>) -> Result<(), PortError> {
        let labels = labels::with(&op.before.labels, op.mark());
        if labels == op.before.labels {
            return Ok(());
        }
        // The whole set of labels is replaced: others' are among what is sent.
        self.act(http::Method::PUT, "hetzner.labels", path, Some(Labels { labels })).await
    }

    async fn put(&self, zone: &Zone, op: &SetOp<'_>) -> Result<(), PortError> {
        let Some(put) = op.put() else { return Ok(()) };
        if op.before.values.is_empty() {
            let body = Create {
                name: op.key.name.relative_to(&zone.name).unwrap_or("@"),
                kind: op.key.kind.as_str(),
                ttl: match put.ttl {
                    Ttl::Seconds(s) => Some(s),
                    Ttl::Auto => None,
                },
                labels: labels::with(&op.before.labels, op.mark()),
                records: op.coming().map(|d| Record::new(d.zone_text())).collect(),
            };
            return self.act(http::Method::POST, "hetzner.create", self.sets(zone), Some(body)).await;
        }
        let path = self.path(zone, op);
        self.label(path.clone(), op).await?;
        let new = || op.coming().map(|d| Record::new(d.zone_text())).collect::<Vec<_>>();
        let gone: Vec<_> = op.gone().map(Record::of).collect();
        let post = |action: &str| format!("{path}/actions/{action}");
        if op.kept().next().is_none() {
            if !gone.is_empty() || !new().is_empty() {
                let records = op.same().map(Record::of).chain(new()).collect();
                let body = Some(Records { records });
                self.act(http::Method::POST, "hetzner.set_records", post("set_records"), body).await?;
            }
            if let Ttl::Seconds(ttl) = put.ttl
                && !put.ttl.is_met_by(op.before.ttl().unwrap_or_default(), zone.facts.default_ttl)
            {
                let body = Some(NewTtl { ttl });
                self.act(http::Method::POST, "hetzner.change_ttl", post("change_ttl"), body).await?;
            }
            return Ok(());
        }
        // Others stand in the set: only single values are added and taken away, which no other writer can undo.
        if !new().is_empty() {
            let body = Some(Records { records: new() });
            self.act(http::Method::POST, "hetzner.add_records", post("add_records"), body).await?;
        }
        if !gone.is_empty() {
            let body = Some(Records { records: gone });
            self.act(http::Method::POST, "hetzner.remove_records", post("remove_records"), body).await?;
        }
        Ok(())
    }
}

impl<T: Transport> Provider for Hetzner<T> {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        let call = Call::get("hetzner.zones", "/v1/zones").with("per_page", "50");
        let rows = self.pages::<parse::Zones>(&call).await?;
        let zone = |row: parse::ZoneRow| {
            let name = Fqdn::new(&row.name).ok()?;
            let servers = row.authoritative_nameservers;
            let facts = ZoneFacts {
                servers: servers.assigned.iter().filter_map(|n| Fqdn::new(n).ok()).collect(),
                addresses: Vec::new(),
                delegation: match servers.delegation_status.as_deref() {
                    Some("valid") => Delegation::Valid,
                    None | Some("unknown") => Delegation::Unknown,
                    Some(other) => Delegation::Invalid(format!(
                        "Hetzner calls its delegation '{}': name these servers at the domain's registrar: {}",
                        berth_wire::redact::cap(other, 20),
                        berth_wire::redact::cap(&servers.assigned.join(", "), 120)
                    )),
                },
                writable: match row.mode.as_str() {
                    "primary" => Writable::Yes,
                    other => Writable::No(format!(
                        "its mode is {} here: write it on its primary server",
                        berth_wire::redact::cap(other, 20)
                    )),
                },
                default_ttl: Some(row.ttl),
                ttl: TtlBounds { least: 60, most: Ttl::LARGEST },
                quota: row.record_count.map(|used| Quota { used, most: None }),
                marks: MarkPlace::Labels,
                proxies: false,
                apex_cname: false,
            };
            Some(Zone { name, key: row.id.to_string(), facts: Arc::new(facts) })
        };
        Ok(rows.into_iter().filter_map(zone).collect())
    }

    async fn read(&self, zone: &Zone, scope: Scope<'_>) -> Result<Listing, PortError> {
        let at = (self.clock)();
        let call = Call::get("hetzner.rrsets", self.sets(zone)).with("per_page", "100");
        match scope {
            Scope::Names(names) if names.len() <= ONE_BY_ONE => {
                let mut listing = Listing::new(at, Known::Names(names.clone()));
                for name in names {
                    let Some(relative) = name.relative_to(&zone.name) else { continue };
                    let call = call.clone().with("name", relative);
                    parse::fill(&mut listing, zone, self.pages::<parse::Sets>(&call).await?);
                }
                Ok(listing)
            }
            _ => {
                let mut listing = Listing::new(at, Known::All);
                parse::fill(&mut listing, zone, self.pages::<parse::Sets>(&call).await?);
                Ok(listing)
            }
        }
    }

    async fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        for op in ops {
            // What goes makes room for what comes.
            for set in op.sets.iter().filter(|s| s.put().is_none()) {
                self.remove(zone, set).await?;
            }
            for set in &op.sets {
                self.put(zone, set).await?;
            }
        }
        Ok(())
    }

    fn manner(&self) -> Manner {
        Manner { together: 1, serial: false, lags: false, blind: false }
    }

    fn state(&self) -> BackendState {
        self.account.state()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
