//! Migrations as the files of the repository: number, name and text of each, in order.

use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use std::borrow::Cow;

pub(crate) type Files = [(i64, &'static str, &'static str)];

/// The newest schema among them.
pub(crate) fn known(files: &Files) -> i64 {
    files.last().map_or(0, |(version, _, _)| *version)
}

/// What runs them.
pub(crate) fn migrator(files: &Files) -> Migrator {
    let migrations = files
        .iter()
        .map(|(version, name, text)| {
            // Not put together from anything: these are the files of the repository.
            let sql = AssertSqlSafe(*text).into_sql_str();
            Migration::new(*version, Cow::Borrowed(*name), MigrationType::Simple, sql, false)
        })
        .collect();
    Migrator::with_migrations(migrations)
}

/// A file that is forgotten in the list would never run.
#[cfg(test)]
pub(crate) fn assert_complete(folder: &str, files: &Files) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(folder);
    let mut there: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    let listed: Vec<String> =
        files.iter().map(|(number, name, _)| format!("{number:04}_{name}.sql")).collect();
    assert_eq!(there, listed);
}
