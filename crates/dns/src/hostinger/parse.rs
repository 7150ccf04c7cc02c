//! Reads Hostinger's lists. A zone is a bare list: anything around it is another API, and never an empty zone.

use crate::account::nullable;
use crate::provider::Zone;
use crate::raw::{Listing, RawValue};
use berth_model::dns::{Fqdn, RecordData, RecordKey, RecordType, Ttl};
use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct DomainRow {
    /// Nothing for a domain that was paid and not chosen yet.
    #[serde(deserialize_with = "nullable")]
    pub(super) domain: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct SetRow {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: u32,
    records: Vec<RecordRow>,
}

#[derive(Deserialize)]
struct RecordRow {
    content: String,
    #[serde(default)]
    is_disabled: bool,
}

/// Puts sets into a listing.
pub(super) fn fill(listing: &mut Listing, zone: &Zone, rows: Vec<SetRow>) {
    for row in rows {
        let Ok(name) = Fqdn::below(&row.name, &zone.name) else { continue };
        let Some(kind) = RecordType::parse(&row.kind) else {
            for record in row.records.iter().filter(|r| !r.is_disabled) {
                listing.other(&zone.name, name.clone(), &row.kind, Some(&record.content));
            }
            continue;
        };
        let set = listing.set(RecordKey::new(name, kind));
        set.values.extend(row.records.into_iter().map(|record| RawValue {
            data: RecordData::parse(kind, &record.content, None),
            text: record.content,
            ttl: Ttl::Seconds(row.ttl),
            disabled: record.is_disabled,
            ..RawValue::default()
        }));
    }
}

/// Feeds the parsers.
pub(crate) fn fuzz(data: &[u8], zone: &Zone) -> Option<Listing> {
    let _ = serde_json::from_slice::<Vec<DomainRow>>(data);
    super::errors::fuzz(data);
    let rows = serde_json::from_slice::<Vec<SetRow>>(data).ok()?;
    let mut listing = Listing::new(berth_model::Time(0), berth_model::dns::Known::All);
    fill(&mut listing, zone, rows);
    Some(listing)
}
