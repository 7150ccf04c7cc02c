//! Rows as values. Every answer comes from one instant: a writer beside it changes nothing of it.

use super::error::{self, MOVE_AWAY};
use crate::value::{self, app_column, signed, unsigned};
use berth_model::Time;
use berth_model::access::{Audit, Token};
use berth_model::hash::Hash;
use berth_model::ids::{AppName, Key, StackName};
use berth_model::record::Version;
use berth_ports::{Answer, PortError, Query, SecretRow, Snapshot};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use sqlx::sqlite::{SqliteConnection, SqlitePool, SqliteRow};
use sqlx::{Connection, Row};
use std::path::Path;

/// Rows come one by one: all of a large table at once would be twice its size in memory, and a process keeps much of
/// what it once had.
struct Reader<'a> {
    file: File<'a>,
    db: &'a mut SqliteConnection,
}

/// The file, named in every error.
#[derive(Clone, Copy)]
struct File<'a>(&'a Path);

pub(super) async fn snapshot(path: &Path, pool: &SqlitePool) -> Result<Snapshot, PortError> {
    let port = |e: sqlx::Error| error::port(path, "reading", &e);
    let mut connection = pool.acquire().await.map_err(port)?;
    // One transaction: the records and the events must be of one instant.
    let mut transaction = connection.begin().await.map_err(port)?;
    let mut reader = Reader { file: File(path), db: &mut transaction };

    let meta = sqlx::query(
        "select made, request_done, (select coalesce(max(id), 0) from events), (select coalesce(max(id), 0) from runs) \
         from meta",
    )
    .fetch_one(&mut *reader.db)
    .await
    .map_err(port)?;
    let number = |column: usize| meta.try_get::<i64, _>(column).map_err(port);
    let (made, request, event, run) = (number(0)?, number(1)?, number(2)?, number(3)?);

    let record = |file: File<'_>, row: &SqliteRow| {
        let key: String = file.get(row, 0)?;
        let record = file.body(row, 1, &key)?;
        Ok((Key::parse(&key).ok_or_else(|| file.unreadable(&key, "it is not a name"))?, record))
    };
    let records = reader.each(sqlx::query("select key, body from records order by key"), record).await?;
    // The engine's order is the key's, in which projects and stacks come as they do here.
    let snapshot = Snapshot {
        records,
        intents: reader.bodies(sqlx::query("select op, body from intents order by op")).await?,
        statuses: reader.statuses().await?,
        secrets: reader.secrets().await?,
        last_event: unsigned(event),
        last_run: unsigned(run),
        last_request: unsigned(request),
        made: Time(made),
    };
    transaction.commit().await.map_err(port)?;
    Ok(snapshot)
}

pub(super) async fn query(path: &Path, pool: &SqlitePool, query: Query) -> Result<Answer, PortError> {
    let mut connection = pool.acquire().await.map_err(|e| error::port(path, "reading", &e))?;
    let mut reader = Reader { file: File(path), db: &mut connection };
    match query {
        Query::Events { after, key, limit } => {
            let statement = match key {
                None => sqlx::query(
                    "select id, body from (select id, body from events where id > ? order by id desc limit ?) order by id",
                )
                .bind(signed(after))
                .bind(i64::from(limit)),
                Some(key) => sqlx::query(
                    "select id, body from (select id, body from events where id > ? and key = ? \
                     order by id desc limit ?) order by id",
                )
                .bind(signed(after))
                .bind(key.to_string())
                .bind(i64::from(limit)),
            };
            reader.bodies(statement).await.map(Answer::Events)
        }
        Query::Runs { key, limit } => reader
            .bodies(
                sqlx::query("select id, body from runs where key = ? order by id desc limit ?")
                    .bind(key.to_string())
                    .bind(i64::from(limit)),
            )
            .await
            .map(Answer::Runs),
        Query::Versions { stack } => reader.versions(&stack).await.map(Answer::Versions),
        Query::Requests { after } => reader.requests(after).await.map(Answer::Requests),
        Query::Secrets => reader.secrets().await.map(Answer::Secrets),
        Query::Statuses => reader.statuses().await.map(Answer::Statuses),
        Query::Status(key) => {
            let statement = sqlx::query("select key, body from statuses where key = ?");
            reader.bodies(statement.bind(key.to_string())).await.map(Answer::Statuses)
        }
        Query::Record(key) => {
            let statement = sqlx::query("select key, body from records where key = ?");
            reader.bodies(statement.bind(key.to_string())).await.map(|mut all| Answer::Record(all.pop()))
        }
        Query::Token(hash) => {
            let statement =
                sqlx::query("select name, tenant, role, hash, made, expires from tokens where hash = ?");
            reader.tokens(statement.bind(hash.0.to_vec())).await.map(Answer::Tokens)
        }
        Query::Tokens => {
            let statement =
                sqlx::query("select name, tenant, role, hash, made, expires from tokens order by name");
            reader.tokens(statement).await.map(Answer::Tokens)
        }
        Query::Audit { key, tenant, limit } => {
            let statement = sqlx::query(
                "select at, who, what, key, tenant, generation, outcome from audit \
                 where (?1 is null or key = ?1) and (?2 is null or tenant = ?2) order by id desc limit ?3",
            );
            reader.audit(statement.bind(key).bind(tenant).bind(i64::from(limit))).await.map(Answer::Audit)
        }
    }
}

type Statement = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

impl Reader<'_> {
    async fn each<T>(
        &mut self,
        statement: Statement,
        read: impl Fn(File<'_>, &SqliteRow) -> Result<T, PortError>,
    ) -> Result<Vec<T>, PortError> {
        let file = self.file;
        let mut rows = statement.fetch(&mut *self.db);
        let mut all = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|e| file.port(&e))? {
            all.push(read(file, &row)?);
        }
        Ok(all)
    }

    /// The second column of each row.
    async fn bodies<T: DeserializeOwned>(&mut self, statement: Statement) -> Result<Vec<T>, PortError> {
        let read = |file: File<'_>, row: &SqliteRow| {
            // Where a body does not read, its row is named.
            let name =
                row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
            file.body(row, 1, &name.map_err(|e| file.port(&e))?)
        };
        self.each(statement, read).await
    }

    async fn statuses<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, PortError> {
        self.bodies(sqlx::query("select key, body from statuses order by key")).await
    }

    async fn secrets(&mut self) -> Result<Vec<SecretRow>, PortError> {
        let statement = sqlx::query(
            "select stack, app, name, version, at, sealed from secrets order by stack, app, name",
        );
        let read = |file: File<'_>, row: &SqliteRow| {
            let app: String = file.get(row, 1)?;
            let row = SecretRow {
                stack: file.get(row, 0)?,
                app: file.app(&app)?,
                name: file.get(row, 2)?,
                version: file.get(row, 3)?,
                at: Time(file.get(row, 4)?),
                sealed: file.get(row, 5)?,
            };
            debug_assert_eq!(app_column(row.app.as_ref()), app);
            Ok(row)
        };
        self.each(statement, read).await
    }

    async fn tokens(&mut self, statement: Statement) -> Result<Vec<Token>, PortError> {
        let read = |file: File<'_>, row: &SqliteRow| {
            let (name, role): (String, String) = (file.get(row, 0)?, file.get(row, 2)?);
            let (tenant, hash): (Option<String>, Vec<u8>) = (file.get(row, 1)?, file.get(row, 3)?);
            value::token(name.clone(), tenant, &role, &hash, file.get(row, 4)?, file.get(row, 5)?)
                .map_err(|why| file.unreadable(&name, why))
        };
        self.each(statement, read).await
    }

    async fn audit(&mut self, statement: Statement) -> Result<Vec<Audit>, PortError> {
        let read = |file: File<'_>, row: &SqliteRow| {
            Ok(Audit {
                at: Time(file.get(row, 0)?),
                who: file.get(row, 1)?,
                what: file.get(row, 2)?,
                key: file.get(row, 3)?,
                tenant: file.get(row, 4)?,
                generation: file.get::<Option<i64>>(row, 5)?.map(unsigned),
                outcome: file.get(row, 6)?,
            })
        };
        self.each(statement, read).await
    }

    async fn versions(&mut self, stack: &StackName) -> Result<Vec<Version>, PortError> {
        let statement = sqlx::query(
            "select app, generation, hash, at, image, sealed from versions where stack = ? order by number desc",
        )
        .bind(stack.to_string());
        let read = |file: File<'_>, row: &SqliteRow| {
            let (app, hash): (String, String) = (file.get(row, 0)?, file.get(row, 2)?);
            Ok(Version {
                stack: stack.clone(),
                app: file.app(&app)?.ok_or_else(|| file.unreadable(stack.as_str(), "a version of no app"))?,
                hash: Hash::parse(&hash).ok_or_else(|| file.unreadable(&hash, "it is not a hash"))?,
                generation: unsigned(file.get(row, 1)?),
                at: Time(file.get(row, 3)?),
                image: file.get(row, 4)?,
                sealed: file.get(row, 5)?,
            })
        };
        self.each(statement, read).await
    }

    async fn requests(&mut self, after: u64) -> Result<Vec<(u64, berth_model::event::Request)>, PortError> {
        let statement = sqlx::query("select number, body from requests where number > ? order by number")
            .bind(signed(after));
        let read = |file: File<'_>, row: &SqliteRow| {
            let number: i64 = file.get(row, 0)?;
            Ok((unsigned(number), file.body(row, 1, &number.to_string())?))
        };
        self.each(statement, read).await
    }
}

impl File<'_> {
    fn body<T: DeserializeOwned>(self, row: &SqliteRow, column: usize, name: &str) -> Result<T, PortError> {
        let body: &str = row.try_get(column).map_err(|e| self.port(&e))?;
        serde_json::from_str(body).map_err(|e| self.unreadable(name, &e.to_string()))
    }

    fn get<'r, T>(self, row: &'r SqliteRow, column: usize) -> Result<T, PortError>
    where
        T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>,
    {
        row.try_get(column).map_err(|e| self.port(&e))
    }

    fn app(self, text: &str) -> Result<Option<AppName>, PortError> {
        if text.is_empty() {
            return Ok(None);
        }
        AppName::new(text).map(Some).map_err(|e| self.unreadable(text, &e.to_string()))
    }

    fn port(self, error: &sqlx::Error) -> PortError {
        error::port(self.0, "reading", error)
    }

    fn unreadable(self, name: &str, why: &str) -> PortError {
        PortError::Refused {
            why: format!("a row of {} ({name}) cannot be read: {why}; {MOVE_AWAY}", self.0.display()),
        }
    }
}
