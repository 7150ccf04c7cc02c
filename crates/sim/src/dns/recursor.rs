//! A recursive resolver that caches, also what is not there: it shows a client who asks too early what that costs.
//! It must never see a store: it asks the world's servers as everybody does.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA};
use hickory_proto::rr::{RData, RecordType};

use super::authority::{self, Rrs, Said};
use super::message::{edns, fill, finish, refusal, reply, room};
use super::name::{absolute, within};
use super::order::Out;
use super::server::{Mode, Server};
use super::world::World;
use super::zone::Delegation;

/// Where it is.
pub const ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(198, 18, 255, 53)), 53);

/// Answers with the time until when they are kept.
#[derive(Default)]
pub(crate) struct Cache(BTreeMap<(String, u16), (Duration, Said)>);

pub(crate) fn answer(world: &mut World, bytes: &[u8], tcp: bool) -> Out {
    let request = match Message::from_vec(bytes) {
        Ok(request) if request.op_code == OpCode::Query && request.recursion_desired => request,
        Ok(_) => return Out::Messages(refusal(bytes, ResponseCode::Refused)),
        Err(_) => return Out::Messages(refusal(bytes, ResponseCode::FormErr)),
    };
    let mut answer = reply(&request);
    answer.metadata.recursion_available = true;
    if let [asked] = request.queries.as_slice() {
        let name = absolute(&asked.name().to_ascii());
        let said = lookup(world, &name, asked.query_type());
        fill(&mut answer, &Said { authoritative: false, ..said });
    } else {
        answer.metadata.response_code = ResponseCode::FormErr;
    }
    if request.edns.is_some() {
        answer.set_edns(edns(world.options.udp));
    }
    let limit = if tcp { 65_535 } else { room(&request, world.options.udp) };
    Out::Messages(vec![finish(answer, None, 0, limit)])
}

fn lookup(world: &mut World, name: &str, kind: RecordType) -> Said {
    let mut said = Said::nothing(ResponseCode::NoError);
    let mut at = name.to_owned();
    for _ in 0..9 {
        let step = cached(world, &at, kind);
        said.code = step.code;
        said.authorities = step.authorities;
        let target = step.answers.iter().rev().find_map(|rrs| match rrs.data.first() {
            Some(RData::CNAME(target)) if kind != RecordType::CNAME => Some(absolute(&target.0.to_ascii())),
            _ => None,
        });
        let found = step.answers.iter().any(|r| r.data.iter().any(|d| d.record_type() == kind));
        said.answers.extend(step.answers);
        match target.filter(|_| !found) {
            Some(target) => at = target,
            None => break,
        }
    }
    said
}

fn cached(world: &mut World, name: &str, kind: RecordType) -> Said {
    let key = (name.to_owned(), u16::from(kind));
    let now = world.now;
    if let Some((until, said)) = world.cache.0.get(&key)
        && now < *until
    {
        let left = u32::try_from((*until - now).as_secs()).unwrap_or(u32::MAX);
        let mut said = said.clone();
        for rrs in said.answers.iter_mut().chain(&mut said.authorities) {
            rrs.ttl = rrs.ttl.min(left);
        }
        return said;
    }
    let said = ask(world, name, kind);
    let ttl = said.answers.iter().chain(&said.authorities).map(|r| r.ttl).min();
    // A failure is not kept.
    if let Some(ttl) = ttl.filter(|_| said.code != ResponseCode::ServFail) {
        world.cache.0.insert(key, (now + Duration::from_secs(u64::from(ttl)), said.clone()));
    }
    said
}

/// From the topmost zone that the registry knows down along the delegations.
fn ask(world: &World, name: &str, kind: RecordType) -> Said {
    if let Some(server) = world.servers.get(name) {
        return own(server, name, kind);
    }
    let known = |d: Delegation| matches!(d, Delegation::Valid | Delegation::PartiallyValid);
    let zones = world.zones.values().filter(|z| within(name, &z.name) && known(z.delegation));
    let Some(top) = zones.min_by_key(|z| z.name.len()) else {
        return Said::nothing(ResponseCode::NXDomain);
    };
    let mut servers = top.servers.clone();
    for _ in 0..8 {
        let live = |s: &&Server| matches!(s.mode, Mode::Answers | Mode::Stuck(_));
        let answers = servers
            .iter()
            .filter_map(|s| world.servers.get(s))
            .filter(live)
            .map(|server| authority::answer(world, server, name, kind));
        let Some(said) = answers.into_iter().find(|s| s.code != ResponseCode::Refused) else { break };
        let next: Vec<String> =
            said.authorities.iter().flat_map(|r| &r.data).filter_map(server_name).collect();
        if said.authoritative || next.is_empty() {
            return said;
        }
        servers = next;
    }
    Said::nothing(ResponseCode::ServFail)
}

fn server_name(data: &RData) -> Option<String> {
    match data {
        RData::NS(name) => Some(absolute(&name.0.to_ascii())),
        _ => None,
    }
}

/// The address of one of the world's servers.
fn own(server: &Server, name: &str, kind: RecordType) -> Said {
    let data = match kind {
        RecordType::A => vec![RData::A(A(server.v4))],
        RecordType::AAAA => vec![RData::AAAA(AAAA(server.v6))],
        _ => Vec::new(),
    };
    let answers = vec![Rrs { name: name.to_owned(), ttl: 3_600, data }];
    Said { answers, ..Said::nothing(ResponseCode::NoError) }
}
