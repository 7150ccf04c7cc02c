//! Reading RRsets. Their records must never come in an order that one could rely on.

use serde_json::{Value, json};

use super::check::Selector;
use super::{Outcome, Refusal, listed, page_of, reply};
use crate::dns::http::{Ask, Page};
use crate::dns::name::{expand, relative};
use crate::dns::world::World;
use crate::dns::zone::{RrSet, Zone};
use crate::http_api::Reply;
use crate::rng::Rng;

/// The name and type of a path; only lower-case names are names.
pub(super) fn key(zone: &Zone, name: &str, kind: &str) -> (String, String) {
    let name =
        if name.bytes().any(|b| b.is_ascii_uppercase()) { String::new() } else { expand(name, &zone.name) };
    (name, kind.to_owned())
}

pub(super) fn show(rng: &mut Rng, zone: &Zone, name: &str, kind: &str, set: &RrSet) -> Value {
    let name = relative(name, &zone.name);
    let mut records: Vec<Value> = set
        .values
        .iter()
        .map(|v| match &v.comment {
            Some(comment) => json!({"value": v.content, "comment": comment}),
            None => json!({"value": v.content}),
        })
        .collect();
    for at in (1..records.len()).rev() {
        records.swap(at, rng.below(at + 1));
    }
    json!({
        "id": format!("{name}/{kind}"),
        "name": name,
        "type": kind,
        "ttl": set.ttl,
        "labels": set.labels,
        "protection": {"change": set.protected},
        "records": records,
        "zone": zone.id,
    })
}

fn soa(world: &World, zone: &Zone) -> RrSet {
    let content = zone.soa.content(world.store(zone).serial());
    RrSet { ttl: None, ..RrSet::new(0, &[&content]) }
}

pub(super) fn list(world: &mut World, ask: &Ask, zone: u64) -> Outcome<Reply> {
    let (page, per_page) = page_of(ask, 100)?;
    let labels = Selector::parse(ask.param("label_selector"))?;
    let kinds: Vec<&str> = ask.params("type").collect();
    let zone = world.zones.get(&zone).ok_or_else(|| Refusal::not_found("zone"))?;
    let name = ask.param("name").map(|n| expand(n, &zone.name));
    let soa = soa(world, zone);
    let mut all = vec![(zone.name.as_str(), "SOA", &soa)];
    all.extend(world.store(zone).iter().filter(|(_, _, set)| !set.values.is_empty()));
    all.retain(|(at, kind, set)| {
        name.as_ref().is_none_or(|n| n == at)
            && (kinds.is_empty() || kinds.contains(kind))
            && labels.fits(&set.labels)
    });
    let mut rng = world.rng.clone();
    let rows = all.into_iter().map(|(name, kind, set)| show(&mut rng, zone, name, kind, set)).collect();
    world.rng = rng;
    Ok(listed("rrsets", Page::cut(rows, page, per_page)))
}

pub(super) fn one(world: &mut World, zone: u64, name: &str, kind: &str) -> Outcome<Reply> {
    let zone = world.zones.get(&zone).ok_or_else(|| Refusal::not_found("zone"))?;
    let (name, kind) = key(zone, name, kind);
    let soa = soa(world, zone);
    let set = match kind.as_str() {
        "SOA" if name == zone.name => Some(&soa),
        _ => world.store(zone).get(&name, &kind),
    };
    let set = set.ok_or_else(|| Refusal::not_found("rrset"))?;
    let mut rng = world.rng.clone();
    let out = json!({"rrset": show(&mut rng, zone, &name, &kind, set)});
    world.rng = rng;
    Ok(reply(200, &out))
}
