//! One transaction, from the question whether this daemon leads to the answer whether it took effect. Where the answer
//! is lost, the server is asked what became of the transaction; only where that cannot be told is it unknown.

use super::{PATIENCE, Postgres, error, write};
use crate::value::number;
use berth_ports::{Change, PortError};
use sqlx::Row;
use sqlx::postgres::PgConnection;
use std::time::Duration;
use tokio::time::Instant;

/// How long the server is asked what became of a transaction. It ends one that does nothing after two seconds.
const INQUIRY: Duration = Duration::from_secs(6);

/// Between two questions.
const AGAIN: Duration = Duration::from_millis(100);

/// A transaction, by its number and the run of the server that gave it.
#[derive(Debug, Clone)]
pub(super) struct Transacted {
    number: String,
    run: String,
}

impl Postgres {
    /// All changes, or none. In a task of its own: between two statements nothing waits for what else its caller is
    /// about, since the server ends what it waits for too long.
    pub(super) async fn commit_in_task(&self, changes: Vec<Change>) -> Result<(), PortError> {
        let (store, epoch) = (self.clone(), self.epoch());
        let task = tokio::spawn(async move { store.commit_all(epoch, &changes).await });
        match task.await {
            Ok(done) => done,
            Err(broken) => Err(error::unknown(self.place(), &broken.to_string())),
        }
    }

    async fn commit_all(&self, epoch: u64, changes: &[Change]) -> Result<(), PortError> {
        let place = self.place();
        let port = |e: sqlx::Error| error::port(place, "writing", &e);
        let mut connection = self.0.sessions.pool().acquire().await.map_err(port)?;
        let mut sent = None;
        let done =
            tokio::time::timeout(PATIENCE, self.send(&mut connection, epoch, changes, &mut sent)).await;
        let failed = match done {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(Failed::Told(error))) => return Err(error),
            Ok(Err(Failed::AtCommit(e))) => match error::kind(&e) {
                error::Kind::Away => e.to_string(),
                _ => return Err(port(e)),
            },
            Err(_) if sent.is_none() => {
                drop(connection.detach());
                return Err(error::silent(place, "writing"));
            }
            Err(_) => "no answer came in time".to_owned(),
        };
        drop(connection.detach());
        match sent {
            Some(sent) => self.outcome(&sent, &failed).await,
            None => Err(error::unknown(place, &failed)),
        }
    }

    async fn send(
        &self,
        db: &mut PgConnection,
        epoch: u64,
        changes: &[Change],
        sent: &mut Option<Transacted>,
    ) -> Result<(), Failed> {
        let (place, sessions) = (self.place(), &self.0.sessions);
        let begun = sessions.begin(db).await;
        let mut transaction = begun.map_err(|e| Failed::Told(error::port(place, "writing", &e)))?;
        let transacted = self.fence(&mut transaction, epoch).await.map_err(Failed::Told)?;
        write::all(place, &mut transaction, sessions.names(), changes, &self.0.limits)
            .await
            .map_err(Failed::Told)?;
        *sent = Some(transacted);
        transaction.commit().await.map_err(Failed::AtCommit)
    }

    /// Refuses where another daemon took the lead meanwhile, and keeps one from taking it until the transaction ends.
    /// What is acknowledged has to last, whatever the server was told about its commits in general.
    pub(super) async fn fence(&self, db: &mut PgConnection, epoch: u64) -> Result<Transacted, PortError> {
        let port = |e: sqlx::Error| error::port(self.place(), "writing", &e);
        let row = sqlx::query(
            "select case when $1 = 0 then true else berth.leads($1) end, pg_current_xact_id()::text, \
             pg_postmaster_start_time()::text, case current_setting('synchronous_commit') when 'off' \
             then set_config('synchronous_commit', 'on', true) end",
        )
        .bind(number(epoch)?)
        .persistent(self.0.sessions.names())
        .fetch_one(db)
        .await
        .map_err(port)?;
        if row.try_get::<Option<bool>, _>(0).map_err(port)? == Some(true) {
            return Ok(Transacted {
                number: row.try_get(1).map_err(port)?,
                run: row.try_get(2).map_err(port)?,
            });
        }
        Err(PortError::Conflict(format!(
            "this daemon led under epoch {epoch} and another leads now: nothing was written"
        )))
    }

    /// What became of a transaction whose commit was sent and not answered. A number means something to the run of the
    /// server that gave it: after a restart it may be another's.
    pub(super) async fn outcome(&self, sent: &Transacted, failed: &str) -> Result<(), PortError> {
        let place = self.place();
        let until = Instant::now() + INQUIRY;
        loop {
            let told = tokio::time::timeout_at(until, self.ask_outcome(sent)).await;
            match told {
                Ok(Ok(Outcome::Committed)) => return Ok(()),
                Ok(Ok(Outcome::Aborted)) => {
                    let why =
                        format!("the database {place} did not take a commit ({failed}); nothing was written");
                    return Err(PortError::Retry { after: None, why });
                }
                Ok(Ok(Outcome::Unknown)) | Err(_) => return Err(error::unknown(place, failed)),
                Ok(Ok(Outcome::Open) | Err(_)) => tokio::time::sleep(AGAIN).await,
            }
        }
    }

    pub(super) async fn ask_outcome(&self, sent: &Transacted) -> Result<Outcome, sqlx::Error> {
        let sessions = &self.0.sessions;
        let mut db = sessions.connect().await?;
        let statement = sqlx::query(
            "select case when pg_postmaster_start_time()::text = $2 then pg_xact_status($1::text::xid8) end",
        )
        .bind(&sent.number)
        .bind(&sent.run)
        .persistent(sessions.names());
        let row = sessions.single(&mut db, async |db| statement.fetch_one(db).await).await?;
        Ok(match row.try_get::<Option<&str>, _>(0)? {
            Some("committed") => Outcome::Committed,
            Some("aborted") => Outcome::Aborted,
            Some("in progress") => Outcome::Open,
            _ => Outcome::Unknown,
        })
    }
}

enum Failed {
    /// Before the commit was sent.
    Told(PortError),
    AtCommit(sqlx::Error),
}

#[derive(Debug)]
pub(super) enum Outcome {
    Committed,
    Aborted,
    Open,
    Unknown,
}
