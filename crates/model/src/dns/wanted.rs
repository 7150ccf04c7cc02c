//! A set as it is wanted: checked when it is made, so that nothing later meets a CNAME with two values.

use super::data::{RecordData, RecordKey, RecordType, Ttl};
use super::mark::companion_of;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// Why a set cannot be wanted. Says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

/// The most values of one set: what the narrowest provider takes.
const VALUES: usize = 50;
/// The longest text of one TXT value: what the narrowest provider takes.
const TEXT: usize = 4_000;

/// A set that is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedSet {
    key: RecordKey,
    values: BTreeSet<RecordData>,
    ttl: Ttl,
    proxied: Option<bool>,
}

impl WantedSet {
    /// Checks and takes it. `proxied` is for providers that can stand in front of the name: `None` leaves it as it is.
    ///
    /// # Errors
    /// What no zone could hold.
    pub fn new(
        key: RecordKey,
        values: BTreeSet<RecordData>,
        ttl: Ttl,
        proxied: Option<bool>,
    ) -> Result<Self, BadRecord> {
        let bad = |why: &str| Err(BadRecord(format!("{key}: {why}")));
        if values.is_empty() {
            return bad("a record needs a value");
        }
        if values.len() > VALUES {
            return bad("one name and type holds at most 50 values");
        }
        if values.iter().any(|v| v.kind() != key.kind) {
            return bad("a value is of another type");
        }
        if companion_of(&key.name).is_some() {
            return bad("names that begin with '_berth-' hold Berth's own marks");
        }
        if let Ttl::Seconds(s) = ttl
            && !(1..=Ttl::LARGEST).contains(&s)
        {
            return bad("a ttl is 1 to 2147483647 seconds");
        }
        if key.kind == RecordType::Cname && values.len() > 1 {
            return bad("a CNAME has one target");
        }
        for value in &values {
            match value {
                RecordData::Cname(target) if *target == key.name => {
                    return bad("a CNAME leads to itself");
                }
                RecordData::Cname(target) if target.as_str().parse::<Ipv4Addr>().is_ok() => {
                    return bad("a CNAME leads to a name; an address is an A record");
                }
                RecordData::Txt(text) if text.bytes().len() > TEXT => {
                    return bad("a text has at most 4000 bytes");
                }
                _ => {}
            }
        }
        if proxied == Some(true) && key.kind == RecordType::Txt {
            return bad("a TXT record cannot be proxied");
        }
        Ok(Self { key, values, ttl, proxied })
    }

    /// Its name and type.
    #[must_use]
    pub fn key(&self) -> &RecordKey {
        &self.key
    }

    /// Its values: at least one.
    #[must_use]
    pub fn values(&self) -> &BTreeSet<RecordData> {
        &self.values
    }

    /// How long answers may be kept.
    #[must_use]
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }

    /// Whether the provider stands in front of the name; `None` leaves it as it is.
    #[must_use]
    pub fn proxied(&self) -> Option<bool> {
        self.proxied
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::Fqdn;

    #[test]
    fn what_no_zone_could_hold_cannot_be_wanted() {
        let check = |name: &str, kind: RecordType, values: &[&str], ttl, proxied| {
            let values = values.iter().map(|v| RecordData::try_from((*v).to_owned()).unwrap()).collect();
            WantedSet::new(RecordKey::new(Fqdn::new(name).unwrap(), kind), values, ttl, proxied)
        };
        use RecordType::{A, Cname, Txt};
        let auto = Ttl::Auto;
        assert!(check("a.b", A, &["A 192.0.2.1", "A 192.0.2.2"], Ttl::Seconds(60), Some(true)).is_ok());
        assert!(check("*.b", Cname, &["CNAME x.y"], auto, None).is_ok());
        let many: Vec<_> = (0..51).map(|n| format!("A 192.0.2.{n}")).collect();
        let many: Vec<_> = many.iter().map(String::as_str).collect();
        let long = format!("TXT \"{}\"", "x".repeat(4001));
        type Case<'a> = (&'a str, RecordType, &'a [&'a str], Ttl, Option<bool>);
        let bad: [Case<'_>; 10] = [
            ("a.b", A, &[], auto, None),
            ("a.b", A, &many, auto, None),
            ("a.b", A, &["AAAA ::1"], auto, None),
            ("a.b", A, &["A 192.0.2.1"], Ttl::Seconds(0), None),
            ("a.b", A, &["A 192.0.2.1"], Ttl::Seconds(u32::MAX), None),
            ("a.b", Cname, &["CNAME x.y", "CNAME x.z"], auto, None),
            ("a.b", Cname, &["CNAME a.b"], auto, None),
            ("a.b", Cname, &["CNAME 192.0.2.1"], auto, None),
            ("_berth-a.b", Txt, &["TXT x"], auto, None),
            ("a.b", Txt, &["TXT x"], auto, Some(true)),
        ];
        for (name, kind, values, ttl, proxied) in bad {
            assert!(check(name, kind, values, ttl, proxied).is_err(), "{name} {kind} {values:?}");
        }
        assert!(check("a.b", Txt, &[&long], auto, None).is_err());
    }
}
