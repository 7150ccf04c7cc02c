//! Reading records: one object for each value, filters, pages. It must never promise one page.

use serde_json::{Value, json};

use super::check::proxiable;
use super::{Outcome, Refusal, granted, listed, number};
use crate::dns::http::{Ask, Page};
use crate::dns::world::World;
use crate::dns::zone::{Value as Record, View, Zone};
use crate::http_api::Reply;

struct Row<'a> {
    name: &'a str,
    kind: &'a str,
    record: &'a Record,
}

fn rows(view: View<'_>) -> Vec<Row<'_>> {
    let each = view.iter().flat_map(|(name, kind, set)| {
        set.values.iter().map(move |record| Row { name: name.trim_end_matches('.'), kind, record })
    });
    let mut rows: Vec<Row<'_>> = each.collect();
    rows.sort_by(|a, b| a.record.id.cmp(&b.record.id));
    rows
}

pub(super) fn show(world: &World, name: &str, kind: &str, record: &Record) -> Value {
    let modified = world.iso(record.modified);
    let mut out = json!({
        "id": record.id,
        "name": name.trim_end_matches('.'),
        "type": kind,
        "content": record.content,
        "proxiable": proxiable(kind),
        "proxied": record.proxied,
        "ttl": record.ttl.unwrap_or(1),
        "settings": {},
        "meta": {},
        "comment": record.comment,
        "tags": record.tags,
        "created_on": world.iso(record.created),
        "modified_on": modified,
    });
    if kind == "CNAME" {
        out["settings"] = json!({"flatten_cname": record.flatten});
    }
    if record.comment.is_some() {
        out["comment_modified_on"] = Value::from(modified);
    }
    out
}

pub(super) fn one(world: &World, zone: u64, id: &str) -> Outcome<Reply> {
    let zone = world.zones.get(&zone).ok_or_else(absent)?;
    let rows = rows(world.store(zone));
    let row = rows.iter().find(|r| r.record.id == id).ok_or_else(absent)?;
    Ok(granted(show(world, row.name, row.kind, row.record)))
}

pub(super) fn absent() -> Refusal {
    Refusal::new(404, 81_044, "Record does not exist.")
}

/// The record sets of a delegation that hide a name.
fn shadows(zone: &Zone, view: View<'_>, name: &str) -> Vec<Value> {
    let mut out = Vec::new();
    let mut at = Some(name);
    while let Some(here) = at.filter(|n| format!("{n}.") != zone.name) {
        if here != name
            && let Some(set) = view.get(&format!("{here}."), "NS")
        {
            out.extend(set.values.iter().map(|v| json!({"id": v.id, "name": here, "type": "NS"})));
        }
        at = crate::dns::name::parent(here);
    }
    out
}

pub(super) fn records(world: &World, ask: &Ask, zone: u64) -> Outcome<Reply> {
    let page = number(ask, "page", 1)?;
    let most = world.options.cloudflare_page;
    let per_page = number(ask, "per_page", 100)?.min(most);
    let zone = world.zones.get(&zone).ok_or_else(absent)?;
    let view = world.store(zone);
    let any = match ask.param("match") {
        None | Some("all") => false,
        Some("any") => true,
        Some(_) => return Err(Refusal::new(400, 1_001, "Invalid request: invalid match parameter")),
    };
    let filters: Vec<(&str, &str)> = ask
        .query
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .filter(|(key, _)| key.split('.').next().is_some_and(|k| FILTERS.contains(&k)))
        .collect();
    let mut found = rows(view);
    if !filters.is_empty() {
        found.retain(|row| {
            let mut hits = filters.iter().map(|(key, value)| fits(row, key, value));
            if any { hits.any(|hit| hit) } else { hits.all(|hit| hit) }
        });
    }
    match ask.param("order") {
        Some("name") => found.sort_by(|a, b| a.name.cmp(b.name)),
        Some("type") => found.sort_by(|a, b| a.kind.cmp(b.kind)),
        Some("content") => found.sort_by(|a, b| a.record.content.cmp(&b.record.content)),
        Some("ttl") => found.sort_by_key(|r| r.record.ttl),
        Some("proxied") => found.sort_by_key(|r| r.record.proxied),
        _ => {}
    }
    if ask.param("direction") == Some("desc") {
        found.reverse();
    }
    let shadow = ask.param("include_shadow_metadata") == Some("true");
    let out = found.into_iter().map(|row| {
        let mut out = show(world, row.name, row.kind, row.record);
        if shadow {
            out["meta"] = json!({"shadowed_by": shadows(zone, view, row.name)});
        }
        out
    });
    Ok(listed(Page::cut(out.collect(), page, per_page)))
}

const FILTERS: [&str; 7] = ["type", "name", "content", "comment", "tag", "proxied", "search"];

fn fits(row: &Row<'_>, key: &str, value: &str) -> bool {
    let comment = row.record.comment.as_deref();
    let (field, how) = key.split_once('.').unwrap_or((key, "exact"));
    let text = match field {
        "type" => return row.kind.eq_ignore_ascii_case(value),
        "proxied" => return row.record.proxied.to_string() == value,
        // There are no tags without a quota for them.
        "tag" => return how == "absent",
        "search" => {
            let value = value.to_ascii_lowercase();
            let all = [row.name, &row.record.content, comment.unwrap_or_default()];
            return all.iter().any(|text| text.to_ascii_lowercase().contains(&value));
        }
        "comment" => match (how, comment) {
            ("present", comment) => return comment.is_some(),
            ("absent", comment) => return comment.is_none(),
            (_, Some(comment)) => comment,
            (_, None) => return false,
        },
        "content" => &row.record.content,
        _ => row.name,
    };
    let (text, value) = (text.to_ascii_lowercase(), value.trim_end_matches('.').to_ascii_lowercase());
    match how {
        "contains" => text.contains(&value),
        "startswith" => text.starts_with(&value),
        "endswith" => text.ends_with(&value),
        _ => text == value,
    }
}
