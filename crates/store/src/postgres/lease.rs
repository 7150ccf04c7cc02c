//! Who leads: one row, taken by compare-and-set under a rising epoch, by the server's clock. What the leader may still
//! do without asking is counted by a local clock that runs on while the machine sleeps.

use super::error::{self, OpenError};
use super::{Postgres, schema};
use berth_ports::PortError;
use rustix::time::{ClockId, clock_gettime};
use sqlx::Row as _;
use sqlx::postgres::types::PgInterval;
use sqlx::postgres::{PgArguments, PgConnection, PgListener, PgRow};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

type Statement<'q> = sqlx::query::Query<'q, sqlx::Postgres, PgArguments>;

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

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The lead goes on.
    Kept,
    /// Another daemon has it.
    Lost,
    /// Another run of the server answers, perhaps on an older copy: what is in memory has to be read again, under a
    /// lead that is taken anew.
    Moved,
}

/// What notifications and looks tell. Each is a hint only: who is told looks for itself.
#[derive(Debug, Default)]
pub struct Hints {
    /// Rows may have changed.
    pub rows: Notify,
    /// The lead may be free.
    pub lease: Notify,
    /// The way to the database is another one.
    way: Notify,
    /// From where rows are looked for, and in which run of the server; `None` until all were read under this lead.
    since: Mutex<Option<String>>,
}

impl Hints {
    /// From where rows are to be read; `None`: all of them.
    #[must_use]
    pub fn since(&self) -> Option<String> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Rows were read up to here, by who looked from `since` on. What was forgotten meanwhile stays so.
    pub fn read_up_to(&self, since: Option<&str>, upto: String) {
        let mut slot = self.since.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.as_deref() == since {
            *slot = Some(upto);
        }
    }

    fn forget(&self) {
        *self.since.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.tell();
    }

    /// Something may have been missed.
    fn tell(&self) {
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
    /// The last lead.
    led: Option<Held>,
    /// The last renewal failed: the next one asks for nothing else, since that may be what fails.
    bare: bool,
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
        let (hints, who, address) = (Arc::default(), who.into(), address.into());
        Self { store, who, address, times, hints, db: None, led: None, bare: false }
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

    /// The connection, made where there is none. Behind it may be another server than before, or an older copy.
    async fn connection(&mut self) -> Result<PgConnection, PortError> {
        if let Some(db) = self.db.take() {
            return Ok(db);
        }
        let refused = |e: OpenError| {
            let why = e.to_string();
            match e {
                OpenError::Unusable { .. } => PortError::Retry { after: None, why },
                OpenError::Address { .. } | OpenError::Schema { .. } => PortError::Refused { why },
            }
        };
        let mut db = self.store.connect().await.map_err(refused)?;
        schema::migrate(self.store.place(), &mut db).await.map_err(refused)?;
        if !self.store.0.sessions.is_pooled() {
            // Before the answer is not waited for any more: a lock that somebody holds is not the connection's fault.
            let port = |e: sqlx::Error| error::port(self.store.place(), "asking for the lead", &e);
            sqlx::raw_sql("set lock_timeout = '700ms'").execute(&mut db).await.map_err(port)?;
        }
        // The others were made on the way that broke.
        self.store.0.sessions.forget();
        self.hints.tell();
        self.hints.way.notify_one();
        Ok(db)
    }

    /// Asks one statement. A connection that failed, or whose answer nobody waited for, is not used again.
    async fn ask(&mut self, doing: &str, statement: Statement<'_>) -> Result<PgRow, PortError> {
        let mut db = self.connection().await?;
        let store = self.store.clone();
        let sessions = &store.0.sessions;
        let statement = statement.persistent(sessions.names());
        let asking = sessions.single(&mut db, async |db| statement.fetch_one(db).await);
        match tokio::time::timeout(self.times.every.max(Duration::from_millis(200)), asking).await {
            Ok(Ok(row)) => {
                self.db = Some(db);
                Ok(row)
            }
            Ok(Err(e)) => {
                let error = error::port(store.place(), doing, &e);
                if !matches!(error::kind(&e), error::Kind::Away) {
                    self.db = Some(db);
                }
                Err(error)
            }
            Err(_) => Err(error::silent(store.place(), doing)),
        }
    }

    /// Tries to take the lead, once. Where another daemon has it: which.
    ///
    /// # Errors
    /// The database cannot be asked.
    pub async fn take(&mut self) -> Result<Result<Held, Leader>, PortError> {
        // Long in making where the schema is: that does not count for the answer.
        self.db = Some(self.connection().await?);
        let asked = boot_millis();
        let led = self.led.as_ref().is_some_and(Held::may_call);
        let (who, address) = (self.who.clone(), self.address.clone());
        let statement = sqlx::query(
            "select t.epoch, l.holder, l.address from berth.lease l \
             left join berth.take_lease($1, $2, $3, $4) t on true",
        )
        .bind(&who)
        .bind(&address)
        .bind(self.lasts())
        .bind(led);
        let row = self.ask("asking for the lead", statement).await?;
        let port = |e: sqlx::Error| error::port(self.store.place(), "asking for the lead", &e);
        let epoch: Option<i64> = row.try_get(0).map_err(port)?;
        let Some(epoch) = epoch.and_then(|e| u64::try_from(e).ok()) else {
            let (holder, address) = (row.try_get(1).map_err(port)?, row.try_get(2).map_err(port)?);
            return Ok(Err(Leader { holder, address }));
        };
        let held = Held { epoch, until: Arc::new(AtomicU64::new(self.end(asked))) };
        self.store.0.epoch.store(epoch, Ordering::SeqCst);
        self.store.0.requests.store(u64::MAX, Ordering::SeqCst);
        self.led = Some(held.clone());
        self.hints.forget();
        Ok(Ok(held))
    }

    /// The server counts from when it answered, which was later than when it was asked.
    fn end(&self, asked: u64) -> u64 {
        let lasts = self.times.lasts.saturating_sub(self.times.margin);
        asked + u64::try_from(lasts.as_millis()).unwrap_or(0)
    }

    /// Renews the lead, and hears on the way whether rows or requests came.
    ///
    /// # Errors
    /// The database cannot be asked: the lead lasts until its end.
    pub async fn renew(&mut self, held: &Held) -> Result<Renewed, PortError> {
        let asked = boot_millis();
        let (lasts, since) = (self.lasts(), self.hints.since());
        let epoch = i64::try_from(held.epoch).unwrap_or(i64::MAX);
        let bare = std::mem::replace(&mut self.bare, true);
        // One statement a second is all that an idle daemon costs.
        let statement = if bare {
            sqlx::query(
                "select r.until is not null, l.server = pg_postmaster_start_time() and l.holder is not null, \
                 null::bigint, false \
                 from (select berth.renew_lease($1, $2) as until) r, berth.lease l",
            )
            .bind(epoch)
            .bind(lasts)
        } else {
            sqlx::query(
                "select r.until is not null, l.server = pg_postmaster_start_time() and l.holder is not null, \
                 m.request_last, \
                 f.since is null or exists (select from berth.manifests where change_xid >= f.since) \
                 or exists (select from berth.removed where change_xid >= f.since) \
                 from (select berth.renew_lease($1, $2) as until) r, berth.lease l, berth.meta m, \
                 (select case when split_part($3, ' ', 2) = extract(epoch from pg_postmaster_start_time())::text \
                 then split_part($3, ' ', 1)::xid8 end as since) f",
            )
            .bind(epoch)
            .bind(lasts)
            .bind(since)
        };
        let row = self.ask("renewing the lead", statement).await?;
        let port = |e: sqlx::Error| error::port(self.store.place(), "renewing the lead", &e);
        if !row.try_get::<bool, _>(0).map_err(port)? {
            let is_taken = row.try_get::<Option<bool>, _>(1).map_err(port)? == Some(true);
            if is_taken {
                held.end();
            }
            return Ok(if is_taken { Renewed::Lost } else { Renewed::Moved });
        }
        self.bare = false;
        held.until.store(self.end(asked), Ordering::SeqCst);
        if let Some(requests) = row.try_get::<Option<i64>, _>(2).map_err(port)? {
            self.store.0.requests.store(u64::try_from(requests).unwrap_or(0), Ordering::SeqCst);
        }
        if row.try_get(3).map_err(port)? {
            self.hints.rows.notify_one();
        }
        Ok(Renewed::Kept)
    }

    /// Lets another daemon take the lead at once. Nothing outside may be under way any more.
    ///
    /// # Errors
    /// The database cannot be asked: the lead runs out by itself.
    pub async fn release(&mut self, held: &Held) -> Result<(), PortError> {
        held.end();
        let epoch = i64::try_from(held.epoch).unwrap_or(i64::MAX);
        let statement =
            sqlx::query("select berth.release_lease($1), pg_notify('berth_lease', '')").bind(epoch);
        self.ask("handing the lead over", statement).await.map(drop)
    }

    /// Hears notifications until dropped. They are lost with every connection, and behind a pooler never come: the
    /// looks of [`Lease::renew`] find what they would have told.
    pub fn listen(&self) -> impl Future<Output = ()> + Send + use<> {
        let (store, hints, every) = (self.store.clone(), self.hints.clone(), self.times.every);
        async move {
            // Once the lease has reached it, it is known whether a pooler stands in between.
            hints.way.notified().await;
            loop {
                let heard = async {
                    if store.0.sessions.is_pooled() {
                        std::future::pending().await
                    } else {
                        hear(&store, &hints).await
                    }
                };
                tokio::select! {
                    // A connection that nothing comes through any more does not say so.
                    () = hints.way.notified() => {}
                    Err(e) = heard => {
                        tracing::debug!(database = store.place(), "notifications are not heard: {e}");
                        tokio::time::sleep(every / 10).await;
                    }
                }
            }
        }
    }
}

async fn hear(store: &Postgres, hints: &Hints) -> Result<Infallible, sqlx::Error> {
    let mut listener = PgListener::connect_with(&store.0.sessions.pool()).await?;
    listener.listen_all(["berth_manifests", "berth_requests", "berth_lease"]).await?;
    loop {
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
        // It connects again by itself.
    }
}
