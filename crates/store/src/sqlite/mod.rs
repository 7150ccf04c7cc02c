//! The store in SQLite: one file, one writer, readers beside it.
//!
//! What `commit` acknowledged survives a crash of the process, of the system and of the power. No statement here is
//! put together from text.

mod error;
mod file;
mod group;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod write;

pub use error::OpenError;
pub use file::Lock;

use crate::limit::Limits;
use berth_model::Time;
use berth_ports::{Answer, Change, PortError, Query, Snapshot, Store};
use schema::Found;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{ConnectOptions, Connection};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a commit waits for another process to finish its own.
const BUSY: Duration = Duration::from_secs(5);

/// Readers of one process: the status API and the engine ask little.
const READERS: u32 = 3;

/// A store in a SQLite file. Clones share it.
#[derive(Clone)]
pub struct Sqlite(Arc<Inner>);

struct Inner {
    path: PathBuf,
    /// The file that was opened: whoever moves it away under us must hear of it.
    identity: Option<(u64, u64)>,
    limits: Limits,
    /// One writer: two of one process would only wait for each other. `None` where it was opened for reading.
    writer: Option<Mutex<SqliteConnection>>,
    /// Commits that wait for the writer.
    together: group::Waiting,
    readers: SqlitePool,
    /// The epoch this process leads under; 0 where it does not lead.
    epoch: AtomicU64,
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sqlite({})", self.0.path.display())
    }
}

impl Sqlite {
    /// Opens the file, makes it where it is absent, and brings it up to date. `now` becomes the store's birthday if it
    /// is new.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do. A file that is not ours is not touched.
    pub async fn open(path: &Path, now: Time) -> Result<Self, OpenError> {
        Self::open_with(path, now, Limits::STANDARD).await
    }

    /// As [`Sqlite::open`], keeping less history, or more.
    ///
    /// # Errors
    /// As [`Sqlite::open`].
    pub async fn open_with(path: &Path, now: Time, limits: Limits) -> Result<Self, OpenError> {
        file::make(path)?;
        let found = look(path).await?;
        // Two processes that change the schema at once would both fail, and under a running daemon of another version
        // it must not change at all.
        let lock = if found == Found::Current { None } else { Some(file::lock(path)?) };

        let sql = |e: sqlx::Error| error::open(path, &e);
        let options = options(path)
            .journal_mode(SqliteJournalMode::Wal)
            // NORMAL would write the log to disk at checkpoints only: after a power cut the last commits are gone, and
            // with them intents whose creates were sent. FULL writes it before `commit` answers.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true);
        let mut writer = options.connect().await.map_err(sql)?;
        if lock.is_some() {
            schema::migrate(path, &mut writer).await?;
        }
        sqlx::query("insert into meta (one, made) values (1, ?) on conflict do nothing")
            .bind(now.0)
            .execute(&mut writer)
            .await
            .map_err(sql)?;
        drop(lock);
        Ok(Self::of(path, Some(writer), limits))
    }

    /// Opens a file that is there, for reading. Beside a running daemon, too.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way and what to do.
    pub async fn open_read_only(path: &Path) -> Result<Self, OpenError> {
        if !path.try_exists().unwrap_or(true) {
            return Err(OpenError::Missing { path: path.to_owned() });
        }
        match look(path).await? {
            Found::Current => Ok(Self::of(path, None, Limits::STANDARD)),
            Found::Empty => Err(OpenError::Missing { path: path.to_owned() }),
            Found::Behind(have) => {
                Err(OpenError::Older { path: path.to_owned(), have, known: schema::known() })
            }
        }
    }

    fn of(path: &Path, writer: Option<SqliteConnection>, limits: Limits) -> Self {
        let readers = SqlitePoolOptions::new()
            .max_connections(READERS)
            .acquire_timeout(BUSY)
            .connect_lazy_with(options(path).read_only(true));
        Self(Arc::new(Inner {
            path: path.to_owned(),
            identity: file::identity(path),
            limits,
            writer: writer.map(Mutex::new),
            together: group::Waiting::default(),
            readers,
            epoch: AtomicU64::new(0),
        }))
    }

    /// Makes this process the daemon of the file: takes the lock, looks the file through for damage, and begins a new
    /// epoch, under which this store commits from now on. Any earlier daemon's commits are refused.
    ///
    /// CLI commands do without: they only read, give secrets and leave requests.
    ///
    /// # Errors
    /// [`OpenError::Held`] names the daemon that has it.
    pub async fn lock(&self) -> Result<Lock, OpenError> {
        let path = &self.0.path;
        let lock = file::lock(path)?;
        let sql = |e: sqlx::Error| error::open(path, &e);
        let Some(writer) = &self.0.writer else {
            let what = "it was opened for reading only; a daemon opens it for writing".to_owned();
            return Err(OpenError::Refused { path: path.clone(), what });
        };
        let mut writer = writer.lock().await;
        let health: String =
            sqlx::query_scalar("pragma quick_check(1)").fetch_one(&mut *writer).await.map_err(sql)?;
        if health != "ok" {
            return Err(OpenError::Damaged { path: path.clone(), what: health });
        }
        let epoch: i64 = sqlx::query_scalar("update meta set epoch = epoch + 1 returning epoch")
            .fetch_one(&mut *writer)
            .await
            .map_err(sql)?;
        self.0.epoch.store(u64::try_from(epoch).unwrap_or(0), Ordering::SeqCst);
        Ok(lock)
    }

    /// A number that differs whenever another process has written since: one look at shared memory, no statement.
    ///
    /// # Errors
    /// As any reading.
    pub async fn data_version(&self) -> Result<i64, PortError> {
        let port = |e: sqlx::Error| error::port(&self.0.path, "looking for changes", &e);
        let statement = sqlx::query_scalar("pragma data_version");
        match &self.0.writer {
            // The number counts for one connection only; our own commits do not move it.
            Some(writer) => statement.fetch_one(&mut *writer.lock().await).await.map_err(port),
            None => {
                Err(PortError::Unsupported { what: "watching a store that is opened for reading".to_owned() })
            }
        }
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// Folds the log into the file, so that the file alone is the whole store, and closes the readers. Not needed for
    /// safety: what was committed is there anyway.
    pub async fn close(&self) {
        self.0.readers.close().await;
        if let Some(writer) = &self.0.writer {
            let done =
                sqlx::query("pragma wal_checkpoint(truncate)").execute(&mut *writer.lock().await).await;
            if let Err(e) = done {
                tracing::debug!(path = %self.0.path.display(), "the log was not folded in: {e}");
            }
        }
    }

    /// SQLite goes on writing to a file that was moved or deleted, and all of it would be lost without a word.
    fn still_there(&self) -> Result<(), PortError> {
        if self.0.identity.is_some() && file::identity(&self.0.path) != self.0.identity {
            return Err(PortError::Retry {
                after: None,
                why: format!(
                    "the state file {} was moved away or replaced while Berth runs: nothing more is written to it; \
                     restart Berth, or put the file back",
                    self.0.path.display()
                ),
            });
        }
        Ok(())
    }
}

impl Store for Sqlite {
    async fn snapshot(&self) -> Result<Snapshot, PortError> {
        read::snapshot(&self.0.path, &self.0.readers).await
    }

    async fn commit(&self, changes: Vec<Change>) -> Result<(), PortError> {
        let path = &self.0.path;
        let Some(writer) = &self.0.writer else {
            return Err(PortError::Refused {
                why: format!("{} was opened for reading only: nothing was written", path.display()),
            });
        };
        let changes = Arc::new(changes);
        let mut told = self.0.together.join(&changes);
        loop {
            tokio::select! {
                biased;
                answer = &mut told => match answer {
                    Ok(answer) => return answer,
                    // Who had taken ours along was cancelled before its commit: nothing was written.
                    Err(_) => told = self.0.together.join(&changes),
                },
                mut writer = writer.lock() => {
                    self.still_there()?;
                    let epoch = self.0.epoch.load(Ordering::SeqCst);
                    group::write(path, &mut writer, &self.0.together, epoch, &self.0.limits).await;
                }
            }
        }
    }

    async fn query(&self, query: Query) -> Result<Answer, PortError> {
        read::query(&self.0.path, &self.0.readers, query).await
    }
}

fn options(path: &Path) -> SqliteConnectOptions {
    // Never made by SQLite itself: it would be open to others for a moment.
    SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        // In KiB. What is read often is in the engine's memory: pages that every connection keeps would be a third copy.
        .pragma("cache_size", "-512")
        .disable_statement_logging()
}

async fn look(path: &Path) -> Result<Found, OpenError> {
    let sql = |e: sqlx::Error| error::open(path, &e);
    let mut db = options(path).read_only(true).connect().await.map_err(sql)?;
    let found = schema::look(path, &mut db).await?;
    db.close().await.map_err(sql)?;
    Ok(found)
}
