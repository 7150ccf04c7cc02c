//! Hetzner: what is sent for a change, in which order, and what its answers mean.

use super::*;
use crate::raw::labels;
use crate::script::{Case, Script, check, common, zone};
use berth_model::dns::RecordData;
use tokio::time::Instant;

const DONE: (u16, &str) = (201, r#"{"action":{"id":1,"status":"success"}}"#);

async fn sent(case: Case) -> Vec<String> {
    let script = Script::of(&[DONE; 9]);
    let project = Hetzner::new(common(), URL, Arc::new(|| Time(0)), script.clone()).unwrap();
    project.write(&zone(MarkPlace::Labels), &Case::ops(&[case])).await.unwrap();
    // Without the bodies of labels: a hash stands in them.
    script.sent().into_iter().map(|s| s.split(r#"{"labels""#).next().unwrap().trim_end().to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn every_case_has_its_calls() {
    let case = |ours: &[&str], theirs: &[&str]| Case::new(MarkPlace::Labels, "a.z.test A", ours, theirs);
    let (a, b, c) = ("A 192.0.2.1", "A 192.0.2.2", "A 192.0.2.9");
    let at = "/v1/zones/z.test/rrsets/a/A";
    let made = sent(case(&[], &[]).put(&[a], 60)).await;
    assert!(
        made.len() == 1
            && made[0].starts_with(r#"POST /v1/zones/z.test/rrsets {"name":"a","type":"A","ttl":60,"#),
        "{made:?}"
    );
    // The mark first, then the values, then the lifetime.
    assert_eq!(
        sent(case(&[a], &[]).put(&[b], 90)).await,
        [
            format!("PUT {at}"),
            format!(r#"POST {at}/actions/set_records {{"records":[{{"value":"192.0.2.2"}}]}}"#),
            format!(r#"POST {at}/actions/change_ttl {{"ttl":90}}"#)
        ]
    );
    // Beside others, single values only, and their lifetime.
    assert_eq!(
        sent(case(&[a], &[c]).put(&[b], 90)).await,
        [
            format!("PUT {at}"),
            format!(r#"POST {at}/actions/add_records {{"records":[{{"value":"192.0.2.2"}}]}}"#),
            format!(r#"POST {at}/actions/remove_records {{"records":[{{"value":"192.0.2.1"}}]}}"#)
        ]
    );
    assert_eq!(sent(case(&[a], &[])).await, [format!("DELETE {at}")]);
    assert_eq!(
        sent(case(&[a], &[c])).await,
        [
            format!(r#"POST {at}/actions/remove_records {{"records":[{{"value":"192.0.2.1"}}]}}"#),
            format!("PUT {at}")
        ]
    );
    assert_eq!(sent(case(&[a], &[]).put(&[a], 60)).await, [""; 0]);
    // The zone's own name and wildcards are names of their own.
    let apex = sent(Case::new(MarkPlace::Labels, "z.test A", &[a], &[])).await;
    assert_eq!(apex, ["DELETE /v1/zones/z.test/rrsets/@/A"]);
    let wild = sent(Case::new(MarkPlace::Labels, "*.dev.z.test A", &[a], &[])).await;
    assert_eq!(wild, ["DELETE /v1/zones/z.test/rrsets/*.dev/A"]);
}

#[tokio::test(start_paused = true)]
async fn an_action_is_waited_for_and_its_error_told() {
    let running = r#"{"action":{"id":7,"status":"running"}}"#;
    let ended = |status: &str| {
        format!(
            r#"{{"action":{{"id":7,"status":"{status}","error":{{"code":"invalid_input","message":"no"}}}}}}"#
        )
    };
    let (good, bad) = (ended("success"), ended("error"));
    let run = |answers: Vec<(u16, String)>| async move {
        let answers: Vec<_> = answers.iter().map(|(s, b)| (*s, b.as_str())).collect();
        let script = Script::of(&answers);
        let project = Hetzner::new(common(), URL, Arc::new(|| Time(0)), script.clone()).unwrap();
        let case = Case::new(MarkPlace::Labels, "a.z.test A", &["A 192.0.2.1"], &[]);
        let result = project.write(&zone(MarkPlace::Labels), &Case::ops(&[case])).await;
        (result, script.sent().len())
    };
    let began = Instant::now();
    let (result, calls) = run(vec![(201, running.into()), (200, running.into()), (200, good)]).await;
    assert_eq!((result, calls, began.elapsed().as_millis()), (Ok(()), 3, 1_500));
    let (result, _) = run(vec![(201, running.into()), (200, bad)]).await;
    assert!(
        matches!(&result, Err(PortError::Refused { why }) if why.contains("no (invalid_input)")),
        "{result:?}"
    );
    // It runs for ever: nobody knows.
    let (result, calls) = run(vec![(201, running.into()); 99]).await;
    assert!(matches!(result, Err(PortError::Unknown { .. })) && calls < 25, "{result:?}");
}

#[test]
fn what_its_answers_mean() {
    let error = |code: &str| format!(r#"{{"error":{{"code":"{code}","message":"m","details":null}}}}"#);
    let codes = [
        (401, "unauthorized", "auth, not let in", ""),
        (403, "token_readonly", "auth", ""),
        (403, "forbidden", "auth", ""),
        (404, "not_found", "not found", ""),
        (409, "uniqueness_error", "conflict", ""),
        (409, "conflict", "retry, again", ""),
        (422, "invalid_input", "refused", ""),
        (422, "incorrect_zone_mode", "refused", ""),
        (423, "locked", "retry, again", ""),
        (422, "protected", "refused", ""),
        (429, "rate_limit_exceeded", "retry, again", ""),
        (500, "server_error", "retry, again", "unknown, again"),
        (503, "maintenance", "retry, again, no answer", ""),
        (504, "timeout", "retry, again, no answer", "unknown, again, no answer"),
    ];
    for (status, code, read, write) in codes {
        check(&errors::Answers, &[(status, &error(code), read, write)]);
    }
    // Without a body that says so, by the status; an address that sends elsewhere is retired.
    check(
        &errors::Answers,
        &[(409, "", "conflict", ""), (423, "<html>", "retry, again", ""), (301, "", "refused", "")],
    );
}

#[test]
fn sets_are_read_as_they_are_meant() {
    let rows: parse::Sets = serde_json::from_str(
        r#"{"rrsets":[
            {"name":"www","type":"CNAME","ttl":null,"records":[{"value":"app"}]},
            {"name":"@","type":"A","ttl":60,"labels":{"x":"y"},"protection":{"change":true},"records":[{"value":"192.0.2.1","comment":"c"}]},
            {"name":"sub","type":"NS","ttl":60,"records":[{"value":"ns1"},{"value":"ns2.other.test."}]}],
            "meta":{"pagination":{"next_page":null,"total_entries":3}}}"#,
    )
    .unwrap();
    let zone = zone(MarkPlace::Labels);
    let mut listing = Listing::new(Time(0), Known::All);
    parse::fill(&mut listing, &zone, parse::Listed::rows(rows));
    let get = |text: &str| listing.get(&berth_model::dns::RecordKey::parse(text).unwrap());
    let www = &get("www.z.test CNAME").values[0];
    assert_eq!(
        (www.data.clone(), www.ttl),
        (Some(RecordData::try_from("CNAME app.z.test".to_owned()).unwrap()), Ttl::Auto)
    );
    let apex = get("z.test A");
    assert!(apex.protected && apex.labels == labels::with(&apex.labels, None));
    assert_eq!(listing.cuts[&Fqdn::new("sub.z.test").unwrap()].to, ["ns1.z.test.", "ns2.other.test."]);
    // A page without a word about the next is no last page.
    assert!(
        serde_json::from_str::<parse::Sets>(r#"{"rrsets":[],"meta":{"pagination":{"page":1}}}"#).is_err()
    );
}
