//! Faults on the way to every provider and server, by number, by rule and by seed; the book of calls; the same seed.

use std::time::Duration;

use bytes::Bytes;
use hickory_proto::op::{Message, ResponseCode};
use hickory_proto::rr::RecordType;
use serde_json::{Value, json};

use super::wire::{ask, question, signed, updatable};
use super::{Client, pass};
use crate::dns::{Options, Provider, Sim};
use crate::{Broken, CallNo, Chaos, Fault, Rule};

fn hostinger() -> Client {
    let options = Options { budgets: false, accept: Duration::ZERO, ..Options::default() };
    Client::new(Provider::Hostinger, options)
}

fn body(name: &str) -> Value {
    json!({"overwrite": true, "zone": [{"name": name, "type": "A", "ttl": 300, "records": [{"content": "192.0.2.1"}]}]})
}

async fn put(client: &Client, name: &str) -> Result<(u16, Bytes), Broken> {
    let request = client.request("PUT", "/dns/v1/zones/example.test", &body(name));
    let response = client.sim.handle(Provider::Hostinger, request).await?;
    Ok((response.status().as_u16(), response.into_body()))
}

#[tokio::test(start_paused = true)]
async fn every_fault_has_its_effect_and_its_answer() {
    let client = hostinger();
    let made = |name: &str| client.contents(name, "A").len();
    for (name, fault, broken, effect) in [
        ("a", Fault::Before, Broken::NotSent, 0),
        ("b", Fault::After, Broken::Lost, 1),
        ("c", Fault::Restart, Broken::Lost, 0),
        ("d", Fault::Late(Duration::from_secs(3)), Broken::Lost, 0),
    ] {
        client.sim.plan_fault(CallNo::Next(1), fault);
        assert_eq!(put(&client, name).await.err(), Some(broken), "{name}");
        assert_eq!(made(name), effect, "{name}");
    }
    pass(4).await;
    assert_eq!(made("d"), 1);
    for (name, fault, status, effect) in [
        ("e", Fault::TooMany { retry_after: Some(7) }, 429, 0),
        ("f", Fault::BadGateway, 502, 0),
        ("g", Fault::Unauthorized, 401, 0),
        ("h", Fault::Forbidden, 403, 0),
        ("i", Fault::ServerError, 500, 0),
        ("j", Fault::Unavailable { retry_after: None }, 503, 0),
        ("k", Fault::ErrorAfterCommit, 500, 1),
        ("l", Fault::Slow(Duration::from_secs(9)), 200, 1),
        ("m", Fault::Cut, 200, 1),
        ("n", Fault::Garbage, 200, 1),
    ] {
        client.sim.plan_fault(CallNo::Next(1), fault);
        let (seen, text) = put(&client, name).await.expect("an answer");
        assert_eq!((seen, made(name)), (status, effect), "{name}");
        let whole = serde_json::from_slice::<Value>(&text).is_ok();
        assert_eq!(whole, !["f", "j", "m", "n"].contains(&name), "{name}");
    }
    for (name, fault, effect) in [("o", Fault::Hang, 0), ("p", Fault::HangAfter, 1)] {
        client.sim.plan_fault(CallNo::Next(1), fault);
        assert!(tokio::time::timeout(Duration::from_secs(60), put(&client, name)).await.is_err());
        assert_eq!(made(name), effect);
    }
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_still_takes_effect() {
    let client = hostinger();
    client.sim.set_latency(Duration::from_millis(200));
    assert!(tokio::time::timeout(Duration::from_millis(50), put(&client, "x")).await.is_err());
    assert_eq!(client.contents("x", "A").len(), 0);
    pass(1).await;
    assert_eq!(client.contents("x", "A").len(), 1);
}

#[tokio::test(start_paused = true)]
async fn lists_may_be_old_or_lack_rows() {
    let client = hostinger();
    let rows = async || client.get("/dns/v1/zones/example.test").await.json.as_array().map_or(0, Vec::len);
    pass(60).await;
    assert_eq!(put(&client, "new").await.expect("an answer").0, 200);
    pass(1).await;
    client.sim.plan_fault(CallNo::Next(1), Fault::StaleList(Duration::from_secs(5)));
    assert_eq!((rows().await, rows().await), (1, 2));
    client.sim.plan_fault(CallNo::Next(1), Fault::ShortList);
    let short = client.get("/dns/v1/zones/example.test").await.text;
    assert_ne!(short, client.get("/dns/v1/zones/example.test").await.text);
}

#[tokio::test(start_paused = true)]
async fn rules_fit_by_procedure_zone_and_kind_and_run_out() {
    let client = Client::new(Provider::PowerDns, Options::default());
    client.sim.zone(Provider::PowerDns, "other.test");
    let writes = Rule { mutation: Some(true), ..Rule::on("powerdns.", Fault::ServerError) };
    client.sim.set_rules(vec![
        Rule::on("powerdns.zones.get", Fault::BadGateway).in_zone("other.test").times(2),
        writes,
    ]);
    let status = async |path: &str| client.get(path).await.status;
    assert_eq!(status("/zones/example.test.").await, 200);
    assert_eq!(
        [
            status("/zones/other.test.").await,
            status("/zones/other.test").await,
            status("/zones/other.test.").await
        ],
        [502, 502, 200]
    );
    assert_eq!(client.call("PATCH", "/zones/example.test.", json!({"rrsets": []})).await.status, 500);
    client.sim.set_rules(vec![Rule::on("", Fault::ServerError).chance(0.5)]);
    let mut failed = 0;
    for _ in 0..200 {
        failed += usize::from(status("/zones").await == 500);
    }
    assert!((60..140).contains(&failed), "{failed}");
}

#[tokio::test(start_paused = true)]
async fn messages_break_as_calls_do() {
    let sim = updatable(Provider::Rfc2136, &["A"]);
    let address = sim.with(|w| w.server("ns1.bind.sim").address());
    let bytes = question("example.test.", RecordType::SOA).to_vec().expect("bytes");
    for (fault, code) in [
        (Fault::TooMany { retry_after: None }, ResponseCode::Refused),
        (Fault::BadGateway, ResponseCode::ServFail),
        (Fault::Unauthorized, ResponseCode::NotAuth),
    ] {
        sim.plan_fault(CallNo::Next(1), fault);
        let out = sim.exchange(address, &bytes, false).await.expect("an answer");
        assert_eq!(Message::from_vec(&out[0]).expect("a message").response_code, code);
    }
    for fault in [Fault::Before, Fault::After] {
        sim.plan_fault(CallNo::Next(1), fault.clone());
        let lost = sim.exchange(address, &bytes, false);
        assert!(tokio::time::timeout(Duration::from_secs(30), lost).await.is_err());
        sim.plan_fault(CallNo::Next(1), fault);
        assert!(sim.exchange(address, &bytes, true).await.is_err());
    }
    sim.plan_fault(CallNo::Next(1), Fault::Cut);
    let out = sim.exchange(address, &bytes, true).await.expect("an answer");
    assert!(Message::from_vec(&out[0]).is_err());
    sim.plan_fault(CallNo::Next(2), Fault::ErrorAfterCommit);
    assert!(ask(&sim, "ns1.bind.sim", "a.example.test.", RecordType::A).await.starts_with("nxdomain"));
    assert_eq!(signed(&sim, &["add a.example.test. 60 A 192.0.2.1"]).await, "ServFail");
    assert_eq!(sim.with(|w| w.contents("example.test", "a", "A")), ["192.0.2.1"]);
}

#[tokio::test(start_paused = true)]
async fn the_book_says_who_asked_what_and_when() {
    let client = hostinger();
    pass(3).await;
    put(&client, "a").await.expect("an answer");
    let call = client.sim.calls().pop().expect("a call");
    assert_eq!(
        (call.procedure.as_str(), call.zone.as_deref(), call.mutation),
        ("hostinger.zone.update", Some("example.test."), true)
    );
    assert_eq!(
        (call.at, call.key.as_str(), call.status),
        (Duration::from_secs(3), client.token.as_str(), Some(200))
    );
    assert!(call.summary.starts_with("PUT /api/dns/v1/zones/example.test {"), "{}", call.summary);
    let sim = updatable(Provider::Rfc2136, &["A"]);
    signed(&sim, &["free a.example.test.", "add a.example.test. 60 A 192.0.2.1"]).await;
    let call = sim.calls().pop().expect("a call");
    assert_eq!((call.procedure.as_str(), call.key.as_str()), ("dns.update", "berth-key."));
    assert!(
        call.summary.contains("require a.example.test. NONE ANY") && call.summary.contains("IN A 192.0.2.1"),
        "{}",
        call.summary
    );
    let changes = sim.with(|w| w.changes.last().cloned()).expect("a change");
    assert!(changes.creates() && changes.by == "berth-key." && changes.name == "a.example.test.");
}

async fn history(seed: u64) -> (String, Vec<(u64, Option<u16>, usize)>) {
    let options = Options { seed, budgets: false, accept: Duration::ZERO, ..Options::default() };
    let client = Client::new(Provider::Hostinger, options);
    client.sim.set_chaos(Some(Chaos::dns(seed, 0.5)));
    for turn in 0..100 {
        let _ = put(&client, &format!("h{turn}")).await;
        let request = client.request("GET", "/dns/v1/zones/example.test", &Value::Null);
        let _ = client.sim.handle(Provider::Hostinger, request).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let calls = client.sim.calls().into_iter().map(|c| (c.no, c.status, c.bytes)).collect();
    (client.sim.dump().to_string(), calls)
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_world() {
    let first = history(7).await;
    assert_eq!(first, history(7).await);
    assert_ne!(first.0, history(8).await.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_finds_its_provider_by_host() {
    let sim = Sim::new(Options::default());
    for (url, status) in [
        ("https://api.hetzner.cloud/v1/zones", Some(401)),
        ("https://api.cloudflare.com/client/v4/zones", Some(400)),
        ("https://developers.hostinger.com/api/domains/v1/portfolio", Some(401)),
        ("http://pdns.sim:8081/api/v1/servers/localhost/zones", Some(401)),
        ("https://example.com/", None),
    ] {
        let request = http::Request::get(url).body(Bytes::new()).expect("a request");
        assert_eq!(sim.send(request).await.ok().map(|r| r.status().as_u16()), status, "{url}");
    }
}
