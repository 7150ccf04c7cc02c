//! The queue of one backend: keys and the reasons they were woken, never any input.
//!
//! One run per key at a time; a wake-up during a run is kept. Lanes are weighted so that none starves, first in first
//! out inside a lane, round-robin over tenants. Plain data: no clock, no task.

use berth_model::ids::Key;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use tokio::time::Instant;

/// Why a key was woken, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Its manifest changed, or a person asked.
    Change,
    /// What it waits for moved, or its own rollout did.
    Dependency,
    /// It failed before.
    Retry,
    /// Something differs, or the audit calls.
    Drift,
    /// The daemon started.
    Startup,
}

impl Lane {
    /// All, most urgent first.
    pub const ALL: [Lane; 5] = [Lane::Change, Lane::Dependency, Lane::Retry, Lane::Drift, Lane::Startup];

    /// Turns out of 16 that a lane gets while every lane has work.
    fn weight(self) -> u32 {
        match self {
            Lane::Change => 7,
            Lane::Dependency => 4,
            Lane::Retry => 2,
            Lane::Drift => 2,
            Lane::Startup => 1,
        }
    }

    /// Its word in metrics and explanations.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Lane::Change => "change",
            Lane::Dependency => "dependency",
            Lane::Retry => "retry",
            Lane::Drift => "drift",
            Lane::Startup => "startup",
        }
    }
}

/// A key's turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) key: Key,
    pub(crate) lane: Lane,
    pub(crate) because: Vec<&'static str>,
    /// When it was first woken.
    pub(crate) since: Instant,
}

#[derive(Debug)]
struct Waiting {
    lane: Lane,
    because: Vec<&'static str>,
    since: Instant,
    tenant: String,
}

/// One lane: tenants in turn, keys of a tenant in order.
#[derive(Debug, Default)]
struct Line {
    tenants: VecDeque<String>,
    keys: HashMap<String, VecDeque<Key>>,
}

impl Line {
    fn push(&mut self, tenant: &str, key: Key) {
        let keys = self.keys.entry(tenant.to_owned()).or_default();
        if keys.is_empty() {
            self.tenants.push_back(tenant.to_owned());
        }
        keys.push_back(key);
    }

    fn pop(&mut self) -> Option<Key> {
        let tenant = self.tenants.pop_front()?;
        let keys = self.keys.get_mut(&tenant)?;
        let key = keys.pop_front();
        if keys.is_empty() {
            self.keys.remove(&tenant);
        } else {
            self.tenants.push_back(tenant);
        }
        key
    }
}

/// A wake-up that came during a run: lane, reasons, tenant.
type Again = (Lane, Vec<&'static str>, String);

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    waiting: HashMap<Key, Waiting>,
    lines: BTreeMap<Lane, Line>,
    credit: BTreeMap<Lane, u32>,
    running: HashMap<Key, Option<Again>>,
    timers: BTreeSet<(Instant, Key)>,
    timer_of: HashMap<Key, (Instant, Lane, &'static str, String)>,
}

impl Queue {
    /// Wakes a key. While it runs, the wake-up waits for the end of the run.
    pub(crate) fn wake(&mut self, key: &Key, lane: Lane, why: &'static str, tenant: &str) {
        if let Some(again) = self.running.get_mut(key) {
            match again {
                Some((l, because, _)) => {
                    *l = (*l).min(lane);
                    if !because.contains(&why) {
                        because.push(why);
                    }
                }
                None => *again = Some((lane, vec![why], tenant.to_owned())),
            }
            return;
        }
        self.cancel_timer(key);
        self.enqueue(key, lane, vec![why], tenant, Instant::now());
    }

    fn enqueue(&mut self, key: &Key, lane: Lane, because: Vec<&'static str>, tenant: &str, since: Instant) {
        match self.waiting.get_mut(key) {
            Some(waiting) => {
                for why in because {
                    if !waiting.because.contains(&why) {
                        waiting.because.push(why);
                    }
                }
                if lane < waiting.lane {
                    // Its place in the other lane stays behind, and is passed over.
                    waiting.lane = lane;
                    let tenant = waiting.tenant.clone();
                    self.lines.entry(lane).or_default().push(&tenant, key.clone());
                }
            }
            None => {
                self.waiting.insert(key.clone(), Waiting { lane, because, since, tenant: tenant.to_owned() });
                self.lines.entry(lane).or_default().push(tenant, key.clone());
            }
        }
    }

    /// Wakes a key later; an earlier time wins, any other wake-up cancels it.
    pub(crate) fn later(&mut self, key: &Key, at: Instant, lane: Lane, why: &'static str, tenant: &str) {
        if self.waiting.contains_key(key) {
            return;
        }
        if self.timer_of.get(key).is_some_and(|(t, ..)| *t <= at) {
            return;
        }
        self.cancel_timer(key);
        self.timers.insert((at, key.clone()));
        self.timer_of.insert(key.clone(), (at, lane, why, tenant.to_owned()));
    }

    fn cancel_timer(&mut self, key: &Key) {
        if let Some((at, ..)) = self.timer_of.remove(key) {
            self.timers.remove(&(at, key.clone()));
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next key to run.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Turn> {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            let Some((_, lane, why, tenant)) = self.timer_of.remove(&key) else {
                break;
            };
            self.timers.remove(&(at, key.clone()));
            self.wake(&key, lane, why, &tenant);
        }
        if self.waiting.is_empty() {
            return None;
        }
        for round in 0..2 {
            for lane in Lane::ALL {
                let credit = self.credit.entry(lane).or_insert_with(|| lane.weight());
                if *credit == 0 {
                    continue;
                }
                let waiting = &mut self.waiting;
                let line = self.lines.entry(lane).or_default();
                let first = std::iter::from_fn(|| line.pop())
                    .find(|key| waiting.get(key).is_some_and(|w| w.lane == lane));
                if let Some(key) = first {
                    *credit -= 1;
                    let waiting = waiting.remove(&key)?;
                    if self.waiting.is_empty() {
                        // What a start or a burst took is given back.
                        self.waiting.shrink_to(64);
                        self.lines.clear();
                    }
                    self.running.insert(key.clone(), None);
                    return Some(Turn { key, lane, because: waiting.because, since: waiting.since });
                }
            }
            if round == 0 {
                self.credit = Lane::ALL.into_iter().map(|l| (l, l.weight())).collect();
            }
        }
        None
    }

    /// A run ended. A wake-up that came meanwhile puts the key back in line.
    pub(crate) fn done(&mut self, key: &Key) -> bool {
        match self.running.remove(key) {
            Some(Some((lane, because, tenant))) => {
                self.cancel_timer(key);
                self.enqueue(key, lane, because, &tenant, Instant::now());
                true
            }
            _ => false,
        }
    }

    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn depth(&self, lane: Lane) -> usize {
        self.waiting.values().filter(|w| w.lane == lane).count()
    }

    /// Nothing runs and nothing waits for a run, apart from this key.
    pub(crate) fn is_idle_but_for(&self, key: &Key) -> bool {
        self.waiting.keys().chain(self.running.keys()).all(|k| k == key)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::ids::StackName;
    use std::time::Duration;

    fn key(name: &str) -> Key {
        Key::Stack(StackName::new(name).unwrap())
    }

    fn order(q: &mut Queue, n: usize) -> Vec<String> {
        (0..n).map_while(|_| q.take(Instant::now())).map(|t| t.key.name().to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn one_run_a_key_and_no_wake_up_lost() {
        let mut q = Queue::default();
        q.wake(&key("a"), Lane::Drift, "x", "");
        q.wake(&key("a"), Lane::Change, "y", "");
        let turn = q.take(Instant::now()).unwrap();
        assert_eq!((turn.lane, turn.because), (Lane::Change, vec!["x", "y"]));
        q.wake(&key("a"), Lane::Retry, "z", "");
        assert_eq!(q.take(Instant::now()), None);
        assert!(q.done(&key("a")));
        assert_eq!(q.take(Instant::now()).unwrap().because, ["z"]);
        assert!(!q.done(&key("a")));
        assert!(q.is_idle());
        q.wake(&key("a"), Lane::Startup, "x", "");
        q.wake(&key("b"), Lane::Startup, "x", "");
        q.wake(&key("a"), Lane::Change, "y", "");
        assert_eq!((q.depth(Lane::Change), q.depth(Lane::Startup)), (1, 1));
        assert_eq!(order(&mut q, 9), ["a", "b"], "each once, whatever lanes it stood in");
    }

    #[tokio::test(start_paused = true)]
    async fn tenants_take_turns() {
        let mut q = Queue::default();
        for name in ["a1", "a2", "a3"] {
            q.wake(&key(name), Lane::Change, "", "a");
        }
        q.wake(&key("b1"), Lane::Change, "", "b");
        assert_eq!(order(&mut q, 4), ["a1", "b1", "a2", "a3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn no_lane_starves() {
        let mut q = Queue::default();
        for i in 0..100 {
            q.wake(&key(&format!("c{i}")), Lane::Change, "", "");
            q.wake(&key(&format!("s{i}")), Lane::Startup, "", "");
        }
        let first = order(&mut q, 32);
        let started = first.iter().filter(|n| n.starts_with('s')).count();
        assert!((3..=6).contains(&started), "{first:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn timers_fire_in_order_and_a_wake_up_cancels_them() {
        let mut q = Queue::default();
        let now = Instant::now();
        q.later(&key("b"), now + Duration::from_secs(2), Lane::Retry, "", "");
        q.later(&key("a"), now + Duration::from_secs(1), Lane::Retry, "", "");
        q.later(&key("a"), now + Duration::from_secs(9), Lane::Retry, "", "");
        assert_eq!(q.next_timer(), Some(now + Duration::from_secs(1)));
        assert_eq!(q.take(now), None);
        q.wake(&key("b"), Lane::Change, "", "");
        assert_eq!(order(&mut q, 1), ["b"]);
        assert_eq!(q.take(now + Duration::from_secs(1)).unwrap().key, key("a"));
        assert_eq!(q.next_timer(), None);
    }
}
