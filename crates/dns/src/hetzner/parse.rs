//! Reads the Cloud API's zones, sets and actions: strictly typed.

use crate::account::nullable;
use crate::provider::Zone;
use crate::raw::{Listing, RawValue};
use berth_model::dns::{Fqdn, RecordData, RecordKey, RecordType, Ttl};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
pub(super) struct Meta {
    pagination: Pagination,
}

#[derive(Deserialize, Clone, Copy)]
pub(super) struct Pagination {
    #[serde(deserialize_with = "nullable")]
    pub(super) next_page: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub(super) total_entries: Option<u64>,
}

/// A page of a list.
pub(super) trait Listed: for<'a> Deserialize<'a> {
    type Row;
    fn pagination(&self) -> Pagination;
    fn rows(self) -> Vec<Self::Row>;
    fn id(row: &Self::Row) -> String;
}

#[derive(Deserialize)]
pub(super) struct Zones {
    zones: Vec<ZoneRow>,
    meta: Meta,
}

impl Listed for Zones {
    type Row = ZoneRow;
    fn pagination(&self) -> Pagination {
        self.meta.pagination
    }
    fn rows(self) -> Vec<ZoneRow> {
        self.zones
    }
    fn id(row: &ZoneRow) -> String {
        row.id.to_string()
    }
}

#[derive(Deserialize)]
pub(super) struct Sets {
    rrsets: Vec<SetRow>,
    meta: Meta,
}

impl Listed for Sets {
    type Row = SetRow;
    fn pagination(&self) -> Pagination {
        self.meta.pagination
    }
    fn rows(self) -> Vec<SetRow> {
        self.rrsets
    }
    fn id(row: &SetRow) -> String {
        format!("{}/{}", row.name, row.kind)
    }
}

#[derive(Deserialize)]
pub(super) struct ZoneRow {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) ttl: u32,
    pub(super) mode: String,
    #[serde(default)]
    pub(super) record_count: Option<u64>,
    #[serde(default)]
    pub(super) authoritative_nameservers: Servers,
}

#[derive(Deserialize, Default)]
pub(super) struct Servers {
    #[serde(default)]
    pub(super) assigned: Vec<String>,
    #[serde(default)]
    pub(super) delegation_status: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SetRow {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(deserialize_with = "nullable")]
    ttl: Option<u32>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    protection: Protection,
    records: Vec<RecordRow>,
}

#[derive(Deserialize, Default)]
struct Protection {
    #[serde(default)]
    change: bool,
}

#[derive(Deserialize)]
struct RecordRow {
    value: String,
    #[serde(default)]
    comment: Option<String>,
}

/// The answer to a write: labels are written without an action.
#[derive(Deserialize)]
pub(super) struct Acted {
    #[serde(default)]
    pub(super) action: Option<Action>,
}

#[derive(Deserialize)]
pub(super) struct Polled {
    pub(super) action: Action,
}

#[derive(Deserialize)]
pub(super) struct Action {
    pub(super) id: u64,
    pub(super) status: String,
    #[serde(default)]
    pub(super) error: Option<ActionError>,
}

#[derive(Deserialize)]
pub(super) struct ActionError {
    #[serde(default)]
    pub(super) code: String,
    #[serde(default)]
    pub(super) message: String,
}

/// Puts sets into a listing.
pub(super) fn fill(listing: &mut Listing, zone: &Zone, rows: Vec<SetRow>) {
    for row in rows {
        let Ok(name) = Fqdn::below(&row.name, &zone.name) else { continue };
        let Some(kind) = RecordType::parse(&row.kind) else {
            for record in &row.records {
                // Without a dot at its end, a target stands below the zone.
                let target = Fqdn::below(record.value.trim(), &zone.name).map(|t| t.absolute());
                let target = target.unwrap_or_else(|_| record.value.clone());
                listing.other(&zone.name, name.clone(), &row.kind, Some(&target));
            }
            continue;
        };
        let ttl = row.ttl.map_or(Ttl::Auto, Ttl::Seconds);
        let set = listing.set(RecordKey::new(name, kind));
        set.labels = row.labels;
        set.protected = row.protection.change;
        set.values.extend(row.records.into_iter().map(|record| RawValue {
            data: RecordData::parse(kind, &record.value, Some(&zone.name)),
            text: record.value,
            ttl,
            comment: record.comment,
            ..RawValue::default()
        }));
    }
}

/// Feeds the parsers.
pub(crate) fn fuzz(data: &[u8], zone: &Zone) -> Option<Listing> {
    let _ = serde_json::from_slice::<Zones>(data);
    let _ = serde_json::from_slice::<Acted>(data);
    let _ = serde_json::from_slice::<Polled>(data);
    super::errors::fuzz(data);
    let sets = serde_json::from_slice::<Sets>(data).ok()?;
    let mut listing = Listing::new(berth_model::Time(0), berth_model::dns::Known::All);
    fill(&mut listing, zone, sets.rrsets);
    Some(listing)
}
