//! How large the audit's batches may be: they shrink while others' reads take longer than they used to. Pure.

use std::time::Duration;

/// Watches how long reads take that somebody waits for.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    most: usize,
    size: usize,
    /// Moving average of a single read, in seconds.
    now: Option<f64>,
    /// What it is when nothing disturbs: follows down at once and up slowly.
    base: Option<f64>,
}

impl Pace {
    pub(crate) fn new(most: usize) -> Self {
        Self { most: most.max(1), size: most.max(1), now: None, base: None }
    }

    /// A read that somebody waited for took so long.
    pub(crate) fn saw(&mut self, took: Duration) {
        let took = took.as_secs_f64().max(0.001);
        let now = self.now.map_or(took, |n| n * 0.7 + took * 0.3);
        self.now = Some(now);
        self.base = Some(self.base.map_or(now, |b| if now < b { now } else { b * 0.995 + now * 0.005 }));
    }

    /// How many reads the next batch may hold.
    pub(crate) fn next(&mut self) -> usize {
        let slow = matches!((self.now, self.base), (Some(now), Some(base)) if now > base * 2.0);
        self.size = if slow { (self.size / 2).max(1) } else { (self.size + 1).min(self.most) };
        if slow {
            // Without new reads to learn from, the memory of slow ones fades.
            self.now = self.now.map(|n| n * 0.95);
        }
        self.size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_while_others_are_slow_and_grows_back() {
        let ms = Duration::from_millis;
        let mut pace = Pace::new(20);
        for _ in 0..20 {
            pace.saw(ms(40));
        }
        assert_eq!(pace.next(), 20);
        for _ in 0..10 {
            pace.saw(ms(200));
        }
        assert_eq!((pace.next(), pace.next(), pace.next()), (10, 5, 2));
        for _ in 0..20 {
            pace.saw(ms(40));
        }
        assert_eq!((pace.next(), pace.next()), (3, 4));
        for _ in 0..40 {
            pace.next();
        }
        assert_eq!(pace.next(), 20);
    }
}
