//! Crashes with DNS in the stack, at every provider: the daemon is killed at every call of a change, on each side of it,
//! to Dokploy and to DNS alike, and started again with its store, without it, and with yesterday's. The records at the
//! end are those of a change where nothing went wrong, mark by mark, and others' are as they were.
//!
//! A failure prints what replays it: `BERTH_CRASH="Hetzner update 17 Applied Lost" cargo test --test dns_crashes`.
//! `BERTH_LONG=1` leaves no call out.

use berth_sim::dns::Provider;
use berth_store::Memory;
use berth_tests::{Change, Crash, Moment, Reference, Rig, settle};
use std::time::Duration;

/// What becomes of the store in the crash.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kept {
    Store,
    Lost,
    Yesterday,
}

async fn crashed(change: &Change, crash: Crash, kept: Kept, want: &Reference) -> Result<(), String> {
    let (mut rig, yesterday) = change.begin().await;
    rig.run_until(Duration::from_secs(3600), Some(crash), |e, _| e.at_rest()).await;
    match kept {
        Kept::Store => {}
        Kept::Lost => {
            let now = rig.now();
            rig.replace_store(Memory::new(now));
        }
        Kept::Yesterday => rig.replace_store(yesterday.fork()),
    }
    settle(&mut rig, &want.world, false).await?;
    compare(&rig, want)
}

/// The records of the zone, and nothing left over.
fn compare(rig: &Rig, want: &Reference) -> Result<(), String> {
    let got = rig.dns.as_ref().map(|dns| dns.records()).unwrap_or_default();
    if got == want.records {
        return Ok(());
    }
    Err(format!("other records:\n{}\nwanted:\n{}", got.join("\n"), want.records.join("\n")))
}

async fn everywhere(provider: Provider) {
    let only = std::env::var("BERTH_CRASH").ok();
    let long = only.is_some() || std::env::var_os("BERTH_LONG").is_some();
    let mut failures = Vec::new();
    let mut worlds = 0;
    for name in ["create", "update", "delete"] {
        let change = Change::named(name).with_dns(provider);
        let want = change.reference().await;
        for call in 0..want.calls {
            for (n, moment) in (0..).zip(Moment::ALL) {
                for (m, kept) in (0..).zip([Kept::Store, Kept::Lost, Kept::Yesterday]) {
                    // With the ledger nothing is left that says what may be removed: what is marked then stays, and
                    // is shown.
                    let is_known = !(name == "delete" && kept == Kept::Lost);
                    let is_chosen = long || (call + n + m) % 5 == 0;
                    let id = format!("{provider:?} {name} {call} {moment:?} {kept:?}");
                    if !is_known || !is_chosen || only.as_ref().is_some_and(|o| *o != id) {
                        continue;
                    }
                    worlds += 1;
                    if let Err(why) = crashed(&change, Crash { call, moment }, kept, &want).await {
                        failures.push(format!("BERTH_CRASH=\"{id}\"\n{why}"));
                    }
                    if failures.len() > 3 {
                        break;
                    }
                }
            }
        }
    }
    eprintln!("{provider:?}: {worlds} worlds");
    assert!(failures.is_empty(), "{} of {worlds} worlds failed:\n{}", failures.len(), failures.join("\n\n"));
}

#[tokio::test(start_paused = true)]
async fn hetzner() {
    everywhere(Provider::Hetzner).await;
}

#[tokio::test(start_paused = true)]
async fn cloudflare() {
    everywhere(Provider::Cloudflare).await;
}

#[tokio::test(start_paused = true)]
async fn hostinger() {
    everywhere(Provider::Hostinger).await;
}

#[tokio::test(start_paused = true)]
async fn powerdns() {
    everywhere(Provider::PowerDns).await;
}

#[tokio::test(start_paused = true)]
async fn rfc2136() {
    everywhere(Provider::Rfc2136).await;
}
