//! Situations one by one, with the words that are shown for them.

use crate::zone::{Zone, data, key, mark, owner, stack};
use berth_model::Time;
use berth_model::dns::{
    DnsMarkSeen, Expected, Known, Ledger, LedgerEntry, MarkPlace, Policy, Quota, RecordData, RecordKey, Ttl,
    VerifyMode, WantedSet, Writable, ZoneRules,
};
use berth_model::ids::StackName;
use berth_plan::dns::{Ask, Judgement, Us, asked, judge, orphans};
use std::collections::BTreeSet;

fn want(text: &str, values: &[&str], ttl: Ttl) -> WantedSet {
    let values = values.iter().map(|v| data(v)).collect();
    WantedSet::new(key(text), values, ttl, None).unwrap()
}

fn host(text: &str, value: &str) -> WantedSet {
    want(text, &[value], Ttl::Auto)
}

fn ledger(zone: &Zone, entries: &[(&str, &[&str])]) -> Ledger {
    let entry = |(k, v): &(&str, &[&str])| {
        (key(k), LedgerEntry::of(&zone.view.zone, v.iter().map(|v| data(v)).collect()))
    };
    Ledger(entries.iter().map(entry).collect())
}

struct Case<'a> {
    wanted: &'a [WantedSet],
    ledger: Ledger,
    policy: Policy,
    adopt: bool,
    removing: bool,
}

impl<'a> Case<'a> {
    fn of(wanted: &'a [WantedSet]) -> Self {
        Case { wanted, ledger: Ledger::default(), policy: Policy::default(), adopt: false, removing: false }
    }

    fn judge(&self, zone: &Zone) -> Judgement {
        let (owner, shop, formerly) = (owner(), stack("shop"), BTreeSet::from([stack("store")]));
        let us = Us { owner: &owner, stack: &shop, formerly: &formerly };
        let rules = ZoneRules { policy: self.policy, adopt: self.adopt };
        let ledger = &self.ledger;
        judge(
            &zone.view,
            &Ask {
                us,
                wanted: self.wanted,
                ledger,
                rules,
                adopt: &BTreeSet::new(),
                removing: self.removing,
                now: Time(0),
            },
        )
    }

    /// Changes, then what is blocked, then notes: a line each.
    fn shown(&self, zone: &Zone) -> String {
        let judged = self.judge(zone);
        let changes = judged.changes.iter().map(ToString::to_string);
        let blocked = judged.blocked.iter().map(|b| format!("! {b}"));
        let notes = judged.notes.iter().map(|n| format!("i {n}"));
        changes.chain(blocked).chain(notes).collect::<Vec<_>>().join("\n")
    }
}

fn add(zone: &mut Zone, text: &str, value: &str, whose: Option<&str>) {
    let (key, value) = (key(text), data(value));
    let seen = match whose {
        None => DnsMarkSeen::None,
        Some("other owner") => DnsMarkSeen::Foreign("berth/1 other/shop h=00000000".into()),
        Some(stack) => DnsMarkSeen::Ours(mark(&key, stack, std::slice::from_ref(&value), false)),
    };
    zone.add(&key, value, seen);
}

const A1: &str = "A 192.0.2.1";
const A2: &str = "A 192.0.2.2";
const APP: &str = "app.z.test A";

#[test]
fn what_stands_there_decides() {
    let wanted = [host(APP, A1)];
    let case = Case::of(&wanted);
    let check = |place, fill: &[(&str, &str, Option<&str>)], expected: &str| {
        let mut zone = Zone::new(place);
        for (k, v, whose) in fill {
            add(&mut zone, k, v, *whose);
        }
        assert_eq!(case.shown(&zone), expected, "{place:?} {fill:?}");
    };
    for place in [MarkPlace::Labels, MarkPlace::Comments, MarkPlace::ValueComments, MarkPlace::Companions] {
        check(place, &[], "+ app.z.test A 192.0.2.1 (auto)");
        check(place, &[(APP, A1, Some("shop"))], "");
        check(place, &[(APP, A2, Some("shop"))], "- app.z.test A 192.0.2.2\n+ app.z.test A 192.0.2.1 (auto)");
        check(place, &[(APP, A1, Some("store"))], "~ app.z.test A 192.0.2.1 (auto)");
        check(
            place,
            &[(APP, A1, None)],
            "i app.z.test A stands there exactly as wanted, without a mark that fits: left as it is; 'berth dns adopt' takes it over",
        );
        check(
            place,
            &[(APP, A2, None)],
            "! app.z.test A: A app.z.test 192.0.2.2 stands there without a mark: remove it, or adopt it where its values are the wanted ones",
        );
        check(
            place,
            &[(APP, A1, Some("blog"))],
            "! app.z.test A: A app.z.test 192.0.2.1 stands there, of the stack blog",
        );
        check(
            place,
            &[(APP, A1, Some("other owner"))],
            "! app.z.test A: A app.z.test 192.0.2.1 stands there, marked 'berth/1 other/shop h=00000000'",
        );
        check(
            place,
            &[("app.z.test CNAME", "CNAME x.test", None)],
            "! app.z.test A: CNAME app.z.test x.test stands there without a mark: remove it, or adopt it where its values are the wanted ones",
        );
    }
    // A mark without its record: the other half of a pair.
    let mut zone = Zone::new(MarkPlace::Companions);
    let half = DnsMarkSeen::Ours(mark(&key(APP), "shop", &[data(A1)], false));
    zone.set(&key(APP)).mark = half;
    assert_eq!(case.shown(&zone), "+ app.z.test A 192.0.2.1 (auto)");
    zone.set(&key(APP)).mark = DnsMarkSeen::Ours(mark(&key(APP), "blog", &[data(A1)], false));
    assert_eq!(case.shown(&zone), "! app.z.test A: a mark for app.z.test A stands there, of the stack blog");
}

#[test]
fn a_record_that_lost_its_mark_gets_it_back_if_the_ledger_knows_it() {
    let wanted = [host(APP, A1)];
    let mut zone = Zone::new(MarkPlace::Companions);
    add(&mut zone, APP, A1, None);
    let case = Case { ledger: ledger(&zone, &[(APP, &[A1])]), ..Case::of(&wanted) };
    assert_eq!(case.shown(&zone), "~ app.z.test A 192.0.2.1 (auto)");
    // Known otherwise, it is somebody else's by now.
    let case = Case { ledger: ledger(&zone, &[(APP, &[A2])]), ..Case::of(&wanted) };
    assert!(case.shown(&zone).starts_with("i app.z.test A stands there exactly as wanted"));
}

#[test]
fn a_copied_mark_proves_nothing() {
    let mut zone = Zone::new(MarkPlace::Comments);
    // A record of another name, copied with its comment, and changed.
    let copied = mark(&key("www.z.test A"), "shop", &[data(A1)], false);
    zone.add(&key(APP), data(A2), DnsMarkSeen::Ours(copied));
    assert_eq!(
        Case::of(&[host(APP, A1)]).shown(&zone),
        "! app.z.test A: 192.0.2.2 carries our mark, and neither ledger nor mark know these values: remove the record or its mark"
    );
}

#[test]
fn names_that_cannot_be_written_say_why() {
    let mut zone = Zone::new(MarkPlace::Labels);
    zone.cut("sub.z.test");
    zone.other("mx.z.test", "MX");
    add(&mut zone, "txt.z.test TXT", "TXT hello", None);
    let table = [
        (host("x.other.test A", A1), "the name is not in this zone"),
        (host("x.sub.z.test A", A1), "sub.z.test is handed on to ns.other.test: write it there"),
        (
            host("z.test CNAME", "CNAME x.test"),
            "a CNAME cannot stand at the zone's own name: want A and AAAA records there",
        ),
        (
            host("mx.z.test CNAME", "CNAME x.test"),
            "MX mx.z.test stands there without a mark: remove it, or adopt it where its values are the wanted ones",
        ),
        (
            host("txt.z.test CNAME", "CNAME x.test"),
            "TXT txt.z.test \"hello\" stands there without a mark: remove it, or adopt it where its values are the wanted ones",
        ),
    ];
    for (wanted, why) in table {
        let text = format!("! {}: {why}", wanted.key());
        assert_eq!(Case::of(&[wanted]).shown(&zone), text);
    }
    let proxied = WantedSet::new(key(APP), [data(A1)].into(), Ttl::Auto, Some(true)).unwrap();
    assert!(Case::of(&[proxied]).shown(&zone).contains("cannot stand in front of a name"));
    let both = [host(APP, A1), host("app.z.test CNAME", "CNAME x.test")];
    assert_eq!(Case::of(&both).shown(&zone).matches("want one of them").count(), 2);
    zone.facts().writable = Writable::No("it is a secondary zone".to_owned());
    assert_eq!(
        Case::of(&[host(APP, A1)]).shown(&zone),
        "! app.z.test A: the zone cannot be written: it is a secondary zone"
    );
    zone.facts().writable = Writable::Yes;
    zone.facts().quota = Some(Quota { used: 200, most: Some(200) });
    assert!(Case::of(&[host(APP, A1)]).shown(&zone).contains("the zone holds 200 of 200 records"));
    zone.facts().quota = None;
    zone.view.known = Known::Names([crate::zone::name("www.z.test")].into());
    assert!(Case::of(&[host(APP, A1)]).shown(&zone).contains("could not be read"));
}

#[test]
fn a_cname_at_the_zones_own_name_goes_where_it_is_flattened() {
    let mut zone = Zone::new(MarkPlace::ValueComments);
    add(&mut zone, "z.test TXT", "TXT v=spf1", None);
    assert_eq!(
        Case::of(&[host("z.test CNAME", "CNAME x.test")]).shown(&zone),
        "+ z.test CNAME x.test (auto)"
    );
}

#[test]
fn policies() {
    let wanted = [host(APP, A1)];
    let made = |zone: &mut Zone| {
        add(zone, APP, A2, Some("shop"));
        add(zone, "app.z.test AAAA", "AAAA ::1", Some("shop"));
        add(zone, "old.z.test A", A1, Some("shop"));
    };
    let mut zone = Zone::new(MarkPlace::Comments);
    made(&mut zone);
    let all = ledger(&zone, &[(APP, &[A2]), ("app.z.test AAAA", &["AAAA ::1"]), ("old.z.test A", &[A1])]);
    let change = "- app.z.test A 192.0.2.2\n+ app.z.test A 192.0.2.1 (auto)\n- app.z.test AAAA ::1";
    let all_go = "- app.z.test A 192.0.2.2\n- app.z.test AAAA ::1\n- old.z.test A 192.0.2.1";
    let left = |name: &str| format!("i {name} is no longer wanted; the zone's policy leaves it");
    let table = [
        (Policy::UpsertOnly, false, format!("{change}\n{}", left("old.z.test A"))),
        (Policy::UpsertOnly, true, all_go.to_owned()),
        (Policy::Sync, false, format!("{change}\n- old.z.test A 192.0.2.1")),
        (Policy::Sync, true, all_go.to_owned()),
        (
            Policy::CreateOnly,
            false,
            format!(
                "{}\ni app.z.test A is 192.0.2.2, wanted is 192.0.2.1: the zone's policy changes nothing that is there\n{}",
                left("app.z.test AAAA"),
                left("old.z.test A")
            ),
        ),
        (Policy::CreateOnly, true, [left(APP), left("app.z.test AAAA"), left("old.z.test A")].join("\n")),
    ];
    for (policy, removing, expected) in table {
        let case = Case { policy, removing, ledger: all.clone(), ..Case::of(&wanted) };
        assert_eq!(case.shown(&zone), expected, "{policy:?} removing={removing}");
    }
}

/// The type of a host's record changes: the old goes and the new comes, together or not at all.
#[test]
fn a_change_of_type_is_one_change() {
    let wanted = [host("app.z.test CNAME", "CNAME x.test")];
    let mut zone = Zone::new(MarkPlace::Comments);
    add(&mut zone, APP, A1, Some("shop"));
    let case = Case { ledger: ledger(&zone, &[(APP, &[A1])]), ..Case::of(&wanted) };
    let judged = case.judge(&zone);
    assert_eq!(judged.changes.len(), 1);
    assert_eq!(judged.changes[0].to_string(), "- app.z.test A 192.0.2.1\n+ app.z.test CNAME x.test (auto)");
    // Something else is in the way of the new: then the old stays.
    zone.other("app.z.test", "MX");
    assert!(case.judge(&zone).changes.is_empty());
    // The store is lost: the mark proves the old to be ours.
    let mut zone = Zone::new(MarkPlace::Comments);
    add(&mut zone, APP, A1, Some("shop"));
    assert_eq!(Case::of(&wanted).judge(&zone).changes.len(), 1);
}

#[test]
fn ttls_are_compared_where_they_are_ours() {
    let check = |wanted: Ttl, seen: Ttl, expected: &str| {
        let mut zone = Zone::new(MarkPlace::Labels);
        add(&mut zone, APP, A1, Some("shop"));
        for value in zone.set(&key(APP)).values.values_mut() {
            value.ttl = seen;
        }
        let wanted = [want(APP, &[A1], wanted)];
        assert_eq!(Case::of(&wanted).shown(&zone), expected);
    };
    let s = Ttl::Seconds;
    check(Ttl::Auto, s(77), "");
    check(s(300), s(300), "");
    check(s(60), s(300), "~ app.z.test A 192.0.2.1 (60 s)");
    check(s(3600), Ttl::Auto, "");
    check(s(1), s(60), "i app.z.test A its ttl cannot be had here: 60 s is used");
}

#[test]
fn a_proxied_name_has_no_ttl_and_is_verified_by_presence() {
    let mut zone = Zone::new(MarkPlace::ValueComments);
    add(&mut zone, APP, A1, Some("shop"));
    for value in zone.set(&key(APP)).values.values_mut() {
        (value.ttl, value.proxied) = (Ttl::Auto, true);
    }
    let wanted = want(APP, &[A1], Ttl::Seconds(300));
    assert_eq!(Case::of(std::slice::from_ref(&wanted)).shown(&zone), "");
    let question = asked(&zone.view, &wanted, VerifyMode::Authoritative, false);
    assert_eq!(question.expected, Expected::Presence);
    let plain = WantedSet::new(key(APP), [data(A1)].into(), Ttl::Auto, Some(false)).unwrap();
    assert_eq!(Case::of(&[plain]).shown(&zone), "~ app.z.test A 192.0.2.1 (auto)");
    // Others' values may be answered beside ours.
    let mut zone = Zone::new(MarkPlace::Labels);
    add(&mut zone, APP, A1, Some("shop"));
    add(&mut zone, APP, A2, None);
    let question = asked(&zone.view, &wanted, VerifyMode::Authoritative, false);
    assert_eq!(question.expected, Expected::Values { ours: [data(A1)].into(), beside: [data(A2)].into() });
}

#[test]
fn what_no_ledger_knows_is_shown_and_left() {
    let mut zone = Zone::new(MarkPlace::Comments);
    add(&mut zone, APP, A1, Some("gone"));
    add(&mut zone, "b.z.test A", A1, Some("shop"));
    add(&mut zone, "c.z.test A", A1, None);
    let known = BTreeSet::from([(stack("shop"), key("b.z.test A"))]);
    let found: Vec<(RecordKey, StackName)> =
        orphans(&zone.view, |stack, key| known.contains(&(stack.clone(), key.clone())))
            .into_iter()
            .map(|o| (o.key, o.stack))
            .collect();
    assert_eq!(found, [(key(APP), stack("gone"))]);
}

// What another tool of this kind got wrong, and must not happen here.

/// There: only the first value is compared, never the lifetime; and what somebody added to a set is replaced.
#[test]
fn all_values_and_the_ttl_are_compared_and_added_values_stay() {
    let wanted = [want(APP, &[A1, A2], Ttl::Seconds(300))];
    let mut zone = Zone::new(MarkPlace::Labels);
    let both: Vec<RecordData> = vec![data(A1), data(A2)];
    let ours = DnsMarkSeen::Ours(mark(&key(APP), "shop", &both, false));
    zone.add(&key(APP), data(A1), ours.clone());
    let known = ledger(&zone, &[(APP, &[A1, A2])]);
    let case = Case { ledger: known.clone(), ..Case::of(&wanted) };
    assert_eq!(case.shown(&zone), "~ app.z.test A 192.0.2.1 (300 s)\n+ app.z.test A 192.0.2.2 (300 s)");
    zone.add(&key(APP), data(A2), ours);
    assert_eq!(case.shown(&zone), "");
    zone.add(&key(APP), data("A 192.0.2.9"), DnsMarkSeen::None);
    assert_eq!(
        case.shown(&zone),
        "i app.z.test A 192.0.2.9 stands beside ours: answers are shared out among them"
    );
    // A new value for ours leaves it, and so does the removal of ours.
    let moved = [want(APP, &["A 192.0.2.3"], Ttl::Auto)];
    let change = Case { ledger: known.clone(), ..Case::of(&moved) }.judge(&zone).changes.remove(0);
    assert!(change.sets.values().all(|s| s.after().contains(&data("A 192.0.2.9"))));
    let gone = Case { ledger: known, removing: true, ..Case::of(&[]) }.judge(&zone).changes.remove(0);
    assert!(gone.sets.values().all(|s| s.after() == [data("A 192.0.2.9")].into()));
}

/// There: records that were found and not made go with the stack.
#[test]
fn what_was_there_before_stays_when_the_stack_goes() {
    let wanted = [host(APP, A1)];
    let mut zone = Zone::new(MarkPlace::Comments);
    add(&mut zone, APP, A1, None);
    // Left alone: nothing is remembered of it, so nothing can go.
    let mut ledger = Ledger::default();
    let judged = Case::of(&wanted).judge(&zone);
    judged.learn(&mut ledger);
    assert_eq!(ledger, Ledger::default());
    // Taken over: the mark goes, the record stays.
    let case = Case { adopt: true, ..Case::of(&wanted) };
    let change = case.judge(&zone).changes.remove(0);
    let id = zone.view.zone.clone();
    ledger.announce(&id, &change);
    zone.apply(&change);
    ledger.settle(&id, &change);
    for known in [ledger.clone(), {
        // Also where the ledger was lost meanwhile and found again in the marks.
        let mut found = Ledger::default();
        Case::of(&wanted).judge(&zone).learn(&mut found);
        found
    }] {
        let case = Case { ledger: known, removing: true, ..Case::of(&[]) };
        assert_eq!(
            case.shown(&zone),
            "- the mark of app.z.test A\ni app.z.test A 192.0.2.1 stood there before and stays, without our mark"
        );
    }
}

/// There: what is remembered lacks the domain, so that one host of two domains is one.
#[test]
fn the_same_host_of_two_zones_is_two() {
    let zone = Zone::new(MarkPlace::Comments);
    let mut known = ledger(&zone, &[("api.z.test A", &[A1])]);
    let other = berth_model::dns::ZoneId { name: crate::zone::name("y.test"), ..zone.view.zone.clone() };
    let elsewhere = LedgerEntry::of(&other, [data(A2)].into());
    known.0.insert(key("api.y.test A"), elsewhere.clone());
    assert_eq!(known.0.len(), 2);
    // What stands in another zone is judged there, and not here.
    let case = Case { ledger: known.clone(), policy: Policy::Sync, ..Case::of(&[]) };
    let judged = case.judge(&zone);
    judged.learn(&mut known);
    assert_eq!(known.0.into_iter().collect::<Vec<_>>(), [(key("api.y.test A"), elsewhere)]);
}
