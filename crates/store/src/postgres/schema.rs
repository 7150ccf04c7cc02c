//! The schema: embedded migrations, run behind the database's own lock, so that two daemons that start at once do not
//! both change it.

use super::error::{self, OpenError};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::borrow::Cow;

/// Number, name and text of each migration, in order.
pub(super) const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "state", include_str!("../../../../migrations/postgres/0001_state.sql")),
    (2, "desired", include_str!("../../../../migrations/postgres/0002_desired.sql")),
    (3, "views", include_str!("../../../../migrations/postgres/0003_views.sql")),
    (4, "roles", include_str!("../../../../migrations/postgres/0004_roles.sql")),
];

fn migrator() -> Migrator {
    let migrations = MIGRATIONS
        .iter()
        .map(|(version, name, text)| {
            // Not put together from anything: these are the files of the repository.
            let sql = AssertSqlSafe(*text).into_sql_str();
            Migration::new(*version, Cow::Borrowed(name), MigrationType::Simple, sql, false)
        })
        .collect();
    let mut migrator = Migrator::with_migrations(migrations);
    // Beside what it is about, where this user may write: in many databases nobody may write to `public`.
    migrator.create_schema("berth");
    migrator.dangerous_set_table_name("berth.migrations");
    migrator
}

/// Brings the database up to date.
pub(super) async fn migrate(place: &str, db: &mut PgConnection) -> Result<(), OpenError> {
    migrator().run_direct(None, db, false).await.map_err(|e| match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => error::open(place, &e),
        other => OpenError::Schema { place: place.to_owned(), what: other.to_string() },
    })
}

/// Whether this version can read it: an older schema lacks what is asked for, a newer one only has more.
pub(super) async fn check(place: &str, db: &mut PgConnection) -> Result<(), OpenError> {
    let have: Option<i64> = sqlx::query_scalar("select max(version) from berth.migrations where success")
        .fetch_one(db)
        .await
        .map_err(|e| error::open(place, &e))?;
    let known = MIGRATIONS.last().map_or(0, |m| m.0);
    if have < Some(known) {
        let what = format!("schema {}; this one reads {known}", have.unwrap_or(0));
        return Err(OpenError::Schema { place: place.to_owned(), what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::MIGRATIONS;
    use std::path::Path;

    /// A file that is forgotten in the list would never run.
    #[test]
    fn every_file_of_the_folder_is_embedded() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/postgres");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<String> =
            MIGRATIONS.iter().map(|(number, name, _)| format!("{number:04}_{name}.sql")).collect();
        assert_eq!(files, listed);
    }
}
