//! PowerDNS' API, row by row as version 4.7.3 answers. The same rows are held against a real server beside this crate.

use serde_json::{Value, json};

use super::Client;
use crate::dns::{Note, Options, Provider, RrSet};

const ZONE: &str = "/zones/example.test.";

fn client() -> Client {
    Client::new(Provider::PowerDns, Options::default())
}

fn replace(name: &str, kind: &str, values: &[&str]) -> Value {
    let records: Vec<Value> = values.iter().map(|v| json!({"content": v})).collect();
    json!({"name": name, "type": kind, "ttl": 60, "changetype": "REPLACE", "records": records})
}

async fn patch(client: &Client, sets: Vec<Value>) -> (u16, String) {
    let out = client.call("PATCH", ZONE, json!({"rrsets": sets})).await;
    (out.status, out.json["error"].as_str().map_or(out.text, str::to_owned))
}

#[tokio::test(start_paused = true)]
async fn a_patch_happens_in_its_order_and_whole_or_not_at_all() {
    let client = client();
    let delete = |kind: &str| json!({"name": "c.example.test.", "type": kind, "changetype": "DELETE"});
    let alias = replace("c.example.test.", "CNAME", &["x.example.test."]);
    let address = replace("c.example.test.", "A", &["192.0.2.1"]);
    assert_eq!(patch(&client, vec![alias.clone()]).await.0, 204);
    assert_eq!(patch(&client, vec![delete("CNAME"), address.clone()]).await.0, 204);
    let wrong = patch(&client, vec![alias, delete("A")]).await;
    assert_eq!(wrong, (422, "RRset c.example.test. IN CNAME: Conflicts with pre-existing RRset".to_owned()));
    let half =
        vec![replace("n.example.test.", "A", &["192.0.2.1"]), replace("n.other.test.", "A", &["192.0.2.1"])];
    assert_eq!(patch(&client, half).await, (422, "RRset n.other.test. IN A: Name is out of zone".to_owned()));
    assert_eq!(client.contents("n", "A").len(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_identical_replace_bumps_the_serial() {
    let client = client();
    let serial = async || client.get(ZONE).await.json["serial"].as_u64().expect("a serial");
    let first = serial().await;
    let start = client.sim.options().epoch.strftime("%Y%m%d01").to_string();
    assert_eq!(first.to_string(), start);
    for turn in 1..4 {
        let out = client
            .call("PATCH", ZONE, json!({"rrsets": [replace("a.example.test.", "A", &["192.0.2.1"])]}))
            .await;
        assert_eq!(out.header("x-pdns-new-serial"), (first + turn).to_string());
        assert_eq!(serial().await, first + turn);
    }
    assert_eq!(client.sim.with(|w| w.changes.iter().filter(|c| c.name == "a.example.test.").count()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_filter_by_name_brings_phantoms_of_commented_names() {
    let client = client();
    client.sim.with(|w| {
        let note = Note { content: "c".to_owned(), account: "berth".to_owned(), modified: 1 };
        w.put_set("example.test", "a", "A", RrSet { notes: vec![note], ..RrSet::new(60, &["192.0.2.1"]) });
        w.put("example.test", "b", "A", 60, &["192.0.2.2"]);
    });
    let out = client.get(&format!("{ZONE}?rrset_name=b.example.test.&rrset_type=A")).await;
    let mut sets = out.json["rrsets"].as_array().expect("sets").clone();
    sets.sort_by_key(|s| s["name"].to_string());
    assert_eq!(
        (sets.len(), &sets[0]["name"], &sets[0]["records"], &sets[0]["ttl"]),
        (2, &json!("a.example.test."), &json!([]), &json!(0))
    );
    assert_eq!(sets[1]["records"][0]["content"], "192.0.2.2");
    let gone = json!({"name": "a.example.test.", "type": "A", "changetype": "DELETE"});
    assert_eq!(patch(&client, vec![gone]).await.0, 204);
    assert_eq!(client.sim.with(|w| w.get("example.test", "a", "A")), None);
}

#[tokio::test(start_paused = true)]
async fn two_writes_at_a_time_are_one_too_many() {
    let client = client();
    let calls = (0..30).map(|n| {
        let client = client.clone();
        async move { patch(&client, vec![replace(&format!("h{n}.example.test."), "A", &["192.0.2.1"])]).await }
    });
    let out = futures::future::join_all(calls).await;
    assert_eq!(out.iter().filter(|(status, _)| *status == 204).count(), 1);
    assert!(
        out.iter().all(
            |(status, text)| *status == 204 || (*status, text.as_str()) == (500, "Internal Server Error")
        )
    );
    for n in 0..30 {
        assert_eq!(
            patch(&client, vec![replace(&format!("h{n}.example.test."), "A", &["192.0.2.1"])]).await.0,
            204
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_for_a_child_zone_is_taken_into_the_parent_without_effect() {
    let client = client();
    client.sim.zone(Provider::PowerDns, "sub.example.test");
    assert_eq!(patch(&client, vec![replace("a.sub.example.test.", "A", &["192.0.2.1"])]).await.0, 204);
    let seen = super::wire::ask(
        &client.sim,
        "ns1.powerdns.sim",
        "a.sub.example.test.",
        hickory_proto::rr::RecordType::A,
    )
    .await;
    assert!(seen.starts_with("nxdomain"), "{seen}");
}
