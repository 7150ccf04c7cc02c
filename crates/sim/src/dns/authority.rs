//! What an authoritative server says to a question: answers, aliases, wildcards, referrals, what is not there.
//! It must never answer for a zone that it does not serve.

use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{RData, RecordType};

use super::name::{absolute, parent, within};
use super::publish::{Shown, kinds, shown};
use super::server::{Mode, Server};
use super::world::World;
use super::zone::{Provider, View, Zone};

/// Records of one name.
#[derive(Clone, Debug)]
pub(crate) struct Rrs {
    pub name: String,
    pub ttl: u32,
    pub data: Vec<RData>,
}

#[derive(Clone, Debug)]
pub(crate) struct Said {
    pub code: ResponseCode,
    pub authoritative: bool,
    pub answers: Vec<Rrs>,
    pub authorities: Vec<Rrs>,
    pub additionals: Vec<Rrs>,
}

impl Said {
    pub(crate) fn nothing(code: ResponseCode) -> Said {
        Said {
            code,
            authoritative: false,
            answers: Vec::new(),
            authorities: Vec::new(),
            additionals: Vec::new(),
        }
    }

    fn from_authority() -> Said {
        Said { authoritative: true, ..Said::nothing(ResponseCode::NoError) }
    }
}

fn rrs(name: &str, shown: Shown) -> Rrs {
    Rrs { name: name.to_owned(), ttl: shown.ttl, data: shown.data }
}

/// The SOA with the TTL of a negative answer.
fn negative(world: &World, zone: &Zone, view: View<'_>) -> Option<Rrs> {
    let soa = shown(world, zone, view, &zone.name, RecordType::SOA, 0)?;
    Some(Rrs { ttl: zone.soa.ttl.min(zone.soa.minimum), ..rrs(&zone.name, soa) })
}

/// The delegation at or above a name, below the zone's own.
fn cut<'a>(zone: &Zone, view: View<'_>, name: &'a str) -> Option<&'a str> {
    let mut found = None;
    let mut at = Some(name);
    while let Some(here) = at.filter(|n| *n != zone.name) {
        if view.get(here, "NS").is_some() {
            found = Some(here);
        }
        at = parent(here);
    }
    found
}

/// Something stands at the name, or below it.
fn exists(zone: &Zone, view: View<'_>, name: &str) -> bool {
    let live = |set: &super::zone::RrSet| set.values.iter().any(|v| !v.disabled);
    name == zone.name || view.iter().any(|(at, _, set)| within(at, name) && live(set))
}

/// The wildcard that covers a name which is not there.
fn wildcard(zone: &Zone, view: View<'_>, name: &str) -> Option<String> {
    let mut at = parent(name);
    while let Some(here) = at.filter(|n| within(n, &zone.name)) {
        if exists(zone, view, here) {
            let star = format!("*.{here}");
            return (!view.kinds(&star).is_empty()).then_some(star);
        }
        at = parent(here);
    }
    None
}

pub(crate) fn answer(world: &World, server: &Server, name: &str, kind: RecordType) -> Said {
    let name = absolute(name);
    let Some(zone) = world.zone_served(server, &name) else {
        return Said::nothing(ResponseCode::Refused);
    };
    if server.mode == Mode::Lame {
        return Said::nothing(ResponseCode::NoError);
    }
    if world.shown(server, zone) < zone.created {
        // The zone has not come here yet.
        return Said::nothing(ResponseCode::Refused);
    }
    let view = zone.served(world.shown(server, zone));
    let mut said = Said::from_authority();
    let mut at = name;
    for _ in 0..12 {
        match step(world, zone, view, &at, kind, &mut said) {
            // Where an alias leaves the zone the client has to go on.
            Some(target) if within(&target, &zone.name) => at = target,
            _ => return said,
        }
    }
    said.code = ResponseCode::ServFail;
    said
}

/// One name of a chain; tells where it goes on.
fn step(
    world: &World,
    zone: &Zone,
    view: View<'_>,
    at: &str,
    kind: RecordType,
    said: &mut Said,
) -> Option<String> {
    if let Some(cut) = cut(zone, view, at).filter(|cut| kind != RecordType::DS || *cut != at) {
        refer(world, zone, view, cut, said);
        return None;
    }
    let source = if exists(zone, view, at) { Some(at.to_owned()) } else { wildcard(zone, view, at) };
    let Some(source) = source else {
        said.code = ResponseCode::NXDomain;
        said.authorities.extend(negative(world, zone, view));
        return None;
    };
    if kind == RecordType::ANY {
        for kind in kinds(world, zone, view, &source) {
            said.answers.extend(shown(world, zone, view, &source, kind, 0).map(|s| rrs(at, s)));
        }
        return None;
    }
    if kind != RecordType::CNAME
        && let Some(alias) = shown(world, zone, view, &source, RecordType::CNAME, 0)
    {
        let target = alias.data.first().and_then(|data| match data {
            RData::CNAME(target) => Some(absolute(&target.0.to_ascii())),
            _ => None,
        });
        if !said.answers.iter().any(|r| r.name == at) {
            said.answers.push(rrs(at, alias));
        }
        return target;
    }
    match shown(world, zone, view, &source, kind, 0) {
        Some(found) => {
            said.answers.push(rrs(at, found));
            if zone.provider == Provider::Rfc2136 && (kind != RecordType::NS || at != zone.name) {
                // BIND names the zone's servers beside what was asked for.
                let servers = shown(world, zone, view, &zone.name, RecordType::NS, 0);
                said.authorities.extend(servers.map(|s| rrs(&zone.name, s)));
            }
        }
        None => said.authorities.extend(negative(world, zone, view)),
    }
    None
}

fn refer(world: &World, zone: &Zone, view: View<'_>, cut: &str, said: &mut Said) {
    let Some(servers) = shown(world, zone, view, cut, RecordType::NS, 0) else { return };
    said.authoritative = !said.answers.is_empty();
    for data in &servers.data {
        let RData::NS(target) = data else { continue };
        let target = absolute(&target.0.to_ascii());
        if within(&target, &zone.name) {
            for kind in [RecordType::A, RecordType::AAAA] {
                let glue = shown(world, zone, view, &target, kind, 0);
                said.additionals.extend(glue.map(|g| rrs(&target, g)));
            }
        }
    }
    said.authorities.push(rrs(cut, servers));
}
