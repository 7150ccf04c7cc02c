//! Lost answers, refusals at random, limits, locks, short lists, callers who go away.

use crate::rig::{ALL, ZONE, all, credential, port_of, set_up, world, writes};
use crate::stack::{Stack, data, key, name, want, zone};
use berth_dns::ProviderOptions;
use berth_model::Secret;
use berth_ports::{Dns, PortError};
use berth_sim::dns::{Provider, Token};
use berth_sim::{Fault, Rule};
use berth_wire::KeySource;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How a provider's writes begin in the book of calls.
fn writing(provider: Provider) -> &'static str {
    match provider {
        Provider::Hetzner => "hetzner.rrsets.create",
        Provider::Cloudflare => "cloudflare.records.batch",
        Provider::Hostinger => "hostinger.zone.update",
        Provider::PowerDns => "powerdns.",
        Provider::Rfc2136 => "rfc2136.",
    }
}

fn on_writes(provider: Provider, fault: Fault) -> Rule {
    Rule { mutation: Some(true), ..Rule::on(writing(provider), fault) }
}

/// The effect happened and the answer was lost: a look tells, and nobody has to try again.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_is_looked_for() {
    for provider in ALL {
        for fault in [Fault::After, Fault::HangAfter, Fault::ErrorAfterCommit, Fault::Cut, Fault::Garbage] {
            let (world, port) = set_up(provider);
            let id = zone(&port, "z.test").await;
            let mut stack = Stack::new("shop");
            world.0.set_rules(vec![on_writes(provider, fault.clone()).times(1)]);
            let host = [want("app.z.test A", &["192.0.2.1"], 60)];
            stack.round(&port, &id, &host, false).await;
            let made = world.0.with(|w| w.created("app.z.test.", "A"));
            assert_eq!(made, 1, "{provider:?} {fault:?}");
        }
    }
}

/// What had no effect and may pass later is tried again by itself.
#[tokio::test(start_paused = true)]
async fn what_passes_by_itself_is_waited_out() {
    for provider in ALL.into_iter().filter(|p| *p != Provider::Rfc2136) {
        for fault in [
            Fault::Before,
            Fault::TooMany { retry_after: Some(3) },
            Fault::BadGateway,
            Fault::ServerError,
            Fault::Unavailable { retry_after: None },
        ] {
            let (world, port) = set_up(provider);
            let id = zone(&port, "z.test").await;
            let mut stack = Stack::new("shop");
            world.0.set_rules(vec![on_writes(provider, fault.clone()).times(2)]);
            stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 60)], false).await;
        }
    }
}

/// In the middle of much work Cloudflare says 403 at random to a token that is fine.
#[tokio::test(start_paused = true)]
async fn cloudflares_random_403_is_tried_again_and_a_real_one_is_told() {
    let (world, port) = set_up(Provider::Cloudflare);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    world.0.set_rules(vec![Rule::on("cloudflare.", Fault::Forbidden).times(3)]);
    stack.round(&port, &id, &[want("app.z.test A", &["192.0.2.1"], 60)], false).await;
    world.0.set_rules(vec![Rule::on("cloudflare.", Fault::Forbidden)]);
    let error = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap_err();
    assert!(matches!(&error, PortError::Auth { why } if why.contains("10000")), "{error}");
}

/// While one action of Hetzner's runs, others of the zone are locked out: ours wait for each other.
#[tokio::test(start_paused = true)]
async fn hetzners_actions_are_waited_for() {
    let (world, port) = set_up(Provider::Hetzner);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    let wanted: Vec<_> = (0..10).map(|n| want(&format!("h{n}.z.test A"), &["192.0.2.1"], 60)).collect();
    stack.round(&port, &id, &wanted, false).await;
    let locked = world.0.calls().iter().filter(|c| c.status == Some(423)).count();
    assert_eq!(locked, 0);
    // An action that ends badly is a refusal with its words, for its own record.
    world.0.with(|w| w.action_errors.push(("invalid_input", "the zone does not like it")));
    let more = [want("x.z.test A", &["192.0.2.1"], 60), want("y.z.test A", &["192.0.2.1"], 60)];
    let (_, failed) = stack.try_round(&port, &id, &more, false).await.unwrap();
    assert!(
        matches!(&failed[..], [PortError::Refused { why }] if why.contains("does not like it")),
        "{failed:?}"
    );
    // Somebody else's actions lock us out for a moment; that is waited out.
    let (_, failed) = stack.try_round(&port, &id, &more, false).await.unwrap();
    assert!(failed.is_empty(), "{failed:?}");
}

/// The budget is kept before it is used up: not one call is refused.
#[tokio::test(start_paused = true)]
async fn budgets_are_kept() {
    for provider in [Provider::Hostinger, Provider::Cloudflare, Provider::Hetzner] {
        let (world, port) = set_up(provider);
        let id = zone(&port, "z.test").await;
        for n in 0..120 {
            let mut stack = Stack::new("shop");
            let host = [want(&format!("h{}.z.test A", n % 4), &[&format!("192.0.2.{n}")], 60)];
            // Wanted by one stack after the other: the second finds it taken, and no call is made for that.
            let _ = stack.try_round(&port, &id, &host, false).await;
        }
        let refused = world.0.calls().iter().filter(|c| matches!(c.status, Some(429 | 403))).count();
        assert_eq!(refused, 0, "{provider:?}");
    }
}

/// A list that lacks rows must not pass for the zone, where its own count tells.
#[tokio::test(start_paused = true)]
async fn a_short_list_is_not_believed() {
    let (world, port) = set_up(Provider::Cloudflare);
    let id = zone(&port, "z.test").await;
    let whole = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    let short = |times| Rule { mutation: Some(false), ..Rule::on("", Fault::ShortList).times(times) };
    world.0.set_rules(vec![short(1)]);
    let again = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    assert_eq!(again.names, whole.names);
    world.0.set_rules(vec![short(9)]);
    let error = port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap_err();
    assert!(
        matches!(&error, PortError::Retry { why, .. } if why.contains("changed while it was read")),
        "{error}"
    );
}

/// Something writes between our look and our change: nothing is written over.
#[tokio::test(start_paused = true)]
async fn what_changed_meanwhile_is_a_conflict() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let id = zone(&port, "z.test").await;
        let mut stack = Stack::new("shop");
        let wanted = [want("app.z.test A", &["192.0.2.1"], 60), want("fine.z.test A", &["192.0.2.1"], 60)];
        let view = stack.view(&port, &id, &wanted).await;
        let judged = stack.judge(&view, &wanted, false);
        world.0.with(|w| w.put(ZONE, "app", "CNAME", 60, &["x.test."]));
        let answers = stack.carry_out(&port, &id, &judged).await;
        assert!(
            matches!(&answers[0], Err(PortError::Conflict(_) | PortError::Refused { .. })),
            "{provider:?} {answers:?}"
        );
        assert!(answers[1].is_ok(), "{provider:?} {answers:?}");
        assert_eq!(world.0.with(|w| w.contents(ZONE, "app", "A")), [""; 0], "{provider:?}");
        // And what stands there now is told.
        let view = stack.view(&port, &id, &wanted).await;
        let judged = stack.judge(&view, &wanted, false);
        assert!(
            judged.blocked[0].to_string().contains("CNAME app.z.test x.test"),
            "{provider:?} {:?}",
            judged.blocked
        );
    }
}

/// A caller who goes away takes nobody along, and leaves no look that is too old.
#[tokio::test(start_paused = true)]
async fn who_goes_away_leaves_nothing_stale() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        world.0.set_latency(Duration::from_millis(200));
        let id = zone(&port, "z.test").await;
        let mut stack = Stack::new("shop");
        let wanted = [want("a.z.test A", &["192.0.2.1"], 60), want("b.z.test A", &["192.0.2.1"], 60)];
        let view = stack.view(&port, &id, &wanted).await;
        let judged = stack.judge(&view, &wanted, false);
        // One leaves while changes are gathered: its change is not made.
        let first = port.change(&id, judged.changes[0].clone());
        let left = tokio::time::timeout(Duration::from_millis(100), first);
        let second = port.change(&id, judged.changes[1].clone());
        let (left, second) = futures::join!(left, second);
        assert!(left.is_err() && second.is_ok(), "{provider:?} {second:?}");
        assert_eq!(world.0.with(|w| w.contents(ZONE, "a", "A")), [""; 0], "{provider:?}");
        // One leaves while its change is on the way: whatever became of it, the next look shows it.
        for millis in [300, 500, 900, 1_500] {
            let change = port.change(&id, judged.changes[0].clone());
            let _ = tokio::time::timeout(Duration::from_millis(millis), change).await;
            tokio::time::sleep(Duration::from_secs(3)).await;
            let view = port.view(&id, &[name("a.z.test")].into(), Duration::from_secs(3600)).await.unwrap();
            let shown = view.set(&key("a.z.test A")).present().map(|s| s.data()).unwrap_or_default();
            let there: BTreeSet<_> = world
                .0
                .with(|w| w.contents(ZONE, "a", "A"))
                .iter()
                .map(|v| data(&format!("A {v}")))
                .collect();
            assert_eq!(shown, there, "{provider:?} after {millis} ms");
        }
        world.0.set_latency(Duration::ZERO);
        stack.round(&port, &id, &wanted, false).await;
    }
}

struct Keys(Mutex<String>, Mutex<bool>);

impl KeySource for Keys {
    fn read(&self) -> Option<Secret> {
        *self.1.lock().unwrap() = false;
        Some(Secret::new(self.0.lock().unwrap().clone()))
    }
    fn changed(&self) -> bool {
        *self.1.lock().unwrap()
    }
}

/// A new key is used as soon as it is there and let in; one that is not leaves the old one in use.
#[tokio::test(start_paused = true)]
async fn a_key_may_be_changed_while_it_runs() {
    let (world, token) = world(Provider::Cloudflare, 1);
    let mut one = credential(&world, Provider::Cloudflare, &token);
    let keys = Arc::new(Keys(Mutex::new(token.clone()), Mutex::new(false)));
    one.provider = ProviderOptions::Cloudflare { key: keys.clone(), url: None };
    let port = port_of(&world, vec![one], 1);
    let id = zone(&port, "z.test").await;
    let turn = |text: &str| {
        *keys.0.lock().unwrap() = text.to_owned();
        *keys.1.lock().unwrap() = true;
    };
    turn("wrongSimTokenOfForty0123456789abcdefghij");
    port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    let second = Token::new(Provider::Cloudflare, "main", "secondSimTokenOfForty0123456789abcdefghi");
    world.0.with(|w| w.add_token(second.clone()));
    turn(&second.secret);
    port.view(&id, &BTreeSet::new(), Duration::ZERO).await.unwrap();
    assert_eq!(world.0.calls().last().unwrap().key, second.secret);
}

/// Nothing that a provider says puts a token into an error.
#[tokio::test(start_paused = true)]
async fn tokens_stand_in_no_error() {
    for provider in ALL {
        let (world, port) = set_up(provider);
        let id = zone(&port, "z.test").await;
        let before = all(&world);
        for fault in
            [Fault::Unauthorized, Fault::ErrorAfterCommit, Fault::Garbage, Fault::Forbidden, Fault::Hang]
        {
            world.0.set_rules(vec![Rule::on("", fault)]);
            if let Err(error) = port.view(&id, &[name("a.z.test")].into(), Duration::ZERO).await {
                let text = format!("{error} {error:?}");
                assert!(!text.contains("SimToken") && !text.contains("sim-key"), "{text}");
            }
        }
        world.0.set_rules(vec![]);
        assert_eq!(all(&world), before);
        assert!(writes(&world).is_empty());
    }
}
