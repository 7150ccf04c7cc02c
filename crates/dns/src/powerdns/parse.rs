//! Reads PowerDNS's zones: strictly typed, with everything that is not there called missing and never empty.

use crate::provider::Zone;
use crate::raw::{Listing, RawComment, RawValue};
use berth_model::Time;
use berth_model::dns::{RecordData, RecordType, Ttl};
use berth_ports::PortError;
use serde::Deserialize;

/// The most sets of one zone that are read.
const SETS: usize = 200_000;

#[derive(Deserialize)]
pub(super) struct ZoneRow {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
}

#[derive(Deserialize)]
pub(super) struct ZoneBody {
    name: String,
    rrsets: Vec<SetRow>,
}

#[derive(Deserialize)]
struct SetRow {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    ttl: i64,
    records: Vec<RecordRow>,
    #[serde(default)]
    comments: Vec<CommentRow>,
}

#[derive(Deserialize)]
struct RecordRow {
    content: String,
    #[serde(default)]
    disabled: bool,
}

#[derive(Deserialize)]
struct CommentRow {
    content: String,
    #[serde(default)]
    account: String,
    #[serde(default)]
    modified_at: Option<i64>,
}

/// A zone as it was listed.
pub(super) fn listing(body: ZoneBody, zone: &Zone, at: Time) -> Result<Listing, PortError> {
    let bad = |what: &str| PortError::Unsupported { what: format!("powerdns.zone: {what}") };
    if super::key(&body.name, RecordType::A).is_none_or(|k| k.name != zone.name) {
        return Err(bad("it answered another zone"));
    }
    if body.rrsets.len() > SETS {
        return Err(bad("the zone is larger than is read"));
    }
    let mut out = Listing::new(at, super::known());
    for row in body.rrsets {
        let Some(key) = super::key(&row.name, RecordType::parse(&row.kind).unwrap_or(RecordType::A)) else {
            continue;
        };
        if RecordType::parse(&row.kind).is_none() {
            let targets = row.records.iter().filter(|r| !r.disabled);
            if targets.clone().next().is_none() {
                continue;
            }
            for record in targets {
                out.other(&zone.name, key.name.clone(), &row.kind, Some(&record.content));
            }
            continue;
        }
        // Sets of which only comments are left.
        if row.records.is_empty() && row.comments.is_empty() {
            continue;
        }
        // A number that no lifetime can be was stored by somebody who wrote -1.
        let ttl = u32::try_from(row.ttl).map_or(Ttl::Auto, Ttl::Seconds);
        let set = out.set(key.clone());
        set.values.extend(row.records.into_iter().map(|record| RawValue {
            data: RecordData::parse(key.kind, &record.content, None),
            text: record.content,
            ttl,
            disabled: record.disabled,
            ..RawValue::default()
        }));
        set.comments.extend(row.comments.into_iter().map(|c| RawComment {
            content: c.content,
            account: c.account,
            modified: c.modified_at,
        }));
    }
    Ok(out)
}

/// Feeds the parsers.
pub(crate) fn fuzz(data: &[u8], zone: &Zone) -> Option<Listing> {
    let _ = serde_json::from_slice::<Vec<ZoneRow>>(data);
    super::errors::fuzz(data);
    listing(serde_json::from_slice::<ZoneBody>(data).ok()?, zone, Time(0)).ok()
}
