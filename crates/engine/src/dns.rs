//! DNS in a run and in a pass: looks, changes that are written down before they are sent, and what is shown of it.

use crate::Engine;
use crate::execute::{Doing, Next};
use crate::metrics::Metrics;
use crate::queue::Lane;
use crate::run::classify;
use crate::state::State;
use berth_model::Time;
use berth_model::condition::{ConditionType, Reason, Status};
use berth_model::dns::{Change as RecordChange, DnsRead, Fqdn, RecordKey, Then, Trouble, ZoneId, ZoneView};
use berth_model::ids::{BackendName, Key, StackName};
use berth_model::observed::Observed;
use berth_model::record::{HostStatus, Record};
use berth_model::step::{Plan, Step};
use berth_plan::DnsPolicy;
use berth_plan::dns::{ZoneHold, guard_zone, orphans};
use berth_ports::{Dns, PortError, Trust, World};
use futures::future::join_all;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

impl State {
    /// Zones that would lose too many records of stacks that live on, as far as nobody confirmed it.
    pub(crate) fn zone_holds(&self) -> Vec<ZoneHold> {
        let mut zones: BTreeMap<&ZoneId, (usize, BTreeSet<RecordKey>)> = BTreeMap::new();
        for (key, record) in &self.records {
            let (Key::Stack(name), Some(dns)) = (key, &record.dns) else {
                continue;
            };
            let hosts: Option<BTreeSet<Fqdn>> = self.wanted.stacks.get(name).map(|s| s.names().collect());
            for (at, entry) in &dns.ledger.0 {
                let (of, vanishing) = zones.entry(&entry.zone).or_default();
                *of += 1;
                let is_confirmed = || self.confirmed_records.contains(&(entry.zone.clone(), at.clone()));
                if hosts.as_ref().is_some_and(|h| !h.contains(&at.name)) && !is_confirmed() {
                    vanishing.insert(at.clone());
                }
            }
        }
        zones.into_iter().filter_map(|(zone, (of, vanishing))| guard_zone(zone, of, vanishing)).collect()
    }

    /// Whether a stack has this record in its ledger, or may want it.
    fn knows_record(&self, stack: &StackName, at: &RecordKey) -> bool {
        let record = self.records.get(&Key::Stack(stack.clone()));
        let dns = record.and_then(|r| r.dns.as_ref());
        dns.is_some_and(|dns| dns.ledger.0.contains_key(at)) || self.wanted.may_want(stack, &at.name)
    }

    /// The stacks of an account whose records do not stand in a zone as they were written; and how many of its records
    /// nobody knows, where that are more than before.
    fn judge_zone(
        &mut self,
        backend: &BackendName,
        zone: &ZoneId,
        view: &ZoneView,
    ) -> (Vec<Key>, Option<usize>) {
        let mut differ = Vec::new();
        for (key, record) in self.records.iter().filter(|(_, r)| r.backend.as_ref() == Some(backend)) {
            let (Key::Stack(stack), Some(dns)) = (key, &record.dns) else {
                continue;
            };
            if !berth_plan::stands(view, stack, dns) {
                differ.push(key.clone());
            }
        }
        // Before the manifests are read nobody knows who wants what.
        if self.wanted.trust == Trust::Unknown {
            return (differ, None);
        }
        let lost = orphans(view, |stack, key| self.knows_record(stack, key)).len();
        let before = self.lost_records.insert(zone.clone(), lost).unwrap_or_default();
        (differ, (lost > before).then_some(lost))
    }

    /// Zones that no stack has records in are not looked at any more: what was counted there may be gone.
    fn keep_lost_of_known_zones(&mut self) {
        let entries =
            self.records.values().filter_map(|r| r.dns.as_ref()).flat_map(|dns| dns.ledger.0.values());
        let known: BTreeSet<&ZoneId> = entries.map(|entry| &entry.zone).collect();
        self.lost_records.retain(|zone, _| known.contains(zone));
    }

    /// Confirms what this token names; answers the stacks that wait for it.
    pub(crate) fn confirm_records(&mut self, token: &str) -> BTreeSet<StackName> {
        let mut stacks = BTreeSet::new();
        for hold in self.zone_holds().into_iter().filter(|h| h.token == token) {
            for (key, record) in &self.records {
                let Key::Stack(name) = key else { continue };
                let ledger = record.dns.iter().flat_map(|dns| dns.ledger.0.keys());
                if ledger.into_iter().any(|at| hold.keys.contains(at)) {
                    stacks.insert(name.clone());
                }
            }
            self.confirmed_records.extend(hold.keys.into_iter().map(|key| (hold.zone.clone(), key)));
        }
        stacks
    }
}

/// Why the records of a stack may not be there, as the metrics name it.
pub(crate) const REASONS: [(Option<Reason>, &str); 7] = [
    (Some(Reason::Conflict), "Conflict"),
    (Some(Reason::RecordsPending), "RecordsPending"),
    (Some(Reason::RecordRefused), "RecordRefused"),
    (Some(Reason::DnsUnavailable), "DnsUnavailable"),
    (Some(Reason::AddressNotPublic), "AddressNotPublic"),
    (Some(Reason::Held), "Held"),
    (None, "other"),
];

/// Records and stacks by how they stand.
pub(crate) fn gauges(state: &State, metrics: &Metrics) {
    let (mut all, mut verified) = (0, 0);
    for dns in state.records.values().filter_map(|r| r.dns.as_ref()) {
        all += dns.ledger.0.len();
        verified += dns.ledger.0.keys().filter(|key| dns.verified.contains_key(*key)).count();
    }
    let number = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    metrics.dns_records.with_label_values(&["verified"]).set(number(verified));
    metrics.dns_records.with_label_values(&["pending"]).set(number(all - verified));
    metrics.dns_orphans.set(number(state.lost_records.values().sum()));
    let mut counts = [0i64; REASONS.len()];
    for status in state.statuses.values() {
        let found = status.condition(ConditionType::DNSReady).filter(|c| c.status != Status::True);
        if let Some(found) = found {
            let at = REASONS.iter().position(|(r, _)| *r == Some(found.reason)).unwrap_or(REASONS.len() - 1);
            counts[at] += 1;
        }
    }
    for ((_, reason), count) in REASONS.iter().zip(counts) {
        metrics.dns_stacks.with_label_values(&[reason]).set(count);
    }
}

/// What DNS could not do, in a word that the plan knows.
fn trouble(error: &PortError) -> Trouble {
    let (reason, why) = classify(error);
    let reason = match reason {
        Reason::Refused | Reason::Retrying | Reason::Unsupported => Reason::RecordRefused,
        Reason::BackendUnavailable | Reason::Unknown => Reason::DnsUnavailable,
        other => other,
    };
    Trouble { reason, why }
}

impl<W: World> Engine<W> {
    /// What a plan may do about DNS; `None` where no credential is set.
    pub(crate) fn dns_policy(&self, backend: Option<&BackendName>) -> Option<DnsPolicy<'_>> {
        self.parts.dns.as_ref()?;
        let settings = backend.and_then(|b| self.options.backends.get(b));
        Some(DnsPolicy { zones: &self.options.zones, address: settings.and_then(|b| b.address.as_ref()) })
    }

    /// Performs the looks of a plan at DNS. What fails is known as what it is, and holds nothing else up.
    pub(crate) async fn observe_dns(&self, plan: &Plan, observed: &mut Observed) {
        let Some(dns) = &self.parts.dns else {
            return;
        };
        let max_age = if observed.dns.is_stale { Duration::ZERO } else { self.options.intervals.resync };
        let reads = plan.steps.iter().filter_map(|step| match step {
            Step::LookDns(read) => Some(read),
            _ => None,
        });
        join_all(reads.map(async |read| match read {
            DnsRead::Zone(name) => Looked::Zone(name, dns.zone_of(name).await),
            DnsRead::View(zone, names) => Looked::View(zone, dns.view(zone, names, max_age).await),
            DnsRead::Verify(zone, asked) => Looked::Verified(&asked.key, dns.verify(zone, asked).await),
        }))
        .await
        .into_iter()
        .for_each(|looked| match looked {
            Looked::Zone(name, found) => {
                observed.dns.zones.insert(name.clone(), found.map_err(|e| trouble(&e)));
            }
            Looked::View(zone, found) => {
                observed.dns.views.insert(zone.clone(), found.map_err(|e| trouble(&e)));
            }
            Looked::Verified(key, found) => {
                observed.dns.verified.insert(key.clone(), found.map_err(|e| trouble(&e)));
            }
        });
    }

    /// Changes records. They are announced in the ledger before, so that a crash in between is read as what it was. One
    /// that is refused holds no other up.
    pub(crate) async fn change_records(
        &self,
        doing: &mut Doing<'_>,
        zone: &ZoneId,
        changes: &[RecordChange],
    ) -> Result<Next, PortError> {
        let Some(dns) = &self.parts.dns else {
            return Ok(Next::Step);
        };
        // Only what goes can be held: who makes records does not look through the whole fleet for that.
        let goes =
            |change: &RecordChange| change.sets.values().any(|s| matches!(s.then, Then::Remove { .. }));
        let hold = if changes.iter().any(goes) {
            self.state().zone_holds().into_iter().find(|hold| hold.zone == *zone)
        } else {
            None
        };
        let is_held =
            |change: &RecordChange| hold.as_ref().is_some_and(|h| change.keys().any(|k| h.keys.contains(&k)));
        let (held, changes): (Vec<_>, Vec<_>) = changes.iter().cloned().partition(is_held);
        if let Some(hold) = &hold {
            let why = format!(
                "the manifests would take {} of the {} records away that Berth wrote in {}; if that is meant, run: berth \
                 confirm {}",
                hold.keys.len(),
                hold.of,
                zone.name,
                hold.token
            );
            let held =
                held.into_iter().map(|change| (change, Trouble { reason: Reason::Held, why: why.clone() }));
            doing.refused.extend(held);
        }
        if changes.is_empty() {
            return Ok(Next::Replan);
        }
        let ledger = &mut doing.record.dns.get_or_insert_default().ledger;
        let until = self.now().after(self.options.settle);
        for change in &changes {
            ledger.announce(zone, change);
            ledger.open(change, Some(until));
        }
        self.save(doing, Vec::new()).await?;
        self.first_call(doing.key);
        let results = join_all(changes.iter().map(|change| dns.change(zone, change.clone()))).await;
        for (change, result) in changes.iter().zip(results) {
            let outcome = match &result {
                Ok(_) => "ok",
                Err(PortError::Unknown { .. }) => "unknown",
                Err(_) => "failed",
            };
            self.metrics.steps.with_label_values(&["change_records", outcome]).inc();
            let lines = change.to_string();
            match result {
                Ok(_) => {
                    let dns = doing.record.dns.get_or_insert_default();
                    dns.ledger.settle(zone, change);
                    dns.adopting.remove(&change.name);
                    doing.did.extend(lines.lines().map(|line| format!("record {line}")));
                }
                Err(error) => {
                    doing.did.extend(lines.lines().map(|line| format!("record {line}: {error}")));
                    if !matches!(error, PortError::Unknown { .. }) {
                        doing.record.dns.get_or_insert_default().ledger.open(change, None);
                    }
                    // What is refused was looked at again by whoever sent it, or was not sent at all.
                    doing.is_stale |= !matches!(error, PortError::Refused { .. });
                    // Something stands otherwise than it was seen: the next look decides.
                    if !matches!(error, PortError::Conflict(_)) {
                        doing.refused.push((change.clone(), trouble(&error)));
                    }
                }
            }
        }
        doing.record.dns.take_if(|dns| dns.is_empty());
        self.save(doing, Vec::new()).await?;
        Ok(Next::Replan)
    }

    /// Looks at every zone that holds records of this account's stacks, once, and wakes the stacks whose records do not
    /// stand as they were written.
    pub(crate) async fn judge_records(&self, backend: &BackendName) {
        let Some(dns) = &self.parts.dns else {
            return;
        };
        let mut zones: BTreeMap<ZoneId, BTreeSet<Fqdn>> = BTreeMap::new();
        for (_, record) in self.state().records.iter().filter(|(_, r)| r.backend.as_ref() == Some(backend)) {
            for (key, entry) in record.dns.iter().flat_map(|dns| &dns.ledger.0) {
                zones.entry(entry.zone.clone()).or_default().insert(key.name.clone());
            }
        }
        let max_age = self.options.intervals.resync / 2;
        let views = join_all(zones.iter().map(|(zone, names)| dns.view(zone, names, max_age))).await;
        let mut woken = Vec::new();
        for (zone, view) in zones.keys().zip(views) {
            let view = match view {
                Ok(view) => view,
                Err(error) => {
                    tracing::warn!(%zone, %error, "the zone could not be looked at");
                    continue;
                }
            };
            let (differ, news) = self.state().judge_zone(backend, zone, &view);
            woken.extend(differ);
            if let Some(lost) = news {
                tracing::warn!(%zone, "{lost} records have a mark of ours, and nothing is known of them: see berth doctor");
            }
            tokio::task::yield_now().await;
        }
        self.state().keep_lost_of_known_zones();
        for key in woken {
            self.wake(&key, Lane::Drift, "a record is not as it was written");
        }
    }
}

/// What a look came to.
enum Looked<'a> {
    Zone(&'a Fqdn, Result<berth_model::dns::ZoneChoice, PortError>),
    View(&'a ZoneId, Result<std::sync::Arc<berth_model::dns::ZoneView>, PortError>),
    Verified(&'a berth_model::dns::RecordKey, Result<berth_model::dns::Verification, PortError>),
}

/// How the records of a stack stand, where Berth has to do with any.
pub(crate) fn condition(plan: &Plan, record: &Record) -> Option<(ConditionType, Status, Reason, String)> {
    let is_host = |what: &str| what.starts_with("host ") || what == "records";
    let blocked = plan.blocked.iter().filter(|b| is_host(&b.what));
    let blocked = blocked.map(|b| (b.reason, format!("{}: {}", b.what, b.message)));
    let notes = plan
        .notes
        .iter()
        .filter(|n| is_host(&n.what) && matches!(n.reason, Reason::RecordsPending | Reason::DnsUnavailable));
    let notes = notes.map(|n| (n.reason, format!("{}: {}", n.what, n.message)));
    let is_ready = |status, reason, message| Some((ConditionType::DNSReady, status, reason, message));
    let mut all = blocked.chain(notes);
    if let Some((reason, first)) = all.next() {
        let more = all.count();
        let more = if more > 0 { format!(" (and {more} more)") } else { String::new() };
        let status = if reason == Reason::DnsUnavailable { Status::Unknown } else { Status::False };
        return is_ready(status, reason, format!("{first}{more}"));
    }
    let dns = record.dns.as_ref().filter(|dns| !dns.verified.is_empty())?;
    let names: BTreeSet<_> = dns.verified.keys().map(|key| &key.name).collect();
    let message = match names.len() {
        1 => "every server of its zone answers its host".to_owned(),
        n => format!("every server of their zones answers {n} hosts"),
    };
    is_ready(Status::True, Reason::RecordsVerified, message)
}

/// The hosts that records were written for.
pub(crate) fn hosts(record: &Record) -> Vec<HostStatus> {
    let mut hosts: BTreeMap<&Fqdn, HostStatus> = BTreeMap::new();
    let Some(dns) = &record.dns else {
        return Vec::new();
    };
    for (key, entry) in &dns.ledger.0 {
        let host = hosts.entry(&key.name).or_insert_with(|| HostStatus {
            host: key.name.clone(),
            zone: entry.zone.name.clone(),
            records: Vec::new(),
            verified_at: Some(Time(i64::MAX)),
        });
        host.records.extend(entry.values.iter().cloned());
        let at = dns.verified.get(key).map(|v| v.at);
        host.verified_at = host.verified_at.zip(at).map(|(a, b)| a.min(b));
    }
    hosts.into_values().collect()
}
