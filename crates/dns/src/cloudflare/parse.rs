//! Reads Cloudflare's lists: strictly typed, page by page.

use crate::provider::Zone;
use crate::raw::{Listing, RawValue};
use berth_model::dns::{Fqdn, RecordData, RecordKey, RecordType, Ttl};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct List<R> {
    pub(super) result: Vec<R>,
    pub(super) result_info: Info,
}

#[derive(Deserialize)]
pub(super) struct Info {
    total_pages: u32,
    pub(super) total_count: u64,
}

impl Info {
    /// Whether there is a page after this one.
    pub(super) fn more(&self, page: u32, rows: usize) -> bool {
        rows > 0 && page < self.total_pages
    }
}

/// A row of a list.
pub(super) trait Row {
    fn id(&self) -> &str;
}

#[derive(Deserialize)]
pub(super) struct ZoneRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) name_servers: Vec<String>,
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RecordRow {
    id: String,
    name: String,
    #[serde(rename = "type")]
    kind: String,
    content: String,
    ttl: u32,
    #[serde(default)]
    proxied: Option<bool>,
    #[serde(default)]
    comment: Option<String>,
}

impl Row for ZoneRow {
    fn id(&self) -> &str {
        &self.id
    }
}

impl Row for RecordRow {
    fn id(&self) -> &str {
        &self.id
    }
}

/// Puts records into a listing.
pub(super) fn fill(listing: &mut Listing, zone: &Zone, rows: Vec<RecordRow>) {
    for row in rows {
        let Some(name) = Fqdn::new(&row.name).ok().filter(|n| n.is_in(&zone.name)) else {
            continue;
        };
        let Some(kind) = RecordType::parse(&row.kind) else {
            listing.other(&zone.name, name, &row.kind, Some(&row.content));
            continue;
        };
        listing.set(RecordKey::new(name, kind)).values.push(RawValue {
            data: RecordData::parse(kind, &row.content, None),
            text: row.content,
            id: Some(row.id),
            ttl: if row.ttl == super::AUTO { Ttl::Auto } else { Ttl::Seconds(row.ttl) },
            proxied: row.proxied.unwrap_or(false),
            disabled: false,
            comment: row.comment,
        });
    }
}

/// Feeds the parsers.
pub(crate) fn fuzz(data: &[u8], zone: &Zone) -> Option<Listing> {
    let _ = serde_json::from_slice::<List<ZoneRow>>(data);
    super::errors::fuzz(data);
    let list = serde_json::from_slice::<List<RecordRow>>(data).ok()?;
    let mut listing = Listing::new(berth_model::Time(0), berth_model::dns::Known::All);
    fill(&mut listing, zone, list.result);
    Some(listing)
}
