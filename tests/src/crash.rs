//! Crashes: the daemon is killed at a chosen outside call, before it is sent, after it took effect, or after its
//! answer and before anything of it is written down. And commits that fail, are not answered, or are late.

use berth_ports::PortError;
use berth_sim::{Sim, TaskState};
use berth_store::Verdict;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
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

/// What becomes of a chosen commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtCommit {
    /// The store says no; nothing was written.
    Refused,
    /// The answer is lost; it took effect.
    Lost,
    /// The answer is lost; it never took effect.
    Nowhere,
    /// It takes long.
    Slow,
    /// The daemon dies before it.
    DiesBefore,
    /// The daemon dies after it took effect.
    DiesAfter,
}

impl AtCommit {
    /// All of them.
    pub const ALL: [AtCommit; 6] = [
        AtCommit::Refused,
        AtCommit::Lost,
        AtCommit::Nowhere,
        AtCommit::Slow,
        AtCommit::DiesBefore,
        AtCommit::DiesAfter,
    ];

    /// Longer than most other things take.
    const LONG: Duration = Duration::from_secs(7);

    fn verdict(self, crashes: &Crashes) -> Verdict {
        let unknown = || PortError::Unknown { why: "the store did not answer a commit".to_owned() };
        match self {
            AtCommit::Refused => Verdict::RefuseBefore(PortError::Retry {
                after: None,
                why: "the store takes nothing now".to_owned(),
            }),
            AtCommit::Lost => Verdict::ApplyThenError(unknown()),
            AtCommit::Nowhere => Verdict::RefuseBefore(unknown()),
            AtCommit::Slow => Verdict::ApplyAfter(Self::LONG),
            AtCommit::DiesBefore => {
                crashes.die();
                Verdict::RefuseBefore(unknown())
            }
            AtCommit::DiesAfter => {
                crashes.die();
                Verdict::ApplyThenError(unknown())
            }
        }
    }
}

/// The switch that the transport and the store look at.
#[derive(Clone, Default)]
pub struct Crashes(Arc<Inner>);

#[derive(Default)]
struct Inner {
    plan: Mutex<Option<Crash>>,
    lives: AtomicU64,
    calls: AtomicU64,
    /// Commits by number, from 0, that do not just happen.
    bad_commits: Mutex<Vec<(u64, AtCommit)>>,
    /// Those of the next life.
    next_commits: Mutex<Vec<(u64, AtCommit)>>,
    commits: AtomicU64,
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
        self.0.lives.fetch_add(1, Ordering::SeqCst);
        self.0.calls.store(0, Ordering::SeqCst);
        self.0.commits.store(0, Ordering::SeqCst);
        *self.0.bad_commits.lock().unwrap() = std::mem::take(&mut *self.0.next_commits.lock().unwrap());
        self.0.at_commit.store(false, Ordering::SeqCst);
        self.0.dead.store(false, Ordering::SeqCst);
    }

    /// Which life it is.
    pub(crate) fn life(&self) -> u64 {
        self.0.lives.load(Ordering::SeqCst)
    }

    /// Calls of this life so far.
    pub fn calls(&self) -> u64 {
        self.0.calls.load(Ordering::SeqCst)
    }

    /// What becomes of commits of the next life, by number from 0. Of that one only.
    pub fn plan_commits(&self, plan: impl IntoIterator<Item = (u64, AtCommit)>) {
        *self.0.next_commits.lock().unwrap() = plan.into_iter().collect();
    }

    /// Commits of this life so far.
    pub fn commits(&self) -> u64 {
        self.0.commits.load(Ordering::SeqCst)
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

    /// What becomes of a commit.
    pub(crate) fn at_commit(&self) -> Verdict {
        if self.0.at_commit.swap(false, Ordering::SeqCst) {
            self.die();
        }
        if self.is_dead() {
            let why = "the daemon is dead".to_owned();
            return Verdict::RefuseBefore(PortError::Retry { after: None, why });
        }
        let number = self.0.commits.fetch_add(1, Ordering::SeqCst);
        let planned = self.0.bad_commits.lock().unwrap().iter().find(|(n, _)| *n == number).map(|(_, c)| *c);
        planned.map_or(Verdict::Apply, |planned| planned.verdict(self))
    }
}
