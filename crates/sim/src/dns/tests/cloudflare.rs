//! Cloudflare's API: envelope, tokens, records, batches, budgets.

use serde_json::{Value, json};

use super::{Answer, Client, pass};
use crate::dns::{Options, Provider, RrSet, Token, Value as Record};

fn client() -> Client {
    Client::new(Provider::Cloudflare, Options::default())
}

async fn zone_path(client: &Client) -> String {
    let found = client.get("/zones?name=example.test&status=active").await;
    format!("/zones/{}/dns_records", found.json["result"][0]["id"].as_str().expect("an id"))
}

fn a(name: &str, content: &str) -> Value {
    json!({"type": "A", "name": name, "content": content, "ttl": 300})
}

/// The code of the error, or of the first one below it.
fn codes(answer: &Answer) -> (u16, u64, u64) {
    let error = &answer.json["errors"][0];
    (
        answer.status,
        error["code"].as_u64().unwrap_or_default(),
        error["error_chain"][0]["code"].as_u64().unwrap_or_default(),
    )
}

#[tokio::test(start_paused = true)]
async fn a_token_sees_its_zones_and_others_are_an_empty_list() {
    let client = client();
    client.sim.zone(Provider::Cloudflare, "other.test");
    let other = "x".repeat(40);
    client.sim.with(|w| w.add_token(Token::new(Provider::Cloudflare, "main", &other).only(&["other.test"])));
    let narrow = client.with_token(&other);
    let all = client.get("/zones?per_page=50").await;
    assert_eq!((all.status, &all.json["result_info"]["total_count"]), (200, &json!(2)));
    let zone = &all.json["result"]
        .as_array()
        .expect("zones")
        .iter()
        .find(|z| z["name"] == "example.test")
        .cloned()
        .expect("it");
    assert_eq!(zone["name_servers"], json!(["ada.ns.cloudflare.com", "bob.ns.cloudflare.com"]));
    let none = narrow.get("/zones?name=example.test").await;
    assert_eq!((none.status, &none.json["result"], &none.json["success"]), (200, &json!([]), &json!(true)));
    let records = zone_path(&client).await;
    assert_eq!(codes(&narrow.get(&records).await), (403, 10_000, 0));
    assert_eq!(codes(&client.get("/zones?per_page=51").await), (400, 1_001, 0));
    assert_eq!(codes(&client.get("/zones/nonsense/dns_records").await), (404, 7_003, 0));
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_told_apart() {
    let client = client();
    let records = zone_path(&client).await;
    assert_eq!(codes(&client.with_token("short").get("/zones").await), (400, 6_003, 6_111));
    assert_eq!(codes(&client.with_token(&"y".repeat(40)).get("/zones").await), (403, 10_000, 0));
    let reader = "r".repeat(40);
    client.sim.with(|w| w.add_token(Token::new(Provider::Cloudflare, "main", &reader).read_only()));
    let reader = client.with_token(&reader);
    assert_eq!(reader.get(&records).await.status, 200);
    assert_eq!(codes(&reader.call("POST", &records, a("a", "192.0.2.1")).await), (403, 10_000, 0));
}

#[tokio::test(start_paused = true)]
async fn one_object_for_each_value_by_its_full_name() {
    let client = client();
    let records = zone_path(&client).await;
    let mut ids = Vec::new();
    for (name, content) in [("www", "192.0.2.1"), ("WWW.example.test", "192.0.2.2"), ("@", "192.0.2.3")] {
        let made = client.call("POST", &records, a(name, content)).await;
        assert_eq!(made.status, 200, "{}", made.text);
        let name = if name == "@" { "example.test" } else { "www.example.test" };
        assert_eq!(made.json["result"]["name"], name);
        ids.push(made.json["result"]["id"].as_str().expect("an id").to_owned());
    }
    assert!(ids.iter().all(|id| id.len() == 32) && ids[0] != ids[1]);
    // A name of another zone is taken for one below this zone.
    let lost = client.call("POST", &records, a("www.other.test.", "192.0.2.9")).await;
    assert_eq!(lost.json["result"]["name"], "www.other.test.example.test");
    assert_eq!(client.contents("www", "A"), ["192.0.2.1", "192.0.2.2"]);
    let one = client.get(&format!("{records}/{}", ids[1])).await;
    assert_eq!(one.json["result"]["content"], "192.0.2.2");
    let changed = json!({"content": "192.0.2.7"});
    let out = client.call("PATCH", &format!("{records}/{}", ids[1]), changed).await;
    assert_eq!(
        (&out.json["result"]["id"], &out.json["result"]["content"]),
        (&json!(ids[1]), &json!("192.0.2.7"))
    );
    let gone = client.call("DELETE", &format!("{records}/{}", ids[0]), Value::Null).await;
    assert_eq!((gone.status, &gone.json["result"]["id"]), (200, &json!(ids[0])));
    assert_eq!(
        codes(&client.call("DELETE", &format!("{records}/{}", ids[0]), Value::Null).await),
        (404, 81_044, 0)
    );
    assert_eq!(client.contents("www", "A"), ["192.0.2.7"]);
}

#[tokio::test(start_paused = true)]
async fn lists_have_pages_and_filters() {
    let client = Client::new(Provider::Cloudflare, Options { cloudflare_page: 20, ..Options::default() });
    let records = zone_path(&client).await;
    client.sim.with(|w| {
        for n in 0..45 {
            w.put("example.test", &format!("h{n}"), "A", 300, &["192.0.2.1"]);
        }
        let marked =
            Record { comment: Some("berth/1 x".to_owned()), id: "f".repeat(32), ..Record::new("192.0.2.5") };
        w.put_set("example.test", "marked", "A", RrSet { values: vec![marked], ..RrSet::default() });
    });
    let mut seen = std::collections::BTreeSet::new();
    let mut page = 1;
    loop {
        // What is asked for is cut without a word.
        let got = client.get(&format!("{records}?per_page=5000&page={page}")).await;
        let info = &got.json["result_info"];
        assert_eq!((&info["per_page"], &info["total_count"]), (&json!(20), &json!(46)));
        seen.extend(
            got.json["result"]
                .as_array()
                .expect("rows")
                .iter()
                .map(|r| r["id"].as_str().unwrap_or_default().to_owned()),
        );
        if page >= info["total_pages"].as_u64().expect("a number") {
            break;
        }
        page += 1;
    }
    assert_eq!((seen.len(), page), (46, 3));
    let count = async |query: &str| {
        client.get(&format!("{records}?{query}")).await.json["result_info"]["total_count"].clone()
    };
    assert_eq!(count("type=A&name=H7.example.test").await, json!(1));
    assert_eq!(count("name.startswith=h1").await, json!(11));
    assert_eq!(count("comment.startswith=berth").await, json!(1));
    assert_eq!(count("comment.absent").await, json!(45));
    assert_eq!(count("match=any&name.exact=h1.example.test&content=192.0.2.5").await, json!(2));
}

#[tokio::test(start_paused = true)]
async fn records_exclude_each_other() {
    let client = client();
    let records = zone_path(&client).await;
    client.sim.with(|w| w.put("example.test", "sub", "NS", 300, &["ns.other.test."]));
    let post = async |kind: &str, name: &str, content: &str| {
        codes(&client.call("POST", &records, json!({"type": kind, "name": name, "content": content})).await)
    };
    assert_eq!(post("A", "a", "192.0.2.1").await.0, 200);
    assert_eq!(post("A", "a", "192.0.2.1").await, (400, 81_058, 0));
    assert_eq!(post("CNAME", "a", "b.example.test").await, (400, 81_053, 0));
    assert_eq!(post("CNAME", "c", "b.example.test").await.0, 200);
    assert_eq!(post("CNAME", "c", "d.example.test").await, (400, 81_053, 0));
    assert_eq!(post("AAAA", "c", "2001:db8::1").await, (400, 81_054, 0));
    assert_eq!(post("A", "sub", "192.0.2.1").await, (400, 81_056, 0));
    assert_eq!(post("TXT", "t", "\"abc\"").await.0, 200);
    assert_eq!(post("TXT", "t", "abc").await, (400, 81_058, 0));
    // An alias at the apex is allowed.
    assert_eq!(post("CNAME", "@", "b.example.test").await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn the_true_reason_stands_in_the_chain() {
    let client = client();
    let records = zone_path(&client).await;
    let long = "x".repeat(101);
    for (body, code) in [
        (json!({"type": "A", "name": "a", "content": "300.1.1.1"}), 9_005),
        (json!({"type": "AAAA", "name": "a", "content": "192.0.2.1"}), 9_006),
        (json!({"type": "A", "name": "a..b", "content": "192.0.2.1"}), 9_000),
        (json!({"type": "A", "name": "a", "content": "192.0.2.1", "ttl": 30}), 9_021),
        (json!({"type": "A", "name": "a", "content": "192.0.2.1", "comment": long}), 9_313),
        (json!({"type": "A", "name": "a", "content": "192.0.2.1", "tags": ["owner:x"]}), 9_300),
        (json!({"type": "TXT", "name": "a", "content": "x", "proxied": true}), 9_041),
        (json!({"type": "NOPE", "name": "a", "content": "x"}), 9_020),
    ] {
        let out = client.call("POST", &records, body.clone()).await;
        assert_eq!(codes(&out), (400, 1_004, code), "{body}");
        assert_eq!(out.json["errors"][0]["message"], "DNS Validation Error");
        assert_eq!((&out.json["success"], &out.json["result"]), (&json!(false), &Value::Null));
    }
    let fine = json!({"type": "A", "name": "a", "content": "192.0.2.1", "comment": "x".repeat(100)});
    assert_eq!(client.call("POST", &records, fine).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn proxied_records_have_an_automatic_ttl_and_put_forgets_what_patch_keeps() {
    let client = client();
    let records = zone_path(&client).await;
    let body = json!({"type": "A", "name": "w", "content": "192.0.2.1", "ttl": 300, "proxied": true, "comment": "mine"});
    let made = client.call("POST", &records, body).await;
    let id = made.json["result"]["id"].as_str().expect("an id").to_owned();
    assert_eq!((&made.json["result"]["ttl"], &made.json["result"]["proxied"]), (&json!(1), &json!(true)));
    let path = format!("{records}/{id}");
    let out =
        client.call("PATCH", &path, json!({"ttl": 600, "content": "192.0.2.2"})).await.json["result"].clone();
    assert_eq!((&out["ttl"], &out["proxied"], &out["comment"]), (&json!(1), &json!(true), &json!("mine")));
    let body = json!({"type": "A", "name": "w", "content": "192.0.2.2", "ttl": 600});
    let out = client.call("PUT", &path, body).await.json["result"].clone();
    assert_eq!(
        (&out["id"], &out["ttl"], &out["proxied"], &out["comment"]),
        (&json!(id), &json!(600), &json!(false), &Value::Null)
    );
}

#[tokio::test(start_paused = true)]
async fn text_comes_back_as_it_was_written() {
    let client = client();
    let records = zone_path(&client).await;
    for content in ["\"quoted text\"", "plain text"] {
        let out =
            client.call("POST", &records, json!({"type": "TXT", "name": "t", "content": content})).await;
        assert_eq!(out.json["result"]["content"], content);
    }
    let out = client
        .call("POST", &records, json!({"type": "CNAME", "name": "c", "content": "Web.Example.Test."}))
        .await;
    assert_eq!(out.json["result"]["content"], "web.example.test");
}

#[tokio::test(start_paused = true)]
async fn a_batch_deletes_first_and_happens_whole_or_not_at_all() {
    let client = client();
    let records = zone_path(&client).await;
    let id = client.call("POST", &records, a("x", "192.0.2.1")).await.json["result"]["id"].clone();
    let path = format!("{records}/batch");
    // The alias takes the place of the address that goes in the same call.
    let swap = json!({"posts": [{"type": "CNAME", "name": "x", "content": "y.example.test"}], "deletes": [{"id": id}]});
    let out = client.call("POST", &path, swap).await;
    assert_eq!(out.status, 200, "{}", out.text);
    assert_eq!(out.json["result"]["deletes"].as_array().map(Vec::len), Some(1));
    assert_eq!(client.contents("x", "CNAME"), ["y.example.test"]);
    let before = client.sim.dump();
    let alias = out.json["result"]["posts"][0]["id"].clone();
    let half =
        json!({"deletes": [{"id": alias}], "posts": [a("n1", "192.0.2.1"), a("n2", "not an address")]});
    assert_eq!(codes(&client.call("POST", &path, half).await), (400, 1_004, 9_005));
    let absent =
        json!({"deletes": [{"id": alias}], "patches": [{"id": "0".repeat(32), "content": "192.0.2.3"}]});
    assert_eq!(codes(&client.call("POST", &path, absent).await), (404, 81_044, 0));
    let many: Vec<Value> = (0..201).map(|n| a(&format!("m{n}"), "192.0.2.1")).collect();
    assert_eq!(codes(&client.call("POST", &path, json!({"posts": many})).await), (400, 1_004, 9_051));
    assert_eq!(client.sim.dump(), before);
}

#[tokio::test(start_paused = true)]
async fn the_quota_counts_every_value() {
    let client = client();
    let records = zone_path(&client).await;
    client.sim.with(|w| {
        for n in 0..199 {
            w.put("example.test", &format!("h{n}"), "A", 300, &["192.0.2.1"]);
        }
    });
    assert_eq!(client.call("POST", &records, a("last", "192.0.2.1")).await.status, 200);
    assert_eq!(codes(&client.call("POST", &records, a("more", "192.0.2.1")).await), (400, 81_045, 0));
}

#[tokio::test(start_paused = true)]
async fn too_many_calls_block_all_of_a_user_for_five_minutes() {
    let client = client();
    let records = zone_path(&client).await;
    let second = "s".repeat(40);
    client.sim.with(|w| w.add_token(Token::new(Provider::Cloudflare, "main", &second)));
    for n in 1..1_200 {
        if n % 150 == 0 {
            pass(1).await;
        }
        assert_eq!(client.get(&records).await.status, 200);
    }
    let blocked = client.with_token(&second).get(&records).await;
    assert_eq!((blocked.status, blocked.header("retry-after")), (429, "300"));
    assert_eq!((blocked.header("x-ratelimit-limit"), blocked.header("x-ratelimit-remaining")), ("1200", "0"));
    let until = jiff::fmt::rfc2822::parse(blocked.header("x-ratelimit-reset")).expect("a date").timestamp();
    let start = client.sim.options().epoch.as_second();
    assert_eq!(until.as_second() - start, 7 + 300);
    pass(299).await;
    assert_eq!(client.get(&records).await.status, 429);
    pass(2).await;
    assert_eq!(client.get(&records).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn what_a_delegation_hides_is_told_only_when_asked_for() {
    let client = client();
    let records = zone_path(&client).await;
    client.sim.with(|w| {
        w.put("example.test", "x.sub", "A", 300, &["192.0.2.1"]);
        w.put("example.test", "sub", "NS", 300, &["ns.other.test"]);
    });
    let plain = client.get(&format!("{records}?name=x.sub.example.test")).await;
    assert_eq!(plain.json["result"][0]["meta"], json!({}));
    let told = client.get(&format!("{records}?name=x.sub.example.test&include_shadow_metadata=true")).await;
    assert_eq!(told.json["result"][0]["meta"]["shadowed_by"][0]["name"], "sub.example.test");
}
