//! PowerDNS: what is sent for a change, and what its answers mean.

use super::*;
use crate::script::{Case, Script, check, common, owner, zone};
use berth_model::dns::{Fqdn, RecordData};
use std::collections::BTreeSet;

fn server(script: &Script, companions: bool) -> PowerDns<Script> {
    let clock = Arc::new(|| Time(0));
    PowerDns::new(common(), "http://h:8081", "localhost", companions, owner(), clock, script.clone()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_goes_stands_before_what_comes() {
    let script = Script::of(&[(204, "")]);
    let mut put = Case::new(MarkPlace::Comments, "a.z.test CNAME", &[], &[]).put(&["CNAME x.test"], 0);
    put.before.comments.push(RawComment {
        content: "by hand".into(),
        account: "me".into(),
        modified: Some(7),
    });
    let cases = [put, Case::new(MarkPlace::Comments, "a.z.test A", &["A 192.0.2.1"], &[])];
    server(&script, false).write(&zone(MarkPlace::Comments), &Case::one(&cases)).await.unwrap();
    let sent = script.sent().remove(0);
    let (head, body) = sent.split_once('{').unwrap();
    assert_eq!(head, "PATCH /api/v1/servers/localhost/zones/z.test ");
    assert!(
        body.starts_with(r#""rrsets":[{"name":"a.z.test.","type":"A","changetype":"DELETE"},"#),
        "{body}"
    );
    assert!(body.contains(r#""ttl":300,"records":[{"content":"x.test.","disabled":false}]"#), "{body}");
    assert!(
        body.contains(
            r#"{"content":"by hand","account":"me","modified_at":7},{"content":"berth/1 prod/shop h="#
        ),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn others_values_are_sent_back_as_they_came() {
    let script = Script::of(&[(204, "")]);
    let mut case = Case::new(MarkPlace::Comments, "z.test TXT", &["TXT ours"], &["TXT theirs"]);
    case.before.values[1].text = "\"the\" \"irs\"".into();
    server(&script, false).write(&zone(MarkPlace::Comments), &Case::ops(&[case])).await.unwrap();
    let sent = script.sent().remove(0);
    assert!(
        sent.contains(r#""records":[{"content":"\"the\" \"irs\"","disabled":false}],"comments":[]"#),
        "{sent}"
    );
}

#[tokio::test(start_paused = true)]
async fn companions_go_along() {
    let script = Script::of(&[(204, ""), (204, "")]);
    let server = server(&script, true);
    let zone = zone(MarkPlace::Companions);
    let new = Case::new(MarkPlace::Companions, "*.z.test A", &[], &[]).put(&["A 192.0.2.1"], 60);
    server.write(&zone, &Case::ops(&[new])).await.unwrap();
    let old = Case::new(MarkPlace::Companions, "*.z.test A", &["A 192.0.2.1"], &[]);
    server.write(&zone, &Case::ops(&[old])).await.unwrap();
    let sent = script.sent();
    assert!(
        sent[0].contains(r#""name":"_berth-a._wildcard.z.test.","type":"TXT","changetype":"REPLACE""#),
        "{sent:?}"
    );
    assert!(!sent[0].contains("comments"), "{sent:?}");
    assert_eq!(sent[1].matches(r#""changetype":"DELETE""#).count(), 2, "{sent:?}");
}

#[test]
fn what_its_answers_mean() {
    let table = [
        (200, "[]", "ok", ""),
        (204, "", "ok", ""),
        (400, "Bad Request", "refused", ""),
        (401, "Unauthorized", "auth, not let in", ""),
        (404, "Not Found", "not found", ""),
        (409, "Conflict", "conflict", ""),
        (422, r#"{"error": "RRset c.z.test. IN A: Conflicts with pre-existing RRset"}"#, "conflict", ""),
        (422, r#"{"error": "RRset app.other.test. IN A: Name is out of zone"}"#, "refused", ""),
        (405, "", "refused", ""),
        (500, "Internal Server Error", "retry, again", "unknown, again"),
        (502, "", "retry, again, no answer", "unknown, again, no answer"),
        (301, "", "refused", ""),
    ];
    check(&errors::Answers, &table);
}

#[test]
fn odd_zones_are_read_as_what_they_are() {
    let zone = zone(MarkPlace::Comments);
    let read = |text: &str| parse::listing(serde_json::from_str(text).unwrap(), &zone, Time(0));
    assert!(read(r#"{"name":"other.test.","rrsets":[]}"#).is_err());
    let listing = read(
        r#"{"name":"Z.test.","rrsets":[
            {"name":"ghost.z.test.","type":"A","ttl":0,"records":[],"comments":[]},
            {"name":"a.z.test.","type":"A","ttl":4294967295,"records":[{"content":"192.0.2.1","disabled":false}]},
            {"name":"b.z.test.","type":"A","ttl":-1,"records":[{"content":"999.0.2.1"}]},
            {"name":"c\\032d.z.test.","type":"A","ttl":1,"records":[]},
            {"name":"e.z.test.","type":"LUA","ttl":1,"records":[{"content":"A \"x\""}]}]}"#,
    )
    .unwrap();
    let names: BTreeSet<_> = listing.sets.keys().map(Fqdn::as_str).collect();
    assert_eq!(names, ["a.z.test", "b.z.test"].into());
    let b = listing.get(&key("b.z.test.", RecordType::A).unwrap());
    assert_eq!((b.values[0].data.clone(), b.values[0].ttl), (None::<RecordData>, Ttl::Auto));
    assert!(listing.others.contains_key(&Fqdn::new("e.z.test").unwrap()));
    // What is not there is missing, and never empty.
    assert!(serde_json::from_str::<parse::ZoneBody>(r#"{"name":"z.test."}"#).is_err());
}
