//! A whole zone in one answer of several messages. It must never go out to a key that may not have it.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Record, RecordType};

use super::authority::Rrs;
use super::message::{reply, rrs};
use super::name::absolute;
use super::publish::shown;
use super::server::Server;
use super::tsig::Signed;
use super::world::World;
use super::zone::Zone;

/// Records of one message.
const PIECE: usize = 100;

pub(crate) fn answer(
    world: &World,
    server: &Server,
    request: &Message,
    signed: Option<&Signed>,
    tcp: bool,
) -> Vec<Message> {
    let mut first = reply(request);
    let refuse = |mut answer: Message, code| {
        answer.metadata.response_code = code;
        vec![answer]
    };
    let ([asked], true) = (request.queries.as_slice(), tcp) else {
        return refuse(first, ResponseCode::FormErr);
    };
    let name = absolute(&asked.name().to_ascii());
    let Some(zone) = world.zone_served(server, &name).filter(|z| z.name == name) else {
        return refuse(first, ResponseCode::NotAuth);
    };
    let may = zone.transfers.iter().any(|k| k == "*" || signed.is_some_and(|s| s.key.name == *k));
    if !may {
        return refuse(first, ResponseCode::Refused);
    }
    first.metadata.authoritative = true;
    let records = records(world, server, zone);
    let mut pieces = records.chunks(PIECE).map(|piece| {
        let mut message = first.clone();
        message.add_answers(piece.iter().cloned());
        message
    });
    let mut out: Vec<Message> = pieces.by_ref().take(1).collect();
    // Only the first one repeats the question.
    out.extend(pieces.map(|mut message| {
        message.queries.clear();
        message
    }));
    out
}

/// Everything, with the SOA at both ends.
fn records(world: &World, server: &Server, zone: &Zone) -> Vec<Record> {
    let view = zone.served(world.shown(server, zone));
    let of = |name: &str, kind| {
        let found = shown(world, zone, view, name, kind, 0);
        found.map(|s| rrs(&Rrs { name: name.to_owned(), ttl: s.ttl, data: s.data })).unwrap_or_default()
    };
    let soa = of(&zone.name, RecordType::SOA);
    let mut out = soa.clone();
    if view.get(&zone.name, "NS").is_none() {
        out.extend(of(&zone.name, RecordType::NS));
    }
    for (name, kind, _) in view.iter() {
        if let Some(kind) = super::rdata::kind(kind) {
            out.extend(of(name, kind));
        }
    }
    out.extend(soa);
    out
}
