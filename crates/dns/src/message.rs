//! DNS messages from and to the words of the model. Everything that comes in is a stranger's: nothing here panics on it.

use berth_model::dns::{Fqdn, RecordData, RecordType, TxtData, txt};
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType as Kind};

/// What a server may send in one datagram: what passes everywhere without being cut up on the way.
const DATAGRAM: u16 = 1232;

/// The type as the library calls it.
pub(crate) fn kind(kind: RecordType) -> Kind {
    match kind {
        RecordType::A => Kind::A,
        RecordType::Aaaa => Kind::AAAA,
        RecordType::Cname => Kind::CNAME,
        RecordType::Txt => Kind::TXT,
    }
}

/// The type, if it is one that Berth writes.
pub(crate) fn known(kind: Kind) -> Option<RecordType> {
    RecordType::ALL.into_iter().find(|k| self::kind(*k) == kind)
}

/// The name in a message. A name of the model always fits.
pub(crate) fn name(name: &Fqdn) -> Option<Name> {
    let mut out = Name::from_labels(name.labels().map(str::as_bytes)).ok()?;
    out.set_fqdn(true);
    Some(out)
}

/// The name of a message, if it is one that the model can say.
pub(crate) fn fqdn(name: &Name) -> Option<Fqdn> {
    let mut text = String::new();
    for label in name.iter() {
        text.push_str(std::str::from_utf8(label).ok()?);
        text.push('.');
    }
    // A dot inside of a label would make another name of it.
    let labels = name.iter().count();
    Fqdn::new(&text).ok().filter(|n| n.labels().count() == labels)
}

/// A value in a message, with its text in chunks of 255 bytes.
pub(crate) fn rdata(data: &RecordData) -> Option<RData> {
    Some(match data {
        RecordData::A(ip) => RData::A(A::from(*ip)),
        RecordData::Aaaa(ip) => RData::AAAA(AAAA::from(*ip)),
        RecordData::Cname(target) => RData::CNAME(CNAME(name(target)?)),
        RecordData::Txt(text) if text.bytes().is_empty() => RData::TXT(TXT::from_bytes(vec![&[]])),
        RecordData::Txt(text) => RData::TXT(TXT::from_bytes(text.bytes().chunks(txt::CHUNK).collect())),
    })
}

/// A value of a message, if the model can say it.
pub(crate) fn data(rdata: &RData) -> Option<RecordData> {
    Some(match rdata {
        RData::A(a) => RecordData::A(a.0),
        RData::AAAA(aaaa) => RecordData::Aaaa(aaaa.0),
        RData::CNAME(target) => RecordData::Cname(fqdn(&target.0).filter(|t| !t.is_wildcard())?),
        RData::TXT(text) => RecordData::Txt(TxtData::from(text.txt_data.concat().as_slice())),
        _ => return None,
    })
}

/// A value of a message as it is shown. Never longer than a line.
pub(crate) fn shown(record: &Record) -> String {
    let text = match data(&record.data) {
        Some(data) => format!("{data:?}"),
        None => format!("{} {}", record.record_type(), record.data),
    };
    berth_wire::redact::cap(&text, 120)
}

/// A question. `recursive` asks for an answer from wherever it can be had.
pub(crate) fn question(id: u16, of: &Name, kind: Kind, recursive: bool, edns: bool) -> Message {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = recursive;
    message.add_query(Query::query(of.clone(), kind));
    if edns {
        let mut options = Edns::new();
        options.set_max_payload(DATAGRAM);
        message.set_edns(options);
    }
    message
}

/// How many records a message claims to have, before any of them is read.
pub(crate) fn claims(bytes: &[u8]) -> usize {
    let count = |at: usize| bytes.get(at..at + 2).map_or(0, |b| usize::from(b[0]) << 8 | usize::from(b[1]));
    count(6) + count(8) + count(10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_go_through_a_message_and_back() {
        for text in ["app.example.com", "*.example.com", "_berth-a._wildcard.example.com", "com"] {
            let there = name(&Fqdn::new(text).unwrap()).unwrap();
            assert_eq!(fqdn(&there).unwrap().as_str(), text);
        }
        let long = format!("TXT \"{}\"", "x".repeat(600));
        for text in
            ["A 192.0.2.1", "AAAA 2001:db8::1", "CNAME a.b", "TXT \"a \\\"b\\\" \\255\"", "TXT \"\"", &long]
        {
            let value = RecordData::try_from(text.to_owned()).unwrap();
            let there = rdata(&value).unwrap();
            let mut message = question(7, &name(&Fqdn::new("a.b").unwrap()).unwrap(), Kind::A, false, true);
            message.add_answer(Record::from_rdata(Name::from_ascii("a.b.").unwrap(), 60, there));
            let read = Message::from_vec(&message.to_vec().unwrap()).unwrap();
            assert_eq!(data(&read.answers[0].data), Some(value), "{text}");
        }
    }

    #[test]
    fn names_that_the_model_cannot_say_are_none() {
        let odd = [&[&b"a.b"[..], b"c"][..], &[b"\xff"], &[b"a b"], &[]];
        for labels in odd {
            assert_eq!(fqdn(&Name::from_labels(labels.iter().copied()).unwrap()), None, "{labels:?}");
        }
        assert_eq!(fqdn(&Name::from_ascii("APP.Example.com.").unwrap()).unwrap().as_str(), "app.example.com");
    }

    #[test]
    fn counts_are_read_without_reading_records() {
        assert_eq!(claims(&[]), 0);
        assert_eq!(claims(&[0; 12]), 0);
        assert_eq!(claims(&[0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 0, 2]), 0xffff + 3);
    }
}
