//! Hetzner's Cloud API for zones: credentials, the project's budget, errors, zones, and which path is which procedure.
//! It must never tell one project of another's zones.

mod action;
mod change;
mod check;
mod rrset;

use http::Method;
use serde_json::{Map, Value, json};

pub(crate) use action::{Action, finish};

use super::access::Token;
use super::http::{Ask, Page, with};
use super::limit::Bucket;
use super::world::World;
use super::zone::{Delegation, Provider, Zone};
use crate::http_api::Reply;

const PER_HOUR: u32 = 3_600;

/// What an error body says.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    code: &'static str,
    message: String,
    details: Value,
}

impl Refusal {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), details: Value::Null }
    }

    /// A field that is not as it must be.
    fn field(name: &str, message: impl Into<String>) -> Refusal {
        let message = message.into();
        let details = json!({"fields": [{"name": name, "messages": [message]}]});
        Refusal { details, ..Refusal::new(422, "invalid_input", format!("invalid input in field '{name}'")) }
    }

    fn not_found(what: &str) -> Refusal {
        Refusal::new(404, "not_found", format!("{what} not found"))
    }

    fn reply(&self) -> Reply {
        let error = json!({"code": self.code, "message": self.message, "details": self.details});
        Reply::json(self.status, json!({"error": error}).to_string())
    }
}

type Outcome<T> = Result<T, Refusal>;

fn reply(status: u16, body: &Value) -> Reply {
    Reply::json(status, body.to_string())
}

fn by_key<'a>(world: &'a World, key: &str) -> impl Iterator<Item = &'a Zone> {
    let id = key.parse::<u64>().ok();
    let name = format!("{key}.");
    world
        .zones
        .values()
        .filter(move |z| z.provider == Provider::Hetzner && (Some(z.id) == id || z.name == name))
}

pub(crate) fn procedure(world: &World, ask: &Ask) -> (String, Option<String>) {
    let path = ask.below(&["v1"]).unwrap_or_default();
    let name = match (ask.method.as_str(), path.as_slice()) {
        ("GET", ["zones"]) => "zones.list",
        ("GET", ["zones", "actions", ..] | ["actions", ..]) => "actions.get",
        ("GET", ["zones", _]) => "zones.get",
        ("GET", ["zones", _, "rrsets"]) => "rrsets.list",
        ("POST", ["zones", _, "rrsets"]) => "rrsets.create",
        ("GET", ["zones", _, "rrsets", _, _]) => "rrsets.get",
        ("PUT", ["zones", _, "rrsets", _, _]) => "rrsets.update",
        ("DELETE", ["zones", _, "rrsets", _, _]) => "rrsets.delete",
        ("POST", ["zones", _, "rrsets", _, _, "actions", action]) => {
            return (format!("rrsets.{action}"), zone_name(world, &path));
        }
        _ => "other",
    };
    (name.to_owned(), zone_name(world, &path))
}

fn zone_name(world: &World, path: &[&str]) -> Option<String> {
    let key = path.get(1).filter(|key| path.first() == Some(&"zones") && **key != "actions")?;
    by_key(world, key).next().map(|z| z.name.clone())
}

pub(crate) fn answer(world: &mut World, ask: &Ask) -> Reply {
    // The API before this one: only a sign to its heir is left.
    if ask.path.first().is_some_and(|p| p == "api") {
        return with(Reply::plain(301, ""), "location", "https://console.hetzner.com/".to_owned());
    }
    let correlation = world.hex_id().chars().take(16).collect();
    let reply = match authenticate(world, ask) {
        Ok(token) => limited(world, ask, &token),
        Err(refusal) => refusal.reply(),
    };
    with(reply, "x-correlation-id", correlation)
}

fn authenticate(world: &World, ask: &Ask) -> Outcome<Token> {
    let token = ask.bearer().and_then(|secret| world.token(Provider::Hetzner, secret));
    token.ok_or_else(|| Refusal::new(401, "unauthorized", "the token you have provided is invalid"))
}

fn limited(world: &mut World, ask: &Ask, token: &Token) -> Reply {
    let now = world.now;
    let per_second = f64::from(PER_HOUR) / 3_600.0;
    let budget = world.budgets.hetzner.entry(token.account.clone());
    let budget = budget.or_insert_with(|| Bucket::new(PER_HOUR, per_second, now));
    let got = budget.take(now) || !world.options.budgets;
    let budget = *budget;
    let out = if got {
        route(world, ask, token).unwrap_or_else(|refusal| refusal.reply())
    } else {
        let message = format!("limit of {PER_HOUR} requests per hour reached");
        Refusal::new(429, "rate_limit_exceeded", message).reply()
    };
    let full = world.timestamp(now + budget.full_in()).as_second();
    let out = with(out, "ratelimit-limit", PER_HOUR.to_string());
    let out = with(out, "ratelimit-remaining", budget.left().to_string());
    with(out, "ratelimit-reset", full.to_string())
}

fn route(world: &mut World, ask: &Ask, token: &Token) -> Outcome<Reply> {
    if ask.writes() && token.read_only {
        return Err(Refusal::new(403, "token_readonly", "the token is read only"));
    }
    let path = ask.below(&["v1"]).ok_or_else(|| Refusal::not_found("page"))?;
    let get = ask.method == Method::GET;
    match path.as_slice() {
        ["zones"] if get => return zones(world, ask, token),
        ["zones", "actions"] | ["actions"] if get => return action::several(world, ask, token),
        ["zones", "actions", id] | ["actions", id] if get => return action::one(world, id, token),
        _ => {}
    }
    let ["zones", key, rest @ ..] = path.as_slice() else { return Err(Refusal::not_found("page")) };
    let zone = by_key(world, key).find(|z| token.sees(z)).ok_or_else(|| Refusal::not_found("zone"))?;
    let id = zone.id;
    match rest {
        [] if get => return Ok(reply(200, &json!({"zone": show(world, zone)}))),
        ["actions", number] if get => return action::one(world, number, token),
        ["rrsets", ..] => {}
        _ => return Err(Refusal::not_found("page")),
    }
    if !zone.primary {
        let message = "the operation is not supported for this zone's mode";
        return Err(Refusal::new(422, "incorrect_zone_mode", message));
    }
    match rest {
        ["rrsets"] if get => rrset::list(world, ask, id),
        ["rrsets", name, kind] if get => rrset::one(world, id, name, kind),
        _ if ask.writes() => change::write(world, ask, id, rest, token),
        _ => Err(Refusal::not_found("page")),
    }
}

fn page_of(ask: &Ask, most: usize) -> Outcome<(usize, usize)> {
    let number = |name: &str, default: usize, most: usize| match ask.param(name) {
        None => Ok(default),
        Some(text) => {
            let number = text.parse().ok().filter(|n| (1..=most).contains(n));
            number.ok_or_else(|| Refusal::field(name, format!("must be a number from 1 to {most}")))
        }
    };
    Ok((number("page", 1, usize::MAX)?, number("per_page", 25, most)?))
}

fn listed(key: &str, page: Page<Value>) -> Reply {
    let last = page.last();
    let at = page.page;
    let meta = json!({"pagination": {
        "page": at,
        "per_page": page.per_page,
        "previous_page": (at > 1).then(|| at - 1),
        "next_page": (at < last).then_some(at + 1),
        "last_page": last,
        "total_entries": page.total,
    }});
    let mut body = Map::new();
    body.insert(key.to_owned(), Value::Array(page.rows));
    body.insert("meta".to_owned(), meta);
    reply(200, &Value::Object(body))
}

fn zones(world: &World, ask: &Ask, token: &Token) -> Outcome<Reply> {
    let (page, per_page) = page_of(ask, 50)?;
    let name = ask.param("name");
    let mode = ask.param("mode");
    let fits = |z: &&Zone| {
        token.sees(z)
            && name.is_none_or(|n| z.name == format!("{n}."))
            && mode.is_none_or(|m| m == mode_of(z))
    };
    let labels = check::Selector::parse(ask.param("label_selector"))?;
    let found = world.zones.values().filter(fits).filter(|z| labels.fits(&z.labels));
    let rows = found.map(|z| show(world, z)).collect();
    Ok(listed("zones", Page::cut(rows, page, per_page)))
}

fn mode_of(zone: &Zone) -> &'static str {
    if zone.primary { "primary" } else { "secondary" }
}

fn delegation(delegation: Delegation) -> &'static str {
    match delegation {
        Delegation::Valid => "valid",
        Delegation::PartiallyValid => "partially-valid",
        Delegation::Invalid => "invalid",
        Delegation::Lame => "lame",
        Delegation::Unregistered => "unregistered",
        Delegation::Unknown => "unknown",
    }
}

fn show(world: &World, zone: &Zone) -> Value {
    let status = if zone.frozen.is_some_and(|at| at < zone.last_change) {
        "error"
    } else if world.now < zone.last_change + zone.publish + zone.spread && zone.last_change > zone.created {
        "updating"
    } else {
        "ok"
    };
    let delegated: &[String] = match zone.delegation {
        Delegation::Valid | Delegation::PartiallyValid => &zone.servers,
        _ => &[],
    };
    let count: usize = zone.view(world.now).iter().map(|(_, _, set)| set.values.len()).sum();
    json!({
        "id": zone.id,
        "name": zone.name.trim_end_matches('.'),
        "created": world.iso(zone.created),
        "mode": mode_of(zone),
        "ttl": zone.ttl,
        "status": status,
        "record_count": count + 1,
        "registrar": "other",
        "labels": zone.labels,
        "protection": {"delete": false},
        "primary_nameservers": [],
        "authoritative_nameservers": {
            "assigned": zone.servers,
            "delegated": delegated,
            "delegation_last_check": world.iso(world.now),
            "delegation_status": delegation(zone.delegation),
        },
    })
}
