//! Hetzner's API: zones, RRsets, labels, actions, budgets.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Answer, Client, pass};
use crate::dns::{Delegation, Options, Provider, RrSet, Token, Value as Record};

const SETS: &str = "/zones/example.test/rrsets";

fn client() -> Client {
    Client::new(Provider::Hetzner, Options::default())
}

fn set(name: &str, kind: &str, values: &[&str]) -> Value {
    let records: Vec<Value> = values.iter().map(|v| json!({"value": v})).collect();
    json!({"name": name, "type": kind, "records": records})
}

fn code(answer: &Answer) -> (u16, &str) {
    (answer.status, answer.json["error"]["code"].as_str().unwrap_or_default())
}

async fn settled(client: &Client, answer: Answer) -> Value {
    assert_eq!(
        (answer.status, &answer.json["action"]["status"]),
        (201, &json!("running")),
        "{}",
        answer.text
    );
    pass(1).await;
    let action = client.get(&format!("/zones/actions/{}", answer.json["action"]["id"])).await;
    action.json["action"].clone()
}

async fn act(client: &Client, name: &str, kind: &str, what: &str, body: Value) -> Answer {
    client.call("POST", &format!("{SETS}/{name}/{kind}/actions/{what}"), body).await
}

async fn done(client: &Client, name: &str, kind: &str, what: &str, body: Value) {
    let answer = act(client, name, kind, what, body).await;
    assert_eq!(settled(client, answer).await["status"], "success");
}

#[tokio::test(start_paused = true)]
async fn zones_come_in_pages_by_id_or_name_and_only_of_the_project() {
    let client = client();
    client.sim.with(|w| {
        for n in 0..59 {
            w.add_zone(Provider::Hetzner, "main", &format!("z{n}.test"));
        }
        w.add_zone(Provider::Hetzner, "other", "foreign.test");
    });
    let first = client.get("/zones").await;
    let page = &first.json["meta"]["pagination"];
    assert_eq!(first.json["zones"].as_array().map(Vec::len), Some(25));
    assert_eq!(
        (&page["next_page"], &page["previous_page"], &page["total_entries"]),
        (&json!(2), &Value::Null, &json!(60))
    );
    let last = client.get("/zones?page=2&per_page=50").await;
    assert_eq!(
        (last.json["zones"].as_array().map(Vec::len), &last.json["meta"]["pagination"]["next_page"]),
        (Some(10), &Value::Null)
    );
    assert_eq!(code(&client.get("/zones?per_page=51").await), (422, "invalid_input"));
    let named = client.get("/zones/example.test").await;
    let id = &named.json["zone"]["id"];
    assert_eq!(client.get(&format!("/zones/{id}")).await.json["zone"]["name"], "example.test");
    assert_eq!(code(&client.get("/zones/foreign.test").await), (404, "not_found"));
    assert_eq!(client.get("/zones?name=foreign.test").await.json["zones"], json!([]));
    let servers = &named.json["zone"]["authoritative_nameservers"];
    assert_eq!(
        (&servers["assigned"][2], &servers["delegation_status"]),
        (&json!("helium.ns.hetzner.de."), &json!("valid"))
    );
    client.sim.with(|w| w.zone_mut("example.test").delegation = Delegation::PartiallyValid);
    let told = client.get("/zones/example.test").await;
    assert_eq!(told.json["zone"]["authoritative_nameservers"]["delegation_status"], "partially-valid");
}

#[tokio::test(start_paused = true)]
async fn the_api_before_this_one_is_only_a_redirect() {
    let client = Client { base: "", ..client() };
    let gone = client.get("/api/v1/zones").await;
    assert_eq!((gone.status, gone.header("location")), (301, "https://console.hetzner.com/"));
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_wrong_or_only_read() {
    let client = client();
    assert_eq!(code(&client.with_token("nope").get("/zones").await), (401, "unauthorized"));
    client.sim.with(|w| w.add_token(Token::new(Provider::Hetzner, "main", "reader").read_only()));
    let reader = client.with_token("reader");
    assert_eq!(reader.get(SETS).await.status, 200);
    assert_eq!(
        code(&reader.call("POST", SETS, set("a", "A", &["192.0.2.1"])).await),
        (403, "token_readonly")
    );
}

#[tokio::test(start_paused = true)]
async fn a_create_claims_with_labels_and_a_second_one_is_a_conflict() {
    let client = client();
    let mut body = set("www", "A", &["192.0.2.1"]);
    body["labels"] = json!({"berth/stack": "shop", "empty": ""});
    let made = client.call("POST", SETS, body.clone()).await;
    assert_eq!((&made.json["rrset"]["id"], &made.json["rrset"]["ttl"]), (&json!("www/A"), &Value::Null));
    // It is not there before its action has ended.
    assert_eq!(client.get(&format!("{SETS}/www/A")).await.status, 404);
    assert_eq!(settled(&client, made).await["status"], "success");
    let seen = client.get(&format!("{SETS}/www/A")).await;
    assert_eq!(seen.json["rrset"]["labels"], json!({"berth/stack": "shop", "empty": ""}));
    assert_eq!(code(&client.call("POST", SETS, body).await), (409, "uniqueness_error"));
    assert_eq!(client.sim.with(|w| w.created("www.example.test", "A")), 1);
}

#[tokio::test(start_paused = true)]
async fn put_changes_labels_whole_and_ignores_records() {
    let client = client();
    client.sim.with(|w| {
        let labels = [("keep", "1"), ("drop", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        w.put_set("example.test", "www", "A", RrSet { labels, ..RrSet::new(60, &["192.0.2.1"]) });
    });
    let path = format!("{SETS}/www/A");
    let body = json!({"labels": {"keep": "1"}, "records": [{"value": "192.0.2.9"}], "ttl": 999});
    let out = client.call("PUT", &path, body).await;
    assert_eq!((out.status, &out.json["rrset"]["labels"]), (200, &json!({"keep": "1"})));
    let seen = client.get(&path).await.json["rrset"].clone();
    assert_eq!((&seen["records"][0]["value"], &seen["ttl"]), (&json!("192.0.2.1"), &json!(60)));
    assert_eq!(
        code(&client.call("PUT", &format!("{SETS}/none/A"), json!({"labels": {}})).await),
        (404, "not_found")
    );
}

#[tokio::test(start_paused = true)]
async fn labels_have_a_syntax_and_filter_lists() {
    let client = client();
    for bad in ["-a", "a-", "hetzner.cloud/x", "a b", "a/b/c", &"x".repeat(64)] {
        let body = json!({"labels": {bad: "v"}});
        client.sim.with(|w| w.put("example.test", "www", "A", 60, &["192.0.2.1"]));
        let out = client.call("PUT", &format!("{SETS}/www/A"), body).await;
        assert_eq!(code(&out), (422, "invalid_input"), "{bad}");
        assert_eq!(out.json["error"]["details"]["fields"][0]["name"], "labels");
    }
    for value in ["x".repeat(64), "-x".to_owned(), "a/b".to_owned()] {
        let out = client.call("PUT", &format!("{SETS}/www/A"), json!({"labels": {"k": value}})).await;
        assert_eq!(code(&out), (422, "invalid_input"), "{value}");
    }
    let out = client.call("PUT", &format!("{SETS}/www/A"), json!({"labels": {"berth.example/k": "v"}})).await;
    assert_eq!(out.status, 200);
    for (selector, found) in [
        ("berth.example%2Fk", 1),
        ("berth.example%2Fk%3Dv", 1),
        ("berth.example%2Fk%3D%3Dw", 0),
        ("berth.example%2Fk+in+(v,w)", 1),
        ("berth.example%2Fk+notin+(v,w)", 2),
        ("!berth.example%2Fk,!x", 2),
    ] {
        // The SOA and the servers are there, too, and have no labels.
        let out = client.get(&format!("{SETS}?label_selector={selector}")).await;
        assert_eq!(out.json["rrsets"].as_array().map(Vec::len), Some(found), "{selector}");
    }
}

#[tokio::test(start_paused = true)]
async fn set_records_changes_what_is_there_and_not_its_ttl() {
    let client = client();
    let body = json!({"records": [{"value": "192.0.2.1"}]});
    assert_eq!(code(&act(&client, "www", "A", "set_records", body).await), (404, "not_found"));
    client.sim.with(|w| w.put("example.test", "www", "A", 60, &["192.0.2.1"]));
    let body =
        json!({"records": [{"value": "192.0.2.2", "comment": "two"}, {"value": "192.0.2.3"}], "ttl": 600});
    done(&client, "www", "A", "set_records", body).await;
    let seen = client.sim.with(|w| w.get("example.test", "www", "A")).expect("it");
    assert_eq!((seen.contents(), seen.ttl), (vec!["192.0.2.2", "192.0.2.3"], Some(60)));
    done(&client, "www", "A", "change_ttl", json!({"ttl": null})).await;
    done(
        &client,
        "www",
        "A",
        "update_records",
        json!({"records": [{"value": "192.0.2.3", "comment": "three"}]}),
    )
    .await;
    let seen = client.sim.with(|w| w.get("example.test", "www", "A")).expect("it");
    assert_eq!(seen.ttl, None);
    let comments: BTreeSet<_> = seen.values.iter().map(|v| v.comment.clone().unwrap_or_default()).collect();
    assert_eq!(comments, ["three", "two"].map(str::to_owned).into());
    let twice = json!({"records": [{"value": "192.0.2.2"}, {"value": "192.0.2.2"}]});
    assert_eq!(code(&act(&client, "www", "A", "set_records", twice).await), (422, "invalid_input"));
    assert_eq!(
        code(&act(&client, "www", "A", "change_ttl", json!({"ttl": 59})).await),
        (422, "invalid_input")
    );
}

#[tokio::test(start_paused = true)]
async fn values_are_added_and_removed_one_by_one() {
    let client = client();
    let values =
        |list: &[&str]| json!({"records": list.iter().map(|v| json!({"value": v})).collect::<Vec<_>>()});
    let mut first = values(&["192.0.2.1"]);
    first["ttl"] = json!(300);
    done(&client, "new", "A", "add_records", first).await;
    let mut other = values(&["192.0.2.2"]);
    other["ttl"] = json!(60);
    assert_eq!(code(&act(&client, "new", "A", "add_records", other).await), (422, "invalid_input"));
    done(&client, "new", "A", "add_records", values(&["192.0.2.2"])).await;
    assert_eq!(client.contents("new", "A"), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(
        code(&act(&client, "new", "A", "remove_records", values(&["192.0.2.9"])).await),
        (422, "invalid_input")
    );
    done(&client, "new", "A", "remove_records", values(&["192.0.2.1"])).await;
    // With its last value the RRset goes.
    done(&client, "new", "A", "remove_records", values(&["192.0.2.2"])).await;
    assert_eq!(client.get(&format!("{SETS}/new/A")).await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_zone_is_locked_while_an_action_runs() {
    let client = client();
    let first = client.call("POST", SETS, set("a", "A", &["192.0.2.1"])).await;
    assert_eq!(code(&client.call("POST", SETS, set("b", "A", &["192.0.2.1"])).await), (423, "locked"));
    client.sim.with(|w| w.put("example.test", "c", "A", 60, &["192.0.2.1"]));
    assert_eq!(
        code(&client.call("PUT", &format!("{SETS}/c/A"), json!({"labels": {}})).await),
        (423, "locked")
    );
    assert_eq!(client.get(SETS).await.status, 200);
    assert_eq!(settled(&client, first).await["status"], "success");
    assert_eq!(client.call("POST", SETS, set("b", "A", &["192.0.2.1"])).await.status, 201);
}

#[tokio::test(start_paused = true)]
async fn an_action_may_fail_after_it_was_accepted() {
    let client = client();
    client.sim.with(|w| w.action_errors.push(("action_failed", "the backend said no")));
    let made = client.call("POST", SETS, set("a", "A", &["192.0.2.1"])).await;
    let id = made.json["action"]["id"].clone();
    let action = settled(&client, made).await;
    assert_eq!((&action["status"], &action["error"]["code"]), (&json!("error"), &json!("action_failed")));
    assert_eq!(client.get(&format!("{SETS}/a/A")).await.status, 404);
    let second = client.call("POST", SETS, set("a", "A", &["192.0.2.1"])).await.json["action"]["id"].clone();
    let both = client.get(&format!("/actions?id={id}&id={second}")).await;
    let states: Vec<_> =
        both.json["actions"].as_array().expect("actions").iter().map(|a| a["status"].clone()).collect();
    assert_eq!(states, ["error", "running"]);
}

#[tokio::test(start_paused = true)]
async fn records_come_in_no_order() {
    let client = client();
    let values: Vec<String> = (1..9).map(|n| format!("192.0.2.{n}")).collect();
    let texts: Vec<&str> = values.iter().map(String::as_str).collect();
    client.sim.with(|w| w.put("example.test", "many", "A", 60, &texts));
    let mut orders = BTreeSet::new();
    for _ in 0..5 {
        orders.insert(client.get(&format!("{SETS}/many/A")).await.json["rrset"]["records"].to_string());
    }
    assert!(orders.len() > 1);
}

#[tokio::test(start_paused = true)]
async fn names_and_values_are_refused_as_they_are_written() {
    let client = client();
    for name in ["www.example.test", "www.", "WWW", "", "a..b", "example.test"] {
        let out = client.call("POST", SETS, set(name, "A", &["192.0.2.1"])).await;
        assert_eq!(code(&out), (422, "invalid_input"), "{name}");
    }
    let long = format!("\"{}\"", "x".repeat(256));
    for (kind, value) in [
        ("A", "300.0.0.1"),
        ("AAAA", "192.0.2.1"),
        ("TXT", "unquoted"),
        ("TXT", &long),
        ("CNAME", "a b"),
        ("WHAT", "x"),
    ] {
        let out = client.call("POST", SETS, set("x", kind, &[value])).await;
        assert_eq!(code(&out), (422, "invalid_input"), "{kind} {value}");
    }
    assert_eq!(
        code(&client.call("POST", SETS, set("@", "CNAME", &["a.test."])).await),
        (422, "invalid_input")
    );
    client.sim.with(|w| w.put("example.test", "c", "CNAME", 60, &["a.test."]));
    assert_eq!(code(&client.call("POST", SETS, set("c", "A", &["192.0.2.1"])).await), (422, "invalid_input"));
    assert_eq!(client.call("POST", SETS, set("*.wild", "TXT", &["\"a\" \"b\""])).await.status, 201);
    pass(1).await;
    assert_eq!(client.get(&format!("{SETS}/*.wild/TXT")).await.json["rrset"]["name"], "*.wild");
    assert_eq!(client.get(&format!("{SETS}/%40/NS")).await.json["rrset"]["name"], "@");
}

#[tokio::test(start_paused = true)]
async fn protection_stops_changes_until_it_is_taken_away() {
    let client = client();
    client.sim.with(|w| w.put("example.test", "p", "A", 60, &["192.0.2.1"]));
    done(&client, "p", "A", "change_protection", json!({"change": true})).await;
    let path = format!("{SETS}/p/A");
    let refused = client.call("DELETE", &path, Value::Null).await;
    assert_eq!(code(&refused), (422, "protected"));
    assert_eq!(refused.json["error"]["message"], "RRSet(s) is/are change protected");
    assert_eq!(code(&act(&client, "p", "A", "change_ttl", json!({"ttl": 60})).await), (422, "protected"));
    done(&client, "p", "A", "change_protection", json!({"change": false})).await;
    let deleted = client.call("DELETE", &path, Value::Null).await;
    assert_eq!(settled(&client, deleted).await["command"], "delete_rrset");
    assert_eq!(client.contents("p", "A"), [""; 0]);
    assert_eq!(client.call("DELETE", &format!("{SETS}/@/NS"), Value::Null).await.status, 422);
}

#[tokio::test(start_paused = true)]
async fn a_secondary_zone_has_no_rrsets() {
    let client = client();
    client.sim.with(|w| w.zone_mut("example.test").primary = false);
    assert_eq!(client.get("/zones/example.test").await.json["zone"]["mode"], "secondary");
    assert_eq!(code(&client.get(SETS).await), (422, "incorrect_zone_mode"));
    assert_eq!(
        code(&client.call("POST", SETS, set("a", "A", &["192.0.2.1"])).await),
        (422, "incorrect_zone_mode")
    );
}

#[tokio::test(start_paused = true)]
async fn the_zone_is_updating_until_its_servers_have_it() {
    let client = client();
    let status = async || client.get("/zones/example.test").await.json["zone"]["status"].clone();
    assert_eq!(status().await, "ok");
    let made = client.call("POST", SETS, set("a", "A", &["192.0.2.1"])).await;
    settled(&client, made).await;
    assert_eq!(status().await, "updating");
    pass(4).await;
    assert_eq!(status().await, "ok");
    client.sim.with(|w| {
        let now = w.now();
        w.zone_mut("example.test").frozen = Some(now);
    });
    pass(1).await;
    client.sim.with(|w| w.put("example.test", "b", "A", 60, &["192.0.2.1"]));
    assert_eq!(status().await, "error");
}

#[tokio::test(start_paused = true)]
async fn lists_of_rrsets_have_their_own_pages_and_filters() {
    let client = client();
    client.sim.with(|w| {
        for n in 0..120 {
            w.put("example.test", &format!("h{n}"), "A", 60, &["192.0.2.1"]);
        }
        let marked = Record { comment: Some("note".to_owned()), ..Record::new("\"x\"") };
        w.put_set("example.test", "h1", "TXT", RrSet { values: vec![marked], ..RrSet::default() });
    });
    let all = client.get(&format!("{SETS}?per_page=100&page=2")).await;
    assert_eq!(
        (all.json["rrsets"].as_array().map(Vec::len), &all.json["meta"]["pagination"]["total_entries"]),
        (Some(23), &json!(123))
    );
    assert_eq!(client.get(&format!("{SETS}?per_page=101")).await.status, 422);
    let some = client.get(&format!("{SETS}?name=h1&type=TXT&type=CNAME")).await;
    assert_eq!(some.json["rrsets"][0]["records"][0]["comment"], "note");
    assert_eq!(some.json["rrsets"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn the_budget_is_the_projects_and_refills_by_the_second() {
    let client = client();
    client.sim.with(|w| w.add_token(Token::new(Provider::Hetzner, "main", "second")));
    let second = client.with_token("second");
    for _ in 0..3_600 {
        client.get("/zones/example.test").await;
    }
    let empty = second.get("/zones/example.test").await;
    assert_eq!(code(&empty), (429, "rate_limit_exceeded"));
    assert_eq!((empty.header("ratelimit-limit"), empty.header("ratelimit-remaining")), ("3600", "0"));
    let full: i64 = empty.header("ratelimit-reset").parse().expect("a number");
    assert_eq!(full - client.sim.options().epoch.as_second(), 3_600);
    assert!(!empty.header("x-correlation-id").is_empty());
    pass(2).await;
    let left = second.get("/zones/example.test").await;
    assert_eq!((left.status, left.header("ratelimit-remaining")), (200, "1"));
}

#[tokio::test(start_paused = true)]
async fn a_zone_file_import_by_another_person_wipes_what_stands_beside_the_values() {
    let client = client();
    client.sim.with(|w| {
        let labels = [("k".to_owned(), "v".to_owned())].into();
        w.put_set("example.test", "a", "A", RrSet { labels, ..RrSet::new(60, &["192.0.2.1"]) });
        w.wipe_marks("example.test");
    });
    let seen = client.get(&format!("{SETS}/a/A")).await;
    assert_eq!(
        (&seen.json["rrset"]["labels"], &seen.json["rrset"]["records"][0]["value"]),
        (&json!({}), &json!("192.0.2.1"))
    );
}
