//! When to try again: the schedule is backon's, the jitter is full and comes from an injected source of chance.

use backon::BackoffBuilder;
use std::sync::Arc;
use std::time::Duration;

/// Where random bits come from.
pub type Dice = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The system's chance: good enough to spread retries, not for secrets.
#[must_use]
pub fn system_dice() -> Dice {
    use std::hash::BuildHasher;
    let keyed = std::hash::RandomState::new();
    let count = std::sync::atomic::AtomicU64::new(0);
    Arc::new(move || keyed.hash_one(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed)))
}

/// An even share of `0..=most`.
pub(crate) fn jitter(dice: &Dice, most: Duration) -> Duration {
    let share = (dice() >> 11) as f64 / (1u64 << 53) as f64;
    most.mul_f64(share)
}

/// Between one half and one and a half of `about`: for probes, which may neither hammer nor sleep.
pub(crate) fn around(dice: &Dice, about: Duration) -> Duration {
    about / 2 + jitter(dice, about)
}

/// The waits of one call.
pub(crate) struct Schedule {
    ceilings: backon::ExponentialBackoff,
    waited: Duration,
    total: Duration,
}

impl Schedule {
    /// `times` tries after the first, the first wait at most `first`, none above `most`, `total` in all.
    pub(crate) fn new(times: usize, first: Duration, most: Duration, total: Duration) -> Self {
        let ceilings = backon::ExponentialBuilder::new()
            .with_min_delay(first)
            .with_max_delay(most)
            .with_max_times(times)
            .build();
        Self { ceilings, waited: Duration::ZERO, total }
    }

    /// How long to wait before the next try; `None` when it is over. What the server asked for wins over the schedule.
    pub(crate) fn next(&mut self, asked: Option<Duration>, dice: &Dice) -> Option<Duration> {
        let ceiling = self.ceilings.next()?;
        let wait = asked.unwrap_or_else(|| jitter(dice, ceiling));
        self.waited += wait;
        (self.waited <= self.total).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_ceiling_and_ends() {
        let s = Duration::from_secs;
        let most: Dice = Arc::new(|| u64::MAX);
        let mut schedule = Schedule::new(5, s(1), s(16), s(60));
        let mut got = Vec::new();
        while let Some(wait) = schedule.next(None, &most) {
            got.push(wait.as_secs_f64().round() as u64);
        }
        assert_eq!(got, [1, 2, 4, 8, 16]);
        let none: Dice = Arc::new(|| 0);
        let mut schedule = Schedule::new(5, s(1), s(16), s(60));
        assert_eq!(schedule.next(None, &none), Some(Duration::ZERO));
        assert_eq!(schedule.next(Some(s(30)), &none), Some(s(30)));
        assert_eq!(schedule.next(Some(s(31)), &none), None);
    }
}
