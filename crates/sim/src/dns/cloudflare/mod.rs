//! Cloudflare's API, version 4: the envelope, credentials, the budget, and which path is which procedure.
//! It must never show a zone that the token does not see, nor say that there is one.

mod check;
mod list;
mod record;

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use super::access::Token;
use super::http::{Ask, Page, with};
use super::limit::Window;
use super::world::World;
use super::zone::{Provider, Zone};
use crate::http_api::Reply;

const BASE: [&str; 2] = ["client", "v4"];
const PER_WINDOW: u32 = 1_200;
const WINDOW: Duration = Duration::from_secs(300);
const PER_SECOND: u32 = 200;

/// What the envelope says of a failure.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: u16,
    code: u32,
    message: String,
    /// The true reasons below a general one.
    chain: Vec<(u32, String)>,
    pointer: Option<String>,
}

impl Refusal {
    fn new(status: u16, code: u32, message: impl Into<String>) -> Refusal {
        Refusal { status, code, message: message.into(), chain: Vec::new(), pointer: None }
    }

    /// "DNS Validation Error" with the reason below it.
    fn invalid(code: u32, message: impl Into<String>) -> Refusal {
        let top = Refusal::new(400, 1_004, "DNS Validation Error");
        Refusal { chain: vec![(code, message.into())], ..top }
    }

    fn reply(&self) -> Reply {
        let mut error = json!({"code": self.code, "message": self.message});
        if !self.chain.is_empty() {
            let chain: Vec<Value> =
                self.chain.iter().map(|(code, message)| json!({"code": code, "message": message})).collect();
            error["error_chain"] = Value::Array(chain);
        }
        if let Some(pointer) = &self.pointer {
            error["source"] = json!({"pointer": pointer});
        }
        let body = json!({"success": false, "errors": [error], "messages": [], "result": null});
        Reply::json(self.status, body.to_string())
    }
}

type Outcome<T> = Result<T, Refusal>;

fn granted(result: Value) -> Reply {
    let body = json!({"success": true, "errors": [], "messages": [], "result": result});
    Reply::json(200, body.to_string())
}

fn listed(page: Page<Value>) -> Reply {
    let info = json!({"page": page.page, "per_page": page.per_page, "count": page.rows.len(),
                      "total_count": page.total, "total_pages": page.last()});
    let body = json!({"success": true, "errors": [], "messages": [], "result": page.rows,
                      "result_info": info});
    Reply::json(200, body.to_string())
}

/// The id of a zone: 32 hexadecimal digits.
pub(crate) fn zone_id(zone: &Zone) -> String {
    crate::rng::digest(&format!("{}{}", zone.name, zone.id)).chars().skip(7).take(32).collect()
}

pub(crate) fn procedure(world: &World, ask: &Ask) -> (String, Option<String>) {
    let path = ask.below(&BASE).unwrap_or_default();
    let zone = path.get(1).and_then(|id| world.zones.values().find(|z| zone_id(z) == *id));
    let name = match (ask.method.as_str(), path.as_slice()) {
        ("GET", ["zones"]) => "zones.list",
        ("GET", ["zones", _]) => "zones.get",
        ("GET", ["zones", _, "dns_records"]) => "records.list",
        ("GET", ["zones", _, "dns_records", _]) => "records.get",
        ("POST", ["zones", _, "dns_records", "batch"]) => "records.batch",
        ("POST", ["zones", _, "dns_records"]) => "records.create",
        ("PUT", ["zones", _, "dns_records", _]) => "records.replace",
        ("PATCH", ["zones", _, "dns_records", _]) => "records.patch",
        ("DELETE", ["zones", _, "dns_records", _]) => "records.delete",
        _ => "other",
    };
    (name.to_owned(), zone.map(|z| z.name.clone()))
}

pub(crate) fn answer(world: &mut World, ask: &Ask) -> Reply {
    let token = match authenticate(world, ask) {
        Ok(token) => token,
        Err(refusal) => return refusal.reply(),
    };
    let budget = match spend(world, &token) {
        Ok(budget) => budget,
        Err(reply) => return reply,
    };
    let reply = route(world, ask, &token).unwrap_or_else(|refusal| refusal.reply());
    match budget {
        Some(budget) => headers(world, reply, &budget),
        None => reply,
    }
}

fn authenticate(world: &World, ask: &Ask) -> Outcome<Token> {
    let Some(header) = ask.header("authorization") else {
        let message = "Missing X-Auth-Key, X-Auth-Email or Authorization headers";
        return Err(Refusal::new(400, 9_106, message));
    };
    let well_formed =
        |t: &&str| t.len() == 40 && t.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    let Some(secret) = header.strip_prefix("Bearer ").filter(well_formed) else {
        let chain = vec![(6_111, "Invalid format for Authorization header".to_owned())];
        return Err(Refusal { chain, ..Refusal::new(400, 6_003, "Invalid request headers") });
    };
    world.token(Provider::Cloudflare, secret).ok_or_else(|| Refusal::new(403, 10_000, "Authentication error"))
}

/// One call of the user's budget, over all of the user's tokens.
fn spend(world: &mut World, token: &Token) -> Result<Option<Window>, Reply> {
    if !world.options.budgets {
        return Ok(None);
    }
    let now = world.now;
    let second = Duration::from_secs(1);
    let fresh = || (Window::new(PER_WINDOW, WINDOW, now), Window::new(PER_SECOND, second, now));
    let (long, short) = world.budgets.cloudflare.entry(token.account.clone()).or_insert_with(fresh);
    let out = long.take(now, WINDOW).and_then(|()| short.take(now, second));
    let long = *long;
    let Err(wait) = out else { return Ok(Some(long)) };
    let message = "Please wait and consider throttling your request speed";
    let reply = Refusal::new(429, 971, message).reply();
    let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
    Err(headers(world, with(reply, "retry-after", seconds.to_string()), &long))
}

fn headers(world: &World, reply: Reply, budget: &Window) -> Reply {
    let ends = world.timestamp(budget.ends()).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let reply = with(reply, "x-ratelimit-limit", PER_WINDOW.to_string());
    let reply = with(reply, "x-ratelimit-remaining", budget.left().to_string());
    with(reply, "x-ratelimit-reset", ends)
}

fn number(ask: &Ask, name: &str, default: usize) -> Outcome<usize> {
    match ask.param(name) {
        None => Ok(default),
        Some(text) => text
            .parse()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| Refusal::new(400, 1_001, format!("Invalid request: invalid {name} parameter"))),
    }
}

fn route(world: &mut World, ask: &Ask, token: &Token) -> Outcome<Reply> {
    let unknown = || {
        let place = ask.path.join("/");
        let message = format!("Could not route to /{place}, perhaps your object identifier is invalid?");
        Refusal::new(404, 7_003, message)
    };
    let path = ask.below(&BASE).ok_or_else(unknown)?;
    let method = &ask.method;
    if let ["zones"] = path.as_slice() {
        return if method == Method::GET { zones(world, ask, token) } else { Err(unknown()) };
    }
    let ["zones", id, rest @ ..] = path.as_slice() else { return Err(unknown()) };
    if id.len() != 32 || !id.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(unknown());
    }
    let zone = world.zones.values().find(|z| zone_id(z) == *id && token.sees(z)).map(|z| z.id);
    let denied = || Refusal::new(403, 10_000, "Authentication error");
    if rest.is_empty() && method == Method::GET {
        let zone = zone.and_then(|id| world.zones.get(&id));
        let zone =
            zone.ok_or_else(|| Refusal::new(403, 9_109, "Unauthorized to access requested resource"))?;
        return Ok(granted(show(world, zone)));
    }
    let zone = zone.ok_or_else(denied)?;
    if ask.writes() && token.read_only {
        return Err(denied());
    }
    match rest {
        ["dns_records"] if method == Method::GET => list::records(world, ask, zone),
        ["dns_records", id] if method == Method::GET => list::one(world, zone, id),
        ["dns_records", ..] if ask.writes() => record::write(world, ask, zone, &rest[1..], &token.secret),
        _ => Err(unknown()),
    }
}

fn zones(world: &World, ask: &Ask, token: &Token) -> Outcome<Reply> {
    let (page, per_page) = (number(ask, "page", 1)?, number(ask, "per_page", 20)?);
    if !(5..=50).contains(&per_page) {
        return Err(Refusal::new(400, 1_001, "Invalid request: per_page must be between 5 and 50"));
    }
    let name = ask.param("name").map(super::name::absolute);
    let status = ask.param("status");
    let fits = |z: &&Zone| {
        token.sees(z) && name.as_ref().is_none_or(|n| *n == z.name) && status.is_none_or(|s| s == z.status)
    };
    let mut found: Vec<&Zone> = world.zones.values().filter(fits).collect();
    found.sort_by_key(|z| zone_id(z));
    let rows = found.into_iter().map(|z| show(world, z)).collect();
    Ok(listed(Page::cut(rows, page, per_page)))
}

fn show(world: &World, zone: &Zone) -> Value {
    let bare = |name: &str| name.trim_end_matches('.').to_owned();
    let servers: Vec<String> = zone.servers.iter().map(|s| bare(s)).collect();
    json!({
        "id": zone_id(zone),
        "name": bare(&zone.name),
        "status": zone.status,
        "paused": false,
        "type": if zone.primary { "full" } else { "secondary" },
        "development_mode": 0,
        "name_servers": servers,
        "original_name_servers": [],
        "modified_on": world.iso(zone.last_change),
        "created_on": world.iso(zone.created),
        "activated_on": world.iso(zone.created),
        "meta": {"step": 2, "custom_certificate_quota": 0, "page_rule_quota": 3},
        "owner": {"id": null, "type": "user", "email": null},
        "account": {"id": crate::rng::digest(&zone.account)[7..39], "name": zone.account},
        "permissions": ["#dns_records:edit", "#dns_records:read", "#zone:read"],
        "plan": {"id": "0feeeeeeeeeeeeeeeeeeeeeeeeeeeeee", "name": "Free Website", "legacy_id": "free"},
    })
}
