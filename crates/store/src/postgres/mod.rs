//! The store in PostgreSQL, for daemons that take turns: whoever holds the lease writes, everybody reads.
//!
//! What `commit` acknowledged survives a crash. Every transaction of a leader asks first whether it still leads. No
//! statement here is put together from text, and no URL is ever shown: it may hold a password.

mod error;
mod lease;
mod portal;
mod read;
mod rows;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub use error::OpenError as PostgresError;
pub use lease::{Held, Hints, Leader, Lease, LeaseTimes};
pub use rows::{Row, Rows, manifest_of};

use crate::limit::Limits;
use crate::value;
use berth_ports::{Answer, Change, PortError, Query, Snapshot, Store};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{ConnectOptions, Connection, Executor};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Connections of one daemon for commits and questions. The lease has one of its own.
const CONNECTIONS: u32 = 8;

/// How long a statement waits for a connection.
const WAIT: Duration = Duration::from_secs(5);

/// A stopped process must not hold up its successor: the server ends what waits for it. And no statement here takes
/// long on a server that is well.
const SESSION: &str = "set idle_in_transaction_session_timeout = '2s'; set lock_timeout = '3s'; \
    set statement_timeout = '20s'; set client_min_messages = warning";

/// A store in a PostgreSQL database. Clones share it.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    /// Host, port and database: never the URL.
    place: String,
    options: PgConnectOptions,
    limits: Limits,
    pool: PgPool,
    /// The epoch this process leads under; 0 where it does not lead.
    epoch: AtomicU64,
    /// The newest request, as far as the lease's look has seen; `u64::MAX` where nobody looks.
    requests: AtomicU64,
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Postgres({})", self.0.place)
    }
}

impl Postgres {
    /// Opens the database and brings it up to date.
    ///
    /// # Errors
    /// [`PostgresError`] says what is in the way and what to do.
    pub async fn open(url: &str) -> Result<Self, PostgresError> {
        Self::open_with(url, Limits::STANDARD).await
    }

    /// As [`Postgres::open`], keeping less history, or more.
    ///
    /// # Errors
    /// As [`Postgres::open`].
    pub async fn open_with(url: &str, limits: Limits) -> Result<Self, PostgresError> {
        let store = Self::lazy(url, limits)?;
        let mut db = store.connect().await.map_err(|e| error::open(store.place(), &e))?;
        schema::migrate(store.place(), &mut db).await?;
        // It is of no use any more, whether it says good-bye or not.
        let _ = db.close().await;
        Ok(store)
    }

    /// Opens a database as it stands: a question must not change a schema under a daemon of another version.
    ///
    /// # Errors
    /// As [`Postgres::open`], and where the database was not brought up to date.
    pub async fn existing(url: &str) -> Result<Self, PostgresError> {
        let store = Self::lazy(url, Limits::STANDARD)?;
        let mut db = store.connect().await.map_err(|e| error::open(store.place(), &e))?;
        schema::check(store.place(), &mut db).await?;
        // It is of no use any more, whether it says good-bye or not.
        let _ = db.close().await;
        Ok(store)
    }

    fn lazy(url: &str, limits: Limits) -> Result<Self, PostgresError> {
        // What the parser says may hold the URL.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| PostgresError::Address { what: "it cannot be read".to_owned() })?
            .application_name("berth")
            .disable_statement_logging();
        let database = options.get_database().unwrap_or(options.get_username());
        let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(WAIT)
            .after_connect(|db, _| {
                Box::pin(async move {
                    db.execute(SESSION).await?;
                    Ok(())
                })
            })
            .connect_lazy_with(options.clone());
        let (epoch, requests) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Ok(Self(Arc::new(Inner { place, options, limits, pool, epoch, requests })))
    }

    /// Host, port and database, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.0.place
    }

    /// The epoch this process leads under; 0 where it does not lead.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.0.epoch.load(Ordering::SeqCst)
    }

    /// Drops history beyond its bounds: what no commit trims on its way.
    ///
    /// # Errors
    /// The database cannot be written.
    pub async fn tidy(&self) -> Result<(), PortError> {
        let limits = &self.0.limits;
        sqlx::query("select berth.trim_history($1, $2, $3, $4, $5, $6), berth.sweep_removed()")
            .bind(value::number(limits.events)?)
            .bind(value::number(limits.runs_of_a_key)?)
            .bind(value::number(limits.runs)?)
            .bind(value::number(limits.versions)?)
            .bind(value::number(limits.requests)?)
            .bind(value::number(limits.audit)?)
            .execute(&self.0.pool)
            .await
            .map_err(|e| error::port(self.place(), "tidying up", &e))?;
        Ok(())
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.0.pool.close().await;
    }

    /// A connection outside the pool.
    async fn connect(&self) -> Result<PgConnection, sqlx::Error> {
        let connecting = async {
            let mut db = self.0.options.connect().await?;
            db.execute(SESSION).await?;
            Ok(db)
        };
        tokio::time::timeout(WAIT, connecting).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }
}

impl Store for Postgres {
    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        read::snapshot(self.place(), &self.0.pool).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        let place = self.place();
        let port = |e: sqlx::Error| error::port(place, "writing", &e);
        let mut connection = self.0.pool.acquire().await.map_err(port)?;
        let mut transaction = connection.begin().await.map_err(port)?;
        write::fence(place, &mut transaction, self.epoch()).await?;
        write::all(place, &mut transaction, &changes, &self.0.limits).await?;
        transaction.commit().await.map_err(|e| error::at_commit(place, &e))
    }

    async fn query(&self, query: Query) -> Result<Answer, PortError> {
        // Asked every second: the lease's look knows already that there is nothing.
        if let Query::Requests { after } = query
            && self.0.requests.load(Ordering::SeqCst) <= after
        {
            return Ok(Answer::Requests(Vec::new()));
        }
        read::query(self.place(), &self.0.pool, query).await
    }
}
