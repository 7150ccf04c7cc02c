//! Daemons and a database that is not well: away, restarted, read-only, full, locked, replaced by an older copy, or
//! behind a pooler. Nothing outside is written that is not written down, nothing is deleted, it is said what is wrong,
//! and everything goes on by itself.

mod common;

use berth_servers::{Pgbouncer, Postgres, Session};
use common::Place;
use common::daemons::{
    Asked, Daemon, TEMPLATE, all_is_true, roll, seed, sql, stage, variables, wait, within,
};
use rustix::process::Signal;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How soon a row is found where no notification tells of it.
const LOOK: Duration = Duration::from_secs(5);

/// Calls that change something.
fn writes(place: &Place) -> usize {
    place.sim.calls().iter().filter(|c| c.mutation).count()
}

fn insert(name: &str, round: usize) -> String {
    format!(
        "insert into berth.stacks (name, template, spec) \
         values ('{name}', 'web', '{{\"apps\": {{\"web\": {{\"env\": {{\"ROUND\": \"{round}\"}}}}}}}}');"
    )
}

/// Waits until the daemon says so, is not ready, and shows that its state is not.
fn says(daemon: &Daemon, what: &str) {
    let mut last = String::new();
    let said = within(Duration::from_secs(60), || {
        last = daemon.readiness()?;
        (last.starts_with("HTTP/1.0 503") && last.contains(what)).then_some(())
    });
    assert!(said.is_some(), "it does not say {what:?}: {last}");
    assert_eq!(daemon.metric("berth_store_up"), Some(0.0), "{what}");
}

fn leads(daemon: &Daemon) {
    wait("it leads", || (daemon.leads() == Some(true)).then_some(()));
    wait("its state is well", || (daemon.metric("berth_store_up") == Some(1.0)).then_some(()));
}

/// Nothing is written outside for as long as a daemon that did would take to do it.
fn silent(place: &Place) {
    let before = writes(place);
    let wrote = within(Duration::from_millis(1_500), || (writes(place) > before).then_some(()));
    assert!(wrote.is_none(), "{:?}", place.sim.calls().split_off(before));
}

fn one(settings: &[&str]) -> (Place, Postgres, String, Daemon) {
    let place = Place::new();
    let server = Postgres::start_with(settings);
    let url = server.database();
    let daemon = Daemon::of(&place, &server, &url, "a");
    leads(&daemon);
    assert_eq!(sql(&server, &url, TEMPLATE), "");
    (place, server, url, daemon)
}

#[test]
fn one_that_is_away_is_waited_for() {
    let place = Place::new();
    let server = Postgres::start();
    let url = server.database();
    server.stop();
    let daemon = Daemon::of(&place, &server, &url, "a");
    says(&daemon, "can be reached from here");
    assert_eq!(daemon.metric("berth_leader"), Some(0.0));
    server.up();
    leads(&daemon);
    assert_eq!(sql(&server, &url, &format!("{TEMPLATE} {}", insert("s0", 0))), "");
    let asked = Asked::from([("s0".to_owned(), 0)]);
    all_is_true(&place, &server, &url, &asked);
    let written = writes(&place);
    for end in [Postgres::stop, Postgres::crash] {
        end(&server);
        wait("nobody leads without it", || (daemon.leads() == Some(false)).then_some(()));
        says(&daemon, "can be reached from here");
        server.up();
        leads(&daemon);
    }
    all_is_true(&place, &server, &url, &asked);
    assert_eq!(writes(&place), written, "all was there");
}

#[test]
fn one_that_may_not_be_written_to_says_so() {
    let (place, server, url, daemon) = one(&[]);
    let set = |to: &str| {
        let mut session = server.session(&url);
        let text =
            format!("set default_transaction_read_only = off; alter system {to}; select pg_reload_conf();");
        assert_eq!(session.run(&text).as_deref(), Some("t\n"));
    };
    set("set default_transaction_read_only = on");
    says(&daemon, "read-only");
    assert_eq!(daemon.leads(), Some(false));
    let mut portal = server.session(&url);
    let said = portal.run(&format!("set default_transaction_read_only = off; {}", insert("s0", 0)));
    assert_eq!(said.as_deref(), Some(""));
    silent(&place);
    set("reset default_transaction_read_only");
    leads(&daemon);
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 0)]));
}

#[test]
fn one_without_a_free_connection_is_waited_for() {
    let place = Place::new();
    let server = Postgres::start_with(&["max_connections=12"]);
    let url = server.database();
    let fill = || {
        let let_in = |_| {
            let mut session = server.session(&url);
            session.run("").map(|_| session)
        };
        (0..).map_while(let_in).collect::<Vec<Session>>()
    };
    let others = fill();
    assert!(others.len() > 8, "{}", others.len());
    let daemon = Daemon::of(&place, &server, &url, "a");
    says(&daemon, "too many clients");
    drop(others);
    leads(&daemon);
    assert_eq!(sql(&server, &url, TEMPLATE), "");
    // What the daemon has it keeps; more it does not get.
    let mut others = fill();
    assert_eq!(others[0].run(&insert("s0", 0)).as_deref(), Some(""));
    let asked = Asked::from([("s0".to_owned(), 0)]);
    wait("it is made all the same", || (variables(&place) == asked).then_some(()));
    drop(others);
    all_is_true(&place, &server, &url, &asked);
}

#[test]
fn one_that_is_locked_holds_up_what_it_must_and_no_more() {
    let (place, server, url, daemon) = one(&[]);
    let mut somebody = server.session(&url);
    let lock = |table: &str| format!("begin; lock table berth.{table} in access exclusive mode;");
    assert_eq!(somebody.run(&lock("records")).as_deref(), Some(""));
    assert_eq!(sql(&server, &url, &insert("s0", 0)), "");
    says(&daemon, "lock timeout");
    silent(&place);
    assert_eq!(writes(&place), 0, "nothing was written down");
    assert!(daemon.metric("berth_store_errors_total") > Some(0.0));
    assert_eq!(daemon.metric("berth_leader"), Some(1.0), "the lease is not locked");
    somebody.run("rollback;");
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 0)]));
    // Rows cannot be looked at, and the lead is held all the same.
    assert_eq!(somebody.run(&lock("manifests")).as_deref(), Some(""));
    let lost = within(Duration::from_secs(5), || (daemon.leads() == Some(false)).then_some(()));
    assert!(lost.is_none(), "{:?}", std::fs::read_to_string(daemon.log(&place)));
    somebody.run("rollback;");
    assert_eq!(sql(&server, &url, &insert("s1", 1)), "");
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 0), ("s1".to_owned(), 1)]));
}

#[test]
fn one_that_lost_its_last_commits_loses_nothing_outside() {
    let (place, server, url, mut daemons) = stage();
    assert_eq!(sql(&server, &url, &(insert("s0", 0) + &insert("s1", 0))), "");
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 0), ("s1".to_owned(), 0)]));
    let copy = server.copy();

    // One more, one changed, one gone, and the lead changes hands: none of it is in the copy.
    let text = insert("s2", 1)
        + "update berth.stacks set spec = '{\"apps\": {\"web\": {\"env\": {\"ROUND\": \"1\"}}}}' where name = 's0'; \
           delete from berth.stacks where name = 's1';";
    assert_eq!(sql(&server, &url, &text), "");
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 1), ("s2".to_owned(), 1)]));
    let leader = daemons.iter().position(|d| d.leads() == Some(true)).expect("one leads");
    daemons[leader].signal(Signal::TERM);
    daemons[leader].end();
    wait("the other leads", || (daemons[1 - leader].leads() == Some(true)).then_some(()));
    daemons[leader].up(&place);
    let id = |stack: &str| {
        let dump = place.sim.dump();
        let apps = dump["applications"].as_array().unwrap().iter();
        let mut own = apps.filter(|a| a["description"].as_str().unwrap().contains(&format!("/{stack}/")));
        own.next().map(|a| a["applicationId"].clone())
    };
    let kept = (id("s0"), id("s2"));
    let deleted = || place.sim.calls().iter().filter(|c| c.procedure == "application.delete").count();
    let before = deleted();
    let epoch = sql(&server, &url, "select epoch from berth.lease");

    server.fail_over(copy);
    // What the database says is true, and what it does not know is left alone.
    let expected = "s0|t|Settled\ns1|t|Settled\ns2|f|Unclaimed\n";
    let there = [("s0", 0), ("s1", 0), ("s2", 1)].map(|(name, round)| (name.to_owned(), round));
    let there = Asked::from(there);
    let mut seen = String::new();
    let reached = within(Duration::from_secs(90), || {
        seen = sql(&server, &url, "select name, ready, reason from berth.stack_status order by 1");
        (seen == expected && variables(&place) == there).then_some(())
    });
    assert!(reached.is_some(), "{seen}{:?}", variables(&place));
    assert!(sql(&server, &url, "select epoch from berth.lease") <= epoch, "it began again");

    // Whoever misses a row writes it again, and the stack is taken up as it is.
    assert_eq!(sql(&server, &url, &insert("s2", 2)), "");
    let mut asked = there;
    asked.insert("s2".to_owned(), 2);
    all_is_true(&place, &server, &url, &asked);
    assert_eq!((id("s0"), id("s2")), kept, "none was made anew");
    assert_eq!(deleted(), before, "none was deleted");

    // In the middle of what the lost rows set going.
    let mut seed = seed(5);
    for round in 3..if std::env::var("BERTH_LONG").is_ok() { 13 } else { 4 } {
        let copy = server.copy();
        let name = format!("s{round}");
        let calls = place.sim.calls().len() + roll(&mut seed) % 16;
        assert_eq!(sql(&server, &url, &insert(&name, round)), "");
        within(Duration::from_secs(1), || (place.sim.calls().len() >= calls).then_some(()));
        server.fail_over(copy);
        wait("somebody leads", || daemons.iter().any(|d| d.leads() == Some(true)).then_some(()));
        assert_eq!(sql(&server, &url, &insert(&name, round + 100)), "");
        asked.insert(name, round + 100);
        all_is_true(&place, &server, &url, &asked);
    }
    assert_eq!(deleted(), before, "none was deleted");
}

#[test]
fn rows_are_found_however_they_come() {
    let (place, server, url, mut daemon) = one(&[]);
    assert_eq!(sql(&server, &url, &(insert("s0", 0) + &insert("s1", 0))), "");
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 0), ("s1".to_owned(), 0)]));

    // While nobody runs.
    daemon.signal(Signal::TERM);
    daemon.end();
    let text = insert("s2", 1)
        + "update berth.stacks set spec = '{\"apps\": {\"web\": {\"env\": {\"ROUND\": \"1\"}}}}' where name = 's0'; \
           delete from berth.stacks where name = 's1';";
    assert_eq!(sql(&server, &url, &text), "");
    daemon.up(&place);
    let mut asked = Asked::from([("s0".to_owned(), 1), ("s2".to_owned(), 1)]);
    all_is_true(&place, &server, &url, &asked);

    // Ten thousand at once, one of them good. The others name a template that is not there.
    let many = "insert into berth.stacks (name, template, spec) \
                select 'many-' || n, 'none', '{}' from generate_series(1, 10000) n;";
    assert_eq!(sql(&server, &url, &format!("begin; {many} {} commit;", insert("s3", 2))), "");
    asked.insert("s3".to_owned(), 2);
    wait("all are read", || (daemon.metric("berth_manifest_errors") == Some(10_000.0)).then_some(()));
    wait("the good one is made", || (variables(&place) == asked).then_some(()));

    // One of which no notification tells.
    let silently = |does: &str| format!("alter table berth.manifests {does} trigger after_insert;");
    let text = format!("begin; {} {} {} commit;", silently("disable"), insert("s4", 3), silently("enable"));
    let calls = place.sim.calls().len();
    assert_eq!(sql(&server, &url, &text), "");
    let found = within(LOOK, || (place.sim.calls().len() > calls).then_some(()));
    assert!(found.is_some(), "not found by looking");
    asked.insert("s4".to_owned(), 3);
    wait("it is made", || (variables(&place) == asked).then_some(()));
}

#[test]
fn a_pooler_may_stand_before_it() {
    let place = Place::new();
    let server = Postgres::start();
    let pooler = Pgbouncer::before(&server);
    let url = server.database();
    let mut daemons = ["a", "b"].map(|name| Daemon::through(&place, pooler.port(), &server, &url, name));
    let leader = wait("one leads, and one stands by", || {
        let leader = daemons.iter().position(|d| d.leads() == Some(true))?;
        daemons[1 - leader].stands_by().then_some(leader)
    });
    assert_eq!(sql(&server, &url, TEMPLATE), "");
    let mut asked = Asked::new();
    for round in 0..3 {
        let name = format!("s{round}");
        let calls = place.sim.calls().len();
        assert_eq!(sql(&server, &url, &insert(&name, round)), "");
        let found = within(LOOK, || (place.sim.calls().len() > calls).then_some(()));
        assert!(found.is_some(), "not found by looking");
        asked.insert(name, round);
        all_is_true(&place, &server, &url, &asked);
    }
    // The lead changes hands through it.
    daemons[leader].signal(Signal::KILL);
    daemons[leader].end();
    wait("the other leads", || (daemons[1 - leader].leads() == Some(true)).then_some(()));
    daemons[leader].up(&place);
    // The server goes, and the pooler stays.
    server.crash();
    wait("nobody leads without it", || daemons.iter().all(|d| d.leads() == Some(false)).then_some(()));
    server.up();
    wait("somebody leads", || daemons.iter().any(|d| d.leads() == Some(true)).then_some(()));
    assert_eq!(sql(&server, &url, &insert("s3", 3)), "");
    asked.insert("s3".to_owned(), 3);
    all_is_true(&place, &server, &url, &asked);
    for daemon in &daemons {
        let log = std::fs::read_to_string(daemon.log(&place)).unwrap();
        assert!(log.contains("a pooler stands before the database"), "{log}");
        assert!(!log.contains("prepared statement"), "{log}");
    }
}

#[test]
fn a_daemon_that_stands_by_tells_what_the_other_does() {
    let (_place, server, url, daemons) = stage();
    let standby = wait("one stands by", || daemons.iter().find(|d| d.stands_by()));
    let mut watch = TcpStream::connect(("127.0.0.1", standby.port)).unwrap();
    watch.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    watch.write_all(b"GET /api/v1/events HTTP/1.0\r\n\r\n").unwrap();
    let mut lines = BufReader::new(watch).lines().map(|line| line.expect("it goes on"));
    assert!(lines.any(|line| line.contains("watching")));
    assert_eq!(sql(&server, &url, &insert("s0", 0)), "");
    // In order, each once, until it is Ready.
    let mut last = 0;
    let ready = lines.any(|line| {
        if let Some(id) = line.strip_prefix("id:") {
            let id: u64 = id.trim().parse().unwrap();
            assert!(id > last, "{id} after {last}");
            last = id;
        }
        line.starts_with("data:") && line.contains("Settled")
    });
    assert!(ready, "the watch ended");
    assert!(standby.stands_by());
}

#[test]
fn apply_takes_a_free_lead_and_no_other() {
    let (place, server, url, mut daemon) = one(&[]);
    let apply = |config: &str| place.run(&["--config", config, "apply", "--once", "--timeout", "60s"]);
    let held = apply("a.yaml");
    assert_eq!(held.code, 1, "{}", held.err);
    assert!(
        held.err.contains("leads (asked at 127.0.0.1:") && held.err.contains("berth wait"),
        "{}",
        held.err
    );
    daemon.signal(Signal::TERM);
    daemon.end();
    assert_eq!(sql(&server, &url, &insert("s0", 0)), "");
    let done = apply("a.yaml");
    assert_eq!(done.code, 0, "{}", done.err);
    all_is_true(&place, &server, &url, &Asked::from([("s0".to_owned(), 0)]));
    // It handed the lead back: the next one has it at once.
    assert_eq!(sql(&server, &url, "select holder is null and expires_at < now() from berth.lease"), "t\n");
}
