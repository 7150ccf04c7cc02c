//! The store in PostgreSQL, for daemons that take turns: whoever holds the lease writes, everybody reads.
//!
//! What `commit` acknowledged survives a crash. Every transaction of a leader asks first whether it still leads. No
//! statement here is put together from text, and no URL is ever shown: it may hold a password.

mod commit;
mod error;
mod lease;
mod portal;
mod read;
mod rows;
mod schema;
mod session;
#[cfg(test)]
mod tests;
mod write;

pub use error::OpenError as PostgresError;
pub use lease::{Held, Hints, Leader, Lease, LeaseTimes, Renewed};
pub use rows::{Row, Rows, manifest_of};

use crate::limit::Limits;
use crate::value;
use berth_ports::{Answer, Change, PortError, Query, Snapshot, Store};
use session::Sessions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest wait for an answer. The server gives up earlier; this is for a network that swallows what is sent.
const PATIENCE: Duration = Duration::from_secs(40);

/// A store in a PostgreSQL database. Clones share it.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    /// Host, port and database: never the URL.
    place: String,
    sessions: Sessions,
    limits: Limits,
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
    /// The database at this address. Nothing is asked of it yet: a [`Lease`] brings it up to date when it reaches it.
    ///
    /// # Errors
    /// The address is none.
    pub fn at(url: &str) -> Result<Self, PostgresError> {
        Self::with(url, Limits::STANDARD)
    }

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
        let store = Self::with(url, limits)?;
        let mut db = store.connect().await?;
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
        let store = Self::at(url)?;
        let mut db = store.connect().await?;
        schema::check(store.place(), &mut db).await?;
        // It is of no use any more, whether it says good-bye or not.
        let _ = db.close().await;
        Ok(store)
    }

    fn with(url: &str, limits: Limits) -> Result<Self, PostgresError> {
        // What the parser says may hold the URL.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| PostgresError::Address { what: "it cannot be read".to_owned() })?
            .application_name("berth")
            .disable_statement_logging();
        let database = options.get_database().unwrap_or(options.get_username());
        let place = format!("{}:{}/{database}", options.get_host(), options.get_port());
        let sessions = Sessions::new(options);
        let (epoch, requests) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Ok(Self(Arc::new(Inner { place, sessions, limits, epoch, requests })))
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
        let sessions = &self.0.sessions;
        let statement =
            sqlx::query("select berth.trim_history($1, $2, $3, $4, $5, $6), berth.sweep_removed()")
                .bind(value::number(limits.events)?)
                .bind(value::number(limits.runs_of_a_key)?)
                .bind(value::number(limits.runs)?)
                .bind(value::number(limits.versions)?)
                .bind(value::number(limits.requests)?)
                .bind(value::number(limits.audit)?)
                .persistent(sessions.names());
        self.ask("tidying up", async |db| {
            let work = async |db: &mut _| statement.execute(db).await;
            sessions.single(db, work).await.map_err(|e| error::port(self.place(), "tidying up", &e))
        })
        .await
        .map(drop)
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.0.sessions.pool().close().await;
    }

    async fn connect(&self) -> Result<sqlx::postgres::PgConnection, PostgresError> {
        self.0.sessions.connect().await.map_err(|e| error::open(self.place(), &e))
    }

    /// Works on a connection of the pool. One that does not answer is not used again.
    async fn ask<T>(
        &self,
        doing: &'static str,
        work: impl AsyncFnOnce(&mut sqlx::postgres::PgConnection) -> Result<T, PortError>,
    ) -> Result<T, PortError> {
        let port = |e: sqlx::Error| error::port(self.place(), doing, &e);
        let mut connection = self.0.sessions.pool().acquire().await.map_err(port)?;
        match tokio::time::timeout(PATIENCE, work(&mut connection)).await {
            Ok(done) => done,
            Err(_) => {
                drop(connection.detach());
                Err(error::silent(self.place(), doing))
            }
        }
    }
}

impl Store for Postgres {
    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        self.ask("reading", async |db| read::snapshot(self.place(), &self.0.sessions, db).await).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        self.commit_in_task(changes).await
    }

    async fn query(&self, query: Query) -> Result<Answer, PortError> {
        // Asked every second: the lease's look knows already that there is nothing.
        if let Query::Requests { after } = query
            && self.0.requests.load(Ordering::SeqCst) <= after
        {
            return Ok(Answer::Requests(Vec::new()));
        }
        self.ask("reading", async |db| read::query(self.place(), &self.0.sessions, db, query).await).await
    }
}
