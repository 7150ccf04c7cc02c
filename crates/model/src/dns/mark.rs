//! The mark of a set: whose it is, and a hash of what was written. It goes into labels, comments or a TXT record of its
//! own beside the set, so its text fits the narrowest of these: 100 bytes.

use super::data::{RecordData, RecordKey, RecordType};
use super::name::Fqdn;
use crate::ids::{BadName, Owner, StackName};
use crate::mark::PREFIX;
use data_encoding::BASE32_DNSSEC;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use smol_str::SmolStr;
use std::fmt;

/// What the narrowest comment holds.
pub const COMMENT_MOST: usize = 100;

/// What begins the first label of a companion, the TXT record that carries the mark of a set beside it.
const COMPANION: &str = "_berth-";
/// What stands for `*` in a companion's name.
const WILDCARD: &str = "_wildcard";

/// Forty bits over the name, the type and the values that were written, as eight characters.
///
/// It is a fingerprint and no proof: everything under it is public.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsHash([u8; 5]);

impl DnsHash {
    /// Of these values under this key. The order in which they come does not matter.
    #[must_use]
    pub fn of<'a>(key: &RecordKey, values: impl IntoIterator<Item = &'a RecordData>) -> Self {
        let mut values: Vec<_> = values.into_iter().collect();
        values.sort_unstable();
        values.dedup();
        let mut hash = Sha256::new();
        let mut part = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        part(key.name.as_str());
        part(key.kind.as_str());
        for value in values {
            part(&value.to_string());
        }
        let all = hash.finalize();
        let mut first = [0; 5];
        first.copy_from_slice(&all[..5]);
        Self(first)
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != 8 {
            return None;
        }
        BASE32_DNSSEC.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }
}

impl fmt::Display for DnsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE32_DNSSEC.encode(&self.0))
    }
}

impl fmt::Debug for DnsHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<DnsHash> for String {
    fn from(hash: DnsHash) -> String {
        hash.to_string()
    }
}

impl TryFrom<String> for DnsHash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        DnsHash::parse(&text).ok_or_else(|| format!("'{text}' is not a hash"))
    }
}

/// The mark of a set: `berth/1 OWNER/STACK h=HASH`, or `a=HASH` where the values were taken over and not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsMark {
    /// Which Berth.
    pub owner: Owner,
    /// Which stack.
    pub stack: StackName,
    /// Of the values that are ours.
    pub hash: DnsHash,
    /// The values stood there before: removing the stack leaves them.
    pub adopted: bool,
}

impl fmt::Display for DnsMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.adopted { "a" } else { "h" };
        write!(f, "{PREFIX}{}/{} {word}={}", self.owner, self.stack, self.hash)
    }
}

impl DnsMark {
    /// Reads a mark, without anything around it. Unknown words are passed over: a later version may add some.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.strip_prefix(PREFIX)?.split_ascii_whitespace();
        let (owner, stack) = words.next()?.split_once('/')?;
        let (owner, stack) = (Owner::new(owner).ok()?, StackName::new(stack).ok()?);
        let mut found = None;
        for word in words {
            match word.split_once('=')? {
                ("h", hash) => found = Some((DnsHash::parse(hash)?, false)),
                ("a", hash) => found = Some((DnsHash::parse(hash)?, true)),
                _ => {}
            }
        }
        let (hash, adopted) = found?;
        Some(Self { owner, stack, hash, adopted })
    }
}

/// What a set says about ownership.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum DnsMarkSeen {
    /// Nothing.
    #[default]
    None,
    /// A mark of this owner.
    Ours(DnsMark),
    /// A mark of another owner, of a form that this version does not read, or of several who disagree: hands off. The
    /// text says whose.
    Foreign(SmolStr),
}

impl DnsMarkSeen {
    /// The mark, where it is this owner's.
    #[must_use]
    pub fn ours(&self) -> Option<&DnsMark> {
        match self {
            DnsMarkSeen::Ours(mark) => Some(mark),
            _ => None,
        }
    }
}

/// Where the mark begins in a text that may hold other words before it.
fn start(text: &str) -> Option<usize> {
    let at = text.rfind("berth/")?;
    (at == 0 || text[..at].ends_with([' ', '\n', ';', '|', ','])).then_some(at)
}

/// Reads the mark in a text that may hold other words before it.
#[must_use]
pub fn read(text: &str, us: &Owner) -> DnsMarkSeen {
    let Some(at) = start(text) else {
        return DnsMarkSeen::None;
    };
    let mark = text[at..].trim_end();
    match DnsMark::parse(mark) {
        Some(mark) if mark.owner == *us => DnsMarkSeen::Ours(mark),
        _ => DnsMarkSeen::Foreign(mark.chars().take(120).collect()),
    }
}

/// The text with its mark replaced by `mark`, or with `mark` at its end. Other words stay.
#[must_use]
pub fn with_mark(text: &str, mark: &DnsMark) -> String {
    let words = without_mark(text);
    if words.is_empty() { mark.to_string() } else { format!("{words} {mark}") }
}

/// The other words of the text.
#[must_use]
pub fn without_mark(text: &str) -> &str {
    start(text).map_or(text, |at| text[..at].trim_end())
}

/// The TXT record that carries the mark of a set where the provider has no other place for it. It stays inside the
/// zone, and beside a CNAME: `_berth-a.app.example.com`, `_berth-a.example.com` for the zone's own name,
/// `_berth-a._wildcard.example.com` for `*.example.com`.
///
/// # Errors
/// The name is so long that there is no room in front of it.
pub fn companion(key: &RecordKey) -> Result<Fqdn, BadName> {
    let kind = key.kind.as_str().to_ascii_lowercase();
    let name = match key.name.as_str().strip_prefix("*.") {
        Some(rest) => format!("{COMPANION}{kind}.{WILDCARD}.{rest}"),
        None => format!("{COMPANION}{kind}.{}", key.name),
    };
    Fqdn::new(&name).map_err(|_| {
        BadName(format!(
            "{key}: its mark needs a TXT record in front of the name, for which the name is too long"
        ))
    })
}

/// The set that a TXT record of this name would be the companion of.
#[must_use]
pub fn companion_of(name: &Fqdn) -> Option<RecordKey> {
    let (kind, rest) = name.as_str().strip_prefix(COMPANION)?.split_once('.')?;
    let kind = RecordType::ALL.into_iter().find(|t| t.as_str().to_ascii_lowercase() == kind)?;
    let name = match rest.strip_prefix(WILDCARD) {
        Some(below) if below.starts_with('.') => Fqdn::new(&format!("*{below}")),
        _ => Fqdn::new(rest),
    };
    Some(RecordKey::new(name.ok()?, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, kind: RecordType) -> RecordKey {
        RecordKey::new(Fqdn::new(name).unwrap(), kind)
    }

    fn mark(owner: &str, stack: &str) -> DnsMark {
        let values = [RecordData::parse(RecordType::A, "192.0.2.1", None).unwrap()];
        DnsMark {
            owner: Owner::new(owner).unwrap(),
            stack: StackName::new(stack).unwrap(),
            hash: DnsHash::of(&key("a.b", RecordType::A), &values),
            adopted: false,
        }
    }

    #[test]
    fn the_longest_mark_fits_the_narrowest_comment() {
        let longest = "a".repeat(40);
        let text = mark(&longest, &longest).to_string();
        assert_eq!(text.len(), COMMENT_MOST);
        let us = Owner::new(&longest).unwrap();
        assert!(matches!(read(&text, &us), DnsMarkSeen::Ours(_)));
    }

    #[test]
    fn marks_read_back_among_other_words() {
        let us = Owner::new("prod-eu").unwrap();
        let ours = mark("prod-eu", "shop");
        let adopted = DnsMark { adopted: true, ..ours.clone() };
        assert_eq!(read(&ours.to_string(), &us), DnsMarkSeen::Ours(ours.clone()));
        assert_eq!(read(&format!("web server {adopted} "), &us), DnsMarkSeen::Ours(adopted));
        let text = format!("web server {ours}");
        assert_eq!(with_mark("web server", &ours), text);
        assert_eq!(with_mark(&text, &ours), text);
        assert_eq!(without_mark(&text), "web server");
        assert_eq!(without_mark(&ours.to_string()), "");
        assert_eq!(with_mark("", &ours), ours.to_string());
        let later = format!("{ours} z=9");
        assert_eq!(read(&later, &us), DnsMarkSeen::Ours(ours.clone()));
        for text in ["", "web server", "myberth/1 a/b", "heritage=external-dns,external-dns/owner=x"] {
            assert_eq!(read(text, &us), DnsMarkSeen::None, "{text}");
        }
        let foreign = [
            "berth/1 other/shop h=00000000",
            "berth/2 prod-eu/shop h=00000000",
            "berth/1 prod-eu/shop",
            "berth/1 prod-eu/shop h=zz",
            "berth/1 prod-eu h=00000000",
            "berth/",
        ];
        for text in foreign {
            assert!(matches!(read(text, &us), DnsMarkSeen::Foreign(_)), "{text}");
        }
    }

    #[test]
    fn a_hash_names_values_under_one_key() {
        let v = |text| RecordData::parse(RecordType::A, text, None).unwrap();
        let (a, b) = (v("192.0.2.1"), v("192.0.2.2"));
        let here = key("a.b", RecordType::A);
        assert_eq!(DnsHash::of(&here, [&a, &b]), DnsHash::of(&here, [&b, &a, &b]));
        assert_ne!(DnsHash::of(&here, [&a]), DnsHash::of(&here, [&a, &b]));
        assert_ne!(DnsHash::of(&here, [&a]), DnsHash::of(&key("b.b", RecordType::A), [&a]));
        let hash = DnsHash::of(&here, [&a]);
        assert_eq!(DnsHash::parse(&hash.to_string()), Some(hash));
        assert_eq!(DnsHash::parse("0000000"), None);
        assert_eq!(DnsHash::parse("0000000w"), None);
    }

    #[test]
    fn companions_stay_in_the_zone_and_name_their_set() {
        let zone = Fqdn::new("example.com").unwrap();
        let table = [
            ("app.example.com", RecordType::A, "_berth-a.app.example.com"),
            ("example.com", RecordType::Aaaa, "_berth-aaaa.example.com"),
            ("*.example.com", RecordType::Cname, "_berth-cname._wildcard.example.com"),
            ("*.dev.example.com", RecordType::Txt, "_berth-txt._wildcard.dev.example.com"),
        ];
        for (name, kind, expected) in table {
            let companion = companion(&key(name, kind)).unwrap();
            assert_eq!(companion.as_str(), expected);
            assert!(companion.is_in(&zone));
            assert_eq!(companion_of(&companion), Some(key(name, kind)));
        }
        for other in ["app.example.com", "_berth-mx.example.com", "_berth-a", "_acme.example.com"] {
            assert_eq!(companion_of(&Fqdn::new(other).unwrap()), None, "{other}");
        }
        let long = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(60));
        assert!(companion(&key(&long, RecordType::A)).is_err());
    }
}
