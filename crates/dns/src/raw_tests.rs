//! Whose a set is, read from every place where marks stand, and looks that are laid over each other.

use super::*;
use berth_model::dns::{Delegation, DnsHash, DnsMark, TtlBounds, Writable};
use berth_model::ids::{CredentialName, StackName};

fn name(text: &str) -> Fqdn {
    Fqdn::new(text).unwrap()
}

fn us() -> Owner {
    Owner::new("prod").unwrap()
}

fn key(text: &str) -> RecordKey {
    RecordKey::parse(text).unwrap()
}

fn value(text: &str) -> RawValue {
    let data = RecordData::try_from(text.to_owned()).unwrap();
    RawValue { text: data.zone_text(), data: Some(data), ttl: Ttl::Seconds(60), ..RawValue::default() }
}

fn mark(adopted: bool) -> DnsMark {
    let data = RecordData::try_from("A 192.0.2.1".to_owned()).unwrap();
    let hash = DnsHash::of(&key("app.z.test A"), [&data]);
    DnsMark { owner: us(), stack: StackName::new("shop").unwrap(), hash, adopted }
}

fn listing() -> Listing {
    let mut listing = Listing::new(Time(0), Known::All);
    listing.set(key("app.z.test A")).values.push(value("A 192.0.2.1"));
    listing
}

#[test]
fn labels_hold_a_mark_among_others() {
    for adopted in [false, true] {
        let own = BTreeMap::from([("team".to_owned(), "web".to_owned())]);
        let with = labels::with(&own, Some(&mark(adopted)));
        assert_eq!(labels::seen(&with, &us()), DnsMarkSeen::Ours(mark(adopted)));
        // Each label value is one that Hetzner takes.
        let fits = |v: &String| v.len() <= 63 && v.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        assert!(with.values().all(fits), "{with:?}");
        assert_eq!(labels::with(&with, None), own);
        assert_eq!(labels::with(&with, Some(&mark(!adopted))).len(), 4);
    }
    assert_eq!(labels::seen(&BTreeMap::new(), &us()), DnsMarkSeen::None);
    let half = BTreeMap::from([("berth.dev/owner".to_owned(), "prod".to_owned())]);
    assert!(matches!(labels::seen(&half, &us()), DnsMarkSeen::Foreign(_)));
}

#[test]
fn marks_that_do_not_agree_are_nobodys() {
    let comment = |content: String| RawComment { content, account: String::new(), modified: None };
    let other = "berth/1 other/shop h=00000000".to_owned();
    let check = |comments: Vec<String>| {
        let mut listing = listing();
        listing.set(key("app.z.test A")).comments = comments.into_iter().map(comment).collect();
        listing.seen(&key("app.z.test A"), &us(), MarkPlace::Comments).mark
    };
    let ours = mark(false).to_string();
    assert_eq!(check(vec!["by hand".to_owned(), ours.clone()]), DnsMarkSeen::Ours(mark(false)));
    assert!(matches!(check(vec![ours, other.clone()]), DnsMarkSeen::Foreign(_)));
    assert!(matches!(check(vec![other]), DnsMarkSeen::Foreign(_)));
    assert_eq!(check(vec!["by hand".to_owned()]), DnsMarkSeen::None);
}

#[test]
fn companions_are_marks_and_no_records() {
    let mut listing = listing();
    let text = |t: &str| value(&format!("TXT \"{t}\""));
    listing.set(key("_berth-a.app.z.test TXT")).values.push(text(&mark(false).to_string()));
    listing.set(key("_berth-a._wildcard.z.test TXT")).values.push(text(&mark(false).to_string()));
    listing.set(key("_berth-txt.odd.z.test TXT")).values.push(text("hello"));
    listing.other(&name("z.test"), name("z.test"), "NS", Some("ns1.Provider.test."));
    listing.other(&name("z.test"), name("sub.z.test"), "NS", Some("ns.other.test."));
    let facts = ZoneFacts {
        servers: vec![],
        addresses: vec![],
        delegation: Delegation::Unknown,
        writable: Writable::Yes,
        default_ttl: None,
        ttl: TtlBounds::ANY,
        quota: None,
        marks: MarkPlace::Companions,
        proxies: false,
        apex_cname: false,
    };
    let zone = Zone { name: name("z.test"), key: "z.test".into(), facts: Arc::new(facts) };
    let id = ZoneId { credential: CredentialName::new("main").unwrap(), name: name("z.test") };
    let view = listing.view(&zone, &id, &us());
    let shown: Vec<_> = view.names.keys().map(Fqdn::as_str).collect();
    assert_eq!(shown, ["*.z.test", "app.z.test", "odd.z.test", "sub.z.test", "z.test"]);
    assert_eq!(view.names[&name("app.z.test")].sets[&RecordType::A].mark, DnsMarkSeen::Ours(mark(false)));
    let half = &view.names[&name("*.z.test")].sets[&RecordType::A];
    assert!(half.is_empty() && half.mark.ours().is_some());
    assert!(matches!(view.names[&name("odd.z.test")].sets[&RecordType::Txt].mark, DnsMarkSeen::Foreign(_)));
    assert_eq!(view.facts.servers, [name("ns1.provider.test")]);
    assert_eq!(view.cut(&name("x.sub.z.test")).unwrap().to, ["ns.other.test."]);
}

#[test]
fn a_younger_look_at_some_names_leaves_the_others() {
    let mut all = listing();
    all.set(key("old.z.test A")).values.push(value("A 192.0.2.9"));
    all.set(key("other.z.test A")).values.push(value("A 192.0.2.9"));
    let names: BTreeSet<_> = [name("app.z.test"), name("old.z.test")].into();
    let mut younger = Listing::new(Time(9), Known::Names(names.clone()));
    younger.set(key("app.z.test A")).values.push(value("A 192.0.2.2"));
    all.take(younger, &names);
    assert_eq!(all.get(&key("app.z.test A")).values, [value("A 192.0.2.2")]);
    assert_eq!(all.get(&key("old.z.test A")), RawSet::default());
    assert_eq!(all.get(&key("other.z.test A")).values.len(), 1);
    assert_eq!(all.known, Known::All);
}

#[test]
fn what_is_switched_off_is_not_there_and_not_ours() {
    let mut listing = listing();
    let off = RawValue { disabled: true, ..value("A 192.0.2.7") };
    listing.set(key("app.z.test A")).values.push(off);
    let set = listing.seen(&key("app.z.test A"), &us(), MarkPlace::Comments);
    assert_eq!(set.data().len(), 1);
    assert_eq!(set.opaque.iter().map(SmolStr::as_str).collect::<Vec<_>>(), ["disabled: 192.0.2.7"]);
}
