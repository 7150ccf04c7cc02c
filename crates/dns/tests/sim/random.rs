//! Random histories at every provider, with everything that can go wrong: strangers' records stay, and when all is calm
//! again the zone is as wanted.
//!
//! `BERTH_SEED=17` runs one; `BERTH_LONG=1` runs many more.

use crate::rig::{ALL, World, ZONE, credential, port_of, strangers, word, world};
use crate::stack::{Stack, want, zone};
use berth_model::dns::{Policy, WantedSet, ZoneRules};
use berth_sim::dns::Provider;
use berth_sim::{Fault, Rule};
use std::collections::BTreeMap;
use std::time::Duration;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

const NAMES: [&str; 5] = ["a.z.test", "b.z.test", "*.z.test", "z.test", "deep.a.z.test"];

fn wanted(dice: &mut Dice) -> Vec<WantedSet> {
    let mut out = Vec::new();
    for name in NAMES {
        let ttl = [0, 60, 300][usize::try_from(dice.roll(3)).unwrap()];
        let n = dice.roll(4) + 1;
        match dice.roll(6) {
            0 | 1 => out.push(want(&format!("{name} A"), &[&format!("192.0.2.{n}")], ttl)),
            2 => {
                out.push(want(&format!("{name} A"), &["192.0.2.8", &format!("192.0.2.{n}")], ttl));
                out.push(want(&format!("{name} AAAA"), &[&format!("2001:db8::{n}")], ttl));
            }
            3 if name != ZONE => out.push(want(&format!("{name} CNAME"), &[&format!("t{n}.test")], ttl)),
            4 => out.push(want(&format!("{name} TXT"), &[&format!("ours {n}")], ttl)),
            _ => {}
        }
    }
    out
}

/// A stranger's hand. Their values are known by their looks.
fn meddle(world: &World, provider: Provider, dice: &mut Dice) {
    let at = ["a", "b", "@", "deep.a", "new"][usize::try_from(dice.roll(5)).unwrap()];
    let n = dice.roll(5);
    world.0.with(|w| match dice.roll(4) {
        // Beside an address of ours.
        0 => {
            if let Some(mut set) = w.get(ZONE, at, "A")
                && set.values.iter().any(|v| v.content.starts_with("192.0.2."))
                && set.values.iter().all(|v| v.content != format!("203.0.113.{n}"))
            {
                let mut theirs = berth_sim::dns::Value::new(&format!("203.0.113.{n}"));
                theirs.id = format!("{:032x}", u128::from(dice.0) | 1 << 127);
                theirs.ttl = set.values[0].ttl;
                set.values.push(theirs);
                w.put_set(ZONE, at, "A", set);
            }
        }
        // Where nothing stands.
        1 => {
            let free = ["A", "AAAA", "CNAME", "TXT", "MX"].iter().all(|k| w.get(ZONE, at, k).is_none());
            if free && at != "@" {
                w.put(ZONE, at, "A", 600, &[&format!("203.0.113.{n}")]);
            }
        }
        2 if at == "@" || at == "new" => w.put(ZONE, at, "MX", 600, &[&format!("{n} mail.theirs.test.")]),
        3 if provider != Provider::Hostinger && provider != Provider::Rfc2136 && n == 0 => w.wipe_marks(ZONE),
        _ => {}
    });
}

/// What may go wrong. Where a set is written over as a whole, a list that lies or a write that comes late would be
/// believed; nothing can be done about that there, so it is not drawn.
fn faults(provider: Provider) -> Vec<Rule> {
    let chance = 0.02;
    let mut all = vec![
        Fault::Before,
        Fault::After,
        Fault::TooMany { retry_after: Some(2) },
        Fault::BadGateway,
        Fault::ServerError,
        Fault::Unavailable { retry_after: None },
        Fault::Slow(Duration::from_secs(1)),
        Fault::Cut,
        Fault::Garbage,
        Fault::HangAfter,
    ];
    if provider == Provider::Cloudflare {
        all.push(Fault::Forbidden);
    }
    let mut rules: Vec<_> = all.into_iter().map(|f| Rule::on("", f).chance(chance)).collect();
    let own = |fault, mutation| Rule { mutation: Some(mutation), ..Rule::on("", fault).chance(chance) };
    rules.push(own(Fault::ErrorAfterCommit, true));
    if matches!(provider, Provider::Cloudflare | Provider::Rfc2136) {
        rules.push(own(Fault::Late(Duration::from_secs(2)), true));
    }
    if matches!(provider, Provider::Cloudflare | Provider::Hetzner) {
        rules.push(own(Fault::ShortList, false));
    }
    rules
}

fn is_theirs(value: &str) -> bool {
    [
        "203.0.113.",
        "theirs",
        "mail.example",
        "192.0.2.25",
        "192.0.2.77",
        "192.0.2.78",
        "v=spf1",
        "other words",
        "ca.test",
    ]
    .iter()
    .any(|theirs| value.contains(theirs))
}

/// Of everything that we ever changed: no value of a stranger's went.
fn nothing_of_theirs_went(world: &World, seed: u64) {
    world.0.with(|w| {
        for change in &w.changes {
            if change.by == "another person" || change.by == "provider" {
                continue;
            }
            let after: Vec<_> = change.after.iter().flat_map(|s| s.contents()).collect();
            for value in change.before.iter().flat_map(|s| s.contents()).filter(|v| is_theirs(v)) {
                assert!(
                    after.contains(&value),
                    "seed {seed}: {} {} {value} went: {change:?}",
                    change.name,
                    change.kind
                );
            }
        }
    });
}

/// A stranger's change that took marks away.
fn wiped(change: &berth_sim::dns::Change) -> bool {
    let marks =
        |set: &Option<std::sync::Arc<berth_sim::dns::RrSet>>| format!("{set:?}").matches("berth").count();
    change.by == "another person" && marks(&change.after) < marks(&change.before)
}

async fn history(seed: u64) {
    let provider = ALL[usize::try_from(seed % 5).unwrap()];
    let mut dice = Dice(seed);
    let (world, token) = world(provider, seed);
    strangers(&world, provider);
    let port = port_of(&world, vec![credential(&world, provider, &token)], seed);
    let id = zone(&port, "z.test").await;
    let mut stack = Stack::new("shop");
    stack.rules = ZoneRules { policy: Policy::Sync, adopt: false };
    let (mut last, mut forgot) = (Vec::new(), false);
    world.0.set_rules(faults(provider));
    for _ in 0..dice.roll(8) + 3 {
        match dice.roll(8) {
            0..=3 => last = wanted(&mut dice),
            4 | 5 => meddle(&world, provider, &mut dice),
            6 => {
                stack.ledger = Default::default();
                forgot = true;
            }
            _ => tokio::time::sleep(Duration::from_secs(dice.roll(20))).await,
        }
        // Whatever comes of it; and sometimes the daemon dies in the middle.
        let wait = if dice.roll(5) == 0 {
            Duration::from_millis(dice.roll(1_500))
        } else {
            Duration::from_secs(600)
        };
        let round = tokio::time::timeout(wait, stack.try_round(&port, &id, &last, false)).await;
        forgot |= !matches!(round, Ok(Ok((_, failed))) if failed.is_empty());
    }
    // All is calm again.
    world.0.set_rules(vec![]);
    tokio::time::sleep(Duration::from_secs(400)).await;
    let mut judged = None;
    for _ in 0..6 {
        let (now, failed) = stack.try_round(&port, &id, &last, false).await.unwrap();
        let silent = now.changes.is_empty() && now.learned.is_empty();
        assert!(failed.is_empty(), "seed {seed} {}: {failed:?}", word(provider));
        judged = Some(now);
        if silent {
            break;
        }
    }
    let judged = judged.unwrap();
    assert!(judged.changes.is_empty(), "seed {seed} {}: not silent:\n{}", word(provider), judged.changes[0]);
    nothing_of_theirs_went(&world, seed);
    let view = stack.view(&port, &id, &last).await;
    let blocked: BTreeMap<_, _> = judged.blocked.iter().map(|b| (b.key.clone(), b.why.to_string())).collect();
    for set in &last {
        if let Some(why) = blocked.get(set.key()) {
            // The mark was taken away while the ledger was lost, or did not know yet: nobody can say any more whose it is.
            let strange = ["203.0.113.", "MX", "192.0.2.", "waits", "TXT", "carries our mark"];
            let lost = forgot && world.0.with(|w| w.changes.iter().any(wiped));
            assert!(lost || strange.iter().any(|s| why.contains(s)), "seed {seed}: {} {why}", set.key());
            continue;
        }
        let seen = view.set(set.key()).present().map(|s| s.data()).unwrap_or_default();
        assert!(set.values().is_subset(&seen), "seed {seed} {}: {} is {seen:?}", word(provider), set.key());
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_as_wanted_and_nothing_of_others_went() {
    if let Some(seed) = std::env::var("BERTH_SEED").ok().and_then(|s| s.parse().ok()) {
        history(seed).await;
        return;
    }
    let many = if std::env::var_os("BERTH_LONG").is_some() { 3_000 } else { 150 };
    for seed in 0..many {
        history(seed).await;
    }
}
