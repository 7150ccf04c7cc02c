//! Who leads: one row, taken by compare-and-set under a rising epoch, by the server's clock. What the leader may still
//! do without asking is counted by a local clock that runs on while the machine sleeps.

use super::{Postgres, error};
use berth_ports::PortError;
use rustix::time::{ClockId, clock_gettime};
use sqlx::Row as _;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgConnection, PgListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How a lease is held.
#[derive(Debug, Clone, Copy)]
pub struct LeaseTimes {
    /// How long it lasts after a renewal.
    pub lasts: Duration,
    /// Between two renewals, and between two tries of a standby.
    pub every: Duration,
    /// No outside call begins this shortly before its end.
    pub margin: Duration,
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self {
            lasts: Duration::from_secs(3),
            every: Duration::from_secs(1),
            margin: Duration::from_millis(500),
        }
    }
}

/// Milliseconds since this machine started, suspension included.
fn boot_millis() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (u64::try_from(now.tv_sec), u64::try_from(now.tv_nsec));
    seconds.unwrap_or(0) * 1_000 + nanos.unwrap_or(0) / 1_000_000
}

/// The lead, as long as it lasts. Clones are of one lead.
#[derive(Debug, Clone)]
pub struct Held {
    epoch: u64,
    /// No outside call begins later, by [`boot_millis`].
    until: Arc<AtomicU64>,
}

impl Held {
    /// The epoch.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether an outside call may begin now.
    #[must_use]
    pub fn may_call(&self) -> bool {
        self.left() > Duration::ZERO
    }

    /// How long outside calls may still begin.
    #[must_use]
    pub fn left(&self) -> Duration {
        Duration::from_millis(self.until.load(Ordering::SeqCst).saturating_sub(boot_millis()))
    }

    /// From now on nothing may begin.
    pub fn end(&self) {
        self.until.store(0, Ordering::SeqCst);
    }
}

/// Who leads, as a standby saw it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leader {
    /// Who.
    pub holder: Option<String>,
    /// Where it is asked.
    pub address: Option<String>,
}

/// What notifications and looks tell. Each is a hint only: who is told looks for itself.
#[derive(Debug, Default)]
pub struct Hints {
    /// Rows may have changed.
    pub rows: Notify,
    /// The lead may be free.
    pub lease: Notify,
    /// From where rows are looked for; `None` until all were read by this connection.
    since: Mutex<Option<String>>,
}

impl Hints {
    /// From where rows are to be read; `None`: all of them.
    #[must_use]
    pub fn since(&self) -> Option<String> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rows were read up to here.
    pub fn read_up_to(&self, upto: Option<String>) {
        if upto.is_some() {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = upto;
        }
    }

    fn forget(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.rows.notify_one();
        self.lease.notify_one();
    }
}

/// One daemon's way to the lease: a connection of its own, so that no other statement holds it up.
#[derive(Debug)]
pub struct Lease {
    store: Postgres,
    who: String,
    address: String,
    times: LeaseTimes,
    hints: Arc<Hints>,
    db: Option<PgConnection>,
}

impl Lease {
    /// For a daemon of this name, which is asked at this address.
    #[must_use]
    pub fn new(
        store: Postgres,
        who: impl Into<String>,
        address: impl Into<String>,
        times: LeaseTimes,
    ) -> Self {
        let hints = Arc::default();
        Self { store, who: who.into(), address: address.into(), times, hints, db: None }
    }

    /// The daemon's name.
    #[must_use]
    pub fn who(&self) -> &str {
        &self.who
    }

    /// What it hears.
    #[must_use]
    pub fn hints(&self) -> Arc<Hints> {
        self.hints.clone()
    }

    /// The times.
    #[must_use]
    pub fn times(&self) -> LeaseTimes {
        self.times
    }

    fn lasts(&self) -> PgInterval {
        let microseconds = i64::try_from(self.times.lasts.as_micros()).unwrap_or(i64::MAX);
        PgInterval { months: 0, days: 0, microseconds }
    }

    async fn within<T>(
        &mut self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, PortError> {
        let place = self.store.place().to_owned();
        let asking = async {
            let mut db = match self.db.take() {
                Some(db) => db,
                None => {
                    let db = self.store.connect().await?;
                    // Another server may answer now, which counts its transactions anew.
                    self.hints.forget();
                    db
                }
            };
            let done = work(&mut db).await?;
            Ok((db, done))
        };
        // A connection that failed, or whose answer nobody waited for, is not used again.
        match tokio::time::timeout(self.times.every.max(Duration::from_millis(200)), asking).await {
            Ok(Ok((db, done))) => {
                self.db = Some(db);
                Ok(done)
            }
            Ok(Err(e)) => Err(error::port(&place, "asking for the lead", &e)),
            Err(_) => Err(error::port(&place, "asking for the lead", &sqlx::Error::PoolTimedOut)),
        }
    }

    /// Tries to take the lead, once. Where another daemon has it: which.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn take(&mut self) -> Result<Result<Held, Leader>, PortError> {
        let asked = boot_millis();
        let (who, address, lasts) = (self.who.clone(), self.address.clone(), self.lasts());
        let row = self
            .within(async move |db| {
                sqlx::query(
                    "select t.epoch, l.holder, l.address from berth.lease l \
                     left join berth.take_lease($1, $2, $3) t on true",
                )
                .bind(who)
                .bind(address)
                .bind(lasts)
                .fetch_one(db)
                .await
            })
            .await?;
        let port = |e: sqlx::Error| error::port(self.store.place(), "asking for the lead", &e);
        let epoch: Option<i64> = row.try_get(0).map_err(port)?;
        let Some(epoch) = epoch.and_then(|e| u64::try_from(e).ok()) else {
            let (holder, address) = (row.try_get(1).map_err(port)?, row.try_get(2).map_err(port)?);
            return Ok(Err(Leader { holder, address }));
        };
        let held = Held { epoch, until: Arc::new(AtomicU64::new(self.end(asked))) };
        self.store.0.epoch.store(epoch, Ordering::SeqCst);
        self.hints.forget();
        Ok(Ok(held))
    }

    /// The server counts from when it answered, which was later than when it was asked.
    fn end(&self, asked: u64) -> u64 {
        let lasts = self.times.lasts.saturating_sub(self.times.margin);
        asked + u64::try_from(lasts.as_millis()).unwrap_or(0)
    }

    /// Renews the lead, and hears on the way whether rows or requests came; false where another daemon has it now.
    ///
    /// # Errors
    /// The database cannot be asked: the lead lasts until its end.
    pub async fn renew(&mut self, held: &Held) -> Result<bool, PortError> {
        let asked = boot_millis();
        let (lasts, since) = (self.lasts(), self.hints.since());
        let epoch = i64::try_from(held.epoch).unwrap_or(i64::MAX);
        // One statement a second is all that an idle daemon costs.
        let row = self
            .within(async move |db| {
                sqlx::query(
                    "select r.until is not null, m.request_last, $3::text is null \
                     or exists (select from berth.manifests where change_xid >= $3::text::xid8) \
                     or exists (select from berth.removed where change_xid >= $3::text::xid8) \
                     from (select berth.renew_lease($1, $2) as until) r, berth.meta m",
                )
                .bind(epoch)
                .bind(lasts)
                .bind(since)
                .fetch_one(db)
                .await
            })
            .await?;
        let port = |e: sqlx::Error| error::port(self.store.place(), "renewing the lead", &e);
        if !row.try_get::<bool, _>(0).map_err(port)? {
            held.end();
            return Ok(false);
        }
        held.until.store(self.end(asked), Ordering::SeqCst);
        let requests: i64 = row.try_get(1).map_err(port)?;
        self.store.0.requests.store(u64::try_from(requests).unwrap_or(0), Ordering::SeqCst);
        if row.try_get(2).map_err(port)? {
            self.hints.rows.notify_one();
        }
        Ok(true)
    }

    /// Lets another daemon take the lead at once. Nothing outside may be under way any more.
    ///
    /// # Errors
    /// The database cannot be asked: the lead runs out by itself.
    pub async fn release(&mut self, held: &Held) -> Result<(), PortError> {
        held.end();
        let epoch = i64::try_from(held.epoch).unwrap_or(i64::MAX);
        self.within(async move |db| {
            sqlx::query("select berth.release_lease($1), pg_notify('berth_lease', '')")
                .bind(epoch)
                .execute(db)
                .await
        })
        .await?;
        Ok(())
    }

    /// Hears notifications until dropped. They are lost with every connection, and behind some poolers never come: the
    /// looks of [`Lease::renew`] find what they would have told.
    pub fn listen(&self) -> impl Future<Output = ()> + Send + use<> {
        let (store, hints, every) = (self.store.clone(), self.hints.clone(), self.times.every);
        async move {
            loop {
                if let Err(e) = hear(&store, &hints).await {
                    tracing::debug!(database = store.place(), "notifications are not heard: {e}");
                }
                tokio::time::sleep(every / 10).await;
            }
        }
    }
}

async fn hear(store: &Postgres, hints: &Hints) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(&store.0.pool).await?;
    listener.listen_all(["berth_manifests", "berth_requests", "berth_lease"]).await?;
    // What was told before nobody heard.
    store.0.requests.store(u64::MAX, Ordering::SeqCst);
    hints.rows.notify_one();
    hints.lease.notify_one();
    while let Some(told) = listener.try_recv().await? {
        match told.channel() {
            "berth_lease" => hints.lease.notify_one(),
            // The next look of the engine asks the database again.
            "berth_requests" => store.0.requests.store(u64::MAX, Ordering::SeqCst),
            _ => hints.rows.notify_one(),
        }
    }
    Ok(())
}
