//! Cloudflare: what is sent for a change, and what its answers mean.

use super::*;
use crate::script::{Case, Script, check, common, owner, zone};

fn account(script: &Script) -> Cloudflare<Script> {
    Cloudflare::new(common(), URL, owner(), Arc::new(|| Time(0)), script.clone()).unwrap()
}

async fn sent(cases: &[Case]) -> String {
    let script = Script::of(&[(200, r#"{"success":true}"#)]);
    account(&script).write(&zone(MarkPlace::ValueComments), &Case::ops(cases)).await.unwrap();
    script.sent().pop().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_value_that_changes_keeps_its_object() {
    let case =
        |ours: &[&str], theirs: &[&str]| Case::new(MarkPlace::ValueComments, "a.z.test A", ours, theirs);
    let (a, b, c, d) = ("A 192.0.2.1", "A 192.0.2.2", "A 192.0.2.3", "A 192.0.2.4");
    // One stays, one changes, one goes; a stranger's is not named.
    let body = sent(&[case(&[a, b, c], &["A 192.0.2.9"]).put(&[a, d], 60)]).await;
    assert!(body.starts_with("POST /client/v4/zones/z.test/dns_records/batch "), "{body}");
    assert!(body.contains(r#""deletes":[{"id":"id2"}]"#), "{body}");
    assert!(body.contains(r#"{"id":"id0","comment":"berth/1"#), "{body}");
    assert!(body.contains(r#"{"id":"id1","content":"192.0.2.4","ttl":60,"comment":"berth/1"#), "{body}");
    assert!(!body.contains("posts") && !body.contains("id3"), "{body}");
    let body = sent(&[case(&[], &[]).put(&[a], 0)]).await;
    assert!(
        body.contains(
            r#""posts":[{"name":"a.z.test","type":"A","content":"192.0.2.1","ttl":1,"comment":"berth/1"#
        ),
        "{body}"
    );
    assert_eq!(sent(&[case(&[a], &[]).put(&[a], 60)]).await, "");
    let body = sent(&[case(&[a], &["A 192.0.2.9"])]).await;
    assert!(body.ends_with(r#"{"deletes":[{"id":"id0"}]}"#), "{body}");
}

#[test]
fn what_its_answers_mean() {
    let error = |code: i64| {
        format!(r#"{{"success":false,"errors":[{{"code":{code},"message":"m"}}],"result":null}}"#)
    };
    let chain = |code: i64| {
        format!(
            r#"{{"success":false,"errors":[{{"code":1004,"message":"DNS Validation Error","error_chain":[{{"code":{code},"message":"m"}}]}}]}}"#
        )
    };
    let table = [
        (400, error(81053), "conflict", ""),
        (400, error(81054), "conflict", ""),
        (400, error(81057), "conflict", ""),
        (400, error(81058), "conflict", ""),
        (400, chain(81058), "conflict", ""),
        (404, error(81044), "conflict", ""),
        (400, chain(9313), "refused", ""),
        (400, error(1038), "refused", ""),
        (404, error(7003), "not found", ""),
        (403, error(10000), "auth, again", ""),
        (403, error(9109), "auth, not let in", ""),
        (400, error(6003), "auth, not let in", ""),
        (400, error(9106), "auth, not let in", ""),
        (429, error(971), "retry, again", ""),
        (500, error(1), "retry, again", "unknown, again"),
        (522, String::new(), "retry, again, no answer", "unknown, again, no answer"),
        (200, error(1), "refused", ""),
        (200, "<html>".to_owned(), "retry", "unknown"),
        (200, r#"{"success":true}"#.to_owned(), "ok", ""),
        (302, String::new(), "refused", ""),
    ];
    for (status, body, read, write) in table {
        check(&errors::Answers, &[(status, &body, read, write)]);
    }
}

/// The error on top says nothing: the reason stands below it.
#[tokio::test(start_paused = true)]
async fn the_reason_of_a_refusal_is_told() {
    let body = r#"{"success":false,"errors":[{"code":1004,"message":"DNS Validation Error","error_chain":[{"code":9005,"message":"Content for A record must be a valid IPv4 address."}]}]}"#;
    let script = Script::of(&[(400, body)]);
    let case = Case::new(MarkPlace::ValueComments, "a.z.test A", &["A 192.0.2.1"], &[]);
    let result = account(&script).write(&zone(MarkPlace::ValueComments), &Case::ops(&[case])).await;
    let Err(PortError::Refused { why }) = result else { panic!("{result:?}") };
    assert_eq!(
        why,
        "cloudflare.batch: DNS Validation Error (1004): Content for A record must be a valid IPv4 address. (9005)"
    );
}

#[tokio::test(start_paused = true)]
async fn a_list_is_complete_or_none() {
    let page = |ids: &[u32], total: u32, pages: u32| {
        let rows: Vec<_> = ids
            .iter()
            .map(|i| {
                format!(r#"{{"id":"{i}","name":"n{i}.z.test","type":"A","content":"192.0.2.1","ttl":60}}"#)
            })
            .collect();
        format!(
            r#"{{"success":true,"result":[{}],"result_info":{{"total_count":{total},"total_pages":{pages}}}}}"#,
            rows.join(",")
        )
    };
    let read = |pages: Vec<String>| async move {
        let answers: Vec<_> = pages.iter().map(|p| (200, p.as_str())).collect();
        let script = Script::of(&answers);
        let zone = zone(MarkPlace::ValueComments);
        let result = account(&script).read(&zone, Scope::All(&BTreeSet::new())).await;
        (result.map(|l| l.sets.len()), script.sent().len())
    };
    assert_eq!(read(vec![page(&[1, 2], 3, 2), page(&[3], 3, 2)]).await, (Ok(3), 2));
    // A row went from one page to the other between two calls: read again.
    let again = vec![page(&[1, 2], 3, 2), page(&[2], 3, 2), page(&[1, 2], 3, 2), page(&[3], 3, 2)];
    assert_eq!(read(again).await, (Ok(3), 4));
    let (short, _) = read(vec![page(&[1, 2], 5, 1), page(&[1, 2], 5, 1)]).await;
    assert!(matches!(short, Err(PortError::Retry { .. })), "{short:?}");
    // Without its count, no list is believed.
    let (bare, _) = read(vec![r#"{"success":true,"result":[],"result_info":{}}"#.to_owned()]).await;
    assert!(matches!(bare, Err(PortError::Unsupported { .. })), "{bare:?}");
}
