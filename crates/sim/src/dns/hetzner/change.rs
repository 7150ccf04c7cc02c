//! Writing RRsets: what is refused at once, and what becomes an action. A zone must never have two actions at a time.

use http::Method;
use serde_json::{Value, json};

use super::rrset::{key, show};
use super::{Outcome, Refusal, action, check, reply};
use crate::dns::access::Token;
use crate::dns::http::Ask;
use crate::dns::name::expand;
use crate::dns::world::World;
use crate::dns::zone::{Draft, Edits, RrSet, Zone};
use crate::http_api::Reply;

pub(super) fn write(world: &mut World, ask: &Ask, zone: u64, rest: &[&str], token: &Token) -> Outcome<Reply> {
    let body = if ask.body.is_empty() { Some(json!({})) } else { ask.json().filter(Value::is_object) };
    let body = body.ok_or_else(|| Refusal::new(400, "json_error", "the body is not a JSON object"))?;
    if action::running(world, zone) {
        let message = "another action is running, wait for it to complete";
        return Err(Refusal::new(423, "locked", message));
    }
    match (&ask.method, rest) {
        (&Method::POST, ["rrsets"]) => create(world, zone, &body, token),
        (&Method::PUT, ["rrsets", name, kind]) => update(world, zone, name, kind, &body, token),
        (&Method::DELETE, ["rrsets", name, kind]) => delete(world, zone, name, kind, token),
        (&Method::POST, ["rrsets", name, kind, "actions", what]) => {
            act(world, zone, name, kind, what, &body, token)
        }
        _ => Err(Refusal::not_found("page")),
    }
}

fn found(world: &World, zone: u64) -> Outcome<&Zone> {
    world.zones.get(&zone).ok_or_else(|| Refusal::not_found("zone"))
}

/// An alias stands alone and not at the apex.
fn alone(draft: &Draft<'_>, zone: &Zone, name: &str, kind: &str) -> Outcome<()> {
    let kinds = draft.kinds(name);
    let alias = kind == "CNAME" && (name == zone.name || kinds.iter().any(|k| k != kind));
    if alias || kind != "CNAME" && kinds.contains("CNAME") {
        let message = "CNAME records cannot coexist with other records of the same name";
        return Err(Refusal::field("type", message));
    }
    Ok(())
}

fn create(world: &mut World, zone: u64, body: &Value, token: &Token) -> Outcome<Reply> {
    let at = found(world, zone)?;
    let name = body["name"].as_str().unwrap_or_default();
    let kind = body["type"].as_str().unwrap_or_default();
    check::name(name, &at.name)?;
    check::kind(kind)?;
    let ttl = check::ttl(&body["ttl"])?;
    let labels = match &body["labels"] {
        Value::Null => Default::default(),
        given => check::labels(given)?,
    };
    let values = check::records(&body["records"], kind)?;
    let full = expand(name, &at.name);
    let mut draft = Draft::new(at, world.now);
    if kind == "SOA" || draft.get(&full, kind).is_some() {
        let message = format!("RRSet with name '{name}' and type '{kind}' already exists");
        return Err(Refusal::new(409, "uniqueness_error", message));
    }
    alone(&draft, at, &full, kind)?;
    if values.len() + count(at, world) > at.quota {
        return Err(Refusal::new(422, "resource_limit_exceeded", "record limit exceeded"));
    }
    let set = RrSet { ttl, values, labels, ..RrSet::default() };
    let shown = show(&mut world.rng.clone(), at, &full, kind, &set);
    draft.put(&full, kind, set);
    let edits = draft.into_edits();
    let action = action::begin(world, zone, "create_rrset", edits, token);
    Ok(reply(201, &json!({"rrset": shown, "action": action})))
}

fn count(zone: &Zone, world: &World) -> usize {
    zone.view(world.now).iter().map(|(_, _, set)| set.values.len()).sum()
}

/// Labels only, all of them at once. Records in the body mean nothing.
fn update(
    world: &mut World,
    zone: u64,
    name: &str,
    kind: &str,
    body: &Value,
    token: &Token,
) -> Outcome<Reply> {
    let at = found(world, zone)?;
    let (full, kind) = key(at, name, kind);
    let set = at.view(world.now).get(&full, &kind).cloned();
    let mut set = set.ok_or_else(|| Refusal::not_found("rrset"))?;
    if !body["labels"].is_null() {
        set.labels = check::labels(&body["labels"])?;
    }
    let shown = show(&mut world.rng.clone(), at, &full, &kind, &set);
    world.commit(zone, Edits::from([((full, kind), Some(set))]), &token.secret);
    Ok(reply(200, &json!({"rrset": shown})))
}

fn unprotected(set: &RrSet) -> Outcome<()> {
    if set.protected {
        return Err(Refusal::new(422, "protected", "RRSet(s) is/are change protected"));
    }
    Ok(())
}

fn delete(world: &mut World, zone: u64, name: &str, kind: &str, token: &Token) -> Outcome<Reply> {
    let at = found(world, zone)?;
    let (full, kind) = key(at, name, kind);
    if full == at.name && matches!(kind.as_str(), "SOA" | "NS") {
        return Err(Refusal::new(422, "invalid_input", "the SOA and the NS of the apex cannot be deleted"));
    }
    let set = at.view(world.now).get(&full, &kind).ok_or_else(|| Refusal::not_found("rrset"))?;
    unprotected(set)?;
    let edits = Edits::from([((full, kind), None)]);
    let action = action::begin(world, zone, "delete_rrset", edits, token);
    Ok(reply(201, &json!({"action": action})))
}

fn act(
    world: &mut World,
    zone: u64,
    name: &str,
    kind: &str,
    what: &str,
    body: &Value,
    token: &Token,
) -> Outcome<Reply> {
    let at = found(world, zone)?;
    let (full, kind) = key(at, name, kind);
    let mut draft = Draft::new(at, world.now);
    let before = draft.get(&full, &kind).cloned();
    if full == at.name && kind == "SOA" {
        return Err(Refusal::new(422, "invalid_input", "the SOA is managed by the API"));
    }
    let Some(mut set) = before.clone().or_else(|| (what == "add_records").then(RrSet::default)) else {
        return Err(Refusal::not_found("rrset"));
    };
    if what != "change_protection" {
        unprotected(&set)?;
    }
    match what {
        "set_records" => set.values = check::records(&body["records"], &kind)?,
        "add_records" => {
            if before.is_none() {
                check::name(name, &at.name)?;
                check::kind(&kind)?;
            }
            let more = check::records(&body["records"], &kind)?;
            let ttl = check::ttl(&body["ttl"])?;
            if before.is_some() && ttl.is_some() && ttl != set.ttl {
                return Err(Refusal::field("ttl", "must be the same as the TTL of the existing RRSet"));
            }
            if before.is_none() {
                set.ttl = ttl;
            }
            for value in more {
                if set.values.iter().any(|v| v.content == value.content) {
                    return Err(Refusal::field("records", "duplicate value"));
                }
                set.values.push(value);
            }
            if set.values.len() > 50 || kind == "CNAME" && set.values.len() > 1 {
                return Err(Refusal::field("records", "too many records"));
            }
            alone(&draft, at, &full, &kind)?;
        }
        "remove_records" => {
            for value in check::records(&body["records"], &kind)? {
                let before = set.values.len();
                set.values.retain(|v| v.content != value.content);
                if set.values.len() == before {
                    return Err(Refusal::field("records", "record not found"));
                }
            }
        }
        "update_records" => {
            for value in check::records(&body["records"], &kind)? {
                let found = set.values.iter_mut().find(|v| v.content == value.content);
                let found = found.ok_or_else(|| Refusal::field("records", "record not found"))?;
                found.comment = value.comment;
            }
        }
        "change_ttl" => set.ttl = check::ttl(&body["ttl"])?,
        "change_protection" => {
            let change = body["change"].as_bool();
            set.protected = change.ok_or_else(|| Refusal::field("change", "must be a boolean"))?;
        }
        _ => return Err(Refusal::not_found("action")),
    }
    if set.values.is_empty() {
        draft.remove(&full, &kind);
    } else {
        draft.put(&full, &kind, set);
    }
    let edits = draft.into_edits();
    let command = match what {
        "change_ttl" => "change_rrset_ttl".to_owned(),
        "change_protection" => "change_rrset_protection".to_owned(),
        _ => what.replace("_records", "_rrset_records"),
    };
    let action = action::begin(world, zone, &command, edits, token);
    Ok(reply(201, &json!({"action": action})))
}
