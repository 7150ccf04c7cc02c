//! Messages to name servers, bytes in and bytes out: who is asked, what for, what fits into an answer.
//! What cannot be read must never be answered with more than an error.

use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, ResponseCode};
use hickory_proto::rr::{Record, RecordData as _, RecordType};

use super::authority::{self, Rrs, Said};
use super::name::absolute;
use super::order::Out;
use super::rdata;
use super::server::{Mode, Server};
use super::tsig::{self, Signed, Wrong};
use super::world::World;
use super::zone::Provider;
use super::{recursor, transfer, update};
use crate::ledger::Subject;

/// The response code of an answer, for the book.
pub(crate) fn code(bytes: &[u8]) -> u16 {
    bytes.get(3).map_or(0, |b| u16::from(b & 0x0f))
}

pub(crate) fn is_update(bytes: &[u8]) -> bool {
    bytes.get(2).is_some_and(|b| (b >> 3) & 0x0f == 5)
}

/// An error and nothing else.
pub(crate) fn refusal(bytes: &[u8], code: ResponseCode) -> Vec<Vec<u8>> {
    let Ok(request) = Message::from_vec(bytes) else {
        let Some(id) = bytes.get(..2) else { return Vec::new() };
        let id = u16::from_be_bytes([id[0], id[1]]);
        return vec![Message::error_msg(id, OpCode::Query, code).to_vec().unwrap_or_default()];
    };
    let mut answer = reply(&request);
    answer.metadata.response_code = code;
    vec![answer.to_vec().unwrap_or_default()]
}

/// An empty answer to a request.
pub(crate) fn reply(request: &Message) -> Message {
    let mut answer = Message::response(request.id, request.op_code);
    answer.metadata.recursion_desired = request.recursion_desired;
    answer.add_queries(request.queries.iter().cloned());
    answer
}

pub(crate) fn subject(world: &World, server: SocketAddr, bytes: &[u8]) -> Subject {
    let name = world.server_at(server).map_or_else(|| server.to_string(), |s| s.name.clone());
    let Ok(request) = Message::from_vec(bytes) else {
        return Subject { procedure: "dns.unreadable".to_owned(), summary: name, ..Subject::default() };
    };
    let asked = request.queries.first();
    let title = asked.map_or_else(String::new, |q| absolute(&q.name().to_ascii()));
    let kind = asked.map_or(RecordType::ZERO, |q| q.query_type());
    let transfer = matches!(kind, RecordType::AXFR | RecordType::IXFR);
    let served = world.server_at(server).and_then(|s| world.zone_served(s, &title));
    let (procedure, zone) = match request.op_code {
        OpCode::Update => ("dns.update", Some(title.clone())),
        OpCode::Query if transfer => ("dns.transfer", Some(title.clone())),
        OpCode::Query => ("dns.query", served.map(|z| z.name.clone())),
        _ => ("dns.other", None),
    };
    let mut summary = format!("{title} {kind} @{name}");
    for record in request.answers.iter().take(20) {
        summary.push_str(&format!(" require {} {} {}", record.name, record.dns_class, record.record_type()));
    }
    for record in request.authorities.iter().take(20) {
        let data = match record.data.is_update() {
            true => String::new(),
            false => rdata::show(&record.data),
        };
        let what = format!(" {} {} {} {data}", record.name, record.dns_class, record.record_type());
        summary.push_str(what.trim_end());
    }
    Subject {
        key: request.signature().map(|s| absolute(&s.name.to_ascii())).unwrap_or_default(),
        procedure: procedure.to_owned(),
        zone,
        summary,
        mutation: request.op_code == OpCode::Update,
        items: request.authorities.len().max(1),
    }
}

pub(crate) fn answer(world: &mut World, address: SocketAddr, bytes: &[u8], tcp: bool) -> Out {
    if address == recursor::ADDRESS {
        return recursor::answer(world, bytes, tcp);
    }
    let Some(server) = world.server_at(address).cloned() else { return Out::Silence };
    match server.mode {
        Mode::Silent => return Out::Silence,
        Mode::Refuses => return Out::Messages(refusal(bytes, ResponseCode::Refused)),
        Mode::Fails => return Out::Messages(refusal(bytes, ResponseCode::ServFail)),
        Mode::Answers | Mode::Lame | Mode::Stuck(_) => {}
    }
    let Ok(request) = Message::from_vec(bytes) else {
        return Out::Messages(refusal(bytes, ResponseCode::FormErr));
    };
    if request.message_type == MessageType::Response {
        return Out::Silence;
    }
    let now = world.seconds(world.now) + server.skew;
    let signed = match tsig::check(&server, &request, bytes, now) {
        Ok(signed) => signed,
        Err(wrong) => return Out::Messages(complaint(world, &server, &request, &wrong, now)),
    };
    let kind = request.queries.first().map(|q| q.query_type());
    let answers = match request.op_code {
        OpCode::Query if matches!(kind, Some(RecordType::AXFR | RecordType::IXFR)) => {
            let answers = transfer::answer(world, &server, &request, signed.as_ref(), tcp);
            return Out::Messages(finish_all(answers, signed.as_ref(), now));
        }
        OpCode::Query => query(world, &server, &request),
        OpCode::Update => update::answer(world, &server, &request, signed.as_ref()),
        _ => {
            let mut answer = reply(&request);
            answer.metadata.response_code = ResponseCode::NotImp;
            answer
        }
    };
    let limit = if tcp { 65_535 } else { room(&request, world.options.udp) };
    Out::Messages(vec![finish(answers, signed.as_ref(), now, limit)])
}

/// Payload that fits into a datagram to whoever asked.
pub(crate) fn room(request: &Message, own: u16) -> usize {
    let theirs = if request.edns.is_some() { request.max_payload() } else { 512 };
    usize::from(theirs.min(own))
}

fn complaint(world: &World, server: &Server, request: &Message, wrong: &Wrong, now: i64) -> Vec<Vec<u8>> {
    let mut answer = reply(request);
    answer.queries.clear();
    answer.add_queries(request.queries.iter().cloned());
    let power =
        world.zones.values().any(|z| z.provider == Provider::PowerDns && z.servers.contains(&server.name));
    if power {
        // PowerDNS says no more than that.
        answer.metadata.response_code = ResponseCode::Refused;
    } else {
        answer.metadata.response_code = ResponseCode::NotAuth;
        tsig::complain(&mut answer, wrong, now);
    }
    vec![answer.to_vec().unwrap_or_default()]
}

fn query(world: &World, server: &Server, request: &Message) -> Message {
    let mut answer = reply(request);
    let [asked] = request.queries.as_slice() else {
        answer.metadata.response_code = ResponseCode::FormErr;
        return answer;
    };
    let said = authority::answer(world, server, &asked.name().to_ascii(), asked.query_type());
    fill(&mut answer, &said);
    // The asked name comes back as it was written.
    let written = asked.name().clone();
    for record in &mut answer.answers {
        if record.name == written {
            record.name = written.clone();
        }
    }
    if request.edns.is_some() {
        answer.set_edns(edns(world.options.udp));
    }
    answer
}

pub(crate) fn edns(size: u16) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    edns
}

pub(crate) fn fill(answer: &mut Message, said: &Said) {
    answer.metadata.response_code = said.code;
    answer.metadata.authoritative = said.authoritative;
    let records = |all: &[Rrs]| -> Vec<Record> { all.iter().flat_map(rrs).collect() };
    answer.add_answers(records(&said.answers));
    answer.add_authorities(records(&said.authorities));
    answer.add_additionals(records(&said.additionals));
}

pub(crate) fn rrs(rrs: &Rrs) -> Vec<Record> {
    let Some(name) = rdata::name(&rrs.name) else { return Vec::new() };
    rrs.data.iter().map(|data| Record::from_rdata(name.clone(), rrs.ttl, data.clone())).collect()
}

/// Cuts what does not fit, signs, and makes bytes of it.
pub(crate) fn finish(mut answer: Message, signed: Option<&Signed>, now: i64, limit: usize) -> Vec<u8> {
    let bare = answer.clone();
    let bytes = |answer: &mut Message| {
        if let Some(signed) = signed {
            tsig::sign(answer, signed, now);
        }
        answer.to_vec().unwrap_or_default()
    };
    let whole = bytes(&mut answer);
    if whole.len() <= limit {
        return whole;
    }
    bytes(&mut bare.truncate())
}

fn finish_all(mut answers: Vec<Message>, signed: Option<&Signed>, now: i64) -> Vec<Vec<u8>> {
    if let Some(signed) = signed {
        tsig::sign_all(&mut answers, signed, now);
    }
    answers.iter().map(|answer| answer.to_vec().unwrap_or_default()).collect()
}
