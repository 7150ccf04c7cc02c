//! What Cloudflare takes for a record, and what it says where it does not.
//! It must never look at other records: those stand in the way elsewhere.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::Value;

use super::{Outcome, Refusal};
use crate::dns::name::{absolute, expand, well_formed, within};

const COMMENT: usize = 100;

/// A record before it has a place.
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub name: String,
    pub kind: String,
    pub content: String,
    pub ttl: u32,
    pub proxied: bool,
    pub comment: Option<String>,
    pub tags: Vec<String>,
    pub flatten: bool,
}

/// Takes what is given; what is not given stays as it was before.
pub(super) fn fields(input: &Value, zone: &str, before: Option<&Fields>) -> Outcome<Fields> {
    let text = |key: &str| input.get(key).and_then(Value::as_str).map(str::to_owned);
    let kind = text("type").map(|t| t.to_ascii_uppercase()).or_else(|| before.map(|b| b.kind.clone()));
    let Some(kind) = kind.filter(|k| TYPES.contains(&k.as_str())) else {
        return Err(Refusal::invalid(9_020, "Invalid DNS record type"));
    };
    let name = text("name").map(|n| full(&n, zone)).or_else(|| before.map(|b| b.name.clone()));
    let Some(name) = name.filter(|n| well_formed(n)) else {
        return Err(Refusal::invalid(9_000, "DNS name is invalid."));
    };
    let Some(content) = text("content").or_else(|| before.map(|b| b.content.clone())) else {
        let invalid = Refusal::invalid(9_004, "Record content is missing.");
        return Err(Refusal { pointer: Some("/content".to_owned()), ..invalid });
    };
    let content = canonical(&kind, &content)?;
    let proxied = match input.get("proxied") {
        None => before.is_some_and(|b| b.proxied),
        Some(given) => given.as_bool().unwrap_or_default(),
    };
    if proxied && !proxiable(&kind) {
        return Err(Refusal::invalid(9_041, "This DNS record cannot be proxied."));
    }
    let ttl = match input.get("ttl") {
        None | Some(Value::Null) => before.map_or(1, |b| b.ttl),
        Some(given) => given.as_u64().and_then(|t| u32::try_from(t).ok()).unwrap_or_default(),
    };
    if ttl != 1 && !(60..=86_400).contains(&ttl) {
        let message = "Invalid TTL. Must be between 60 and 86400 seconds, or 1 for Automatic.";
        return Err(Refusal::invalid(9_021, message));
    }
    let comment = match input.get("comment") {
        None => before.and_then(|b| b.comment.clone()),
        Some(given) => given.as_str().filter(|c| !c.is_empty()).map(str::to_owned),
    };
    if comment.as_ref().is_some_and(|c| c.chars().count() > COMMENT || c.contains('\n')) {
        let message =
            format!("DNS record comment is too long or has a newline: the limit is {COMMENT} characters.");
        return Err(Refusal::invalid(9_313, message));
    }
    let tags: Vec<String> = match input.get("tags") {
        None => before.map(|b| b.tags.clone()).unwrap_or_default(),
        Some(given) => {
            given.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        }
    };
    if !tags.is_empty() {
        let message = format!("DNS record has {} tags, exceeding the quota of 0.", tags.len());
        return Err(Refusal::invalid(9_300, message));
    }
    let flatten = input.get("settings").and_then(|s| s.get("flatten_cname")).and_then(Value::as_bool);
    let flatten = flatten.unwrap_or_else(|| before.is_some_and(|b| b.flatten));
    // Proxied records have no TTL of their own.
    let ttl = if proxied { 1 } else { ttl };
    Ok(Fields { name, kind, content, ttl, proxied, comment, tags, flatten })
}

const TYPES: [&str; 12] =
    ["A", "AAAA", "CNAME", "TXT", "MX", "NS", "SRV", "CAA", "PTR", "TLSA", "HTTPS", "SVCB"];

/// What does not end with the zone is below it, whatever was meant.
fn full(name: &str, zone: &str) -> String {
    let absolute = absolute(name);
    if name == "@" || name.is_empty() {
        zone.to_owned()
    } else if within(&absolute, zone) {
        absolute
    } else {
        expand(name.trim_end_matches('.'), zone)
    }
}

pub(super) fn proxiable(kind: &str) -> bool {
    matches!(kind, "A" | "AAAA" | "CNAME")
}

fn canonical(kind: &str, content: &str) -> Outcome<String> {
    let invalid = |code, what: &str| {
        let message = format!("Content for {kind} record is invalid. {what}");
        Err(Refusal::invalid(code, message.trim_end().to_owned()))
    };
    match kind {
        "A" => match content.parse::<Ipv4Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => invalid(9_005, "Must be a valid IPv4 address."),
        },
        "AAAA" => match content.parse::<Ipv6Addr>() {
            Ok(address) => Ok(address.to_string()),
            Err(_) => invalid(9_006, "Must be a valid IPv6 address."),
        },
        "CNAME" => {
            let target = content.trim_end_matches('.').to_ascii_lowercase();
            if well_formed(&target) { Ok(target) } else { invalid(9_007, "") }
        }
        "TXT" if content.is_empty() => invalid(9_004, ""),
        "TXT" if content.len() > 4_096 => invalid(9_002, "It is longer than 4096 bytes."),
        _ => Ok(content.to_owned()),
    }
}

/// The text of a TXT without the quotes around it, which are kept as written but do not make two texts different.
pub(super) fn comparable(kind: &str, content: &str) -> String {
    if kind != "TXT" {
        return content.to_ascii_lowercase();
    }
    let inner = content.strip_prefix('"').and_then(|c| c.strip_suffix('"'));
    inner.unwrap_or(content).replace("\" \"", "")
}
