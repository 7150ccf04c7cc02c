//! Every answer that a server can give, and what it means.

use super::*;
use crate::message::{name as name_of, question, rdata};
use berth_model::dns::{Fqdn, RecordData};
use hickory_proto::rr::rdata::{NS, SOA};

fn data(text: &str) -> RecordData {
    RecordData::try_from(text.to_owned()).unwrap()
}

fn at(text: &str) -> Name {
    name_of(&Fqdn::new(text).unwrap()).unwrap()
}

/// An authoritative answer about `app.z.test A` with these records, each `NAME TYPE VALUE`.
fn answer(code: ResponseCode, records: &[&str]) -> Message {
    let mut message = question(7, &at("app.z.test"), Kind::A, false, false).into_response();
    message.metadata.authoritative = true;
    message.metadata.response_code = code;
    for record in records {
        let (name, value) = record.split_once(' ').unwrap();
        message.add_answer(Record::from_rdata(at(name), 60, rdata(&data(value)).unwrap()));
    }
    message
}

fn with_soa(mut message: Message, ttl: u32, minimum: u32) -> Message {
    let soa = SOA::new(at("ns1.z.test"), at("hostmaster.z.test"), 1, 2, 3, 4, minimum);
    message.add_authority(Record::from_rdata(at("z.test"), ttl, RData::SOA(soa)));
    message
}

fn says(message: &Message, expected: &Expected) -> ServerSays {
    let key = RecordKey::parse("app.z.test A").unwrap();
    judge(message, &at("app.z.test"), Kind::A, &key, expected, false)
}

fn values(ours: &[&str], beside: &[&str]) -> Expected {
    let set = |texts: &[&str]| texts.iter().map(|t| data(t)).collect();
    Expected::Values { ours: set(ours), beside: set(beside) }
}

const A1: &str = "A 192.0.2.1";
const A2: &str = "A 192.0.2.2";
const R1: &str = "app.z.test A 192.0.2.1";
const R2: &str = "app.z.test A 192.0.2.2";

#[test]
fn values_are_compared_as_sets() {
    let right = ServerSays::Right { ttl: Some(60) };
    let other =
        |values: &[&str]| ServerSays::Other { values: values.iter().map(|v| (*v).into()).collect(), ttl: 60 };
    let table = [
        (vec![R1], values(&[A1], &[]), right.clone()),
        (vec![R2, R1], values(&[A1, A2], &[]), right.clone()),
        (vec![R1, R2], values(&[A1], &[A2]), right.clone()),
        (vec![R1, R2], values(&[A1], &[]), other(&[A1, A2])),
        (vec![R1], values(&[A1, A2], &[]), other(&[A1])),
        (vec![R2], values(&[A1], &[A2]), other(&[A2])),
        // An alias where an address is expected is another answer, whatever it leads to.
        (vec!["app.z.test CNAME x.test", "x.test A 192.0.2.1"], values(&[A1], &[]), other(&["CNAME x.test"])),
        // Of another name: no answer at all.
        (
            vec!["x.test A 192.0.2.1"],
            values(&[A1], &[]),
            ServerSays::Missing { name: false, negative_ttl: None },
        ),
        (vec!["app.z.test CNAME x.test", "x.test A 192.0.2.1"], Expected::Presence, right),
    ];
    for (records, expected, said) in table {
        assert_eq!(says(&answer(ResponseCode::NoError, &records), &expected), said, "{records:?}");
    }
}

#[test]
fn nothing_has_two_kinds_and_a_lifetime() {
    let missing = |name, negative_ttl| ServerSays::Missing { name, negative_ttl };
    let expected = values(&[A1], &[]);
    for (code, name) in [(ResponseCode::NXDomain, true), (ResponseCode::NoError, false)] {
        let bare = answer(code, &[]);
        assert_eq!(says(&bare, &expected), missing(name, None));
        assert_eq!(says(&with_soa(bare.clone(), 3600, 60), &expected), missing(name, Some(60)));
        assert_eq!(says(&with_soa(bare.clone(), 30, 60), &expected), missing(name, Some(30)));
        assert_eq!(says(&bare, &Expected::Presence), missing(name, None));
        assert_eq!(says(&bare, &Expected::Gone([data(A1)].into())), ServerSays::Right { ttl: None });
    }
}

#[test]
fn what_is_gone_may_have_left_others_behind() {
    let gone = Expected::Gone([data(A1)].into());
    assert!(says(&answer(ResponseCode::NoError, &[R2]), &gone).is_right());
    assert!(says(&answer(ResponseCode::NoError, &["app.z.test CNAME x.test"]), &gone).is_right());
    assert!(!says(&answer(ResponseCode::NoError, &[R2, R1]), &gone).is_right());
}

#[test]
fn who_is_no_authority_has_no_say() {
    let expected = values(&[A1], &[]);
    for code in [ResponseCode::Refused, ResponseCode::ServFail, ResponseCode::NotAuth] {
        assert!(matches!(says(&answer(code, &[R1]), &expected), ServerSays::NotServed { .. }), "{code:?}");
    }
    let mut lame = answer(ResponseCode::NoError, &[R1]);
    lame.metadata.authoritative = false;
    assert!(matches!(says(&lame, &expected), ServerSays::NotServed { .. }));
    // Not even that something is gone.
    assert!(!says(&lame, &Expected::Gone([data(A2)].into())).is_right());
    let mut referral = answer(ResponseCode::NoError, &[]);
    referral.metadata.authoritative = false;
    referral.add_authority(Record::from_rdata(at("z.test"), 60, RData::NS(NS(at("ns.other.test")))));
    let to = vec!["NS ns.other.test.".into()];
    assert_eq!(says(&referral, &expected), ServerSays::Referral { to });
    // A recursor never is one.
    let key = RecordKey::parse("app.z.test A").unwrap();
    assert!(judge(&lame, &at("app.z.test"), Kind::A, &key, &expected, true).is_right());
}
