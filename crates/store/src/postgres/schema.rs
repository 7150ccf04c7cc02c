//! The schema: embedded migrations, run behind the database's own lock, so that two daemons that start at once do not
//! both change it.

use super::error::{self, OpenError};
use crate::migrations;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;

const MIGRATIONS: &migrations::Files = &[
    (1, "state", include_str!("../../../../migrations/postgres/0001_state.sql")),
    (2, "desired", include_str!("../../../../migrations/postgres/0002_desired.sql")),
    (3, "views", include_str!("../../../../migrations/postgres/0003_views.sql")),
    (4, "roles", include_str!("../../../../migrations/postgres/0004_roles.sql")),
];

fn migrator() -> Migrator {
    let mut migrator = migrations::migrator(MIGRATIONS);
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
    let known = migrations::known(MIGRATIONS);
    if have < Some(known) {
        let what = format!("schema {}; this one reads {known}", have.unwrap_or(0));
        return Err(OpenError::Schema { place: place.to_owned(), what });
    }
    Ok(())
}

#[cfg(test)]
#[test]
fn every_file_of_the_folder_is_embedded() {
    migrations::assert_complete("postgres", MIGRATIONS);
}
