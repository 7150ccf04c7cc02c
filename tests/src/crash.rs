//! Crashes: the daemon is killed at a chosen outside call, before it is sent, after it took effect, or after its
//! answer and before anything of it is written down.

use berth_sim::{Sim, TaskState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// At which side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before it is sent.
    Before,
    /// It took effect; the answer never arrives.
    Applied,
    /// The answer arrived; the next commit never happens.
    Answered,
}

impl Moment {
    /// All of them.
    pub const ALL: [Moment; 3] = [Moment::Before, Moment::Applied, Moment::Answered];
}

/// Where to crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    /// The n-th call of this life of the daemon, from 0.
    pub call: u64,
    /// Which side of it.
    pub moment: Moment,
}

/// The switch that the transport and the store look at.
#[derive(Clone, Default)]
pub struct Crashes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    plan: Mutex<Option<Crash>>,
    calls: AtomicU64,
    at_commit: AtomicBool,
    dead: AtomicBool,
    died: Notify,
    /// The service and the task that the daemon runs in.
    host: Mutex<Option<(String, String)>>,
}

impl Crashes {
    /// A new life: calls count from 0, and the next crash is this one.
    pub fn arm(&self, crash: Option<Crash>) {
        *self.0.plan.lock().unwrap() = crash;
        self.0.calls.store(0, Ordering::SeqCst);
        self.0.at_commit.store(false, Ordering::SeqCst);
        self.0.dead.store(false, Ordering::SeqCst);
    }

    /// Calls of this life so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// Whether the daemon of this life is dead: nothing it does counts any more.
    pub fn is_dead(&self) -> bool {
        self.0.dead.load(Ordering::SeqCst)
    }

    /// Returns when the daemon died.
    pub async fn died(&self) {
        // A notice of an earlier life may still be there.
        while !self.is_dead() {
            self.0.died.notified().await;
        }
    }

    /// From now on the daemon runs in this task of this service, and ends with it.
    pub fn lives_in(&self, service: &str, task: &str) {
        *self.0.host.lock().unwrap() = Some((service.to_owned(), task.to_owned()));
    }

    /// Whether the task that the daemon runs in is gone: the daemon is, too.
    pub(crate) fn lost_its_host(&self, sim: &Sim) -> bool {
        let host = self.0.host.lock().unwrap().clone();
        let Some((service, task)) = host else { return false };
        let running = |t: &berth_sim::Task| t.id == task && t.state == TaskState::Running;
        let lost = sim.with(|w| !w.swarm.services.get(&service).is_some_and(|s| s.tasks.iter().any(running)));
        if lost {
            self.die();
        }
        lost
    }

    fn die(&self) {
        self.0.dead.store(true, Ordering::SeqCst);
        self.0.died.notify_one();
    }

    /// What happens at this call, and its number.
    pub(crate) fn next_call(&self) -> Option<Moment> {
        let number = self.0.calls.fetch_add(1, Ordering::SeqCst);
        self.0.plan.lock().unwrap().filter(|c| c.call == number).map(|c| c.moment)
    }

    pub(crate) async fn crash<T>(&self) -> T {
        self.die();
        std::future::pending().await
    }

    pub(crate) fn crash_at_commit(&self) {
        self.0.at_commit.store(true, Ordering::SeqCst);
    }

    /// Whether a commit still happens.
    pub(crate) fn commits(&self) -> bool {
        if self.0.at_commit.swap(false, Ordering::SeqCst) {
            self.die();
        }
        !self.is_dead()
    }
}
