//! Cloudflare: every value is an object with an id, and carries its mark in its own comment. A batch is one transaction:
//! the first error undoes all of it.

mod errors;
mod parse;

use crate::account::{Account, Common};
use crate::provider::{Manner, Op, Provider, Scope, SetOp, Zone};
use crate::raw::{Listing, RawValue};
use berth_model::Time;
use berth_model::dns::{
    COMMENT_MOST, Delegation, DnsMark, DnsMarkSeen, Fqdn, Known, MarkPlace, RecordData, Ttl, TtlBounds,
    Writable, ZoneFacts, read, with_mark, without_mark,
};
use berth_model::ids::Owner;
use berth_ports::{BackendState, PortError};
use berth_wire::{Budget, Call, KeyPlace, Transport, segment};
use bytes::Bytes;
use serde::Serialize;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use parse::fuzz;

/// Where it is, unless a test says otherwise.
pub(crate) const URL: &str = "https://api.cloudflare.com";
/// 1200 calls in five minutes are the user's, over all tokens and the dashboard: some are left to people.
const CALLS: (u32, Duration) = (1_000, Duration::from_secs(300));
/// Rows of one page that are asked for. Fewer may come.
const PAGE: &str = "1000";
/// Pages of one list that are read.
const PAGES: u32 = 400;
/// Names that are read one by one; more are read with the whole zone.
const ONE_BY_ONE: usize = 3;
/// Operations that one batch of the smallest plan takes.
const OPERATIONS: usize = 200;
/// What stands for `auto`.
const AUTO: u32 = 1;
/// What `auto` is.
const AUTO_IS: u32 = 300;

/// An account at Cloudflare.
pub(crate) struct Cloudflare<T> {
    account: Account<T>,
    owner: Owner,
    clock: Arc<dyn Fn() -> Time + Send + Sync>,
}

#[derive(Serialize, Default)]
struct Operations {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deletes: Vec<Delete>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    patches: Vec<Patch>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    posts: Vec<Post>,
}

#[derive(Serialize)]
struct Delete {
    id: String,
}

#[derive(Serialize)]
struct Patch {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxied: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

#[derive(Serialize)]
struct Post {
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    content: String,
    ttl: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    proxied: Option<bool>,
    comment: String,
}

impl Operations {
    fn len(&self) -> usize {
        self.deletes.len() + self.patches.len() + self.posts.len()
    }
}

fn id(value: &RawValue) -> Result<String, PortError> {
    let missing = || PortError::Refused { why: "a record without an id cannot be changed".to_owned() };
    value.id.clone().ok_or_else(missing)
}

/// Texts are quoted: unquoted ones come back in either form.
fn content(data: &RecordData) -> String {
    data.to_string()
}

/// The comment with our mark and the words that stand there.
fn comment(value: Option<&RawValue>, mark: &DnsMark) -> Result<String, PortError> {
    let text = with_mark(value.and_then(|v| v.comment.as_deref()).unwrap_or(""), mark);
    if text.len() > COMMENT_MOST && text.len() > mark.to_string().len() {
        let why =
            format!("its comment has no room for the mark '{mark}': at most 100 characters fit, shorten it");
        return Err(PortError::Refused { why });
    }
    Ok(text)
}

impl<T: Transport> Cloudflare<T> {
    pub(crate) fn new(
        common: Common,
        url: &str,
        owner: Owner,
        clock: Arc<dyn Fn() -> Time + Send + Sync>,
        transport: T,
    ) -> Result<Self, String> {
        let probe = Call::get("cloudflare.zones", "/client/v4/zones").with("per_page", "5");
        let budget = Budget::new(CALLS.0, CALLS.1);
        let judge = Arc::new(errors::Answers);
        let account = Account::new(common, url, KeyPlace::bearer(), judge, probe, Some(budget), transport)?;
        Ok(Self { account, owner, clock })
    }

    fn records(&self, zone: &Zone) -> Call {
        Call::get("cloudflare.records", format!("/client/v4/zones/{}/dns_records", segment(&zone.key)))
    }

    /// All pages of a list, from one state of it: rows that come and go between two pages are told by the count.
    async fn pages<R: for<'a> serde::Deserialize<'a> + parse::Row>(
        &self,
        call: &Call,
    ) -> Result<Vec<R>, PortError> {
        for _ in 0..2 {
            let mut rows: Vec<R> = Vec::new();
            let mut total = None;
            let mut page = 1;
            loop {
                let call = call.clone().with("page", page.to_string());
                let body: parse::List<R> = self.account.get(&call).await?;
                let more = body.result_info.more(page, body.result.len());
                let same = total.is_none_or(|t| t == body.result_info.total_count);
                total = Some(body.result_info.total_count);
                rows.extend(body.result);
                if !more || !same || page >= PAGES {
                    break;
                }
                page += 1;
            }
            let ids: BTreeSet<_> = rows.iter().map(parse::Row::id).collect();
            if total == Some(ids.len() as u64) {
                return Ok(rows);
            }
        }
        let why = format!("{}: the list changed while it was read", call.procedure);
        Err(PortError::Retry { after: Some(Duration::from_secs(1)), why })
    }

    /// What is to be done for one set.
    fn set(&self, op: &SetOp<'_>, out: &mut Operations) -> Result<(), PortError> {
        let Some(put) = op.put() else {
            for value in op.gone() {
                out.deletes.push(Delete { id: id(value)? });
            }
            for value in op.kept() {
                if matches!(read(value.comment.as_deref().unwrap_or(""), &self.owner), DnsMarkSeen::Ours(_))
                    && value.live().is_some_and(|d| releases(op, d))
                {
                    let words = without_mark(value.comment.as_deref().unwrap_or("")).to_owned();
                    out.patches.push(Patch {
                        id: id(value)?,
                        content: None,
                        ttl: None,
                        proxied: None,
                        comment: Some(words),
                    });
                }
            }
            return Ok(());
        };
        let ttl = |proxied: bool| match put.ttl {
            Ttl::Seconds(s) if !proxied => Some(s),
            _ => None,
        };
        for value in op.same() {
            let proxied = put.proxied.filter(|p| *p != value.proxied);
            let now_proxied = put.proxied.unwrap_or(value.proxied);
            let text = comment(Some(value), &put.mark)?;
            let patch = Patch {
                id: id(value)?,
                content: None,
                ttl: ttl(now_proxied).filter(|s| !Ttl::Seconds(*s).is_met_by(value.ttl, Some(AUTO_IS))),
                proxied,
                comment: (Some(&text) != value.comment.as_ref()).then_some(text),
            };
            if patch.ttl.is_some() || patch.proxied.is_some() || patch.comment.is_some() {
                out.patches.push(patch);
            }
        }
        // A value that changes keeps its object.
        let mut new = op.coming();
        for value in op.gone() {
            match new.next() {
                Some(data) => out.patches.push(Patch {
                    id: id(value)?,
                    content: Some(content(data)),
                    ttl: ttl(put.proxied.unwrap_or(value.proxied)),
                    proxied: put.proxied,
                    comment: Some(comment(Some(value), &put.mark)?),
                }),
                None => out.deletes.push(Delete { id: id(value)? }),
            }
        }
        for data in new {
            out.posts.push(Post {
                name: op.key.name.to_string(),
                kind: op.key.kind.as_str(),
                content: content(data),
                ttl: ttl(put.proxied == Some(true)).unwrap_or(AUTO),
                proxied: put.proxied,
                comment: comment(None, &put.mark)?,
            });
        }
        Ok(())
    }
}

fn releases(op: &SetOp<'_>, data: &RecordData) -> bool {
    match &op.change.then {
        berth_model::dns::Then::Remove { release } => release.contains(data),
        berth_model::dns::Then::Put(_) => false,
    }
}

impl<T: Transport> Provider for Cloudflare<T> {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        let call = Call::get("cloudflare.zones", "/client/v4/zones").with("per_page", "50");
        let rows: Vec<parse::ZoneRow> = self.pages(&call).await?;
        let zone = |row: parse::ZoneRow| {
            let name = Fqdn::new(&row.name).ok()?;
            let facts = ZoneFacts {
                servers: row.name_servers.iter().filter_map(|n| Fqdn::new(n).ok()).collect(),
                addresses: Vec::new(),
                delegation: match row.status.as_str() {
                    "active" => Delegation::Valid,
                    other => Delegation::Invalid(format!(
                        "Cloudflare calls the zone '{}': name its servers at the domain's registrar",
                        berth_wire::redact::cap(other, 20)
                    )),
                },
                writable: match row.kind.as_deref() {
                    Some("secondary") => {
                        Writable::No("it is a secondary zone: write it on its primary".to_owned())
                    }
                    _ => Writable::Yes,
                },
                default_ttl: Some(AUTO_IS),
                ttl: TtlBounds { least: 60, most: 86_400 },
                quota: None,
                marks: MarkPlace::ValueComments,
                proxies: true,
                apex_cname: true,
            };
            Some(Zone { name, key: row.id, facts: Arc::new(facts) })
        };
        Ok(rows.into_iter().filter_map(zone).collect())
    }

    async fn read(&self, zone: &Zone, scope: Scope<'_>) -> Result<Listing, PortError> {
        let at = (self.clock)();
        let call = self.records(zone).with("per_page", PAGE);
        match scope {
            Scope::Names(names) if names.len() <= ONE_BY_ONE => {
                let mut listing = Listing::new(at, Known::Names(names.clone()));
                for name in names {
                    let call = call.clone().with("name.exact", name.as_str());
                    parse::fill(&mut listing, zone, self.pages(&call).await?);
                }
                Ok(listing)
            }
            _ => {
                let mut listing = Listing::new(at, Known::All);
                parse::fill(&mut listing, zone, self.pages(&call).await?);
                Ok(listing)
            }
        }
    }

    async fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        let mut all = Operations::default();
        for op in ops.iter().flat_map(|op| &op.sets) {
            self.set(op, &mut all)?;
        }
        if all.len() == 0 {
            return Ok(());
        }
        if all.len() > OPERATIONS {
            return Err(PortError::Refused { why: "more operations than go into one batch".to_owned() });
        }
        let body = serde_json::to_vec(&all)
            .map_err(|_| PortError::Refused { why: "the change cannot be written as JSON".to_owned() })?;
        let path = format!("/client/v4/zones/{}/dns_records/batch", segment(&zone.key));
        let call = Call::write(http::Method::POST, "cloudflare.batch", path, Some(Bytes::from(body)));
        self.account.ask(&call).await.map(drop)
    }

    fn manner(&self) -> Manner {
        Manner { together: OPERATIONS, serial: false, lags: false, blind: false }
    }

    fn weight(&self, op: &Op<'_>) -> usize {
        let values = |set: &SetOp<'_>| {
            set.gone().count() + set.coming().count() + set.same().count() + set.kept().count()
        };
        op.sets.iter().map(values).sum()
    }

    fn state(&self) -> BackendState {
        self.account.state()
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
