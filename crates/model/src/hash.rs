//! Keyed hashes of what was wanted. Published ones are HMACs, so that a weak secret cannot be guessed from them.

use crate::field::{Fields, Value};
pub use crate::hashed::Hashed;
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;

/// A published hash: 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash(pub u64);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}
impl From<Hash> for String {
    fn from(h: Hash) -> String {
        h.to_string()
    }
}
impl TryFrom<String> for Hash {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Hash::parse(&text).ok_or_else(|| format!("'{text}' is not a hash"))
    }
}
impl Hash {
    /// Reads what `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() == 16).then(|| u64::from_str_radix(text, 16).ok().map(Hash)).flatten()
    }
}

/// The key under which hashes are made: from the vault, the same for one owner for ever.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey")
    }
}

impl HashKey {
    /// Takes 32 bytes.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        // An HMAC takes a key of any length: this cannot fail.
        Self(<Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!()))
    }

    /// Begins a hash of one kind of thing.
    #[must_use]
    pub fn begin(&self, domain: &str) -> Writer {
        let mut w = Writer(self.0.clone());
        w.text(domain);
        w
    }
}

/// Takes the parts of what is hashed, each with its length, so that no two lists of parts run together alike.
pub struct Writer(Hmac<Sha256>);

impl Writer {
    /// A text.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.update(&(text.len() as u64).to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// A number.
    pub fn number(&mut self, n: u64) -> &mut Self {
        self.0.update(&n.to_le_bytes());
        self
    }

    /// Fields with their values.
    pub fn fields(&mut self, fields: &Fields) -> &mut Self {
        for (field, value) in fields.iter().filter(|(f, _)| f.needs_deploy()) {
            self.text(field.path());
            self.value(value);
        }
        self
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => {
                self.number(0);
            }
            Value::Bool(b) => {
                self.number(1).number(u64::from(*b));
            }
            Value::Int(n) => {
                self.number(2).number(*n);
            }
            Value::Text(t) => {
                self.number(3).text(t);
            }
            Value::Secret(s) => {
                self.number(4).text(s.expose());
            }
            Value::List(l) => {
                self.number(5).number(l.len() as u64);
                for item in l {
                    self.text(item);
                }
            }
            Value::Map(m) => {
                self.number(6).number(m.len() as u64);
                for (k, v) in m {
                    self.text(k).text(v);
                }
            }
            Value::Env(m) => {
                self.number(7).number(m.len() as u64);
                for (k, v) in m {
                    self.text(k).text(v.expose());
                }
            }
            Value::Health(h) => {
                h.write(self.number(8));
            }
            Value::Update(u) => {
                u.write(self.number(9));
            }
            Value::Foreign(t) => {
                self.number(10).text(t);
            }
        }
    }

    /// The hash.
    #[must_use]
    pub fn finish(self) -> Hash {
        let bytes = self.0.finalize().into_bytes();
        let mut first = [0; 8];
        first.copy_from_slice(&bytes[..8]);
        Hash(u64::from_be_bytes(first))
    }
}
