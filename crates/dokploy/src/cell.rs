//! One look that serves everybody who waits for it: single flight, a short memory, and no memory of what was seen
//! before our own last write. It knows nothing of what is looked at.

use berth_ports::PortError;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared, WeakShared};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

type Look<V> = BoxFuture<'static, Result<V, PortError>>;

/// When a look began, by the clock and by the number of our writes that were finished.
#[derive(Debug, Clone, Copy)]
struct Began {
    at: Instant,
    writes: u64,
}

struct Inside<V> {
    kept: Option<(Began, V)>,
    // Weak: a look that everybody has gone away from ends, instead of waking up stale for the next one.
    flying: Option<(Began, WeakShared<Look<V>>)>,
}

/// A shared look.
pub(crate) struct Cell<V>(Mutex<Inside<V>>);

impl<V: Clone + Send + Sync + 'static> Cell<V> {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(Inside { kept: None, flying: None })))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside<V>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// A look that began at most `max_age` ago and after `writes` writes were finished: a kept one, one under way, or
    /// a new one made by `look`.
    pub(crate) async fn get(
        self: &Arc<Self>,
        max_age: Duration,
        writes: u64,
        look: impl Fn() -> Look<V>,
    ) -> Result<V, PortError> {
        let earliest = Instant::now().checked_sub(max_age);
        let fits = |began: &Began| began.writes >= writes && earliest.is_none_or(|e| began.at >= e);
        loop {
            let (began, shared) = {
                let mut inside = self.lock();
                // "Now" means a new look, also where the clock has not moved since the last one.
                if let Some((began, value)) = &inside.kept
                    && !max_age.is_zero()
                    && fits(began)
                {
                    return Ok(value.clone());
                }
                let flying = inside.flying.as_ref().and_then(|(began, weak)| Some((*began, weak.upgrade()?)));
                match flying {
                    Some(flying) => flying,
                    None => {
                        let began = Began { at: Instant::now(), writes };
                        let shared = self.start(began, look());
                        inside.flying = shared.downgrade().map(|weak| (began, weak));
                        (began, shared)
                    }
                }
            };
            let result = shared.await;
            if fits(&began) {
                return result;
            }
        }
    }

    fn start(self: &Arc<Self>, began: Began, look: Look<V>) -> Shared<Look<V>> {
        let cell = Arc::clone(self);
        async move {
            let result = look.await;
            let mut inside = cell.lock();
            inside.flying = None;
            if let Ok(value) = &result {
                inside.kept = Some((began, value.clone()));
            }
            drop(inside);
            result
        }
        .boxed()
        .shared()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    fn looks(count: &Arc<AtomicU32>) -> impl Fn() -> Look<u32> + use<> {
        let count = count.clone();
        move || {
            let count = count.clone();
            async move {
                let n = count.fetch_add(1, Ordering::Relaxed) + 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
                Ok(n)
            }
            .boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_look_serves_all_and_writes_age_it() {
        let (cell, count) = (Cell::new(), Arc::new(AtomicU32::new(0)));
        let look = looks(&count);
        let s = Duration::from_secs;
        let all = futures::future::join_all((0..50).map(|_| cell.get(s(1), 0, &look))).await;
        assert!(all.iter().all(|r| *r == Ok(1)));
        assert_eq!(cell.get(s(1), 0, &look).await, Ok(1));
        assert_eq!(cell.get(s(1), 1, &look).await, Ok(2));
        tokio::time::advance(s(2)).await;
        assert_eq!(cell.get(s(1), 1, &look).await, Ok(3));
        assert_eq!(cell.get(s(100), 0, &look).await, Ok(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_under_way_that_is_too_old_is_waited_for_and_repeated_once() {
        let (cell, count) = (Cell::new(), Arc::new(AtomicU32::new(0)));
        let look = looks(&count);
        let first = cell.get(Duration::ZERO, 0, &look);
        let later = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            futures::join!(cell.get(Duration::ZERO, 0, &look), cell.get(Duration::ZERO, 1, &look))
        };
        let (first, (second, third)) = futures::join!(first, later);
        assert_eq!((first, second), (Ok(1), Ok(2)));
        assert!(matches!(third, Ok(2 | 3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_who_goes_away_takes_nobody_along() {
        let (cell, count) = (Cell::new(), Arc::new(AtomicU32::new(0)));
        let look = looks(&count);
        let ms = Duration::from_millis;
        let gone = tokio::time::timeout(ms(10), cell.get(ms(0), 0, &look)).await;
        assert!(gone.is_err());
        // Nobody waits for the first look any more: the next one begins anew.
        assert_eq!(cell.get(Duration::from_secs(9), 0, &look).await, Ok(2));
    }
}
