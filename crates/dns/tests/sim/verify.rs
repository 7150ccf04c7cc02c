//! Verification against simulated servers that lag, lie, refuse or keep silent, and a recursor that remembers.

use crate::rig::{ALL, ZONE, set_up};
use crate::stack::{Stack, data, key, name, want, zone};
use berth_model::dns::{
    Asked, Expected, ServerSays, Ttl, Verdict, Verification, VerifyMode, WantedSet, ZoneId,
};
use berth_plan::dns::asked;
use berth_ports::Dns;
use berth_sim::dns::{Delegation, Mode, Provider, RESOLVER};
use std::time::Duration;

fn values(text: &str, values: &[&str]) -> Asked {
    Asked {
        key: key(text),
        expected: Expected::Values { ours: values.iter().map(|v| data(v)).collect(), beside: [].into() },
        mode: VerifyMode::Authoritative,
        recursors: true,
    }
}

async fn look(port: &crate::rig::Port, id: &ZoneId, asked: &Asked) -> Verification {
    port.verify(id, asked).await.unwrap()
}

/// How often the recursor was asked about a name.
fn asked_recursor(world: &crate::rig::World, name: &str) -> usize {
    let calls = world.0.calls();
    calls
        .iter()
        .filter(|c| c.procedure.contains("recurs") || c.summary.contains("198.18.255.53"))
        .filter(|c| c.summary.contains(name))
        .count()
}

/// A recursor that is asked too early remembers that there is nothing, for as long as the zone's SOA says. Elsewhere a
/// tool asked one first, right after the create.
#[tokio::test(start_paused = true)]
async fn a_recursor_is_asked_last() {
    for provider in [Provider::Hetzner, Provider::Cloudflare, Provider::Hostinger] {
        let (world, port) = set_up(provider);
        let id = zone(&port, "app.z.test").await;
        let question = values("app.z.test A", &["A 192.0.2.1"]);
        // Not made yet: nobody is asked.
        let found = look(&port, &id, &question).await;
        assert!(
            found.servers.is_empty() && matches!(found.verdict, Verdict::Wrong(_)),
            "{provider:?} {found:?}"
        );
        let mut stack = Stack::new("shop");
        stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 60)], false).await;
        // At the provider, not at its servers yet.
        let found = look(&port, &id, &question).await;
        assert!(!found.servers.is_empty(), "{provider:?} {found:?}");
        if found.verdict != Verdict::Right {
            assert!(found.negative_ttl.is_some(), "{provider:?} {found:?}");
        }
        assert!(found.recursors.is_empty() || found.verdict == Verdict::Right);
        let early = found.verdict != Verdict::Right;
        assert!(!early || asked_recursor(&world, "app.z.test") == 0, "{provider:?}");
        tokio::time::sleep(Duration::from_secs(10)).await;
        let found = look(&port, &id, &question).await;
        assert_eq!(found.verdict, Verdict::Right, "{provider:?} {found:?}");
        assert!(found.servers.len() >= 2, "{provider:?} {found:?}");
        assert_eq!(found.recursors.len(), 1);
        assert!(found.recursors[0].says.is_right(), "{provider:?} {found:?}");
        assert_eq!(found.recursors[0].address, RESOLVER);
        assert_eq!(asked_recursor(&world, "app.z.test"), 1, "{provider:?}");
    }
}

/// Every server has its own say, by both families, and a broken one is told from a late one.
#[tokio::test(start_paused = true)]
async fn one_bad_server_among_good_ones_is_found() {
    let (world, port) = set_up(Provider::Hetzner);
    let id = zone(&port, "app.z.test").await;
    let mut stack = Stack::new("shop");
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 60)], false).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let question = values("app.z.test A", &["A 192.0.2.1"]);
    let bad = "helium.ns.hetzner.de";
    let check = |mode: Mode| {
        world.0.with(|w| w.server_mode(bad, mode));
        let (port, id, question) = (&port, &id, &question);
        async move {
            let found = look(port, id, question).await;
            let says: Vec<_> = found
                .servers
                .iter()
                .filter(|s| s.server == Some(name(bad)))
                .map(|s| s.says.clone())
                .collect();
            assert!(says.len() == 2, "both families: {found:?}");
            let others = found.servers.iter().filter(|s| s.server != Some(name(bad)));
            assert!(others.clone().count() == 4 && others.clone().all(|s| s.says.is_right()), "{found:?}");
            (found.verdict, says[0].clone())
        }
    };
    let (verdict, says) = check(Mode::Answers).await;
    assert!(verdict == Verdict::Right && says.is_right());
    let (verdict, says) = check(Mode::Refuses).await;
    assert!(matches!(verdict, Verdict::Wrong(_)) && matches!(says, ServerSays::NotServed { .. }), "{says:?}");
    let (verdict, says) = check(Mode::Fails).await;
    assert!(matches!(verdict, Verdict::Wrong(_)) && matches!(says, ServerSays::NotServed { .. }), "{says:?}");
    let (verdict, says) = check(Mode::Lame).await;
    assert!(matches!(verdict, Verdict::Wrong(_)) && matches!(says, ServerSays::NotServed { .. }), "{says:?}");
    let (verdict, says) = check(Mode::Silent).await;
    assert!(matches!(verdict, Verdict::Unknown(_)) && matches!(says, ServerSays::Silent { .. }), "{says:?}");
    // It took nothing since before the next change.
    world.0.with(|w| {
        let now = w.now();
        w.server_mode(bad, Mode::Stuck(now));
    });
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.2"], 60)], false).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let found = look(&port, &id, &values("app.z.test A", &["A 192.0.2.2"])).await;
    let stale = found.servers.iter().find(|s| s.server == Some(name(bad))).unwrap();
    assert_eq!(stale.says, ServerSays::Other { values: vec!["A 192.0.2.1".into()], ttl: 60 });
    assert!(matches!(&found.verdict, Verdict::Wrong(why) if why.contains(bad)), "{found:?}");
}

/// What was right once is asked again: a record that breaks later is found.
#[tokio::test(start_paused = true)]
async fn a_record_that_breaks_later_is_found() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let id = zone(&port, "app.z.test").await;
        let mut stack = Stack::new("shop");
        stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 60)], false).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
        let question = values("app.z.test A", &["A 192.0.2.1"]);
        assert_eq!(look(&port, &id, &question).await.verdict, Verdict::Right, "{provider:?}");
        world.0.with(|w| w.remove(ZONE, "app", "A"));
        tokio::time::sleep(Duration::from_secs(30)).await;
        assert!(matches!(look(&port, &id, &question).await.verdict, Verdict::Wrong(_)), "{provider:?}");
    }
}

/// A proxied name answers the provider's own addresses, and an alias at the zone's own name those of its target.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_compared_is_verified_by_its_presence() {
    let (world, port) = set_up(Provider::Cloudflare);
    let id = zone(&port, "app.z.test").await;
    let mut stack = Stack::new("shop");
    let proxied = |text: &str, value: &str, proxied| {
        WantedSet::new(key(text), [data(value)].into(), Ttl::Auto, proxied).unwrap()
    };
    world.0.with(|w| {
        w.remove(ZONE, "@", "TXT");
        w.remove(ZONE, "@", "MX");
    });
    let wanted = [
        proxied("app.z.test A", "A 192.0.2.1", Some(true)),
        proxied("www.z.test CNAME", "CNAME app.z.test", Some(true)),
        proxied("z.test CNAME", "CNAME mail.z.test", None),
    ];
    stack.round(&port, &id, &wanted, false).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let view = stack.view(&port, &id, &wanted).await;
    for set in &wanted {
        let question = asked(&view, set, VerifyMode::Authoritative, false);
        assert_eq!(question.expected, Expected::Presence);
        assert_eq!(look(&port, &id, &question).await.verdict, Verdict::Right, "{}", set.key());
        // Compared with what is stored, it would look wrong for ever.
        let ours = set.values().clone();
        let compared = Asked { expected: Expected::Values { ours, beside: [].into() }, ..question };
        assert!(matches!(look(&port, &id, &compared).await.verdict, Verdict::Wrong(_)), "{}", set.key());
    }
}

/// A zone that the world is not sent to is told from a record that is wrong.
#[tokio::test(start_paused = true)]
async fn a_wrong_delegation_has_its_own_words() {
    let (world, port) = set_up(Provider::Hetzner);
    world.0.with(|w| w.zone_mut(ZONE).delegation = Delegation::Unregistered);
    let id = zone(&port, "app.z.test").await;
    let mut stack = Stack::new("shop");
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 60)], false).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let found = look(&port, &id, &values("app.z.test A", &["A 192.0.2.1"])).await;
    assert_eq!(found.verdict, Verdict::Right, "{found:?}");
    assert!(found.delegation.as_ref().is_some_and(|d| d.contains("'unregistered'")), "{found:?}");
}
