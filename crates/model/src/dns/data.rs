//! Record types, keys, values and lifetimes, each canonical, so that equality is sameness.

use super::name::Fqdn;
use super::txt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// The types that Berth writes. Others can be seen to stand in the way, and are never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordType {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// Another name.
    Cname,
    /// A text.
    Txt,
}

impl RecordType {
    /// All of them.
    pub const ALL: [RecordType; 4] = [RecordType::A, RecordType::Aaaa, RecordType::Cname, RecordType::Txt];

    /// As it is written everywhere.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            RecordType::A => "A",
            RecordType::Aaaa => "AAAA",
            RecordType::Cname => "CNAME",
            RecordType::Txt => "TXT",
        }
    }

    /// Reads one, in any case. `None` for every type that Berth does not write.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.as_str().eq_ignore_ascii_case(text))
    }
}

impl fmt::Display for RecordType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordKey {
    /// Its name.
    pub name: Fqdn,
    /// Its type.
    pub kind: RecordType,
}

impl RecordKey {
    /// Of a name and a type.
    #[must_use]
    pub fn new(name: Fqdn, kind: RecordType) -> Self {
        Self { name, kind }
    }

    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (name, kind) = text.split_once(' ')?;
        Some(Self { name: Fqdn::new(name).ok()?, kind: RecordType::parse(kind)? })
    }
}

impl fmt::Display for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind)
    }
}

impl fmt::Debug for RecordKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<RecordKey> for String {
    fn from(key: RecordKey) -> String {
        key.to_string()
    }
}

impl TryFrom<String> for RecordKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        RecordKey::parse(&text).ok_or_else(|| format!("'{text}' is not NAME TYPE"))
    }
}

/// The joined bytes of a TXT record.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxtData(Arc<[u8]>);

impl TxtData {
    /// The bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for TxtData {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }
}

/// One value of a set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum RecordData {
    /// Of an A record.
    A(Ipv4Addr),
    /// Of an AAAA record.
    Aaaa(Ipv6Addr),
    /// Of a CNAME record.
    Cname(Fqdn),
    /// Of a TXT record.
    Txt(TxtData),
}

impl RecordData {
    /// An address, with the type that goes with it.
    #[must_use]
    pub fn address(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => RecordData::A(ip),
            IpAddr::V6(ip) => RecordData::Aaaa(ip),
        }
    }

    /// A text as people write it.
    #[must_use]
    pub fn text(text: &str) -> Option<Self> {
        Some(RecordData::Txt(TxtData::from(txt::chunks(text)?.concat().as_slice())))
    }

    /// Reads the content of a record. `origin` is where a target without a dot at its end is relative to; without one,
    /// such a target is absolute. `None` where it is no value of this type.
    #[must_use]
    pub fn parse(kind: RecordType, content: &str, origin: Option<&Fqdn>) -> Option<Self> {
        let trimmed = content.trim();
        match kind {
            RecordType::A => trimmed.parse().ok().map(RecordData::A),
            RecordType::Aaaa => trimmed.parse().ok().map(RecordData::Aaaa),
            RecordType::Cname => {
                let target = match origin {
                    Some(zone) if !trimmed.is_empty() => Fqdn::below(trimmed, zone),
                    _ => Fqdn::new(trimmed),
                };
                target.ok().filter(|t| !t.is_wildcard()).map(RecordData::Cname)
            }
            RecordType::Txt => Self::text(content),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> RecordType {
        match self {
            RecordData::A(_) => RecordType::A,
            RecordData::Aaaa(_) => RecordType::Aaaa,
            RecordData::Cname(_) => RecordType::Cname,
            RecordData::Txt(_) => RecordType::Txt,
        }
    }

    /// As a zone file has it: targets with a dot at their end, texts quoted in chunks of 255 bytes.
    #[must_use]
    pub fn zone_text(&self) -> String {
        match self {
            RecordData::Cname(target) => target.absolute(),
            other => other.to_string(),
        }
    }
}

/// The canonical content: targets without a dot at their end, texts quoted.
impl fmt::Display for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordData::A(ip) => write!(f, "{ip}"),
            RecordData::Aaaa(ip) => write!(f, "{ip}"),
            RecordData::Cname(target) => write!(f, "{target}"),
            RecordData::Txt(text) => f.write_str(&txt::quote(text.bytes())),
        }
    }
}

impl fmt::Debug for RecordData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {self}", self.kind())
    }
}

impl From<RecordData> for String {
    fn from(data: RecordData) -> String {
        format!("{data:?}")
    }
}

impl TryFrom<String> for RecordData {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text
            .split_once(' ')
            .and_then(|(kind, content)| RecordData::parse(RecordType::parse(kind)?, content, None));
        parsed.ok_or_else(|| format!("'{text}' is not TYPE VALUE"))
    }
}

/// How long an answer may be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ttl {
    /// What the zone or the provider has for those that say nothing. Wanted like this, every value is right.
    #[default]
    Auto,
    /// So many seconds.
    Seconds(u32),
}

impl Ttl {
    /// The largest that DNS knows.
    pub const LARGEST: u32 = 2_147_483_647;

    /// Whether `seen` is what is wanted. A value that is left to the zone is its default, where that is known.
    #[must_use]
    pub fn is_met_by(self, seen: Ttl, default: Option<u32>) -> bool {
        match (self, seen) {
            (Ttl::Auto, _) => true,
            (Ttl::Seconds(wanted), Ttl::Seconds(seen)) => wanted == seen,
            (Ttl::Seconds(wanted), Ttl::Auto) => default == Some(wanted),
        }
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ttl::Auto => f.write_str("auto"),
            Ttl::Seconds(s) => write!(f, "{s} s"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_one_value_are_equal() {
        let zone = Fqdn::new("example.com").unwrap();
        let table = [
            (RecordType::A, "192.0.2.1", Some("192.0.2.1")),
            (RecordType::A, " 192.0.2.1 ", Some("192.0.2.1")),
            (RecordType::A, "192.0.2.01", None),
            (RecordType::A, "300.1.2.3", None),
            (RecordType::A, "2001:db8::1", None),
            (RecordType::Aaaa, "2001:DB8:0:0::1", Some("2001:db8::1")),
            (RecordType::Aaaa, "::ffff:192.0.2.1", Some("::ffff:192.0.2.1")),
            (RecordType::Aaaa, "192.0.2.1", None),
            (RecordType::Cname, "Target.Example.NET.", Some("target.example.net")),
            (RecordType::Cname, "target", Some("target.example.com")),
            (RecordType::Cname, "@", Some("example.com")),
            (RecordType::Cname, "", None),
            (RecordType::Cname, "*.example.net.", None),
            (RecordType::Txt, "hello", Some("\"hello\"")),
            (RecordType::Txt, "\"hel\" \"lo\"", Some("\"hello\"")),
        ];
        for (kind, text, expected) in table {
            let got = RecordData::parse(kind, text, Some(&zone)).map(|d| d.to_string());
            assert_eq!(got.as_deref(), expected, "{kind} {text}");
        }
        let absolute = RecordData::parse(RecordType::Cname, "target.example.net", None).unwrap();
        assert_eq!(absolute.zone_text(), "target.example.net.");
    }

    #[test]
    fn keys_and_values_read_back() {
        let key = RecordKey::new(Fqdn::new("*.example.com").unwrap(), RecordType::Aaaa);
        assert_eq!(RecordKey::parse(&key.to_string()), Some(key));
        let values = ["A 192.0.2.1", "AAAA 2001:db8::1", "CNAME a.b", "TXT \"a \\\"b\\\" \\255\""];
        for text in values {
            let data = RecordData::try_from(text.to_owned()).unwrap();
            assert_eq!(String::from(data), text);
        }
        assert!(RecordData::try_from("MX 10 a.b".to_owned()).is_err());
    }

    #[test]
    fn a_ttl_left_to_the_zone_is_its_default() {
        let s = Ttl::Seconds;
        let table = [
            (Ttl::Auto, s(60), None, true),
            (s(60), s(60), None, true),
            (s(60), s(61), Some(60), false),
            (s(3600), Ttl::Auto, Some(3600), true),
            (s(60), Ttl::Auto, Some(3600), false),
            (s(60), Ttl::Auto, None, false),
        ];
        for (wanted, seen, default, met) in table {
            assert_eq!(wanted.is_met_by(seen, default), met, "{wanted} {seen} {default:?}");
        }
    }
}
