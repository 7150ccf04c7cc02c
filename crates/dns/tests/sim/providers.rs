//! What every provider must do alike, and what each does in its own way.

use crate::rig::{ALL, ZONE, all, credential, port_of, set_up, word, world, writes};
use crate::stack::{Stack, data, key, name, want, zone};
use berth_model::dns::{DnsMarkSeen, MarkPlace, Policy, Ttl, WantedSet, Writable, ZoneChoice, ZoneRules};
use berth_ports::{Dns, PortError, Severity};
use berth_sim::dns::{Provider, Token};
use std::collections::BTreeSet;
use std::time::Duration;

const SYNC: ZoneRules = ZoneRules { policy: Policy::Sync, adopt: false };

#[tokio::test(start_paused = true)]
async fn records_come_change_and_go_and_nothing_else_moves() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let before = all(&world);
        let id = zone(&port, "app.z.test").await;
        let mut stack = Stack::new("shop");
        stack.rules = SYNC;
        let first = [
            want("app.z.test A", &["192.0.2.1", "192.0.2.2"], 120),
            want("app.z.test AAAA", &["2001:DB8:0::1"], 0),
            want("*.dev.z.test CNAME", &["app.z.test"], 60),
            want("z.test A", &["192.0.2.3"], 60),
            want("text.z.test TXT", &["say \"hi\" \\ there"], 300),
        ];
        assert_eq!(stack.round(&port, &id, &first, false).await.changes.len(), 4, "{provider:?}");
        let second = [
            want("app.z.test CNAME", &["elsewhere.test"], 60),
            want("z.test A", &["192.0.2.4", "192.0.2.3"], 90),
            want("text.z.test TXT", &["say \"hi\" \\ there"], 60),
        ];
        stack.round(&port, &id, &second, false).await;
        let view = stack.view(&port, &id, &second).await;
        for set in &second {
            let seen = view.set(set.key());
            let seen = seen.present().unwrap_or_else(|| panic!("{provider:?} {}", set.key()));
            assert_eq!(seen.data(), *set.values(), "{provider:?}");
            assert!(seen.mark.ours().is_some(), "{provider:?}");
            assert!(seen.values.values().all(|v| v.ttl == set.ttl()), "{provider:?} {seen:?}");
        }
        // What stands as wanted is not sent.
        world.0.clear_calls();
        stack.round(&port, &id, &second, false).await;
        assert_eq!(writes(&world), [""; 0], "{provider:?}");
        stack.round(&port, &id, &[], true).await;
        assert_eq!(all(&world), before, "{provider:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_have_in_our_sets_stays() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let before = all(&world);
        let id = zone(&port, "z.test").await;
        let mut stack = Stack::new("shop");
        // A text of ours beside theirs, changed and taken away.
        for text in [&["ours"][..], &["ours", "more"], &["else"]] {
            stack.round(&port, &id, &[want("z.test TXT", text, 60)], false).await;
            let texts = world.0.with(|w| w.contents(ZONE, "@", "TXT"));
            assert_eq!(texts.len(), 2 + text.len(), "{provider:?} {texts:?}");
            assert!(texts.contains(&"\"v=spf1 \" \"-all\"".to_owned()), "{provider:?} {texts:?}");
        }
        stack.round(&port, &id, &[], true).await;
        assert_eq!(all(&world), before, "{provider:?}");
        // A stranger's address beside ours.
        let host = [want("app.z.test A", &["192.0.2.1"], 60)];
        stack.round(&port, &id, &host, false).await;
        world.0.with(|w| {
            let mut set = w.get(ZONE, "app", "A").unwrap();
            let mut theirs = berth_sim::dns::Value::new("192.0.2.9");
            theirs.id = "00000000000000000000000000000009".to_owned();
            theirs.ttl = set.values[0].ttl;
            set.values.push(theirs);
            w.put_set(ZONE, "app", "A", set);
        });
        let judged = stack.round(&port, &id, &host, false).await;
        assert!(judged.changes.is_empty() && judged.notes.len() == 1, "{provider:?} {judged:?}");
        stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.2"], 60)], false).await;
        assert_eq!(
            world.0.with(|w| w.contents(ZONE, "app", "A")),
            ["192.0.2.2", "192.0.2.9"],
            "{provider:?}"
        );
        stack.round(&port, &id, &[], true).await;
        assert_eq!(world.0.with(|w| w.contents(ZONE, "app", "A")), ["192.0.2.9"], "{provider:?}");
        let text = all(&world).join("\n");
        assert!(!text.contains("berth"), "{provider:?} {text}");
    }
}

#[tokio::test(start_paused = true)]
async fn conflicts_adoption_drift_and_a_lost_store() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let before = all(&world);
        let id = zone(&port, "z.test").await;
        let mut stack = Stack::new("shop");
        let taken = [
            want("mail.z.test A", &["192.0.2.99"], 0),
            want("two.z.test CNAME", &["x.test"], 0),
            want("mail.z.test AAAA", &["2001:db8::1"], 0),
        ];
        let view = stack.view(&port, &id, &taken).await;
        let judged = stack.judge(&view, &taken[..2], false);
        assert_eq!((judged.changes.len(), judged.blocked.len()), (0, 2), "{provider:?} {judged:?}");
        // Exactly what is wanted, unmarked: left, and taken over where that is allowed.
        let same = [want("two.z.test A", &["192.0.2.78", "192.0.2.77"], 600)];
        assert!(stack.round(&port, &id, &same, false).await.changes.is_empty());
        assert_eq!(all(&world), before, "{provider:?}");
        stack.rules.adopt = true;
        assert_eq!(stack.round(&port, &id, &same, false).await.changes.len(), 1, "{provider:?}");
        stack.rules.adopt = false;
        // The store is lost: marks and their hashes bring the ledger back, adoption and all.
        stack.ledger = Default::default();
        assert!(stack.round(&port, &id, &same, false).await.changes.is_empty(), "{provider:?}");
        stack.round(&port, &id, &[], true).await;
        assert_eq!(all(&world), before, "{provider:?}");
        // Changed by hand: put back.
        stack.ledger = Default::default();
        let host = [want("app.z.test A", &["192.0.2.1"], 60)];
        stack.round(&port, &id, &host, false).await;
        world.0.with(|w| {
            let mut set = w.get(ZONE, "app", "A").unwrap();
            set.values[0].content = "192.0.2.66".to_owned();
            w.put_set(ZONE, "app", "A", set);
        });
        assert_eq!(stack.round(&port, &id, &host, false).await.changes.len(), 1, "{provider:?}");
        assert_eq!(world.0.with(|w| w.contents(ZONE, "app", "A")), ["192.0.2.1"], "{provider:?}");
        // Somebody imports a zone file: the marks are gone, and come back, since the ledger knows the values.
        if provider != Provider::Rfc2136 && provider != Provider::Hostinger {
            world.0.with(|w| w.wipe_marks(ZONE));
        } else {
            world.0.with(|w| w.remove(ZONE, "_berth-a.app", "TXT"));
        }
        assert_eq!(stack.round(&port, &id, &host, false).await.changes.len(), 1, "{provider:?}");
        stack.round(&port, &id, &[], true).await;
        assert_eq!(world.0.with(|w| w.contents(ZONE, "app", "A")), [""; 0], "{provider:?}");
    }
}

/// Changes of one zone that come close together go together.
#[tokio::test(start_paused = true)]
async fn a_batch_is_few_calls() {
    for (provider, most) in [
        (Provider::Cloudflare, 1),
        (Provider::PowerDns, 1),
        (Provider::Rfc2136, 1),
        // The rehearsal, the marks, the records.
        (Provider::Hostinger, 3),
        (Provider::Hetzner, 30),
    ] {
        let (world, port) = set_up(provider);
        let id = zone(&port, "z.test").await;
        let mut stack = Stack::new("shop");
        let wanted: Vec<_> = (0..30).map(|n| want(&format!("h{n}.z.test A"), &["192.0.2.1"], 60)).collect();
        world.0.clear_calls();
        stack.round(&port, &id, &wanted, false).await;
        assert_eq!(writes(&world).len(), most, "{provider:?} {:?}", writes(&world));
    }
}

/// A lifetime that cannot be had is not asked for again and again.
#[tokio::test(start_paused = true)]
async fn a_ttl_below_the_least_settles() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let id = zone(&port, "z.test").await;
        let mut stack = Stack::new("shop");
        let host = [want("app.z.test A", &["192.0.2.1"], 5)];
        stack.round(&port, &id, &host, false).await;
        world.0.clear_calls();
        stack.round(&port, &id, &host, false).await;
        assert_eq!(writes(&world), [""; 0], "{provider:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn hetzner_marks_in_the_create_itself_and_keeps_others_labels() {
    let (world, port) = set_up(Provider::Hetzner);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    let host = [want("app.z.test A", &["192.0.2.1"], 0)];
    world.0.clear_calls();
    stack.round(&port, &id, &host, false).await;
    assert_eq!(writes(&world), ["hetzner.rrsets.create"]);
    let set = world.0.with(|w| w.get(ZONE, "app", "A")).unwrap();
    assert_eq!(set.labels["berth.dev/owner"], "prod");
    assert_eq!(set.ttl, None);
    // Somebody labels it, protects it, and takes the protection off again.
    world.0.with(|w| {
        let mut set = set.clone();
        set.labels.insert("team".to_owned(), "web".to_owned());
        set.protected = true;
        w.put_set(ZONE, "app", "A", set);
    });
    let other = [want("app.z.test A", &["192.0.2.2"], 60)];
    let view = stack.view(&port, &id, &other).await;
    let judged = stack.judge(&view, &other, false);
    assert!(judged.changes.is_empty() && judged.blocked[0].to_string().contains("protected"), "{judged:?}");
    world.0.with(|w| {
        let mut set = w.get(ZONE, "app", "A").unwrap();
        set.protected = false;
        w.put_set(ZONE, "app", "A", set);
    });
    stack.round(&port, &id, &other, false).await;
    let set = world.0.with(|w| w.get(ZONE, "app", "A")).unwrap();
    assert_eq!((set.labels["team"].as_str(), set.ttl), ("web", Some(60)));
    assert_eq!(stack.view(&port, &id, &other).await.facts.marks, MarkPlace::Labels);
}

/// Targets without a dot at their end stand below the zone; read as they are meant, they do not differ.
#[tokio::test(start_paused = true)]
async fn hetzner_reads_undotted_targets_as_they_are_meant() {
    let (world, port) = set_up(Provider::Hetzner);
    world.0.with(|w| w.put(ZONE, "www", "CNAME", 60, &["app"]));
    let id = zone(&port, "z.test").await;
    let stack = Stack::new("shop");
    let wanted = [want("www.z.test CNAME", &["app.z.test"], 60)];
    let view = stack.view(&port, &id, &wanted).await;
    let judged = stack.judge(&view, &wanted, false);
    assert!(judged.right.contains(&key("www.z.test CNAME")), "{judged:?}");
}

#[tokio::test(start_paused = true)]
async fn cloudflare_proxies_and_keeps_ids_and_words() {
    let (world, port) = set_up(Provider::Cloudflare);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    let proxied = |ip: &str, proxied| {
        [WantedSet::new(key("app.z.test A"), [data(&format!("A {ip}"))].into(), Ttl::Seconds(300), proxied)
            .unwrap()]
    };
    stack.round(&port, &id, &proxied("192.0.2.1", Some(true)), false).await;
    let seen =
        |world: &crate::rig::World| world.0.with(|w| w.get(ZONE, "app", "A")).unwrap().values[0].clone();
    let first = seen(&world);
    assert!(first.proxied);
    // A new value keeps the object, and so do the words that somebody wrote into its comment.
    world.0.with(|w| {
        let mut set = w.get(ZONE, "app", "A").unwrap();
        let comment = set.values[0].comment.clone().unwrap();
        set.values[0].comment = Some(format!("front door {comment}"));
        w.put_set(ZONE, "app", "A", set);
    });
    stack.round(&port, &id, &proxied("192.0.2.2", Some(true)), false).await;
    let second = seen(&world);
    assert_eq!(second.id, first.id);
    assert!(second.comment.unwrap().starts_with("front door berth/1 prod/shop h="));
    // Left open, it stays as it is; said to be plain, it becomes plain.
    assert!(stack.round(&port, &id, &proxied("192.0.2.2", None), false).await.changes.is_empty());
    stack.round(&port, &id, &proxied("192.0.2.2", Some(false)), false).await;
    assert!(!seen(&world).proxied);
    // A comment without room for the mark is not cut short.
    world.0.with(|w| {
        let mut set = w.get(ZONE, "mail", "A").unwrap();
        set.values[0].comment = Some("x".repeat(90));
        w.put_set(ZONE, "mail", "A", set);
    });
    stack.rules.adopt = true;
    let wanted = [want("mail.z.test A", &["192.0.2.25"], 600)];
    let (_, failed) = stack.try_round(&port, &id, &wanted, false).await.unwrap();
    assert!(matches!(&failed[..], [PortError::Refused { why }] if why.contains("no room")), "{failed:?}");
}

/// Several hundred records are several pages; one that is missed would be made again.
#[tokio::test(start_paused = true)]
async fn every_page_is_read() {
    for provider in [Provider::Cloudflare, Provider::Hetzner] {
        let (world, port) = set_up(provider);
        world.0.with(|w| {
            for n in 0..350 {
                w.put(ZONE, &format!("n{n}"), "A", 60, &["192.0.2.1"]);
            }
        });
        let id = zone(&port, "z.test").await;
        let view = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
        assert!(view.names.len() > 350, "{provider:?} {}", view.names.len());
    }
}

#[tokio::test(start_paused = true)]
async fn zones_are_told_apart_and_what_cannot_be_written_says_so() {
    // A secondary zone, a zone without delegation, a token that only reads.
    let (world, token) = world(Provider::Hetzner, 1);
    let read_only = Token::new(
        Provider::Hetzner,
        "main",
        "readOnlySimTokenOfSixtyFourLettersAsTheRealOnesHave0123456789ab",
    );
    world.0.with(|w| {
        w.zone_mut(ZONE).primary = false;
        w.add_zone(Provider::Hetzner, "main", "y.test");
        w.zone_mut("y.test").delegation = berth_sim::dns::Delegation::Lame;
        w.add_token(read_only.clone().read_only());
    });
    let port = port_of(&world, vec![credential(&world, Provider::Hetzner, &token)], 1);
    let found = port.preflight(&[name("a.z.test"), name("a.y.test")].into()).await;
    let said = |zone: &str, severity: Severity| -> String {
        let of_it = found.iter().filter(|p| p.zone == Some(name(zone))).flat_map(|p| &p.findings);
        of_it.filter(|f| f.severity == severity).map(|f| f.text.clone()).collect::<Vec<_>>().join("\n")
    };
    assert!(
        said("z.test", Severity::Error).contains("secondary")
            || said("z.test", Severity::Error).contains("cannot be read"),
        "{found:?}"
    );
    assert!(said("y.test", Severity::Warning).contains("'lame'"), "{found:?}");
    // A read-only token: the zone is seen, the write is refused as what it is.
    let port = port_of(&world, vec![credential(&world, Provider::Hetzner, &read_only.secret)], 1);
    let id = zone(&port, "a.y.test").await;
    let mut stack = Stack::new("shop");
    let (_, failed) =
        stack.try_round(&port, &id, &[want("a.y.test A", &["192.0.2.1"], 60)], false).await.unwrap();
    assert!(matches!(&failed[..], [PortError::Auth { why }] if why.contains("only reads")), "{failed:?}");
    // Cloudflare's list shows only what the token may see.
    let (world, token) = crate::rig::world(Provider::Cloudflare, 1);
    world.0.with(|w| w.add_zone(Provider::Cloudflare, "somebody", "x.test"));
    let port = port_of(&world, vec![credential(&world, Provider::Cloudflare, &token)], 1);
    assert_eq!(port.zone_of(&name("a.x.test")).await, Ok(ZoneChoice::Nowhere));
    let id = zone(&port, "a.z.test").await;
    let view = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    assert_eq!(view.facts.writable, Writable::Yes);
}

/// Two providers, one name: each zone is its provider's, whatever the other one would do with it.
#[tokio::test(start_paused = true)]
async fn every_zone_goes_to_its_own_provider() {
    let (world, token) = world(Provider::Hetzner, 1);
    world.0.zone(Provider::Cloudflare, "y.test");
    let cloudflare = world
        .0
        .with(|w| w.tokens.iter().find(|t| t.provider == Provider::Cloudflare).unwrap().secret.clone());
    let port = port_of(
        &world,
        vec![
            credential(&world, Provider::Hetzner, &token),
            credential(&world, Provider::Cloudflare, &cloudflare),
        ],
        1,
    );
    let mut stack = Stack::new("shop");
    // The same host of both: two records, kept apart, and each goes where it came from.
    for (host, of) in [("api.z.test", Provider::Hetzner), ("api.y.test", Provider::Cloudflare)] {
        let id = zone(&port, host).await;
        assert_eq!(id.credential.as_str(), word(of));
        stack.round(&port, &id, &[want(&format!("{host} A"), &["192.0.2.1"], 60)], false).await;
    }
    assert_eq!(stack.ledger.0.len(), 2);
    for entry in stack.ledger.clone().0.values() {
        stack.round(&port, &entry.zone.clone(), &[], true).await;
    }
    assert!(world.0.with(|w| w.get("y.test", "api", "A").is_none() && w.get(ZONE, "api", "A").is_none()));
    assert_eq!(stack.ledger.0.len(), 0);
}

/// Hostinger answers a bare list, and takes values as additions unless told otherwise. Elsewhere a client expected
/// something around the list, saw nothing in every zone, and added addresses to addresses.
#[tokio::test(start_paused = true)]
async fn hostinger_replaces_and_never_adds_up() {
    let (world, port) = set_up(Provider::Hostinger);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 300)], false).await;
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.2"], 300)], false).await;
    assert_eq!(world.0.with(|w| w.contents(ZONE, "app", "A")), ["192.0.2.2"]);
    let view = stack.view(&port, &id, &[]).await;
    assert_eq!(view.set(&key("mail.z.test A")).present().unwrap().mark, DnsMarkSeen::None);
    stack.round(&port, &id, &[], true).await;
    assert_eq!(world.0.with(|w| w.contents(ZONE, "app", "A")), [""; 0]);
    assert!(world.0.calls().iter().all(|c| !c.procedure.contains("reset")));
}
