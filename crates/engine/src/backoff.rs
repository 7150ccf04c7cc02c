//! When a failed key runs again.

use std::time::Duration;

/// After so many failures in a row a key is parked: it is tried now and then, and at once when its spec changes.
pub(crate) const PARKED_AFTER: u32 = 10;

/// Full jitter over a doubling ceiling of 1 s to 5 min; 10 to 20 min for a parked key.
pub(crate) fn delay(failures: u32, roll: u64) -> Duration {
    let part = |ceiling: Duration| {
        let ms = u64::try_from(ceiling.as_millis()).unwrap_or(u64::MAX).max(1);
        Duration::from_millis(roll % ms)
    };
    if failures >= PARKED_AFTER {
        return Duration::from_secs(600) + part(Duration::from_secs(600));
    }
    let ceiling = Duration::from_secs(1 << failures.saturating_sub(1).min(9)).min(Duration::from_secs(300));
    // Never at once: the failure is fresh.
    Duration::from_millis(100) + part(ceiling)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_spread_and_stay_bounded() {
        for failures in 1..PARKED_AFTER {
            for roll in [0, 1, 12_345, u64::MAX] {
                assert!(delay(failures, roll) <= Duration::from_millis(300_100));
            }
        }
        assert!(delay(1, u64::MAX) <= Duration::from_millis(1_100));
        assert!(delay(PARKED_AFTER, 7) >= Duration::from_secs(600));
        assert_ne!(delay(5, 1_000), delay(5, 9_000));
    }
}
