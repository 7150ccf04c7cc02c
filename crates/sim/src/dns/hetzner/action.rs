//! Actions: what was accepted happens a while later, or fails then. It must never happen before its action has ended.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Outcome, Refusal, listed, reply};
use crate::dns::access::Token;
use crate::dns::http::{Ask, Page};
use crate::dns::world::{Event, World};
use crate::dns::zone::Edits;
use crate::http_api::Reply;

#[derive(Debug)]
pub(crate) struct Action {
    id: u64,
    zone: u64,
    account: String,
    command: String,
    started: Duration,
    finished: Option<Duration>,
    error: Option<(&'static str, &'static str)>,
    edits: Option<Edits>,
    by: String,
}

/// Accepts a change.
pub(super) fn begin(world: &mut World, zone: u64, command: &str, edits: Edits, token: &Token) -> Value {
    let id = world.next_id();
    let action = Action {
        id,
        zone,
        account: token.account.clone(),
        command: command.to_owned(),
        started: world.now,
        finished: None,
        error: None,
        edits: Some(edits),
        by: token.secret.clone(),
    };
    let out = show(world, &action);
    world.actions.insert(id, action);
    world.later(world.options.action_time, Event::Action(id));
    out
}

/// The change happens, unless it was to fail.
pub(crate) fn finish(world: &mut World, id: u64) {
    let now = world.now;
    let error = (!world.action_errors.is_empty()).then(|| world.action_errors.remove(0));
    let Some(action) = world.actions.get_mut(&id) else { return };
    (action.finished, action.error) = (Some(now), error);
    let (zone, by) = (action.zone, action.by.clone());
    if let Some(edits) = action.edits.take().filter(|_| error.is_none()) {
        world.commit(zone, edits, &by);
    }
}

/// Another action of the zone is not over.
pub(super) fn running(world: &World, zone: u64) -> bool {
    world.actions.values().any(|a| a.zone == zone && a.finished.is_none())
}

fn show(world: &World, action: &Action) -> Value {
    let status = match (action.finished, action.error) {
        (None, _) => "running",
        (Some(_), None) => "success",
        (Some(_), Some(_)) => "error",
    };
    json!({
        "id": action.id,
        "command": action.command,
        "status": status,
        "progress": if action.finished.is_some() { 100 } else { 0 },
        "started": world.iso(action.started),
        "finished": action.finished.map(|at| world.iso(at)),
        "resources": [{"id": action.zone, "type": "zone"}],
        "error": action.error.map(|(code, message)| json!({"code": code, "message": message})),
    })
}

fn visible<'a>(world: &'a World, token: &'a Token) -> impl Iterator<Item = &'a Action> {
    let sees = |a: &&Action| {
        a.account == token.account && world.zones.get(&a.zone).is_some_and(|zone| token.sees(zone))
    };
    world.actions.values().filter(sees)
}

pub(super) fn one(world: &World, id: &str, token: &Token) -> Outcome<Reply> {
    let found = visible(world, token).find(|a| a.id.to_string() == id);
    let action = found.ok_or_else(|| Refusal::not_found("action"))?;
    Ok(reply(200, &json!({"action": show(world, action)})))
}

pub(super) fn several(world: &World, ask: &Ask, token: &Token) -> Outcome<Reply> {
    let (page, per_page) = super::page_of(ask, 50)?;
    let ids: Vec<&str> = ask.params("id").collect();
    let found = visible(world, token).filter(|a| ids.is_empty() || ids.contains(&a.id.to_string().as_str()));
    let rows = found.map(|a| show(world, a)).collect();
    Ok(listed("actions", Page::cut(rows, page, per_page)))
}
