//! Whatever comes in, the simulators answer: random calls and broken messages from a seed.

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::wire::{KEY, SECRET, question, signer, updatable, update};
use super::{Client, base};
use crate::dns::{Options, Provider};
use crate::rng::Rng;

const WORDS: [&str; 26] = [
    "zones",
    "example.test",
    "example.test.",
    "rrsets",
    "www",
    "@",
    "%40",
    "A",
    "TXT",
    "actions",
    "set_records",
    "dns_records",
    "batch",
    "0123456789abcdef0123456789abcdef",
    "dns",
    "v1",
    "snapshots",
    "portfolio",
    "validate",
    "18446744073709551616",
    "-1",
    "%ff%00",
    "",
    "..",
    "localhost",
    "restore",
];

const QUERIES: [&str; 9] = [
    "page=0",
    "page=18446744073709551615&per_page=50",
    "per_page=9999",
    "label_selector=((a",
    "name.contains=%ff",
    "match=any&type=A",
    "rrset_name=x",
    "&&=&",
    "label_selector=a%20in%20(b",
];

/// JSON of keys that providers know and values that they do not expect.
fn body(rng: &mut Rng, depth: usize) -> Value {
    let keys = [
        "zone",
        "records",
        "labels",
        "ttl",
        "type",
        "name",
        "content",
        "rrsets",
        "posts",
        "filters",
        "changetype",
    ];
    match rng.below(if depth > 3 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(rng.chance(0.5)),
        2 => json!(i64::MIN),
        3 => json!(u64::MAX),
        4 => json!(["A", "REPLACE", "www", "\u{0}ü", "192.0.2.1", "\"x", "a..b."][rng.below(7)]),
        5 => json!("x".repeat(rng.below(3_000))),
        6 => (0..rng.below(4)).map(|_| body(rng, depth + 1)).collect(),
        _ => (0..rng.below(5))
            .map(|_| (keys[rng.below(keys.len())].to_owned(), body(rng, depth + 1)))
            .collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn random_calls_are_answered() {
    for provider in Provider::ALL.into_iter().filter(|p| *p != Provider::Rfc2136) {
        let client = Client::new(provider, Options { budgets: false, ..Options::default() });
        let mut rng = Rng::new(provider as u64);
        for _ in 0..1_500 {
            let path: Vec<&str> = (0..rng.below(7)).map(|_| WORDS[rng.below(WORDS.len())]).collect();
            let path = format!("{}/{}?{}", base(provider), path.join("/"), QUERIES[rng.below(QUERIES.len())]);
            let method = ["GET", "POST", "PUT", "PATCH", "DELETE"][rng.below(5)];
            let mut bytes = body(&mut rng, 0).to_string().into_bytes();
            bytes.truncate(rng.below(bytes.len() * 4));
            let mut request: Request<Bytes> = client.request(method, &path, &Value::Null);
            *request.body_mut() = Bytes::from(bytes);
            let response = client.sim.handle(provider, request).await.expect("an answer");
            assert!((200..600).contains(&response.status().as_u16()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn broken_messages_are_answered_or_dropped() {
    let sim = updatable(Provider::Rfc2136, &[]);
    let address = sim.with(|w| w.server("ns1.bind.sim").address());
    let mut rng = Rng::new(5);
    let now = u64::try_from(sim.options().epoch.as_second()).expect("a time");
    let mut change = update("example.test.", &["free a.example.test.", "add a.example.test. 60 A 192.0.2.1"]);
    change.finalize(&signer(SECRET, KEY), now).expect("signed");
    let whole = [
        change.to_vec().expect("bytes"),
        question("a.example.test.", hickory_proto::rr::RecordType::ANY).to_vec().expect("bytes"),
        question("example.test.", hickory_proto::rr::RecordType::AXFR).to_vec().expect("bytes"),
    ];
    let mut answered = 0;
    for turn in 0..5_000 {
        let mut bytes = whole[turn % 3].clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(bytes.len());
            bytes[at] ^= 1 << rng.below(8);
        }
        if rng.chance(0.2) {
            bytes.truncate(rng.below(bytes.len()));
        }
        let wait = std::time::Duration::from_secs(1);
        let out = tokio::time::timeout(wait, sim.exchange(address, &bytes, true)).await;
        answered += usize::from(out.is_ok());
    }
    assert!(answered > 2_500, "{answered}");
    // The id and the case of the key's name are not signed; all else that changed anything is what was signed.
    for change in sim.with(|w| w.changes.clone()).iter().filter(|c| c.by != "provider") {
        let made = change.after.as_ref().map(|set| set.contents().join(" "));
        assert_eq!((change.name.as_str(), made.as_deref()), ("a.example.test.", Some("192.0.2.1")));
    }
}
