//! A fully qualified domain name in its one canonical form: lower case, punycode, no trailing dot. Every other spelling
//! ends here.

use crate::ids::BadName;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

/// The longest name, in characters, without the trailing dot.
const LONGEST: usize = 253;
/// The longest label.
const LABEL: usize = 63;

/// A domain name: `app.example.com`, `*.example.com`. Never empty, never with a dot at its end.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Fqdn(SmolStr);

impl Fqdn {
    /// Takes a name in any spelling: upper case, other scripts, a dot at the end.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(text: &str) -> Result<Self, BadName> {
        // Longer than any name in any script; what follows need not look at more.
        if text.len() > 4 * LONGEST {
            return Err(BadName("a domain name has at most 253 characters".to_owned()));
        }
        let text = text.trim();
        let ascii = if text.is_ascii() { text.to_ascii_lowercase() } else { punycode(text)? };
        let name = ascii.strip_suffix('.').unwrap_or(&ascii);
        check(name).map_err(BadName)?;
        Ok(Self(name.into()))
    }

    /// Takes a name as a provider writes it below a zone: `@` or nothing is the zone itself, a dot at the end makes it
    /// absolute, anything else stands below the zone.
    ///
    /// # Errors
    /// As [`Fqdn::new`].
    pub fn below(text: &str, zone: &Fqdn) -> Result<Self, BadName> {
        match text {
            "" | "@" => Ok(zone.clone()),
            absolute if absolute.ends_with('.') => Self::new(absolute),
            relative => Self::new(&format!("{relative}.{zone}")),
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// With a dot at its end.
    #[must_use]
    pub fn absolute(&self) -> String {
        format!("{}.", self.0)
    }

    /// Its labels, from the left.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }

    /// Without its first label; `None` for a name of one label.
    #[must_use]
    pub fn parent(&self) -> Option<Fqdn> {
        self.0.split_once('.').map(|(_, rest)| Self(rest.into()))
    }

    /// The name and everything above it, from the longest.
    pub fn up(&self) -> impl Iterator<Item = Fqdn> {
        std::iter::successors(Some(self.clone()), Fqdn::parent)
    }

    /// The wildcard right below it, unless that were too long.
    #[must_use]
    pub fn wildcard(&self) -> Option<Fqdn> {
        Fqdn::new(&format!("*.{self}")).ok()
    }

    /// Whether it is the zone's own name or stands below it.
    #[must_use]
    pub fn is_in(&self, zone: &Fqdn) -> bool {
        match self.0.strip_suffix(zone.as_str()) {
            Some("") => true,
            Some(front) => front.ends_with('.'),
            None => false,
        }
    }

    /// How it is called below the zone: `@`, `app`, `*.dev`. `None` outside of it.
    #[must_use]
    pub fn relative_to(&self, zone: &Fqdn) -> Option<&str> {
        if !self.is_in(zone) {
            return None;
        }
        Some(match self.0.strip_suffix(zone.as_str())? {
            "" => "@",
            front => front.trim_end_matches('.'),
        })
    }

    /// Whether it stands for every name that has nothing of its own.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.0.starts_with("*.")
    }
}

/// Other scripts to ASCII, as browsers do it.
fn punycode(text: &str) -> Result<String, BadName> {
    use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
    // What ASCII characters may stand in it is our own rule, checked afterwards for every name alike.
    Uts46::new()
        .to_ascii(text.as_bytes(), AsciiDenyList::EMPTY, Hyphens::Allow, DnsLength::Ignore)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| BadName("a domain name holds characters that no domain name can have".to_owned()))
}

/// The rules for a name that is lower case and has no dot at its end.
fn check(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("a domain name may not be empty".to_owned());
    }
    if name.len() > LONGEST {
        return Err("a domain name has at most 253 characters".to_owned());
    }
    for (place, label) in name.split('.').enumerate() {
        if label.is_empty() {
            return Err("a domain name may not hold two dots in a row, or begin with one".to_owned());
        }
        if label.len() > LABEL {
            return Err("a part of a domain name, between two dots, has at most 63 characters".to_owned());
        }
        if label == "*" && place == 0 && name.len() > 1 {
            continue;
        }
        let fine = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_';
        if !label.bytes().all(fine) {
            return Err(if label.contains('*') {
                "'*' in a domain name stands alone before the first dot".to_owned()
            } else {
                "a domain name holds letters, digits, '-' and '_'".to_owned()
            });
        }
    }
    Ok(())
}

impl fmt::Display for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Fqdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Fqdn> for String {
    fn from(name: Fqdn) -> String {
        name.0.into()
    }
}

impl TryFrom<String> for Fqdn {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        Fqdn::new(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_ends_in_one() {
        let long = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(61));
        let table = [
            ("app.example.com", "app.example.com"),
            ("App.EXAMPLE.com.", "app.example.com"),
            (" app.example.com ", "app.example.com"),
            ("*.Example.com", "*.example.com"),
            ("_acme-challenge.example.com", "_acme-challenge.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("XN--BCHER-KVA.example", "xn--bcher-kva.example"),
            ("bu\u{308}cher.example", "xn--bcher-kva.example"),
            ("*.bücher.example.", "*.xn--bcher-kva.example"),
            ("straße.example", "xn--strae-oqa.example"),
            ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
            ("com", "com"),
            ("1.2.3.4", "1.2.3.4"),
            (long.as_str(), long.as_str()),
        ];
        for (text, expected) in table {
            let name = Fqdn::new(text).unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!(name.as_str(), expected, "{text}");
            assert_eq!(Fqdn::new(name.as_str()).as_ref(), Ok(&name));
            assert_eq!(Fqdn::new(&name.absolute()).as_ref(), Ok(&name));
        }
    }

    #[test]
    fn what_is_no_name() {
        let long = format!("{}.{}.{}.{}", "a".repeat(63), "b".repeat(63), "c".repeat(63), "d".repeat(62));
        let label = format!("{}.com", "a".repeat(64));
        let bad = [
            "",
            ".",
            "..",
            "a..b",
            ".a",
            "a b.com",
            "a/b.com",
            "*",
            "a.*.com",
            "**.com",
            "*a.com",
            "a\0.com",
            "a\\032b.com",
            "\u{fffd}.com",
            "\u{ad}",
            long.as_str(),
            label.as_str(),
        ];
        for text in bad {
            assert!(Fqdn::new(text).is_err(), "{text:?}");
        }
        assert!(Fqdn::new(&"ä".repeat(100_000)).is_err());
    }

    #[test]
    fn below_a_zone() {
        let zone = Fqdn::new("example.com").unwrap();
        let table = [
            ("@", "example.com", "@"),
            ("", "example.com", "@"),
            ("app", "app.example.com", "app"),
            ("*", "*.example.com", "*"),
            ("a.b", "a.b.example.com", "a.b"),
            ("app.example.com.", "app.example.com", "app"),
        ];
        for (text, full, relative) in table {
            let name = Fqdn::below(text, &zone).unwrap();
            assert_eq!((name.as_str(), name.relative_to(&zone)), (full, Some(relative)), "{text}");
        }
        // A name that ends alike is not in the zone.
        for other in ["badexample.com", "com", "example.org", "example.com.org"] {
            let other = Fqdn::new(other).unwrap();
            assert!(!other.is_in(&zone) && other.relative_to(&zone).is_none(), "{other}");
        }
        let up: Vec<_> = Fqdn::new("a.b.c").unwrap().up().map(|n| n.as_str().to_owned()).collect();
        assert_eq!(up, ["a.b.c", "b.c", "c"]);
    }
}
