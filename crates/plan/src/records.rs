//! The records of a stack's hosts, before anything is exposed under them: found in their zones, made, and seen at every
//! server that answers for them. A host whose records are not there yet is withheld: no app is made under it, and no
//! domain is added for it. What is exposed already stays so, whatever becomes of DNS.

use crate::Planner;
use crate::dns::{self, Ask, Judgement, Us, Why};
use crate::gate::pace;
use berth_model::condition::Reason;
use berth_model::config::{Address, DnsZone};
use berth_model::desired::{Desired, DesiredApp};
use berth_model::dns::{
    Asked, DnsHash, DnsRead, Expected, Fqdn, Policy, RecordData, RecordKey, Trouble, Verdict, Verification,
    Verified, WantedSet, ZoneChoice, ZoneId, ZoneRules, ZoneView,
};
use berth_model::ids::StackName;
use berth_model::observed::Seen;
use berth_model::record::DnsRecord;
use berth_model::remote::Read;
use berth_model::stack::Records;
use berth_model::step::{Learned, Step};
use berth_model::time::Time;
use berth_model::units::show_duration;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

/// What was seen at every server is asked for again after this long.
const VERIFIED_FOR: Duration = Duration::from_secs(3600);
/// What is not seen everywhere after this long needs a person: a server that lags for longer does not lag.
const SEEN_WITHIN: Duration = Duration::from_secs(600);
/// Between two looks at servers that are waited for, at most.
const SLOWEST: Duration = Duration::from_secs(60);

/// What DNS is to be, as far as the settings say.
#[derive(Debug, Clone, Copy)]
pub struct DnsPolicy<'a> {
    /// What differs from the defaults, by zone.
    pub zones: &'a BTreeMap<Fqdn, DnsZone>,
    /// Where records lead; `None` for the address that the platform has for its server.
    pub address: Option<&'a Address>,
}

impl DnsPolicy<'_> {
    fn zone(&self, name: &Fqdn) -> DnsZone {
        self.zones.get(name).cloned().unwrap_or_default()
    }
}

/// Whether the world can reach an address, as far as it says itself.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            let never = ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast();
            !(ip.is_private() || ip.is_loopback() || ip.is_link_local() || shared || never)
        }
        IpAddr::V6(ip) => {
            let never = ip.is_unspecified() || ip.is_multicast();
            !(ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || never)
        }
    }
}

/// The hosts of an app as names that records can have.
fn hosts(app: &DesiredApp) -> impl Iterator<Item = Fqdn> {
    app.hosts().filter_map(|host| Fqdn::new(host).ok())
}

fn reason(why: &Why) -> Reason {
    match why {
        Why::Unknown => Reason::DnsUnavailable,
        Why::Conflict { .. } | Why::Unproven { .. } | Why::Contradiction | Why::Held => Reason::Conflict,
        Why::NotInZone
        | Why::Delegated(_)
        | Why::ApexCname
        | Why::NoProxy
        | Why::ReadOnly(_)
        | Why::Protected
        | Why::Full(_) => Reason::RecordRefused,
    }
}

/// What to do about one zone for this stack.
struct InZone<'v> {
    zone: ZoneId,
    view: &'v ZoneView,
    settings: DnsZone,
    names: BTreeSet<Fqdn>,
}

impl<'a> Planner<'a> {
    /// Plans the records of every host. False: something has to be looked at before anything else is said.
    pub(crate) fn records(&mut self, desired: &Desired) -> bool {
        let Some(policy) = self.policy.dns else {
            return true;
        };
        let names: BTreeSet<Fqdn> = desired.apps.iter().flat_map(hosts).collect();
        let Some(by_zone) = self.zones_of(&names) else {
            return false;
        };
        let Some(zones) = self.views(by_zone, desired.records, policy) else {
            return false;
        };
        let target = if zones.iter().any(|z| !z.names.is_empty()) {
            match self.target(policy) {
                Some(target) => target,
                None => return false,
            }
        } else {
            Vec::new()
        };
        let mut pending = Pending::default();
        for zone in &zones {
            match desired.records {
                Records::Managed => self.managed(desired, zone, &target, &mut pending),
                Records::Wildcard => self.wildcards(zone, &target, &mut pending),
            }
        }
        self.forget_verified(&pending.known);
        self.wait_for(pending)
    }

    /// The zone of each name. A name that no credential reaches a zone for is its owner's own business.
    fn zones_of(&mut self, names: &BTreeSet<Fqdn>) -> Option<BTreeMap<ZoneId, BTreeSet<Fqdn>>> {
        let mut by_zone: BTreeMap<ZoneId, BTreeSet<Fqdn>> = BTreeMap::new();
        let mut known = true;
        for name in names {
            match self.input.observed.dns.zones.get(name) {
                None => {
                    self.step(Step::LookDns(DnsRead::Zone(name.clone())));
                    known = false;
                }
                Some(Ok(ZoneChoice::Zone(zone))) => {
                    by_zone.entry(zone.clone()).or_default().insert(name.clone());
                }
                Some(Ok(ZoneChoice::Delegated { zone, cut })) => self.withhold(
                    name,
                    Reason::RecordRefused,
                    format!(
                        "{} hands {} on to {}, and no credential reaches a zone there: add one to 'dns' in berth.yaml, or \
                         take the delegation away",
                        zone.name,
                        cut.name,
                        cut.to.join(", ")
                    ),
                ),
                Some(Ok(ZoneChoice::Nowhere)) => {}
                Some(Err(trouble)) => self.trouble(name, &trouble.clone()),
            }
        }
        known.then_some(by_zone)
    }

    /// A zone cannot be looked at. A host that was verified once goes on; any other waits.
    fn trouble(&mut self, name: &Fqdn, trouble: &Trouble) {
        let what = format!("host {name}");
        self.is_unsure = true;
        if self.was_verified(name) {
            self.note(what, trouble.reason, trouble.why.clone());
        } else {
            self.withhold(name, trouble.reason, trouble.why.clone());
            self.wait(Duration::from_secs(15), "DNS");
        }
    }

    fn was_verified(&self, name: &Fqdn) -> bool {
        self.dns_record().is_some_and(|dns| dns.verified.keys().any(|key| key.name == *name))
    }

    fn dns_record(&self) -> Option<&'a DnsRecord> {
        self.input.record.dns.as_deref()
    }

    /// Nothing new is exposed under this name for now.
    fn withhold(&mut self, name: &Fqdn, reason: Reason, why: String) {
        self.withheld.insert(name.to_string());
        self.block(format!("host {name}"), reason, why);
    }

    /// Looks at every zone that holds, or held, a record of this stack.
    fn views(
        &mut self,
        mut by_zone: BTreeMap<ZoneId, BTreeSet<Fqdn>>,
        records: Records,
        policy: DnsPolicy<'_>,
    ) -> Option<Vec<InZone<'a>>> {
        for (key, entry) in self.dns_record().iter().flat_map(|dns| &dns.ledger.0) {
            // A zone that another credential holds by now is the same zone.
            if !by_zone.keys().any(|zone| zone.name == entry.zone.name) && !key.name.is_wildcard() {
                by_zone.entry(entry.zone.clone()).or_default();
            }
        }
        let mut zones = Vec::new();
        let mut known = true;
        for (zone, names) in by_zone {
            let mut asked = names.clone();
            asked.extend(self.recorded_in(&zone.name));
            if records == Records::Wildcard {
                asked.extend(names.iter().flat_map(|name| ZoneView::tells(name, &zone.name)));
            }
            match self.input.observed.dns.views.get(&zone) {
                None => {
                    self.step(Step::LookDns(DnsRead::View(zone, asked)));
                    known = false;
                }
                Some(Ok(view)) => {
                    let settings = policy.zone(&zone.name);
                    zones.push(InZone { zone, view, settings, names });
                }
                Some(Err(trouble)) => {
                    for name in &names {
                        self.trouble(name, &trouble.clone());
                    }
                }
            }
        }
        known.then_some(zones)
    }

    fn recorded_in(&self, zone: &Fqdn) -> impl Iterator<Item = Fqdn> + use<'a> {
        let zone = zone.clone();
        let entries = self.dns_record().into_iter().flat_map(|dns| &dns.ledger.0);
        entries.filter(move |(_, e)| e.zone.name == zone).map(|(key, _)| key.name.clone())
    }

    /// What records lead to: one value of each type. Empty where they cannot be made; `None` while that is looked at.
    fn target(&mut self, policy: DnsPolicy<'_>) -> Option<Vec<RecordData>> {
        Some(match policy.address {
            Some(Address::Ip { v4, v6 }) => {
                v4.map(RecordData::A).into_iter().chain(v6.map(RecordData::Aaaa)).collect()
            }
            Some(Address::Name(name)) => vec![RecordData::Cname(name.clone())],
            None => match &self.input.observed.address {
                None => {
                    self.look(Read::Address);
                    return None;
                }
                Some(Seen::Present(address)) if is_public(*address) => vec![RecordData::address(*address)],
                Some(Seen::Present(address)) => {
                    let why = format!(
                        "Dokploy has {address} for its server, which the world cannot reach: set 'address' of the backend \
                         in berth.yaml"
                    );
                    self.block("records", Reason::AddressNotPublic, why);
                    Vec::new()
                }
                Some(Seen::Absent | Seen::Unknown) => {
                    let why = "Dokploy has no address for its server: set it in Dokploy's settings, or 'address' of the \
                               backend in berth.yaml";
                    self.block("records", Reason::AddressNotPublic, why);
                    Vec::new()
                }
            },
        })
    }

    /// Records that Berth writes.
    fn managed(
        &mut self,
        desired: &Desired,
        zone: &InZone<'a>,
        target: &[RecordData],
        pending: &mut Pending,
    ) {
        let mut wanted = Vec::new();
        for name in &zone.names {
            if target.is_empty() {
                self.withheld.insert(name.to_string());
            }
            for value in target {
                let key = RecordKey::new(name.clone(), value.kind());
                let (ttl, proxied) = (zone.settings.ttl, zone.settings.proxied);
                match WantedSet::new(key, [value.clone()].into(), ttl, proxied) {
                    Ok(set) => wanted.push(set),
                    Err(why) => self.withhold(name, Reason::RecordRefused, why.to_string()),
                }
            }
        }
        let mut rules = zone.settings.rules;
        if !desired.left.is_empty() && rules.policy == Policy::Sync {
            // Apps that are left alone keep their hosts, and nobody says which those are.
            rules.policy = Policy::UpsertOnly;
        }
        let formerly = desired.formerly.iter().cloned().collect();
        let judged = self.judge_zone(zone.view, &formerly, &wanted, rules, false);
        self.say(&judged);
        self.change(&zone.zone, judged.changes);
        for set in wanted {
            if judged.right.contains(set.key()) {
                pending.ask(zone, dns::asked(zone.view, &set, zone.settings.verify, true), set.values());
            } else {
                pending.known.insert(set.key().clone());
            }
        }
    }

    fn judge_zone(
        &self,
        view: &ZoneView,
        formerly: &BTreeSet<StackName>,
        wanted: &[WantedSet],
        rules: ZoneRules,
        removing: bool,
    ) -> Judgement {
        let none = DnsRecord::default();
        let DnsRecord { ledger, adopting: adopt, .. } = self.dns_record().unwrap_or(&none);
        let us = Us { owner: self.policy.owner, stack: self.input.stack, formerly };
        dns::judge(view, &Ask { us, wanted, ledger, rules, adopt, removing, now: self.policy.now })
    }

    /// What was learned, what is in the way, and what there is to say.
    fn say(&mut self, judged: &Judgement) {
        if !judged.learned.is_empty() {
            self.learn(Learned::Records { entries: judged.learned.clone() });
        }
        if let Some(until) = judged.unsettled {
            self.wait(until.since(self.policy.now), "a record was sent and not answered: it may come yet");
        }
        for blocked in &judged.blocked {
            self.withhold(
                &blocked.key.name,
                reason(&blocked.why),
                format!("{}: {}", blocked.key.kind, blocked.why),
            );
        }
        for note in &judged.notes {
            self.note(
                format!("host {}", note.key.name),
                Reason::Reported,
                format!("{} {}", note.key.kind, note.what),
            );
        }
    }

    /// Changes that were not refused in this run already.
    fn change(&mut self, zone: &ZoneId, changes: Vec<berth_model::dns::Change>) {
        let refused = &self.input.observed.dns.refused;
        let (bad, good): (Vec<_>, Vec<_>) =
            changes.into_iter().partition(|change| refused.iter().any(|(c, _)| c == change));
        for change in bad {
            if let Some((_, trouble)) = refused.iter().find(|(c, _)| *c == change) {
                self.withhold(&change.name, trouble.reason, trouble.why.clone());
            }
        }
        if !good.is_empty() {
            self.phase(berth_model::condition::Phase::Place);
            self.step(Step::ChangeRecords { zone: zone.clone(), changes: good });
        }
    }

    /// A wildcard that somebody else keeps: it must answer what is wanted.
    fn wildcards(&mut self, zone: &InZone<'a>, target: &[RecordData], pending: &mut Pending) {
        for name in &zone.names {
            let answering = zone.view.answering(name);
            for value in target {
                let set = answering.as_ref().and_then(|(at, seen)| {
                    Some((RecordKey::new(at.clone(), value.kind()), seen.sets.get(&value.kind())?.data()))
                });
                match set {
                    Some((key, data)) if data.contains(value) => {
                        let beside = data.into_iter().filter(|v| v != value).collect();
                        let expected = Expected::Values { ours: [value.clone()].into(), beside };
                        let mode = zone.settings.verify;
                        pending.ask(zone, Asked { key, expected, mode, recursors: true }, &[value.clone()].into());
                    }
                    _ => self.withhold(
                        name,
                        Reason::RecordRefused,
                        format!(
                            "no wildcard record of {} answers {} {value} for it: make one, or let Berth write the records \
                             (records: managed)",
                            zone.zone.name,
                            value.kind()
                        ),
                    ),
                }
            }
        }
    }

    /// What is not wanted any more was verified for nothing.
    fn forget_verified(&mut self, known: &BTreeSet<RecordKey>) {
        if let Some(dns) = self.dns_record()
            && dns.verified.keys().any(|key| !known.contains(key))
            && self.plan.blocked.is_empty()
            && !self.is_unsure
        {
            let records = dns.verified.iter().filter(|(key, _)| known.contains(key));
            self.learn(Learned::Verified {
                records: records.map(|(k, v)| (k.clone(), *v)).collect(),
                all: true,
            });
        }
    }

    /// Every server is asked for what it was not seen to answer lately.
    fn wait_for(&mut self, pending: Pending) -> bool {
        let now = self.policy.now;
        let before = self.dns_record().map(|dns| &dns.verified);
        let mut verified = Vec::new();
        let mut known = true;
        let mut missing: Vec<(RecordKey, String)> = Vec::new();
        for (zone, asked, hash) in pending.asked {
            let old = before.and_then(|v| v.get(&asked.key));
            if old.is_some_and(|v| v.counts(hash, now, VERIFIED_FOR)) {
                continue;
            }
            match self.input.observed.dns.verified.get(&asked.key) {
                None => {
                    self.step(Step::LookDns(DnsRead::Verify(zone, Box::new(asked))));
                    known = false;
                }
                Some(Ok(Verification { verdict: Verdict::Right, .. })) => {
                    verified.push((asked.key, Verified { hash, at: now }));
                }
                Some(found) => {
                    let why = match found {
                        Ok(found) => shortfall(found),
                        Err(trouble) => trouble.why.clone(),
                    };
                    if old.is_some_and(|v| v.hash == hash) {
                        // It was right once: what is exposed stays so, and it is said.
                        self.note(format!("host {}", asked.key.name), Reason::RecordsPending, why);
                    } else {
                        missing.push((asked.key, why));
                    }
                }
            }
        }
        if !known {
            return false;
        }
        if !verified.is_empty() {
            self.learn(Learned::Verified { records: verified, all: false });
        }
        let waiting = self.dns_record().and_then(|dns| dns.waiting);
        if missing.is_empty() {
            if waiting.is_some() {
                self.learn(Learned::Waiting { since: None });
            }
            return true;
        }
        let since = waiting.unwrap_or(now);
        if waiting.is_none() {
            self.learn(Learned::Waiting { since: Some(now) });
        }
        self.not_seen(missing, now, since);
        true
    }

    fn not_seen(&mut self, missing: Vec<(RecordKey, String)>, now: Time, since: Time) {
        let waited = now.since(since);
        let first = missing.first().map(|(key, why)| format!("{}: {why}", key.name)).unwrap_or_default();
        for (key, why) in missing {
            self.withheld.insert(key.name.to_string());
            let what = format!("host {}", key.name);
            if waited >= SEEN_WITHIN {
                let why = format!("after {}: {why}", show_duration(Duration::from_secs(waited.as_secs())));
                self.block(what, Reason::RecordsPending, why);
            } else {
                self.note(what, Reason::RecordsPending, why);
            }
        }
        let slow = if waited >= SEEN_WITHIN { SLOWEST } else { pace(waited).max(Duration::from_millis(500)) };
        self.wait(slow, format!("a record is not seen everywhere yet: {first}"));
    }

    /// What the stack wrote goes with it. True once nothing of it is left, or what is left stays.
    pub(crate) fn remove_records(&mut self) -> bool {
        let Some(dns) = self.dns_record() else {
            return true;
        };
        let Some(policy) = self.policy.dns else {
            let left: Vec<_> = dns.ledger.0.keys().map(ToString::to_string).collect();
            if left.is_empty() {
                return true;
            }
            let why = format!(
                "berth.yaml names no DNS credential any more, and what was written with it stays until it does: {}",
                left.join(", ")
            );
            self.block("records", Reason::DnsUnavailable, why);
            return false;
        };
        let Some(zones) = self.views(BTreeMap::new(), Records::Managed, policy) else {
            return false;
        };
        let mut over = true;
        for zone in &zones {
            let judged = self.judge_zone(zone.view, &BTreeSet::new(), &[], zone.settings.rules, true);
            over &= judged.changes.is_empty() && judged.blocked.is_empty() && judged.unsettled.is_none();
            self.say(&judged);
            self.change(&zone.zone, judged.changes);
        }
        let seen = |zone: &Fqdn| zones.iter().any(|z| z.zone.name == *zone);
        let unseen: BTreeSet<_> = dns.ledger.0.values().map(|e| &e.zone).filter(|z| !seen(&z.name)).collect();
        for zone in unseen {
            over = false;
            let why = match self.input.observed.dns.views.get(zone) {
                Some(Err(trouble)) => trouble.why.clone(),
                _ => "it was not looked at".to_owned(),
            };
            self.block(format!("zone {}", zone.name), Reason::DnsUnavailable, why);
            self.wait(Duration::from_secs(15), "DNS");
        }
        if over && !dns.is_empty() {
            let entries = dns.ledger.0.keys().map(|key| (key.clone(), None)).collect();
            self.learn(Learned::Records { entries });
            self.learn(Learned::Verified { records: Vec::new(), all: true });
        }
        over
    }
}

/// What is to be asked of servers.
#[derive(Default)]
struct Pending {
    asked: Vec<(ZoneId, Asked, DnsHash)>,
    /// All records that are wanted.
    known: BTreeSet<RecordKey>,
}

impl Pending {
    fn ask(&mut self, zone: &InZone<'_>, asked: Asked, values: &BTreeSet<RecordData>) {
        if self.known.insert(asked.key.clone()) {
            let hash = DnsHash::of(&asked.key, values);
            self.asked.push((zone.zone.clone(), asked, hash));
        }
    }
}

/// What is missing, with the servers that lag and how long whoever asked too early may not see it.
fn shortfall(found: &Verification) -> String {
    let why = match &found.verdict {
        Verdict::Right => "all servers answer it".to_owned(),
        Verdict::Wrong(why) | Verdict::Unknown(why) => why.clone(),
    };
    match found.negative_ttl {
        Some(ttl) => format!(
            "{why}; whoever asked before may not see it for {}",
            show_duration(Duration::from_secs(ttl.into()))
        ),
        None => why,
    }
}

/// Whether a record that was written still stands as it was: what every pass asks, without a plan.
#[must_use]
pub fn stands(view: &ZoneView, stack: &StackName, dns: &DnsRecord) -> bool {
    let here = dns.ledger.0.iter().filter(|(_, e)| e.zone.name == view.zone.name);
    here.into_iter().all(|(key, entry)| {
        let Seen::Present(set) = view.set(key) else {
            return view.set(key).is_unknown();
        };
        let marked = |mark: &berth_model::dns::DnsMarkSeen| mark.ours().is_some_and(|m| m.stack == *stack);
        let per_value = view.facts.marks.per_value();
        entry.pending.is_none()
            && entry
                .values
                .iter()
                .all(|v| set.values.get(v).is_some_and(|seen| !per_value || marked(&seen.mark)))
            && (per_value || marked(&set.mark))
    })
}
