//! DNS with the stacks, at every provider: records come before what they lead to, follow the manifest, and go with the
//! stack; what is another's stays as it was.

use berth_model::condition::{ConditionType, Reason, Status};
use berth_model::Key;
use berth_sim::dns::Provider;
use berth_tests::{PROVIDERS, Rig, RigOptions, SimDns, full};
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
        let ready = status.condition(ConditionType::DnsReady).unwrap();
        assert_eq!((ready.status, ready.reason), (Status::True, Reason::RecordsVerified));
        assert_eq!(status.hosts.len(), 2);
        assert!(status.hosts.iter().all(|h| h.verified_at.is_some()), "{:?}", status.hosts);
        let told = rig.tell(&engine);
        drop(engine);
        let first = |calls: Vec<berth_sim::CallRecord>, what: &str| {
            calls.into_iter().find(|c| c.mutation && c.procedure.contains(what)).map(|c| c.at)
        };
        let last = |calls: Vec<berth_sim::CallRecord>| {
            calls.into_iter().filter(|c| c.mutation).map(|c| c.at).max()
        };
        let written = last(dns.sim.calls()).expect("a record was written");
        let made = first(rig.sim.calls(), "application.create").expect("an app was made");
        assert!(written <= made && made < Duration::from_secs(20), "{provider:?}: records at {written:?}, the app at {made:?}\n{told}");

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
