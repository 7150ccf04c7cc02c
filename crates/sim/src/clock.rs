//! What is due later: events in the order of their time, then of their making.
//! It must never tell the time itself: the owner says what the present is.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Duration;

struct Timer<E> {
    at: Duration,
    seq: u64,
    event: E,
}

impl<E> PartialEq for Timer<E> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.seq) == (other.at, other.seq)
    }
}

impl<E> Eq for Timer<E> {}

impl<E> PartialOrd for Timer<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Timer<E> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.seq).cmp(&(other.at, other.seq))
    }
}

pub(crate) struct Timers<E> {
    heap: BinaryHeap<Reverse<Timer<E>>>,
    seq: u64,
}

impl<E> Default for Timers<E> {
    fn default() -> Self {
        Timers { heap: BinaryHeap::new(), seq: 0 }
    }
}

impl<E> Timers<E> {
    pub(crate) fn push(&mut self, at: Duration, event: E) {
        self.seq += 1;
        self.heap.push(Reverse(Timer { at, seq: self.seq, event }));
    }

    /// The next event that is due at `now`, with its own moment.
    pub(crate) fn due(&mut self, now: Duration) -> Option<(Duration, E)> {
        if self.heap.peek().is_none_or(|Reverse(next)| next.at > now) {
            return None;
        }
        self.heap.pop().map(|Reverse(timer)| (timer.at, timer.event))
    }
}
