//! One account's circuit breaker: three states, on tokio's clock. It counts and decides; it sends nothing.

use crate::retry::{Dice, around};
use berth_ports::Breaker as Shown;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Calls in a row without an answer that open it.
const NO_ANSWER: u32 = 5;
/// Timeouts in a row after which somebody asks whether the API hangs.
const SUSPECT: u32 = 2;
/// Refusals in a row that open it.
const NOT_LET_IN: u32 = 3;

/// Why a breaker opened; decides how long it stays open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// No answers.
    Silent,
    /// The process lives, its API does not.
    Hung,
    /// The key is not let in.
    NotLetIn,
}

impl Cause {
    /// First and longest time it stays open.
    fn waits(self) -> (Duration, Duration) {
        let s = Duration::from_secs;
        match self {
            Cause::Silent => (s(5), s(60)),
            Cause::Hung | Cause::NotLetIn => (s(30), s(300)),
        }
    }
}

#[derive(Debug)]
enum State {
    Closed,
    Open {
        cause: Cause,
        why: String,
        until: Instant,
        wait: Duration,
    },
    /// One probe is out. Remembers the open state it came from.
    HalfOpen {
        cause: Cause,
        why: String,
        wait: Duration,
    },
}

#[derive(Debug)]
struct Inside {
    state: State,
    silent: u32,
    timeouts: u32,
    refused: u32,
}

/// What a caller may do.
#[derive(Debug)]
pub(crate) enum Admission<'a> {
    /// Send.
    Send,
    /// Send a probe, and tell the outcome to this pass.
    Probe(Pass<'a>),
    /// Do not send.
    Closed { cause: Cause, why: String, retry_in: Duration },
}

pub(crate) struct Breaker {
    /// Whose, for the log.
    account: String,
    inside: Mutex<Inside>,
    dice: Dice,
}

/// The right to send the one probe. Dropped without an outcome it counts as failed, so that a caller who goes away
/// leaves no account locked.
pub(crate) struct Pass<'a> {
    breaker: &'a Breaker,
    settled: bool,
}

impl std::fmt::Debug for Pass<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pass")
    }
}

impl Pass<'_> {
    /// The probe was answered well.
    pub(crate) fn passed(mut self) {
        self.settled = true;
        self.breaker.answered();
    }

    /// The probe failed. `cause` and `why` replace the old ones where they are known.
    pub(crate) fn failed(mut self, cause: Option<(Cause, String)>) {
        self.settled = true;
        self.breaker.probe_failed(cause);
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if !self.settled {
            self.breaker.probe_failed(None);
        }
    }
}

impl Breaker {
    pub(crate) fn new(account: impl Into<String>, dice: Dice) -> Self {
        let inside = Inside { state: State::Closed, silent: 0, timeouts: 0, refused: 0 };
        Self { account: account.into(), inside: Mutex::new(inside), dice }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn admit(&self) -> Admission<'_> {
        let mut inside = self.lock();
        match &inside.state {
            State::Closed => Admission::Send,
            State::HalfOpen { cause, why, .. } => {
                Admission::Closed { cause: *cause, why: why.clone(), retry_in: Duration::from_secs(1) }
            }
            State::Open { cause, why, until, wait } => {
                let now = Instant::now();
                if now < *until {
                    let retry_in = *until - now;
                    return Admission::Closed { cause: *cause, why: why.clone(), retry_in };
                }
                inside.state = State::HalfOpen { cause: *cause, why: why.clone(), wait: *wait };
                Admission::Probe(Pass { breaker: self, settled: false })
            }
        }
    }

    /// The server answered.
    pub(crate) fn answered(&self) {
        let mut inside = self.lock();
        if !matches!(inside.state, State::Closed) {
            tracing::info!(account = %self.account, "the account answers again");
        }
        *inside = Inside { state: State::Closed, silent: 0, timeouts: 0, refused: 0 };
    }

    /// No answer came. True where somebody should ask whether the API hangs.
    pub(crate) fn no_answer(&self, timeout: bool, why: &str) -> bool {
        let mut inside = self.lock();
        inside.silent += 1;
        inside.timeouts = if timeout { inside.timeouts + 1 } else { 0 };
        let suspect = inside.timeouts >= SUSPECT;
        if inside.silent >= NO_ANSWER {
            self.open(
                &mut inside,
                Cause::Silent,
                format!("{} calls in a row had no answer, last: {why}", NO_ANSWER),
            );
        }
        suspect
    }

    /// The key was not let in.
    pub(crate) fn not_let_in(&self, why: &str) {
        let mut inside = self.lock();
        inside.refused += 1;
        // An answer it is nevertheless.
        inside.silent = 0;
        inside.timeouts = 0;
        if inside.refused >= NOT_LET_IN {
            self.open(&mut inside, Cause::NotLetIn, format!("not let in {NOT_LET_IN} times in a row: {why}"));
        }
    }

    /// The API hangs: opens at once.
    pub(crate) fn hung(&self, why: &str) {
        let mut inside = self.lock();
        let known = matches!(&inside.state, State::Open { cause: Cause::Hung, .. } | State::HalfOpen { .. });
        if !known {
            inside.state = State::Closed;
            self.open(&mut inside, Cause::Hung, why.to_owned());
        }
    }

    /// A new key: what the old one met says nothing about it.
    pub(crate) fn new_key(&self) {
        let mut inside = self.lock();
        inside.refused = 0;
        if matches!(&inside.state, State::Open { cause: Cause::NotLetIn, .. }) {
            inside.state = State::Closed;
        }
    }

    fn open(&self, inside: &mut Inside, cause: Cause, why: String) {
        if !matches!(inside.state, State::Closed) {
            return;
        }
        let wait = cause.waits().0;
        tracing::warn!(account = %self.account, why, "no more calls are sent for now");
        inside.state = State::Open { cause, why, until: Instant::now() + around(&self.dice, wait), wait };
    }

    fn probe_failed(&self, new: Option<(Cause, String)>) {
        let mut inside = self.lock();
        let State::HalfOpen { cause, why, wait } = &inside.state else {
            return;
        };
        let same = new.as_ref().is_none_or(|(c, _)| c == cause);
        let (first, most) = new.as_ref().map_or(*cause, |(c, _)| *c).waits();
        let wait = if same { (*wait * 2).min(most) } else { first };
        let (cause, why) = new.unwrap_or_else(|| (*cause, why.clone()));
        inside.state = State::Open { cause, why, until: Instant::now() + around(&self.dice, wait), wait };
    }

    pub(crate) fn shown(&self) -> Shown {
        match &self.lock().state {
            State::Closed => Shown::Closed,
            State::Open { why, until, .. } => {
                Shown::Open { why: why.clone(), retry_in: until.saturating_duration_since(Instant::now()) }
            }
            State::HalfOpen { why, .. } => Shown::HalfOpen { why: why.clone() },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn breaker() -> Breaker {
        // Half of the range: `around` then gives exactly its middle.
        Breaker::new("test", Arc::new(|| 1 << 63))
    }

    #[tokio::test(start_paused = true)]
    async fn opens_probes_and_closes() {
        let b = breaker();
        for _ in 0..4 {
            b.no_answer(false, "x");
        }
        assert!(matches!(b.admit(), Admission::Send));
        b.answered();
        for _ in 0..5 {
            b.no_answer(false, "x");
        }
        assert!(
            matches!(b.admit(), Admission::Closed { retry_in, .. } if retry_in == Duration::from_secs(5))
        );
        tokio::time::advance(Duration::from_secs(5)).await;
        let Admission::Probe(pass) = b.admit() else { panic!("no probe") };
        assert!(matches!(b.admit(), Admission::Closed { .. }));
        pass.failed(None);
        assert!(matches!(b.shown(), Shown::Open { retry_in, .. } if retry_in == Duration::from_secs(10)));
        tokio::time::advance(Duration::from_secs(10)).await;
        let Admission::Probe(pass) = b.admit() else { panic!("no probe") };
        pass.passed();
        assert_eq!(b.shown(), Shown::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_goes_away_leaves_it_open() {
        let b = breaker();
        b.hung("hung");
        tokio::time::advance(Duration::from_secs(31)).await;
        drop(b.admit());
        assert!(matches!(b.shown(), Shown::Open { retry_in, .. } if retry_in == Duration::from_secs(60)));
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(301)).await;
            drop(b.admit());
        }
        assert!(matches!(b.shown(), Shown::Open { retry_in, .. } if retry_in == Duration::from_secs(300)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_key_is_tried_at_once() {
        let b = breaker();
        for _ in 0..3 {
            b.not_let_in("401");
        }
        assert!(matches!(b.admit(), Admission::Closed { cause: Cause::NotLetIn, .. }));
        b.new_key();
        assert!(matches!(b.admit(), Admission::Send));
    }

    #[tokio::test(start_paused = true)]
    async fn timeouts_raise_the_suspicion() {
        let b = breaker();
        assert!(!b.no_answer(true, "t"));
        assert!(b.no_answer(true, "t"));
        b.answered();
        assert!(!b.no_answer(true, "t"));
    }
}
