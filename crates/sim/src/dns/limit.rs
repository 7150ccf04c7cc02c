//! Budgets of calls: a bucket that refills, and windows that block. They must never let a call through for being small.

use std::time::Duration;

/// A budget that refills steadily.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    size: f64,
    per_second: f64,
    left: f64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn new(size: u32, per_second: f64, now: Duration) -> Bucket {
        Bucket { size: f64::from(size), per_second, left: f64::from(size), at: now }
    }

    /// Takes one; false when none is left.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        let more = now.saturating_sub(self.at).as_secs_f64() * self.per_second;
        self.left = (self.left + more).min(self.size);
        self.at = now;
        let got = self.left >= 1.0;
        if got {
            self.left -= 1.0;
        }
        got
    }

    pub(crate) fn left(&self) -> u32 {
        self.left as u32
    }

    /// From the last call until it is full again.
    pub(crate) fn full_in(&self) -> Duration {
        Duration::from_secs_f64((self.size - self.left) / self.per_second)
    }
}

/// A number of calls in each window; more than that blocks for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    size: u32,
    length: Duration,
    start: Duration,
    used: u32,
    until: Option<Duration>,
    /// Calls made while blocked.
    pub strikes: u32,
}

impl Window {
    pub(crate) fn new(size: u32, length: Duration, now: Duration) -> Window {
        Window { size, length, start: now, used: 0, until: None, strikes: 0 }
    }

    /// Takes one; an error tells how long the block lasts.
    pub(crate) fn take(&mut self, now: Duration, block: Duration) -> Result<(), Duration> {
        if let Some(until) = self.until {
            if now < until {
                self.strikes += 1;
                return Err(until - now);
            }
            (self.until, self.start, self.used, self.strikes) = (None, now, 0, 0);
        }
        if now >= self.start + self.length {
            (self.start, self.used) = (now, 0);
        }
        if self.used == self.size {
            self.until = Some(now + block);
            return Err(block);
        }
        self.used += 1;
        Ok(())
    }

    /// Blocks for longer, whatever the window says.
    pub(crate) fn ban(&mut self, now: Duration, length: Duration) {
        self.until = Some(now + length);
    }

    pub(crate) fn left(&self) -> u32 {
        self.size - self.used
    }

    /// When the window, or the block, ends.
    pub(crate) fn ends(&self) -> Duration {
        self.until.unwrap_or(self.start + self.length)
    }
}
