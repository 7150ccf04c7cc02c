//! Commands against a simulated server over loopback HTTP: plan, apply, what they leave to be looked at, and the demo.

mod common;

use common::{Place, Ran, STACK, berth, steady};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::time::Duration;

fn applied() -> Place {
    let place = Place::new();
    let ran = place.run(&["apply", "--once", "--timeout", "60s"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("✓ all 1 are Ready"), "{}", ran.err);
    place
}

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err))
}

#[test]
fn plan_apply_plan() {
    let place = Place::new();
    let ran = place.run(&["plan"]);
    assert_eq!(ran.code, 2, "{}", ran.err);
    insta::assert_snapshot!("plan_of_a_new_stack", ran.out);
    assert_eq!(place.sim.calls().iter().filter(|c| c.mutation).count(), 0, "a plan writes nothing");

    let ran = place.run(&["apply", "--once", "--timeout", "60s"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let ran = place.run(&["plan"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "Nothing to do: it is as its manifest says.\n"));

    place.write("stacks/blog.yaml", &STACK.replace("blue", "green"));
    let ran = place.run(&["plan", "blog", "-o", "json"]);
    assert_eq!(ran.code, 2);
    let plan = json(&ran);
    assert_eq!(plan[0]["deploys"], 1, "{plan}");
    assert!(!ran.out.contains("green"), "values of variables are secrets: {}", ran.out);

    place.write("stacks/other.yaml", "kind: Nothing\n");
    let ran = place.run(&["plan"]);
    assert_eq!(ran.code, 1, "a faulty manifest is an error: {}", ran.err);
    assert_eq!(place.run(&["plan", "nobody"]).code, 1);
}

#[test]
fn a_server_that_does_not_answer_is_an_error() {
    let place = Place::new();
    let settings = std::fs::read_to_string(place.path().join("berth.yaml")).unwrap();
    place.write("api.key", "wrong");
    let ran = place.run(&["plan"]);
    assert_eq!(ran.code, 1, "{}{}", ran.out, ran.err);
    assert!(ran.err.contains("berth doctor"), "{}", ran.err);
    assert!(settings.contains("main"));
}

#[test]
fn what_was_applied_can_be_looked_at() {
    let place = applied();
    let ran = place.run(&["get"]);
    insta::assert_snapshot!("get", steady(&ran.out));
    assert_eq!(json(&place.run(&["get", "stack", "blog", "-o", "json"]))[0]["tenant"], "acme");
    assert_eq!(json(&place.run(&["get", "--tenant", "other", "-o", "json"])).as_array().unwrap().len(), 0);
    let describe = place.run(&["describe", "blog"]);
    assert!(describe.out.contains("registry.sim/blog/web:1"), "{}{}", describe.out, describe.err);
    let explain = place.run(&["explain", "blog"]);
    for section in ["WHY IT RAN", "WHAT IT DID", "WHEN IT RUNS NEXT"] {
        assert!(explain.out.contains(section), "{section}: {}", explain.out);
    }
    assert!(place.run(&["events"]).out.contains("stack/blog"));
    let history = json(&place.run(&["history", "blog", "-o", "json"]));
    assert_eq!(history["versions"][0]["image"], "registry.sim/blog/web:1", "{history}");
    assert_eq!(place.run(&["wait", "blog", "--timeout", "10ms"]).code, 0);
    assert_eq!(place.run(&["wait", "blog", "--for", "gone", "--timeout", "10ms"]).code, 1);
    let ran = place.run(&["describe", "blo"]);
    assert!(ran.code == 1 && ran.err.contains("did you mean stack/blog?"), "{}", ran.err);
    assert!(place.run(&["get", "-o", "yaml"]).out.contains("name: blog"));
}

#[test]
fn requests_reach_the_next_run() {
    let place = applied();
    let ran = place.run(&["pause", "blog"]);
    assert!(ran.code == 0 && ran.err.contains("no daemon answers"), "{}", ran.err);
    place.write("stacks/blog.yaml", &STACK.replace("blue", "green"));
    let ran = place.run(&["rollback", "blog", "--to", "7"]);
    assert!(ran.code == 1 && ran.err.contains("generations kept: 1"), "{}", ran.err);
    assert_eq!(place.run(&["reconcile", "nobody"]).code, 1);
    assert_eq!(place.run(&["resume", "blog"]).code, 0);
    assert_eq!(place.run(&["reconcile", "--pull", "blog"]).code, 0);
    let ran = place.run(&["apply", "--once", "--timeout", "60s"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(place.run(&["plan"]).code, 0);
}

#[test]
fn delete_shows_and_does_nothing() {
    let place = applied();
    let ran = place.run(&["delete", "blog"]);
    assert!(ran.code == 1 && ran.err.contains("blog.yaml:1"), "{}", ran.err);
    let before = place.sim.dump();
    let ran = place.run(&["delete", "blog", "--dry-run"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.out.contains("- app web"), "{}", ran.out);
    assert_eq!(place.sim.dump(), before);
}

#[test]
fn confirm_shows_what_is_held() {
    let place = applied();
    assert_eq!(place.run(&["confirm"]).out, "Nothing is held.\n");
}

#[test]
fn doctor_tells_a_good_place_from_a_bad_one() {
    let place = applied();
    let ran = place.run(&["doctor"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("the key's role is owner"), "{}", ran.out);
    place.write("api.key", &place.sim.member_key());
    let ran = place.run(&["doctor", "-o", "json"]);
    assert_eq!(ran.code, 1);
    assert!(ran.out.contains("user.createApiKey"), "the command that makes a good key: {}", ran.out);
    assert!(!ran.out.contains(&place.sim.member_key()), "the key itself is not shown");
    let settings = std::fs::read_to_string(place.path().join("berth.yaml")).unwrap();
    for (itself, said) in
        [("blog/web", "it is app web of stack blog"), ("blog/daemon", "no manifest has such an app")]
    {
        place.write("berth.yaml", &format!("{settings}self: {itself}\n"));
        let ran = place.run(&["doctor"]);
        assert!(ran.out.contains(said), "{itself}: {}", ran.out);
    }
}

#[test]
fn a_second_daemon_is_refused_and_the_first_stops_when_asked() {
    let place = Place::new();
    let mut daemon = berth(place.path())
        .args(["run", "--log", "json", "--listen", "127.0.0.1:0"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut log = BufReader::new(daemon.stderr.take().unwrap());
    let address = loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "it ended");
        let line: Value = serde_json::from_str(&line).unwrap();
        if let Some(address) = line["address"].as_str() {
            break address.to_owned();
        }
    };
    let ran = place.run(&["run", "--listen", "127.0.0.1:0"]);
    assert!(ran.code == 1 && ran.err.contains("in use by another daemon"), "{}", ran.err);
    let ran = place.run(&["wait", "blog", "--timeout", "60s"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(get(&address, "/readyz").starts_with("HTTP/1.1 200"));
    let metrics = get(&address, "/metrics");
    assert!(metrics.contains("berth_backend_requests_total{backend=\"main\"}"), "{metrics}");
    assert!(metrics.contains("procedure=\"application.create\""), "{metrics}");
    let killed = std::process::Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
    assert!(killed.success());
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
    let mut rest = String::new();
    log.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stopped"), "{rest}");
}

#[test]
fn a_supervisor_that_asks_is_told() {
    let place = Place::new();
    let path = place.path().join("notify");
    let told = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    told.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let next = || {
        let mut text = [0; 256];
        let length = told.recv(&mut text).expect("it says something within a minute");
        String::from_utf8_lossy(&text[..length]).trim().to_owned()
    };
    let mut daemon = berth(place.path())
        .args(["run", "--no-live", "--listen", "127.0.0.1:0"])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let first: Vec<String> = std::iter::repeat_with(next).take_while(|said| said != "READY=1").collect();
    assert!(first.iter().all(|said| said == "WATCHDOG=1"), "{first:?}");
    assert_eq!([next(), next(), next()], ["WATCHDOG=1"; 3], "and goes on");
    let killed = std::process::Command::new("kill").arg(daemon.id().to_string()).status().unwrap();
    assert!(killed.success());
    while next() != "STOPPING=1" {}
    assert_eq!(daemon.wait().unwrap().code(), Some(0));
}

fn get(address: &str, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: berth\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn the_demo_happens() {
    let place = common::empty();
    let ran = common::run(place.path(), &["demo", "--once"]);
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("All of it happened"), "{}", ran.out);
}
