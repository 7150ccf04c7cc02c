//! Certificates of hosts, as handshakes show them: those of the health checks that happen anyway, and a rare look at
//! hosts that no check has shown for long. It keeps no stack from anything; what it finds is a condition and a number.

use crate::Engine;
use crate::state::State;
use berth_model::Time;
use berth_model::condition::{ConditionType, Reason, Status};
use berth_model::ids::{BackendName, Key};
use berth_model::observed::{ProbeResult, Probed};
use berth_model::record::StackStatus;
use berth_model::stack::{Https, Stack};
use berth_model::step::ProbeSpec;
use berth_ports::{Prober, World};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A host that nothing has shown for this long is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(12 * 3_600);
/// One that needs attention, or was not reached, is looked at sooner: a renewal should show the same day.
const LOOK_AGAIN: Duration = Duration::from_secs(6 * 3_600);
/// From here on a certificate is watched: it is due to be renewed.
const WATCHED: Duration = Duration::from_secs(21 * 24 * 3_600);
/// What was not seen for this long is not known any more.
const FORGOTTEN: Duration = Duration::from_secs(3 * 24 * 3_600);
/// Passes over which the first look at everything is spread.
const SPREAD: usize = 20;

/// How a host's certificate stands. The words are those of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    /// It expired.
    Expired,
    /// It is not there yet, or not the right one.
    Pending,
    /// It expires within three days.
    In3Days,
    /// It expires within fourteen days.
    In14Days,
    /// No handshake has shown it lately.
    Unseen,
    /// All is well.
    Good,
}

impl Standing {
    /// All, worst first.
    pub(crate) const ALL: [Standing; 6] = [
        Standing::Expired,
        Standing::Pending,
        Standing::In3Days,
        Standing::In14Days,
        Standing::Unseen,
        Standing::Good,
    ];

    /// Its word.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Standing::Expired => "expired",
            Standing::Pending => "pending",
            Standing::In3Days => "expiring_3d",
            Standing::In14Days => "expiring_14d",
            Standing::Unseen => "unseen",
            Standing::Good => "ok",
        }
    }
}

/// What is known of one host.
#[derive(Debug, Default)]
struct Host {
    /// When its certificate expires, as far as it says.
    until: Option<Time>,
    /// Why it is not believed.
    trouble: Option<Box<str>>,
    /// When a handshake last showed it.
    seen: Option<Time>,
    /// When it was last asked.
    asked: Option<Time>,
    /// It is about to be asked.
    queued: bool,
    /// The last pass that found it wanted.
    round: u32,
}

impl Host {
    fn standing(&self, now: Time) -> Standing {
        let lately = self.seen.is_some_and(|seen| now.since(seen) < FORGOTTEN);
        match (self.until, &self.trouble) {
            _ if !lately => Standing::Unseen,
            (Some(until), _) if until <= now => Standing::Expired,
            (_, Some(_)) => Standing::Pending,
            (Some(until), None) if until <= now.after(3 * DAY) => Standing::In3Days,
            (Some(until), None) if until <= now.after(14 * DAY) => Standing::In14Days,
            (Some(_), None) => Standing::Good,
            (None, None) => Standing::Unseen,
        }
    }

    fn is_due(&self, now: Time) -> bool {
        if self.queued {
            return false;
        }
        let Some(asked) = self.asked else { return true };
        let calm = self.standing(now) == Standing::Good && self.until.is_some_and(|u| u > now.after(WATCHED));
        now.since(asked) >= if calm { LOOK_EVERY } else { LOOK_AGAIN }
    }
}

/// The certificates of one account's hosts.
#[derive(Debug, Default)]
pub(crate) struct Certificates {
    hosts: BTreeMap<String, Host>,
    round: u32,
    /// Checks go past TLS here: nothing is ever seen, and nothing is asked for the sake of it.
    blind: bool,
}

impl Certificates {
    /// Keeps what a handshake showed.
    fn note(&mut self, spec: &ProbeSpec, probed: &Probed, now: Time) {
        if !spec.https {
            return;
        }
        let host = self.hosts.entry(spec.host.clone()).or_default();
        host.asked = Some(now);
        host.queued = false;
        match &probed.certificate {
            Some(met) => {
                self.blind = false;
                host.seen = Some(now);
                host.until = met.until;
                // The first words stay while the trouble does: later ones may hold the time, and would be news each time.
                match (&met.trouble, &host.trouble) {
                    (Some(_), Some(_)) => {}
                    (trouble, _) => host.trouble = trouble.as_deref().map(Into::into),
                }
            }
            None if matches!(probed.result, ProbeResult::Status { .. }) => {
                self.blind = self.hosts.values().all(|h| h.seen.is_none());
            }
            None => {}
        }
    }

    /// What is to be said of a stack's hosts: the worst of them, if it is not well. `old` is what was said before; it
    /// stands until the hosts were asked, since a start forgets what was seen.
    pub(crate) fn condition(
        &self,
        stack: &Stack,
        old: Option<&StackStatus>,
        now: Time,
    ) -> Option<(Status, Reason, String)> {
        if self.blind {
            return None;
        }
        let mut worst: Option<(Standing, &str, &Host)> = None;
        let mut unasked = false;
        for (name, _) in https_hosts(stack) {
            let Some(host) = self.hosts.get(name).filter(|h| h.asked.is_some()) else {
                unasked = true;
                continue;
            };
            let standing = host.standing(now);
            if worst.is_none_or(|(known, ..)| standing < known) {
                worst = Some((standing, name, host));
            }
        }
        let Some((standing, name, host)) = worst.filter(|(s, ..)| *s < Standing::Unseen) else {
            let old = old?.condition(ConditionType::CertificateReady).filter(|_| unasked)?;
            return Some((old.status, old.reason, old.message.clone()));
        };
        let day = host.until.map(shown).unwrap_or_default();
        Some(match standing {
            Standing::Expired => {
                let message = format!("the certificate of {name} expired at {day}; {}", renewal());
                (Status::False, Reason::CertificateExpired, message)
            }
            Standing::Pending => {
                let why = host.trouble.as_deref().unwrap_or("it is not believed");
                (Status::False, Reason::CertificatePending, format!("the certificate of {name}: {why}"))
            }
            _ => {
                let message = format!("the certificate of {name} expires at {day}; {}", renewal());
                (Status::True, Reason::CertificateExpiring, message)
            }
        })
    }
}

fn renewal() -> &'static str {
    "it should have been renewed by now: the proxy's log says why it was not (docker logs dokploy-traefik)"
}

fn shown(time: Time) -> String {
    jiff::Timestamp::from_millisecond(time.0).map(|t| t.to_string()).unwrap_or_default()
}

/// The hosts of a stack that have a certificate, each with a path that it answers for.
fn https_hosts(stack: &Stack) -> impl Iterator<Item = (&str, &str)> {
    let hosts = stack.apps.values().flat_map(|app| app.hosts.iter());
    hosts.filter(|(_, host)| host.https != Https::None).map(|(at, _)| (at.host.as_str(), at.path.as_str()))
}

/// What one look at an account's certificates came to.
pub(crate) struct Review {
    /// How many hosts stand how, in the order of [`Standing::ALL`].
    pub(crate) counts: [i64; Standing::ALL.len()],
    /// The earliest end of a certificate that is believed, or was.
    pub(crate) earliest: Option<Time>,
}

impl State {
    /// Judges every host of an account by what is known, without asking: which stacks have news, and which hosts are to
    /// be looked at.
    fn review(&mut self, backend: &BackendName, now: Time) -> (Review, Vec<Key>) {
        let mut review = Review { counts: [0; Standing::ALL.len()], earliest: None };
        let mut news = Vec::new();
        let Some(account) = self.accounts.get_mut(backend) else {
            return (review, news);
        };
        let known = &mut account.certificates;
        known.round = known.round.wrapping_add(1);
        let mut due: Vec<ProbeSpec> = Vec::new();
        for stack in self.wanted.stacks.values().filter(|s| s.target.backend == *backend) {
            let key = Key::Stack(stack.name.clone());
            let status = self.statuses.get(&key).map(|s| &**s);
            let ready = status.is_some_and(StackStatus::is_ready);
            let mut any = false;
            for (name, path) in https_hosts(stack) {
                any = true;
                if !known.hosts.contains_key(name) {
                    known.hosts.insert(name.to_owned(), Host::default());
                }
                let Some(host) = known.hosts.get_mut(name) else { continue };
                let first = host.round != known.round;
                host.round = known.round;
                if first && ready && !known.blind && host.is_due(now) {
                    let (name, paths) = (name.to_owned(), vec![path.to_owned()]);
                    // Whatever it answers, it is the handshake that is asked for.
                    due.push(ProbeSpec { host: name, https: true, paths, expect: (0, u16::MAX) });
                }
            }
            if any && ready {
                let said = status.and_then(|s| s.condition(ConditionType::CertificateReady));
                let is = known.condition(stack, status, now);
                if said.map(|c| (c.status, c.reason)) != is.as_ref().map(|(s, r, _)| (*s, *r)) {
                    news.push(key);
                }
            }
        }
        let round = known.round;
        known.hosts.retain(|_, host| host.round == round);
        let at_once = known.hosts.len().div_ceil(SPREAD).max(4);
        for spec in due.into_iter().take(at_once) {
            if let Some(host) = known.hosts.get_mut(&spec.host) {
                host.queued = true;
            }
            self.handshakes.push_back((backend.clone(), spec));
        }
        if !known.blind {
            for host in known.hosts.values() {
                let standing = host.standing(now);
                if let Some(at) = Standing::ALL.iter().position(|s| *s == standing) {
                    review.counts[at] += 1;
                }
                if !matches!(standing, Standing::Unseen | Standing::Pending) {
                    review.earliest = review.earliest.into_iter().chain(host.until).min();
                }
            }
        }
        (review, news)
    }
}

/// Hosts whose certificates are to be looked at.
pub(crate) type Handshakes = VecDeque<(BackendName, ProbeSpec)>;

impl<W: World> Engine<W> {
    /// Asks an app's health check, and keeps what the handshake showed.
    pub(crate) async fn probe(&self, backend: &BackendName, spec: &ProbeSpec) -> ProbeResult {
        let probed = self.parts.prober.probe(backend.as_str(), spec).await;
        let now = self.now();
        if let Some(account) = self.state().accounts.get_mut(backend) {
            account.certificates.note(spec, &probed, now);
        }
        probed.result
    }

    /// What is to be said of a stack's certificates, if anything.
    pub(crate) fn certificate(
        &self,
        key: &Key,
        old: Option<&StackStatus>,
    ) -> Option<(Status, Reason, String)> {
        let now = self.now();
        let state = self.state();
        let Key::Stack(name) = key else { return None };
        let stack = state.wanted.stacks.get(name)?;
        state.accounts.get(&stack.target.backend)?.certificates.condition(stack, old, now)
    }

    /// Reviews the certificates of an account: counts them, wakes the stacks that have news, plans the looks.
    pub(crate) fn review_certificates(&self, backend: &BackendName) {
        let (review, news) = self.state().review(backend, self.now());
        for (standing, count) in Standing::ALL.into_iter().zip(review.counts) {
            self.metrics.certificates.with_label_values(&[backend.as_str(), standing.as_str()]).set(count);
        }
        match review.earliest {
            Some(until) => {
                let seconds = until.0 as f64 / 1_000.0;
                self.metrics.certificate_expiry.with_label_values(&[backend.as_str()]).set(seconds);
            }
            None => drop(self.metrics.certificate_expiry.remove_label_values(&[backend.as_str()])),
        }
        for key in news {
            self.wake(&key, crate::Lane::Dependency, "its certificate is another matter now");
        }
    }

    /// The next host whose certificate is to be looked at.
    pub(crate) fn next_handshake(&self) -> Option<(BackendName, ProbeSpec)> {
        self.state().handshakes.pop_front()
    }
}
