//! PowerDNS over its HTTP API.

use crate::rig::{port, powerdns};
use crate::stack::{Stack, data, key, name, want, zone};
use berth_model::dns::{MarkPlace, Policy, RecordType, Ttl, ZoneChoice, ZoneRules};
use berth_ports::{Dns, PortError, Severity};
use berth_servers::PowerDns;
use futures::future::join_all;
use std::collections::BTreeSet;
use std::time::Duration;

/// What is in the zone without us: sets of many kinds, in the words of whoever put them there.
fn strangers(server: &PowerDns, zone: &str) {
    let sets = [
        (format!("{zone}."), "MX", vec!["10 mail.example.net."], ""),
        (format!("{zone}."), "TXT", vec!["\"v=spf1 \" \"-all\"", "\"other\""], "by hand"),
        (format!("mail.{zone}."), "A", vec!["192.0.2.25"], ""),
        (format!("foreign.{zone}."), "A", vec!["192.0.2.77"], "berth/1 other/shop h=00000000"),
        (format!("caa.{zone}."), "CAA", vec!["0 issue \"ca.test\""], ""),
    ];
    for (name, kind, records, comment) in sets {
        let records: Vec<_> = records
            .iter()
            .map(|r| format!(r#"{{"content":"{}","disabled":false}}"#, r.replace('"', "\\\"")))
            .collect();
        let comments = if comment.is_empty() {
            String::new()
        } else {
            format!(r#","comments":[{{"content":"{comment}","account":"someone"}}]"#)
        };
        patch(
            server,
            zone,
            &format!(
                r#"{{"name":"{name}","type":"{kind}","ttl":600,"changetype":"REPLACE","records":[{}]{comments}}}"#,
                records.join(",")
            ),
        );
    }
}

fn patch(server: &PowerDns, zone: &str, set: &str) {
    let (status, said) = server.api("PATCH", &format!("/zones/{zone}."), &format!(r#"{{"rrsets":[{set}]}}"#));
    assert_eq!(status, 204, "{said}");
}

/// Every set but the SOA and those of these names, as the server shows it, comments and all.
fn others(server: &PowerDns, zone: &str, ours: &[&str]) -> BTreeSet<String> {
    let (_, body) = server.api("GET", &format!("/zones/{zone}."), "");
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let sets = body["rrsets"].as_array().unwrap().iter();
    sets.filter(|s| s["type"] != "SOA" && !ours.contains(&s["name"].as_str().unwrap().trim_end_matches('.')))
        .map(ToString::to_string)
        .collect()
}

fn serial(server: &PowerDns, zone: &str) -> String {
    let (_, body) = server.api("GET", &format!("/zones/{zone}.?rrsets=false"), "");
    serde_json::from_str::<serde_json::Value>(&body).unwrap()["serial"].to_string()
}

#[tokio::test]
async fn records_come_change_and_go_and_nothing_else_moves() {
    for companions in [false, true] {
        let server = PowerDns::start();
        server.zone("z.test");
        strangers(&server, "z.test");
        let before = others(&server, "z.test", &[]);
        let port = port(vec![powerdns("main", &server, companions)]);
        let id = zone(&port, "app.z.test").await;
        let mut stack = Stack::new("shop");
        stack.rules = ZoneRules { policy: Policy::Sync, adopt: false };
        let first = [
            want("app.z.test A", &["192.0.2.1", "192.0.2.2"], 120),
            want("app.z.test AAAA", &["2001:DB8:0::1"], 0),
            want("*.dev.z.test CNAME", &["app.z.test"], 60),
            want("z.test A", &["192.0.2.3"], 60),
            want("text.z.test TXT", &["say \"hi\" \\ there"], 60),
        ];
        let judged = stack.round(&port, &id, &first, false).await;
        assert_eq!(judged.changes.len(), 4);
        // A value, a type and a lifetime change; a host goes.
        let second = [
            want("app.z.test CNAME", &["elsewhere.test"], 60),
            want("z.test A", &["192.0.2.4"], 90),
            want("text.z.test TXT", &["say \"hi\" \\ there"], 30),
        ];
        let judged = stack.round(&port, &id, &second, false).await;
        let shown: Vec<_> = judged.changes.iter().map(ToString::to_string).collect();
        assert_eq!(shown.join("\n").lines().count(), 8, "{shown:#?}");
        let view = stack.view(&port, &id, &second).await;
        let set = view.set(&key("z.test A"));
        let set = set.present().unwrap();
        assert_eq!(set.values[&data("A 192.0.2.4")].ttl, Ttl::Seconds(90));
        let place = if companions { MarkPlace::Companions } else { MarkPlace::Comments };
        assert_eq!(view.facts.marks, place);
        // Identical is not sent: the serial stands.
        let stands = serial(&server, "z.test");
        stack.round(&port, &id, &second, false).await;
        assert_eq!(serial(&server, "z.test"), stands);
        stack.round(&port, &id, &[], true).await;
        assert_eq!(others(&server, "z.test", &[]), before, "companions={companions}");
    }
}

#[tokio::test]
async fn what_others_have_in_our_sets_stays() {
    let server = PowerDns::start();
    server.zone("z.test");
    strangers(&server, "z.test");
    let port = port(vec![powerdns("main", &server, false)]);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    // Texts stand beside others'.
    let texts = [want("z.test TXT", &["ours"], 60)];
    stack.round(&port, &id, &texts, false).await;
    let shown = |server: &PowerDns| {
        let all = others(server, "z.test", &[]);
        all.into_iter().find(|s| s.contains("v=spf1")).unwrap()
    };
    let set = shown(&server);
    assert!(
        set.contains(r#"\"v=spf1 \" \"-all\""#) && set.contains(r#"\"ours\""#) && set.contains("by hand"),
        "{set}"
    );
    assert!(set.contains(r#""ttl":600"#), "{set}");
    stack.round(&port, &id, &[], true).await;
    let set = shown(&server);
    assert!(set.contains("by hand") && !set.contains("ours") && !set.contains("berth/1"), "{set}");
    // Somebody adds a value, and a disabled one, to an address of ours: both stay when ours changes and when it goes.
    let host = [want("app.z.test A", &["192.0.2.1"], 60)];
    stack.round(&port, &id, &host, false).await;
    patch(
        &server,
        "z.test",
        r#"{"name":"app.z.test.","type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":"192.0.2.1"},{"content":"192.0.2.9"},{"content":"192.0.2.8","disabled":true}]}"#,
    );
    let view = stack.view(&port, &id, &host).await;
    let judged = stack.judge(&view, &host, false);
    assert!(judged.changes.is_empty() && judged.notes.len() == 1, "{judged:?}");
    judged.learn(&mut stack.ledger);
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.2"], 60)], false).await;
    stack.round(&port, &id, &[], true).await;
    let left = others(&server, "z.test", &[]);
    let left = left.iter().find(|s| s.contains("app.z.test")).unwrap();
    assert!(left.contains(r#"{"content":"192.0.2.9","disabled":false}"#), "{left}");
    assert!(
        left.contains(r#"{"content":"192.0.2.8","disabled":true}"#) && !left.contains("berth/1"),
        "{left}"
    );
}

#[tokio::test]
async fn conflicts_marks_and_adoption() {
    let server = PowerDns::start();
    server.zone("z.test");
    strangers(&server, "z.test");
    let port = port(vec![powerdns("main", &server, false)]);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    let wanted = [want("mail.z.test A", &["192.0.2.25"], 600), want("foreign.z.test A", &["192.0.2.77"], 0)];
    let view = stack.view(&port, &id, &wanted).await;
    let judged = stack.judge(&view, &wanted, false);
    assert!(judged.changes.is_empty());
    assert!(judged.blocked[0].to_string().contains("berth/1 other/shop"), "{:?}", judged.blocked);
    assert_eq!(judged.notes.len(), 1);
    // Allowed, it is taken over: the mark is written and nothing else.
    stack.rules.adopt = true;
    let mine = &wanted[..1];
    stack.round(&port, &id, mine, false).await;
    let (_, body) = server.api("GET", "/zones/z.test.", "");
    assert!(body.contains("berth/1 prod/shop a="), "{body}");
    // The mark is taken away by hand: it comes back.
    patch(&server, "z.test", r#"{"name":"mail.z.test.","type":"A","changetype":"REPLACE","comments":[]}"#);
    assert_eq!(stack.round(&port, &id, mine, false).await.changes.len(), 1);
    // The stack goes: what it took over stays.
    stack.round(&port, &id, &[], true).await;
    let (_, body) = server.api("GET", "/zones/z.test.", "");
    assert!(body.contains("192.0.2.25") && !body.contains("berth/1 prod"), "{body}");
    // A value that was changed by hand is put back.
    stack.rules.adopt = false;
    let host = [want("app.z.test A", &["192.0.2.1"], 60)];
    stack.round(&port, &id, &host, false).await;
    patch(
        &server,
        "z.test",
        r#"{"name":"app.z.test.","type":"A","ttl":60,"changetype":"REPLACE","records":[{"content":"192.0.2.66"}]}"#,
    );
    let judged = stack.round(&port, &id, &host, false).await;
    assert_eq!(judged.changes[0].to_string(), "- app.z.test A 192.0.2.66\n+ app.z.test A 192.0.2.1 (60 s)");
    // The store is lost: the marks say what is ours.
    let mut again = Stack::new("shop");
    assert!(again.round(&port, &id, &host, false).await.changes.is_empty());
    assert_eq!(again.ledger.0[&key("app.z.test A")].values, stack.ledger.0[&key("app.z.test A")].values);
}

/// Two writers lock each other out of its database: thirty at once were seen to fail, twenty-five of them.
#[tokio::test]
async fn thirty_changes_at_once_all_succeed() {
    let server = PowerDns::start();
    for n in 0..6 {
        server.zone(&format!("z{n}.test"));
    }
    let port = port(vec![powerdns("main", &server, false)]);
    let mut stack = Stack::new("shop");
    let id = zone(&port, "z0.test").await;
    let wanted: Vec<_> = (0..30).map(|n| want(&format!("h{n}.z0.test A"), &["192.0.2.1"], 60)).collect();
    assert_eq!(stack.round(&port, &id, &wanted, false).await.changes.len(), 30);
    // In several zones of one server, too.
    let all = (0..30).map(|n| {
        let (port, zone_name) = (&port, format!("z{}.test", 1 + n % 5));
        async move {
            let id = zone(port, &zone_name).await;
            let wanted = [want(&format!("h{n}.{zone_name} A"), &["192.0.2.1"], 60)];
            let mut stack = Stack::new("shop");
            let view = stack.view(port, &id, &wanted).await;
            let judged = stack.judge(&view, &wanted, false);
            stack.carry_out(port, &id, &judged).await.remove(0)
        }
    });
    for answer in join_all(all).await {
        answer.unwrap();
    }
    assert!(!server.said().contains("database is locked"), "{}", server.said());
}

/// One record that the server refuses must not keep others from being written.
#[tokio::test]
async fn a_poisoned_batch_is_taken_apart() {
    let server = PowerDns::start();
    server.zone("z.test");
    let port = port(vec![powerdns("main", &server, false)]);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    let mut wanted: Vec<_> = (0..20).map(|n| want(&format!("h{n}.z.test A"), &["192.0.2.1"], 60)).collect();
    wanted.push(want("poison.z.test CNAME", &["x.test"], 60));
    let view = stack.view(&port, &id, &wanted).await;
    let judged = stack.judge(&view, &wanted, false);
    // Meanwhile somebody puts an MX there; the look is too young to be made again.
    patch(
        &server,
        "z.test",
        r#"{"name":"poison.z.test.","type":"MX","ttl":60,"changetype":"REPLACE","records":[{"content":"10 x.test."}]}"#,
    );
    let answers = stack.carry_out(&port, &id, &judged).await;
    let failed: Vec<_> = answers.iter().zip(&judged.changes).filter(|(a, _)| a.is_err()).collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(failed[0].1.name, name("poison.z.test"));
    assert!(
        matches!(failed[0].0, Err(PortError::Conflict(why)) if why.contains("poison")),
        "{:?}",
        failed[0].0
    );
}

#[tokio::test]
async fn what_was_planned_for_another_state_changes_nothing() {
    let server = PowerDns::start();
    server.zone("z.test");
    let port = port(vec![powerdns("main", &server, false)]);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    let host = [want("app.z.test A", &["192.0.2.1"], 60)];
    let view = stack.view(&port, &id, &host).await;
    let judged = stack.judge(&view, &host, false);
    // Somebody else is first, and we have seen it by now.
    let mut other = Stack::new("blog");
    other.round(&port, &id, &[want("app.z.test A", &["192.0.2.2"], 60)], false).await;
    let answers = stack.carry_out(&port, &id, &judged).await;
    assert!(matches!(&answers[0], Err(PortError::Conflict(_))), "{answers:?}");
    let view = stack.view(&port, &id, &host).await;
    assert_eq!(view.set(&key("app.z.test A")).present().unwrap().data(), [data("A 192.0.2.2")].into());
    assert!(stack.judge(&view, &host, false).blocked[0].to_string().contains("of the stack blog"));
}

/// What is written into a zone whose child answers is accepted and never seen.
#[tokio::test]
async fn the_longest_zone_is_chosen_and_cuts_are_known() {
    let server = PowerDns::start();
    server.zone("z.test");
    server.zone("sub.z.test");
    patch(
        &server,
        "z.test",
        r#"{"name":"away.z.test.","type":"NS","ttl":60,"changetype":"REPLACE","records":[{"content":"ns.other.test."}]}"#,
    );
    let one = || powerdns("main", &server, false);
    let port = port(vec![one()]);
    assert_eq!(zone(&port, "a.sub.z.test").await.name, name("sub.z.test"));
    assert_eq!(zone(&port, "asub.z.test").await.name, name("z.test"));
    assert_eq!(port.zone_of(&name("other.test")).await, Ok(ZoneChoice::Nowhere));
    for host in ["away.z.test", "deep.away.z.test"] {
        let choice = port.zone_of(&name(host)).await.unwrap();
        let ZoneChoice::Delegated { zone, cut } = choice else { panic!("{host}: {choice:?}") };
        assert_eq!((zone.name, cut.name, cut.to.len()), (name("z.test"), name("away.z.test"), 1));
    }
    // Two credentials that reach the same zone are an error that names both.
    let second = berth_dns::Credential { name: berth_model::CredentialName::new("second").unwrap(), ..one() };
    let both = crate::rig::port(vec![one(), second]);
    let Err(PortError::Conflict(why)) = both.zone_of(&name("a.z.test")).await else { panic!() };
    assert!(why.contains("main") && why.contains("second"), "{why}");
}

#[tokio::test]
async fn a_wrong_key_and_a_dead_server_say_so() {
    let server = PowerDns::start();
    server.zone("z.test");
    let mut wrong = powerdns("main", &server, false);
    if let berth_dns::ProviderOptions::PowerDns { key, .. } = &mut wrong.provider {
        *key = std::sync::Arc::new(berth_wire::FixedKey(berth_model::Secret::new("hunter2")));
    }
    let port_wrong = port(vec![wrong]);
    let chosen = port_wrong.zone_of(&name("a.z.test")).await;
    let Err(PortError::Auth { why }) = chosen else { panic!("{chosen:?}") };
    assert!(why.contains("not let in") && !why.contains("hunter2"), "{why}");
    let preflight = port_wrong.preflight(&[].into()).await;
    assert_eq!(preflight[0].findings[0].severity, Severity::Error);
    // One that is reached goes on where another is dead.
    let mut dead = powerdns("dead", &server, false);
    if let berth_dns::ProviderOptions::PowerDns { url, .. } = &mut dead.provider {
        *url = format!("http://127.0.0.1:{}", berth_servers::free_port());
    }
    let both = port(vec![powerdns("main", &server, false), dead]);
    let chosen =
        tokio::time::timeout(Duration::from_secs(60), both.zone_of(&name("a.z.test"))).await.unwrap();
    assert!(matches!(chosen, Ok(ZoneChoice::Zone(_))), "{chosen:?}");
    let preflight = port(vec![powerdns("main", &server, false)]).preflight(&[name("a.z.test")].into()).await;
    let shown: Vec<_> = preflight.iter().flat_map(|p| &p.findings).map(|f| f.text.as_str()).collect();
    assert_eq!(shown, ["it reaches 1 zones", "it is read: 1 names"]);
}

/// The view shows only our types as sets: the rest are names.
#[tokio::test]
async fn what_is_not_ours_to_write_is_seen_as_a_name() {
    let server = PowerDns::start();
    server.zone("z.test");
    strangers(&server, "z.test");
    let port = port(vec![powerdns("main", &server, false)]);
    let id = zone(&port, "z.test").await;
    let view = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    let apex = &view.names[&name("z.test")];
    assert_eq!(apex.sets.keys().collect::<Vec<_>>(), [&RecordType::Txt]);
    assert_eq!(apex.others.iter().map(|o| o.as_str()).collect::<Vec<_>>(), ["MX", "NS", "SOA"]);
    assert_eq!(view.facts.servers, [name("ns1.z.test")]);
    // One look serves all who ask within its age.
    let all = join_all(
        (0..20).map(|_| async { port.view(&id, &BTreeSet::new(), Duration::from_secs(60)).await.unwrap() }),
    );
    assert!(all.await.iter().all(|v| v.at == view.at));
}
