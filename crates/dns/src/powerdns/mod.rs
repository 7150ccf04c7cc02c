//! PowerDNS by its HTTP API: one PATCH for all sets of a batch, all or nothing, with what goes before what comes. Marks
//! are comments of the sets, or companions where a server's backend has no comments. One write a server at a time: two
//! lock each other out.

mod errors;
mod parse;

use crate::account::{Account, Common, json};
use crate::provider::{Manner, Op, Provider, Scope, SetOp, Zone};
use crate::raw::{Listing, RawComment};
use berth_model::Time;
use berth_model::dns::{
    Delegation, Fqdn, Known, MarkPlace, RecordKey, RecordType, Ttl, TtlBounds, Writable, ZoneFacts, read,
};
use berth_model::dns::{DnsMarkSeen, without_mark};
use berth_model::ids::Owner;
use berth_ports::{BackendState, PortError};
use berth_wire::{Call, KeyPlace, Transport, segment};
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

pub(crate) use parse::fuzz;

/// What `auto` is: PowerDNS wants a number, and has none of its own.
const DEFAULT_TTL: u32 = 300;
/// The account of our comments.
const ACCOUNT: &str = "berth";

/// A PowerDNS server.
pub(crate) struct PowerDns<T> {
    account: Account<T>,
    owner: Owner,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
    root: String,
    companions: bool,
}

#[derive(Serialize)]
struct Patch {
    rrsets: Vec<PatchSet>,
}

#[derive(Serialize)]
struct PatchSet {
    name: String,
    #[serde(rename = "type")]
    kind: RecordType,
    changetype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<Vec<PatchRecord>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comments: Option<Vec<PatchComment>>,
}

#[derive(Serialize)]
struct PatchRecord {
    content: String,
    disabled: bool,
}

#[derive(Serialize)]
struct PatchComment {
    content: String,
    account: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified_at: Option<i64>,
}

impl<T: Transport> PowerDns<T> {
    /// At `url`, as the server that is called `server` there.
    pub(crate) fn new(
        common: Common,
        url: &str,
        server: &str,
        companions: bool,
        owner: Owner,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
        transport: T,
    ) -> Result<Self, String> {
        let root = format!("/api/v1/servers/{}", segment(server));
        let probe = Call::get("powerdns.server", root.clone());
        let place = KeyPlace::header("x-api-key");
        let account = Account::new(common, url, place, Arc::new(errors::Answers), probe, None, transport)?;
        Ok(Self { account, owner, clock, root, companions })
    }

    fn path(&self, zone: &Zone) -> String {
        format!("{}/zones/{}", self.root, segment(&zone.key))
    }

    fn place(&self) -> MarkPlace {
        if self.companions { MarkPlace::Companions } else { MarkPlace::Comments }
    }

    fn facts(&self, kind: &str) -> ZoneFacts {
        let secondary = ["slave", "secondary", "consumer"].iter().any(|k| kind.eq_ignore_ascii_case(k));
        ZoneFacts {
            servers: Vec::new(),
            addresses: Vec::new(),
            delegation: Delegation::Unknown,
            writable: if secondary {
                Writable::No(format!("its kind is {kind} here: write it on its primary server"))
            } else {
                Writable::Yes
            },
            default_ttl: None,
            ttl: TtlBounds::ANY,
            quota: None,
            marks: self.place(),
            proxies: false,
            apex_cname: false,
        }
    }

    /// One set, and its companion where marks stand in those.
    fn sets(&self, op: &SetOp<'_>, gone: &mut Vec<PatchSet>, put: &mut Vec<PatchSet>) {
        let name = op.key.name.absolute();
        let delete = |name: String, kind| PatchSet {
            name,
            kind,
            changetype: "DELETE",
            ttl: None,
            records: None,
            comments: None,
        };
        if op.leaves_something() {
            let ttl = match op.ttl(Ttl::Seconds(DEFAULT_TTL)) {
                Ttl::Seconds(s) => s,
                Ttl::Auto => DEFAULT_TTL,
            };
            let there = op.kept().chain(op.same());
            let there = there.map(|v| PatchRecord { content: v.text.clone(), disabled: v.disabled });
            let new = op.coming().map(|d| PatchRecord { content: d.zone_text(), disabled: false });
            put.push(PatchSet {
                name,
                kind: op.key.kind,
                changetype: "REPLACE",
                ttl: Some(ttl),
                records: Some(there.chain(new).collect()),
                comments: (!self.companions).then(|| self.comments(op)),
            });
        } else if !op.before.values.is_empty() || !op.before.comments.is_empty() {
            gone.push(delete(name, op.key.kind));
        }
        let Some(companion) = &op.companion else { return };
        let name = companion.key.name.absolute();
        match op.mark() {
            Some(mark) if companion.is(mark) => {}
            Some(mark) => put.push(PatchSet {
                name,
                kind: RecordType::Txt,
                changetype: "REPLACE",
                ttl: Some(DEFAULT_TTL),
                records: Some(vec![PatchRecord {
                    content: crate::provider::Companion::data(mark).zone_text(),
                    disabled: false,
                }]),
                comments: None,
            }),
            None if companion.before.values.is_empty() => {}
            None => gone.push(delete(name, RecordType::Txt)),
        }
    }

    /// Others' comments as they are, and ours.
    fn comments(&self, op: &SetOp<'_>) -> Vec<PatchComment> {
        let mut all: Vec<_> = op.before.comments.iter().filter_map(|c| self.words(c)).collect();
        all.extend(op.mark().map(|mark| PatchComment {
            content: mark.to_string(),
            account: ACCOUNT.to_owned(),
            modified_at: None,
        }));
        all
    }

    /// A comment without our mark; `None` where nothing of it is left.
    fn words(&self, comment: &RawComment) -> Option<PatchComment> {
        let content = match read(&comment.content, &self.owner) {
            DnsMarkSeen::Ours(_) => without_mark(&comment.content),
            _ => &comment.content,
        };
        (!content.is_empty() || comment.content.is_empty()).then(|| PatchComment {
            content: content.to_owned(),
            account: comment.account.clone(),
            modified_at: comment.modified,
        })
    }
}

impl<T: Transport> Provider for PowerDns<T> {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        let call = Call::get("powerdns.zones", format!("{}/zones", self.root));
        let rows: Vec<parse::ZoneRow> = self.account.get(&call).await?;
        let zone = |row: parse::ZoneRow| {
            // A name that the model cannot say holds no host of ours.
            let name = Fqdn::new(&row.name).ok()?;
            Some(Zone { name, key: row.id, facts: Arc::new(self.facts(&row.kind)) })
        };
        Ok(rows.into_iter().filter_map(zone).collect())
    }

    /// Always the whole zone: the filters of some versions show sets that are not there.
    async fn read(&self, zone: &Zone, _: Scope<'_>) -> Result<Listing, PortError> {
        let at = (self.clock)();
        let call = Call::get("powerdns.zone", self.path(zone));
        let reply = self.account.ask(&call).await?;
        let read: parse::ZoneBody = json(&call.procedure, &reply.body)?;
        parse::listing(read, zone, at)
    }

    async fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        let (mut gone, mut put) = (Vec::new(), Vec::new());
        for op in ops.iter().flat_map(|op| &op.sets) {
            self.sets(op, &mut gone, &mut put);
        }
        gone.append(&mut put);
        if gone.is_empty() {
            return Ok(());
        }
        let body = serde_json::to_vec(&Patch { rrsets: gone })
            .map_err(|_| PortError::Refused { why: "the change cannot be written as JSON".to_owned() })?;
        let call =
            Call::write(http::Method::PATCH, "powerdns.patch", self.path(zone), Some(Bytes::from(body)));
        self.account.ask(&call).await.map(drop)
    }

    fn manner(&self) -> Manner {
        Manner { together: 250, serial: true, lags: false, blind: true }
    }

    fn state(&self) -> BackendState {
        self.account.state()
    }
}

/// The key of a set in a listing.
fn key(name: &str, kind: RecordType) -> Option<RecordKey> {
    Some(RecordKey::new(Fqdn::new(name).ok()?, kind))
}

/// What a listing covers.
fn known() -> Known {
    Known::All
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
