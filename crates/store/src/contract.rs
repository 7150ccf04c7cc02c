//! What every store promises, as tests that run on each of them. A new store is added to the macro, and no test may
//! look at which store it is given.

use crate::Limits;
use crate::samples::*;
use berth_model::access::{Audit, Role, Token, TokenHash};
use berth_model::event::Request;
use berth_model::ids::{Key, StackName};
use berth_model::record::Version;
use berth_ports::{Answer, Change, PortError, Query, SecretRow, Store};

/// Small enough to be reached.
const SMALL: Limits = Limits { events: 20, runs_of_a_key: 5, runs: 30, versions: 10, requests: 4, audit: 6 };

macro_rules! contract {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            $(#[tokio::test]
            async fn $name() {
                super::$name(&crate::Memory::with_limits(crate::samples::MADE, super::SMALL)).await;
            })+
        }
        mod sqlite {
            $(#[tokio::test]
            async fn $name() {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("berth.db");
                let store = crate::Sqlite::open_with(&path, crate::samples::MADE, super::SMALL).await.unwrap();
                super::$name(&store).await;
            })+
        }
        mod postgres {
            /// One server, and a database for each promise.
            #[tokio::test]
            async fn every_promise() {
                let server = berth_servers::Postgres::start();
                every(&server, server.port()).await;
            }

            #[tokio::test]
            async fn every_promise_behind_a_pooler() {
                let server = berth_servers::Postgres::start();
                let pooler = berth_servers::Pgbouncer::before(&server);
                every(&server, pooler.port()).await;
            }

            async fn every(server: &berth_servers::Postgres, port: u16) {
                $({
                    let url = server.database();
                    let through = url.replace(&server.port().to_string(), &port.to_string());
                    let store = crate::Postgres::open_with(&through, super::SMALL).await.unwrap();
                    let birthday = format!("update berth.meta set made = {}", crate::samples::MADE.0);
                    assert_eq!(server.psql(&url, &["-c", &birthday]), "");
                    super::$name(&store).await;
                    store.close().await;
                })+
            }
        }
    };
}

contract!(
    an_empty_store,
    everything_comes_back,
    the_last_write_counts,
    forgetting_takes_status_and_versions_along,
    order_within_a_commit_counts,
    a_refused_commit_changes_nothing,
    the_same_commit_again_changes_nothing,
    events_resume_after_a_number,
    events_of_one_key_and_at_most_so_many,
    events_are_bounded,
    runs_are_bounded_per_key_and_overall,
    versions_are_bounded_per_app_and_newest_first,
    a_version_that_passes_again_is_the_newest_again,
    requests_are_numbered_and_done_in_order,
    requests_that_are_not_done_stay,
    secrets_rise,
    a_secret_is_sealed_anew_without_rising,
    secrets_of_a_stack_and_of_its_app_differ,
    strange_texts_come_back,
    commits_at_once_are_each_whole,
    tokens_are_found_by_their_hash_and_revoked_by_their_name,
    a_token_of_a_name_that_is_taken_changes_nothing,
    the_audit_is_bounded_and_newest_first,
);

// The questions.

async fn events(s: &impl Store, after: u64, key: Option<Key>, limit: u32) -> Vec<u64> {
    match s.query(Query::Events { after, key, limit }).await.unwrap() {
        Answer::Events(list) => list.into_iter().map(|e| e.id).collect(),
        other => panic!("{other:?}"),
    }
}

async fn runs(s: &impl Store, key: Key, limit: u32) -> Vec<u64> {
    match s.query(Query::Runs { key, limit }).await.unwrap() {
        Answer::Runs(list) => list.into_iter().map(|r| r.id).collect(),
        other => panic!("{other:?}"),
    }
}

async fn versions(s: &impl Store, of: &str) -> Vec<Version> {
    let stack = StackName::new(of).unwrap();
    match s.query(Query::Versions { stack }).await.unwrap() {
        Answer::Versions(list) => list,
        other => panic!("{other:?}"),
    }
}

async fn requests(s: &impl Store, after: u64) -> Vec<(u64, String)> {
    match s.query(Query::Requests { after }).await.unwrap() {
        Answer::Requests(list) => list
            .into_iter()
            .map(|(number, request)| match request {
                Request::Confirm { token } => (number, token),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    }
}

async fn secrets(s: &impl Store) -> Vec<SecretRow> {
    match s.query(Query::Secrets).await.unwrap() {
        Answer::Secrets(list) => list,
        other => panic!("{other:?}"),
    }
}

async fn tokens(s: &impl Store, query: Query) -> Vec<Token> {
    match s.query(query).await.unwrap() {
        Answer::Tokens(list) => list,
        other => panic!("{other:?}"),
    }
}

async fn audit(s: &impl Store, key: Option<&str>, tenant: Option<&str>, limit: u32) -> Vec<Audit> {
    let (key, tenant) = (key.map(str::to_owned), tenant.map(str::to_owned));
    match s.query(Query::Audit { key, tenant, limit }).await.unwrap() {
        Answer::Audit(list) => list,
        other => panic!("{other:?}"),
    }
}

// The promises.

async fn an_empty_store(s: &impl Store) {
    let snapshot = s.snapshot().await.unwrap();
    assert_eq!(snapshot, berth_ports::Snapshot { made: MADE, ..Default::default() });
    s.commit(Vec::new()).await.unwrap();
    assert_eq!(events(s, 0, None, 10).await, [0_u64; 0]);
    assert_eq!(requests(s, 0).await, []);
}

async fn everything_comes_back(s: &impl Store) {
    let (shop, blog, shared) = (stack("shop"), stack("blog"), Key::Project("a b/ü".into()));
    s.commit(vec![
        Change::Record(shop.clone(), record(1)),
        Change::Record(blog.clone(), record(2)),
        Change::Record(shared.clone(), Box::default()),
        Change::Intent(intent("op-2")),
        Change::Intent(intent("op-1")),
        Change::Status(status(shop.clone(), 1)),
        Change::Event(event(1, shop.clone())),
        Change::Event(event(2, shared.clone())),
        Change::Run(run(1, shop.clone())),
        Change::Version(version("shop", "web", 1, 0xabc)),
        Change::Secret(secret("TOKEN", 1, 1)),
        ask("go on"),
        Change::RequestsDone(1),
    ])
    .await
    .unwrap();
    let snapshot = s.snapshot().await.unwrap();
    assert_eq!(
        snapshot.records,
        [(shared, Box::default()), (blog.clone(), record(2)), (shop.clone(), record(1))],
        "in the order of the keys"
    );
    assert_eq!(snapshot.intents, [intent("op-1"), intent("op-2")]);
    assert_eq!(snapshot.statuses, [status(shop.clone(), 1)]);
    assert_eq!(snapshot.secrets, [secret("TOKEN", 1, 1)]);
    assert_eq!((snapshot.last_event, snapshot.last_run, snapshot.last_request), (2, 1, 1));
    assert_eq!(snapshot.made, MADE);
    assert_eq!(s.query(Query::Statuses).await.unwrap(), Answer::Statuses(vec![*status(shop.clone(), 1)]));
    let one = s.query(Query::Status(shop.clone())).await.unwrap();
    assert_eq!(one, Answer::Statuses(vec![*status(shop.clone(), 1)]));
    assert_eq!(s.query(Query::Status(stack("none"))).await.unwrap(), Answer::Statuses(Vec::new()));
    assert_eq!(s.query(Query::Record(blog.clone())).await.unwrap(), Answer::Record(Some(record(2))));
    assert_eq!(s.query(Query::Record(stack("none"))).await.unwrap(), Answer::Record(None));
    assert_eq!(
        s.query(Query::Runs { key: shop.clone(), limit: 9 }).await.unwrap(),
        Answer::Runs(vec![*run(1, shop.clone())])
    );
    assert_eq!(versions(s, "shop").await, [*version("shop", "web", 1, 0xabc)]);
    let Answer::Events(list) = s.query(Query::Events { after: 0, key: None, limit: 1 }).await.unwrap() else {
        panic!()
    };
    assert_eq!(list, [event(2, Key::Project("a b/ü".into()))]);
}

async fn the_last_write_counts(s: &impl Store) {
    let key = stack("shop");
    s.commit(vec![Change::Record(key.clone(), record(1)), Change::Status(status(key.clone(), 1))])
        .await
        .unwrap();
    s.commit(vec![Change::Record(key.clone(), record(2)), Change::Status(status(key.clone(), 2))])
        .await
        .unwrap();
    let mut again = intent("op");
    s.commit(vec![Change::Intent(again.clone())]).await.unwrap();
    again.attempt = 2;
    s.commit(vec![Change::Intent(again.clone())]).await.unwrap();
    let snapshot = s.snapshot().await.unwrap();
    assert_eq!(snapshot.records, [(key.clone(), record(2))]);
    assert_eq!(snapshot.statuses, [status(key, 2)]);
    assert_eq!(snapshot.intents, [again]);
    s.commit(vec![Change::Settled("op".into()), Change::Settled("unheard-of".into())]).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap().intents, []);
}

async fn forgetting_takes_status_and_versions_along(s: &impl Store) {
    let (shop, shopping) = (stack("shop"), stack("shopping"));
    s.commit(vec![
        Change::Record(shop.clone(), record(1)),
        Change::Record(shopping.clone(), record(1)),
        Change::Status(status(shop.clone(), 1)),
        Change::Status(status(shopping.clone(), 1)),
        Change::Version(version("shop", "web", 1, 1)),
        Change::Version(version("shopping", "web", 1, 1)),
        Change::Intent(intent("op")),
        Change::Secret(secret("TOKEN", 1, 1)),
        Change::Event(event(1, shop.clone())),
        Change::Run(run(1, shop.clone())),
    ])
    .await
    .unwrap();
    // A project of the same name is something else.
    s.commit(vec![Change::Forget(Key::Project("shop".into()))]).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap().records.len(), 2);
    assert_eq!(versions(s, "shop").await.len(), 1);

    s.commit(vec![Change::Forget(shop.clone())]).await.unwrap();
    let snapshot = s.snapshot().await.unwrap();
    assert_eq!(snapshot.records, [(shopping.clone(), record(1))]);
    assert_eq!(snapshot.statuses, [status(shopping, 1)]);
    assert_eq!(versions(s, "shop").await, []);
    assert_eq!(versions(s, "shopping").await.len(), 1);
    // What is told of it, what is open, and what was given for it stays.
    assert_eq!((snapshot.intents.len(), snapshot.secrets.len()), (1, 1));
    assert_eq!(events(s, 0, Some(shop.clone()), 9).await, [1]);
    assert_eq!(runs(s, shop, 9).await, [1]);
}

async fn order_within_a_commit_counts(s: &impl Store) {
    let key = stack("shop");
    s.commit(vec![
        Change::Record(key.clone(), record(1)),
        Change::Forget(key.clone()),
        Change::Intent(intent("op")),
        Change::Settled("op".into()),
        Change::Intent(intent("op")),
    ])
    .await
    .unwrap();
    let snapshot = s.snapshot().await.unwrap();
    assert_eq!((snapshot.records.len(), snapshot.intents.len()), (0, 1));
    s.commit(vec![Change::Forget(key.clone()), Change::Record(key, record(2))]).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap().records.len(), 1);
}

async fn a_refused_commit_changes_nothing(s: &impl Store) {
    let key = stack("shop");
    s.commit(vec![Change::Secret(secret("TOKEN", 3, 1))]).await.unwrap();
    let before = s.snapshot().await.unwrap();
    let refused = s
        .commit(vec![
            Change::Record(key.clone(), record(1)),
            Change::Event(event(1, key.clone())),
            Change::Version(version("shop", "web", 1, 1)),
            ask("go on"),
            Change::Secret(secret("TOKEN", 2, 2)),
            Change::Record(stack("blog"), record(1)),
        ])
        .await;
    assert!(matches!(refused, Err(PortError::Conflict(_))), "{refused:?}");
    assert_eq!(s.snapshot().await.unwrap(), before);
    assert_eq!(versions(s, "shop").await, []);
    assert_eq!(requests(s, 0).await, []);
    // And the store goes on.
    s.commit(vec![Change::Record(key, record(1))]).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap().records.len(), 1);
}

/// After a commit that was not answered, the same changes are committed again.
async fn the_same_commit_again_changes_nothing(s: &impl Store) {
    let key = stack("shop");
    let changes = vec![
        Change::Record(key.clone(), record(1)),
        Change::Intent(intent("op")),
        Change::Status(status(key.clone(), 1)),
        Change::Event(event(1, key.clone())),
        Change::Run(run(1, key.clone())),
        Change::Version(version("shop", "web", 1, 1)),
        Change::Secret(secret("TOKEN", 1, 1)),
        Change::RequestsDone(0),
    ];
    s.commit(changes.clone()).await.unwrap();
    let before = s.snapshot().await.unwrap();
    s.commit(changes).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap(), before);
    assert_eq!(events(s, 0, None, 9).await, [1]);
    assert_eq!(runs(s, key, 9).await, [1]);
    assert_eq!(versions(s, "shop").await.len(), 1);
}

async fn events_resume_after_a_number(s: &impl Store) {
    for id in 1..=6 {
        s.commit(vec![Change::Event(event(id, stack("shop")))]).await.unwrap();
    }
    assert_eq!(events(s, 0, None, 100).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(events(s, 4, None, 100).await, [5, 6]);
    assert_eq!(events(s, 6, None, 100).await, [0_u64; 0]);
    assert_eq!(events(s, u64::MAX, None, 100).await, [0_u64; 0]);
}

async fn events_of_one_key_and_at_most_so_many(s: &impl Store) {
    for id in 1..=9 {
        let key = if id % 3 == 0 { stack("blog") } else { stack("shop") };
        s.commit(vec![Change::Event(event(id, key))]).await.unwrap();
    }
    assert_eq!(events(s, 0, None, 3).await, [7, 8, 9], "the newest, oldest first");
    assert_eq!(events(s, 0, Some(stack("blog")), 100).await, [3, 6, 9]);
    assert_eq!(events(s, 3, Some(stack("blog")), 1).await, [9]);
    assert_eq!(events(s, 0, Some(stack("none")), 100).await, [0_u64; 0]);
    assert_eq!(events(s, 0, None, 0).await, [0_u64; 0]);
}

async fn events_are_bounded(s: &impl Store) {
    s.commit((1..=50).map(|id| Change::Event(event(id, stack("shop")))).collect()).await.unwrap();
    assert_eq!(events(s, 0, None, 100).await, (31..=50).collect::<Vec<u64>>());
    s.commit(vec![Change::Event(event(51, stack("shop")))]).await.unwrap();
    assert_eq!(events(s, 0, None, 100).await, (32..=51).collect::<Vec<u64>>());
    assert_eq!(s.snapshot().await.unwrap().last_event, 51);
}

async fn runs_are_bounded_per_key_and_overall(s: &impl Store) {
    s.commit((1..=8).map(|id| Change::Run(run(id, stack("shop")))).collect()).await.unwrap();
    s.commit(vec![Change::Run(run(9, stack("blog")))]).await.unwrap();
    assert_eq!(runs(s, stack("shop"), 100).await, [8, 7, 6, 5, 4], "newest first");
    assert_eq!(runs(s, stack("shop"), 2).await, [8, 7]);
    assert_eq!(runs(s, stack("blog"), 100).await, [9]);
    // Thirty in all: keys that nobody runs any more give way.
    for id in 10..=37 {
        s.commit(vec![Change::Run(run(id, stack(&format!("s-{id}"))))]).await.unwrap();
    }
    assert_eq!(runs(s, stack("shop"), 100).await, [8]);
    s.commit(vec![Change::Run(run(38, stack("last")))]).await.unwrap();
    assert_eq!(runs(s, stack("shop"), 100).await, [0_u64; 0]);
    assert_eq!(runs(s, stack("blog"), 100).await, [9]);
    assert_eq!(s.snapshot().await.unwrap().last_run, 38);
}

async fn versions_are_bounded_per_app_and_newest_first(s: &impl Store) {
    for generation in 1..=14 {
        s.commit(vec![
            Change::Version(version("shop", "web", generation, generation)),
            Change::Version(version("blog", "web", generation, generation)),
        ])
        .await
        .unwrap();
    }
    s.commit(vec![Change::Version(version("shop", "api", 1, 1))]).await.unwrap();
    let list: Vec<(String, u64)> =
        versions(s, "shop").await.into_iter().map(|v| (v.app.to_string(), v.generation)).collect();
    let mut wanted = vec![("api".to_owned(), 1)];
    wanted.extend((5..=14).rev().map(|generation| ("web".to_owned(), generation)));
    assert_eq!(list, wanted);
    assert_eq!(versions(s, "blog").await.len(), 10);
}

async fn a_version_that_passes_again_is_the_newest_again(s: &impl Store) {
    for (generation, hash) in [(1, 1), (2, 2), (3, 1), (1, 1)] {
        s.commit(vec![Change::Version(version("shop", "web", generation, hash))]).await.unwrap();
    }
    let list: Vec<(u64, u64)> =
        versions(s, "shop").await.into_iter().map(|v| (v.generation, v.hash.0)).collect();
    assert_eq!(list, [(1, 1), (3, 1), (2, 2)]);
}

async fn requests_are_numbered_and_done_in_order(s: &impl Store) {
    s.commit(vec![ask("a"), ask("b")]).await.unwrap();
    s.commit(vec![ask("c")]).await.unwrap();
    let all = [(1, "a".to_owned()), (2, "b".to_owned()), (3, "c".to_owned())];
    assert_eq!(requests(s, 0).await, all);
    assert_eq!(requests(s, 2).await, all[2..]);
    assert_eq!(requests(s, 3).await, []);
    s.commit(vec![Change::RequestsDone(2)]).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap().last_request, 2);
    s.commit(vec![Change::RequestsDone(1)]).await.unwrap();
    assert_eq!(s.snapshot().await.unwrap().last_request, 2, "never back");
    s.commit(vec![ask("d")]).await.unwrap();
    assert_eq!(requests(s, 3).await, [(4, "d".to_owned())]);
}

async fn requests_that_are_not_done_stay(s: &impl Store) {
    s.commit((1..=20).map(|n| ask(&n.to_string())).collect()).await.unwrap();
    s.commit(vec![Change::RequestsDone(0)]).await.unwrap();
    assert_eq!(requests(s, 0).await.len(), 20);
    s.commit(vec![Change::RequestsDone(18)]).await.unwrap();
    assert_eq!(requests(s, 0).await.first().map(|(n, _)| *n), Some(17), "the newest four stay");
    s.commit(vec![Change::RequestsDone(20)]).await.unwrap();
    s.commit(vec![ask("next")]).await.unwrap();
    assert_eq!(requests(s, 20).await, [(21, "next".to_owned())], "a number is never used twice");
}

async fn secrets_rise(s: &impl Store) {
    s.commit(vec![Change::Secret(secret("TOKEN", 1, 1))]).await.unwrap();
    s.commit(vec![Change::Secret(secret("TOKEN", 2, 2))]).await.unwrap();
    assert_eq!(secrets(s).await, [secret("TOKEN", 2, 2)]);
    for late in [secret("TOKEN", 1, 3), secret("TOKEN", 2, 3)] {
        let refused = s.commit(vec![Change::Secret(late)]).await;
        assert!(matches!(&refused, Err(PortError::Conflict(why)) if why.contains("TOKEN")), "{refused:?}");
    }
    let twice = vec![Change::Secret(secret("OTHER", 2, 1)), Change::Secret(secret("OTHER", 1, 2))];
    assert!(s.commit(twice).await.is_err(), "within one commit, too");
    assert_eq!(secrets(s).await, [secret("TOKEN", 2, 2)]);
    let remove = Change::RemoveSecret { stack: "shop".to_owned(), app: None, name: "TOKEN".to_owned() };
    s.commit(vec![remove.clone(), Change::Secret(secret("TOKEN", 1, 9))]).await.unwrap();
    assert_eq!(secrets(s).await, [secret("TOKEN", 1, 9)]);
    s.commit(vec![remove.clone(), remove]).await.unwrap();
    assert_eq!(secrets(s).await, []);
}

async fn a_secret_is_sealed_anew_without_rising(s: &impl Store) {
    s.commit(vec![Change::Secret(secret("TOKEN", 4, 1))]).await.unwrap();
    let anew = SecretRow { sealed: vec![9; 40], ..secret("TOKEN", 4, 1) };
    s.commit(vec![Change::Secret(anew.clone())]).await.unwrap();
    assert_eq!(secrets(s).await, [anew]);
}

async fn secrets_of_a_stack_and_of_its_app_differ(s: &impl Store) {
    let of_app = SecretRow { app: Some(app("web")), ..secret("TOKEN", 1, 1) };
    let of_project = SecretRow { stack: "project/shop".to_owned(), ..secret("TOKEN", 1, 1) };
    s.commit(vec![
        Change::Secret(of_app.clone()),
        Change::Secret(secret("TOKEN", 1, 1)),
        Change::Secret(of_project.clone()),
    ])
    .await
    .unwrap();
    assert_eq!(secrets(s).await, [of_project.clone(), secret("TOKEN", 1, 1), of_app.clone()]);
    let remove = Change::RemoveSecret { stack: "shop".to_owned(), app: None, name: "TOKEN".to_owned() };
    s.commit(vec![remove]).await.unwrap();
    assert_eq!(secrets(s).await, [of_project, of_app]);
}

async fn strange_texts_come_back(s: &impl Store) {
    let text = "'; drop table events; -- \" \\ \u{1f6a2} \r\n\t \u{7f} %_ ?1";
    let mut odd = event(1, Key::Project(text.into()));
    odd.message = text.to_owned();
    s.commit(vec![
        Change::Event(odd.clone()),
        Change::Secret(secret(text, 1, 1)),
        Change::Record(Key::Project(text.into()), record(1)),
    ])
    .await
    .unwrap();
    let found =
        s.query(Query::Events { after: 0, key: Some(Key::Project(text.into())), limit: 9 }).await.unwrap();
    assert_eq!(found, Answer::Events(vec![odd]));
    assert_eq!(secrets(s).await, [secret(text, 1, 1)]);
    assert_eq!(s.snapshot().await.unwrap().records, [(Key::Project(text.into()), record(1))]);
}

async fn commits_at_once_are_each_whole(s: &impl Store) {
    let commits = (0..40_u64).map(|n| {
        let key = stack(&format!("s-{n}"));
        s.commit(vec![
            Change::Record(key.clone(), record(n)),
            ask(&n.to_string()),
            ask(&n.to_string()),
            Change::Status(status(key, n)),
        ])
    });
    for done in futures::future::join_all(commits).await {
        done.unwrap();
    }
    let snapshot = s.snapshot().await.unwrap();
    assert_eq!((snapshot.records.len(), snapshot.statuses.len()), (40, 40));
    let list = requests(s, 0).await;
    assert_eq!(list.len(), 80);
    assert!(list.chunks(2).all(|pair| pair[0].1 == pair[1].1), "a commit's changes stand together");
}

async fn tokens_are_found_by_their_hash_and_revoked_by_their_name(s: &impl Store) {
    let (ci, portal) = (token("ci", 1, Some("acme")), token("portal", 2, None));
    s.commit(vec![Change::Token(portal.clone()), Change::Token(ci.clone())]).await.unwrap();
    // An unanswered commit is repeated.
    s.commit(vec![Change::Token(ci.clone())]).await.unwrap();
    assert_eq!(tokens(s, Query::Tokens).await, [ci.clone(), portal.clone()]);
    assert_eq!(tokens(s, Query::Token(ci.hash)).await, [ci]);
    assert_eq!(tokens(s, Query::Token(TokenHash([9; 32]))).await, []);
    s.commit(vec![Change::RevokeToken("ci".to_owned()), Change::RevokeToken("none".to_owned())])
        .await
        .unwrap();
    assert_eq!(tokens(s, Query::Tokens).await, [portal]);
}

async fn a_token_of_a_name_that_is_taken_changes_nothing(s: &impl Store) {
    s.commit(vec![Change::Token(token("ci", 1, None))]).await.unwrap();
    let other = Token { role: Role::Owner, ..token("ci", 2, None) };
    let refused = s.commit(vec![Change::Record(stack("shop"), record(1)), Change::Token(other)]).await;
    assert!(matches!(refused, Err(PortError::Conflict(_))), "{refused:?}");
    assert_eq!(tokens(s, Query::Tokens).await, [token("ci", 1, None)]);
    assert_eq!(s.snapshot().await.unwrap().records, []);
}

async fn the_audit_is_bounded_and_newest_first(s: &impl Store) {
    let entry = |n: i64| Audit {
        at: MADE.after(std::time::Duration::from_secs(n.unsigned_abs())),
        who: "token ci".to_owned(),
        what: "restart".to_owned(),
        key: Some(if n % 2 == 0 { "stack/blog" } else { "stack/shop" }.to_owned()),
        tenant: (n % 3 == 0).then(|| "acme".to_owned()),
        generation: (n > 4).then_some(n.unsigned_abs()),
        outcome: format!("done {n}"),
    };
    for n in 1..=8 {
        s.commit(vec![Change::Audit(entry(n))]).await.unwrap();
    }
    let all: Vec<Audit> = (3..=8).rev().map(entry).collect();
    assert_eq!(audit(s, None, None, 100).await, all);
    assert_eq!(audit(s, None, None, 2).await, all[..2]);
    assert_eq!(audit(s, Some("stack/shop"), None, 100).await, [entry(7), entry(5), entry(3)]);
    assert_eq!(audit(s, Some("stack/shop"), Some("acme"), 100).await, [entry(3)]);
}
