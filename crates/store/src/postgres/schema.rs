//! The schema: embedded migrations. They run in one transaction behind a lock of its own, so that two daemons that start
//! at once do not both change it, and so that it does not matter which session a pooler gives.

use super::error::{self, OpenError};
use crate::migrations;
use sqlx::migrate::{MigrateError, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Executor, Row};

const MIGRATIONS: &migrations::Files = &[
    (1, "state", include_str!("../../../../migrations/postgres/0001_state.sql")),
    (2, "desired", include_str!("../../../../migrations/postgres/0002_desired.sql")),
    (3, "views", include_str!("../../../../migrations/postgres/0003_views.sql")),
    (4, "roles", include_str!("../../../../migrations/postgres/0004_roles.sql")),
];

/// What the migrator prepares has names, and another's may stand in a session that a pooler gave. What it does may
/// take its time.
const BEGIN: &str = "begin; deallocate all; set local statement_timeout = 0; \
    set local idle_in_transaction_session_timeout = '60s'; set local lock_timeout = '10s'; \
    select pg_advisory_xact_lock(hashtextextended('berth.migrations', 0))";

fn migrator() -> Migrator {
    let mut migrator = migrations::migrator(MIGRATIONS);
    // Beside what it is about, where this user may write: in many databases nobody may write to `public`.
    migrator.create_schema("berth");
    migrator.dangerous_set_table_name("berth.migrations");
    migrator.set_locking(false);
    migrator
}

/// Brings the database up to date, where it is not.
pub(super) async fn migrate(place: &str, db: &mut PgConnection) -> Result<(), OpenError> {
    let open = |e: sqlx::Error| error::open(place, &e);
    let migrator = migrator();
    match applied(db).await {
        Ok(there) => {
            let known = migrator.iter().map(|m| (m.version, m.checksum.to_vec()));
            if there.iter().cloned().eq(known) {
                return Ok(());
            }
        }
        // There is no such table yet.
        Err(e) if error::kind(&e) == error::Kind::Schema => {}
        Err(e) => return Err(open(e)),
    }
    let mut transaction = db.begin_with(BEGIN).await.map_err(open)?;
    migrator.run_direct(None, &mut *transaction, false).await.map_err(|e| match e {
        MigrateError::Execute(e) | MigrateError::ExecuteMigration(e, _) => error::open(place, &e),
        other => OpenError::Schema { place: place.to_owned(), what: other.to_string() },
    })?;
    transaction.execute("deallocate all").await.map_err(open)?;
    transaction.commit().await.map_err(open)
}

/// Number and checksum of what was applied.
async fn applied(db: &mut PgConnection) -> Result<Vec<(i64, Vec<u8>)>, sqlx::Error> {
    let rows = sqlx::raw_sql("select version, checksum from berth.migrations where success order by version")
        .fetch_all(db)
        .await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect()
}

/// Whether this version can read it: an older schema lacks what is asked for, a newer one only has more.
pub(super) async fn check(place: &str, db: &mut PgConnection) -> Result<(), OpenError> {
    let have =
        applied(db).await.map_err(|e| error::open(place, &e))?.last().map_or(0, |(version, _)| *version);
    let known = migrations::known(MIGRATIONS);
    if have < known {
        let what = format!("schema {have}; this one reads {known}");
        return Err(OpenError::Schema { place: place.to_owned(), what });
    }
    Ok(())
}

#[cfg(test)]
#[test]
fn every_file_of_the_folder_is_embedded() {
    migrations::assert_complete("postgres", MIGRATIONS);
}
