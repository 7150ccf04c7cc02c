//! The state, wherever the settings say that it is. Opening only: what is in it is the store's.

use anyhow::{Context, Result};
use berth_manifest::Input;
use berth_model::access::Token;
use berth_model::config::{Config, StatePlace};
use berth_model::event::Event;
use berth_model::stack::Origin;
use berth_ports::{Answer, Change, PortError, Query, Snapshot, Store};
use berth_store::{Memory, OpenError, Postgres, Sqlite};

/// The state store.
#[derive(Clone)]
pub enum AnyStore {
    /// A SQLite file.
    File(Sqlite),
    /// A PostgreSQL database.
    Database(Postgres),
    /// Memory, where nothing is to be kept.
    Memory(Memory),
}

impl AnyStore {
    /// Opens it to write, and makes it where it is absent.
    ///
    /// # Errors
    /// It cannot be opened; what to do is said.
    pub async fn open(config: &Config) -> Result<Self> {
        Ok(match &config.state {
            StatePlace::Sqlite(path) => Self::File(Sqlite::open(path, crate::out::now()).await?),
            StatePlace::Postgres(url) => Self::Database(Postgres::open(url.value.expose()).await?),
        })
    }

    /// Opens it to read. `None`: there is none yet.
    ///
    /// # Errors
    /// It cannot be opened; what to do is said.
    pub async fn open_to_read(config: &Config) -> Result<Option<Self>> {
        let path = match &config.state {
            StatePlace::Sqlite(path) => path,
            StatePlace::Postgres(url) => {
                return Ok(Some(Self::Database(Postgres::existing(url.value.expose()).await?)));
            }
        };
        match Sqlite::open_read_only(path).await {
            Ok(store) => Ok(Some(Self::File(store))),
            Err(OpenError::Missing { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Lets go of it.
    pub async fn close(&self) {
        match self {
            Self::File(store) => store.close().await,
            Self::Database(store) => store.close().await,
            Self::Memory(_) => {}
        }
    }

    /// Events after this number, oldest first; the newest `limit` where there are more.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, PortError> {
        match self.query(Query::Events { after, key: None, limit }).await? {
            Answer::Events(events) => Ok(events),
            _ => Ok(Vec::new()),
        }
    }

    /// All tokens.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn tokens(&self) -> Result<Vec<Token>, PortError> {
        match self.query(Query::Tokens).await? {
            Answer::Tokens(all) => Ok(all),
            _ => Ok(Vec::new()),
        }
    }

    /// Rows that ask for something, as manifests.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn rows(&self) -> Result<Vec<Input>> {
        let Self::Database(store) = self else {
            return Ok(Vec::new());
        };
        let found = store.rows(None).await.context("the rows cannot be read")?;
        Ok(found.rows.into_iter().filter_map(|row| input(row).1).collect())
    }
}

/// A row as a manifest, with its key.
#[must_use]
pub fn input(row: berth_store::Row) -> (String, Option<Input>) {
    let generation = std::num::NonZeroU64::new(row.generation);
    let input = row.manifest.map(|text| {
        let bytes = text.into_bytes().into();
        Input { file: format!("{}{}", Origin::ROW, row.key).into(), bytes, generation }
    });
    (row.key, input)
}

/// Where the state is, in words. Never a URL.
#[must_use]
pub fn place(config: &Config) -> String {
    match &config.state {
        StatePlace::Sqlite(path) => path.display().to_string(),
        StatePlace::Postgres(_) => "the database".to_owned(),
    }
}

impl Store for AnyStore {
    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        match self {
            Self::File(s) => s.snapshot().await,
            Self::Database(s) => s.snapshot().await,
            Self::Memory(s) => s.snapshot().await,
        }
    }
    async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        match self {
            Self::File(s) => s.commit(changes).await,
            Self::Database(s) => s.commit(changes).await,
            Self::Memory(s) => s.commit(changes).await,
        }
    }
    async fn query(&self, query: Query) -> Result<Answer, PortError> {
        match self {
            Self::File(s) => s.query(query).await,
            Self::Database(s) => s.query(query).await,
            Self::Memory(s) => s.query(query).await,
        }
    }
}
