//! Rows as values. Every answer comes from one instant: a writer beside it changes nothing of it.

use super::error;
use super::session::Sessions;
use crate::value::{self, signed, unsigned};
use berth_model::Time;
use berth_model::access::{Audit, Token};
use berth_model::hash::Hash;
use berth_model::ids::{AppName, Key, StackName};
use berth_model::record::Version;
use berth_ports::{Answer, PortError, Query, SecretRow, Snapshot};
use futures::TryStreamExt;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgArguments, PgConnection, PgRow};
use sqlx::{Postgres, Row};

/// Rows come one by one: all of a large table at once would be twice its size in memory, and a process keeps much of
/// what it once had.
struct Reader<'a> {
    place: Place<'a>,
    db: &'a mut PgConnection,
    /// Statements may be known to the server by names.
    names: bool,
}

/// The database, named in every error.
#[derive(Clone, Copy)]
pub(super) struct Place<'a>(pub(super) &'a str);

pub(super) async fn snapshot(
    place: &str,
    sessions: &Sessions,
    db: &mut PgConnection,
) -> Result<Snapshot, PortError> {
    let port = |e: sqlx::Error| error::port(place, "reading", &e);
    // One snapshot: the records and the events must be of one instant.
    let mut transaction = sessions.begin_read(db).await.map_err(port)?;
    let names = sessions.names();
    let mut reader = Reader { place: Place(place), db: &mut transaction, names };

    let meta = sqlx::query(
        "select made, request_done, (select coalesce(max(id), 0) from berth.events), \
         (select coalesce(max(id), 0) from berth.runs) from berth.meta",
    )
    .persistent(names)
    .fetch_one(&mut *reader.db)
    .await
    .map_err(port)?;
    let number = |column: usize| meta.try_get::<i64, _>(column).map_err(port);
    let (made, request, event, run) = (number(0)?, number(1)?, number(2)?, number(3)?);

    let record = |place: Place<'_>, row: &PgRow| {
        let key: String = place.get(row, 0)?;
        let record = place.body(row, 1, &key)?;
        Ok((Key::parse(&key).ok_or_else(|| place.unreadable(&key, "it is not a name"))?, record))
    };
    // In the order of bytes, as the engine's is.
    let records = sqlx::query("select key, body::text from berth.records order by key collate \"C\"");
    let snapshot = Snapshot {
        records: reader.each(records, record).await?,
        intents: reader
            .bodies(sqlx::query("select op, body::text from berth.intents order by op collate \"C\""))
            .await?,
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

pub(super) async fn query(
    place: &str,
    sessions: &Sessions,
    db: &mut PgConnection,
    query: Query,
) -> Result<Answer, PortError> {
    if !sessions.is_pooled() {
        return Reader { place: Place(place), db, names: true }.answer(query).await;
    }
    let port = |e: sqlx::Error| error::port(place, "reading", &e);
    let mut transaction = sessions.begin_read(db).await.map_err(port)?;
    let answer = Reader { place: Place(place), db: &mut transaction, names: false }.answer(query).await?;
    transaction.commit().await.map_err(port)?;
    Ok(answer)
}

type Statement = sqlx::query::Query<'static, Postgres, PgArguments>;

impl Reader<'_> {
    async fn answer(&mut self, query: Query) -> Result<Answer, PortError> {
        let reader = self;
        match query {
            Query::Events { after, key, limit } => {
                let statement = match key {
                None => sqlx::query(
                    "select id, body::text from (select id, body from berth.events where id > $1 \
                     order by id desc limit $2) e order by id",
                )
                .bind(signed(after))
                .bind(i64::from(limit)),
                Some(key) => sqlx::query(
                    "select id, body::text from (select id, body from berth.events where id > $1 and key = $3 \
                     order by id desc limit $2) e order by id",
                )
                .bind(signed(after))
                .bind(i64::from(limit))
                .bind(key.to_string()),
            };
                reader.bodies(statement).await.map(Answer::Events)
            }
            Query::Runs { key, limit } => reader
                .bodies(
                    sqlx::query(
                        "select id, body::text from berth.runs where key = $1 order by id desc limit $2",
                    )
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
                let statement = sqlx::query("select key, body::text from berth.statuses where key = $1");
                reader.bodies(statement.bind(key.to_string())).await.map(Answer::Statuses)
            }
            Query::Record(key) => {
                let statement = sqlx::query("select key, body::text from berth.records where key = $1");
                reader.bodies(statement.bind(key.to_string())).await.map(|mut all| Answer::Record(all.pop()))
            }
            Query::Token(hash) => {
                let statement = sqlx::query(
                    "select name, tenant, role, hash, made, expires from berth.tokens where hash = $1",
                );
                reader.tokens(statement.bind(hash.0.to_vec())).await.map(Answer::Tokens)
            }
            Query::Tokens => {
                let statement = sqlx::query(
                    "select name, tenant, role, hash, made, expires from berth.tokens order by name collate \"C\"",
                );
                reader.tokens(statement).await.map(Answer::Tokens)
            }
            Query::Audit { key, tenant, limit } => {
                let statement = sqlx::query(
                    "select (extract(epoch from at) * 1000)::bigint, who, what, key, tenant, generation, outcome \
                 from berth.audit_log where ($1::text is null or key = $1) and ($2::text is null or tenant = $2) \
                 order by id desc limit $3",
                );
                reader.audit(statement.bind(key).bind(tenant).bind(i64::from(limit))).await.map(Answer::Audit)
            }
        }
    }

    async fn each<T>(
        &mut self,
        statement: Statement,
        read: impl Fn(Place<'_>, &PgRow) -> Result<T, PortError>,
    ) -> Result<Vec<T>, PortError> {
        let place = self.place;
        let mut rows = statement.persistent(self.names).fetch(&mut *self.db);
        let mut all = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|e| place.port(&e))? {
            all.push(read(place, &row)?);
        }
        Ok(all)
    }

    /// The second column of each row.
    async fn bodies<T: DeserializeOwned>(&mut self, statement: Statement) -> Result<Vec<T>, PortError> {
        let read = |place: Place<'_>, row: &PgRow| {
            // Where a body does not read, its row is named.
            let name =
                row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
            place.body(row, 1, &name.map_err(|e| place.port(&e))?)
        };
        self.each(statement, read).await
    }

    async fn statuses<T: DeserializeOwned>(&mut self) -> Result<Vec<T>, PortError> {
        self.bodies(sqlx::query("select key, body::text from berth.statuses order by key collate \"C\""))
            .await
    }

    async fn secrets(&mut self) -> Result<Vec<SecretRow>, PortError> {
        let statement = sqlx::query(
            "select stack, app, name, version, at, sealed from berth.secrets \
             order by stack collate \"C\", app collate \"C\", name collate \"C\"",
        );
        let read = |place: Place<'_>, row: &PgRow| {
            let (app, version): (String, i64) = (place.get(row, 1)?, place.get(row, 3)?);
            Ok(SecretRow {
                stack: place.get(row, 0)?,
                app: place.app(&app)?,
                name: place.get(row, 2)?,
                version: u32::try_from(version).map_err(|e| place.unreadable(&app, &e.to_string()))?,
                at: Time(place.get(row, 4)?),
                sealed: place.get(row, 5)?,
            })
        };
        self.each(statement, read).await
    }

    async fn tokens(&mut self, statement: Statement) -> Result<Vec<Token>, PortError> {
        let read = |place: Place<'_>, row: &PgRow| {
            let (name, role): (String, String) = (place.get(row, 0)?, place.get(row, 2)?);
            let (tenant, hash): (Option<String>, Vec<u8>) = (place.get(row, 1)?, place.get(row, 3)?);
            value::token(name.clone(), tenant, &role, &hash, place.get(row, 4)?, place.get(row, 5)?)
                .map_err(|why| place.unreadable(&name, why))
        };
        self.each(statement, read).await
    }

    async fn audit(&mut self, statement: Statement) -> Result<Vec<Audit>, PortError> {
        let read = |place: Place<'_>, row: &PgRow| {
            Ok(Audit {
                at: Time(place.get(row, 0)?),
                who: place.get(row, 1)?,
                what: place.get(row, 2)?,
                key: place.get(row, 3)?,
                tenant: place.get(row, 4)?,
                generation: place.get::<Option<i64>>(row, 5)?.map(unsigned),
                outcome: place.get(row, 6)?,
            })
        };
        self.each(statement, read).await
    }

    async fn versions(&mut self, stack: &StackName) -> Result<Vec<Version>, PortError> {
        let statement = sqlx::query(
            "select app, generation, hash, at, image, sealed from berth.versions \
             where stack = $1 order by number desc",
        )
        .bind(stack.to_string());
        let read = |place: Place<'_>, row: &PgRow| {
            let (app, hash): (String, String) = (place.get(row, 0)?, place.get(row, 2)?);
            Ok(Version {
                stack: stack.clone(),
                app: place
                    .app(&app)?
                    .ok_or_else(|| place.unreadable(stack.as_str(), "a version of no app"))?,
                hash: Hash::parse(&hash).ok_or_else(|| place.unreadable(&hash, "it is not a hash"))?,
                generation: unsigned(place.get(row, 1)?),
                at: Time(place.get(row, 3)?),
                image: place.get(row, 4)?,
                sealed: place.get(row, 5)?,
            })
        };
        self.each(statement, read).await
    }

    async fn requests(&mut self, after: u64) -> Result<Vec<(u64, berth_model::event::Request)>, PortError> {
        let statement =
            sqlx::query("select number, body::text from berth.requests where number > $1 order by number")
                .bind(signed(after));
        let read = |place: Place<'_>, row: &PgRow| {
            let number: i64 = place.get(row, 0)?;
            Ok((unsigned(number), place.body(row, 1, &number.to_string())?))
        };
        self.each(statement, read).await
    }
}

impl Place<'_> {
    fn body<T: DeserializeOwned>(self, row: &PgRow, column: usize, name: &str) -> Result<T, PortError> {
        let body: &str = row.try_get(column).map_err(|e| self.port(&e))?;
        serde_json::from_str(body).map_err(|e| self.unreadable(name, &e.to_string()))
    }

    pub(super) fn get<'r, T>(self, row: &'r PgRow, column: usize) -> Result<T, PortError>
    where
        T: sqlx::Decode<'r, Postgres> + sqlx::Type<Postgres>,
    {
        row.try_get(column).map_err(|e| self.port(&e))
    }

    fn app(self, text: &str) -> Result<Option<AppName>, PortError> {
        if text.is_empty() {
            return Ok(None);
        }
        AppName::new(text).map(Some).map_err(|e| self.unreadable(text, &e.to_string()))
    }

    pub(super) fn port(self, error: &sqlx::Error) -> PortError {
        error::port(self.0, "reading", error)
    }

    pub(super) fn unreadable(self, name: &str, why: &str) -> PortError {
        PortError::Refused {
            why: format!(
                "a row of the database {} ({name}) cannot be read: {why}; take it away, and Berth rebuilds what it \
                 needs from the marks",
                self.0
            ),
        }
    }
}
