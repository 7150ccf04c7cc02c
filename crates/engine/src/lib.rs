//! The engine: queue, workers, executor, gate, status, budgets.
//!
//! It knows ports and no adapter. All its concurrency is futures of one task: dropping [`Engine::run`] stops
//! everything at once, which is what a crash does.

mod backoff;
mod certificates;
mod commit;
mod dns;
mod driver;
mod execute;
mod follow;
mod health;
mod itself;
mod learn;
mod look;
mod metrics;
mod pass;
mod queue;
mod removal;
mod requests;
mod run;
mod state;
mod status;
mod think;
mod version;
mod view;

pub use itself::Identity;
pub use metrics::{METRICS, Metrics, standing_by, turns};
pub use queue::Lane;
pub use state::{BackendOptions, Options};
pub use view::{Event, HoldView, Planned, Proposal};

use berth_model::ids::{BackendName, Key};
use berth_ports::{Clock, PortError, Store, World};
use state::State;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore, broadcast};
use tokio::time::Instant;

/// A loop that did not turn for this long hangs.
const STANDS_STILL: Duration = Duration::from_secs(30);

/// What the engine works with.
pub struct Parts<W: World> {
    /// Accounts by name.
    pub platforms: BTreeMap<BackendName, Arc<W::Platform>>,
    /// The state store.
    pub store: W::Store,
    /// Secrets.
    pub vault: W::Vault,
    /// Health checks.
    pub prober: W::Prober,
    /// Image look-ups.
    pub registry: W::Registry,
    /// Wall time.
    pub clock: W::Clock,
    /// Randomness.
    pub dice: W::Dice,
    /// DNS, where a credential is set.
    pub dns: Option<W::Dns>,
}

/// The engine.
pub struct Engine<W: World> {
    parts: Parts<W>,
    options: Options,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    /// Places for runs that make applications.
    making: BTreeMap<BackendName, Semaphore>,
    /// Something in the queue changed.
    stirred: Notify,
    /// A place that more than one stack may make is not being made any more.
    places: Notify,
    events: broadcast::Sender<berth_model::event::Event>,
    /// When it was made, and how many milliseconds after that its loop last turned.
    made: Instant,
    turned: AtomicU64,
}

/// Why the engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The state cannot be read.
    #[error("the state store cannot be read: {0}")]
    Store(#[source] PortError),
}

impl<W: World> Engine<W> {
    /// Reads the state and is ready to run.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn new(parts: Parts<W>, options: Options) -> Result<Arc<Self>, Error> {
        let snapshot = parts.store.snapshot().await.map_err(Error::Store)?;
        let metrics = Arc::new(Metrics::new(parts.platforms.keys().map(BackendName::as_str)));
        let state = State::new(snapshot, parts.platforms.keys());
        let (events, _) = broadcast::channel(1024);
        let making =
            parts.platforms.keys().map(|b| (b.clone(), Semaphore::new(options.makes.max(1)))).collect();
        Ok(Arc::new(Self {
            making,
            parts,
            options,
            metrics,
            state: Mutex::new(state),
            stirred: Notify::new(),
            places: Notify::new(),
            events,
            made: Instant::now(),
            turned: AtomicU64::new(0),
        }))
    }

    /// The metrics of this engine.
    #[must_use]
    pub fn metrics(&self) -> Arc<Metrics> {
        self.metrics.clone()
    }

    /// The loop turns once more.
    pub(crate) fn turn(&self) {
        let since = u64::try_from(self.made.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.turned.store(since, Ordering::Relaxed);
    }

    /// Whether the loop turned lately. It turns every second, whatever it waits for; one that does not hangs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.turned.load(Ordering::Relaxed));
        self.made.elapsed().saturating_sub(last) < STANDS_STILL
    }

    /// Held for a few map operations at a time, never across an await.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> berth_model::Time {
        self.parts.clock.now()
    }

    pub(crate) fn roll(&self) -> u64 {
        use berth_ports::Dice;
        self.parts.dice.roll()
    }

    /// Wakes a key.
    pub(crate) fn wake(&self, key: &Key, lane: Lane, why: &'static str) {
        {
            let mut state = self.state();
            let backend = state.backend_of(key);
            if let Some(backend) = backend {
                let tenant = state.tenant_of(key);
                if let Some(queue) = state.queues.get_mut(&backend) {
                    queue.wake(key, lane, why, &tenant);
                }
            }
        }
        self.stirred.notify_one();
    }
}
