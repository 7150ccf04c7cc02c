//! What only a file can get wrong: crashes, damage, other programs, other processes, the disk.

use super::{OpenError, Sqlite};
use crate::samples::{MADE, event, intent, record, run, secret, stack, version};
use berth_model::ids::Owner;
use berth_model::{Secret, Time};
use berth_ports::{Answer, Change, PortError, Query, SealedFor, SecretRow, Store, Vault};
use sqlx::Row;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("berth.db");
    (dir, path)
}

async fn open(path: &Path) -> Sqlite {
    Sqlite::open(path, MADE).await.unwrap()
}

fn sidecar(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// What is on the disk after `kill -9` at this instant: the file and its log, without a clean end.
fn as_killed(path: &Path, to: &Path) {
    fs::copy(path, to).unwrap();
    fs::copy(sidecar(path, "-wal"), sidecar(to, "-wal")).unwrap();
}

async fn pragma<T>(store: &Sqlite, statement: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + Unpin + 'static,
{
    let mut writer = store.0.writer.as_ref().unwrap().lock().await;
    sqlx::query(statement).fetch_one(&mut *writer).await.unwrap().get(0)
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let (_dir, path) = place();
    let store = open(&path).await;
    store.commit(vec![Change::Record(stack("shop"), record(1)), Change::Intent(intent("op"))]).await.unwrap();
    let before = store.snapshot().await.unwrap();
    store.close().await;
    drop(store);
    let again = Sqlite::open(&path, Time(MADE.0 + 1_000)).await.unwrap();
    assert_eq!(again.snapshot().await.unwrap(), before, "also its birthday");
}

#[tokio::test]
async fn the_disk_has_it_before_commit_answers() {
    let (_dir, path) = place();
    let store = open(&path).await;
    assert_eq!(pragma::<i64>(&store, "pragma synchronous").await, 2, "FULL");
    assert_eq!(pragma::<String>(&store, "pragma journal_mode").await, "wal");
    assert_eq!(pragma::<i64>(&store, "pragma foreign_keys").await, 1);
}

#[tokio::test]
async fn killed_between_commits() {
    let (dir, path) = place();
    let store = open(&path).await;
    for n in 1..=30_u64 {
        store
            .commit(vec![
                Change::Record(stack("shop"), record(n)),
                Change::Event(event(n, stack("shop"))),
                Change::Run(run(n, stack("shop"))),
            ])
            .await
            .unwrap();
        let copy = dir.path().join(format!("copy-{n}.db"));
        as_killed(&path, &copy);
        let copy = open(&copy).await;
        assert_eq!(copy.snapshot().await.unwrap(), store.snapshot().await.unwrap(), "after {n}");
        let _lock = copy.lock().await.expect("undamaged");
    }
}

/// The power goes while a commit is written: the log ends anywhere. All of a commit is there, or nothing of it.
#[tokio::test]
async fn killed_within_a_commit() {
    let (dir, path) = place();
    let store = open(&path).await;
    let log = sidecar(&path, "-wal");
    store
        .commit(vec![Change::Record(stack("shop"), record(1)), Change::Event(event(1, stack("shop")))])
        .await
        .unwrap();
    let first = fs::metadata(&log).unwrap().len();
    let second: Vec<Change> = (2..=40)
        .map(|n| Change::Event(event(n, stack("shop"))))
        .chain([Change::Record(stack("shop"), record(2))])
        .collect();
    store.commit(second).await.unwrap();
    let last = fs::metadata(&log).unwrap().len();
    assert!(last > first);
    let mut seen = std::collections::BTreeSet::new();
    for cut in (first..=last).step_by(1_031).chain([last - 1, last]) {
        let copy = dir.path().join(format!("cut-{cut}.db"));
        as_killed(&path, &copy);
        fs::OpenOptions::new().write(true).open(sidecar(&copy, "-wal")).unwrap().set_len(cut).unwrap();
        let copy = open(&copy).await;
        let snapshot = copy.snapshot().await.unwrap();
        let found = (snapshot.records[0].1.generation, snapshot.last_event);
        assert!(found == (1, 1) || found == (2, 40), "cut at {cut}: {found:?}");
        seen.insert(found);
    }
    assert_eq!(seen.len(), 2);
}

/// A commit whose caller gives up waiting leaves no transaction open behind it.
#[tokio::test]
async fn a_commit_that_is_dropped_midway() {
    let (_dir, path) = place();
    let store = open(&path).await;
    for polls in 0..40 {
        let changes = (1..=20).map(|n| Change::Event(event(n, stack("shop")))).collect();
        let mut commit = Box::pin(store.commit(changes));
        for _ in 0..polls {
            if futures::poll!(&mut commit).is_ready() {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(commit);
        let last = store.snapshot().await.unwrap().last_event;
        assert!(last == 0 || last == 20, "{last}");
    }
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().records.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_beside_the_daemon_see_whole_commits() {
    let (_dir, path) = place();
    let store = open(&path).await;
    let _lock = store.lock().await.unwrap();
    let reader = Sqlite::open_read_only(&path).await.unwrap();
    let writing = tokio::spawn(async move {
        for n in 1..=100_u64 {
            let pair = vec![
                Change::Event(event(2 * n - 1, stack("shop"))),
                Change::Record(stack("shop"), record(n)),
                Change::Event(event(2 * n, stack("shop"))),
            ];
            store.commit(pair).await.unwrap();
        }
    });
    let mut seen = 0;
    while !writing.is_finished() {
        let snapshot = reader.snapshot().await.unwrap();
        assert_eq!(snapshot.last_event % 2, 0);
        assert!(snapshot.last_event >= seen);
        if let Some((_, record)) = snapshot.records.first() {
            assert_eq!(record.generation * 2, snapshot.last_event);
        }
        seen = snapshot.last_event;
    }
    writing.await.unwrap();
    assert_eq!(reader.snapshot().await.unwrap().last_event, 200);
    let refused = reader.commit(vec![Change::Forget(stack("shop"))]).await;
    assert!(matches!(refused, Err(PortError::Refused { .. })), "{refused:?}");
    assert!(reader.lock().await.is_err());
}

#[tokio::test]
async fn a_command_hands_a_request_to_the_daemon() {
    let (_dir, path) = place();
    let daemon = open(&path).await;
    let _lock = daemon.lock().await.unwrap();
    let before = daemon.data_version().await.unwrap();
    daemon.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    assert_eq!(daemon.data_version().await.unwrap(), before, "its own commits are no news");

    let command = open(&path).await;
    let request = berth_model::event::Request::Pause { key: stack("shop") };
    command.commit(vec![Change::Request { at: Time(1), request: request.clone() }]).await.unwrap();
    assert_ne!(daemon.data_version().await.unwrap(), before);
    let found = daemon.query(Query::Requests { after: 0 }).await.unwrap();
    assert_eq!(found, Answer::Requests(vec![(1, request)]));
}

#[tokio::test]
async fn requests_are_found_by_their_number() {
    let (_dir, path) = place();
    let store = open(&path).await;
    let mut writer = store.0.writer.as_ref().unwrap().lock().await;
    let plan: String =
        sqlx::query("explain query plan select number, body from requests where number > 1 order by number")
            .fetch_one(&mut *writer)
            .await
            .unwrap()
            .get("detail");
    assert!(plan.starts_with("SEARCH") && plan.contains("PRIMARY KEY"), "{plan}");
}

#[tokio::test]
async fn one_daemon_per_file() {
    let (_dir, path) = place();
    let (first, second) = (open(&path).await, open(&path).await);
    let lock = first.lock().await.unwrap();
    let error = second.lock().await.unwrap_err();
    assert!(matches!(error, OpenError::Held { .. }));
    let said = error.to_string();
    assert!(said.contains(&format!("pid {}", std::process::id())) && said.contains("berth.db"), "{said}");
    assert_eq!(fs::metadata(lock.path()).unwrap().permissions().mode() & 0o777, 0o600);
    drop(lock);
    let _lock = second.lock().await.expect("the lock goes with its holder");
}

#[tokio::test]
async fn a_daemon_that_lost_the_lead_changes_nothing() {
    let (_dir, path) = place();
    let (old, new, command) = (open(&path).await, open(&path).await, open(&path).await);
    drop(old.lock().await.unwrap());
    old.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    let _lock = new.lock().await.unwrap();
    let before = new.snapshot().await.unwrap();
    let refused =
        old.commit(vec![Change::Forget(stack("shop")), Change::Event(event(1, stack("shop")))]).await;
    assert!(matches!(refused, Err(PortError::Conflict(_))), "{refused:?}");
    assert_eq!(new.snapshot().await.unwrap(), before);
    new.commit(vec![Change::Record(stack("shop"), record(2))]).await.unwrap();
    command.commit(vec![Change::Secret(secret("TOKEN", 1, 1))]).await.expect("a command leads nothing");
}

#[tokio::test]
async fn only_its_owner_may_read_it() {
    let (_dir, path) = place();
    let store = open(&path).await;
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    for file in [path.clone(), sidecar(&path, "-wal"), sidecar(&path, "-shm")] {
        let mode = fs::metadata(&file).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.display());
    }
    drop(store);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    drop(open(&path).await);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
}

async fn refused(path: &Path) -> (OpenError, String) {
    let error = Sqlite::open(path, MADE).await.expect_err("it is not to be opened");
    let said = error.to_string();
    assert!(said.contains(path.to_str().unwrap()), "{said}");
    (error, said)
}

#[tokio::test]
async fn a_file_that_is_no_database() {
    let (_dir, path) = place();
    let text = "this is a letter, and longer than the head of a database\n".repeat(50);
    fs::write(&path, &text).unwrap();
    let (error, said) = refused(&path).await;
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(said.contains("move it away") && said.contains("rebuilds"), "{said}");
    assert_eq!(fs::read_to_string(&path).unwrap(), text, "untouched");
}

#[tokio::test]
async fn a_database_of_another_program() {
    use sqlx::ConnectOptions;
    let (_dir, path) = place();
    let mut other = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(&path)
        .create_if_missing(true)
        .connect()
        .await
        .unwrap();
    sqlx::query("create table meta (x)").execute(&mut other).await.unwrap();
    sqlx::Connection::close(other).await.unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(refused(&path).await.0, OpenError::Foreign { .. }));
    assert!(matches!(Sqlite::open_read_only(&path).await, Err(OpenError::Foreign { .. })));
    assert_eq!(fs::read(&path).unwrap(), before, "untouched");
}

#[tokio::test]
async fn a_database_of_a_newer_berth() {
    let (_dir, path) = place();
    let store = open(&path).await;
    pragma::<i64>(
        &store,
        "insert into _sqlx_migrations (version, description, success, checksum, execution_time) \
         values (999, 'later', true, x'00', 0) returning version",
    )
    .await;
    let (error, said) = refused(&path).await;
    assert!(matches!(error, OpenError::Newer { have: 999, .. }), "{error:?}");
    assert!(said.contains("newer"), "{said}");
    assert!(matches!(Sqlite::open_read_only(&path).await, Err(OpenError::Newer { .. })));
}

#[tokio::test]
async fn a_first_start_that_was_cut_short() {
    let (_dir, path) = place();
    fs::write(&path, "").unwrap();
    assert!(matches!(Sqlite::open_read_only(&path).await, Err(OpenError::Missing { .. })));
    let store = open(&path).await;
    assert_eq!(store.snapshot().await.unwrap().made, MADE);
    // The migration stood, and the birthday was not written yet.
    pragma::<i64>(&store, "delete from meta returning one").await;
    store.close().await;
    drop(store);
    let store = Sqlite::open(&path, Time(7)).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().made, Time(7));
}

#[tokio::test]
async fn damage_in_the_middle_is_found_before_the_daemon_runs() {
    let (_dir, path) = place();
    let store = open(&path).await;
    let many = (1..=500).map(|n| Change::Event(event(n, stack("shop")))).collect();
    store.commit(many).await.unwrap();
    store.close().await;
    drop(store);
    let mut bytes = fs::read(&path).unwrap();
    let pages = bytes.len() / 4_096;
    // Every page but those of the schema.
    for page in 4..pages {
        bytes[page * 4_096..page * 4_096 + 64].fill(0xee);
    }
    fs::write(&path, bytes).unwrap();
    let error = match Sqlite::open(&path, MADE).await {
        Ok(store) => store.lock().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(matches!(error, OpenError::Damaged { .. }), "{error:?}");
    assert!(error.to_string().contains("move it away"), "{error}");
}

#[tokio::test]
async fn a_row_that_does_not_read_is_named() {
    let (_dir, path) = place();
    let store = open(&path).await;
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    pragma::<String>(&store, "update records set body = '{\"generation\": \"x\"}' returning key").await;
    let Err(PortError::Refused { why }) = store.snapshot().await else { panic!("it read") };
    assert!(why.contains("stack/shop") && why.contains("move it away"), "{why}");
}

#[tokio::test]
async fn a_full_disk_passes() {
    let (_dir, path) = place();
    let store = open(&path).await;
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    let pages: i64 = pragma(&store, "pragma page_count").await;
    assert!(pages > 0);
    pragma::<i64>(&store, "pragma max_page_count = 1").await; // SQLite makes it as small as the file is.
    let many: Vec<Change> = (1..=500).map(|n| Change::Event(event(n, stack("shop")))).collect();
    let full = store.commit(many.clone()).await;
    assert!(matches!(&full, Err(PortError::Retry { why, .. }) if why.contains("full")), "{full:?}");
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.records.len(), snapshot.last_event), (1, 0), "nothing of it");
    pragma::<i64>(&store, "pragma max_page_count = 100000").await;
    store.commit(many).await.unwrap();
    assert_eq!(store.snapshot().await.unwrap().last_event, 500);
}

#[tokio::test]
async fn a_store_that_may_not_be_written_to() {
    let (_dir, path) = place();
    let store = open(&path).await;
    pragma_off(&store, "pragma query_only = on").await;
    let refused = store.commit(vec![Change::Record(stack("shop"), record(1))]).await;
    assert!(
        matches!(&refused, Err(PortError::Retry { why, .. }) if why.contains("may not be written")),
        "{refused:?}"
    );
    pragma_off(&store, "pragma query_only = off").await;
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
}

async fn pragma_off(store: &Sqlite, statement: &'static str) {
    let mut writer = store.0.writer.as_ref().unwrap().lock().await;
    sqlx::query(statement).execute(&mut *writer).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_moved_away_under_the_daemon() {
    let (dir, path) = place();
    let store = open(&path).await;
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    fs::rename(&path, dir.path().join("elsewhere.db")).unwrap();
    let lost = store.commit(vec![Change::Record(stack("shop"), record(2))]).await;
    assert!(matches!(&lost, Err(PortError::Retry { why, .. }) if why.contains("moved away")), "{lost:?}");
    fs::rename(dir.path().join("elsewhere.db"), &path).unwrap();
    store.commit(vec![Change::Record(stack("shop"), record(2))]).await.unwrap();
}

#[tokio::test]
async fn no_directory_for_it() {
    let (dir, _) = place();
    let path = dir.path().join("none/berth.db");
    let (error, said) = refused(&path).await;
    assert!(matches!(error, OpenError::Io { .. }), "{error:?}");
    assert!(said.contains("directory exists"), "{said}");
    assert!(matches!(Sqlite::open_read_only(&path).await, Err(OpenError::Missing { .. })));
}

/// No byte of what is on the disk holds a given secret in clear.
#[tokio::test]
async fn the_canary() {
    const CANARY: &str = "canary-5f3a9c-this-must-never-be-seen";
    let (dir, path) = place();
    let key = Secret::new("7:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=");
    let ring = berth_vault::Ring::parse(&key, &Owner::new("prod-eu").unwrap()).unwrap();
    let store = open(&path).await;
    let what = SealedFor { kind: "secret", stack: "shop", app: None, name: "TOKEN" };
    let row = SecretRow { sealed: ring.seal(what, CANARY.as_bytes()), ..secret("TOKEN", 1, 1) };
    let mut kept = version("shop", "web", 1, 1);
    kept.sealed =
        ring.seal(SealedFor { kind: "version", name: "0000000000000001", ..what }, CANARY.as_bytes());
    store
        .commit(vec![Change::Secret(row), Change::Version(kept), Change::Record(stack("shop"), record(1))])
        .await
        .unwrap();
    let Answer::Secrets(rows) = store.query(Query::Secrets).await.unwrap() else { panic!() };
    assert_eq!(ring.open(what, &rows[0].sealed).unwrap().expose(), CANARY);
    let look = || {
        for entry in fs::read_dir(dir.path()).unwrap() {
            let file = entry.unwrap().path();
            let bytes = fs::read(&file).unwrap();
            let seen = bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes());
            assert!(!seen, "{} holds it", file.display());
        }
    };
    look();
    store.close().await;
    look();
}

#[tokio::test]
async fn a_batch_of_five_hundred() {
    let (_dir, path) = place();
    let store = open(&path).await;
    let batch: Vec<Change> = (1..=125)
        .flat_map(|n| {
            let key = stack(&format!("s-{n}"));
            [
                Change::Record(key.clone(), record(n)),
                Change::Event(event(n, key.clone())),
                Change::Run(run(n, key)),
                Change::Version(version(&format!("s-{n}"), "web", 1, n)),
            ]
        })
        .collect();
    let began = std::time::Instant::now();
    store.commit(batch).await.unwrap();
    // Not a bound to be tuned by: it says that nothing is paid per change but its statement.
    assert!(began.elapsed().as_secs() < 5, "{:?}", began.elapsed());
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!((snapshot.records.len(), snapshot.last_event, snapshot.last_run), (125, 125, 125));
}
