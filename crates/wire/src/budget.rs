//! How many calls an account may make: a bucket that refills by tokio's clock, asked before each request, and corrected
//! by what the server says is left. It knows nothing of what a call means.

use crate::call::Reply;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// Longer waits are not waited out: the caller is told when to come back.
const PATIENCE: Duration = Duration::from_secs(20);

struct Inside {
    /// Calls that may be made at once; below zero where callers wait already.
    left: f64,
    at: Instant,
    /// Nothing before this.
    closed: Option<Instant>,
}

/// A bucket of calls.
pub struct Budget {
    most: f64,
    per_second: f64,
    inside: Mutex<Inside>,
}

impl Budget {
    /// `most` calls at once, and as many again in each `within`.
    #[must_use]
    pub fn new(most: u32, within: Duration) -> Self {
        let most = f64::from(most.max(1));
        let per_second = most / within.as_secs_f64().max(0.001);
        Self { most, per_second, inside: Mutex::new(Inside { left: most, at: Instant::now(), closed: None }) }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inside> {
        let mut inside = self.inside.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let gained = now.saturating_duration_since(inside.at).as_secs_f64() * self.per_second;
        inside.left = (inside.left + gained).min(self.most);
        inside.at = now;
        inside
    }

    /// Takes one call, waiting for its turn.
    ///
    /// # Errors
    /// How long the wait would be, where it is too long to be waited out. Nothing was taken.
    pub async fn take(&self) -> Result<(), Duration> {
        let wait = {
            let mut inside = self.lock();
            let short = (1.0 - inside.left).max(0.0) / self.per_second;
            let closed = inside.closed.map_or(Duration::ZERO, |c| c.saturating_duration_since(inside.at));
            let wait = Duration::from_secs_f64(short.min(86_400.0)).max(closed);
            if wait > PATIENCE {
                return Err(wait);
            }
            inside.left -= 1.0;
            wait
        };
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        Ok(())
    }

    /// The share of the calls that may be made now, from 0 to 1; `None` where they are so few that it says nothing.
    #[must_use]
    pub fn left(&self) -> Option<f64> {
        if self.most < 5.0 {
            return None;
        }
        let inside = self.lock();
        let open = inside.closed.is_none_or(|until| until <= inside.at);
        Some(if open { (inside.left / self.most).clamp(0.0, 1.0) } else { 0.0 })
    }

    /// The server says that there is nothing left for so long.
    pub fn close(&self, wait: Duration) {
        let mut inside = self.lock();
        let until = inside.at + wait.min(Duration::from_secs(86_400));
        inside.closed = Some(inside.closed.map_or(until, |c| c.max(until)));
        inside.left = inside.left.min(0.0);
    }

    /// Believes what an answer says is left, where that is less than what was thought.
    pub fn saw(&self, reply: &Reply) {
        let names = ["ratelimit-remaining", "x-ratelimit-remaining"];
        let left =
            names.iter().find_map(|n| reply.headers.get(*n)?.to_str().ok()?.trim().parse::<u32>().ok());
        if let Some(left) = left {
            let mut inside = self.lock();
            inside.left = inside.left.min(f64::from(left));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_at_a_time() {
        let s = Duration::from_secs;
        let budget = Budget::new(5, s(5));
        let began = Instant::now();
        assert_eq!(budget.left(), Some(1.0));
        for _ in 0..5 {
            budget.take().await.unwrap();
        }
        assert_eq!(budget.left(), Some(0.0));
        assert_eq!(began.elapsed(), s(0));
        for _ in 0..3 {
            budget.take().await.unwrap();
        }
        assert_eq!(began.elapsed().as_secs_f64().round(), 3.0);
        // Who waits has taken his call already.
        let all = futures::future::join_all((0..4).map(|_| budget.take())).await;
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(began.elapsed().as_secs_f64().round(), 7.0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_server_knows_better() {
        let s = Duration::from_secs;
        let budget = Budget::new(100, s(100));
        budget.close(s(10));
        assert_eq!(budget.left(), Some(0.0));
        let began = Instant::now();
        budget.take().await.unwrap();
        assert_eq!(began.elapsed(), s(10));
        budget.close(s(300));
        assert_eq!(budget.take().await, Err(s(300)));
        tokio::time::advance(s(400)).await;
        assert_eq!(budget.left(), Some(1.0));
        let headers = [(http::HeaderName::from_static("ratelimit-remaining"), "1".parse().unwrap())];
        budget.saw(&Reply { status: 200, headers: headers.into_iter().collect(), body: bytes::Bytes::new() });
        let began = Instant::now();
        budget.take().await.unwrap();
        budget.take().await.unwrap();
        assert_eq!(began.elapsed(), s(1));
    }
}
