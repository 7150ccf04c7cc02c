//! The loop: takes keys from the queues, passes over the accounts, polls requests, asks health checks.
//!
//! Everything is a future of this one task, so that dropping it stops everything, and nothing is left behind.

use crate::Engine;
use berth_model::ids::{BackendName, Key};
use berth_ports::World;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often requests are looked for.
const REQUESTS: Duration = Duration::from_secs(1);

/// What a future of the loop was.
enum Done {
    Run,
    Pass(BackendName),
    Requests,
    Follow,
    Probe,
    Again,
}

impl<W: World> Engine<W> {
    /// Runs until cancelled; then finishes the calls in flight and returns. What calls it bounds that time.
    pub async fn run(&self, cancel: CancellationToken) {
        let mut work: FuturesUnordered<BoxFuture<'_, Done>> = FuturesUnordered::new();
        let mut passing: BTreeSet<BackendName> = BTreeSet::new();
        let start = Instant::now();
        let mut next_pass: BTreeMap<BackendName, Instant> =
            self.parts.platforms.keys().map(|b| (b.clone(), start)).collect();
        let mut next_requests = start;
        let mut polling = false;
        let mut following = false;
        let mut probing = 0usize;
        self.schedule_probes(start);
        loop {
            let now = Instant::now();
            self.turn();
            if !cancel.is_cancelled() && self.state().doubt {
                if work.is_empty() {
                    work.push(Box::pin(async move {
                        self.read_again().await;
                        Done::Again
                    }));
                }
            } else if !cancel.is_cancelled() {
                for backend in self.parts.platforms.keys() {
                    if next_pass[backend] <= now && passing.insert(backend.clone()) {
                        next_pass.insert(backend.clone(), now + self.options.intervals.resync);
                        work.push(Box::pin(async move {
                            self.pass(backend).await;
                            Done::Pass(backend.clone())
                        }));
                    }
                    while let Some(turn) = self.take(backend, now) {
                        work.push(Box::pin(async move {
                            self.run_key(backend, turn).await;
                            Done::Run
                        }));
                    }
                }
                if next_requests <= now && !polling {
                    next_requests = now + REQUESTS;
                    polling = true;
                    work.push(Box::pin(async move {
                        if let Err(error) = self.take_requests().await {
                            tracing::warn!(%error, "requests could not be read");
                        }
                        Done::Requests
                    }));
                }
                if !following && self.state().next_follow().is_some_and(|at| at <= now) {
                    following = true;
                    work.push(Box::pin(async move {
                        self.follow().await;
                        Done::Follow
                    }));
                }
                for key in self.due_probes(now, self.options.probes.saturating_sub(probing)) {
                    probing += 1;
                    work.push(Box::pin(async move {
                        self.check_health(&key).await;
                        Done::Probe
                    }));
                }
                // Health checks come first; half of the places are enough for what is in no hurry.
                while probing < self.options.probes.div_ceil(2)
                    && let Some((backend, spec)) = self.next_handshake()
                {
                    probing += 1;
                    work.push(Box::pin(async move {
                        self.probe(&backend, &spec).await;
                        Done::Probe
                    }));
                }
            } else if work.is_empty() {
                return;
            }
            let wake_at = self.next_wake(&next_pass, next_requests, probing);
            tokio::select! {
                done = work.next(), if !work.is_empty() => match done {
                    Some(Done::Pass(backend)) => { passing.remove(&backend); }
                    Some(Done::Requests) => polling = false,
                    Some(Done::Follow) => following = false,
                    Some(Done::Probe) => probing -= 1,
                    Some(Done::Run | Done::Again) | None => {}
                },
                () = self.stirred.notified(), if !cancel.is_cancelled() => {}
                () = tokio::time::sleep_until(wake_at), if !cancel.is_cancelled() => {}
                () = cancel.cancelled(), if !cancel.is_cancelled() => {
                    self.state().stopping = true;
                }
            }
        }
    }

    /// Spreads the first health checks over one interval.
    fn schedule_probes(&self, start: Instant) {
        let keys: Vec<Key> = {
            let state = self.state();
            let stacks = state.wanted.stacks.values().filter(|s| !crate::health::probes(s).is_empty());
            stacks.map(|s| Key::Stack(s.name.clone())).collect()
        };
        let interval = u64::try_from(self.options.intervals.health.as_millis()).unwrap_or(1).max(1);
        for key in keys {
            self.schedule_probe(&key, start + Duration::from_millis(self.roll() % interval));
        }
    }

    /// The next key, if a run may begin.
    fn take(&self, backend: &BackendName, now: Instant) -> Option<crate::queue::Turn> {
        let mut state = self.state();
        let queue = state.queues.get_mut(backend)?;
        if queue.running() >= self.options.runs {
            return None;
        }
        queue.take(now)
    }

    fn next_wake(
        &self,
        passes: &BTreeMap<BackendName, Instant>,
        requests: Instant,
        probing: usize,
    ) -> Instant {
        let state = self.state();
        let timers = state
            .queues
            .values()
            .filter(|q| q.running() < self.options.runs)
            .filter_map(crate::queue::Queue::next_timer);
        let probes = state.probes.keys().next().map(|(at, _)| *at).filter(|_| probing < self.options.probes);
        let now = Instant::now();
        let soonest = timers
            .chain(passes.values().copied())
            .chain([requests])
            .chain(state.next_follow())
            .chain(probes)
            .min()
            .unwrap_or(now + REQUESTS);
        // A pass or a poll that is still under way is due already: do not spin on it.
        if soonest <= now { now + Duration::from_millis(50) } else { soonest }
    }
}
