//! BIND, with signed updates: the zone read whole, or name by name where it is not handed out.

use crate::rig::{bind, port, rfc2136};
use crate::stack::{Stack, data, key, name, want, zone};
use berth_dns::{TsigAlgo, TsigKey};
use berth_model::Secret;
use berth_model::dns::{
    Change, DnsHash, DnsMark, Known, Policy, Put, RecordType, SeenSet, SetChange, Then, Ttl, ZoneChoice,
    ZoneRules,
};
use berth_model::ids::{Owner, StackName};
use berth_model::observed::Seen;
use berth_ports::{Dns, PortError};
use berth_servers::{Bind, PowerDns};
use std::collections::BTreeSet;
use std::time::Duration;

/// The zone without its SOA and without what is ours, as a transfer shows it.
fn others(server: &Bind) -> BTreeSet<String> {
    let by = format!("hmac-sha256:{}:{}", server.key(), server.secret());
    let all = server.dig(&["-y", &by, "z.test", "AXFR", "+noall", "+answer"]);
    assert!(all.contains("v=spf1"), "{all}\n{}", server.said());
    all.lines().filter(|l| !l.contains("SOA") && !l.contains("TSIG")).map(str::to_owned).collect()
}

fn soa(server: &Bind) -> String {
    server.dig(&["z.test", "SOA", "+short", "+norecurse"])
}

#[tokio::test]
async fn records_come_change_and_go_and_nothing_else_moves() {
    let server = Bind::primary("z.test", true);
    let before = others(&server);
    let port = port(vec![bind("main", &server, "z.test", server.secret())]);
    let id = zone(&port, "app.z.test").await;
    let mut stack = Stack::new("shop");
    stack.rules = ZoneRules { policy: Policy::Sync, adopt: false };
    let first = [
        want("app.z.test A", &["192.0.2.1", "192.0.2.2"], 120),
        want("app.z.test AAAA", &["2001:DB8:0::1"], 0),
        want("*.dev.z.test CNAME", &["app.z.test"], 60),
        want("z.test A", &["192.0.2.3"], 60),
        want("z.test TXT", &["ours beside others"], 60),
    ];
    assert_eq!(stack.round(&port, &id, &first, false).await.changes.len(), 3);
    let view = stack.view(&port, &id, &first).await;
    assert_eq!(view.known, Known::All);
    assert!(view.set(&key("z.test TXT")).present().unwrap().values.len() == 2);
    let second = [
        want("app.z.test CNAME", &["elsewhere.test"], 60),
        want("z.test A", &["192.0.2.4"], 90),
        want("z.test TXT", &["ours beside others"], 60),
    ];
    stack.round(&port, &id, &second, false).await;
    assert!(server.dig(&["app.z.test", "CNAME", "+short", "+norecurse"]).contains("elsewhere.test."));
    // The lifetime of a value that stays.
    let third = [want("app.z.test CNAME", &["elsewhere.test"], 30), second[1].clone(), second[2].clone()];
    stack.round(&port, &id, &third, false).await;
    assert!(server.dig(&["app.z.test", "CNAME", "+noall", "+answer"]).contains("\t30\t"));
    let stands = soa(&server);
    stack.round(&port, &id, &third, false).await;
    assert_eq!(soa(&server), stands);
    stack.round(&port, &id, &[], true).await;
    assert_eq!(others(&server), before);
}

/// Somebody else writes between the look and the change: the server itself refuses, since it is told what was believed.
#[tokio::test]
async fn a_change_meanwhile_is_a_conflict_for_it_alone() {
    let server = Bind::primary("z.test", true);
    let port = port(vec![bind("main", &server, "z.test", server.secret())]);
    let id = zone(&port, "app.z.test").await;
    let mut stack = Stack::new("shop");
    let first: Vec<_> = (0..20).map(|n| want(&format!("h{n}.z.test A"), &["192.0.2.1"], 60)).collect();
    stack.round(&port, &id, &first, false).await;
    let second: Vec<_> = (0..21).map(|n| want(&format!("h{n}.z.test A"), &["192.0.2.2"], 60)).collect();
    let view = stack.view(&port, &id, &second).await;
    let judged = stack.judge(&view, &second, false);
    server.update(&[
        // A value more in a set of ours; a name that was free; a mark that is gone.
        "update add h3.z.test. 60 A 192.0.2.99",
        "update add h20.z.test. 60 A 192.0.2.99",
        "update delete _berth-a.h7.z.test. TXT",
    ]);
    let answers = stack.carry_out(&port, &id, &judged).await;
    for (change, answer) in judged.changes.iter().zip(&answers) {
        let met = ["h3.z.test", "h20.z.test", "h7.z.test"].contains(&change.name.as_str());
        match answer {
            Ok(_) => assert!(!met, "{}", change.name),
            Err(PortError::Conflict(_)) => assert!(met, "{}", change.name),
            Err(other) => panic!("{}: {other}", change.name),
        }
    }
    // A new look, and all is well but what is another's.
    let view = stack.view(&port, &id, &second).await;
    let judged = stack.judge(&view, &second, false);
    assert_eq!(judged.blocked.len(), 1, "{:?}", judged.blocked);
    assert_eq!(judged.blocked[0].key, key("h20.z.test A"));
    for answer in stack.carry_out(&port, &id, &judged).await {
        answer.unwrap();
    }
    let h3 = server.dig(&["h3.z.test", "A", "+short", "+norecurse"]);
    assert!(h3.contains("192.0.2.99") && h3.contains("192.0.2.2") && !h3.contains("192.0.2.1\n"), "{h3}");
}

/// BIND says yes to a CNAME beside other records and ignores it.
#[tokio::test]
async fn a_yes_that_changed_nothing_is_found_out() {
    let server = Bind::primary("z.test", true);
    let port = port(vec![bind("main", &server, "z.test", server.secret())]);
    let id = zone(&port, "z.test").await;
    // The zone's own name has an SOA: a CNAME there is ignored. No plan would say so; this one does.
    let at = key("z.test CNAME");
    let target = data("CNAME elsewhere.test");
    let mark = DnsMark {
        owner: Owner::new("prod").unwrap(),
        stack: StackName::new("shop").unwrap(),
        hash: DnsHash::of(&at, [&target]),
        adopted: false,
    };
    let view = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    let text = SeenSet::clone(view.set(&key("z.test TXT")).present().unwrap());
    let put = |values, mark| Then::Put(Put { values, ttl: Ttl::Seconds(60), proxied: None, mark });
    let change = Change {
        name: name("z.test"),
        sets: [
            // Something else of the same name changes with it, so that the server is not told that all must be free.
            (
                RecordType::Txt,
                SetChange { believed: text, ours: [].into(), then: Then::Remove { release: [].into() } },
            ),
            (
                RecordType::Cname,
                SetChange { believed: SeenSet::default(), ours: [].into(), then: put([target].into(), mark) },
            ),
        ]
        .into(),
    };
    let answer = port.change(&id, change).await;
    assert!(matches!(&answer, Err(PortError::Conflict(why)) if why.contains("said yes")), "{answer:?}");
}

#[tokio::test]
async fn without_a_transfer_names_are_asked_one_by_one() {
    let server = Bind::primary("z.test", false);
    server
        .update(&["update add *.wild.z.test. 60 A 192.0.2.9", "update add real.wild.z.test. 60 A 192.0.2.9"]);
    let port = port(vec![bind("main", &server, "z.test", server.secret())]);
    let id = zone(&port, "app.z.test").await;
    let asked: BTreeSet<_> =
        ["app.z.test", "z.test", "mail.z.test", "made-up.wild.z.test", "real.wild.z.test"].map(name).into();
    let view = port.view(&id, &asked, Duration::ZERO).await.unwrap();
    assert_eq!(view.name(&name("app.z.test")), Seen::Absent);
    assert_eq!(view.name(&name("other.z.test")), Seen::Unknown);
    assert_eq!(view.set(&key("mail.z.test A")).present().unwrap().data(), [data("A 192.0.2.25")].into());
    assert!(view.names[&name("z.test")].others.contains("MX"));
    // What a wildcard answers in its place is not there; what only looks like it is.
    assert_eq!(view.name(&name("made-up.wild.z.test")), Seen::Absent);
    assert!(view.set(&key("real.wild.z.test A")).present().is_some());
    // A name that is handed on.
    let choice = port.zone_of(&name("a.sub.z.test")).await.unwrap();
    let ZoneChoice::Delegated { cut, .. } = choice else { panic!("{choice:?}") };
    assert_eq!((cut.name, cut.to.len()), (name("sub.z.test"), 1));
    // The whole life of a record.
    let mut stack = Stack::new("shop");
    let host = |ip: &str| [want("made-up.wild.z.test A", &[ip], 60), want("app.z.test TXT", &["hello"], 60)];
    stack.round(&port, &id, &host("192.0.2.1"), false).await;
    stack.round(&port, &id, &host("192.0.2.2"), false).await;
    assert!(server.dig(&["made-up.wild.z.test", "A", "+short", "+norecurse"]).contains("192.0.2.2"));
    stack.round(&port, &id, &[], true).await;
    assert!(server.dig(&["made-up.wild.z.test", "A", "+short", "+norecurse"]).contains("192.0.2.9"));
    assert!(server.dig(&["_berth-a.made-up.wild.z.test", "TXT", "+norecurse"]).contains("ANSWER: 0"));
}

#[tokio::test]
async fn a_key_that_is_not_accepted_is_called_so() {
    let server = Bind::primary("z.test", true);
    let other = "YW5vdGhlciBzZWNyZXQgb2YgdGhlIHNhbWUgbGVuZ3Ro";
    let unknown =
        TsigKey { name: "nobody".to_owned(), algorithm: TsigAlgo::Sha256, secret: Secret::new(other) };
    let table = [
        (bind("main", &server, "z.test", other), "its secret is another one"),
        (rfc2136("main", server.address(), "z.test", Some(unknown)), "does not know the key"),
    ];
    for (credential, expected) in table {
        let port = port(vec![credential]);
        let Err(PortError::Auth { why }) = port.zone_of(&name("app.z.test")).await else { panic!() };
        assert!(why.contains(expected) && !why.contains(other), "{why}");
        let found = port.preflight(&[name("app.z.test")].into()).await;
        let said: Vec<_> = found.iter().flat_map(|p| &p.findings).map(|f| f.text.as_str()).collect();
        assert!(said.iter().any(|t| t.contains(expected)), "{said:?}");
    }
    // Without a key it may be read, and not written.
    let port = port(vec![rfc2136("main", server.address(), "z.test", None)]);
    let id = zone(&port, "app.z.test").await;
    let mut stack = Stack::new("shop");
    let host = [want("app.z.test A", &["192.0.2.1"], 60)];
    let view = stack.view(&port, &id, &host).await;
    let judged = stack.judge(&view, &host, false);
    let answers = stack.carry_out(&port, &id, &judged).await;
    assert!(matches!(&answers[0], Err(PortError::Refused { why }) if why.contains("REFUSED")), "{answers:?}");
}

#[tokio::test]
async fn a_zone_that_is_not_served_cannot_be_written() {
    let server = Bind::primary("z.test", true);
    let port = port(vec![bind("main", &server, "y.test", server.secret())]);
    let found = port.preflight(&[name("app.y.test")].into()).await;
    let said: Vec<_> = found.iter().flat_map(|p| &p.findings).map(|f| f.text.as_str()).collect();
    assert!(said.iter().any(|t| t.contains("cannot be read") || t.contains("cannot be written")), "{said:?}");
}

/// The same protocol, spoken by PowerDNS, which says no where BIND says yes and does nothing.
#[tokio::test]
async fn powerdns_takes_updates_too() {
    let server = PowerDns::start();
    server.zone("z.test");
    let secret = "c2VjcmV0IG9mIGEga2V5IG9mIHRlc3RzIG9mIGJlcnRo";
    server.updates("z.test", "berth-key", secret);
    let tsig = |secret| TsigKey {
        name: "berth-key".to_owned(),
        algorithm: TsigAlgo::Sha256,
        secret: Secret::new(secret),
    };
    let good = port(vec![rfc2136("main", server.dns(), "z.test", Some(tsig(secret)))]);
    let id = zone(&good, "app.z.test").await;
    let mut stack = Stack::new("shop");
    let first = [want("app.z.test A", &["192.0.2.1"], 60), want("text.z.test TXT", &["hello"], 60)];
    stack.round(&good, &id, &first, false).await;
    stack.round(&good, &id, &[want("app.z.test CNAME", &["x.test"], 60), first[1].clone()], false).await;
    stack.round(&good, &id, &[], true).await;
    let (_, body) = server.api("GET", "/zones/z.test.", "");
    assert!(!body.contains("app.z.test") && !body.contains("_berth"), "{body}");
    let wrong =
        port(vec![rfc2136("main", server.dns(), "z.test", Some(tsig("d3Jvbmcgd3JvbmcgbG9uZyBlbm91Z2g=")))]);
    let chosen = wrong.zone_of(&name("app.z.test")).await;
    assert!(!matches!(chosen, Ok(ZoneChoice::Nowhere)), "{chosen:?}");
    let mut stack = Stack::new("shop");
    if let Ok(ZoneChoice::Zone(id)) = chosen {
        let host = [want("app.z.test A", &["192.0.2.1"], 60)];
        let view = stack.view(&wrong, &id, &host).await;
        let judged = stack.judge(&view, &host, false);
        let answers = stack.carry_out(&wrong, &id, &judged).await;
        assert!(matches!(&answers[0], Err(PortError::Auth { .. })), "{answers:?}");
    }
}
