//! What one answer means for what is expected.

use crate::message::{data, known, shown};
use berth_model::dns::{Expected, RecordKey, RecordType, ServerSays};
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType as Kind};
use std::collections::BTreeSet;

/// Values of one answer that are shown.
const SHOWN: usize = 10;

/// Judges an answer to a question for `kind` records of `name`. `recursive`: of a recursor, who is never authoritative.
pub(super) fn judge(
    answer: &Message,
    name: &Name,
    kind: Kind,
    key: &RecordKey,
    expected: &Expected,
    recursive: bool,
) -> ServerSays {
    let code = answer.response_code;
    if !matches!(code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return ServerSays::NotServed { why: format!("{code:?}").to_uppercase() };
    }
    if !answer.authoritative && !recursive {
        let to: BTreeSet<_> =
            answer.authorities.iter().filter(|r| r.record_type() == Kind::NS).map(shown).collect();
        if code == ResponseCode::NoError && answer.answers.is_empty() && !to.is_empty() {
            return ServerSays::Referral { to: to.into_iter().take(SHOWN).map(Into::into).collect() };
        }
        return ServerSays::NotServed { why: "its answer is not authoritative".to_owned() };
    }
    if *expected == Expected::Presence {
        return presence(answer, kind);
    }
    let own: Vec<&Record> = answer.answers.iter().filter(|r| r.name.to_lowercase() == *name).collect();
    let values: Vec<&&Record> = own.iter().filter(|r| r.record_type() == kind).collect();
    let led: Vec<&&Record> =
        own.iter().filter(|r| r.record_type() == Kind::CNAME && key.kind != RecordType::Cname).collect();
    let seen = if values.is_empty() { &led } else { &values };
    let ttl = seen.iter().map(|r| r.ttl).min();
    let got: BTreeSet<_> = values.iter().map(|r| data(&r.data)).collect();
    let other = || ServerSays::Other {
        values: seen.iter().take(SHOWN).map(|r| shown(r).into()).collect(),
        ttl: ttl.unwrap_or(0),
    };
    match expected {
        Expected::Gone(gone) => {
            if got.iter().flatten().any(|v| gone.contains(v)) {
                other()
            } else {
                ServerSays::Right { ttl }
            }
        }
        _ if seen.is_empty() => missing(answer),
        Expected::Values { ours, beside } => {
            let all = ours.iter().all(|v| got.contains(&Some(v.clone())));
            let only = got.iter().all(|v| v.as_ref().is_some_and(|v| ours.contains(v) || beside.contains(v)));
            if all && only { ServerSays::Right { ttl } } else { other() }
        }
        Expected::Presence => presence(answer, kind),
    }
}

/// Any address, whatever leads to it.
fn presence(answer: &Message, kind: Kind) -> ServerSays {
    let there = answer.answers.iter().filter(|r| r.record_type() == kind && known(kind).is_some());
    match there.map(|r| r.ttl).min() {
        Some(ttl) => ServerSays::Right { ttl: Some(ttl) },
        None => missing(answer),
    }
}

fn missing(answer: &Message) -> ServerSays {
    // The shorter of the SOA's own lifetime and its last field.
    let negative_ttl = answer.authorities.iter().find_map(|r| match &r.data {
        RData::SOA(soa) => Some(r.ttl.min(soa.minimum)),
        _ => None,
    });
    ServerSays::Missing { name: answer.response_code == ResponseCode::NXDomain, negative_ttl }
}

/// Judges an answer to a question for the zone's SOA.
pub(super) fn serves(answer: &Message, name: &Name) -> ServerSays {
    let soa = answer.answers.iter().find(|r| r.record_type() == Kind::SOA && r.name.to_lowercase() == *name);
    match soa {
        Some(soa) if answer.authoritative => ServerSays::Right { ttl: Some(soa.ttl) },
        _ => ServerSays::NotServed {
            why: match answer.response_code {
                ResponseCode::NoError => "its answer is not authoritative".to_owned(),
                code => format!("{code:?}").to_uppercase(),
            },
        },
    }
}

#[cfg(test)]
#[path = "answer_tests.rs"]
mod tests;
