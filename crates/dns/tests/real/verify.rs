//! Verification against real servers: one that is right, one that lags, one that refuses, one that is silent.

use crate::rig::{bind, port, powerdns};
use crate::stack::{Stack, data, key, name, want, zone};
use berth_model::dns::{Asked, Expected, ServerSays, Verdict, Verification, VerifyMode, ZoneId};
use berth_ports::Dns;
use berth_servers::{Bind, PowerDns};
use std::net::SocketAddr;

fn asked(text: &str, expected: Expected) -> Asked {
    Asked { key: key(text), expected, mode: VerifyMode::Authoritative, recursors: false }
}

fn values(values: &[&str]) -> Expected {
    Expected::Values { ours: values.iter().map(|v| data(v)).collect(), beside: [].into() }
}

fn says<'a>(found: &'a Verification, at: &SocketAddr) -> &'a ServerSays {
    &found.servers.iter().find(|s| s.address == *at).expect("it was asked").says
}

#[tokio::test]
async fn every_server_is_asked_and_each_has_its_own_answer() {
    let primary = Bind::primary("z.test", true);
    let lagging = Bind::secondary(&primary);
    let refusing = Bind::refusing("z.test");
    let silent: SocketAddr = ([127, 0, 0, 1], berth_servers::free_dns_port()).into();
    let reach = |servers: Vec<SocketAddr>| {
        let mut credential = bind("main", &primary, "z.test", primary.secret());
        credential.servers = servers;
        port(vec![credential])
    };
    let both = reach(vec![primary.address(), lagging.address()]);
    let id: ZoneId = zone(&both, "app.z.test").await;
    let mut stack = Stack::new("shop");
    let host = [want("app.z.test A", &["192.0.2.1"], 60)];
    // The provider does not show it yet: nobody is asked, so that nobody remembers that it is not there.
    let found = both.verify(&id, &asked("app.z.test A", values(&["A 192.0.2.1"]))).await.unwrap();
    assert!(
        matches!(&found.verdict, Verdict::Wrong(why) if why.contains("no server was asked")),
        "{found:?}"
    );
    assert!(found.servers.is_empty());
    stack.round(&both, &id, &host, false).await;
    let found = both.verify(&id, &asked("app.z.test A", values(&["A 192.0.2.1"]))).await.unwrap();
    assert_eq!(*says(&found, &primary.address()), ServerSays::Right { ttl: Some(60) });
    let missing = ServerSays::Missing { name: true, negative_ttl: Some(60) };
    assert_eq!(*says(&found, &lagging.address()), missing);
    assert_eq!(found.negative_ttl, Some(60));
    assert!(matches!(&found.verdict, Verdict::Wrong(why) if why.contains("does not exist")), "{found:?}");
    // It catches up; then the value moves on, and it lags again with the old one.
    lagging.restart();
    let found = both.verify(&id, &asked("app.z.test A", values(&["A 192.0.2.1"]))).await.unwrap();
    assert_eq!(found.verdict, Verdict::Right);
    stack.round(&both, &id, &[want("app.z.test A", &["192.0.2.2"], 60)], false).await;
    let found = both.verify(&id, &asked("app.z.test A", values(&["A 192.0.2.2"]))).await.unwrap();
    let stale = ServerSays::Other { values: vec!["A 192.0.2.1".into()], ttl: 60 };
    assert_eq!(*says(&found, &lagging.address()), stale);
    // One that refuses is wrong; one that is silent is not known.
    let refused = reach(vec![primary.address(), refusing.address()]);
    let found = refused.verify(&id, &asked("app.z.test A", values(&["A 192.0.2.2"]))).await.unwrap();
    assert!(matches!(says(&found, &refusing.address()), ServerSays::NotServed { why } if why == "REFUSED"));
    assert!(matches!(&found.verdict, Verdict::Wrong(why) if why.contains("REFUSED")), "{found:?}");
    let mute = reach(vec![primary.address(), silent]);
    let found = mute.verify(&id, &asked("app.z.test A", values(&["A 192.0.2.2"]))).await.unwrap();
    assert!(matches!(says(&found, &silent), ServerSays::Silent { .. }));
    assert!(matches!(&found.verdict, Verdict::Unknown(why) if why.contains("is silent")), "{found:?}");
    let preflight =
        reach(vec![primary.address(), refusing.address()]).preflight(&[name("app.z.test")].into()).await;
    let said: Vec<_> = preflight.iter().flat_map(|p| &p.findings).map(|f| f.text.as_str()).collect();
    assert!(said.iter().any(|t| t.contains("does not serve the zone: REFUSED")), "{said:?}");
    // Gone means gone everywhere.
    lagging.restart();
    stack.round(&both, &id, &[], true).await;
    let gone = Expected::Gone([data("A 192.0.2.2")].into());
    let found = both.verify(&id, &asked("app.z.test A", gone.clone())).await.unwrap();
    assert!(says(&found, &primary.address()).is_right() && !says(&found, &lagging.address()).is_right());
    lagging.restart();
    assert_eq!(both.verify(&id, &asked("app.z.test A", gone)).await.unwrap().verdict, Verdict::Right);
}

#[tokio::test]
async fn all_values_count_and_so_do_wildcards_and_long_texts() {
    let server = PowerDns::start();
    server.zone("z.test");
    let port = port(vec![powerdns("main", &server, false)]);
    let id = zone(&port, "app.z.test").await;
    let long = "x".repeat(2_000);
    let mut stack = Stack::new("shop");
    let wanted = [
        want("app.z.test A", &["192.0.2.1", "192.0.2.2"], 60),
        want("*.z.test CNAME", &["app.z.test"], 60),
        want("text.z.test TXT", &[&long], 60),
    ];
    stack.round(&port, &id, &wanted, false).await;
    let check = |text: &'static str, expected: Expected| {
        let (port, id) = (&port, &id);
        async move { port.verify(id, &asked(text, expected)).await.unwrap().verdict }
    };
    let right = Verdict::Right;
    assert_eq!(check("app.z.test A", values(&["A 192.0.2.1", "A 192.0.2.2"])).await, right);
    // A value too many is another answer, unless it is known to stand beside.
    assert!(matches!(check("app.z.test A", values(&["A 192.0.2.1"])).await, Verdict::Wrong(_)));
    let beside =
        Expected::Values { ours: [data("A 192.0.2.1")].into(), beside: [data("A 192.0.2.2")].into() };
    assert_eq!(check("app.z.test A", beside).await, right);
    assert_eq!(check("*.z.test CNAME", values(&["CNAME app.z.test"])).await, right);
    // Larger than a datagram: asked for again over TCP.
    assert_eq!(check("text.z.test TXT", values(&[&format!("TXT {long}")])).await, right);
    assert_eq!(check("*.z.test CNAME", Expected::Presence).await, right);
    // Where port 53 is closed, the provider's word is enough.
    let mode = VerifyMode::Provider;
    let asked = Asked { mode, ..asked("app.z.test A", values(&["A 192.0.2.1", "A 192.0.2.2"])) };
    let found = port.verify(&id, &asked).await.unwrap();
    assert!(found.verdict == right && found.servers.is_empty());
}
