//! The simulated PowerDNS held against a real one: the same calls, then the same questions.
//! A row must never be bent to fit the simulator; the real server is the truth.

use hickory_proto::op::Message;
use hickory_proto::rr::RecordType as T;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::real::{Real, powerdns};
use super::wire::{brief, question};
use crate::dns::{Options, Provider, Sim, Token};

/// A call and the status that it should get.
struct Row {
    title: &'static str,
    method: &'static str,
    path: &'static str,
    body: String,
    status: u16,
}

const ZONE: &str = "/zones/example.test.";

fn row(title: &'static str, method: &'static str, path: &'static str, body: &str, status: u16) -> Row {
    Row { title, method, path, body: body.to_owned(), status }
}

/// A patch of RRsets as `NAME TYPE CHANGE [VALUE; VALUE]`, names relative.
fn patch(title: &'static str, sets: &[&str], status: u16) -> Row {
    let sets: Vec<Value> = sets
        .iter()
        .map(|line| {
            let mut words = line.splitn(4, ' ');
            let [name, kind, change] = [(); 3].map(|()| words.next().unwrap_or_default());
            let name = match name {
                "@" => "example.test.".to_owned(),
                full if full.contains("test") => full.to_owned(),
                relative => format!("{relative}.example.test."),
            };
            let mut set = json!({"name": name, "type": kind, "ttl": 60, "changetype": change});
            if let Some(values) = words.next() {
                let records = values.split("; ").filter(|v| !v.is_empty());
                set["records"] = records.map(|v| json!({"content": v})).collect();
            }
            set
        })
        .collect();
    row(title, "PATCH", ZONE, &json!({"rrsets": sets}).to_string(), status)
}

fn one(title: &'static str, set: Value, status: u16) -> Row {
    row(title, "PATCH", ZONE, &json!({"rrsets": [set]}).to_string(), status)
}

fn conversation() -> Vec<Row> {
    let long = format!("t300 TXT REPLACE \"{}\"", "x".repeat(300));
    let note = |text: &str| json!([{"content": text, "account": "berth"}]);
    let big = "n".repeat(2_000);
    let zone = r#"{"name":"example.test.","kind":"Native","nameservers":["ns1.example.test."]}"#;
    vec![
        row("the server", "GET", "", "", 200),
        row("a new zone", "POST", "/zones", zone, 201),
        row("the zone twice", "POST", "/zones", zone, 409),
        row("a zone without its dot", "POST", "/zones", r#"{"name":"nodot.test","kind":"Native"}"#, 422),
        row("the list", "GET", "/zones", "", 200),
        row("a list of one", "GET", "/zones?zone=example.test.", "", 200),
        row("a list of none", "GET", "/zones?zone=none.test.", "", 200),
        row("an unknown zone", "GET", "/zones/none.test.", "", 404),
        row("a patch of an unknown zone", "PATCH", "/zones/none.test.", r#"{"rrsets":[]}"#, 404),
        row("an unknown zone goes", "DELETE", "/zones/none.test.", "", 404),
        row("broken JSON", "PATCH", ZONE, "{\"rrsets\":", 400),
        row("a list for a body", "PATCH", ZONE, "[]", 422),
        row("no RRsets", "PATCH", ZONE, "{}", 422),
        one(
            "a comment and two values",
            json!({"name": "app.example.test.", "type": "A", "ttl": 60, "changetype": "REPLACE", "records": [{"content": "192.0.2.1"}, {"content": "192.0.2.2"}], "comments": note("c1")}),
            204,
        ),
        patch("values without comments", &["app A REPLACE 192.0.2.3"], 204),
        row("keep the comments", "GET", ZONE, "", 200),
        patch("an A that is none", &["bad A REPLACE 300.1.2.3"], 422),
        patch("an AAAA that is none", &["bad AAAA REPLACE zz"], 422),
        patch("a TXT without quotes", &["bad TXT REPLACE heritage=lazy"], 422),
        patch("a target without its dot", &["bad CNAME REPLACE app.example.test"], 422),
        patch("an alias where an address is", &["app CNAME REPLACE x.example.test."], 422),
        patch("an alias at the apex", &["@ CNAME REPLACE x.example.test."], 422),
        patch("an alias with two values", &["c CNAME REPLACE x.example.test.; y.example.test."], 422),
        patch("an alias", &["c CNAME REPLACE app.example.test."], 204),
        patch("an address where an alias is", &["c A REPLACE 192.0.2.1"], 422),
        patch("a text where an alias is", &["c TXT REPLACE \"t\""], 422),
        patch("deletes first", &["c CNAME DELETE", "c A REPLACE 192.0.2.1"], 204),
        patch("deletes last", &["c CNAME REPLACE app.example.test.", "c A DELETE"], 422),
        patch("out of the zone", &["app.other.test. A REPLACE 192.0.2.1"], 422),
        patch("a name without its dot", &["app.example.test A REPLACE 192.0.2.1"], 422),
        patch("a name that is not ASCII", &["bücher A REPLACE 192.0.2.1"], 422),
        patch("a name in capitals", &["UP A REPLACE 192.0.2.1"], 204),
        patch("a value twice", &["d A REPLACE 192.0.2.1; 192.0.2.1"], 422),
        patch("an RRset twice", &["d A REPLACE 192.0.2.1", "d A REPLACE 192.0.2.2"], 422),
        patch(
            "a good one and a bad one",
            &["g A REPLACE 192.0.2.1", "g.other.test. A REPLACE 192.0.2.1"],
            422,
        ),
        patch("no records", &["zz A REPLACE "], 204),
        patch("an absent one goes", &["zz A DELETE"], 204),
        one(
            "no change type",
            json!({"name": "zz.example.test.", "type": "A", "ttl": 60, "records": []}),
            422,
        ),
        one(
            "no TTL",
            json!({"name": "zz.example.test.", "type": "A", "changetype": "REPLACE", "records": [{"content": "192.0.2.1"}]}),
            422,
        ),
        one(
            "a TTL of text",
            json!({"name": "ttl.example.test.", "type": "A", "ttl": "60", "changetype": "REPLACE", "records": [{"content": "192.0.2.1"}]}),
            204,
        ),
        one(
            "a TTL below nothing",
            json!({"name": "neg.example.test.", "type": "A", "ttl": -1, "changetype": "REPLACE", "records": [{"content": "192.0.2.1"}]}),
            204,
        ),
        patch("an unknown type", &["zz WAT REPLACE 192.0.2.1"], 422),
        patch("an unknown change", &["zz A EXTEND 192.0.2.1"], 422),
        patch("no change", &["zz A REPLACE"], 422),
        one(
            "a comment without records",
            json!({"name": "note.example.test.", "type": "A", "ttl": 60, "changetype": "REPLACE", "comments": note("only")}),
            204,
        ),
        one(
            "a comment without an account",
            json!({"name": "note.example.test.", "type": "A", "ttl": 60, "changetype": "REPLACE", "comments": [{"content": "x"}]}),
            422,
        ),
        one(
            "a comment alone on records",
            json!({"name": "app.example.test.", "type": "A", "changetype": "REPLACE", "comments": note("c2")}),
            204,
        ),
        one(
            "a long comment",
            json!({"name": "long.example.test.", "type": "A", "ttl": 60, "changetype": "REPLACE", "records": [{"content": "192.0.2.1"}], "comments": note(&big)}),
            204,
        ),
        row(
            "phantoms by name and type",
            "GET",
            "/zones/example.test.?rrset_name=c.example.test.&rrset_type=A",
            "",
            200,
        ),
        row("phantoms by name", "GET", "/zones/example.test.?rrset_name=c.example.test.", "", 200),
        row("phantoms of nothing", "GET", "/zones/example.test.?rrset_name=none.example.test.", "", 200),
        row("a type alone filters nothing", "GET", "/zones/example.test.?rrset_type=A", "", 200),
        row("without RRsets", "GET", "/zones/example.test?rrsets=false", "", 200),
        patch("a delete", &["long A DELETE"], 204),
        patch("a long text", &[&long], 204),
        patch("a wildcard", &["*.wild A REPLACE 192.0.2.7"], 204),
        patch("an address in capitals", &["v6 AAAA REPLACE 2001:DB8:0:0::1"], 204),
        one(
            "a disabled one",
            json!({"name": "off.example.test.", "type": "A", "ttl": 60, "changetype": "REPLACE", "records": [{"content": "192.0.2.1", "disabled": true}]}),
            204,
        ),
        patch(
            "aliases in a row",
            &[
                "ch CNAME REPLACE app.example.test.",
                "ch2 CNAME REPLACE ch.example.test.",
                "dead CNAME REPLACE nope.example.test.",
                "out CNAME REPLACE a.other.test.",
            ],
            204,
        ),
        patch("a delegation", &["sub NS REPLACE ns.other.test.", "a.sub A REPLACE 192.0.2.1"], 204),
        patch("two texts", &["txt TXT REPLACE \"hi\" \"x\"; \"b\\\"c\""], 204),
        patch("the same again", &["v6 AAAA REPLACE 2001:db8::1"], 204),
        row("everything", "GET", ZONE, "", 200),
    ]
}

/// What both have to say alike. Times of comments and the order of RRsets differ.
fn canonical(text: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return text.to_owned() };
    if let Some(sets) = value.get_mut("rrsets").and_then(Value::as_array_mut) {
        for set in sets.iter_mut() {
            for note in set["comments"].as_array_mut().into_iter().flatten() {
                note["modified_at"] = Value::Null;
            }
            if let Some(records) = set["records"].as_array_mut() {
                records.sort_by_key(Value::to_string);
            }
        }
        sets.sort_by_key(|set| format!("{} {}", set["name"], set["type"]));
    }
    // Keys come in no order either.
    serde_json::to_string(&sorted(value)).expect("JSON")
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.into_iter().map(|(k, v)| (k, sorted(v))).collect();
            pairs.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(pairs.into_iter().collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(sorted).collect()),
        other => other,
    }
}

fn world(key: &str) -> Sim {
    let sim = Sim::new(Options { epoch: Timestamp::now(), ..Options::default() });
    sim.with(|w| w.add_token(Token::new(Provider::PowerDns, "main", key)));
    sim
}

async fn simulated(sim: &Sim, key: &str, row: &Row) -> (u16, String, String) {
    let request = http::Request::builder()
        .method(row.method)
        .uri(format!("/api/v1/servers/localhost{}", row.path))
        .header("x-api-key", key)
        .body(bytes::Bytes::from(row.body.clone()))
        .expect("a request");
    let response = sim.handle(Provider::PowerDns, request).await.expect("an answer");
    let head: Vec<String> = response
        .headers()
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap_or_default().to_ascii_lowercase()))
        .collect();
    let text = String::from_utf8(response.body().to_vec()).expect("text");
    (response.status().as_u16(), head.join("\n"), text)
}

fn header(head: &str, name: &str) -> String {
    let line = head.lines().find(|line| line.starts_with(&format!("{name}: ")));
    line.unwrap_or_default().trim_end().to_owned()
}

/// The SOA that the real server gives to its new zones.
fn same_soa(sim: &Sim) {
    sim.with(|w| {
        for zone in w.zones.values_mut() {
            zone.soa.primary = format!("ns1.{}", zone.name);
            zone.soa.minimum = 60;
        }
    });
}

#[tokio::test]
async fn the_same_calls_have_the_same_answers() {
    let real = powerdns();
    let sim = world(&real.key);
    let mut wrong = Vec::new();
    for row in conversation() {
        let path = format!("/api/v1/servers/localhost{}", row.path);
        let (status, head, body) = real.http(&real.key, row.method, &path, &row.body);
        let (own_status, own_head, own_body) = simulated(&sim, &real.key, &row).await;
        same_soa(&sim);
        assert_eq!(status, row.status, "{}: the real server says {body}", row.title);
        // What a new zone's SOA says was not told to the simulator before.
        let (mut body, mut own_body) = (canonical(&body), canonical(&own_body));
        if row.title == "a new zone" {
            (body, own_body) = (String::new(), String::new());
        }
        if row.title == "the server" {
            // Links to what is not simulated.
            (body, own_body) = (body.contains("4.7").to_string(), own_body.contains("4.7").to_string());
        }
        let told = |head: &str| {
            ["content-type", "x-pdns-old-serial", "x-pdns-new-serial"].map(|name| header(head, name))
        };
        let (left, right) = ((status, told(&head), body), (own_status, told(&own_head), own_body));
        if left != right {
            wrong.push(format!("{}:\nreal      {left:?}\nsimulated {right:?}\n", row.title));
        }
    }
    let list = row("a wrong key", "GET", "/zones", "", 401);
    let (status, _, body) = real.http("wrong", list.method, "/api/v1/servers/localhost/zones", "");
    let own = simulated(&sim, "wrong", &list).await;
    assert_eq!((status, body.as_str()), (own.0, own.2.as_str()));
    let (status, _, body) = real.http(&real.key, "GET", "/api/v1/servers/other/zones", "");
    assert_eq!((status, body.as_str()), (404, "Not Found"));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    questions(&real, &sim).await;
}

/// After the calls: what both answer by DNS.
async fn questions(real: &Real, sim: &Sim) {
    let mut wrong = Vec::new();
    for name in [
        "app", "APP", "c", "up", "neg", "note", "long", "t300", "any.wild", "wild", "v6", "off", "ch", "ch2",
        "dead", "out", "sub", "a.sub", "txt", "nope", "a.nope",
    ] {
        for kind in [T::A, T::AAAA, T::CNAME, T::TXT, T::NS] {
            for edns in [false, true] {
                let message = question(&format!("{name}.example.test."), kind);
                let message = if edns { super::wire::with_room(message, 1_232) } else { message };
                let bytes = message.to_vec().expect("bytes");
                let left = brief(&Message::from_vec(&real.udp(&bytes)).expect("a message"));
                let right = brief(&super::wire::send(sim, "ns1.powerdns.sim", &bytes, false).await[0]);
                if left != right {
                    wrong.push(format!("{name} {kind}:\nreal      {left}\nsimulated {right}\n"));
                }
            }
        }
    }
    for (name, kind) in [("example.test.", T::SOA), ("example.test.", T::NS), ("other.test.", T::A)] {
        let bytes = question(name, kind).to_vec().expect("bytes");
        let left = brief(&Message::from_vec(&real.udp(&bytes)).expect("a message"));
        let right = brief(&super::wire::send(sim, "ns1.powerdns.sim", &bytes, false).await[0]);
        if left != right {
            wrong.push(format!("{name} {kind}:\nreal      {left}\nsimulated {right}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_same_updates_have_the_same_answers() {
    let real = powerdns();
    let key = base64(super::wire::SECRET);
    real.json("POST", "/tsigkeys", &json!({"name": "berth-key", "algorithm": "hmac-sha256", "key": key}));
    real.json(
        "POST",
        "/zones",
        &json!({"name": "example.test.", "kind": "Native", "nameservers": ["ns1.example.test."]}),
    );
    let metadata = json!({"kind": "TSIG-ALLOW-DNSUPDATE", "metadata": ["berth-key"]});
    real.json("POST", "/zones/example.test./metadata", &metadata);
    let sim = super::wire::updatable_at(Provider::PowerDns, &[], Timestamp::now());
    same_soa(&sim);
    super::real_bind::compare(&real, &sim, super::real_bind::POWERDNS).await;
}

/// Base64, of the few bytes of a key.
pub(super) fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let word = chunk.iter().enumerate().fold(0_u32, |w, (at, b)| w | u32::from(*b) << (16 - 8 * at));
        for at in 0..4 {
            let digit = char::from(DIGITS[(word >> (18 - 6 * at)) as usize & 63]);
            out.push(if at <= chunk.len() { digit } else { '=' });
        }
    }
    out
}
