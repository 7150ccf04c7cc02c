//! The API of a real daemon on a real database: a stack's way from the first request to its removal, by HTTP, and what
//! SQL and the command see of it. With a certificate, and from a daemon that stands by.

mod common;

use berth_servers::{Postgres, free_port};
use common::{Place, berth, run};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

const TEMPLATE: &str = "insert into berth.stack_templates (name, spec) values ('web', '{\"target\": {\"project\": \"shared\", \
    \"environment\": \"production\", \"create\": true}, \"apps\": {\"web\": {\"image\": \"registry.sim/blog/web:1\", \
    \"port\": 8080}}}');";

/// A daemon, the settings it runs with, and its database.
struct Daemon {
    port: u16,
    settings: String,
    child: Child,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn wait<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if let Some(found) = found() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
    panic!("{what}: not within {PATIENCE:?}")
}

impl Daemon {
    fn start(place: &Place, url: &str, name: &str, api: &str) -> Self {
        let port = free_port();
        place.write("database.url", url);
        let settings = format!(
            "owner: test\nbackends:\n  main: {{dokploy: \"http://{}\", key: {{file: api.key}}, checkRegistry: false}}\n\
             source: {{postgres: {{file: database.url}}}}\nstate: {{postgres: {{file: database.url}}}}\n\
             vault: {{keys: {{file: vault.keys}}}}\nlisten: \"127.0.0.1:{port}\"\n{api}",
            place.dokploy
        );
        let file = format!("{name}.yaml");
        place.write(&file, &settings);
        let log = std::fs::File::create(place.path().join(format!("{name}.log"))).unwrap();
        let mut command = berth(place.path());
        command.args(["--config", &file, "run", "--no-live", "--log", "json"]);
        let child = command.stdout(Stdio::null()).stderr(log).spawn().expect("berth starts");
        Self { port, settings: file, child }
    }

    fn ready(&self) -> Value {
        wait("it is ready", || {
            let (status, body) = self.ask("GET", "/readyz", None, &[], "")?;
            (status == 200).then(|| serde_json::from_str(&body).unwrap())
        })
    }

    fn ask(
        &self,
        method: &str,
        path: &str,
        token: Option<&str>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut request = format!("{method} {path} HTTP/1.0\r\nhost: localhost\r\n");
        if let Some(token) = token {
            request.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            request
                .push_str(&format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        stream.write_all(body.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> (u16, Value) {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, text) = self.ask(method, path, Some(token), &[], &body).expect("an answer");
        let value = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (status, value)
    }
}

fn token(place: &Place, daemon: &Daemon, args: &[&str]) -> String {
    let mut all = vec!["--config", &daemon.settings, "token", "create"];
    all.extend(args);
    let made = run(place.path(), &all);
    assert_eq!(made.code, 0, "{}", made.err);
    made.out.trim().to_owned()
}

fn stage() -> (Place, Postgres, String) {
    let place = Place::new();
    let server = Postgres::start();
    let url = server.database();
    (place, server, url)
}

#[test]
fn a_stack_from_the_first_request_to_its_removal() {
    let (place, server, url) = stage();
    let daemon = Daemon::start(&place, &url, "a", "");
    daemon.ready();
    assert_eq!(server.psql(&url, &["-c", TEMPLATE]), "");
    let owner = token(&place, &daemon, &["portal", "--role", "owner"]);
    let acme = token(&place, &daemon, &["acme-admin", "--role", "admin", "--tenant", "acme"]);
    let other = token(&place, &daemon, &["other", "--role", "owner", "--tenant", "other"]);

    // Without a token nothing is told, where rows are a source.
    assert_eq!(daemon.ask("GET", "/api/v1/stacks", None, &[], "").unwrap().0, 401);
    for (name, state) in [("john-dev", "free"), ("admin", "reserved"), ("No", "invalid")] {
        assert_eq!(
            daemon.json("GET", &format!("/api/v1/names/{name}"), &acme, &Value::Null).1["state"],
            state
        );
    }

    // What is wrong is told at once, and nothing is asked for.
    let wrong = json!({"template": "web", "spec": {"apps": {"web": {"prot": 80}}}});
    let (status, answer) = daemon.json("PUT", "/api/v1/stacks/john-dev", &acme, &wrong);
    assert_eq!(
        (status, &answer["error"]["faults"][0]["path"]),
        (422, &json!("spec.apps.web.prot")),
        "{answer}"
    );
    let (status, answer) = daemon.json("PUT", "/api/v1/stacks/john-dev", &acme, &json!({"template": "wbe"}));
    assert_eq!(status, 422, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("no template 'wbe'"), "{answer}");

    // The plan, which changes nothing.
    let want = json!({"template": "web", "spec": {"apps": {"web": {"env": {"COLOUR": "canary-5678"}}}}});
    let (status, plan) = daemon.json("PUT", "/api/v1/stacks/john-dev?dryRun=true", &acme, &want);
    assert_eq!((status, &plan["deploys"]), (200, &json!(1)), "{plan}");
    assert!(!plan.to_string().contains("canary-5678"), "{plan}");
    assert_eq!(server.psql(&url, &["-At", "-c", "select count(*) from berth.stacks"]), "0\n");

    // Asked for, and followed from accepted to Ready.
    let (status, answer) = daemon.json("PUT", "/api/v1/stacks/john-dev", &acme, &want);
    assert_eq!(
        (status, &answer["tenant"], &answer["generation"]),
        (201, &json!("acme"), &json!(1)),
        "{answer}"
    );
    let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let follow = format!(
        "GET /api/v1/stacks/john-dev/events?after=0 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {acme}\r\n\r\n"
    );
    stream.write_all(follow.as_bytes()).unwrap();
    let mut seen = Vec::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(data) = line.strip_prefix("data:") {
            let data: Value = serde_json::from_str(data.trim()).unwrap_or(Value::Null);
            if data["ready"].is_boolean() {
                seen.push(data["reason"].as_str().unwrap_or_default().to_owned());
                if data["ready"] == true {
                    break;
                }
            }
        }
    }
    assert_eq!(seen.last().map(String::as_str), Some("Settled"), "{seen:?}");

    // Only its own tenant finds it.
    assert_eq!(daemon.json("GET", "/api/v1/stacks/john-dev", &other, &Value::Null).0, 404);
    assert_eq!(daemon.json("PUT", "/api/v1/stacks/john-dev", &other, &json!({"template": "web"})).0, 409);
    assert_eq!(daemon.json("DELETE", "/api/v1/stacks/john-dev", &acme, &Value::Null).0, 403);

    // Conditions of a change.
    let put = |tag: &str| {
        daemon.ask("PUT", "/api/v1/stacks/john-dev", Some(&acme), &[("if-match", tag)], &want.to_string())
    };
    assert_eq!(put("\"7\"").unwrap().0, 412);
    assert_eq!(put("\"1\"").unwrap().0, 200);
    assert_eq!(
        server.psql(&url, &["-At", "-c", "select generation from berth.stacks"]),
        "1\n",
        "nothing changed"
    );

    // Scaled in its row, by HTTP and by the command.
    let scale = "/api/v1/stacks/john-dev/apps/web/scale";
    let (status, answer) = daemon.json("POST", scale, &acme, &json!({"replicas": 2}));
    assert_eq!((status, &answer["generation"]), (200, &json!(2)), "{answer}");
    let scaled = run(place.path(), &["--config", &daemon.settings, "scale", "john-dev", "web", "3"]);
    assert_eq!(scaled.code, 0, "{}", scaled.err);
    let spec = "select spec #>> '{apps,web,replicas}', spec #>> '{apps,web,env,COLOUR}' from berth.stacks";
    assert_eq!(server.psql(&url, &["-At", "-c", spec]), "3|canary-5678\n");
    wait("three of it run", || {
        let (_, answer) = daemon.json("GET", "/api/v1/stacks/john-dev", &acme, &Value::Null);
        (answer["ready"] == true && answer["generation"] == 3).then_some(())
    });

    // A secret that is given by HTTP is what runs.
    let env = json!({"COLOUR": "canary-5678", "KEY": {"secret": "KEY"}});
    let keyed = json!({"template": "web", "spec": {"apps": {"web": {"replicas": 3, "env": env}}}});
    assert_eq!(daemon.json("PUT", "/api/v1/stacks/john-dev", &acme, &keyed).0, 200);
    wait("it misses its secret", || {
        let (_, answer) = daemon.json("GET", "/api/v1/stacks/john-dev", &acme, &Value::Null);
        (answer["reason"] == "MissingSecret").then_some(())
    });
    let value = json!({"value": "canary-8765"});
    let (status, given) = daemon.json("PUT", "/api/v1/stacks/john-dev/secrets/KEY", &acme, &value);
    assert_eq!((status, &given["version"]), (200, &json!(1)), "{given}");
    wait("it runs with its secret", || {
        let (_, answer) = daemon.json("GET", "/api/v1/stacks/john-dev", &acme, &Value::Null);
        (answer["ready"] == true && answer["generation"] == 4).then_some(())
    });
    assert!(place.sim.dump().to_string().contains("canary-8765"));

    // Restarted once by each, and what it wrote.
    let restarts = || place.sim.calls().iter().filter(|c| c.procedure == "application.reload").count();
    let restart = "/api/v1/stacks/john-dev/apps/web/restart";
    assert_eq!(daemon.json("POST", restart, &acme, &Value::Null).0, 202);
    wait("it is restarted", || (restarts() == 1).then_some(()));
    assert_eq!(run(place.path(), &["--config", &daemon.settings, "restart", "john-dev"]).code, 0);
    wait("it is restarted again", || (restarts() == 2).then_some(()));
    let (status, text) =
        daemon.json("GET", "/api/v1/stacks/john-dev/apps/web/logs?tail=5", &acme, &Value::Null);
    assert!(status == 200 && text.as_str().unwrap().contains("listening"), "{status} {text}");
    let logs = run(place.path(), &["--config", &daemon.settings, "logs", "john-dev", "--last", "1"]);
    assert!(logs.code == 0 && logs.out.lines().count() == 1, "{} {}", logs.out, logs.err);

    // A token that is revoked is none, at once.
    assert_eq!(run(place.path(), &["--config", &daemon.settings, "token", "revoke", "other"]).code, 0);
    assert_eq!(daemon.json("GET", "/api/v1/stacks", &other, &Value::Null).0, 401);

    // Removed; its name is free once everything is gone.
    assert_eq!(daemon.json("DELETE", "/api/v1/stacks/john-dev", &owner, &Value::Null).0, 202);
    wait("its name is free", || {
        (daemon.json("GET", "/api/v1/names/john-dev", &owner, &Value::Null).1["state"] == "free")
            .then_some(())
    });
    assert!(place.sim.dump()["applications"].as_array().unwrap().is_empty());

    // Every change left a trace, whoever made it and however.
    let traces = server.psql(
        &url,
        &["-At", "-c", "select who, what, generation from berth.audit_log where key = 'stack/john-dev' and who not like 'cli %' order by id"],
    );
    assert_eq!(
        traces,
        "token acme-admin|insert|1\ntoken acme-admin|update|2\ntoken acme-admin|update|4\n\
         token acme-admin|give secret|4\ntoken acme-admin|restart|4\ntoken portal|delete|5\n\
         postgres|remove|5\n"
    );
    let audit = run(place.path(), &["--config", &daemon.settings, "audit", "john-dev"]);
    assert!(audit.out.contains("cli ") && audit.out.contains("restart"), "{}", audit.out);
    let log = std::fs::read_to_string(place.path().join("a.log")).unwrap();
    assert!(!log.contains("canary-") && !log.contains(&owner), "a secret in the log");
}

#[test]
fn a_daemon_that_stands_by_answers_and_takes_what_is_asked_for() {
    let (place, server, url) = stage();
    let leader = Daemon::start(&place, &url, "a", "");
    leader.ready();
    assert_eq!(server.psql(&url, &["-c", TEMPLATE]), "");
    let standby = Daemon::start(&place, &url, "b", "");
    let readiness = standby.ready();
    assert_eq!(readiness["lead"]["leads"], false, "{readiness}");
    let owner = token(&place, &standby, &["portal", "--role", "owner"]);
    let want = json!({"template": "web"});
    let (status, plan) = standby.json("PUT", "/api/v1/stacks/blog?dryRun=true", &owner, &want);
    assert_eq!((status, &plan["deploys"]), (200, &json!(1)), "{plan}");
    assert_eq!(standby.json("PUT", "/api/v1/stacks/blog", &owner, &want).0, 201);
    wait("the leader brought it up", || {
        let (_, answer) = standby.json("GET", "/api/v1/stacks/blog", &owner, &Value::Null);
        (answer["ready"] == true).then_some(())
    });
    let (status, text) = standby.json("GET", "/api/v1/stacks/blog/apps/web/logs", &owner, &Value::Null);
    assert!(status == 200 && text.as_str().unwrap().contains("listening"), "{status} {text}");
}

#[test]
fn with_a_certificate_nothing_is_served_without() {
    let (place, _server, url) = stage();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"])
        .args(["-subj", "/CN=localhost", "-days", "2", "-keyout", "tls.key", "-out", "tls.crt"])
        .current_dir(place.path())
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let daemon = Daemon::start(&place, &url, "a", "api: {tls: {certificate: tls.crt, key: tls.key}}\n");
    let healthy = || run(place.path(), &["--config", "a.yaml", "healthcheck"]);
    wait("its health check passes", || (healthy().code == 0).then_some(()));
    assert!(daemon.ask("GET", "/healthz", None, &[], "").is_none(), "plain text is not answered");
    let port = daemon.port.to_string();
    let mut asked = std::process::Command::new("openssl")
        .args([
            "s_client",
            "-quiet",
            "-connect",
            &format!("127.0.0.1:{port}"),
            "-CAfile",
            "tls.crt",
            "-verify_return_error",
        ])
        .current_dir(place.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("openssl runs");
    asked.stdin.take().unwrap().write_all(b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    let answer = asked.wait_with_output().unwrap();
    let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
    assert!(answer.contains("{\"status\":\"healthy\"}"), "{answer}");
}

/// Requests made up from the API's own document, by a program that looks for those that break a server.
#[test]
fn whatever_is_asked_there_is_no_server_error() {
    let tool = std::env::var("BERTH_SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".to_owned());
    let (place, server, url) = stage();
    let daemon = Daemon::start(&place, &url, "a", "api: {requestsPerSecond: 10000}\n");
    daemon.ready();
    assert_eq!(server.psql(&url, &["-c", TEMPLATE]), "");
    let owner = token(&place, &daemon, &["fuzzer", "--role", "owner"]);
    assert_eq!(daemon.json("PUT", "/api/v1/stacks/blog", &owner, &json!({"template": "web"})).0, 201);
    let examples = if std::env::var("BERTH_LONG").is_ok() { "300" } else { "15" };
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
                  ignored_auth,unsupported_method";
    let ask = |which: &[&str]| {
        let ran = std::process::Command::new(&tool)
            .args(["run", &format!("http://127.0.0.1:{}/api/v1/openapi.json", daemon.port)])
            .args(["--header", &format!("Authorization: Bearer {owner}"), "--checks", checks])
            .args(["--max-examples", examples, "--seed", "1", "--phases", "examples,coverage,fuzzing"])
            .args(["--continue-on-failure", "--no-color"])
            .args(which)
            .current_dir(place.path())
            .output()
            .unwrap_or_else(|e| {
                panic!("{tool}: {e}; it is on the Python index as schemathesis, and tests/run installs it")
            });
        let said = String::from_utf8_lossy(&ran.stdout);
        assert!(ran.status.success(), "{said}\n{}", String::from_utf8_lossy(&ran.stderr));
    };
    // Streams never end. Its own token is revoked last, or nothing after it would be asked by anybody.
    ask(&["--exclude-path-regex", "events$", "--exclude-operation-id", "revokeToken"]);
    assert_eq!(daemon.json("GET", "/api/v1/stacks", &owner, &Value::Null).0, 200);
    ask(&["--include-operation-id", "revokeToken"]);
    let refused =
        server.psql(&url, &["-At", "-c", "select count(*) from berth.audit_log where who = 'token fuzzer'"]);
    assert!(refused.trim().parse::<u32>().unwrap() > 10, "it changed next to nothing: {refused}");
    let log = std::fs::read_to_string(place.path().join("a.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}
