//! Changes as statements, inside the caller's transaction. Trims history on the way, so that no other task has to.

use super::error;
use crate::limit::Limits;
use crate::secret;
use crate::value::{self, app_column, number};
use berth_model::Time;
use berth_model::access::{Audit, Token};
use berth_model::ids::Key;
use berth_model::record::{Run, Version};
use berth_ports::{Change, PortError, SecretRow};
use serde::Serialize;
use sqlx::postgres::{PgArguments, PgConnection};
use sqlx::{Postgres, Row};
use std::collections::BTreeSet;

type Statement<'q> = sqlx::query::Query<'q, Postgres, PgArguments>;

/// Writes all changes in order.
pub(super) async fn all(
    place: &str,
    db: &mut PgConnection,
    names: bool,
    changes: &[Change],
    limits: &Limits,
) -> Result<(), PortError> {
    let mut writer = Writer { place, db, names, limits, events: false, runs_of: BTreeSet::new() };
    for change in changes {
        writer.one(change).await?;
    }
    writer.trim().await
}

struct Writer<'a> {
    place: &'a str,
    db: &'a mut PgConnection,
    /// Statements may be known to the server by names.
    names: bool,
    limits: &'a Limits,
    events: bool,
    runs_of: BTreeSet<&'a Key>,
}

impl<'a> Writer<'a> {
    async fn run(&mut self, statement: Statement<'_>) -> Result<(), PortError> {
        match statement.persistent(self.names).execute(&mut *self.db).await {
            Ok(_) => Ok(()),
            Err(e) => Err(error::port(self.place, "writing", &e)),
        }
    }

    async fn one(&mut self, change: &'a Change) -> Result<(), PortError> {
        match change {
            Change::Record(key, record) => {
                let statement = sqlx::query(
                    "insert into berth.records (key, body) values ($1, $2::text::jsonb) \
                     on conflict (key) do update set body = excluded.body",
                );
                self.run(statement.bind(key.to_string()).bind(json(record)?)).await
            }
            Change::Forget(key) => self.forget(key).await,
            Change::Intent(intent) => {
                let statement = sqlx::query(
                    "insert into berth.intents (op, body) values ($1, $2::text::jsonb) \
                     on conflict (op) do update set body = excluded.body",
                );
                self.run(statement.bind(intent.op.to_string()).bind(json(intent)?)).await
            }
            Change::Settled(op) => {
                self.run(sqlx::query("delete from berth.intents where op = $1").bind(op.to_string())).await
            }
            Change::Status(status) => {
                let statement = sqlx::query(
                    "insert into berth.statuses (key, body) values ($1, $2::text::jsonb) \
                     on conflict (key) do update set body = excluded.body",
                );
                self.run(statement.bind(status.key.to_string()).bind(json(status)?)).await
            }
            Change::Event(event) => {
                self.events = true;
                let statement = sqlx::query(
                    "insert into berth.events (id, key, body) values ($1, $2, $3::text::jsonb) \
                     on conflict (id) do update set key = excluded.key, body = excluded.body",
                );
                self.run(statement.bind(number(event.id)?).bind(event.key.to_string()).bind(json(event)?))
                    .await
            }
            Change::Run(run) => self.add_run(run).await,
            Change::Version(version) => self.add_version(version).await,
            Change::Secret(row) => self.give(row).await,
            Change::RemoveSecret { stack, app, name } => {
                let statement =
                    sqlx::query("delete from berth.secrets where stack = $1 and app = $2 and name = $3");
                self.run(statement.bind(stack).bind(app_column(app.as_ref())).bind(name)).await
            }
            Change::Request { at, request } => {
                let statement =
                    sqlx::query("insert into berth.requests (at, body) values ($1, $2::text::jsonb)");
                self.run(statement.bind(at.0).bind(json(request)?)).await
            }
            Change::RequestsDone(upto) => {
                let statement =
                    sqlx::query("update berth.meta set request_done = greatest(request_done, $1)");
                self.run(statement.bind(number(*upto)?)).await?;
                let statement = sqlx::query(
                    "delete from berth.requests r using berth.meta m \
                     where r.number <= m.request_done and r.number <= m.request_last - $1",
                );
                self.run(statement.bind(number(self.limits.requests)?)).await
            }
            Change::Token(token) => self.add_token(token).await,
            Change::RevokeToken(name) => {
                self.run(sqlx::query("delete from berth.tokens where name = $1").bind(name)).await
            }
            Change::Audit(entry) => self.add_audit(entry).await,
        }
    }

    async fn add_token(&mut self, token: &'a Token) -> Result<(), PortError> {
        let statement = sqlx::query(
            "insert into berth.tokens as t (name, tenant, role, hash, made, expires) values ($1, $2, $3, $4, $5, $6) \
             on conflict (name) do update set name = excluded.name where t.hash = excluded.hash",
        )
        .bind(&token.name)
        .bind(&token.tenant)
        .bind(token.role.as_str())
        .bind(&token.hash.0[..])
        .bind(token.made.0)
        .bind(token.expires.map(|t| t.0));
        let done = statement.persistent(self.names).execute(&mut *self.db).await;
        match done.map_err(|e| error::port(self.place, "making a token", &e))?.rows_affected() {
            0 => Err(secret::token_exists(&token.name)),
            _ => Ok(()),
        }
    }

    async fn add_audit(&mut self, entry: &'a Audit) -> Result<(), PortError> {
        let statement = sqlx::query(
            "insert into berth.audit_log (at, who, what, key, tenant, generation, outcome) \
             values (berth.at($1), $2, $3, $4, $5, $6, $7)",
        )
        .bind(entry.at.0)
        .bind(&entry.who)
        .bind(&entry.what)
        .bind(&entry.key)
        .bind(&entry.tenant)
        .bind(entry.generation.map(number).transpose()?)
        .bind(&entry.outcome);
        self.run(statement).await?;
        let statement =
            sqlx::query("delete from berth.audit_log where id <= (select max(id) from berth.audit_log) - $1");
        self.run(statement.bind(number(self.limits.audit)?)).await
    }

    async fn forget(&mut self, key: &Key) -> Result<(), PortError> {
        let text = key.to_string();
        self.run(sqlx::query("delete from berth.records where key = $1").bind(&text)).await?;
        self.run(sqlx::query("delete from berth.statuses where key = $1").bind(&text)).await?;
        if let Key::Stack(name) = key {
            self.run(sqlx::query("delete from berth.versions where stack = $1").bind(name.as_str())).await?;
        }
        // Everything outside is gone: now the row that asked for the removal may go, and its name is free.
        let statement = sqlx::query(
            "delete from berth.manifests where key = $1 and kind in ('Stack', 'Project') \
             and deletion_requested_at is not null",
        );
        self.run(statement.bind(&text)).await
    }

    async fn add_run(&mut self, run: &'a Run) -> Result<(), PortError> {
        self.runs_of.insert(&run.key);
        let statement = sqlx::query(
            "insert into berth.runs (id, key, body) values ($1, $2, $3::text::jsonb) \
             on conflict (id) do update set key = excluded.key, body = excluded.body",
        );
        self.run(statement.bind(number(run.id)?).bind(run.key.to_string()).bind(json(run)?)).await
    }

    async fn add_version(&mut self, version: &Version) -> Result<(), PortError> {
        let (stack, app) = (version.stack.as_str(), version.app.as_str());
        let generation = number(version.generation)?;
        // Taken away and written anew it has a new number: what passed the gate again is the newest again.
        let statement = sqlx::query(
            "delete from berth.versions where stack = $1 and app = $2 and generation = $3 and hash = $4",
        );
        self.run(statement.bind(stack).bind(app).bind(generation).bind(version.hash.to_string())).await?;
        let statement = sqlx::query(
            "insert into berth.versions (stack, app, generation, hash, at, image, sealed) \
             values ($1, $2, $3, $4, $5, $6, $7)",
        );
        let statement = statement.bind(stack).bind(app).bind(generation).bind(version.hash.to_string());
        self.run(statement.bind(version.at.0).bind(&version.image).bind(&version.sealed)).await?;
        let statement = sqlx::query(
            "delete from berth.versions where stack = $1 and app = $2 and number <= \
             (select number from berth.versions where stack = $1 and app = $2 order by number desc limit 1 offset $3)",
        );
        self.run(statement.bind(stack).bind(app).bind(number(self.limits.versions)?)).await
    }

    async fn give(&mut self, row: &SecretRow) -> Result<(), PortError> {
        let place = self.place;
        let port = |e: sqlx::Error| error::port(place, "giving a secret", &e);
        let app = app_column(row.app.as_ref());
        // Locked for this transaction, there or not: two that give the same secret at once go one after the other.
        let lock =
            sqlx::query("select pg_advisory_xact_lock(hashtextextended($1 || '/' || $2 || '/' || $3, 0))");
        self.run(lock.bind(&row.stack).bind(&app).bind(&row.name)).await?;
        let held =
            sqlx::query("select version, at from berth.secrets where stack = $1 and app = $2 and name = $3")
                .bind(&row.stack)
                .bind(&app)
                .bind(&row.name)
                .persistent(self.names)
                .fetch_optional(&mut *self.db)
                .await
                .map_err(port)?;
        let held = match held {
            Some(held) => {
                let version = held.try_get::<i64, _>(0).map_err(port)?;
                Some((u32::try_from(version).unwrap_or(u32::MAX), Time(held.try_get(1).map_err(port)?)))
            }
            None => None,
        };
        secret::may_write(held, row)?;
        let statement = sqlx::query(
            "insert into berth.secrets (stack, app, name, version, at, sealed) values ($1, $2, $3, $4, $5, $6) \
             on conflict (stack, app, name) do update \
             set version = excluded.version, at = excluded.at, sealed = excluded.sealed",
        );
        let statement = statement.bind(&row.stack).bind(app).bind(&row.name).bind(i64::from(row.version));
        self.run(statement.bind(row.at.0).bind(&row.sealed)).await
    }

    /// Numbers rise by one, so the newest so many are those above a number: no counting.
    async fn trim(&mut self) -> Result<(), PortError> {
        if self.events {
            let statement =
                sqlx::query("delete from berth.events where id <= (select max(id) from berth.events) - $1");
            self.run(statement.bind(number(self.limits.events)?)).await?;
        }
        if self.runs_of.is_empty() {
            return Ok(());
        }
        for key in std::mem::take(&mut self.runs_of) {
            let statement = sqlx::query(
                "delete from berth.runs where key = $1 and id <= \
                 (select id from berth.runs where key = $1 order by id desc limit 1 offset $2)",
            );
            self.run(statement.bind(key.to_string()).bind(number(self.limits.runs_of_a_key)?)).await?;
        }
        let statement =
            sqlx::query("delete from berth.runs where id <= (select max(id) from berth.runs) - $1");
        self.run(statement.bind(number(self.limits.runs)?)).await
    }
}

/// PostgreSQL keeps no NUL in a text; what holds one is mended before it breaks the transaction.
fn json<T: Serialize>(value: &T) -> Result<String, PortError> {
    let text = value::json(value)?;
    Ok(if text.contains("\\u0000") { text.replace("\\u0000", "\\ufffd") } else { text })
}
