//! Dynamic updates and transfers, row by row as real servers answer them.

use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::{RecordType as T, TSigVerifier};

use super::wire::{KEY, SECRET, change, question, server_of, signed, signer, updatable};
use crate::dns::server::{Algorithm, TsigKey};
use crate::dns::{Provider, Sim};

const TYPES: [&str; 4] = ["A", "AAAA", "CNAME", "TXT"];

fn bind() -> Sim {
    updatable(Provider::Rfc2136, &TYPES)
}

fn contents(sim: &Sim, name: &str, kind: &str) -> Vec<String> {
    sim.with(|w| w.contents("example.test", name, kind))
}

#[tokio::test(start_paused = true)]
async fn prerequisites_compare_and_swap() {
    let sim = bind();
    let claim = [
        "free app.example.test.",
        "add app.example.test. 60 A 192.0.2.1",
        "add _b.app.example.test. 60 TXT \"mine\"",
    ];
    assert_eq!(signed(&sim, &claim).await, "NoError signed");
    assert_eq!(signed(&sim, &claim).await, "YXDomain signed");
    assert_eq!(sim.with(|w| w.created("app.example.test", "A")), 1);
    for (need, code) in [
        ("need app.example.test. A 192.0.2.9", "NXRRSet signed"),
        ("need app.example.test. AAAA", "NXRRSet signed"),
        ("need none.example.test.", "NXDomain signed"),
        ("free app.example.test. A", "YXRRSet signed"),
        ("need app.example.test. A", "NoError signed"),
        ("need app.example.test. A 192.0.2.1", "NoError signed"),
        ("free none.example.test. A", "NoError signed"),
    ] {
        assert_eq!(signed(&sim, &[need, "del zz.example.test. A"]).await, code, "{need}");
    }
    let swap = [
        "need _b.app.example.test. TXT \"mine\"",
        "del app.example.test. A",
        "add app.example.test. 90 A 192.0.2.2",
    ];
    assert_eq!(signed(&sim, &swap).await, "NoError signed");
    assert_eq!(contents(&sim, "app", "A"), ["192.0.2.2"]);
    let release = ["need _b.app.example.test. TXT \"other\"", "del app.example.test. A"];
    assert_eq!(signed(&sim, &release).await, "NXRRSet signed");
    assert_eq!(contents(&sim, "app", "A"), ["192.0.2.2"]);
}

#[tokio::test(start_paused = true)]
async fn an_alias_beside_another_type_is_silently_ignored() {
    let sim = bind();
    sim.with(|w| {
        w.put("example.test", "a", "A", 60, &["192.0.2.1"]);
        w.put("example.test", "c", "CNAME", 60, &["a.example.test."]);
    });
    let serial = sim.with(|w| w.zone("example.test").serial());
    assert_eq!(signed(&sim, &["add a.example.test. 60 CNAME x.example.test."]).await, "NoError signed");
    assert_eq!(signed(&sim, &["add c.example.test. 60 A 192.0.2.2"]).await, "NoError signed");
    assert_eq!((contents(&sim, "a", "CNAME").len(), contents(&sim, "c", "A").len()), (0, 0));
    assert_eq!(sim.with(|w| w.zone("example.test").serial()), serial);
    // A second alias takes the place of the first.
    assert_eq!(signed(&sim, &["add c.example.test. 60 CNAME b.example.test."]).await, "NoError signed");
    assert_eq!(contents(&sim, "c", "CNAME"), ["b.example.test."]);
}

#[tokio::test(start_paused = true)]
async fn powerdns_refuses_an_alias_beside_another_type() {
    let sim = updatable(Provider::PowerDns, &TYPES);
    sim.with(|w| w.put("example.test", "a", "A", 60, &["192.0.2.1"]));
    let both = ["add n.example.test. 60 A 192.0.2.1", "add a.example.test. 60 CNAME x.example.test."];
    assert_eq!(signed(&sim, &both).await, "Refused signed");
    assert_eq!(contents(&sim, "n", "A").len(), 0);
    for (secret, key) in [(&[1_u8; 32][..], KEY), (SECRET, "unknown.")] {
        assert_eq!(change(&sim, "example.test.", &both, Some((secret, key))).await, "Refused");
    }
}

#[tokio::test(start_paused = true)]
async fn zones_and_permissions() {
    let sim = bind();
    sim.zone(Provider::Rfc2136, "static.test");
    let add = ["add n.example.test. 60 A 192.0.2.1"];
    assert_eq!(signed(&sim, &["add n.other.test. 60 A 192.0.2.1"]).await, "NotZone signed");
    assert_eq!(signed(&sim, &["free n.other.test.", "del n.example.test. A"]).await, "NotZone signed");
    let key = Some((SECRET, KEY));
    assert_eq!(change(&sim, "none.test.", &["add n.none.test. 60 A 192.0.2.1"], key).await, "NotAuth signed");
    assert_eq!(
        change(&sim, "static.test.", &["add n.static.test. 60 A 192.0.2.1"], key).await,
        "Refused signed"
    );
    assert_eq!(change(&sim, "example.test.", &add, None).await, "Refused");
    assert_eq!(signed(&sim, &["add n.example.test. 60 MX 10 a.example.test."]).await, "Refused signed");
    // One that is refused takes the others with it, and comes before the prerequisites.
    let mixed = ["free example.test.", add[0], "add n.example.test. 60 MX 10 a.example.test."];
    assert_eq!(signed(&sim, &mixed).await, "Refused signed");
    assert_eq!(contents(&sim, "n", "A").len(), 0);
    sim.with(|w| w.put("example.test", "m", "MX", 60, &["10 a.example.test."]));
    assert_eq!(signed(&sim, &["del m.example.test."]).await, "Refused signed");
    assert_eq!(signed(&sim, &["del example.test. NS"]).await, "Refused signed");
    assert_eq!(signed(&sim, &["del absent.example.test. A"]).await, "NoError signed");
    sim.with(|w| {
        let server = w.zone("example.test").servers[0].clone();
        let secret = b"another secret".to_vec();
        w.server(&server).keys.push(TsigKey {
            name: "other.".to_owned(),
            algorithm: Algorithm::Sha256,
            secret,
        });
    });
    assert_eq!(
        change(&sim, "example.test.", &add, Some((b"another secret", "other."))).await,
        "Refused signed"
    );
    sim.with(|w| w.zone_mut("example.test").updates.as_mut().expect("a policy").unsigned = true);
    assert_eq!(change(&sim, "example.test.", &add, None).await, "NoError");
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_a_signature_is_told_without_one() {
    let sim = bind();
    let add = ["add n.example.test. 60 A 192.0.2.1"];
    assert_eq!(change(&sim, "example.test.", &add, Some((&[0; 32], KEY))).await, "NotAuth badsig");
    assert_eq!(change(&sim, "example.test.", &add, Some((SECRET, "unknown."))).await, "NotAuth badkey");
    let server = server_of(&sim);
    for (skew, expected) in [(299, "NoError signed"), (301, "NotAuth badtime"), (-301, "NotAuth badtime")] {
        sim.with(|w| w.server(&server).skew = skew);
        assert_eq!(change(&sim, "example.test.", &add, Some((SECRET, KEY))).await, expected, "{skew}");
    }
}

#[tokio::test(start_paused = true)]
async fn stronger_algorithms_sign_as_well() {
    for algorithm in [Algorithm::Sha384, Algorithm::Sha512] {
        let sim = bind();
        let server = server_of(&sim);
        sim.with(|w| w.server(&server).keys[0].algorithm = algorithm);
        let mut message = super::wire::update("example.test.", &["add n.example.test. 60 A 192.0.2.1"]);
        let signer =
            hickory_proto::rr::TSigner::new(SECRET.to_vec(), algorithm.tsig(), super::wire::name(KEY), 300);
        let now = u64::try_from(sim.options().epoch.as_second()).expect("a time");
        let check = message.finalize(&signer.expect("a signer"), now).expect("signed");
        let address = sim.with(|w| w.server(&server).address());
        let out = sim.exchange(address, &message.to_vec().expect("bytes"), false).await.expect("an answer");
        assert!(check.expect("a check").verify(&out[0]).is_ok(), "{algorithm:?}");
        assert_eq!(contents(&sim, "n", "A"), ["192.0.2.1"]);
    }
}

#[tokio::test(start_paused = true)]
async fn values_come_and_go_and_the_last_ttl_is_all_values_ttl() {
    let sim = bind();
    let serial = async |lines: &[&str]| {
        assert_eq!(signed(&sim, lines).await, "NoError signed");
        sim.with(|w| w.zone("example.test").serial())
    };
    assert_eq!(
        serial(&["add a.example.test. 60 A 192.0.2.1", "add a.example.test. 90 A 192.0.2.2"]).await,
        2
    );
    assert_eq!(sim.with(|w| w.get("example.test", "a", "A")).expect("it").ttl, Some(90));
    // The same again changes nothing, and no serial.
    assert_eq!(serial(&["add a.example.test. 90 A 192.0.2.2"]).await, 2);
    assert_eq!(serial(&["del a.example.test. A 192.0.2.1"]).await, 3);
    assert_eq!(contents(&sim, "a", "A"), ["192.0.2.2"]);
    assert_eq!(serial(&["del a.example.test."]).await, 4);
    assert_eq!(contents(&sim, "a", "A").len(), 0);
    let text = "add t.example.test. 60 TXT \"with \\\"quotes\\\"\" \"and more\"";
    assert_eq!(serial(&[text]).await, 5);
    assert_eq!(contents(&sim, "t", "TXT"), ["\"with \\\"quotes\\\"\" \"and more\""]);
}

async fn transfer(sim: &Sim, tcp: bool, key: bool) -> (Vec<Message>, usize) {
    let mut message = question("example.test.", T::AXFR);
    let mut check: Option<TSigVerifier> = None;
    if key {
        let now = u64::try_from(sim.options().epoch.as_second()).expect("a time");
        check = message.finalize(&signer(SECRET, KEY), now).expect("signed");
    }
    let server = server_of(sim);
    let address = sim.with(|w| w.server(&server).address());
    let out = sim.exchange(address, &message.to_vec().expect("bytes"), tcp).await.expect("an answer");
    let mut verified = 0;
    if let Some(check) = &mut check {
        for bytes in &out {
            verified += usize::from(check.verify(bytes).is_ok());
        }
    }
    (out.iter().map(|b| Message::from_vec(b).expect("a message")).collect(), verified)
}

#[tokio::test(start_paused = true)]
async fn a_transfer_is_signed_piece_by_piece_and_refused_to_others() {
    let sim = bind();
    sim.with(|w| {
        for n in 0..250 {
            w.put("example.test", &format!("h{n}"), "A", 60, &["192.0.2.1"]);
        }
    });
    let (pieces, verified) = transfer(&sim, true, true).await;
    assert_eq!((pieces.len(), verified), (3, 3));
    let records: Vec<_> = pieces.iter().flat_map(|m| &m.answers).collect();
    assert_eq!(records.len(), 250 + 1 + 2);
    assert!(records.first().is_some_and(|r| r.record_type() == T::SOA) && records.last() == records.first());
    assert_eq!(transfer(&sim, true, false).await.0[0].response_code, ResponseCode::Refused);
    assert_eq!(transfer(&sim, false, true).await.0[0].response_code, ResponseCode::FormErr);
    sim.with(|w| w.zone_mut("example.test").transfers.clear());
    let (refused, verified) = transfer(&sim, true, true).await;
    assert_eq!((refused[0].response_code, verified), (ResponseCode::Refused, 1));
}
