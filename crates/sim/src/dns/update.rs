//! Dynamic updates: prerequisites, permission, and changes that happen together or not at all.
//! It must never say more than a real server says: BIND is silent about an alias that it did not set.

use std::collections::BTreeMap;

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{DNSClass, RData, Record, RecordData as _, RecordType};

use super::message::reply;
use super::name::{absolute, within};
use super::rdata;
use super::server::Server;
use super::tsig::Signed;
use super::world::World;
use super::zone::{Draft, Edits, Provider, RrSet, Updates, Value, Zone};

pub(crate) fn answer(
    world: &mut World,
    server: &Server,
    request: &Message,
    signed: Option<&Signed>,
) -> Message {
    let mut answer = reply(request);
    let by = signed.map_or_else(|| "unsigned update".to_owned(), |s| s.key.name.clone());
    answer.metadata.response_code = match work(world, server, request, signed) {
        Ok((zone, edits)) => {
            world.commit(zone, edits, &by);
            ResponseCode::NoError
        }
        Err(code) => code,
    };
    // PowerDNS sets the flag in its answers to updates, too.
    answer.metadata.authoritative =
        world.zones.values().any(|z| z.provider == Provider::PowerDns && z.servers.contains(&server.name));
    answer
}

/// The zone and what changes in it.
fn work(
    world: &World,
    server: &Server,
    request: &Message,
    signed: Option<&Signed>,
) -> Result<(u64, Edits), ResponseCode> {
    let [asked] = request.queries.as_slice() else { return Err(ResponseCode::FormErr) };
    if asked.query_type() != RecordType::SOA {
        return Err(ResponseCode::FormErr);
    }
    let name = absolute(&asked.name().to_ascii());
    let zone = world.zone_served(server, &name).filter(|z| z.name == name).ok_or(ResponseCode::NotAuth)?;
    let power = zone.provider == Provider::PowerDns;
    let policy = zone.updates.as_ref().ok_or(ResponseCode::Refused)?;
    let types = allowed(policy, signed).ok_or(ResponseCode::Refused)?;
    let mut draft = Draft::new(zone, world.now);
    let ours = |record: &Record| within(&absolute(&record.name.to_ascii()), &zone.name);
    if !request.authorities.iter().all(ours) || !request.answers.iter().all(ours) {
        return Err(ResponseCode::NotZone);
    }
    // Permission is looked at before anything else, prerequisites included.
    for record in &request.authorities {
        well_formed(record)?;
        permitted(&draft, record, types)?;
    }
    prerequisites(&draft, zone, &request.answers)?;
    for record in &request.authorities {
        let name = absolute(&record.name.to_ascii());
        match record.dns_class {
            DNSClass::IN => add(&mut draft, &name, record, power)?,
            DNSClass::ANY => remove(&mut draft, zone, &name, record.record_type()),
            _ => remove_value(&mut draft, zone, &name, record),
        }
    }
    Ok((zone.id, draft.into_edits()))
}

/// Types that the sender may write; none means all.
fn allowed<'a>(policy: &'a Updates, signed: Option<&Signed>) -> Option<&'a [String]> {
    let by_key = signed.and_then(|s| policy.keys.get(&s.key.name)).map(Vec::as_slice);
    by_key.or_else(|| policy.unsigned.then_some(&[]))
}

fn well_formed(record: &Record) -> Result<(), ResponseCode> {
    let empty = record.data.is_update();
    let ok = match record.dns_class {
        DNSClass::IN => !empty && record.record_type() != RecordType::ANY,
        DNSClass::ANY => empty && record.ttl == 0,
        DNSClass::NONE => !empty && record.ttl == 0,
        _ => false,
    };
    if ok { Ok(()) } else { Err(ResponseCode::FormErr) }
}

fn permitted(draft: &Draft<'_>, record: &Record, types: &[String]) -> Result<(), ResponseCode> {
    let may = |kind: &str| types.is_empty() || types.iter().any(|t| t == kind);
    let kind = rdata::kind_name(record.record_type());
    let ok = if record.record_type() == RecordType::ANY {
        draft.kinds(&absolute(&record.name.to_ascii())).iter().all(|k| may(k))
    } else {
        may(&kind)
    };
    if ok { Ok(()) } else { Err(ResponseCode::Refused) }
}

fn prerequisites(draft: &Draft<'_>, zone: &Zone, all: &[Record]) -> Result<(), ResponseCode> {
    let mut exact: BTreeMap<(String, String), Vec<&RData>> = BTreeMap::new();
    for record in all {
        let name = absolute(&record.name.to_ascii());
        let kind = record.record_type();
        if record.ttl != 0 {
            return Err(ResponseCode::FormErr);
        }
        let used = || name == zone.name || !draft.kinds(&name).is_empty();
        let there = || {
            let apex = name == zone.name && matches!(kind, RecordType::SOA | RecordType::NS);
            apex || draft.get(&name, &rdata::kind_name(kind)).is_some_and(|s| !s.values.is_empty())
        };
        let (holds, otherwise) = match (record.dns_class, kind) {
            (DNSClass::ANY, RecordType::ANY) => (used(), ResponseCode::NXDomain),
            (DNSClass::ANY, _) => (there(), ResponseCode::NXRRSet),
            (DNSClass::NONE, RecordType::ANY) => (!used(), ResponseCode::YXDomain),
            (DNSClass::NONE, _) => (!there(), ResponseCode::YXRRSet),
            (DNSClass::IN, _) if !record.data.is_update() => {
                exact.entry((name, rdata::kind_name(kind))).or_default().push(&record.data);
                continue;
            }
            _ => return Err(ResponseCode::FormErr),
        };
        if !holds {
            return Err(otherwise);
        }
    }
    for ((name, kind), wanted) in exact {
        let stored = values(draft.get(&name, &kind), &kind);
        let same = stored.len() == wanted.len() && wanted.iter().all(|w| stored.iter().any(|s| s == *w));
        if !same {
            return Err(ResponseCode::NXRRSet);
        }
    }
    Ok(())
}

fn values(set: Option<&RrSet>, kind: &str) -> Vec<RData> {
    let Some(code) = rdata::kind(kind) else { return Vec::new() };
    let each = set.into_iter().flat_map(|s| &s.values).filter_map(|v| rdata::parse(code, &v.content));
    each.collect()
}

fn same(value: &Value, kind: RecordType, data: &RData) -> bool {
    rdata::parse(kind, &value.content).as_ref() == Some(data)
}

fn add(draft: &mut Draft<'_>, name: &str, record: &Record, power: bool) -> Result<(), ResponseCode> {
    let kind = record.record_type();
    let text = rdata::kind_name(kind);
    let alias = kind == RecordType::CNAME;
    let mut others = draft.kinds(name).into_iter().filter(|k| *k != text);
    if others.any(|k| alias || k == "CNAME") {
        // BIND takes it and does nothing; PowerDNS refuses all.
        return if power { Err(ResponseCode::Refused) } else { Ok(()) };
    }
    if kind == RecordType::SOA {
        return Ok(());
    }
    let mut set = draft.get(name, &text).cloned().unwrap_or_default();
    if alias {
        set.values.clear();
    }
    if !set.values.iter().any(|v| same(v, kind, &record.data)) {
        set.values.push(Value::new(&rdata::show(&record.data)));
    }
    set.ttl = Some(record.ttl);
    draft.put(name, &text, set);
    Ok(())
}

/// An RRset, or all of a name. The zone's own SOA and NS stay.
fn remove(draft: &mut Draft<'_>, zone: &Zone, name: &str, kind: RecordType) {
    let kinds: Vec<String> = match kind {
        RecordType::ANY => draft.kinds(name).into_iter().collect(),
        kind => vec![rdata::kind_name(kind)],
    };
    for kind in kinds.into_iter().filter(|k| name != zone.name || !matches!(k.as_str(), "SOA" | "NS")) {
        draft.remove(name, &kind);
    }
}

fn remove_value(draft: &mut Draft<'_>, zone: &Zone, name: &str, record: &Record) {
    let kind = record.record_type();
    let Some(mut set) = draft.get(name, &rdata::kind_name(kind)).cloned() else { return };
    let last_server = name == zone.name && kind == RecordType::NS && set.values.len() == 1;
    if last_server {
        return;
    }
    set.values.retain(|v| !same(v, kind, &record.data));
    draft.put(name, &rdata::kind_name(kind), set);
}
