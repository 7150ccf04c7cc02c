//! Messages for tests: questions and signed updates, and what came back in short.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::tsig::TsigError;
use hickory_proto::rr::{DNSClass, Name, Record, RecordType, TSigVerifier, TSigner};
use jiff::Timestamp;

use crate::dns::rdata;
use crate::dns::server::{Algorithm, TsigKey};
use crate::dns::{Options, Provider, RESOLVER, Sim};

pub(super) const KEY: &str = "berth-key.";
pub(super) const SECRET: &[u8] = b"a secret of thirty-two bytes....";

pub(super) fn name(text: &str) -> Name {
    rdata::name(text).expect("a name")
}

pub(super) fn question(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(7, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(name(text), kind));
    message
}

/// What an answer says, in one line.
pub(super) fn brief(message: &Message) -> String {
    let mut out = message.response_code.to_string().to_lowercase();
    out = match message.response_code {
        ResponseCode::NoError => "noerror".to_owned(),
        ResponseCode::NXDomain => "nxdomain".to_owned(),
        ResponseCode::Refused => "refused".to_owned(),
        ResponseCode::ServFail => "servfail".to_owned(),
        _ => out,
    };
    if message.authoritative {
        out.push_str(" aa");
    }
    if message.truncation {
        out.push_str(" tc");
    }
    for (title, records) in [("", &message.answers), (" /", &message.authorities)] {
        let mut lines: Vec<String> = records.iter().map(record).collect();
        lines.sort();
        if !lines.is_empty() {
            out.push_str(&format!("{title} {}", lines.join(", ")));
        }
    }
    out
}

fn record(record: &Record) -> String {
    let data = rdata::show(&record.data);
    let data = if record.record_type() == RecordType::SOA { String::new() } else { format!(" {data}") };
    format!("{} {} {}{data}", record.name, record.ttl, rdata::kind_name(record.record_type()))
}

/// Sends a message to a server of the world.
pub(super) async fn send(sim: &Sim, server: &str, bytes: &[u8], tcp: bool) -> Vec<Message> {
    let address = sim.with(|w| w.server(server).address());
    let out = sim.exchange(address, bytes, tcp).await.expect("an answer");
    out.iter().map(|b| Message::from_vec(b).expect("a message")).collect()
}

pub(super) async fn ask(sim: &Sim, server: &str, text: &str, kind: RecordType) -> String {
    let bytes = question(text, kind).to_vec().expect("bytes");
    brief(&send(sim, server, &bytes, false).await[0])
}

/// Asks the resolver that caches.
pub(super) async fn resolve(sim: &Sim, text: &str, kind: RecordType) -> String {
    let mut message = question(text, kind);
    message.metadata.recursion_desired = true;
    let out = sim.exchange(RESOLVER, &message.to_vec().expect("bytes"), false).await.expect("an answer");
    brief(&Message::from_vec(&out[0]).expect("a message"))
}

pub(super) fn with_room(mut message: Message, size: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    message.set_edns(edns);
    message
}

/// A world with one zone that takes updates and transfers by a key.
pub(super) fn updatable(provider: Provider, types: &[&str]) -> Sim {
    updatable_at(provider, types, Options::default().epoch)
}

pub(super) fn updatable_at(provider: Provider, types: &[&str], epoch: Timestamp) -> Sim {
    let sim = Sim::new(Options { epoch, ..Options::default() });
    sim.zone(provider, "example.test");
    let key = TsigKey { name: KEY.to_owned(), algorithm: Algorithm::Sha256, secret: SECRET.to_vec() };
    sim.with(|w| w.grant("example.test", key, types));
    sim
}

pub(super) fn server_of(sim: &Sim) -> String {
    sim.with(|w| w.zone("example.test").servers[0].clone())
}

pub(super) fn signer(secret: &[u8], key: &str) -> TSigner {
    TSigner::new(secret.to_vec(), Algorithm::Sha256.tsig(), name(key), 300).expect("a signer")
}

/// An update of a zone. Lines are `need NAME`, `free NAME`, `need NAME TYPE [DATA]`, `free NAME TYPE`,
/// `add NAME TTL TYPE DATA`, `del NAME [TYPE [DATA]]`.
pub(super) fn update(zone: &str, lines: &[&str]) -> Message {
    let mut message = Message::new(9, MessageType::Query, OpCode::Update);
    message.add_query(Query::query(name(zone), RecordType::SOA));
    for line in lines {
        let words: Vec<&str> = line.splitn(5, ' ').collect();
        let kind = |at: usize| words.get(at).map_or(RecordType::ANY, |k| rdata::kind(k).expect("a type"));
        let empty = |kind, class| {
            let mut record = Record::update0(name(words[1]), 0, kind);
            record.dns_class = class;
            record
        };
        let full = |kind: RecordType, ttl: &str, data: &str, class| {
            let data = rdata::parse(kind, data).expect("data");
            let mut record = Record::from_rdata(name(words[1]), ttl.parse().expect("a TTL"), data);
            record.dns_class = class;
            record
        };
        match (words[0], words.len()) {
            ("need", 2 | 3) => message.add_answer(empty(kind(2), DNSClass::ANY)),
            ("need", _) => message.add_answer(full(kind(2), "0", &words[3..].join(" "), DNSClass::IN)),
            ("free", _) => message.add_answer(empty(kind(2), DNSClass::NONE)),
            ("add", _) => message.add_authority(full(kind(3), words[2], words[4], DNSClass::IN)),
            ("del", 2 | 3) => message.add_authority(empty(kind(2), DNSClass::ANY)),
            _ => message.add_authority(full(kind(2), "0", &words[3..].join(" "), DNSClass::NONE)),
        };
    }
    message
}

/// Sends an update, signed well or not; tells its code, whether the answer is signed, and the signature's error.
pub(super) async fn change(sim: &Sim, zone: &str, lines: &[&str], sign: Option<(&[u8], &str)>) -> String {
    let mut message = update(zone, lines);
    let now = u64::try_from(sim.options().epoch.as_second()).expect("a time");
    let now = now + sim.with(|w| w.now()).as_secs();
    let mut check = None;
    if let Some((secret, key)) = sign {
        check = message.finalize(&signer(secret, key), now).expect("signed");
    }
    let bytes = message.to_vec().expect("bytes");
    let address = sim.with(|w| {
        let server = w.zone("example.test").servers[0].clone();
        w.server(&server).address()
    });
    let out = sim.exchange(address, &bytes, true).await.expect("an answer");
    verdict(&out[0], check)
}

/// The code of an answer, whether it is signed, and what its signature complains of.
pub(super) fn verdict(bytes: &[u8], check: Option<TSigVerifier>) -> String {
    let answer = Message::from_vec(bytes).expect("a message");
    let mut text = format!("{:?}", answer.response_code);
    if let Some(record) = answer.signature() {
        match record.data.error {
            Some(TsigError::BadSig) => text.push_str(" badsig"),
            Some(TsigError::BadKey) => text.push_str(" badkey"),
            Some(TsigError::BadTime) => text.push_str(" badtime"),
            _ => {
                // The client's own library believes the signature.
                check.expect("a signed request").verify(bytes).expect("a good signature");
                text.push_str(" signed");
            }
        }
    }
    text
}

pub(super) async fn signed(sim: &Sim, lines: &[&str]) -> String {
    change(sim, "example.test.", lines, Some((SECRET, KEY))).await
}
