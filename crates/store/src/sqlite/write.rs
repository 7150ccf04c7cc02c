//! Changes as statements, inside the caller's transaction. Trims history on the way, so that no other task has to.

use super::error;
use crate::limit::{AUDIT_FOR, Limits};
use crate::secret;
use crate::value::{app_column, json, number};
use berth_model::Time;
use berth_model::access::{Audit, Token};
use berth_model::ids::Key;
use berth_model::record::{Run, Version};
use berth_ports::{Change, PortError, SecretRow};
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{Row, Sqlite};
use std::collections::BTreeSet;
use std::path::Path;

type Statement = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

/// Refuses where another daemon took the lead meanwhile.
pub(super) async fn fence(path: &Path, db: &mut SqliteConnection, epoch: u64) -> Result<(), PortError> {
    if epoch == 0 {
        return Ok(());
    }
    let now: i64 = sqlx::query_scalar("select epoch from meta")
        .fetch_one(db)
        .await
        .map_err(|e| error::port(path, "writing", &e))?;
    if u64::try_from(now) == Ok(epoch) {
        return Ok(());
    }
    Err(PortError::Conflict(format!(
        "this daemon led under epoch {epoch} and another leads under {now} now: nothing was written"
    )))
}

/// Writes all changes in order.
pub(super) async fn all(
    path: &Path,
    db: &mut SqliteConnection,
    changes: &[Change],
    limits: &Limits,
) -> Result<(), PortError> {
    let mut writer = Writer { path, db, limits, events: false, runs_of: BTreeSet::new() };
    for change in changes {
        writer.one(change).await?;
    }
    writer.trim().await
}

struct Writer<'a> {
    path: &'a Path,
    db: &'a mut SqliteConnection,
    limits: &'a Limits,
    events: bool,
    runs_of: BTreeSet<&'a Key>,
}

impl<'a> Writer<'a> {
    async fn run(&mut self, statement: Statement) -> Result<(), PortError> {
        match statement.execute(&mut *self.db).await {
            Ok(_) => Ok(()),
            Err(e) => Err(error::port(self.path, "writing", &e)),
        }
    }

    async fn one(&mut self, change: &'a Change) -> Result<(), PortError> {
        match change {
            Change::Record(key, record) => {
                let body = json(record)?;
                self.run(
                    sqlx::query("insert into records (key, body) values (?, ?) on conflict do update set body = excluded.body")
                        .bind(key.to_string())
                        .bind(body),
                )
                .await
            }
            Change::Forget(key) => self.forget(key).await,
            Change::Intent(intent) => {
                let body = json(intent)?;
                self.run(
                    sqlx::query("insert into intents (op, body) values (?, ?) on conflict do update set body = excluded.body")
                        .bind(intent.op.to_string())
                        .bind(body),
                )
                .await
            }
            Change::Settled(op) => {
                self.run(sqlx::query("delete from intents where op = ?").bind(op.to_string())).await
            }
            Change::Status(status) => {
                let body = json(status)?;
                self.run(
                    sqlx::query("insert into statuses (key, body) values (?, ?) on conflict do update set body = excluded.body")
                        .bind(status.key.to_string())
                        .bind(body),
                )
                .await
            }
            Change::Event(event) => {
                self.events = true;
                let body = json(event)?;
                self.run(
                    sqlx::query("insert or replace into events (id, key, body) values (?, ?, ?)")
                        .bind(number(event.id)?)
                        .bind(event.key.to_string())
                        .bind(body),
                )
                .await
            }
            Change::Run(run) => self.add_run(run).await,
            Change::Version(version) => self.add_version(version).await,
            Change::Secret(row) => self.give(row).await,
            Change::RemoveSecret { stack, app, name } => {
                self.run(
                    sqlx::query("delete from secrets where stack = ? and app = ? and name = ?")
                        .bind(stack.clone())
                        .bind(app_column(app.as_ref()))
                        .bind(name.clone()),
                )
                .await
            }
            Change::Request { at, request } => {
                let body = json(request)?;
                self.run(sqlx::query("insert into requests (at, body) values (?, ?)").bind(at.0).bind(body))
                    .await
            }
            Change::RequestsDone(upto) => {
                self.run(
                    sqlx::query("update meta set request_done = max(request_done, ?)").bind(number(*upto)?),
                )
                .await?;
                self.run(
                    sqlx::query(
                        "delete from requests where number <= (select request_done from meta) \
                         and number <= (select seq from sqlite_sequence where name = 'requests') - ?",
                    )
                    .bind(number(self.limits.requests)?),
                )
                .await
            }
            Change::Token(token) => self.add_token(token).await,
            Change::RevokeToken(name) => {
                self.run(sqlx::query("delete from tokens where name = ?").bind(name.clone())).await
            }
            Change::Audit(entry) => self.add_audit(entry).await,
        }
    }

    async fn add_token(&mut self, token: &Token) -> Result<(), PortError> {
        let statement = sqlx::query(
            "insert into tokens (name, tenant, role, hash, made, expires) values (?, ?, ?, ?, ?, ?) \
             on conflict (name) do update set name = excluded.name where hash = excluded.hash",
        )
        .bind(token.name.clone())
        .bind(token.tenant.clone())
        .bind(token.role.as_str())
        .bind(token.hash.0.to_vec())
        .bind(token.made.0)
        .bind(token.expires.map(|t| t.0));
        let done = statement.execute(&mut *self.db).await;
        match done.map_err(|e| error::port(self.path, "making a token", &e))?.rows_affected() {
            0 => Err(secret::token_exists(&token.name)),
            _ => Ok(()),
        }
    }

    async fn add_audit(&mut self, entry: &Audit) -> Result<(), PortError> {
        let statement = sqlx::query(
            "insert into audit (at, who, what, key, tenant, generation, outcome) values (?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(entry.at.0)
        .bind(entry.who.clone())
        .bind(entry.what.clone())
        .bind(entry.key.clone())
        .bind(entry.tenant.clone())
        .bind(entry.generation.map(number).transpose()?)
        .bind(entry.outcome.clone());
        self.run(statement).await?;
        let oldest = entry.at.0.saturating_sub(i64::try_from(AUDIT_FOR.as_millis()).unwrap_or(i64::MAX));
        self.run(
            sqlx::query("delete from audit where id <= (select max(id) from audit) - ? or at < ?")
                .bind(number(self.limits.audit)?)
                .bind(oldest),
        )
        .await
    }

    async fn forget(&mut self, key: &Key) -> Result<(), PortError> {
        let text = key.to_string();
        self.run(sqlx::query("delete from records where key = ?").bind(text.clone())).await?;
        self.run(sqlx::query("delete from statuses where key = ?").bind(text)).await?;
        if let Key::Stack(name) = key {
            self.run(sqlx::query("delete from versions where stack = ?").bind(name.to_string())).await?;
        }
        Ok(())
    }

    async fn add_run(&mut self, run: &'a Run) -> Result<(), PortError> {
        self.runs_of.insert(&run.key);
        let body = json(run)?;
        self.run(
            sqlx::query("insert or replace into runs (id, key, body) values (?, ?, ?)")
                .bind(number(run.id)?)
                .bind(run.key.to_string())
                .bind(body),
        )
        .await
    }

    async fn add_version(&mut self, version: &Version) -> Result<(), PortError> {
        // Replacing gives it a new number: what passed the gate again is the newest again.
        self.run(
            sqlx::query(
                "insert or replace into versions (stack, app, generation, hash, at, image, sealed) \
                 values (?, ?, ?, ?, ?, ?, ?)",
            )
            .bind(version.stack.to_string())
            .bind(version.app.to_string())
            .bind(number(version.generation)?)
            .bind(version.hash.to_string())
            .bind(version.at.0)
            .bind(version.image.clone())
            .bind(version.sealed.clone()),
        )
        .await?;
        self.run(
            sqlx::query(
                "delete from versions where stack = ?1 and app = ?2 and number <= \
                 (select number from versions where stack = ?1 and app = ?2 order by number desc limit 1 offset ?3)",
            )
            .bind(version.stack.to_string())
            .bind(version.app.to_string())
            .bind(number(self.limits.versions)?),
        )
        .await
    }

    async fn give(&mut self, row: &SecretRow) -> Result<(), PortError> {
        let port = |e: sqlx::Error| error::port(self.path, "giving a secret", &e);
        let held = sqlx::query("select version, at from secrets where stack = ? and app = ? and name = ?")
            .bind(row.stack.clone())
            .bind(app_column(row.app.as_ref()))
            .bind(row.name.clone())
            .fetch_optional(&mut *self.db)
            .await
            .map_err(port)?;
        let held = match held {
            Some(held) => Some((
                held.try_get::<u32, _>(0).map_err(port)?,
                Time(held.try_get::<i64, _>(1).map_err(port)?),
            )),
            None => None,
        };
        secret::may_write(held, row)?;
        self.run(
            sqlx::query(
                "insert or replace into secrets (stack, app, name, version, at, sealed) values (?, ?, ?, ?, ?, ?)",
            )
            .bind(row.stack.clone())
            .bind(app_column(row.app.as_ref()))
            .bind(row.name.clone())
            .bind(row.version)
            .bind(row.at.0)
            .bind(row.sealed.clone()),
        )
        .await
    }

    /// Numbers rise by one, so the newest so many are those above a number: no counting.
    async fn trim(&mut self) -> Result<(), PortError> {
        if self.events {
            self.run(
                sqlx::query("delete from events where id <= (select max(id) from events) - ?")
                    .bind(number(self.limits.events)?),
            )
            .await?;
        }
        if self.runs_of.is_empty() {
            return Ok(());
        }
        for key in std::mem::take(&mut self.runs_of) {
            self.run(
                sqlx::query(
                    "delete from runs where key = ?1 and id <= \
                     (select id from runs where key = ?1 order by id desc limit 1 offset ?2)",
                )
                .bind(key.to_string())
                .bind(number(self.limits.runs_of_a_key)?),
            )
            .await?;
        }
        self.run(
            sqlx::query("delete from runs where id <= (select max(id) from runs) - ?")
                .bind(number(self.limits.runs)?),
        )
        .await
    }
}
