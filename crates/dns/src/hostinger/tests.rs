//! Hostinger: what is sent for a change, in which order, and what its answers mean.

use super::*;
use crate::script::{Case, Script, check, common, zone};
use std::collections::BTreeSet;

fn account(script: &Script) -> Hostinger<Script> {
    Hostinger::new(common(), URL, Arc::new(|| Time(0)), script.clone()).unwrap()
}

async fn sent(cases: &[Case]) -> Vec<String> {
    let script = Script::of(&[]);
    account(&script).write(&zone(MarkPlace::Companions), &Case::ops(cases)).await.unwrap();
    script.sent()
}

/// A mark without a record can be mended; a record without a mark is nobody's.
#[tokio::test(start_paused = true)]
async fn the_mark_comes_first_and_goes_last() {
    let case = |key: &str, ours: &[&str]| Case::new(MarkPlace::Companions, key, ours, &[]);
    let made = sent(&[case("a.z.test A", &[]).put(&["A 192.0.2.1"], 60)]).await;
    let record =
        r#"{"overwrite":true,"zone":[{"name":"a","type":"A","ttl":60,"records":[{"content":"192.0.2.1"}]}]}"#;
    assert_eq!(made.len(), 3);
    assert_eq!(made[0], format!("POST /api/dns/v1/zones/z.test/validate {record}"));
    assert!(
        made[1].starts_with(
            r#"PUT /api/dns/v1/zones/z.test {"overwrite":true,"zone":[{"name":"_berth-a.a","type":"TXT","#
        ),
        "{made:?}"
    );
    assert_eq!(made[2], format!("PUT /api/dns/v1/zones/z.test {record}"));
    let gone = sent(&[case("a.z.test A", &["A 192.0.2.1"])]).await;
    assert_eq!(
        gone,
        [
            r#"DELETE /api/dns/v1/zones/z.test {"filters":[{"name":"a","type":"A"}]}"#,
            r#"DELETE /api/dns/v1/zones/z.test {"filters":[{"name":"_berth-a.a","type":"TXT"}]}"#
        ]
    );
    assert_eq!(sent(&[case("a.z.test A", &["A 192.0.2.1"]).put(&["A 192.0.2.1"], 60)]).await, [""; 0]);
}

/// Whole sets are replaced: what others have in one is sent back, byte for byte.
#[tokio::test(start_paused = true)]
async fn others_values_are_sent_back_as_they_came() {
    let mut case = Case::new(MarkPlace::Companions, "z.test TXT", &["TXT ours"], &["TXT theirs"]);
    case.before.values[1].text = "unquoted theirs".into();
    let gone = sent(&[case]).await;
    assert!(gone.iter().any(|s| s.ends_with(r#""records":[{"content":"unquoted theirs"}]}]}"#)), "{gone:?}");
    assert!(gone.iter().all(|s| !s.contains(r#""name":"@","type":"TXT"}"#)), "{gone:?}");
    // What is disabled would be switched on by that: then nothing is sent.
    let mut case = Case::new(MarkPlace::Companions, "a.z.test A", &["A 192.0.2.1"], &["A 192.0.2.2"]);
    case.before.values[1].disabled = true;
    let script = Script::of(&[]);
    let result = account(&script).write(&zone(MarkPlace::Companions), &Case::ops(&[case])).await;
    assert!(matches!(&result, Err(PortError::Refused { why }) if why.contains("disabled")), "{result:?}");
    assert!(script.sent().is_empty());
}

/// Elsewhere a client expected the list inside of something, read every zone as empty, and wrote everything anew.
#[tokio::test(start_paused = true)]
async fn a_list_with_something_around_it_is_no_empty_zone() {
    let none = BTreeSet::new();
    let read = |body: &'static str| {
        let none = &none;
        async move {
            let script = Script::of(&[(200, body)]);
            account(&script).read(&zone(MarkPlace::Companions), Scope::All(none)).await.map(|l| l.sets.len())
        }
    };
    let row = r#"[{"name":"@","type":"A","ttl":60,"records":[{"content":"192.0.2.1","is_disabled":false}]}]"#;
    assert_eq!(read(row).await, Ok(1));
    for body in
        [r#"{"data":[]}"#, r#"{"data":[{"name":"@"}]}"#, "null", "{}", "", r#"[{"name":"@","type":"A"}]"#]
    {
        let result = read(body).await;
        assert!(matches!(result, Err(PortError::Unsupported { .. })), "{body}: {result:?}");
    }
}

#[test]
fn what_its_answers_mean() {
    let body = r#"{"message":"m","correlation_id":"x"}"#;
    let taken = r#"{"message":"m","errors":{"zone":["[DNS:4008] DNS resource record is not valid or conflicts with another resource record"]}}"#;
    let table = [
        (200, "{}", "ok", ""),
        (401, body, "auth, not let in", ""),
        (403, body, "auth", ""),
        (403, "<html><body>Access denied</body></html>", "retry", ""),
        (404, body, "not found", ""),
        (422, taken, "conflict", ""),
        (422, body, "refused", ""),
        (429, body, "retry, again", ""),
        (500, body, "retry, again", "unknown, again"),
        (503, "", "retry, again, no answer", "unknown, again, no answer"),
        (301, "", "refused", ""),
    ];
    check(&errors::Answers, &table);
}
