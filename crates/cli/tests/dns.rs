//! `berth dns` and what the doctor says about DNS, against private name servers.

mod common;

use berth_engine::Metrics;
use berth_model::dns::{Fqdn, ZoneChoice};
use berth_ports::Dns;
use berth_servers::{Bind, Postgres, PowerDns};
use berth_store::{Lease, LeaseTimes};
use common::{Place, Ran, VAULT, empty, run};
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// A directory with settings that name these credentials. No Dokploy is asked.
fn settings(dns: &str) -> tempfile::TempDir {
    let directory = empty();
    let write = |file: &str, text: &str| std::fs::write(directory.path().join(file), text).unwrap();
    write(
        "berth.yaml",
        &format!(
            "owner: test\nbackends: {{main: {{dokploy: \"http://127.0.0.1:1\", key: {{file: api.key}}}}}}\n\
             source: {{directory: stacks}}\nstate: {{sqlite: berth.db}}\nvault: {{keys: {{file: vault.keys}}}}\n\
             listen: \"127.0.0.1:1\"\n{dns}"
        ),
    );
    write("api.key", "hunter2");
    write("vault.keys", VAULT);
    std::fs::create_dir(directory.path().join("stacks")).unwrap();
    directory
}

fn powerdns(server: &PowerDns) -> String {
    let (url, dns) = (server.url(), server.dns());
    format!("{{powerdns: {{url: \"{url}\", key: {{file: pdns.key}}}}, servers: [\"{dns}\"]}}")
}

/// Settings over this server, whose recursor it is too.
fn over(server: &PowerDns) -> tempfile::TempDir {
    let credentials = powerdns(server);
    let recursor = server.dns();
    let directory =
        settings(&format!("dns:\n  credentials:\n    pd: {credentials}\n  recursors: [\"{recursor}\"]\n"));
    std::fs::write(directory.path().join("pdns.key"), server.key()).unwrap();
    directory
}

fn patch(server: &PowerDns, zone: &str, set: &str) {
    let body = format!(r#"{{"rrsets":[{set}]}}"#);
    let (status, said) = server.api("PATCH", &format!("/zones/{zone}."), &body);
    assert_eq!(status, 204, "{said}");
}

/// A set of one value, with a comment.
fn put(server: &PowerDns, zone: &str, name: &str, kind: &str, value: &str, comment: &str) {
    patch(
        server,
        zone,
        &format!(
            r#"{{"name":"{name}.","type":"{kind}","ttl":60,"changetype":"REPLACE","records":[{{"content":"{value}"}}],
               "comments":[{{"content":"{comment}","account":""}}]}}"#
        ),
    );
}

/// With addresses that differ from run to run in the same width.
fn steady(text: &str, servers: &[(SocketAddr, &str)]) -> String {
    servers.iter().fold(text.to_owned(), |text, (address, name)| {
        text.replace(&address.to_string(), &format!("127.0.0.1:{name}"))
    })
}

/// The output as JSON.
fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {} {}", ran.out, ran.err))
}

#[test]
fn without_a_credential_it_says_how_to_add_one() {
    let directory = settings("");
    for command in [&["dns", "zones"][..], &["dns", "verify", "a.test"]] {
        let ran = run(directory.path(), command);
        assert_eq!((ran.code, ran.out.as_str()), (1, ""));
        assert!(ran.err.contains("berth.yaml has no DNS credential; add one"), "{}", ran.err);
    }
}

#[test]
fn verify_shows_what_stands_whose_it_is_and_what_is_answered() {
    let server = PowerDns::start();
    server.zone("z.test");
    put(&server, "z.test", "app.z.test", "A", "192.0.2.1", "berth/1 test/shop h=00000000");
    put(&server, "z.test", "other.z.test", "AAAA", "2001:db8::1", "berth/1 prod-us/shop a=00000000");
    put(&server, "z.test", "*.dev.z.test", "CNAME", "app.z.test.", "made by hand");
    put(&server, "z.test", "mail.z.test", "MX", "10 app.z.test.", "");
    let directory = over(&server);
    let port = [(server.dns(), "PORT0")];
    let ran = run(directory.path(), &["dns", "verify", "App.z.test.", "other.z.test", "x.dev.z.test"]);
    insta::assert_snapshot!("verify_right", steady(&ran.out, &port));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let ran = run(
        directory.path(),
        &["dns", "verify", "app.z.test", "none.z.test", "mail.z.test", "a.example.org"],
    );
    insta::assert_snapshot!("verify_nothing", steady(&ran.out, &port));
    assert_eq!((ran.code, ran.err.as_str()), (1, ""));
    let ran = run(directory.path(), &["dns", "verify", "x.dev.z.test", "-o", "json"]);
    let found = json(&ran);
    let one = &found[0];
    assert_eq!(
        (&one["host"], &one["at"], &one["agrees"]),
        (&"x.dev.z.test".into(), &"*.dev.z.test".into(), &true.into())
    );
    assert_eq!((&one["zone"]["credential"], &one["zone"]["name"]), (&"pd".into(), &"z.test".into()));
    assert_eq!(
        (&one["records"][0]["type"], &one["records"][0]["value"], &one["records"][0]["whose"]),
        (&"CNAME".into(), &"app.z.test".into(), &"no mark".into())
    );
    assert_eq!(one["verified"][0]["servers"][0]["says"]["says"], "right");
    let ran = run(directory.path(), &["dns", "verify", "a..b"]);
    assert!(ran.code == 1 && ran.err.contains("'a..b' is not a host's name"), "{}", ran.err);
}

#[test]
fn verify_tells_every_server_that_lags_or_refuses() {
    let primary = Bind::primary("z.test", true);
    let (lagging, refusing) = (Bind::secondary(&primary), Bind::refusing("z.test"));
    primary.update(&["update add app.z.test. 60 A 192.0.2.1"]);
    let with = |servers: &[&Bind]| {
        let servers: Vec<_> = servers.iter().map(|s| format!("\"{}\"", s.address())).collect();
        let directory = settings(&format!(
            "dns:\n  credentials:\n    ns: {{rfc2136: {{server: \"{}\", tsig: {{name: {}, secret: {{file: tsig.key}}}}}}, \
             zones: [z.test], servers: [{}]}}\n",
            primary.address(),
            primary.key(),
            servers.join(", ")
        ));
        std::fs::write(directory.path().join("tsig.key"), primary.secret()).unwrap();
        directory
    };
    let ports = [(primary.address(), "PORT1"), (lagging.address(), "PORT2"), (refusing.address(), "PORT3")];
    let all = with(&[&primary, &lagging, &refusing]);
    let ran = run(all.path(), &["dns", "verify", "app.z.test"]);
    insta::assert_snapshot!("verify_lagging", steady(&ran.out, &ports));
    assert_eq!(ran.code, 1);
    let both = with(&[&primary, &lagging]);
    assert_eq!(run(both.path(), &["dns", "verify", "app.z.test"]).code, 1);
    lagging.restart();
    let ran = run(both.path(), &["dns", "verify", "app.z.test", "-o", "json"]);
    assert_eq!(ran.code, 0, "{}", ran.out);
    assert_eq!(json(&ran)[0]["verified"][0]["servers"].as_array().unwrap().len(), 2);
    // What stands below a delegation is answered by others.
    let ran = run(both.path(), &["dns", "verify", "a.sub.z.test"]);
    assert!(ran.code == 1 && ran.out.contains("hands sub.z.test on to ns.elsewhere.test"), "{}", ran.out);
    // A key that the server does not know is told in words, and no secret with it.
    std::fs::write(both.path().join("tsig.key"), "aHVudGVyMi1odW50ZXIyLWh1bnRlcjItaHVudGVyMg==").unwrap();
    let ran = run(both.path(), &["dns", "zones"]);
    assert!(!(ran.out + &ran.err).contains("aHVudGVy"));
    std::fs::write(both.path().join("tsig.key"), "no base64!").unwrap();
    let ran = run(both.path(), &["dns", "zones"]);
    assert!(ran.code == 1 && ran.err.contains("the secret of the TSIG key is not base64"), "{}", ran.err);
}

#[test]
fn zones_are_listed_with_what_is_to_be_known() {
    let server = PowerDns::start();
    server.zone("z.test");
    server.zone("y.test");
    let directory = over(&server);
    let ran = run(directory.path(), &["dns", "zones"]);
    insta::assert_snapshot!("zones", ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let found = json(&run(directory.path(), &["dns", "zones", "-o", "json"]));
    let zones: Vec<_> = found.as_array().unwrap().iter().map(|f| f["zone"].as_str()).collect();
    assert_eq!(zones, [None, Some("y.test"), Some("z.test")]);
    // The wrong key is an error that says so, and is not shown.
    std::fs::write(directory.path().join("pdns.key"), "hunter2").unwrap();
    let ran = run(directory.path(), &["dns", "zones"]);
    assert!(ran.code == 1 && ran.out.contains("its zones cannot be listed"), "{}", ran.out);
    assert!(!(ran.out + &ran.err).contains("hunter2"));
    // A zone of two credentials belongs to nobody.
    let one = powerdns(&server);
    let twice = settings(&format!("dns:\n  credentials:\n    a: {one}\n    b: {one}\n"));
    std::fs::write(twice.path().join("pdns.key"), server.key()).unwrap();
    let ran = run(twice.path(), &["dns", "zones"]);
    assert!(
        ran.code == 1 && ran.out.contains("the zone y.test is reached by several credentials, a, b"),
        "{}",
        ran.out
    );
}

#[test]
fn the_doctor_looks_at_dns() {
    let place = Place::new();
    let server = PowerDns::start();
    server.zone("example.com");
    let settings = std::fs::read_to_string(place.path().join("berth.yaml")).unwrap();
    let with = |dns: &str| place.write("berth.yaml", &format!("{settings}{dns}"));
    with(&format!("dns:\n  credentials:\n    pd: {}\n", powerdns(&server)));
    place.write("pdns.key", server.key());
    let ran = place.run(&["doctor"]);
    let about = |text: &str| ran.out.lines().skip_while(|l| *l != text).nth(1).unwrap_or_default().to_owned();
    // PowerDNS said yes, and the host's zone was looked at.
    assert!(ran.out.contains("dns credential pd"), "{}", ran.out);
    assert!(about("dns zone example.com of credential pd").contains("it is read"), "{}", ran.out);
    assert!(ran.out.contains("pdns.key with a DNS credential"), "others may read it: {}", ran.out);
    with(&format!(
        "dns:\n  credentials:\n    pd: {}\n",
        powerdns(&server).replace("servers:", "zones: [other.test], servers:")
    ));
    let ran = place.run(&["doctor"]);
    assert!(
        ran.code == 1 && ran.out.contains("the zone other.test is named for it and is not reached by it"),
        "{}",
        ran.out
    );
}

/// From a record that somebody made by hand to one that Berth keeps, and to one of which nobody knows any more.
#[test]
fn a_record_made_by_hand_is_adopted_and_a_lost_one_is_named() {
    let place = Place::new();
    let server = PowerDns::start();
    server.zone("example.com");
    put(&server, "example.com", "blog.example.com", "A", "192.0.2.7", "made by hand");
    let settings = std::fs::read_to_string(place.path().join("berth.yaml")).unwrap();
    let settings =
        settings.replace("checkRegistry: false", "checkRegistry: false, address: {ipv4: 192.0.2.7}");
    place.write("berth.yaml", &format!("{settings}dns:\n  credentials:\n    pd: {}\n", powerdns(&server)));
    place.write("pdns.key", server.key());
    let host = "blog.example.com";
    let settle = || {
        let ran = place.run(&["run", "--exit-when-settled", "--no-live"]);
        assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    };
    let whose =
        || json(&place.run(&["dns", "verify", host, "-o", "json"]))[0]["records"][0]["whose"].to_string();
    // As it stands it is right, so there is nothing to do about it.
    let ran = place.run(&["dns", "plan"]);
    insta::assert_snapshot!("plan_by_hand", ran.out);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    settle();
    assert_eq!(whose(), "\"no mark\"");
    let ran = place.run(&["dns", "adopt", "other.example.com"]);
    assert!(ran.code == 1 && ran.err.contains("no stack has the host other.example.com"), "{}", ran.err);
    let ran = place.run(&["dns", "adopt", host]);
    assert!(
        ran.code == 0 && ran.err.contains("asked to take over the records of blog.example.com"),
        "{}",
        ran.err
    );
    settle();
    assert_eq!(whose(), "\"stack blog, taken over\"");
    // Another address is planned as one change of one record.
    place.write(
        "berth.yaml",
        &format!(
            "{}dns:\n  credentials:\n    pd: {}\n",
            settings.replace("192.0.2.7", "192.0.2.8"),
            powerdns(&server)
        ),
    );
    let ran = place.run(&["dns", "plan", "blog"]);
    insta::assert_snapshot!("plan_another_address", ran.out);
    settle();
    // The state is lost, and the manifest with it.
    for file in std::fs::read_dir(place.path()).unwrap().flatten() {
        if file.file_name().to_string_lossy().starts_with("berth.db") {
            std::fs::remove_file(file.path()).unwrap();
        }
    }
    std::fs::remove_file(place.path().join("stacks/blog.yaml")).unwrap();
    let ran = place.run(&["doctor"]);
    let said = "! blog.example.com A has the mark of stack blog, and neither the manifests nor the state know it: take it or its mark away";
    assert!(ran.out.contains(said), "{}", ran.out);
}

/// Updates and calls alike: what a daemon sends that lost the lead could undo what its successor did.
#[test]
fn nothing_is_sent_once_the_lead_is_lost() {
    let database = Postgres::start();
    let (bind, pdns) = (Bind::primary("z.test", true), PowerDns::start());
    pdns.zone("y.test");
    let directory = settings(&format!(
        "dns:\n  credentials:\n    pd: {}\n    ns: {{rfc2136: {{server: \"{}\", tsig: {{name: {}, secret: {{file: tsig.key}}}}}}, \
         zones: [z.test]}}\n",
        powerdns(&pdns),
        bind.address(),
        bind.key()
    ));
    std::fs::write(directory.path().join("pdns.key"), pdns.key()).unwrap();
    std::fs::write(directory.path().join("tsig.key"), bind.secret()).unwrap();
    let config = berth_cli::settings::load(
        Some(&directory.path().join("berth.yaml")),
        berth_cli::settings::Needs::All,
    );
    let config = config.unwrap();
    berth_wire::install_crypto();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let minute = Duration::from_secs(60);
        let times = LeaseTimes { lasts: 10 * minute, every: minute, margin: Duration::from_secs(1) };
        let store = berth_store::Postgres::at(&database.database()).unwrap();
        let mut lease = Lease::new(store, "test", "127.0.0.1:1", times);
        let held = lease.take().await.unwrap().expect("nobody else wants it");
        let late: Arc<OnceLock<Arc<Metrics>>> = Arc::default();
        let zones = berth_cli::dns::zones(&config, Some(&held), &late).unwrap().unwrap();
        late.set(Arc::new(Metrics::new(std::iter::empty()))).ok().unwrap();
        let mut reached = Vec::new();
        for host in ["app.y.test", "app.z.test"] {
            let ZoneChoice::Zone(zone) = zones.zone_of(&Fqdn::new(host).unwrap()).await.unwrap() else {
                panic!("{host}")
            };
            reached.push(zone);
        }
        // Each credential's calls are counted by themselves.
        let counted = berth_cli::app::text_of(&[&late.get().unwrap().registry]);
        for backend in ["dns/pd", "dns/ns"] {
            let line = format!("berth_backend_calls_total{{backend=\"{backend}\",outcome=\"ok\"");
            assert!(counted.contains(&line), "{counted}");
        }
        held.end();
        for zone in reached {
            let look = zones.view(&zone, &BTreeSet::new(), Duration::ZERO).await;
            let why = look.unwrap_err().to_string();
            assert!(why.contains("does not lead any more"), "{zone}: {why}");
        }
    });
}

/// An address of a network of one's own is taken, and said to whoever does something with the settings.
#[test]
fn a_private_address_is_taken_and_said() {
    let server = PowerDns::start();
    let directory = over(&server);
    let path = directory.path().join("berth.yaml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("key: {file: api.key}}", "key: {file: api.key}, address: {ipv4: 10.0.0.7}}"),
    )
    .unwrap();
    let ran = run(directory.path(), &["dns", "zones"]);
    assert!(ran.code == 0 && ran.err.contains("this address is private"), "{}", ran.err);
    let ran = run(directory.path(), &["get"]);
    assert!(!ran.err.contains("private"), "who only looks is not told again: {}", ran.err);
}
