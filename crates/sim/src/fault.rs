//! Faults of the way to the server and back: planned by call number, or drawn from a seed.
//! A fault must never change the world in a way the server itself could not.

use std::time::Duration;

use bytes::Bytes;

use crate::ledger::Subject;
use crate::rng::Rng;

/// Which call a planned fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallNo {
    /// The n-th call from now; 1 is the very next.
    Next(u64),
    /// By absolute number; the first call of a simulation is 1.
    At(u64),
}

/// How an exchange broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    #[error("connection refused")]
    NotSent,
    #[error("connection broken after the request was sent")]
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Connection refused, no effect.
    Before,
    /// The effect happens, the answer is lost.
    After,
    /// The answer is lost now, the effect happens that much later.
    Late(Duration),
    /// Never answers, no effect.
    Hang,
    /// The effect happens, but no answer ever comes.
    HangAfter,
    /// The effect happens, the answer is a 500 that leaks what was sent.
    ErrorAfterCommit,
    /// 429 from a proxy in between, no effect.
    TooMany { retry_after: Option<u64> },
    /// 502 from a proxy in between, no effect.
    BadGateway,
    /// A bare 401, no effect.
    Unauthorized,
    /// A list as the world was that long ago (history is kept from the moment such a fault is planned).
    StaleList(Duration),
    /// A list that lacks some rows.
    ShortList,
    /// The server restarts; the answer is lost, no effect.
    Restart,
    /// The answer takes that much longer.
    Slow(Duration),
    /// A bare 403, no effect.
    Forbidden,
    /// 500, no effect.
    ServerError,
    /// 503, no effect.
    Unavailable { retry_after: Option<u64> },
    /// The effect happens, the body of the answer ends early.
    Cut,
    /// The effect happens, the body of the answer is something else.
    Garbage,
}

impl Fault {
    pub fn name(&self) -> &'static str {
        match self {
            Fault::Before => "before",
            Fault::After => "after",
            Fault::Late(_) => "late",
            Fault::Hang => "hang",
            Fault::HangAfter => "hang_after",
            Fault::ErrorAfterCommit => "error_after_commit",
            Fault::TooMany { .. } => "too_many",
            Fault::BadGateway => "bad_gateway",
            Fault::Unauthorized => "unauthorized",
            Fault::StaleList(_) => "stale_list",
            Fault::ShortList => "short_list",
            Fault::Restart => "restart",
            Fault::Slow(_) => "slow",
            Fault::Forbidden => "forbidden",
            Fault::ServerError => "server_error",
            Fault::Unavailable { .. } => "unavailable",
            Fault::Cut => "cut",
            Fault::Garbage => "garbage",
        }
    }
}

impl Fault {
    /// What arrives of a body.
    pub(crate) fn spoil(&self, body: Bytes) -> Bytes {
        match self {
            Fault::Cut => body.slice(..body.len() / 2),
            Fault::Garbage => Bytes::from_static(b"<html><head><title>502</title></head>\xff\xfe"),
            _ => body,
        }
    }
}

/// A fault of the calls that fit, drawn with a chance and a number of times.
#[derive(Clone, Debug)]
pub struct Rule {
    /// How the procedure begins: `""` fits all, `"cloudflare."` a provider, `"cloudflare.batch"` one procedure.
    pub procedure: String,
    /// The zone, when only one is meant.
    pub zone: Option<String>,
    /// Reads or mutations, when only one of them is meant.
    pub mutation: Option<bool>,
    pub fault: Fault,
    /// From 0 to 1.
    pub chance: f64,
    /// How often at most; `None` is without end.
    pub times: Option<u64>,
}

impl Rule {
    /// A fault of every call whose procedure begins so.
    pub fn on(procedure: &str, fault: Fault) -> Rule {
        let procedure = procedure.to_owned();
        Rule { procedure, zone: None, mutation: None, fault, chance: 1.0, times: None }
    }

    pub fn in_zone(self, zone: &str) -> Rule {
        Rule { zone: Some(zone.to_owned()), ..self }
    }

    pub fn times(self, times: u64) -> Rule {
        Rule { times: Some(times), ..self }
    }

    pub fn chance(self, chance: f64) -> Rule {
        Rule { chance, ..self }
    }

    pub(crate) fn draw(&mut self, rng: &mut Rng, subject: &Subject) -> Option<Fault> {
        let same = |zone: &String| subject.zone.as_deref().is_some_and(|z| bare(z) == bare(zone));
        let fits = subject.procedure.starts_with(&self.procedure)
            && self.zone.as_ref().is_none_or(same)
            && self.mutation.is_none_or(|m| m == subject.mutation)
            && self.times != Some(0);
        if !fits || !rng.chance(self.chance) {
            return None;
        }
        self.times = self.times.map(|times| times - 1);
        Some(self.fault.clone())
    }
}

fn bare(zone: &str) -> &str {
    zone.trim_end_matches('.')
}

/// Probabilities by kind of fault, for reads and for mutations. The sum of each list should stay below 1.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    pub seed: u64,
    pub reads: Vec<(f64, Fault)>,
    pub mutations: Vec<(f64, Fault)>,
}

impl Chaos {
    /// Every kind of fault but restarts and hangs, each with the same share of `total`.
    pub fn even(seed: u64, total: f64) -> Chaos {
        let second = Duration::from_secs(1);
        let both = [
            Fault::Before,
            Fault::TooMany { retry_after: Some(1) },
            Fault::TooMany { retry_after: None },
            Fault::BadGateway,
            Fault::Unauthorized,
            Fault::Slow(second),
        ];
        let reads = [Fault::After, Fault::StaleList(second * 5), Fault::ShortList];
        let writes = [Fault::After, Fault::Late(second * 2), Fault::ErrorAfterCommit];
        Chaos::shared(seed, total, &both, &reads, &writes)
    }

    /// Every kind of fault of a DNS provider but restarts and hangs, each with the same share of `total`.
    pub fn dns(seed: u64, total: f64) -> Chaos {
        let second = Duration::from_secs(1);
        let both = [
            Fault::Before,
            Fault::After,
            Fault::TooMany { retry_after: Some(2) },
            Fault::BadGateway,
            Fault::Forbidden,
            Fault::ServerError,
            Fault::Unavailable { retry_after: None },
            Fault::Slow(second),
            Fault::Cut,
            Fault::Garbage,
        ];
        let reads = [Fault::StaleList(second * 5), Fault::ShortList];
        let writes = [Fault::Late(second * 2), Fault::ErrorAfterCommit];
        Chaos::shared(seed, total, &both, &reads, &writes)
    }

    fn shared(seed: u64, total: f64, both: &[Fault], reads: &[Fault], writes: &[Fault]) -> Chaos {
        let share = |own: &[Fault]| -> Vec<(f64, Fault)> {
            let each = total / (both.len() + own.len()) as f64;
            both.iter().chain(own).map(|fault| (each, fault.clone())).collect()
        };
        Chaos { seed, reads: share(reads), mutations: share(writes) }
    }

    pub(crate) fn draw(&self, rng: &mut Rng, mutation: bool) -> Option<Fault> {
        let mut left = rng.unit();
        let odds = if mutation { &self.mutations } else { &self.reads };
        odds.iter().find_map(|(p, fault)| {
            left -= p;
            (left < 0.0).then(|| fault.clone())
        })
    }

    pub(crate) fn has_stale(&self) -> bool {
        self.reads.iter().chain(&self.mutations).any(|(_, fault)| matches!(fault, Fault::StaleList(_)))
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
pub struct CallRecord {
    pub no: u64,
    /// Since the start of the simulation.
    pub at: Duration,
    /// The key that it was made with.
    pub key: String,
    /// The procedure; of a batch the first one.
    pub procedure: String,
    /// The DNS zone, where there is one.
    pub zone: Option<String>,
    /// What was asked, in short.
    pub summary: String,
    pub mutation: bool,
    /// How many procedures the request carries.
    pub items: usize,
    /// `None` when no answer came (yet).
    pub status: Option<u16>,
    pub fault: Option<&'static str>,
    /// Size of the answer's body.
    pub bytes: usize,
}
