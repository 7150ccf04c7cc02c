//! Hostinger's API: RRsets replaced and appended, deletes by filter, snapshots, limits and the ban.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Answer, Client, pass};
use crate::dns::{Options, Provider, Quotes};

const ZONE: &str = "/dns/v1/zones/example.test";

fn client() -> Client {
    Client::new(Provider::Hostinger, Options { accept: Duration::ZERO, ..Options::default() })
}

fn set(name: &str, kind: &str, values: &[&str]) -> Value {
    let records: Vec<Value> = values.iter().map(|v| json!({"content": v})).collect();
    json!({"name": name, "type": kind, "ttl": 300, "records": records})
}

async fn put(client: &Client, overwrite: Option<bool>, sets: Vec<Value>) -> Answer {
    let mut body = json!({"zone": sets});
    if let Some(overwrite) = overwrite {
        body["overwrite"] = json!(overwrite);
    }
    client.call("PUT", ZONE, body).await
}

async fn row(client: &Client, name: &str, kind: &str) -> Value {
    let all = client.get(ZONE).await;
    let rows = all.json.as_array().expect("a bare array").clone();
    rows.into_iter().find(|r| r["name"] == name && r["type"] == kind).unwrap_or(Value::Null)
}

#[tokio::test(start_paused = true)]
async fn the_list_is_a_bare_array_of_rrsets() {
    let client = client();
    client.sim.with(|w| w.put("example.test", "www", "A", 300, &["192.0.2.1"]));
    let www = row(&client, "www", "A").await;
    assert_eq!(
        www,
        json!({"name": "www", "type": "A", "ttl": 300, "records": [{"content": "192.0.2.1", "is_disabled": false}]})
    );
    assert_eq!(row(&client, "@", "NS").await["records"].as_array().map(Vec::len), Some(2));
    let domains = client.get("/domains/v1/portfolio").await;
    assert_eq!(
        (domains.json[0]["domain"].as_str(), domains.json[0]["status"].as_str()),
        (Some("example.test"), Some("active"))
    );
    assert_eq!(client.get("/dns/v1/zones/other.test").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn an_overwrite_replaces_the_rrset_and_leaves_the_others() {
    let client = client();
    client.sim.with(|w| {
        w.put("example.test", "www", "A", 600, &["192.0.2.1", "192.0.2.2"]);
        w.put("example.test", "www", "TXT", 600, &["\"kept\""]);
    });
    for overwrite in [Some(true), None] {
        let out = put(&client, overwrite, vec![set("www", "A", &["192.0.2.3"])]).await;
        assert_eq!((out.status, &out.json), (200, &json!({"message": "Request accepted"})));
        assert_eq!(client.contents("www", "A"), ["192.0.2.3"]);
        client.sim.with(|w| w.put("example.test", "www", "A", 600, &["192.0.2.9"]));
    }
    assert_eq!(client.contents("www", "TXT"), ["\"kept\""]);
}

#[tokio::test(start_paused = true)]
async fn without_overwrite_values_are_appended_and_an_identical_one_fails() {
    let client = client();
    assert_eq!(put(&client, Some(false), vec![set("www", "A", &["192.0.2.1"])]).await.status, 200);
    assert_eq!(put(&client, Some(false), vec![set("www", "A", &["192.0.2.2"])]).await.status, 200);
    assert_eq!(client.contents("www", "A"), ["192.0.2.1", "192.0.2.2"]);
    let again = put(&client, Some(false), vec![set("www", "A", &["192.0.2.2"])]).await;
    assert_eq!(again.status, 422);
    let message = again.json["message"].as_str().expect("a message");
    assert!(message.starts_with("[DNS:4008]") && !again.json["correlation_id"].is_null(), "{message}");
    assert_eq!(client.contents("www", "A").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn several_rrsets_of_one_call_do_not_change_together() {
    let client = client();
    client.sim.with(|w| w.put("example.test", "c", "CNAME", 300, &["a.test."]));
    let sets = vec![
        set("first", "A", &["192.0.2.1"]),
        set("c", "A", &["192.0.2.1"]),
        set("last", "A", &["192.0.2.1"]),
    ];
    assert_eq!(put(&client, Some(true), sets).await.status, 422);
    assert_eq!((client.contents("first", "A").len(), client.contents("last", "A").len()), (1, 0));
    // What is malformed is found before anything is written.
    let sets = vec![set("last", "A", &["192.0.2.1"]), set("bad", "A", &["300.0.0.1"])];
    let out = put(&client, Some(true), sets).await;
    assert_eq!((out.status, out.json["errors"]["zone.1.records"].is_array()), (422, true));
    assert_eq!(client.contents("last", "A").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn validation_writes_nothing() {
    let client = client();
    let path = format!("{ZONE}/validate");
    let good = json!({"overwrite": true, "zone": [set("www", "A", &["192.0.2.1"])]});
    assert_eq!(client.call("POST", &path, good).await.status, 200);
    client.sim.with(|w| w.put("example.test", "c", "CNAME", 300, &["a.test."]));
    let bad = json!({"overwrite": true, "zone": [set("c", "A", &["192.0.2.1"])]});
    assert_eq!(client.call("POST", &path, bad).await.status, 422);
    assert_eq!(client.contents("www", "A").len(), 0);
    assert_eq!(client.get("/dns/v1/snapshots/example.test").await.json, json!([]));
}

#[tokio::test(start_paused = true)]
async fn a_delete_needs_its_body_and_takes_whole_rrsets() {
    let client = client();
    client.sim.with(|w| {
        w.put("example.test", "www", "A", 300, &["192.0.2.1", "192.0.2.2"]);
        w.put("example.test", "www", "TXT", 300, &["\"x\""]);
    });
    assert_eq!(client.call("DELETE", ZONE, Value::Null).await.status, 422);
    let filter = json!({"filters": [{"name": "www", "type": "A"}]});
    assert_eq!(client.call("DELETE", ZONE, filter.clone()).await.status, 200);
    assert_eq!((client.contents("www", "A").len(), client.contents("www", "TXT").len()), (0, 1));
    assert_eq!(client.call("DELETE", ZONE, filter).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn every_write_makes_a_snapshot_that_can_be_restored() {
    let client = client();
    put(&client, Some(true), vec![set("a", "A", &["192.0.2.1"])]).await;
    put(&client, Some(true), vec![set("a", "A", &["192.0.2.2"])]).await;
    let list = client.get("/dns/v1/snapshots/example.test").await;
    assert_eq!(
        (list.json.as_array().map(Vec::len), &list.json[0]["reason"]),
        (Some(2), &json!("Zone records update request"))
    );
    let path = format!("/dns/v1/snapshots/example.test/{}", list.json[0]["id"]);
    let one = client.get(&path).await;
    let rows = one.json["snapshot"].as_array().expect("rows");
    assert!(rows.iter().any(|r| r["records"][0]["content"] == "192.0.2.1"));
    assert_eq!(client.call("POST", &format!("{path}/restore"), Value::Null).await.status, 200);
    assert_eq!(client.contents("a", "A"), ["192.0.2.1"]);
    assert_eq!(client.call("POST", &format!("{ZONE}/reset"), Value::Null).await.status, 200);
    assert_eq!((client.contents("a", "A").len(), client.contents("@", "NS").len()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_may_come_later() {
    let client = Client::new(Provider::Hostinger, Options::default());
    assert_eq!(put(&client, Some(true), vec![set("a", "A", &["192.0.2.1"])]).await.status, 200);
    assert_eq!(row(&client, "a", "A").await, Value::Null);
    pass(1).await;
    assert_eq!(row(&client, "a", "A").await["records"][0]["content"], "192.0.2.1");
}

#[tokio::test(start_paused = true)]
async fn text_loses_its_quotes_and_low_ttls_are_raised() {
    for (quotes, expected) in [(Quotes::Kept, "\"a b\""), (Quotes::Dropped, "a b")] {
        let options = Options {
            hostinger_quotes: quotes,
            hostinger_ttl: 600,
            accept: Duration::ZERO,
            ..Options::default()
        };
        let client = Client::new(Provider::Hostinger, options);
        put(&client, Some(true), vec![set("t", "TXT", &["\"a b\""])]).await;
        let seen = row(&client, "t", "TXT").await;
        assert_eq!((&seen["records"][0]["content"], &seen["ttl"]), (&json!(expected), &json!(600)));
    }
    let client = client();
    put(&client, Some(true), vec![set("c", "CNAME", &["Web.Example.Test"])]).await;
    assert_eq!(row(&client, "c", "CNAME").await["records"][0]["content"], "web.example.test.");
    let bare = json!({"zone": [{"name": "n", "type": "A", "records": [{"content": "192.0.2.1"}]}]});
    assert_eq!(client.call("PUT", ZONE, bare).await.status, 200);
    assert_eq!(row(&client, "n", "A").await["ttl"], 14_400);
}

#[tokio::test(start_paused = true)]
async fn wrong_and_expired_tokens() {
    let client = client();
    let out = client.with_token("nope").get(ZONE).await;
    assert_eq!((out.status, &out.json["message"]), (401, &json!("Unauthenticated.")));
    client.sim.with(|w| w.tokens[0].expired = true);
    assert_eq!(client.get(ZONE).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn who_goes_on_against_a_block_is_banned() {
    let client = client();
    for _ in 0..60 {
        assert_eq!(client.get(ZONE).await.status, 200);
    }
    let out = client.get(ZONE).await;
    assert_eq!((out.status, out.header("retry-after")), (429, "60"));
    pass(61).await;
    assert_eq!(client.get(ZONE).await.status, 200);
    for _ in 0..65 {
        client.get(ZONE).await;
    }
    assert_eq!(client.get(ZONE).await.status, 403);
    pass(120).await;
    assert_eq!(client.get(ZONE).await.status, 403);
    pass(600).await;
    assert_eq!(client.get(ZONE).await.status, 200);
}
