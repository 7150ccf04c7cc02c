//! What Hetzner takes for names, values, TTLs and labels. It must never repair what is wrong.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{Outcome, Refusal};
use crate::dns::name::well_formed;
use crate::dns::rdata::quoted_strings;
use crate::dns::zone::Value as Record;

const TYPES: [&str; 16] = [
    "A", "AAAA", "CAA", "CNAME", "DS", "HINFO", "HTTPS", "MX", "NS", "PTR", "RP", "SOA", "SRV", "SVCB",
    "TLSA", "TXT",
];

pub(super) fn kind(kind: &str) -> Outcome<()> {
    if TYPES.contains(&kind) { Ok(()) } else { Err(Refusal::field("type", "unknown type")) }
}

/// A relative name: lower-case, without a dot at the end, without the zone's own name at the end.
pub(super) fn name(name: &str, zone: &str) -> Outcome<()> {
    let bare = zone.trim_end_matches('.');
    let ok = name == "@"
        || well_formed(name)
            && !name.ends_with('.')
            && !name.bytes().any(|b| b.is_ascii_uppercase())
            && name != bare
            && !name.ends_with(&format!(".{bare}"));
    if ok { Ok(()) } else { Err(Refusal::field("name", "must be lower case, relative to the zone, or @")) }
}

pub(super) fn ttl(given: &Value) -> Outcome<Option<u32>> {
    if given.is_null() {
        return Ok(None);
    }
    let ttl = given.as_u64().filter(|t| (60..=2_147_483_647).contains(t)).and_then(|t| u32::try_from(t).ok());
    ttl.map(Some).ok_or_else(|| Refusal::field("ttl", "must be from 60 to 2147483647, or null"))
}

/// One to fifty records, no value twice.
pub(super) fn records(given: &Value, kind: &str) -> Outcome<Vec<Record>> {
    let list = given.as_array().filter(|l| (1..=50).contains(&l.len()));
    let list = list.ok_or_else(|| Refusal::field("records", "must have from 1 to 50 records"))?;
    let mut out: Vec<Record> = Vec::new();
    for item in list {
        let content = item["value"].as_str().unwrap_or_default();
        if !value(kind, content) {
            return Err(Refusal::field("records", format!("invalid value for type {kind}")));
        }
        if out.iter().any(|r| r.content == content) {
            return Err(Refusal::field("records", "duplicate value"));
        }
        let comment = item["comment"].as_str().filter(|c| !c.is_empty()).map(str::to_owned);
        out.push(Record { comment, ..Record::new(content) });
    }
    if kind == "CNAME" && out.len() > 1 {
        return Err(Refusal::field("records", "CNAME can only have one record"));
    }
    Ok(out)
}

fn value(kind: &str, content: &str) -> bool {
    match kind {
        "A" => content.parse::<Ipv4Addr>().is_ok(),
        "AAAA" => content.parse::<Ipv6Addr>().is_ok(),
        "CNAME" | "NS" | "PTR" => content == "@" || well_formed(content),
        "TXT" => quoted_strings(content).is_some_and(|all| all.iter().all(|one| one.len() <= 255)),
        _ => !content.is_empty(),
    }
}

/// Letters, digits, `.`, `_` and `-`; the first and the last one of the former two.
fn word(text: &str, most: usize) -> bool {
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    text.len() <= most
        && ends(text.bytes().next())
        && ends(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

pub(super) fn labels(given: &Value) -> Outcome<BTreeMap<String, String>> {
    let Some(map) = given.as_object() else { return Err(Refusal::field("labels", "must be an object")) };
    let mut out = BTreeMap::new();
    for (key, value) in map {
        let (prefix, name) = key.split_once('/').map_or((None, key.as_str()), |(p, n)| (Some(p), n));
        let known = prefix.is_none_or(|p| p.len() <= 253 && well_formed(p) && p != "hetzner.cloud");
        let value = value.as_str().filter(|v| v.is_empty() || word(v, 63));
        match value {
            Some(value) if known && word(name, 63) => out.insert(key.clone(), value.to_owned()),
            _ => return Err(Refusal::field("labels", format!("invalid label '{key}'"))),
        };
    }
    Ok(out)
}

/// A filter by labels: `k`, `!k`, `k=v`, `k!=v`, `k in (a,b)`, `k notin (a,b)`, joined by commas.
#[derive(Debug)]
pub(super) struct Selector(Vec<Term>);

#[derive(Debug)]
struct Term {
    key: String,
    /// The values that fit; `None` for any.
    values: Option<Vec<String>>,
    not: bool,
}

impl Selector {
    pub(super) fn parse(text: Option<&str>) -> Outcome<Selector> {
        let mut terms = Vec::new();
        let mut rest = text.unwrap_or_default().trim();
        while !rest.is_empty() {
            let open = rest.find('(').unwrap_or(usize::MAX);
            let comma = match rest.find(',') {
                // A comma in brackets joins nothing.
                Some(at) if at > open => rest.find(')').map(|at| at + 1),
                other => other,
            };
            let (term, more) = rest.split_at(comma.unwrap_or(rest.len()));
            terms.push(
                Term::parse(term.trim())
                    .ok_or_else(|| Refusal::field("label_selector", "invalid label selector"))?,
            );
            rest = more.trim_start_matches(',').trim();
        }
        Ok(Selector(terms))
    }

    pub(super) fn fits(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|term| {
            let found = labels.get(&term.key);
            let hit = match &term.values {
                None => found.is_some(),
                Some(values) => found.is_some_and(|v| values.contains(v)),
            };
            hit != term.not
        })
    }
}

impl Term {
    fn parse(text: &str) -> Option<Term> {
        let term = |key: &str, values: Option<Vec<String>>, not| {
            let key = key.trim().to_owned();
            (!key.is_empty() && !key.contains([' ', '(', ')'])).then_some(Term { key, values, not })
        };
        let one = |v: &str| Some(vec![v.trim().to_owned()]);
        if let Some((head, tail)) = text.split_once('(') {
            let list = tail.trim().strip_suffix(')')?.split(',').map(|v| v.trim().to_owned()).collect();
            let head = head.trim();
            return match head.strip_suffix(" notin") {
                Some(key) => term(key, Some(list), true),
                None => term(head.strip_suffix(" in")?, Some(list), false),
            };
        }
        if let Some((key, value)) = text.split_once("!=") {
            return term(key, one(value), true);
        }
        if let Some((key, value)) = text.split_once('=') {
            return term(key, one(value.trim_start_matches('=')), false);
        }
        match text.strip_prefix('!') {
            Some(key) => term(key, None, true),
            None => term(text, None, false),
        }
    }
}
