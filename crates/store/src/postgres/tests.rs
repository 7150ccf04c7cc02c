//! What PostgreSQL promises beyond the contract: the lease, the fence, rows as manifests, and what is said when it is
//! not well.

use super::*;
use crate::samples::{event, record, stack};
use berth_servers::Postgres as Server;
use sqlx::Executor;

async fn opened(server: &Server) -> (Postgres, String) {
    let url = server.database();
    let store = Postgres::open(&url).await.unwrap();
    (store, url)
}

fn lease(store: &Postgres, who: &str) -> Lease {
    Lease::new(store.clone(), who, format!("{who}.test:9477"), LeaseTimes::default())
}

async fn run(url: &str, sql: &'static str) {
    let mut db = PgConnectOptions::from_str(url).unwrap().connect().await.unwrap();
    db.execute(sql).await.unwrap();
}

fn generations(rows: &Rows) -> Vec<(&str, u64, bool)> {
    rows.rows.iter().map(|r| (r.key.as_str(), r.generation, r.manifest.is_some())).collect()
}

#[tokio::test]
async fn one_leads_and_a_deposed_one_writes_nothing() {
    let server = Server::start();
    let (first, url) = opened(&server).await;
    let second = Postgres::open(&url).await.unwrap();
    let (mut a, mut b) = (lease(&first, "a"), lease(&second, "b"));

    let held = a.take().await.unwrap().expect("nobody has it");
    assert_eq!((held.epoch(), first.epoch()), (1, 1));
    assert!(held.may_call() && held.left() <= LeaseTimes::default().lasts);
    let leader = b.take().await.unwrap().expect_err("a has it");
    assert_eq!(leader, Leader { holder: Some("a".into()), address: Some("a.test:9477".into()) });
    assert_eq!(a.renew(&held).await, Ok(Renewed::Kept));
    first.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();

    // It ran out: the process was stopped for a while, say.
    run(&url, "update berth.lease set expires_at = now() - interval '1 s'").await;
    let next = b.take().await.unwrap().expect("it is free");
    assert_eq!(next.epoch(), 2);
    let refused = first.commit(vec![Change::Record(stack("shop"), record(2))]).await;
    assert!(matches!(refused, Err(PortError::Conflict(_))), "{refused:?}");
    assert_eq!(second.snapshot().await.unwrap().records, [(stack("shop"), record(1))]);
    assert_eq!(a.renew(&held).await, Ok(Renewed::Lost));
    assert!(!held.may_call(), "it knows now");

    // Handed over, it is free at once.
    b.release(&next).await.unwrap();
    assert!(!next.may_call());
    assert_eq!(a.take().await.unwrap().expect("it is free").epoch(), 3);
}

#[tokio::test]
async fn a_commit_under_way_holds_a_successor_up_and_no_longer() {
    let server = Server::start();
    let (first, url) = opened(&server).await;
    let second = Postgres::open(&url).await.unwrap();
    lease(&first, "a").take().await.unwrap().expect("nobody has it");
    let mut transaction = first.0.sessions.pool().begin().await.unwrap();
    first.fence(&mut transaction, first.epoch()).await.unwrap();
    run(&url, "update berth.lease set expires_at = now() - interval '1 s'").await;
    let mut b = lease(&second, "b");
    assert!(b.take().await.is_err(), "a transaction of the leader is open");
    // The server ends what does nothing in a transaction: a stopped process keeps nobody from the lead for long.
    let mut tries = 1;
    while !matches!(b.take().await, Ok(Ok(_))) {
        tries += 1;
        assert!(tries < 20, "it does not come free");
    }
    let changes = [Change::Event(event(1, stack("shop")))];
    let late = write::all(first.place(), &mut transaction, true, &changes, &Limits::STANDARD);
    assert!(late.await.is_err(), "its transaction is gone");
}

#[tokio::test]
async fn what_became_of_a_commit_is_asked_of_the_run_that_took_it() {
    let server = Server::start();
    let (store, _) = opened(&server).await;
    let pool = store.0.sessions.pool();
    let mut fates = Vec::new();
    for commits in [true, false] {
        let mut transaction = pool.begin().await.unwrap();
        let sent = store.fence(&mut transaction, 0).await.unwrap();
        assert!(matches!(store.ask_outcome(&sent).await, Ok(commit::Outcome::Open)));
        if commits {
            transaction.commit().await.unwrap();
        } else {
            transaction.rollback().await.unwrap();
        }
        fates.push(store.outcome(&sent, "the line broke").await);
        server.crash();
        server.up();
        fates.push(store.outcome(&sent, "the line broke").await);
    }
    assert!(
        matches!(
            &fates[..],
            [
                Ok(()),
                Err(PortError::Unknown { .. }),
                Err(PortError::Retry { .. }),
                Err(PortError::Unknown { .. })
            ]
        ),
        "{fates:?}"
    );
}

#[tokio::test]
async fn whatever_the_server_thinks_of_commits_in_general_these_last() {
    let server = Server::start_with(&["synchronous_commit=off"]);
    let (store, _) = opened(&server).await;
    let mut transaction = store.0.sessions.pool().begin().await.unwrap();
    store.fence(&mut transaction, 0).await.unwrap();
    let set: String =
        sqlx::query_scalar("show synchronous_commit").fetch_one(&mut *transaction).await.unwrap();
    assert_eq!(set, "on");
}

#[tokio::test]
async fn rows_become_manifests() {
    let server = Server::start();
    let (store, url) = opened(&server).await;
    run(
        &url,
        "insert into berth.stack_templates (name, spec) values ('web', '{\"apps\": {\"web\": {\"image\": \"a:1\"}}}');
         insert into berth.stacks (name, tenant, template, spec, stage)
             values ('john-dev', 'john', 'web', '{}', 'staging'),
                    ('shop', null, null, '{\"apps\": {\"a\": {\"image\": \"x\", \"env\": {\"V\": 1.10}}}}', null);
         insert into berth.projects (name, spec) values ('a \"b\"', '{\"create\": true}');",
    )
    .await;
    let rows = store.rows(None).await.unwrap();
    let text: String = rows
        .rows
        .iter()
        .map(|r| format!("# {} {}\n{}", r.key, r.generation, r.manifest.as_ref().unwrap()))
        .collect();
    assert_eq!(
        text,
        r#"# project/a "b" 1
apiVersion: berth.dev/v1
kind: Project
metadata:
  name: "a \"b\""
spec: {"create": true}
# stack/john-dev 1
apiVersion: berth.dev/v1
kind: Stack
metadata:
  name: "john-dev"
  tenant: "john"
  stage: "staging"
spec: {"template": "web"}
# stack/shop 1
apiVersion: berth.dev/v1
kind: Stack
metadata:
  name: "shop"
  stage: "production"
spec: {"apps": {"a": {"env": {"V": 1.10}, "image": "x"}}}
# stacktemplate/web 1
apiVersion: berth.dev/v1
kind: StackTemplate
metadata:
  name: "web"
spec: {"apps": {"web": {"image": "a:1"}}}
"#
    );
}

#[tokio::test]
async fn changes_are_found_however_transactions_overtake_each_other() {
    let server = Server::start();
    let (store, url) = opened(&server).await;
    let first = store.rows(None).await.unwrap();
    assert_eq!((first.rows.len(), first.all), (0, true));
    run(&url, "insert into berth.stacks (name, spec) values ('early', '{}')").await;
    let seen = store.rows(Some(&first.upto)).await.unwrap();
    assert_eq!((generations(&seen), seen.all), (vec![("stack/early", 1, true)], false));

    let mut slow = PgConnectOptions::from_str(&url).unwrap().connect().await.unwrap();
    slow.execute("begin; insert into berth.stacks (name, spec) values ('slow', '{}')").await.unwrap();
    run(&url, "insert into berth.stacks (name, spec) values ('fast', '{}')").await;
    let between = store.rows(Some(&seen.upto)).await.unwrap();
    assert!(between.rows.iter().any(|r| r.key == "stack/fast"));
    slow.execute("commit").await.unwrap();
    let after = store.rows(Some(&between.upto)).await.unwrap();
    assert!(after.rows.iter().any(|r| r.key == "stack/slow"), "{after:?}");

    run(&url, "update berth.stacks set spec = '{\"a\": 1}' where name = 'fast'; delete from berth.stacks where name = 'slow'").await;
    let changed = store.rows(Some(&after.upto)).await.unwrap();
    assert_eq!(generations(&changed), [("stack/fast", 2, true), ("stack/slow", 2, false)]);
    // Nothing was made of it: it may go at once, and a reader that polls hears of it.
    store.finish(&["stack/slow".to_owned()]).await.unwrap();
    let gone = store.rows(Some(&changed.upto)).await.unwrap();
    assert!(gone.rows.iter().any(|r| r.key == "stack/slow" && r.manifest.is_none()), "{gone:?}");

    // Another server's count, further than this one's: it says nothing here.
    let other = store.rows(Some("1000000")).await.unwrap();
    assert_eq!(
        (generations(&other), other.all),
        (vec![("stack/early", 1, true), ("stack/fast", 2, true)], true)
    );
}

#[tokio::test]
async fn a_row_stays_until_its_stack_is_gone() {
    let server = Server::start();
    let (store, url) = opened(&server).await;
    run(&url, "insert into berth.stacks (name, spec) values ('shop', '{}')").await;
    store.commit(vec![Change::Record(stack("shop"), record(1))]).await.unwrap();
    run(&url, "delete from berth.stacks where name = 'shop'").await;
    store.finish(&["stack/shop".to_owned()]).await.unwrap();
    assert_eq!(generations(&store.rows(None).await.unwrap()), [("stack/shop", 2, false)]);
    store.commit(vec![Change::Forget(stack("shop"))]).await.unwrap();
    assert_eq!(store.rows(None).await.unwrap().rows, []);
    run(&url, "insert into berth.stacks (name, spec) values ('shop', '{}')").await;
}

#[tokio::test]
async fn history_is_bounded() {
    let server = Server::start();
    let url = server.database();
    let limits = Limits { events: 3, runs_of_a_key: 1, runs: 1, versions: 1, requests: 1, audit: 1 };
    let store = Postgres::open(&url).await.unwrap();
    let events = (1..=9).map(|n| Change::Event(event(n, stack("shop")))).collect();
    store.commit(events).await.unwrap();
    Postgres::open_with(&url, limits).await.unwrap().tidy().await.unwrap();
    let Answer::Events(left) = store.query(Query::Events { after: 0, key: None, limit: 99 }).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(left.iter().map(|e| e.id).collect::<Vec<_>>(), [7, 8, 9]);
}

#[tokio::test]
async fn requests_are_asked_for_only_where_there_may_be_some() {
    use berth_model::Time;
    use berth_model::event::Request;
    let server = Server::start();
    let (store, url) = opened(&server).await;
    let mut lease = lease(&store, "a");
    let held = lease.take().await.unwrap().expect("nobody has it");
    assert_eq!(lease.renew(&held).await, Ok(Renewed::Kept));
    let ask = Query::Requests { after: 0 };
    server.stop();
    assert_eq!(store.query(ask.clone()).await, Ok(Answer::Requests(Vec::new())), "no server is asked");
    server.up();
    let request = Request::Confirm { token: "x".into() };
    let asks = Postgres::existing(&url).await.unwrap();
    asks.commit(vec![Change::Request { at: Time(1), request: request.clone() }]).await.unwrap();
    // The pool finds out that its connections are gone; then that this is another run of the server.
    let late = vec![Change::Record(stack("shop"), record(1))];
    while !matches!(store.commit(late.clone()).await, Err(PortError::Conflict(_))) {}
    // Another run of the server: the lead is taken anew.
    while lease.renew(&held).await != Ok(Renewed::Moved) {}
    let held = lease.take().await.unwrap().expect("its lead had not run out");
    assert_eq!(lease.renew(&held).await, Ok(Renewed::Kept));
    assert_eq!(store.query(ask).await, Ok(Answer::Requests(vec![(1, request)])));
}

#[tokio::test]
async fn what_is_said_when_it_is_not_well() {
    let server = Server::start();
    let (store, url) = opened(&server).await;
    let bad = Postgres::open("postgres://user:hunter2@127.0.0.1:1/x").await.unwrap_err().to_string();
    assert!(bad.contains("127.0.0.1:1/x") && bad.contains("reached") && !bad.contains("hunter2"), "{bad}");
    let bad = Postgres::open("http://user:hunter2@x").await.unwrap_err().to_string();
    assert!(!bad.contains("hunter2"), "{bad}");

    for set in ["alter system set default_transaction_read_only = on", "select pg_reload_conf()"] {
        let _ = server.psql(&url, &["-c", set]);
    }
    let why = loop {
        match store.commit(vec![Change::Record(stack("shop"), record(1))]).await {
            Ok(()) => {}
            Err(why) => break why,
        }
    };
    assert!(matches!(&why, PortError::Retry { why, .. } if why.contains("read-only")), "{why}");
    server.crash();
    let why = store.snapshot().await.unwrap_err();
    assert!(matches!(why, PortError::Retry { .. }), "{why}");
}
