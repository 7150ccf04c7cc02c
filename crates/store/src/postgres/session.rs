//! Sessions: how connections are made, and what may be sent on them.
//!
//! A pooler in between may hand every transaction to another session of the server. Then nothing may be used that
//! belongs to a session: no setting, no name of a statement (another's statement may carry it), no notification. Who
//! is not given the session that was asked for is taken to be behind one.

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Postgres, Row, Transaction};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// Connections of one daemon for commits and questions. The lease has one of its own.
const CONNECTIONS: u32 = 8;

/// How long a connection may take to be made, or to come free.
pub(super) const WAIT: Duration = Duration::from_secs(5);

/// A stopped process must not hold up its successor: the server ends what waits for it. And no statement here takes
/// long on a server that is well.
const SETTINGS: [(&str, &str); 4] = [
    ("idle_in_transaction_session_timeout", "2s"),
    ("lock_timeout", "3s"),
    ("statement_timeout", "20s"),
    ("client_min_messages", "warning"),
];

/// The same for one transaction.
const BEGIN: &str = "begin; set local idle_in_transaction_session_timeout = '2s'; set local lock_timeout = '3s'; \
    set local statement_timeout = '20s'; set local client_min_messages = warning";
const BEGIN_READ: &str = "begin isolation level repeatable read read only; \
    set local idle_in_transaction_session_timeout = '20s'; set local statement_timeout = '20s'";

/// Poolers answer so where they are given a setting that they cannot pass on.
const PROTOCOL_VIOLATION: &str = "08P01";

/// How the connections of one store are made. Clones share what was found out.
#[derive(Clone)]
pub(super) struct Sessions(Arc<Inner>);

struct Inner {
    /// Asks for a session with the settings, and with a name by which it is known again.
    direct: PgConnectOptions,
    /// Asks for nothing that a pooler refuses.
    plain: PgConnectOptions,
    name: String,
    /// A pooler stands in between. It stays so: what was sent by names must be past by then.
    pooled: AtomicBool,
    /// The connections for commits and questions, and for which of the two they were made.
    pool: Mutex<(bool, PgPool)>,
}

impl Sessions {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        static MADE: AtomicU64 = AtomicU64::new(0);
        let since = SystemTime::UNIX_EPOCH.elapsed().map_or(0, |d| d.as_nanos());
        let name = format!("{}-{since}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let plain = options.extra_float_digits(None);
        let direct = plain.clone().options(SETTINGS).options([("berth.session", &name)]);
        let pool = Mutex::new((false, pool(&direct, Some(&name))));
        Self(Arc::new(Inner { direct, plain, name, pooled: AtomicBool::new(false), pool }))
    }

    /// Whether a pooler stands in between.
    pub(super) fn is_pooled(&self) -> bool {
        self.0.pooled.load(Ordering::SeqCst)
    }

    /// Whether statements may be known to the server by names.
    pub(super) fn names(&self) -> bool {
        !self.is_pooled()
    }

    /// The connections for commits and questions.
    pub(super) fn pool(&self) -> PgPool {
        let mut slot = self.0.pool.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.0 != self.is_pooled() {
            *slot = self.made();
        }
        slot.1.clone()
    }

    /// Begins anew with these: those that are there may lead nowhere and not know it.
    pub(super) fn forget(&self) {
        *self.0.pool.lock().unwrap_or_else(PoisonError::into_inner) = self.made();
    }

    fn made(&self) -> (bool, PgPool) {
        match self.is_pooled() {
            true => (true, pool(&self.0.plain, None)),
            false => (false, pool(&self.0.direct, Some(&self.0.name))),
        }
    }

    /// A connection outside the pool.
    pub(super) async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            if !self.is_pooled() {
                match self.0.direct.connect().await {
                    Ok(mut db) => {
                        if is_named(&mut db, &self.0.name).await? {
                            return Ok(db);
                        }
                    }
                    Err(sqlx::Error::Database(e)) if e.code().as_deref() == Some(PROTOCOL_VIOLATION) => {}
                    Err(e) => return Err(e),
                }
                let db = self.0.plain.connect().await?;
                if !self.0.pooled.swap(true, Ordering::SeqCst) {
                    tracing::info!(
                        "a pooler stands before the database: notifications are not heard, changes are found by looking"
                    );
                }
                return Ok(db);
            }
            self.0.plain.connect().await
        };
        tokio::time::timeout(WAIT, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Begins a transaction.
    pub(super) async fn begin<'c>(
        &self,
        db: &'c mut PgConnection,
    ) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
        if self.is_pooled() { db.begin_with(BEGIN).await } else { db.begin().await }
    }

    /// Begins a transaction that sees one instant and writes nothing.
    pub(super) async fn begin_read<'c>(
        &self,
        db: &'c mut PgConnection,
    ) -> Result<Transaction<'c, Postgres>, sqlx::Error> {
        db.begin_with(BEGIN_READ).await
    }

    /// Does something that is one statement, and is whole without a transaction where sessions are one's own.
    pub(super) async fn single<T>(
        &self,
        db: &mut PgConnection,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        if !self.is_pooled() {
            return work(db).await;
        }
        let mut transaction = self.begin(db).await?;
        let done = work(&mut transaction).await?;
        transaction.commit().await?;
        Ok(done)
    }
}

/// Opens nothing yet. `name`: each must be a session of this name.
fn pool(options: &PgConnectOptions, name: Option<&str>) -> PgPool {
    let name = name.map(str::to_owned);
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(WAIT)
        .after_connect(move |db, _| {
            let name = name.clone();
            Box::pin(async move {
                match name {
                    Some(name) if !is_named(db, &name).await? => {
                        Err(sqlx::Error::Protocol("it is not the session that was asked for".to_owned()))
                    }
                    _ => Ok(()),
                }
            })
        })
        .connect_lazy_with(options.clone())
}

async fn is_named(db: &mut PgConnection, name: &str) -> Result<bool, sqlx::Error> {
    // Without a name of its own: it may be the first that is sent through a pooler.
    let row: PgRow = sqlx::raw_sql("select current_setting('berth.session', true)").fetch_one(db).await?;
    Ok(row.try_get::<Option<String>, _>(0)?.as_deref() == Some(name))
}
