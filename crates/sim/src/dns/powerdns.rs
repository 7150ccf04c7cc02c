//! PowerDNS' API as version 4.7 has it: zones, and patches that happen whole or not at all.
//! It must never be kinder than that server: no pages, no limits, plain texts for errors, one write at a time.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use http::Method;
use serde_json::{Value, json};

use super::access::Token;
use super::http::{Ask, with};
use super::name::{absolute, within};
use super::rdata::{kind, parse, quoted_strings};
use super::world::World;
use super::zone::{Draft, Note, Provider, RrSet, Value as Record, View, Zone};
use crate::http_api::Reply;

const BASE: [&str; 3] = ["api", "v1", "servers"];

pub(crate) fn procedure(ask: &Ask) -> (String, Option<String>) {
    let path = ask.below(&BASE).unwrap_or_default();
    let name = match (ask.method.as_str(), path.as_slice()) {
        ("GET", [_, "zones"]) => "zones.list",
        ("GET", [_, "zones", _]) => "zones.get",
        ("PATCH", [_, "zones", _]) => "zones.patch",
        _ => "other",
    };
    (name.to_owned(), path.get(2).map(|zone| absolute(zone)))
}

/// Whose database a call goes to.
pub(crate) fn account(world: &World, ask: &Ask) -> String {
    token(world, ask).map_or_else(String::new, |t| t.account)
}

fn token(world: &World, ask: &Ask) -> Option<Token> {
    world.token(Provider::PowerDns, ask.header("x-api-key")?)
}

fn plain(status: u16, text: &'static str) -> Reply {
    Reply { content_type: Some("text/plain; charset=utf-8"), ..Reply::plain(status, text) }
}

fn refuse(message: impl Into<String>) -> Reply {
    Reply::json(422, json!({"error": message.into()}).to_string())
}

pub(crate) fn answer(world: &mut World, ask: &Ask, locked: bool) -> Reply {
    let Some(token) = token(world, ask) else {
        return with(
            plain(401, "Unauthorized"),
            "www-authenticate",
            "X-API-Key realm=\"PowerDNS\"".to_owned(),
        );
    };
    let Some(path) = ask.below(&BASE) else { return plain(404, "Not Found") };
    match (&ask.method, path.as_slice()) {
        (&Method::GET, ["localhost"]) => Reply::json(
            200,
            json!({"daemon_type": "authoritative", "id": "localhost", "type": "Server",
                   "url": "/api/v1/servers/localhost", "version": "4.7.3",
                   "zones_url": "/api/v1/servers/localhost/zones{/zone}"})
            .to_string(),
        ),
        (&Method::GET, ["localhost", "zones"]) => zones(world, ask, &token),
        (&Method::POST, ["localhost", "zones"]) if locked => plain(500, "Internal Server Error"),
        (&Method::POST, ["localhost", "zones"]) => make(world, ask, &token),
        (method, ["localhost", "zones", name]) => {
            let name = absolute(name);
            let Some(zone) = world.zones.values().find(|z| z.name == name && token.sees(z)) else {
                return plain(404, "Not Found");
            };
            let id = zone.id;
            match *method {
                Method::GET => Reply::json(200, whole(world, ask, zone).to_string()),
                Method::PATCH | Method::DELETE if locked => plain(500, "Internal Server Error"),
                Method::PATCH => patch(world, ask, id, &token),
                Method::DELETE => {
                    world.zones.remove(&id);
                    Reply::plain(204, "")
                }
                _ => plain(405, "Method Not Allowed"),
            }
        }
        _ => plain(404, "Not Found"),
    }
}

fn head(world: &World, zone: &Zone) -> Value {
    let serial = world.store(zone).serial();
    json!({
        "account": "",
        "catalog": "",
        "dnssec": false,
        "edited_serial": serial,
        "id": zone.name,
        "kind": if zone.primary { "Native" } else { "Slave" },
        "last_check": 0,
        "masters": [],
        "name": zone.name,
        "notified_serial": 0,
        "serial": serial,
        "url": format!("/api/v1/servers/localhost/zones/{}", zone.name),
    })
}

fn zones(world: &World, ask: &Ask, token: &Token) -> Reply {
    let name = ask.param("zone").map(absolute);
    let fits = |z: &&Zone| token.sees(z) && name.as_ref().is_none_or(|n| *n == z.name);
    let rows: Vec<Value> = world.zones.values().filter(fits).map(|z| head(world, z)).collect();
    Reply::json(200, Value::Array(rows).to_string())
}

fn make(world: &mut World, ask: &Ask, token: &Token) -> Reply {
    let Some(body) = ask.json() else { return plain(400, "Bad Request") };
    let name = match text(&body, "name").and_then(canonical) {
        Ok(name) => name,
        Err(message) => return refuse(message),
    };
    if world.zones.values().any(|z| z.name == name && z.provider == Provider::PowerDns) {
        return plain(409, "Conflict");
    }
    let id = world.add_zone(Provider::PowerDns, &token.account, &name);
    let servers: Vec<&str> =
        body["nameservers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let set = RrSet::new(3_600, &servers);
    world.write(id, [((name, "NS".to_owned()), Some(set))].into(), &token.secret, false);
    let Some(zone) = world.zones.get_mut(&id) else { return plain(404, "Not Found") };
    // To make it was one change.
    zone.serials.truncate(1);
    let Some(zone) = world.zones.get(&id) else { return plain(404, "Not Found") };
    Reply::json(201, whole(world, ask, zone).to_string())
}

/// A name with its dot.
fn canonical(name: &str) -> Result<String, String> {
    if name.ends_with('.') { Ok(absolute(name)) } else { Err(format!("DNS Name '{name}' is not canonical")) }
}

fn show(name: &str, kind: &str, set: &RrSet, phantom: bool) -> Value {
    let record = |v: &Record| json!({"content": v.content, "disabled": v.disabled});
    let values: Vec<Value> = if phantom { Vec::new() } else { set.values.iter().map(record).collect() };
    let notes: Vec<Value> = set
        .notes
        .iter()
        .map(|n| json!({"account": n.account, "content": n.content, "modified_at": n.modified}))
        .collect();
    // A comment without records has no TTL either.
    let ttl = if values.is_empty() { 0 } else { set.ttl.unwrap_or_default() };
    json!({"comments": notes, "name": name, "records": values, "ttl": ttl, "type": kind})
}

fn whole(world: &World, ask: &Ask, zone: &Zone) -> Value {
    let mut out = head(world, zone);
    out["api_rectify"] = Value::Bool(false);
    for (key, value) in [("soa_edit", ""), ("soa_edit_api", "DEFAULT"), ("nsec3param", "")] {
        out[key] = Value::from(value);
    }
    out["nsec3narrow"] = Value::Bool(false);
    out["master_tsig_key_ids"] = json!([]);
    out["slave_tsig_key_ids"] = json!([]);
    if ask.param("rrsets") != Some("false") {
        let name = ask.param("rrset_name").map(str::to_ascii_lowercase);
        out["rrsets"] =
            Value::Array(rrsets(world.store(zone), zone, name.as_deref(), ask.param("rrset_type")));
    }
    out
}

/// Everything, or what was asked for and beside it every comment of every other name.
fn rrsets(view: View<'_>, zone: &Zone, name: Option<&str>, only: Option<&str>) -> Vec<Value> {
    let soa = RrSet::new(zone.soa.ttl, &[&zone.soa.content(view.serial())]);
    let mut all: Vec<(&str, &str, &RrSet)> = view.iter().collect();
    if view.get(&zone.name, "SOA").is_none() {
        all.push((&zone.name, "SOA", &soa));
    }
    all.reverse();
    let each = all.into_iter().filter_map(|(at, kind, set)| {
        let wanted = name.is_none_or(|n| n == at && only.is_none_or(|k| k == kind));
        (wanted || !set.notes.is_empty()).then(|| show(at, kind, set, !wanted))
    });
    each.collect()
}

fn patch(world: &mut World, ask: &Ask, zone: u64, token: &Token) -> Reply {
    let Some(body) = ask.json() else { return plain(400, "Bad Request") };
    let Some(list) = body["rrsets"].as_array() else { return refuse("No rrsets given in update request") };
    let modified = world.seconds(world.now);
    let Some(at) = world.zones.get(&zone) else { return plain(404, "Not Found") };
    let mut draft = Draft::new(at, world.now);
    let mut seen = BTreeSet::new();
    for item in list {
        if let Err(message) = apply(&mut draft, at, item, &mut seen, modified) {
            return refuse(message);
        }
    }
    let edits = draft.into_edits();
    world.write(zone, edits, &token.secret, true);
    let serial = world.zones.get(&zone).map_or(0, Zone::serial).to_string();
    // The old serial is told as the new one is: so does the real server.
    let reply = with(Reply::plain(204, ""), "x-pdns-new-serial", serial.clone());
    with(reply, "x-pdns-old-serial", serial)
}

fn text<'a>(item: &'a Value, key: &str) -> Result<&'a str, String> {
    item[key].as_str().ok_or_else(|| format!("Key '{key}' not present or not a String"))
}

/// One RRset of a patch, after those before it.
fn apply(
    draft: &mut Draft<'_>,
    zone: &Zone,
    item: &Value,
    seen: &mut BTreeSet<(String, String, String)>,
    modified: i64,
) -> Result<(), String> {
    let change = text(item, "changetype")?.to_ascii_uppercase();
    let name = text(item, "name")?;
    canonical(name)?;
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.*/".contains(&b)) {
        return Err(format!("Name '{}' contains unsupported characters", escaped(name)));
    }
    let name = absolute(name);
    let kind_text = text(item, "type")?;
    let title = format!("RRset {name} IN {kind_text}");
    if kind(kind_text).is_none() {
        return Err(format!("{title}: unknown type given"));
    }
    if !seen.insert((name.clone(), kind_text.to_owned(), change.clone())) {
        return Err(format!("Duplicate {title} with changetype: {change}"));
    }
    match change.as_str() {
        "DELETE" => {
            draft.remove(&name, kind_text);
            return Ok(());
        }
        "REPLACE" => {}
        _ => return Err("Changetype not understood".to_owned()),
    }
    if !within(&name, &zone.name) {
        return Err(format!("{title}: Name is out of zone"));
    }
    let (records, comments) = (item["records"].as_array(), item["comments"].as_array());
    if records.is_none() && comments.is_none() {
        return Err(format!("No change for {title}"));
    }
    let mut set = draft.get(&name, kind_text).cloned().unwrap_or_default();
    if let Some(records) = records {
        // A number in quotes is one, too.
        let ttl = item["ttl"].as_i64().or_else(|| item["ttl"].as_str().and_then(|t| t.parse().ok()));
        let ttl = ttl.ok_or("Key 'ttl' not an Integer or not present")?;
        set.values = gather(records, &name, kind_text, &title)?;
        // What is negative wraps, as in the real server.
        set.ttl = Some(ttl as u32);
        let others = draft.kinds(&name).into_iter().filter(|k| k != kind_text);
        let apex = name == zone.name && kind_text == "CNAME";
        if apex || others.into_iter().any(|k| kind_text == "CNAME" || k == "CNAME") {
            return Err(format!("{title}: Conflicts with pre-existing RRset"));
        }
    }
    if let Some(comments) = comments {
        set.notes = comments
            .iter()
            .map(|note| {
                let content = text(note, "content")?.to_owned();
                let account = text(note, "account")?.to_owned();
                let modified = note["modified_at"].as_i64().unwrap_or(modified);
                Ok(Note { content, account, modified })
            })
            .collect::<Result<_, String>>()?;
    }
    draft.put(&name, kind_text, set);
    Ok(())
}

fn escaped(name: &str) -> String {
    let show = |b: u8| if b.is_ascii() { char::from(b).to_string() } else { format!("\\{b:03}") };
    name.bytes().map(show).collect()
}

fn gather(records: &[Value], name: &str, kind_text: &str, title: &str) -> Result<Vec<Record>, String> {
    let mut out: Vec<Record> = Vec::new();
    for item in records {
        let given = text(item, "content")?;
        let content =
            content(kind_text, given).map_err(|why| format!("Record {name}/{kind_text} '{given}': {why}"))?;
        out.push(Record {
            disabled: item["disabled"].as_bool().unwrap_or_default(),
            ..Record::new(&content)
        });
    }
    for (at, record) in out.iter().enumerate() {
        if out[..at].iter().any(|r| r.content == record.content) {
            return Err(format!("Duplicate record in {title} with content \"{}\"", record.content));
        }
    }
    if kind_text == "CNAME" && out.len() > 1 {
        return Err(format!("{title} has more than one record"));
    }
    Ok(out)
}

/// Content as it is stored.
fn content(kind_text: &str, given: &str) -> Result<String, String> {
    const TRY: &str = "Parsing record content (try 'pdnsutil check-zone'): ";
    match kind_text {
        "A" => match given.parse::<Ipv4Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => Err(format!("{TRY}unable to parse IP address")),
        },
        "AAAA" => {
            given.parse::<Ipv6Addr>().map(|a| a.to_string()).map_err(|_| "Invalid IPv6 address".to_owned())
        }
        "CNAME" | "NS" | "PTR" if !given.ends_with('.') => {
            Err(format!("Not in expected format (parsed as '{given}.')"))
        }
        "CNAME" | "NS" | "PTR" => Ok(absolute(given)),
        "TXT" if quoted_strings(given).is_none() => {
            Err(format!("{TRY}Data field in DNS should start with quote (\") at position 0 of '{given}'"))
        }
        "TXT" => Ok(given.to_owned()),
        _ => match kind(kind_text).and_then(|k| parse(k, given)) {
            Some(_) => Ok(given.to_owned()),
            None => Err(format!("{TRY}unable to parse")),
        },
    }
}
