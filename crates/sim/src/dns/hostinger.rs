//! Hostinger's API: whole RRsets replaced or values appended, snapshots, and limits that end in a ban.
//! It must never promise that several RRsets of one call change together: they do not.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::access::Token;
use super::http::{Ask, with};
use super::limit::Window;
use super::name::{expand, relative, well_formed};
use super::options::Quotes;
use super::rdata::quoted_strings;
use super::world::{Event, World};
use super::zone::{Draft, Edits, Provider, RrSet, Snapshot, Value as Record, Zone};
use crate::http_api::Reply;

const TYPES: [&str; 9] = ["A", "AAAA", "CNAME", "ALIAS", "MX", "TXT", "NS", "SRV", "CAA"];
const MINUTE: Duration = Duration::from_secs(60);
/// Calls against a block before the address is banned.
const STRIKES: u32 = 5;
const BAN: Duration = Duration::from_secs(600);
const CONFLICT: &str =
    "[DNS:4008] DNS resource record is not valid or conflicts with another resource record";

struct Refusal {
    status: u16,
    message: String,
    errors: BTreeMap<String, Vec<String>>,
}

type Outcome<T> = Result<T, Refusal>;

impl Refusal {
    fn new(status: u16, message: &str) -> Refusal {
        Refusal { status, message: message.to_owned(), errors: BTreeMap::new() }
    }

    fn field(name: &str, message: &str) -> Refusal {
        let errors = BTreeMap::from([(name.to_owned(), vec![message.to_owned()])]);
        Refusal { errors, ..Refusal::new(422, message) }
    }

    fn reply(&self, correlation: &str) -> Reply {
        let mut body = json!({"message": self.message, "correlation_id": correlation});
        if !self.errors.is_empty() {
            body["errors"] = json!(self.errors);
        }
        Reply::json(self.status, body.to_string())
    }
}

fn accepted() -> Reply {
    Reply::json(200, json!({"message": "Request accepted"}).to_string())
}

pub(crate) fn procedure(ask: &Ask) -> (String, Option<String>) {
    let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
    let name = match (ask.method.as_str(), path.as_slice()) {
        ("GET", ["api", "domains", "v1", "portfolio"]) => "portfolio.list",
        ("GET", ["api", "dns", "v1", "zones", _]) => "zone.get",
        ("PUT", ["api", "dns", "v1", "zones", _]) => "zone.update",
        ("DELETE", ["api", "dns", "v1", "zones", _]) => "zone.delete",
        ("POST", ["api", "dns", "v1", "zones", _, "validate"]) => "zone.validate",
        ("POST", ["api", "dns", "v1", "zones", _, "reset"]) => "zone.reset",
        ("GET", ["api", "dns", "v1", "snapshots", ..]) => "snapshots.get",
        ("POST", ["api", "dns", "v1", "snapshots", _, _, "restore"]) => "snapshots.restore",
        _ => "other",
    };
    let zone = path.get(4).filter(|_| path.get(1) == Some(&"dns"));
    (name.to_owned(), zone.map(|z| super::name::absolute(z)))
}

pub(crate) fn answer(world: &mut World, ask: &Ask) -> Reply {
    let correlation = world.hex_id();
    let budget = match spend(world, ask, &correlation) {
        Ok(budget) => budget,
        Err(reply) => return reply,
    };
    let token = ask.bearer().and_then(|secret| world.token(Provider::Hostinger, secret));
    let out = token.ok_or_else(|| Refusal::new(401, "Unauthenticated."));
    let out = out.and_then(|token| route(world, ask, &token));
    let reply = out.unwrap_or_else(|refusal| refusal.reply(&correlation));
    let reply = with(reply, "x-ratelimit-limit", world.options.hostinger_calls.to_string());
    with(reply, "x-ratelimit-remaining", budget.left().to_string())
}

/// One call of the address's budget. Who goes on against a block is banned.
fn spend(world: &mut World, ask: &Ask, correlation: &str) -> Result<Window, Reply> {
    let (now, size) = (world.now, world.options.hostinger_calls);
    let key = ask.bearer().unwrap_or_default().to_owned();
    let window = world.budgets.hostinger.entry(key).or_insert_with(|| Window::new(size, MINUTE, now));
    if !world.options.budgets {
        return Ok(*window);
    }
    let taken = window.take(now, MINUTE);
    let Err(wait) = taken else { return Ok(*window) };
    if window.strikes == STRIKES {
        window.ban(now, BAN);
    }
    if window.strikes >= STRIKES {
        return Err(Reply::plain(403, "<html><body>Access denied</body></html>"));
    }
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    let reply = Refusal::new(429, "Too Many Attempts.").reply(correlation);
    Err(with(reply, "retry-after", seconds.to_string()))
}

fn route(world: &mut World, ask: &Ask, token: &Token) -> Outcome<Reply> {
    let unknown = || Refusal::new(404, "Not found");
    let path: Vec<&str> = ask.path.iter().map(String::as_str).collect();
    let get = ask.method == Method::GET;
    if let ["api", "domains", "v1", "portfolio"] = path.as_slice() {
        return if get { Ok(portfolio(world, token)) } else { Err(unknown()) };
    }
    let ["api", "dns", "v1", what, domain, rest @ ..] = path.as_slice() else { return Err(unknown()) };
    let name = super::name::absolute(domain);
    let zone = world.zones.values().find(|z| z.name == name && token.sees(z)).map(|z| z.id);
    let zone = zone.ok_or_else(|| Refusal::new(404, "Domain not found"))?;
    if ask.writes() && token.read_only {
        return Err(Refusal::new(403, "Forbidden"));
    }
    match (&ask.method, *what, rest) {
        (&Method::GET, "zones", []) => list(world, zone),
        (&Method::PUT, "zones", []) => update(world, ask, zone, token),
        (&Method::DELETE, "zones", []) => delete(world, ask, zone, token),
        (&Method::POST, "zones", ["validate"]) => {
            changes(world, ask, zone)?.1?;
            Ok(accepted())
        }
        (&Method::POST, "zones", ["reset"]) => {
            let edits = replace_all(world, zone, Vec::new())?;
            keep(world, zone, "Zone reset request");
            accept(world, zone, edits, token);
            Ok(accepted())
        }
        (&Method::GET, "snapshots", []) => snapshots(world, zone),
        (&Method::GET, "snapshots", [id]) => snapshot(world, zone, id),
        (&Method::POST, "snapshots", [id, "restore"]) => {
            let found = find(world, zone, id)?.sets.clone();
            let sets = found.into_iter().map(|(key, set)| (key, (*set).clone())).collect();
            let edits = replace_all(world, zone, sets)?;
            keep(world, zone, "Snapshot restore request");
            accept(world, zone, edits, token);
            Ok(accepted())
        }
        _ => Err(unknown()),
    }
}

fn at(world: &World, zone: u64) -> Outcome<&Zone> {
    world.zones.get(&zone).ok_or_else(|| Refusal::new(404, "Domain not found"))
}

fn portfolio(world: &World, token: &Token) -> Reply {
    let row = |zone: &Zone| {
        json!({"id": zone.id, "domain": zone.name.trim_end_matches('.'), "type": "domain", "status": zone.status,
               "created_at": world.iso(zone.created), "expires_at": "2030-01-01T00:00:00Z"})
    };
    let rows: Vec<Value> = world.zones.values().filter(|z| token.sees(z)).map(row).collect();
    Reply::json(200, Value::Array(rows).to_string())
}

/// A TXT may come back without the quotes that it was written with.
fn shown(world: &World, name: &str, kind: &str, content: &str) -> String {
    let drop = match world.options.hostinger_quotes {
        Quotes::Kept => false,
        Quotes::Dropped => true,
        Quotes::Mixed => name.len().is_multiple_of(2),
    };
    match quoted_strings(content).filter(|_| kind == "TXT" && drop) {
        Some(strings) => String::from_utf8_lossy(&strings.concat()).into_owned(),
        None => content.to_owned(),
    }
}

fn rows<'a>(world: &World, zone: &Zone, sets: impl Iterator<Item = (&'a str, &'a str, &'a RrSet)>) -> Value {
    let each = sets.map(|(name, kind, set)| {
        let records: Vec<Value> = set
            .values
            .iter()
            .map(|v| json!({"content": shown(world, name, kind, &v.content), "is_disabled": v.disabled}))
            .collect();
        json!({"name": relative(name, &zone.name), "records": records, "ttl": set.ttl.unwrap_or(zone.ttl),
               "type": kind})
    });
    Value::Array(each.collect())
}

fn list(world: &World, zone: u64) -> Outcome<Reply> {
    let zone = at(world, zone)?;
    Ok(Reply::json(200, rows(world, zone, world.store(zone).iter()).to_string()))
}

/// What a body asks for: the edits up to the first conflict, and the conflict.
fn changes(world: &World, ask: &Ask, zone: u64) -> Outcome<(Edits, Outcome<()>)> {
    let zone = at(world, zone)?;
    let body = ask.json().filter(Value::is_object);
    let body = body.ok_or_else(|| Refusal::field("zone", "The zone field is required."))?;
    let overwrite = match &body["overwrite"] {
        Value::Null => true,
        given => given
            .as_bool()
            .ok_or_else(|| Refusal::field("overwrite", "The overwrite field must be true or false."))?,
    };
    let list = body["zone"].as_array().filter(|l| !l.is_empty());
    let list = list.ok_or_else(|| Refusal::field("zone", "The zone field is required."))?;
    let mut wanted = Vec::new();
    for (index, item) in list.iter().enumerate() {
        wanted.push(rrset(item, index, zone, world.options.hostinger_ttl)?);
    }
    let mut draft = Draft::new(zone, world.now);
    for (name, kind, ttl, values) in wanted {
        if let Err(refusal) = put(&mut draft, zone, &name, &kind, ttl, values, overwrite) {
            return Ok((draft.into_edits(), Err(refusal)));
        }
    }
    Ok((draft.into_edits(), Ok(())))
}

type Wanted = (String, String, Option<u32>, Vec<Record>);

fn rrset(item: &Value, index: usize, zone: &Zone, floor: u32) -> Outcome<Wanted> {
    let field = |key: &str, message: &str| Refusal::field(&format!("zone.{index}.{key}"), message);
    let name = item["name"].as_str().filter(|n| *n == "@" || well_formed(n) && !n.ends_with('.'));
    let name = name.ok_or_else(|| field("name", "The name field is invalid."))?;
    let kind = item["type"].as_str().filter(|k| TYPES.contains(k));
    let kind = kind.ok_or_else(|| field("type", "The selected type is invalid."))?;
    let ttl = match &item["ttl"] {
        Value::Null => None,
        given => {
            let ttl = given.as_u64().and_then(|t| u32::try_from(t).ok());
            Some(ttl.ok_or_else(|| field("ttl", "The ttl field must be an integer."))?.max(floor))
        }
    };
    let records = item["records"].as_array().filter(|l| !l.is_empty());
    let records = records.ok_or_else(|| field("records", "The records field is required."))?;
    let mut values = Vec::new();
    for record in records {
        let content = record["content"].as_str().and_then(|c| canonical(kind, c));
        let content = content.ok_or_else(|| field("records", "The content field is invalid."))?;
        let disabled = record["is_disabled"].as_bool().unwrap_or_default();
        values.push(Record { disabled, ..Record::new(&content) });
    }
    Ok((expand(name, &zone.name), kind.to_owned(), ttl, values))
}

fn canonical(kind: &str, content: &str) -> Option<String> {
    match kind {
        "A" => content.parse::<Ipv4Addr>().ok().map(|a| a.to_string()),
        "AAAA" => content.parse::<Ipv6Addr>().ok().map(|a| a.to_string()),
        "CNAME" | "ALIAS" | "NS" => {
            let target = content.trim_end_matches('.');
            well_formed(target).then(|| format!("{}.", target.to_ascii_lowercase()))
        }
        "TXT" if content.is_empty() => None,
        "TXT" if quoted_strings(content).is_none() => {
            Some(super::rdata::quote(content.as_bytes().chunks(255)))
        }
        _ => (!content.is_empty()).then(|| content.to_owned()),
    }
}

fn put(
    draft: &mut Draft<'_>,
    zone: &Zone,
    name: &str,
    kind: &str,
    ttl: Option<u32>,
    values: Vec<Record>,
    overwrite: bool,
) -> Outcome<()> {
    let conflict = || Err(Refusal::new(422, CONFLICT));
    let before = draft.get(name, kind).cloned();
    let mut set = before.clone().unwrap_or_default();
    if overwrite {
        set.values.clear();
    }
    for value in values {
        if set.values.iter().any(|v| v.content == value.content) {
            return conflict();
        }
        set.values.push(value);
    }
    let alias = |k: &str| matches!(k, "CNAME" | "ALIAS");
    let others: Vec<String> = draft.kinds(name).into_iter().filter(|k| k != kind).collect();
    let alone =
        kind == "CNAME" && (!others.is_empty() || name == zone.name) || others.iter().any(|k| k == "CNAME");
    if alone || alias(kind) && set.values.len() > 1 {
        return conflict();
    }
    set.ttl = ttl.or(set.ttl).or(Some(zone.ttl));
    draft.put(name, kind, set);
    Ok(())
}

fn update(world: &mut World, ask: &Ask, zone: u64, token: &Token) -> Outcome<Reply> {
    let (edits, end) = changes(world, ask, zone)?;
    if !edits.is_empty() {
        keep(world, zone, "Zone records update request");
        // What stood before the conflict is written all the same.
        accept(world, zone, edits, token);
    }
    end.map(|()| accepted())
}

fn delete(world: &mut World, ask: &Ask, zone: u64, token: &Token) -> Outcome<Reply> {
    let found = at(world, zone)?;
    let body = ask.json().unwrap_or(Value::Null);
    let filters = body["filters"].as_array().filter(|l| !l.is_empty());
    let filters = filters.ok_or_else(|| Refusal::field("filters", "The filters field is required."))?;
    let mut edits = Edits::new();
    for filter in filters {
        let (name, kind) = (filter["name"].as_str(), filter["type"].as_str());
        let (Some(name), Some(kind)) = (name, kind) else {
            return Err(Refusal::field("filters", "The filters need a name and a type."));
        };
        edits.insert((expand(name, &found.name), kind.to_owned()), None);
    }
    keep(world, zone, "Zone records delete request");
    accept(world, zone, edits, token);
    Ok(accepted())
}

/// Happens now, or a while after it was said to.
fn accept(world: &mut World, zone: u64, edits: Edits, token: &Token) {
    if world.options.accept.is_zero() {
        world.commit(zone, edits, &token.secret);
        return;
    }
    let by = token.secret.clone();
    world.later(world.options.accept, Event::Accepted { zone, edits, by });
}

/// Edits after which only these sets, and the apex's servers, are there.
fn replace_all(world: &World, zone: u64, sets: Vec<((String, String), RrSet)>) -> Outcome<Edits> {
    let zone = at(world, zone)?;
    let mut edits: Edits = zone
        .view(world.now)
        .iter()
        .filter(|(name, kind, _)| *name != zone.name || *kind != "NS")
        .map(|(name, kind, _)| ((name.to_owned(), kind.to_owned()), None))
        .collect();
    edits.extend(sets.into_iter().map(|(key, set)| (key, Some(set))));
    Ok(edits)
}

/// The zone as it is before a write.
fn keep(world: &mut World, zone: u64, reason: &str) {
    let (id, at) = (world.next_id(), world.now);
    if let Some(zone) = world.zones.get_mut(&zone) {
        let sets = zone.view(at).sets();
        zone.snapshots.push(Snapshot { id, reason: reason.to_owned(), at, sets });
    }
}

fn find<'a>(world: &'a World, zone: u64, id: &str) -> Outcome<&'a Snapshot> {
    let found = at(world, zone)?.snapshots.iter().find(|s| s.id.to_string() == id);
    found.ok_or_else(|| Refusal::new(404, "Snapshot not found"))
}

fn snapshots(world: &World, zone: u64) -> Outcome<Reply> {
    let rows: Vec<Value> = at(world, zone)?
        .snapshots
        .iter()
        .rev()
        .map(|s| json!({"id": s.id, "reason": s.reason, "created_at": world.iso(s.at)}))
        .collect();
    Ok(Reply::json(200, Value::Array(rows).to_string()))
}

fn snapshot(world: &World, zone: u64, id: &str) -> Outcome<Reply> {
    let found = find(world, zone, id)?;
    let sets = found.sets.iter().map(|((name, kind), set)| (name.as_str(), kind.as_str(), set.as_ref()));
    let body = json!({"id": found.id, "reason": found.reason, "created_at": world.iso(found.at),
                      "snapshot": rows(world, at(world, zone)?, sets)});
    Ok(Reply::json(200, body.to_string()))
}
