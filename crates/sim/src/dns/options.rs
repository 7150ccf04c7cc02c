//! How a simulated world is made, and what each provider gives a new zone.

use std::time::Duration;

use jiff::Timestamp;

use super::zone::{Provider, Zone};

/// How a TXT comes back that was written with quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quotes {
    Kept,
    Dropped,
    /// For some names the one, for some the other.
    Mixed,
}

#[derive(Clone, Debug)]
pub struct Options {
    pub seed: u64,
    /// The wall time at the start.
    pub epoch: Timestamp,
    /// From a hosted provider's store to its servers.
    pub publish: Duration,
    /// At most this much more, for each RRset another amount.
    pub spread: Duration,
    /// How long an action of Hetzner's runs.
    pub action_time: Duration,
    /// From Hostinger's "accepted" to the change.
    pub accept: Duration,
    /// Hostinger raises TTLs below this without a word.
    pub hostinger_ttl: u32,
    pub hostinger_quotes: Quotes,
    /// How long a write of PowerDNS holds its database; another one meanwhile fails.
    pub powerdns_write: Duration,
    /// Rows of a page of Cloudflare's at most.
    pub cloudflare_page: usize,
    /// Calls per minute that Hostinger lets pass.
    pub hostinger_calls: u32,
    /// UDP payload that servers send at most.
    pub udp: u16,
    /// Refuse calls beyond the budgets.
    pub budgets: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            seed: 1,
            epoch: Timestamp::from_second(1_795_226_400).unwrap_or(Timestamp::UNIX_EPOCH),
            publish: Duration::from_secs(2),
            spread: Duration::from_secs(1),
            action_time: Duration::from_secs(1),
            accept: Duration::from_millis(500),
            hostinger_ttl: 60,
            hostinger_quotes: Quotes::Mixed,
            powerdns_write: Duration::from_millis(20),
            cloudflare_page: 100,
            hostinger_calls: 60,
            udp: 1_232,
            budgets: true,
        }
    }
}

pub(crate) struct Defaults {
    pub servers: &'static [&'static str],
    pub ttl: u32,
    pub minimum: u32,
    pub quota: usize,
    /// The servers stand as NS in the store.
    pub lists_servers: bool,
}

pub(crate) fn defaults(provider: Provider) -> Defaults {
    let base = Defaults { servers: &[], ttl: 3_600, minimum: 3_600, quota: usize::MAX, lists_servers: true };
    match provider {
        Provider::Hetzner => Defaults {
            servers: &["hydrogen.ns.hetzner.com.", "oxygen.ns.hetzner.com.", "helium.ns.hetzner.de."],
            ..base
        },
        Provider::Cloudflare => Defaults {
            servers: &["ada.ns.cloudflare.com.", "bob.ns.cloudflare.com."],
            ttl: 300,
            minimum: 1_800,
            quota: 200,
            lists_servers: false,
        },
        Provider::Hostinger => Defaults {
            servers: &["ns1.dns-parking.com.", "ns2.dns-parking.com."],
            ttl: 14_400,
            minimum: 600,
            ..base
        },
        Provider::PowerDns => Defaults { servers: &["ns1.powerdns.sim."], ..base },
        Provider::Rfc2136 => Defaults { servers: &["ns1.bind.sim."], ttl: 300, minimum: 60, ..base },
    }
}

/// The serial after a change: one more, or PowerDNS' date with a counter.
pub(crate) fn next_serial(zone: &Zone, epoch: Timestamp, now: Duration) -> u32 {
    let next = zone.serial().wrapping_add(1);
    if zone.provider != Provider::PowerDns {
        return next;
    }
    let span = jiff::SignedDuration::try_from(now).unwrap_or_default();
    let today = epoch.saturating_add(span).unwrap_or(epoch).strftime("%Y%m%d01").to_string();
    today.parse().map_or(next, |today: u32| today.max(next))
}
