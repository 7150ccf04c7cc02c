//! From what a provider stores to what its servers answer: relative targets, missing quotes, proxies, flattened names.
//! It must never change what is stored.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, RecordType};

use super::name::absolute;
use super::rdata::{self, parse, quote, quoted_strings};
use super::world::World;
use super::zone::{Provider, RrSet, View, Zone};

/// What a server has of one name and type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub ttl: u32,
    pub data: Vec<RData>,
}

/// What an automatic TTL is worth.
const AUTO: u32 = 300;

/// Types whose last word is a name.
fn ends_with_name(kind: &str) -> bool {
    matches!(kind, "CNAME" | "NS" | "PTR" | "MX" | "SRV" | "DNAME")
}

/// Stored content as zone-file text with absolute names.
pub(crate) fn zone_text(zone: &Zone, kind: &str, content: &str) -> String {
    match zone.provider {
        Provider::Hetzner if ends_with_name(kind) && !content.ends_with('.') => {
            if content == "@" {
                return zone.name.clone();
            }
            format!("{content}.{}", zone.name)
        }
        Provider::Cloudflare | Provider::Hostinger if ends_with_name(kind) && !content.ends_with('.') => {
            format!("{content}.")
        }
        Provider::Cloudflare | Provider::Hostinger if kind == "TXT" && quoted_strings(content).is_none() => {
            quote(content.as_bytes().chunks(255))
        }
        _ => content.to_owned(),
    }
}

fn plain(zone: &Zone, kind: &str, set: &RrSet) -> Option<Shown> {
    let code = rdata::kind(kind)?;
    let live = set.values.iter().filter(|v| !v.disabled);
    let data: Vec<RData> =
        live.clone().filter_map(|v| parse(code, &zone_text(zone, kind, &v.content))).collect();
    let own = live.map(|v| v.ttl.or(set.ttl).unwrap_or(zone.ttl)).min()?;
    let ttl = if zone.provider == Provider::Cloudflare && own == 1 { AUTO } else { own };
    (!data.is_empty()).then_some(Shown { ttl, data })
}

fn proxied(view: View<'_>, name: &str) -> bool {
    ["A", "AAAA", "CNAME"]
        .iter()
        .filter_map(|kind| view.get(name, kind))
        .any(|set| set.values.iter().any(|v| v.proxied))
}

/// Where every proxied name leads to.
pub(crate) fn anycast(kind: RecordType) -> Option<Shown> {
    let v4 = |last| RData::A(A(Ipv4Addr::new(104, 16, 132, last)));
    let v6 = |last| RData::AAAA(AAAA(Ipv6Addr::new(0x2606, 0x4700, 0, 0, 0, 0, 0x6810, last)));
    let data = match kind {
        RecordType::A => vec![v4(229), v4(230)],
        RecordType::AAAA => vec![v6(0x84e5), v6(0x84e6)],
        _ => return None,
    };
    Some(Shown { ttl: AUTO, data })
}

/// The apex answers for its alias; an alias elsewhere does when it is told to.
fn flattened<'a>(zone: &Zone, view: View<'a>, name: &str) -> Option<&'a str> {
    let alias = view.get(name, "CNAME")?.values.first()?;
    (zone.provider == Provider::Cloudflare && (name == zone.name || alias.flatten))
        .then_some(alias.content.as_str())
}

/// Records of a name and type as a server shows them.
pub(crate) fn shown(
    world: &World,
    zone: &Zone,
    view: View<'_>,
    name: &str,
    kind: RecordType,
    depth: u8,
) -> Option<Shown> {
    let text = rdata::kind_name(kind);
    if name == zone.name && kind == RecordType::SOA {
        let data = parse(kind, &zone.soa.content(view.serial()))?;
        return Some(Shown { ttl: zone.soa.ttl, data: vec![data] });
    }
    if name == zone.name && kind == RecordType::NS && view.get(name, "NS").is_none() {
        let data: Vec<RData> = zone.servers.iter().filter_map(|s| parse(kind, s)).collect();
        return (!data.is_empty()).then_some(Shown { ttl: zone.soa.ttl, data });
    }
    let web = matches!(kind, RecordType::A | RecordType::AAAA | RecordType::CNAME);
    if zone.provider == Provider::Cloudflare && web && proxied(view, name) {
        return anycast(kind);
    }
    if web && let Some(target) = flattened(zone, view, name) {
        let found = if kind == RecordType::CNAME { None } else { resolve(world, target, kind, depth) };
        return found.map(|shown| Shown { ttl: AUTO.min(shown.ttl), ..shown });
    }
    plain(zone, &text, view.get(name, &text)?)
}

/// Types that a server has at a name.
pub(crate) fn kinds(world: &World, zone: &Zone, view: View<'_>, name: &str) -> Vec<RecordType> {
    let mut all: Vec<RecordType> = view.kinds(name).into_iter().filter_map(rdata::kind).collect();
    if name == zone.name {
        all.extend([RecordType::SOA, RecordType::NS]);
    }
    if zone.provider == Provider::Cloudflare {
        all.extend([RecordType::A, RecordType::AAAA]);
    }
    all.sort_by_key(|k| u16::from(*k));
    all.dedup();
    all.retain(|kind| shown(world, zone, view, name, *kind, 0).is_some());
    all
}

/// The addresses that a name leads to in this world, for a server that looks them up itself.
pub(crate) fn resolve(world: &World, name: &str, kind: RecordType, depth: u8) -> Option<Shown> {
    if depth > 8 {
        return None;
    }
    let name = absolute(name);
    let holders = world.zones.values().filter(|z| super::name::within(&name, &z.name));
    let zone = holders.max_by_key(|z| z.name.len())?;
    let view = zone.served(world.now.saturating_sub(zone.publish).min(zone.frozen.unwrap_or(Duration::MAX)));
    if let Some(found) = shown(world, zone, view, &name, kind, depth + 1) {
        return Some(found);
    }
    let alias = shown(world, zone, view, &name, RecordType::CNAME, depth + 1)?;
    match alias.data.first() {
        Some(RData::CNAME(target)) => resolve(world, &target.0.to_ascii(), kind, depth + 1),
        _ => None,
    }
}
