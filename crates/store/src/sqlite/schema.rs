//! The schema: embedded migrations, and whose file it is. Looks before it writes: a file of another program or of a
//! newer Berth must never be changed.

use super::error::{self, OpenError};
use crate::migrations;
use sqlx::migrate::MigrateError;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;

pub(super) const MIGRATIONS: &migrations::Files =
    &[(1, "state", include_str!("../../../../migrations/sqlite/0001_state.sql"))];

/// `BRTH`, as the first migration writes it.
const APPLICATION: i64 = 1_112_691_784;

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Nothing of anybody's is in it.
    Empty,
    /// Ours, and behind: at this schema.
    Behind(i64),
    /// Ours, and as it should be.
    Current,
}

/// The newest schema that is known here.
pub(super) fn known() -> i64 {
    migrations::known(MIGRATIONS)
}

/// Reads whose file it is, and changes nothing.
pub(super) async fn look(path: &Path, db: &mut SqliteConnection) -> Result<Found, OpenError> {
    let sql = |e: sqlx::Error| error::open(path, &e);
    let application: i64 =
        sqlx::query_scalar("pragma application_id").fetch_one(&mut *db).await.map_err(sql)?;
    let others: i64 = sqlx::query_scalar(
        "select count(*) from sqlite_schema where name not like 'sqlite\\_%' escape '\\' and tbl_name <> '_sqlx_migrations'",
    )
    .fetch_one(&mut *db)
    .await
    .map_err(sql)?;
    if application != APPLICATION {
        // A first start that was cut short leaves an empty list of migrations and nothing else.
        return if application == 0 && others == 0 {
            Ok(Found::Empty)
        } else {
            Err(OpenError::Foreign { path: path.to_owned() })
        };
    }
    let have: Option<i64> =
        sqlx::query_scalar("select max(version) from _sqlx_migrations").fetch_one(db).await.map_err(sql)?;
    let (have, known) = (have.unwrap_or(0), known());
    match have.cmp(&known) {
        std::cmp::Ordering::Greater => Err(OpenError::Newer { path: path.to_owned(), have, known }),
        std::cmp::Ordering::Equal => Ok(Found::Current),
        std::cmp::Ordering::Less => Ok(Found::Behind(have)),
    }
}

/// Brings the file up to date. The caller holds the lock.
pub(super) async fn migrate(path: &Path, db: &mut SqliteConnection) -> Result<(), OpenError> {
    migrations::migrator(MIGRATIONS).run_direct(None, db, false).await.map_err(|e| match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => error::open(path, &e),
        other => OpenError::Schema { path: path.to_owned(), what: other.to_string() },
    })
}

#[cfg(test)]
#[test]
fn every_file_of_the_folder_is_embedded() {
    migrations::assert_complete("sqlite", MIGRATIONS);
}
