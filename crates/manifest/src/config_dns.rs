//! DNS in `berth.yaml`: credentials, zones, and where the records of an account's hosts lead.
//!
//! No secret is looked into here: who reads the settings to find a file need not hold the keys.

use crate::config::{base_url, credential, missing};
use crate::raw_config::{
    RawAddress, RawDns, RawDnsCredential, RawDnsKey, RawDnsZone, RawPowerDns, RawRfc2136, RawTsig,
};
use crate::read::{At, Map, Sink, Words, nearest};
use crate::tree::{Key, Kind, Node, Span};
use berth_model::CredentialName;
use berth_model::config::{Address, Dns, DnsCredential, DnsProvider, DnsZone, TsigCredential};
use berth_model::dns::{Fqdn, Policy, TsigAlgo, Ttl, VerifyMode};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The providers, as keys of a credential.
const PROVIDERS: [&str; 5] = ["hetzner", "cloudflare", "hostinger", "powerdns", "rfc2136"];

/// `dns:`.
pub(crate) fn dns(given: Option<&At<RawDns>>, node: Option<&Node>, sink: &mut Sink) -> Dns {
    let Some(given) = given else {
        return Dns::default();
    };
    let mut dns = Dns::default();
    let mut named: BTreeMap<Fqdn, Key> = BTreeMap::new();
    let below = node.and_then(|n| n.get("credentials"));
    let credentials = given.v.credentials.iter().flat_map(|c| &c.v.0);
    for (key, raw) in credentials {
        let name = CredentialName::new(&key.text)
            .map_err(|e| sink.error_help(key.at, format!("'{}': {e}", key.text), "write one like hetzner"))
            .ok();
        let resolved = below.and_then(|n| n.get(&key.text)).and_then(|n| one_credential(raw, n, sink));
        for zone in resolved.iter().flat_map(|c| c.zones.iter().flatten()) {
            if let Some(first) = named.insert(zone.clone(), key.clone()) {
                let message = format!("the zone {zone} is named for '{}' already", first.text);
                sink.error_help(raw.at, message, "name it under 'zones' of one credential only");
            }
        }
        if let (Some(name), Some(resolved)) = (name, resolved) {
            dns.credentials.insert(name, resolved);
        }
    }
    if let Some(zones) = given.v.zones.as_ref().filter(|z| !z.v.0.is_empty()) {
        // A credential with faults is told at its own place.
        if below.is_none_or(|n| matches!(&n.kind, Kind::Map(all) if all.is_empty())) {
            let help = "add one: credentials: {main: {hetzner: {key: {env: HETZNER_TOKEN}}}}";
            sink.error_help(zones.at, "there are zones and no credential that reaches them", help);
        }
        // Where each credential says its zones, and none was left out for a fault.
        let all = dns.credentials.values().map(|c| c.zones.as_ref());
        let narrowed: Option<Vec<_>> = all.collect();
        let whole = !sink.failed() && !dns.credentials.is_empty();
        let reached = narrowed.filter(|_| whole).map(|all| all.into_iter().flatten().collect());
        dns.zones = self::zones(&zones.v, reached.as_ref(), sink);
    }
    dns.resolvers = sockets(given.v.resolvers.as_ref(), sink);
    dns.recursors = sockets(given.v.recursors.as_ref(), sink);
    dns
}

/// A domain name that a zone can have.
fn zone_name(text: &str, at: Span, sink: &mut Sink) -> Option<Fqdn> {
    const EXAMPLE: &str = "write one like example.com";
    match Fqdn::new(text) {
        Ok(name) if name.is_wildcard() => {
            sink.error_help(at, "a zone's name has no '*'", EXAMPLE);
            None
        }
        Ok(name) => Some(name),
        Err(e) => {
            sink.error_help(at, e.to_string(), EXAMPLE);
            None
        }
    }
}

/// `ADDRESS:PORT`.
fn socket(given: &At<Words>, sink: &mut Sink) -> Option<SocketAddr> {
    let text = given.v.trim();
    match text.parse::<SocketAddr>() {
        Ok(socket) if socket.port() > 0 => Some(socket),
        _ => {
            let help = match text.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(ip) => format!("write {}", SocketAddr::new(ip, 53)),
                Err(_) => "write ADDRESS:PORT, like 192.0.2.53:53 or [2001:db8::53]:53".to_owned(),
            };
            sink.error_help(given.at, "this is no address with a port", help);
            None
        }
    }
}

fn sockets(given: Option<&At<Vec<At<Words>>>>, sink: &mut Sink) -> Vec<SocketAddr> {
    given.iter().flat_map(|g| &g.v).filter_map(|words| socket(words, sink)).collect()
}

fn one_credential(given: &At<RawDnsCredential>, node: &Node, sink: &mut Sink) -> Option<DnsCredential> {
    let raw = &given.v;
    let Kind::Map(entries) = &node.kind else {
        return None;
    };
    let providers: Vec<&Key> =
        entries.iter().map(|(key, _)| key).filter(|key| PROVIDERS.contains(&&*key.text)).collect();
    match providers.as_slice() {
        [] => {
            // A word that is none of them was told already.
            if entries.iter().all(|(key, _)| matches!(&*key.text, "zones" | "servers")) {
                let help =
                    format!("add one of {}: {{hetzner: {{key: {{env: VARIABLE}}}}}}", PROVIDERS.join(", "));
                sink.error_help(given.at, "the credential names no provider", help);
            }
        }
        [_] => {}
        [first, second, ..] => {
            let message = format!("the credential is for two providers, {} and {}", first.text, second.text);
            sink.error_help(second.at, message, "make two credentials of it, each with a name of its own");
        }
    }
    let zones = raw.zones.as_ref().map(|list| {
        if list.v.is_empty() {
            let help = "name one, or take 'zones' out for all that the credential reaches";
            sink.error_help(list.at, "the credential is for no zone", help);
        }
        list.v.iter().filter_map(|z| zone_name(&z.v, z.at, sink)).collect::<BTreeSet<_>>()
    });
    let servers = sockets(raw.servers.as_ref(), sink);
    let provider = providers.first().and_then(|key| {
        let below = node.get(&key.text)?;
        match &*key.text {
            "hetzner" => {
                token(raw.hetzner.as_ref()?, below, sink).map(|(key, url)| DnsProvider::Hetzner { key, url })
            }
            "cloudflare" => token(raw.cloudflare.as_ref()?, below, sink)
                .map(|(key, url)| DnsProvider::Cloudflare { key, url }),
            "hostinger" => token(raw.hostinger.as_ref()?, below, sink)
                .map(|(key, url)| DnsProvider::Hostinger { key, url }),
            "powerdns" => powerdns(raw.powerdns.as_ref()?, below, sink),
            _ => rfc2136(raw.rfc2136.as_ref()?, below, sink),
        }
    });
    // `hetzner:` with nothing behind it reads as left out.
    if let (None, [key]) = (&provider, providers.as_slice())
        && let Some(empty) = node.get(&key.text).filter(|n| n.kind == Kind::Null)
    {
        let help = "see the reference of berth.yaml for what it needs";
        sink.error_help(empty.at, format!("'{}' has no value", key.text), help);
    }
    if raw.rfc2136.is_some() && raw.zones.is_none() && !raw.refused.contains(&"zones") {
        let help = "add zones: [example.com] to the credential";
        sink.error_help(given.at, "a server that takes updates cannot say which zones it has", help);
    }
    Some(DnsCredential { provider: provider?, zones, servers })
}

type Token = (berth_model::config::Credential, Option<String>);

fn token(given: &At<RawDnsKey>, node: &Node, sink: &mut Sink) -> Option<Token> {
    missing(node, "key", "key: {env: DNS_TOKEN}", sink);
    let url = match &given.v.url {
        Some(words) => Some(api(words, sink)?),
        None => None,
    };
    let key = given.v.key.as_ref().and_then(|k| credential(k, "the API token", sink))?;
    Some((key, url))
}

fn api(words: &At<Words>, sink: &mut Sink) -> Option<String> {
    base_url(&words.v).map_err(|(m, h)| sink.error_help(words.at, m, h)).ok()
}

fn powerdns(given: &At<RawPowerDns>, node: &Node, sink: &mut Sink) -> Option<DnsProvider> {
    missing(node, "url", "url: \"http://127.0.0.1:8081\"", sink);
    missing(node, "key", "key: {env: POWERDNS_KEY}", sink);
    let url = given.v.url.as_ref().and_then(|u| api(u, sink));
    let key = given.v.key.as_ref().and_then(|k| credential(k, "the API key", sink));
    let server = given.v.server.as_ref().map_or(Some("localhost".to_owned()), |s| {
        if s.v.trim().is_empty() {
            sink.error_help(s.at, "the server's id may not be empty", "write localhost, or take it out");
            return None;
        }
        Some(s.v.to_string())
    });
    Some(DnsProvider::PowerDns {
        url: url?,
        key: key?,
        server: server?,
        companions: given.v.companions.unwrap_or(false),
    })
}

fn rfc2136(given: &At<RawRfc2136>, node: &Node, sink: &mut Sink) -> Option<DnsProvider> {
    missing(node, "server", "server: \"192.0.2.53:53\"", sink);
    let server = given.v.server.as_ref().and_then(|s| socket(s, sink));
    let key = match &given.v.tsig {
        None => Some(None),
        Some(given) => node.get("tsig").and_then(|below| tsig(given, below, sink)).map(Some),
    };
    Some(DnsProvider::Rfc2136 { server: server?, key: key?, transfers: given.v.transfers.unwrap_or(true) })
}

fn tsig(given: &At<RawTsig>, node: &Node, sink: &mut Sink) -> Option<TsigCredential> {
    missing(node, "name", "name: berth", sink);
    missing(node, "secret", "secret: {env: TSIG_SECRET}", sink);
    let name = given.v.name.as_ref().and_then(|name| {
        let read = Fqdn::new(&name.v).ok().filter(|n| !n.is_wildcard());
        if read.is_none() {
            let help = "write it as the server's settings have it, like berth or berth.example.com";
            sink.error_help(name.at, "this is no name of a key", help);
        }
        read.map(|n| n.to_string())
    });
    let algorithm = given.v.algorithm.as_ref().map_or(Some(TsigAlgo::default()), |words| {
        let known = TsigAlgo::parse(&words.v);
        if known.is_none() {
            let all = TsigAlgo::ALL.map(TsigAlgo::as_str).join(", ");
            let message = "this algorithm is not known, or is broken";
            sink.error_help(
                words.at,
                message,
                format!("write one of {all}; make a new key where it is another"),
            );
        }
        known
    });
    let secret = given.v.secret.as_ref().and_then(|s| credential(s, "the key's secret", sink));
    Some(TsigCredential { name: name?, algorithm: algorithm?, secret: secret? })
}

/// What is said of zones. `reached`: all that there can be, where that is known.
fn zones(
    given: &Map<At<RawDnsZone>>,
    reached: Option<&BTreeSet<&Fqdn>>,
    sink: &mut Sink,
) -> BTreeMap<Fqdn, DnsZone> {
    let mut zones = BTreeMap::new();
    for (key, raw) in &given.0 {
        let name = zone_name(&key.text, key.at, sink);
        if let Some(name) = &name
            && reached.is_some_and(|all| !all.contains(name))
        {
            let help = "name it under 'zones' of a credential, or take it out here";
            sink.warn(key.at, format!("no credential is for the zone {name}"), help);
        }
        let resolved = zone(&raw.v, sink);
        if let Some(name) = name
            && zones.insert(name, resolved).is_some()
        {
            sink.error_help(key.at, format!("the zone '{}' is given twice", key.text), "keep one of the two");
        }
    }
    zones
}

fn zone(raw: &RawDnsZone, sink: &mut Sink) -> DnsZone {
    let mut zone = DnsZone { proxied: raw.proxied, ..DnsZone::default() };
    zone.rules.adopt = raw.adopt.unwrap_or(false);
    let policies =
        [("upsert-only", Policy::UpsertOnly), ("sync", Policy::Sync), ("create-only", Policy::CreateOnly)];
    if let Some(policy) = raw.policy.as_ref().and_then(|w| choice(w, "policy", &policies, sink)) {
        zone.rules.policy = policy;
    }
    let modes = [("authoritative", VerifyMode::Authoritative), ("provider", VerifyMode::Provider)];
    if let Some(mode) = raw.verify.as_ref().and_then(|w| choice(w, "verification", &modes, sink)) {
        zone.verify = mode;
    }
    if let Some(ttl) = raw.ttl.as_ref().and_then(|w| ttl(w, sink)) {
        zone.ttl = ttl;
    }
    zone
}

/// One of a few words.
fn choice<T: Copy>(given: &At<Words>, what: &str, known: &[(&str, T)], sink: &mut Sink) -> Option<T> {
    let found = known.iter().find(|(word, _)| *word == &*given.v).map(|(_, value)| *value);
    if found.is_none() {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        let help = match nearest(&given.v, &words) {
            Some(near) => format!("did you mean '{near}'?"),
            None => format!("write one of {}", words.join(", ")),
        };
        sink.error_help(given.at, format!("there is no such {what}"), help);
    }
    found
}

/// `auto`, or whole seconds that DNS knows.
fn ttl(given: &At<Words>, sink: &mut Sink) -> Option<Ttl> {
    if &*given.v == "auto" {
        return Some(Ttl::Auto);
    }
    let time = match berth_model::units::parse_duration(&given.v) {
        Ok(time) => time,
        Err(why) => {
            sink.error_help(given.at, why, "or write auto, for what the zone has");
            return None;
        }
    };
    let seconds = u32::try_from(time.as_secs()).ok().filter(|s| (1..=Ttl::LARGEST).contains(s));
    let whole = time.subsec_nanos() == 0;
    if seconds.is_none() || !whole {
        let help = "write whole seconds from 1s to 24855d, like 5m, or auto";
        sink.error_help(given.at, "answers cannot be kept for this long", help);
    }
    seconds.filter(|_| whole).map(Ttl::Seconds)
}

/// `address:` of an account.
pub(crate) fn address(given: &At<RawAddress>, sink: &mut Sink) -> Option<Address> {
    let raw = &given.v;
    if let (Some(cname), true) = (&raw.cname, raw.ipv4.is_some() || raw.ipv6.is_some()) {
        let help = "keep 'cname', or 'ipv4' and 'ipv6'";
        sink.error_help(cname.at, "records lead to addresses or to a name, not to both", help);
        return None;
    }
    if let Some(cname) = &raw.cname {
        return match Fqdn::new(&cname.v) {
            Ok(name) if name.is_wildcard() || name.as_str().parse::<Ipv4Addr>().is_ok() => {
                let help = "write a name like edge.example.com; an address is 'ipv4' or 'ipv6'";
                sink.error_help(cname.at, "no record can lead there", help);
                None
            }
            Ok(name) => Some(Address::Name(name)),
            Err(e) => {
                sink.error_help(cname.at, e.to_string(), "write one like edge.example.com");
                None
            }
        };
    }
    let v4 = ip::<Ipv4Addr>(raw.ipv4.as_ref(), "an IPv4 address", "203.0.113.7", sink);
    let v6 = ip::<Ipv6Addr>(raw.ipv6.as_ref(), "an IPv6 address", "\"2001:db8::7\"", sink);
    if raw.ipv4.is_none() && raw.ipv6.is_none() {
        if raw.refused.is_empty() {
            let help = "add ipv4: 203.0.113.7, or cname: edge.example.com, or take 'address' out";
            sink.error_help(given.at, "the address says nothing", help);
        }
        return None;
    }
    Some(Address::Ip { v4: v4?, v6: v6? })
}

/// An address, if there is one. One that the world cannot reach is meant by whoever wrote it, and is worth a word.
fn ip<T: std::str::FromStr + Into<IpAddr> + Copy>(
    given: Option<&At<Words>>,
    what: &str,
    example: &str,
    sink: &mut Sink,
) -> Option<Option<T>> {
    let Some(words) = given else {
        return Some(None);
    };
    let Ok(ip) = words.v.parse::<T>() else {
        sink.error_help(words.at, format!("this is not {what}"), format!("write one like {example}"));
        return None;
    };
    if let Some(which) = unreachable(ip.into()) {
        let message = format!("this address is {which}: records with it lead nowhere outside of its network");
        sink.warn(words.at, message, "leave it if only that network is to reach the hosts");
    }
    Some(Some(ip))
}

/// Why the world cannot reach an address.
fn unreachable(ip: IpAddr) -> Option<&'static str> {
    let ip = ip.to_canonical();
    if ip.is_unspecified() {
        return Some("no machine's");
    }
    if ip.is_loopback() {
        return Some("each machine's own");
    }
    if ip.is_multicast() {
        return Some("a group's");
    }
    match ip {
        IpAddr::V4(v4) if v4.is_private() => Some("private"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("one of the link"),
        IpAddr::V4(v4) if v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64 => {
            Some("shared by a provider's customers")
        }
        IpAddr::V4(v4) if v4.is_broadcast() => Some("everybody's"),
        IpAddr::V6(v6) if v6.is_unique_local() => Some("private"),
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Some("one of the link"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_world_reaches() {
        let reached = [
            "203.0.113.7",
            "192.0.2.1",
            "100.63.0.1",
            "100.128.0.1",
            "2001:db8::7",
            "2a01:4f8::1",
            "::ffff:192.0.2.1",
        ];
        for ip in reached {
            assert_eq!(unreachable(ip.parse().unwrap()), None, "{ip}");
        }
        let not = [
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
            "255.255.255.255",
            "224.0.0.1",
            "::",
            "::1",
            "fe80::1",
            "fd00::1",
            "fc00::1",
            "ff02::1",
            "::ffff:10.0.0.1",
        ];
        for ip in not {
            assert!(unreachable(ip.parse().unwrap()).is_some(), "{ip}");
        }
    }
}
