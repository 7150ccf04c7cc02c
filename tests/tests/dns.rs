//! DNS with the stacks, at every provider: records come before what they lead to, follow the manifest, and go with the
//! stack; what is another's stays as it was.

use berth_engine::Engine;
use berth_model::Key;
use berth_model::condition::{ConditionType, Reason, Status};
use berth_model::dns::{Fqdn, Policy, VerifyMode};
use berth_model::event::Request;
use berth_ports::{Change, Store};
use berth_sim::dns::{Mode, Provider, World};
use berth_sim::{Fault, Rule};
use berth_tests::{PROVIDERS, Rig, RigOptions, SimDns, TestWorld, ZONE, full};
use std::sync::Arc;
use std::time::Duration;

/// A stack whose hosts are in the zone.
fn stack(name: &str) -> String {
    full(name).replace(&format!(".{name}.test"), &format!(".{name}.z.test"))
}

fn rig(provider: Provider, seed: u64) -> Rig {
    Rig::new(RigOptions { dns: Some(provider), ..RigOptions::seed(seed) })
}

fn dns(rig: &Rig) -> SimDns {
    rig.dns.clone().unwrap()
}

/// The records of the stack's two hosts.
fn records(name: &str) -> Vec<String> {
    let mut all = Vec::new();
    for host in ["api", "www"] {
        all.push(format!("{host}.{name}.z.test. A 203.0.113.7"));
        all.push(format!("{host}.{name}.z.test. AAAA 2001:db8::7"));
    }
    all.sort();
    all
}

#[tokio::test(start_paused = true)]
async fn records_come_before_the_app_and_go_after_it() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 1);
        let dns = dns(&rig);
        rig.files.insert("shop.yaml".into(), stack("shop"));
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "shop"), "{provider:?}: {}", rig.tell(&engine));
        assert_eq!(dns.ours(), records("shop"), "{provider:?}");
        let status = engine.status_of(&Key::parse("stack/shop").unwrap()).unwrap();
        let ready = status.condition(ConditionType::DNSReady).unwrap();
        assert_eq!((ready.status, ready.reason), (Status::True, Reason::RecordsVerified));
        assert_eq!(status.hosts.len(), 2);
        assert!(status.hosts.iter().all(|h| h.verified_at.is_some()), "{:?}", status.hosts);
        let told = rig.tell(&engine);
        drop(engine);
        let first = |calls: Vec<berth_sim::CallRecord>, what: &str| {
            calls.into_iter().find(|c| c.mutation && c.procedure.contains(what)).map(|c| c.at)
        };
        let last =
            |calls: Vec<berth_sim::CallRecord>| calls.into_iter().filter(|c| c.mutation).map(|c| c.at).max();
        let written = last(dns.sim.calls()).expect("a record was written");
        let made = first(rig.sim.calls(), "application.create").expect("an app was made");
        assert!(
            written <= made && made < Duration::from_secs(20),
            "{provider:?}: records at {written:?}, the app at {made:?}\n{told}"
        );

        // Nothing happens while nothing changes.
        dns.sim.clear_calls();
        let commits = rig.store.commits();
        rig.run_until(Duration::from_secs(600), None, |_, _| false).await;
        let writes: Vec<_> = dns.sim.calls().into_iter().filter(|c| c.mutation).collect();
        assert!(writes.is_empty(), "{provider:?}: {writes:?}");
        assert_eq!(rig.store.commits(), commits, "{provider:?}");

        rig.files.clear();
        drop(rig.converge().await);
        assert!(dns.ours().is_empty(), "{provider:?}: {:?}", dns.ours());
        dns.holds_nothing_of_ours();
    }
}

/// A small stack: an app under a host in the zone, and one without.
fn pair(more: &str) -> String {
    format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: pair}}\nspec:\n  \
         target: {{dokploy: main, project: shared, environment: production, create: true}}\n  apps:\n    \
         web: {{image: \"registry.sim/app:1\", port: 3000, hosts: {{web.z.test: {{https: none}}{more}}}}}\n    \
         job: {{image: \"registry.sim/job:1\"}}\n"
    )
}

fn apps(rig: &Rig) -> Vec<String> {
    let dump = rig.sim.dump();
    let all = dump["applications"].as_array().cloned().unwrap_or_default();
    let mut names: Vec<_> = all.iter().map(|a| a["name"].as_str().unwrap_or_default().to_owned()).collect();
    names.sort();
    names
}

fn says(engine: &Engine<TestWorld>, kind: ConditionType) -> (Status, Reason, String) {
    let status = engine.status_of(&Key::parse("stack/pair").unwrap()).unwrap();
    let found = status.condition(kind).unwrap_or_else(|| panic!("no {kind:?}: {:?}", status.conditions));
    (found.status, found.reason, found.message.clone())
}

async fn for_a_while(rig: &mut Rig, seconds: u64) -> Arc<Engine<TestWorld>> {
    rig.run_until(Duration::from_secs(seconds), None, |_, _| false).await.0
}

/// What is wrong with a zone holds up the host, and nothing else; what others have there stays.
#[tokio::test(start_paused = true)]
async fn whatever_is_in_the_way_is_named_and_all_else_goes_on() {
    type Spoil = fn(&mut World);
    let cases: [(&str, Reason, &str, Spoil); 6] = [
        ("a CNAME", Reason::Conflict, "CNAME web.z.test elsewhere.test", |w| {
            w.put(ZONE, "web", "CNAME", 60, &["elsewhere.test."]);
        }),
        ("another address", Reason::Conflict, "A web.z.test 192.0.2.1", |w| {
            w.put(ZONE, "web", "A", 60, &["192.0.2.1"]);
        }),
        ("a delegation", Reason::RecordRefused, "ns1.elsewhere.test", |w| {
            w.put(ZONE, "web", "NS", 60, &["ns1.elsewhere.test."]);
        }),
        ("no room", Reason::RecordRefused, "", |w| w.zone_mut(ZONE).quota = 1),
        ("a silent server", Reason::RecordsPending, "helium.ns.hetzner.de", |w| {
            w.server_mode("helium.ns.hetzner.de", Mode::Silent);
        }),
        ("a copy of another's zone", Reason::RecordRefused, "", |w| w.zone_mut(ZONE).primary = false),
    ];
    for (what, reason, words, spoil) in cases {
        let mut rig = rig(Provider::Hetzner, 3);
        let dns = dns(&rig);
        dns.sim.with(spoil);
        let theirs = dns.records();
        rig.files.insert("pair.yaml".into(), pair(""));
        let engine = for_a_while(&mut rig, 300).await;
        let (status, got, message) = says(&engine, ConditionType::DNSReady);
        assert_eq!((status, got), (Status::False, reason), "{what}: {message}");
        assert!(message.contains(words), "{what}: {message}");
        assert!(message.starts_with("host web.z.test: "), "{what}: {message}");
        assert_eq!(says(&engine, ConditionType::Ready).0, Status::False, "{what}");
        assert_eq!(apps(&rig), ["pair-job"], "{what}: what has no host is not held up");
        let now = dns.records();
        assert!(theirs.iter().all(|r| now.contains(r)), "{what}: {theirs:?} {now:?}");
        drop(engine);
        // Once it is out of the way, everything comes up by itself.
        dns.sim.with(|w| {
            for kind in ["CNAME", "A", "NS"] {
                if w.get(ZONE, "web", kind).is_some_and(|set| set.labels.is_empty()) {
                    w.remove(ZONE, "web", kind);
                }
            }
            w.server_mode("helium.ns.hetzner.de", Mode::Answers);
            let zone = w.zone_mut(ZONE);
            (zone.quota, zone.primary) = (usize::MAX, true);
        });
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "pair"), "{what}: {}", rig.tell(&engine));
        assert_eq!(apps(&rig), ["pair-job", "pair-web"], "{what}");
    }
}

/// A stack that runs goes on running, and says that its zone cannot be asked.
#[tokio::test(start_paused = true)]
async fn a_provider_that_is_away_takes_nothing_down() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 4);
        let dns = dns(&rig);
        rig.files.insert("pair.yaml".into(), pair(""));
        drop(rig.converge().await);
        let before = (rig.sim.dump(), dns.records());
        dns.sim.set_rules(vec![Rule::on("", Fault::Before)]);
        rig.sim.clear_calls();
        let engine = for_a_while(&mut rig, 3_600).await;
        assert_eq!((rig.sim.dump(), dns.records()), before, "{provider:?}");
        let (status, ..) = says(&engine, ConditionType::DNSReady);
        assert_ne!(status, Status::False, "{provider:?}");
        assert!(Rig::ready(&engine, "pair"), "{provider:?}: {}", rig.tell(&engine));
        // A new host waits, and is made by itself once the provider answers.
        drop(engine);
        rig.files.insert("pair.yaml".into(), pair(", new.z.test: {https: none}"));
        let engine = for_a_while(&mut rig, 300).await;
        let (status, reason, message) = says(&engine, ConditionType::DNSReady);
        assert_eq!((status, reason), (Status::Unknown, Reason::DnsUnavailable), "{provider:?}: {message}");
        assert!(message.contains("new.z.test") || message.contains("web.z.test"), "{message}");
        drop(engine);
        dns.sim.set_rules(Vec::new());
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "pair"), "{provider:?}: {}", rig.tell(&engine));
        assert!(dns.ours().iter().any(|r| r.starts_with("new.z.test. A ")), "{provider:?}");
    }
}

/// What somebody deletes or changes of ours is put back by the next pass.
#[tokio::test(start_paused = true)]
async fn what_somebody_changes_of_ours_is_put_back() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 5);
        let dns = dns(&rig);
        rig.files.insert("pair.yaml".into(), pair(""));
        drop(rig.converge().await);
        let before = dns.records();
        let gone: fn(&mut World) = |w| w.remove(ZONE, "web", "A");
        let other: fn(&mut World) = |w| {
            // By the provider's own page: the value alone changes, marks stay.
            let mut set = w.get(ZONE, "web", "AAAA").unwrap();
            set.values[0].content = "2001:db8::bad".to_owned();
            w.put_set(ZONE, "web", "AAAA", set);
        };
        for (what, spoil) in [("gone", gone), ("other", other)] {
            dns.sim.with(spoil);
            assert_ne!(dns.records(), before);
            let engine = for_a_while(&mut rig, 120).await;
            assert_eq!(dns.records(), before, "{provider:?} {what}: {}", rig.tell(&engine));
            assert!(Rig::ready(&engine, "pair"), "{provider:?} {what}: {}", rig.tell(&engine));
        }
    }
}

/// By default a host that vanishes from a manifest keeps its record; with `sync` it goes; with `create-only` even the
/// stack's removal leaves it.
#[tokio::test(start_paused = true)]
async fn policies_say_how_far_changes_go() {
    for (policy, after_edit, after_removal) in
        [(Policy::UpsertOnly, true, false), (Policy::Sync, false, false), (Policy::CreateOnly, true, true)]
    {
        let mut options = RigOptions { dns: Some(Provider::PowerDns), ..RigOptions::seed(6) };
        options.zone.rules.policy = policy;
        let mut rig = Rig::new(options);
        let dns = dns(&rig);
        let has = |name: &str| dns.ours().iter().any(|r| r.starts_with(name));
        rig.files.insert("pair.yaml".into(), pair(", more.z.test: {https: none}"));
        drop(rig.converge().await);
        assert!(has("more.z.test.") && has("web.z.test."), "{policy:?}");
        rig.files.insert("pair.yaml".into(), pair(""));
        drop(rig.converge().await);
        assert_eq!(has("more.z.test."), after_edit, "{policy:?}");
        assert!(has("web.z.test."));
        rig.files.clear();
        let engine = rig.converge().await;
        assert_eq!(has("web.z.test."), after_removal, "{policy:?}: {}", rig.tell(&engine));
        assert_eq!(has("more.z.test."), after_removal, "{policy:?}");
        assert!(engine.status_of(&Key::parse("stack/pair").unwrap()).is_none(), "{policy:?}");
    }
}

/// A rename takes the records along: they are never away.
#[tokio::test(start_paused = true)]
async fn a_renamed_stack_keeps_its_records() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 8);
        let dns = dns(&rig);
        rig.files.insert("pair.yaml".into(), pair(""));
        drop(rig.converge().await);
        let before = dns.ours();
        let renamed = pair("").replace("{name: pair}", "{name: couple, formerly: pair}");
        rig.files.insert("pair.yaml".into(), renamed);
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "couple"), "{provider:?}: {}", rig.tell(&engine));
        assert_eq!(dns.ours(), before, "{provider:?}");
        assert_eq!(dns.sim.with(|w| w.created("web.z.test", "A")), 1, "{provider:?}");
        drop(engine);
        rig.files.clear();
        drop(rig.converge().await);
        dns.holds_nothing_of_ours();
    }
}

/// Without an address in the settings, records lead to the one that Dokploy has for its server; one that the world cannot
/// reach is refused, and nothing is made for it.
#[tokio::test(start_paused = true)]
async fn the_address_is_dokploys_where_the_settings_say_none() {
    for (address, made) in [
        ("203.0.113.9", true),
        ("2001:db8::9", true),
        ("10.0.0.5", false),
        ("100.64.1.1", false),
        ("", false),
    ] {
        let mut options = RigOptions { dns: Some(Provider::Cloudflare), ..RigOptions::seed(9) };
        options.address = None;
        options.sim.address = address.to_owned();
        let mut rig = Rig::new(options);
        let dns = dns(&rig);
        rig.files.insert("pair.yaml".into(), pair(""));
        let engine = for_a_while(&mut rig, 120).await;
        assert_eq!(Rig::ready(&engine, "pair"), made, "{address}: {}", rig.tell(&engine));
        if made {
            assert!(matches!(&dns.ours()[..], [one] if one.ends_with(address)), "{:?}", dns.ours());
        } else {
            let (status, reason, message) = says(&engine, ConditionType::DNSReady);
            assert_eq!((status, reason), (Status::False, Reason::AddressNotPublic), "{message}");
            assert!(message.contains(address) && message.contains("'address' of the backend"), "{message}");
            assert_eq!(apps(&rig), ["pair-job"]);
            dns.holds_nothing_of_ours();
        }
    }
}

/// A wildcard is not written. It must answer what is wanted before an app is exposed under it.
#[tokio::test(start_paused = true)]
async fn a_wildcard_is_verified_and_not_written() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 10);
        let dns = dns(&rig);
        rig.files.insert(
            "pair.yaml".into(),
            pair("")
                .replace("web.z.test", "web.deep.z.test")
                .replace("  apps:", "  domain: {records: wildcard}\n  apps:"),
        );
        let put = |under: &str| {
            dns.sim.with(|w| {
                w.put(ZONE, under, "A", 300, &["203.0.113.7"]);
                w.put(ZONE, under, "AAAA", 300, &["2001:db8::7"]);
            });
        };
        // None; and then one that answers for nothing below a name that is there.
        for hidden in [false, true] {
            if hidden {
                put("*");
                dns.sim.with(|w| w.put(ZONE, "deep", "TXT", 300, &["\"here\""]));
            }
            let engine = for_a_while(&mut rig, 120).await;
            let (status, reason, message) = says(&engine, ConditionType::DNSReady);
            assert_eq!((status, reason), (Status::False, Reason::RecordRefused), "{provider:?}: {message}");
            assert!(message.contains("no wildcard record of z.test"), "{message}");
            assert_eq!(apps(&rig), ["pair-job"], "{provider:?}");
        }
        put("*.deep");
        let theirs = dns.records();
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "pair"), "{provider:?}: {}", rig.tell(&engine));
        assert_eq!(says(&engine, ConditionType::DNSReady).1, Reason::RecordsVerified);
        assert_eq!(dns.records(), theirs, "{provider:?}");
    }
}

/// With port 53 closed, what the provider shows is enough where the settings say so.
#[tokio::test(start_paused = true)]
async fn where_no_server_can_be_asked_the_provider_is_believed_if_the_settings_say_so() {
    for verify in [VerifyMode::Authoritative, VerifyMode::Provider] {
        let mut options = RigOptions { dns: Some(Provider::Hostinger), ..RigOptions::seed(12) };
        options.zone.verify = verify;
        let mut rig = Rig::new(options);
        let dns = dns(&rig);
        dns.sim.set_rules(vec![Rule::on("dns.", Fault::Before)]);
        rig.files.insert("pair.yaml".into(), pair(""));
        let engine = for_a_while(&mut rig, 300).await;
        let is_ready = Rig::ready(&engine, "pair");
        assert_eq!(is_ready, verify == VerifyMode::Provider, "{verify:?}: {}", rig.tell(&engine));
    }
}

/// A manifest that lost most of its hosts in an edit takes no record along before somebody confirms it.
#[tokio::test(start_paused = true)]
async fn many_records_at_once_are_held() {
    let mut options = RigOptions { dns: Some(Provider::Cloudflare), ..RigOptions::seed(13) };
    options.zone.rules.policy = Policy::Sync;
    let mut rig = Rig::new(options);
    let dns = dns(&rig);
    let hosts: String = (0..6).map(|n| format!(", h{n}.z.test: {{https: none}}")).collect();
    rig.files.insert("pair.yaml".into(), pair(&hosts));
    drop(rig.converge().await);
    let before = dns.ours();
    assert_eq!(before.len(), 14);
    rig.files.insert("pair.yaml".into(), pair(""));
    let engine = for_a_while(&mut rig, 600).await;
    assert_eq!(dns.ours(), before);
    let (status, reason, message) = says(&engine, ConditionType::DNSReady);
    assert_eq!((status, reason), (Status::False, Reason::Held), "{message}");
    let [token] = &engine.zone_tokens()[..] else { panic!("{:?}", engine.zone_tokens()) };
    assert!(message.contains("12 of the 14 records") && message.contains(token), "{message}");
    drop(engine);
    rig.confirms = true;
    let ready = |e: &Engine<TestWorld>, _: &berth_sim::Sim| Rig::ready(e, "pair");
    let (engine, reached) = rig.run_until(Duration::from_secs(120), None, ready).await;
    assert!(reached, "{}", rig.tell(&engine));
    assert_eq!(dns.ours().len(), 2);
    dns.others_are_as_they_were();
}

/// What stands there exactly as wanted and has no mark is right, and not ours; asked for, it is taken over, and stays when
/// the stack goes.
#[tokio::test(start_paused = true)]
async fn what_is_exactly_as_wanted_is_taken_over_when_somebody_asks() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 14);
        let dns = dns(&rig);
        dns.sim.with(|w| {
            w.put(ZONE, "web", "A", 600, &["203.0.113.7"]);
            w.put(ZONE, "web", "AAAA", 600, &["2001:db8::7"]);
        });
        let before = dns.records();
        rig.files.insert("pair.yaml".into(), pair(""));
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "pair"), "{provider:?}: {}", rig.tell(&engine));
        assert_eq!(dns.records(), before, "{provider:?}: nobody asked");
        drop(engine);
        let host = Fqdn::new("web.z.test").unwrap();
        let request = Request::Adopt { key: Key::parse("stack/pair").unwrap(), host };
        rig.store.commit(vec![Change::Request { at: rig.now(), request }]).await.unwrap();
        let engine = for_a_while(&mut rig, 60).await;
        assert!(Rig::ready(&engine, "pair"), "{provider:?}: {}", rig.tell(&engine));
        let marked: Vec<_> = dns.records().into_iter().filter(|r| r.contains("pair")).collect();
        assert!(!marked.is_empty(), "{provider:?}: {:?}", dns.records());
        drop(engine);
        rig.files.clear();
        drop(rig.converge().await);
        let ours = ["web.z.test. A 203.0.113.7", "web.z.test. AAAA 2001:db8::7"];
        assert_eq!(dns.ours(), ours, "{provider:?}");
        assert!(!dns.records().iter().any(|r| r.contains("pair")), "{provider:?}: {:?}", dns.records());
    }
}

/// Marked, and in no ledger: then it may be anybody's by now, and a person decides.
#[tokio::test(start_paused = true)]
async fn what_a_lost_store_leaves_is_counted_and_stays() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 15);
        let dns = dns(&rig);
        rig.files.insert("shop.yaml".into(), stack("shop"));
        rig.files.insert("blog.yaml".into(), stack("blog"));
        let engine = rig.converge().await;
        assert_eq!(engine.metrics().dns_orphans.get(), 0, "{provider:?}");
        drop(engine);
        rig.replace_store(berth_store::Memory::new(rig.now()));
        rig.files.remove("shop.yaml");
        let engine = for_a_while(&mut rig, 600).await;
        assert!(Rig::ready(&engine, "blog"), "{provider:?}: {}", rig.tell(&engine));
        let mut both = [records("blog"), records("shop")].concat();
        both.sort();
        assert_eq!(dns.ours(), both, "{provider:?}");
        assert_eq!(engine.metrics().dns_orphans.get(), 4, "{provider:?}");
        drop(engine);
        // Its manifest back, they are known again and go with it.
        rig.files.insert("shop.yaml".into(), stack("shop"));
        let engine = rig.converge().await;
        assert!(Rig::ready(&engine, "shop"), "{provider:?}: {}", rig.tell(&engine));
        drop(engine);
        rig.files.remove("shop.yaml");
        let engine = for_a_while(&mut rig, 600).await;
        assert_eq!(engine.metrics().dns_orphans.get(), 0, "{provider:?}");
        assert_eq!(dns.ours(), records("blog"), "{provider:?}");
    }
}

/// Settings that name no credential any more do not let records be forgotten.
#[tokio::test(start_paused = true)]
async fn a_stack_waits_with_its_records_for_the_credential() {
    let mut rig = rig(Provider::PowerDns, 16);
    let dns = dns(&rig);
    rig.files.insert("shop.yaml".into(), stack("shop"));
    drop(rig.converge().await);
    rig.dns = None;
    rig.files.clear();
    let engine = for_a_while(&mut rig, 600).await;
    let status = engine.status_of(&Key::parse("stack/shop").unwrap()).unwrap();
    let ready = status.condition(ConditionType::Ready).unwrap();
    assert_eq!(ready.reason, Reason::DnsUnavailable);
    assert!(
        ready.message.contains("names no DNS credential") && ready.message.contains("www.shop.z.test A"),
        "{}",
        ready.message
    );
    assert_eq!(dns.ours(), records("shop"));
    drop(engine);
    rig.dns = Some(dns.clone());
    drop(rig.converge().await);
    dns.holds_nothing_of_ours();
}

fn calm() -> String {
    pair("").replace("name: pair", "name: calm").replace("web.z.test", "calm.z.test")
}

/// What another Berth marked is its own by now, whatever our ledger says: it is not changed, and not taken away either.
#[tokio::test(start_paused = true)]
async fn what_bears_anothers_mark_is_theirs() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 17);
        let dns = dns(&rig);
        rig.files.insert("pair.yaml".into(), pair(""));
        rig.files.insert("calm.yaml".into(), calm());
        drop(rig.converge().await);
        dns.give_away("web", "rival");
        let theirs = dns.records();
        assert!(theirs.iter().any(|r| r.contains("rival")), "{provider:?}: {theirs:?}");
        let engine = for_a_while(&mut rig, 600).await;
        let (status, reason, message) = says(&engine, ConditionType::DNSReady);
        assert_eq!((status, reason), (Status::False, Reason::Conflict), "{provider:?}: {message}");
        assert!(message.contains("web.z.test") && message.contains("rival"), "{provider:?}: {message}");
        assert!(Rig::ready(&engine, "calm"), "{provider:?}: {}", rig.tell(&engine));
        assert_eq!(dns.records(), theirs, "{provider:?}");
        drop(engine);
        rig.files.remove("pair.yaml");
        drop(for_a_while(&mut rig, 600).await);
        assert_eq!(dns.records(), theirs, "{provider:?}");
        assert!(!apps(&rig).contains(&"pair-web".to_owned()), "{provider:?}: the stack goes all the same");
    }
}

/// Where a mark stands in a record of its own, one of the two may be missing.
#[tokio::test(start_paused = true)]
async fn half_of_a_pair_is_made_whole() {
    for provider in [Provider::Hostinger, Provider::Rfc2136] {
        for lost in [("web", "A"), ("_berth-a.web", "TXT")] {
            let mut rig = rig(provider, 18);
            let dns = dns(&rig);
            rig.files.insert("pair.yaml".into(), pair(""));
            drop(rig.converge().await);
            let whole = dns.records();
            dns.sim.with(|w| w.remove(ZONE, lost.0, lost.1));
            assert_ne!(dns.records(), whole, "{provider:?} {lost:?}");
            let engine = for_a_while(&mut rig, 600).await;
            assert_eq!(dns.records(), whole, "{provider:?} {lost:?}: {}", rig.tell(&engine));
            assert!(Rig::ready(&engine, "pair"), "{provider:?} {lost:?}: {}", rig.tell(&engine));
        }
    }
}

/// An account that others use up is waited for as its headers say, in each of their forms; what stands goes on.
#[tokio::test(start_paused = true)]
async fn an_account_that_is_used_up_is_waited_for() {
    let cases = [
        (Provider::Hetzner, "ratelimit-reset"),
        (Provider::Cloudflare, "retry-after"),
        (Provider::Hostinger, "retry-after"),
    ];
    for (provider, header) in cases {
        let mut rig = rig(provider, 19);
        let dns = dns(&rig);
        rig.files.insert("calm.yaml".into(), calm());
        drop(rig.converge().await);
        let refused = dns.use_up().await;
        assert!(refused.headers().contains_key(header), "{provider:?}: {:?}", refused.headers());
        dns.sim.clear_calls();
        rig.files.insert("pair.yaml".into(), pair(""));
        let engine = for_a_while(&mut rig, 60).await;
        // Hetzner gives a call back every second, the others close the account for minutes.
        if provider != Provider::Hetzner {
            let (status, reason, message) = says(&engine, ConditionType::DNSReady);
            assert_eq!(
                (status, reason),
                (Status::Unknown, Reason::DnsUnavailable),
                "{provider:?}: {message}"
            );
        }
        assert!(Rig::ready(&engine, "calm"), "{provider:?}: {}", rig.tell(&engine));
        drop(engine);
        let engine = for_a_while(&mut rig, 1_800).await;
        assert!(Rig::ready(&engine, "pair"), "{provider:?}: {}", rig.tell(&engine));
        let refused = dns.sim.calls().iter().filter(|c| c.status == Some(429)).count();
        assert!(refused <= 12, "{provider:?}: {refused} calls were refused");
    }
}

/// A write whose answer is lost may take effect when its stack is gone already: the stack waits for it.
#[tokio::test(start_paused = true)]
async fn a_write_that_comes_late_goes_with_its_stack() {
    for provider in PROVIDERS {
        let mut rig = rig(provider, 20);
        let dns = dns(&rig);
        let late = Rule::on("", Fault::Late(Duration::from_secs(25)));
        dns.sim.set_rules(vec![Rule { mutation: Some(true), ..late }]);
        rig.files.insert("pair.yaml".into(), pair(""));
        let watched = dns.clone();
        let sent =
            move |_: &Engine<TestWorld>, _: &berth_sim::Sim| watched.sim.calls().iter().any(|c| c.mutation);
        let (engine, sent) = rig.run_until(Duration::from_secs(60), None, sent).await;
        assert!(sent, "{provider:?}: nothing was sent");
        drop(engine);
        dns.sim.set_rules(vec![]);
        rig.files.clear();
        let engine = rig.converge().await;
        assert!(engine.record(&Key::parse("stack/pair").unwrap()).is_none(), "{provider:?}");
        drop(for_a_while(&mut rig, 60).await);
        dns.holds_nothing_of_ours();
    }
}
