//! Servers: what they answer, when they know it, and how they fail.

use std::time::Duration;

use hickory_proto::rr::RecordType as T;

use super::wire::{ask, question, resolve, send, with_room};
use super::{Client, pass};
use crate::dns::{Delegation, Mode, Options, Provider, RrSet, Sim, Value as Record};

const BIND: &str = "ns1.bind.sim";
const POWER: &str = "ns1.powerdns.sim";

fn sim(provider: Provider) -> Sim {
    Client::new(provider, Options::default()).sim
}

#[tokio::test(start_paused = true)]
async fn answers_negative_answers_aliases_and_wildcards() {
    let sim = sim(Provider::PowerDns);
    sim.with(|w| {
        w.zone_mut("example.test").soa.minimum = 60;
        w.put("example.test", "a", "A", 300, &["192.0.2.1", "192.0.2.2"]);
        w.put("example.test", "c", "CNAME", 60, &["a.example.test."]);
        w.put("example.test", "out", "CNAME", 60, &["a.other.test."]);
        w.put("example.test", "dead", "CNAME", 60, &["nothing.example.test."]);
        w.put("example.test", "loop", "CNAME", 60, &["loop.example.test."]);
        w.put("example.test", "*.wild", "A", 60, &["192.0.2.7"]);
        w.put("example.test", "t", "TXT", 60, &["\"a\" \"b\\\"c\""]);
        w.put("example.test", "x.deep.er", "A", 60, &["192.0.2.8"]);
        w.put("example.test", "odd", "TYPE65280", 60, &["\\# 3 abcdef"]);
        let off = Record { disabled: true, ..Record::new("192.0.2.9") };
        w.put_set("example.test", "off", "A", RrSet { values: vec![off], ..RrSet::default() });
    });
    let soa = "example.test. 60 SOA";
    for (name, kind, expected) in [
        ("a.example.test.", T::A, "noerror aa a.example.test. 300 A 192.0.2.1, a.example.test. 300 A 192.0.2.2".to_owned()),
        ("A.Example.TEST.", T::AAAA, format!("noerror aa / {soa}")),
        ("nope.example.test.", T::A, format!("nxdomain aa / {soa}")),
        ("deep.er.example.test.", T::A, format!("noerror aa / {soa}")),
        ("c.example.test.", T::A, "noerror aa a.example.test. 300 A 192.0.2.1, a.example.test. 300 A 192.0.2.2, c.example.test. 60 CNAME a.example.test.".to_owned()),
        ("c.example.test.", T::CNAME, "noerror aa c.example.test. 60 CNAME a.example.test.".to_owned()),
        ("c.example.test.", T::TXT, format!("noerror aa c.example.test. 60 CNAME a.example.test. / {soa}")),
        ("out.example.test.", T::A, "noerror aa out.example.test. 60 CNAME a.other.test.".to_owned()),
        ("dead.example.test.", T::A, format!("nxdomain aa dead.example.test. 60 CNAME nothing.example.test. / {soa}")),
        ("loop.example.test.", T::A, "servfail aa loop.example.test. 60 CNAME loop.example.test.".to_owned()),
        ("any.wild.example.test.", T::A, "noerror aa any.wild.example.test. 60 A 192.0.2.7".to_owned()),
        ("any.wild.example.test.", T::AAAA, format!("noerror aa / {soa}")),
        ("wild.example.test.", T::A, format!("noerror aa / {soa}")),
        ("off.example.test.", T::A, format!("nxdomain aa / {soa}")),
        ("t.example.test.", T::TXT, "noerror aa t.example.test. 60 TXT \"a\" \"b\\\"c\"".to_owned()),
        ("odd.example.test.", T::from(65_280), "noerror aa odd.example.test. 60 TYPE65280 \\# 3 abcdef".to_owned()),
        ("example.test.", T::NS, "noerror aa example.test. 3600 NS ns1.powerdns.sim.".to_owned()),
        ("example.test.", T::SOA, "noerror aa example.test. 3600 SOA".to_owned()),
        ("a.other.test.", T::A, "refused".to_owned()),
    ] {
        assert_eq!(ask(&sim, POWER, name, kind).await, expected, "{name} {kind}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_delegation_shadows_what_stands_below_it() {
    let sim = sim(Provider::Rfc2136);
    sim.with(|w| {
        w.put("example.test", "sub", "NS", 300, &["ns.sub.example.test."]);
        w.put("example.test", "ns.sub", "A", 300, &["192.0.2.53"]);
        w.put("example.test", "x.sub", "A", 300, &["192.0.2.1"]);
    });
    let referral = "noerror / sub.example.test. 300 NS ns.sub.example.test.";
    for name in ["x.sub.example.test.", "sub.example.test.", "ns.sub.example.test."] {
        assert_eq!(ask(&sim, BIND, name, T::A).await, referral);
    }
    let bytes = question("x.sub.example.test.", T::A).to_vec().expect("bytes");
    assert_eq!(send(&sim, BIND, &bytes, false).await[0].additionals.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_longest_zone_answers_whatever_stands_in_its_parent() {
    let sim = sim(Provider::PowerDns);
    sim.zone(Provider::PowerDns, "sub.example.test");
    sim.with(|w| w.put("example.test", "a.sub", "A", 60, &["192.0.2.1"]));
    assert_eq!(
        ask(&sim, POWER, "a.sub.example.test.", T::A).await,
        "nxdomain aa / sub.example.test. 3600 SOA"
    );
}

#[tokio::test(start_paused = true)]
async fn servers_learn_of_a_change_one_after_the_other() {
    let options = Options { publish: Duration::from_secs(5), spread: Duration::ZERO, ..Options::default() };
    let sim = Client::new(Provider::Hetzner, options).sim;
    let [fast, slow, stuck] = ["hydrogen.ns.hetzner.com", "oxygen.ns.hetzner.com", "helium.ns.hetzner.de"];
    sim.with(|w| {
        w.put("example.test", "a", "A", 60, &["192.0.2.1"]);
        w.server(slow).lag = Duration::from_secs(30);
    });
    pass(60).await;
    let now = sim.with(|w| w.now());
    sim.with(|w| {
        w.server_mode(stuck, Mode::Stuck(now));
        w.put("example.test", "a", "A", 60, &["192.0.2.2"]);
    });
    let seen = async |server: &str| ask(&sim, server, "a.example.test.", T::A).await.chars().last();
    pass(4).await;
    assert_eq!([seen(fast).await, seen(slow).await, seen(stuck).await], [Some('1'); 3]);
    pass(2).await;
    assert_eq!([seen(fast).await, seen(slow).await, seen(stuck).await], [Some('2'), Some('1'), Some('1')]);
    pass(60).await;
    assert_eq!([seen(fast).await, seen(slow).await, seen(stuck).await], [Some('2'), Some('2'), Some('1')]);
}

#[tokio::test(start_paused = true)]
async fn records_of_one_batch_do_not_appear_together() {
    let options = Options { publish: Duration::ZERO, spread: Duration::from_secs(10), ..Options::default() };
    let client = Client::new(Provider::Cloudflare, options);
    let zone = client.get("/zones").await.json["result"][0]["id"].as_str().expect("an id").to_owned();
    let posts: Vec<_> = (0..20)
        .map(|n| serde_json::json!({"type": "A", "name": format!("h{n}"), "content": "192.0.2.1"}))
        .collect();
    pass(1).await;
    client
        .call("POST", &format!("/zones/{zone}/dns_records/batch"), serde_json::json!({"posts": posts}))
        .await;
    let mut counts = Vec::new();
    for _ in 0..3 {
        let mut seen = 0;
        for n in 0..20 {
            let name = format!("h{n}.example.test.");
            seen += usize::from(
                ask(&client.sim, "ada.ns.cloudflare.com", &name, T::A).await.starts_with("noerror aa h"),
            );
        }
        counts.push(seen);
        pass(5).await;
    }
    assert!(counts[0] < counts[1] && counts[1] < counts[2] && counts[2] == 20, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_may_refuse_fail_be_lame_or_silent() {
    let sim = sim(Provider::Rfc2136);
    sim.with(|w| w.put("example.test", "a", "A", 60, &["192.0.2.1"]));
    for (mode, expected) in [(Mode::Refuses, "refused"), (Mode::Fails, "servfail"), (Mode::Lame, "noerror")] {
        sim.with(|w| w.server_mode(BIND, mode));
        assert_eq!(ask(&sim, BIND, "a.example.test.", T::A).await, expected);
    }
    sim.with(|w| w.server_mode(BIND, Mode::Silent));
    let silent = ask(&sim, BIND, "a.example.test.", T::A);
    assert!(tokio::time::timeout(Duration::from_secs(60), silent).await.is_err());
    let nobody = "198.18.200.1:53".parse().expect("an address");
    let nothing = sim.exchange(nobody, &[0; 12], false);
    assert!(tokio::time::timeout(Duration::from_secs(60), nothing).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_cut_over_udp_and_whole_over_tcp() {
    let sim = sim(Provider::Rfc2136);
    let long = format!("\"{}\" \"{}\" \"{}\"", "x".repeat(250), "y".repeat(250), "z".repeat(250));
    sim.with(|w| w.put("example.test", "t", "TXT", 60, &[&long]));
    let plain = question("t.example.test.", T::TXT);
    let wide = with_room(plain.clone(), 4_096);
    for (message, tcp, cut) in [(&plain, false, true), (&plain, true, false), (&wide, false, false)] {
        let out = send(&sim, BIND, &message.to_vec().expect("bytes"), tcp).await;
        assert_eq!((out[0].truncation, out[0].answers.is_empty()), (cut, cut));
    }
    sim.with(|w| w.put("example.test", "t", "TXT", 60, &[&long, &long.replace('x', "w")]));
    let out = send(&sim, BIND, &wide.to_vec().expect("bytes"), false).await;
    assert!(out[0].truncation && out[0].edns.is_some());
    assert_eq!(send(&sim, BIND, &wide.to_vec().expect("bytes"), true).await[0].answers.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nonsense_is_a_format_error() {
    let sim = sim(Provider::Rfc2136);
    let mut bytes = question("a.example.test.", T::A).to_vec().expect("bytes");
    bytes.truncate(20);
    let out = send(&sim, BIND, &bytes, true).await;
    assert_eq!((out[0].id, out[0].response_code), (7, hickory_proto::op::ResponseCode::FormErr));
}

#[tokio::test(start_paused = true)]
async fn what_providers_store_is_not_what_their_servers_answer() {
    let client = Client::new(Provider::Cloudflare, Options::default());
    client.sim.zone(Provider::Hetzner, "hetzner.test");
    client.sim.with(|w| {
        w.put("example.test", "c", "CNAME", 300, &["web.example.test"]);
        w.put("example.test", "web", "A", 300, &["192.0.2.1"]);
        w.put("example.test", "@", "CNAME", 300, &["web.example.test"]);
        w.put("example.test", "t", "TXT", 1, &["no quotes"]);
        let hidden = Record { proxied: true, ttl: Some(1), ..Record::new("web.example.test") };
        w.put_set("example.test", "shop", "CNAME", RrSet { values: vec![hidden], ..RrSet::default() });
        w.put("hetzner.test", "c", "CNAME", 60, &["web"]);
        w.put_set("hetzner.test", "web", "A", RrSet { ttl: None, ..RrSet::new(0, &["192.0.2.2"]) });
    });
    pass(10).await;
    let cloud = async |name: &str, kind| ask(&client.sim, "ada.ns.cloudflare.com", name, kind).await;
    let shop = cloud("shop.example.test.", T::A).await;
    assert!(shop.starts_with("noerror aa shop.example.test. 300 A 104.16."), "{shop}");
    assert!(cloud("shop.example.test.", T::AAAA).await.contains("2606:4700::"));
    assert_eq!(cloud("shop.example.test.", T::CNAME).await, "noerror aa / example.test. 1800 SOA");
    assert_eq!(cloud("example.test.", T::A).await, "noerror aa example.test. 300 A 192.0.2.1");
    assert_eq!(cloud("example.test.", T::CNAME).await, "noerror aa / example.test. 1800 SOA");
    assert!(cloud("c.example.test.", T::CNAME).await.ends_with("CNAME web.example.test."));
    assert_eq!(cloud("t.example.test.", T::TXT).await, "noerror aa t.example.test. 300 TXT \"no quotes\"");
    // A target without a dot is below the zone, a TTL of null is the zone's.
    let hetzner = ask(&client.sim, "hydrogen.ns.hetzner.com", "c.hetzner.test.", T::A).await;
    assert_eq!(
        hetzner,
        "noerror aa c.hetzner.test. 60 CNAME web.hetzner.test., web.hetzner.test. 3600 A 192.0.2.2"
    );
}

#[tokio::test(start_paused = true)]
async fn a_resolver_remembers_that_there_was_nothing() {
    let client = Client::new(Provider::Hetzner, Options { spread: Duration::ZERO, ..Options::default() });
    client.sim.with(|w| w.zone_mut("example.test").soa.minimum = 600);
    let early = resolve(&client.sim, "www.example.test.", T::A).await;
    assert_eq!(early, "nxdomain / example.test. 600 SOA");
    client.sim.with(|w| w.put("example.test", "www", "A", 60, &["192.0.2.1"]));
    pass(500).await;
    assert!(resolve(&client.sim, "www.example.test.", T::A).await.starts_with("nxdomain"));
    pass(101).await;
    assert_eq!(
        resolve(&client.sim, "www.example.test.", T::A).await,
        "noerror www.example.test. 60 A 192.0.2.1"
    );
    assert!(resolve(&client.sim, "hydrogen.ns.hetzner.com.", T::A).await.contains(" A 198.18."));
    client.sim.with(|w| w.zone_mut("example.test").delegation = Delegation::Unregistered);
    pass(61).await;
    assert_eq!(resolve(&client.sim, "www.example.test.", T::A).await, "nxdomain");
}

#[tokio::test(start_paused = true)]
async fn a_resolver_follows_delegations_and_aliases_between_zones() {
    let sim = sim(Provider::Rfc2136);
    sim.zone(Provider::PowerDns, "sub.example.test");
    sim.with(|w| {
        w.put("sub.example.test", "a", "A", 60, &["192.0.2.1"]);
        w.put("example.test", "c", "CNAME", 60, &["a.sub.example.test."]);
    });
    // The parent says nothing of the child: nobody finds it.
    assert!(resolve(&sim, "a.sub.example.test.", T::A).await.starts_with("nxdomain"));
    sim.with(|w| w.put("example.test", "sub", "NS", 300, &["ns1.powerdns.sim."]));
    pass(3_601).await;
    let both = "noerror a.sub.example.test. 60 A 192.0.2.1, c.example.test. 60 CNAME a.sub.example.test.";
    assert_eq!(resolve(&sim, "c.example.test.", T::A).await, both);
    sim.with(|w| w.server_mode(POWER, Mode::Silent));
    pass(61).await;
    assert!(resolve(&sim, "a.sub.example.test.", T::A).await.starts_with("servfail"));
}
