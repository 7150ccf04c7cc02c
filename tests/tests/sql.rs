//! The SQL contract, told as stories: what `tests/postgres/NAME.sql` does prints what `NAME.out` says.

use berth_servers::Postgres;
use std::path::Path;
use std::process::Command;

#[test]
fn every_story_prints_what_it_should() {
    let server = Postgres::start();
    let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("postgres/run");
    let out = Command::new(stories)
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", server.port().to_string())
        .env("PGUSER", "postgres")
        .output()
        .expect("a shell runs it");
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success(), "{said}{}", String::from_utf8_lossy(&out.stderr));
    assert!(said.lines().filter(|l| l.starts_with("ok ")).count() >= 7, "{said}");
}
