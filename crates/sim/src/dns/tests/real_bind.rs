//! The simulated updates and answers held against a real BIND: the same messages in the same order.
//! A row must never be bent to fit the simulator; the real server is the truth.

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType as T;
use jiff::Timestamp;

use super::real::{Real, bind};
use super::real_powerdns::base64;
use super::wire::{KEY, SECRET, brief, question, server_of, signer, updatable_at, update, verdict};
use crate::dns::{Provider, Sim};

/// How a message is signed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Sign {
    Well,
    Not,
    WrongSecret,
    UnknownKey,
    /// By a clock that is that many seconds ahead.
    Late(i64),
}

pub(super) type Row = (&'static str, &'static str, &'static [&'static str], Sign);

const E: &str = "example.test.";

const BIND: &[Row] = &[
    (
        "a claim",
        E,
        &[
            "free n.example.test.",
            "add n.example.test. 60 A 192.0.2.1",
            "add _m.example.test. 60 TXT \"mine\"",
        ],
        Sign::Well,
    ),
    ("the claim again", E, &["free n.example.test.", "add n.example.test. 60 A 192.0.2.1"], Sign::Well),
    (
        "a stale value",
        E,
        &["need n.example.test. A 192.0.2.9", "add b.example.test. 60 A 192.0.2.1"],
        Sign::Well,
    ),
    ("a missing RRset", E, &["need b.example.test. A", "add b.example.test. 60 A 192.0.2.1"], Sign::Well),
    ("a missing name", E, &["need b.example.test.", "add b.example.test. 60 A 192.0.2.1"], Sign::Well),
    ("an RRset in the way", E, &["free n.example.test. A", "add b.example.test. 60 A 192.0.2.1"], Sign::Well),
    (
        "a swap",
        E,
        &[
            "need _m.example.test. TXT \"mine\"",
            "del n.example.test. A",
            "add n.example.test. 90 A 192.0.2.2",
        ],
        Sign::Well,
    ),
    ("an alias where an address is", E, &["add n.example.test. 60 CNAME x.example.test."], Sign::Well),
    ("an address where an alias is", E, &["add c.example.test. 60 A 192.0.2.1"], Sign::Well),
    ("a second alias", E, &["add c.example.test. 60 CNAME b.example.test."], Sign::Well),
    ("another value with another TTL", E, &["add n.example.test. 120 A 192.0.2.3"], Sign::Well),
    ("the same again", E, &["add n.example.test. 120 A 192.0.2.3"], Sign::Well),
    ("a value goes", E, &["del n.example.test. A 192.0.2.2"], Sign::Well),
    ("an absent RRset goes", E, &["del zz.example.test. A"], Sign::Well),
    ("an absent value goes", E, &["del n.example.test. A 192.0.2.77"], Sign::Well),
    ("out of the zone", E, &["add n.other.test. 60 A 192.0.2.1"], Sign::Well),
    (
        "a prerequisite out of the zone",
        E,
        &["free n.other.test.", "add n.example.test. 60 A 192.0.2.1"],
        Sign::Well,
    ),
    (
        "out of the zone, and a prerequisite fails",
        E,
        &["free n.example.test.", "add n.other.test. 60 A 192.0.2.1"],
        Sign::Well,
    ),
    ("a zone that is not served", "none.test.", &["add n.none.test. 60 A 192.0.2.1"], Sign::Well),
    ("a zone that takes none", "static.test.", &["add n.static.test. 60 A 192.0.2.1"], Sign::Well),
    ("without a key", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::Not),
    ("with a wrong secret", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::WrongSecret),
    ("with an unknown key", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::UnknownKey),
    ("with a clock ahead", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::Late(400)),
    ("with a clock behind", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::Late(-400)),
    ("a type that was not granted", E, &["add u.example.test. 60 MX 10 a.example.test."], Sign::Well),
    (
        "one allowed and one refused",
        E,
        &["add u.example.test. 60 A 192.0.2.1", "add u.example.test. 60 MX 10 a.example.test."],
        Sign::Well,
    ),
    (
        "refused, and a prerequisite fails",
        E,
        &["free n.example.test.", "add u.example.test. 60 MX 10 a.example.test."],
        Sign::Well,
    ),
    ("all of a name with a type not granted", E, &["del mx.example.test."], Sign::Well),
    ("all of a name", E, &["del a.example.test."], Sign::Well),
    ("the servers of the zone", E, &["del example.test. NS"], Sign::Well),
    ("nothing", E, &[], Sign::Well),
    ("a long text", E, &["add t.example.test. 60 TXT \"with \\\"quotes\\\"\" \"and more\""], Sign::Well),
    ("an address of the sixth version", E, &["add n.example.test. 60 AAAA 2001:db8::1"], Sign::Well),
    ("a wildcard", E, &["add *.w.example.test. 60 A 192.0.2.8"], Sign::Well),
];

pub(super) const POWERDNS: &[Row] = &[
    (
        "a claim",
        E,
        &[
            "free n.example.test.",
            "add n.example.test. 60 A 192.0.2.1",
            "add _m.example.test. 60 TXT \"mine\"",
        ],
        Sign::Well,
    ),
    ("the claim again", E, &["free n.example.test.", "add n.example.test. 60 A 192.0.2.1"], Sign::Well),
    (
        "a stale value",
        E,
        &["need n.example.test. A 192.0.2.9", "add b.example.test. 60 A 192.0.2.1"],
        Sign::Well,
    ),
    ("a missing RRset", E, &["need b.example.test. A", "add b.example.test. 60 A 192.0.2.1"], Sign::Well),
    (
        "a swap",
        E,
        &[
            "need _m.example.test. TXT \"mine\"",
            "del n.example.test. A",
            "add n.example.test. 90 A 192.0.2.2",
        ],
        Sign::Well,
    ),
    ("an alias where an address is", E, &["add n.example.test. 60 CNAME x.example.test."], Sign::Well),
    ("an alias", E, &["add c.example.test. 60 CNAME x.example.test."], Sign::Well),
    ("an address where an alias is", E, &["add c.example.test. 60 A 192.0.2.1"], Sign::Well),
    ("a second alias", E, &["add c.example.test. 60 CNAME b.example.test."], Sign::Well),
    ("another value with another TTL", E, &["add n.example.test. 120 A 192.0.2.3"], Sign::Well),
    ("a value goes", E, &["del n.example.test. A 192.0.2.2"], Sign::Well),
    ("an absent RRset goes", E, &["del zz.example.test. A"], Sign::Well),
    ("out of the zone", E, &["add n.other.test. 60 A 192.0.2.1"], Sign::Well),
    ("a zone that is not served", "none.test.", &["add n.none.test. 60 A 192.0.2.1"], Sign::Well),
    ("without a key", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::Not),
    ("with a wrong secret", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::WrongSecret),
    ("with an unknown key", E, &["add u.example.test. 60 A 192.0.2.1"], Sign::UnknownKey),
];

/// Sends every row to both and compares what they say, then what they have.
pub(super) async fn compare(real: &Real, sim: &Sim, rows: &[Row]) {
    let mut wrong = Vec::new();
    let server = server_of(sim);
    let address = sim.with(|w| w.server(&server).address());
    for (title, zone, lines, sign) in rows {
        let mut message = update(zone, lines);
        let (mut check, mut own_check) = (None, None);
        let (secret, key, skew) = match sign {
            Sign::Late(skew) => (SECRET, KEY, *skew),
            Sign::WrongSecret => (&[7_u8; 32][..], KEY, 0),
            Sign::UnknownKey => (SECRET, "unknown.", 0),
            Sign::Well | Sign::Not => (SECRET, KEY, 0),
        };
        if *sign != Sign::Not {
            let now = u64::try_from(Timestamp::now().as_second() + skew).expect("a time");
            own_check = message.clone().finalize(&signer(secret, key), now).expect("signed");
            check = message.finalize(&signer(secret, key), now).expect("signed");
        }
        let bytes = message.to_vec().expect("bytes");
        let left = verdict(&real.udp(&bytes), check);
        let answer = sim.exchange(address, &bytes, false).await.expect("an answer");
        let right = verdict(&answer[0], own_check);
        if left != right {
            wrong.push(format!("{title}:\nreal      {left}\nsimulated {right}\n"));
        }
        for name in ["n", "b", "c", "u", "t", "_m", "a", "mx", "x.w", "chain", "loop", "sub", "y.sub", "out"]
        {
            for kind in [T::A, T::CNAME, T::TXT, T::AAAA] {
                let bytes = question(&format!("{name}.example.test."), kind).to_vec().expect("bytes");
                let left = brief(&Message::from_vec(&real.udp(&bytes)).expect("a message"));
                let right = brief(&super::wire::send(sim, &server, &bytes, false).await[0]);
                if left != right {
                    wrong.push(format!(
                        "after {title}, {name} {kind}:\nreal      {left}\nsimulated {right}\n"
                    ));
                }
            }
        }
        assert!(wrong.is_empty(), "{}\n{}", wrong.join("\n"), real.said());
    }
}

fn transferred(messages: &[Vec<u8>]) -> Vec<String> {
    let mut out: Vec<String> = messages
        .iter()
        .flat_map(|m| Message::from_vec(m).expect("a message").answers)
        .map(|r| format!("{} {} {}", r.name, r.ttl, crate::dns::rdata::show(&r.data)))
        .collect();
    out.sort();
    out
}

#[tokio::test]
async fn the_same_messages_have_the_same_answers() {
    let head = "$TTL 300\n@ IN SOA ns1 hostmaster 1 3600 600 604800 60\n@ IN NS ns1\nns1 IN A 127.0.0.1\n";
    let records = "a IN A 192.0.2.1\nc IN CNAME a\nmx IN MX 10 a\nchain IN CNAME c\nloop IN CNAME loop\n\
                   sub IN NS ns.sub\nns.sub IN A 192.0.2.53\n*.wild IN A 192.0.2.7\nout IN CNAME x.static.test.\n";
    let zones = [(E.trim_end_matches('.'), format!("{head}{records}")), ("static.test", head.to_owned())];
    let zones = zones.each_ref().map(|(name, text)| (*name, text.as_str()));
    let real = bind(&base64(SECRET), &zones);
    let sim = updatable_at(Provider::Rfc2136, &["A", "AAAA", "CNAME", "TXT"], Timestamp::now());
    sim.zone(Provider::Rfc2136, "static.test");
    sim.with(|w| {
        for name in ["example.test", "static.test"] {
            w.put(name, "@", "NS", 300, &[&format!("ns1.{name}.")]);
            w.put(name, "ns1", "A", 300, &["127.0.0.1"]);
        }
        for (name, kind, content) in [
            ("a", "A", "192.0.2.1"),
            ("c", "CNAME", "a.example.test."),
            ("mx", "MX", "10 a.example.test."),
            ("chain", "CNAME", "c.example.test."),
            ("loop", "CNAME", "loop.example.test."),
            ("sub", "NS", "ns.sub.example.test."),
            ("ns.sub", "A", "192.0.2.53"),
            ("*.wild", "A", "192.0.2.7"),
            ("out", "CNAME", "x.static.test."),
        ] {
            w.put("example.test", name, kind, 300, &[content]);
        }
        let zone = w.zone_mut("example.test");
        (zone.soa.primary, zone.soa.refresh, zone.soa.retry) = ("ns1.example.test.".to_owned(), 3_600, 600);
        zone.soa.ttl = 300;
        zone.serials = vec![(std::time::Duration::ZERO, 1)];
    });
    compare(&real, &sim, BIND).await;
    // The whole zone, SOA and serial included, and every piece of it signed.
    let mut message = question(E, T::AXFR);
    let now = u64::try_from(Timestamp::now().as_second()).expect("a time");
    let check = message.finalize(&signer(SECRET, KEY), now).expect("signed");
    let bytes = message.to_vec().expect("bytes");
    let last = |m: &[u8]| {
        Message::from_vec(m).is_ok_and(|m| m.answers.last().is_none_or(|r| r.record_type() == T::SOA))
    };
    let left = real.tcp(&bytes, last);
    let server = server_of(&sim);
    let address = sim.with(|w| w.server(&server).address());
    let right = sim.exchange(address, &bytes, true).await.expect("an answer");
    assert_eq!(transferred(&left), transferred(&right));
    assert!(check.expect("a check").verify(&right[0]).is_ok());
    let datagram = real.udp(&bytes);
    let own = sim.exchange(address, &bytes, false).await.expect("an answer");
    let codes = [&datagram, &own[0]].map(|m| Message::from_vec(m).expect("a message").response_code);
    assert_eq!(codes[0], codes[1]);
    let bare = question(E, T::AXFR).to_vec().expect("bytes");
    let left = brief(&Message::from_vec(&real.tcp(&bare, |_| true)[0]).expect("a message"));
    let right = sim.exchange(address, &bare, true).await.expect("an answer");
    assert_eq!(left, brief(&Message::from_vec(&right[0]).expect("a message")));
}
