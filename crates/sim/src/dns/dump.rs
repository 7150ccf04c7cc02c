//! All zones as one JSON value, in an order that does not depend on when things were made.
//! It must never leave out what a provider keeps beside a value: worlds are compared by it.

use serde_json::{Map, Value, json};

use super::world::World;
use super::zone::{RrSet, Value as Record};

fn value(value: &Record) -> Value {
    json!({
        "content": value.content,
        "ttl": value.ttl,
        "comment": value.comment,
        "tags": value.tags,
        "disabled": value.disabled,
        "proxied": value.proxied,
    })
}

fn set(set: &RrSet) -> Value {
    let mut values: Vec<Value> = set.values.iter().map(value).collect();
    values.sort_by_key(Value::to_string);
    let notes: Vec<Value> =
        set.notes.iter().map(|n| json!({"content": n.content, "account": n.account})).collect();
    json!({
        "ttl": set.ttl,
        "values": values,
        "labels": set.labels,
        "protected": set.protected,
        "notes": notes,
    })
}

pub(crate) fn dump(world: &World) -> Value {
    let (mut zones, mut serials) = (Map::new(), Map::new());
    let mut all: Vec<_> = world.zones.values().collect();
    all.sort_by(|a, b| (&a.name, a.provider, &a.account).cmp(&(&b.name, b.provider, &b.account)));
    for zone in all {
        let title = format!("{}/{}/{}", zone.provider.name(), zone.account, zone.name);
        let records: Map<String, Value> = zone
            .view(world.now)
            .iter()
            .map(|(name, kind, rrset)| (format!("{name} {kind}"), set(rrset)))
            .collect();
        serials.insert(title.clone(), json!(zone.serial()));
        zones.insert(title, Value::Object(records));
    }
    json!({"zones": zones, "serials": serials})
}
