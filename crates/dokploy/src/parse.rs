//! Reads JSON that a stranger sends: strictly typed, a missing key is an error and never "empty", and an error never
//! repeats a value.

use berth_ports::PortError;
use berth_wire::json::shape;
use serde::{Deserialize, Deserializer};

/// Reads an answer.
///
/// # Errors
/// `Unsupported`, with what was expected and where, never with what was found.
pub(crate) fn json<'a, D: Deserialize<'a>>(procedure: &str, body: &'a [u8]) -> Result<D, PortError> {
    serde_json::from_slice(body).map_err(|e| PortError::Unsupported {
        what: format!("{procedure}: the answer is not what Dokploy v0.28.3 to v0.30 sends: {}", shape(&e)),
    })
}

/// Reads the answer to a create. It had its effect, so what cannot be read is unknown.
pub(crate) fn created<'a, D: Deserialize<'a>>(procedure: &str, body: &'a [u8]) -> Result<D, PortError> {
    serde_json::from_slice(body).map_err(|e| PortError::Unknown {
        why: format!("{procedure}: the answer cannot be read: {}", shape(&e)),
    })
}

/// Whether an answer is nothing: no body, or `null`.
pub(crate) fn is_nothing(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    body.is_empty() || body == b"null" || body == b"\"\""
}

/// For a key that must be there and may be `null`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

/// Counts the elements of a list without reading them.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Count;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
                let mut n = 0;
                while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {
                    n += 1;
                }
                Ok(Count(n))
            }
        }
        d.deserialize_seq(Visitor)
    }
}

/// Feeds every parser.
pub(crate) fn fuzz(data: &[u8]) {
    let reply = berth_wire::Reply {
        status: 400 + u16::from(data.first().copied().unwrap_or(0) % 104),
        headers: http::HeaderMap::new(),
        body: bytes::Bytes::copy_from_slice(data),
    };
    let told = crate::errors::Told::rest(&reply);
    for nature in [crate::errors::Nature::Read, crate::errors::Nature::Update, crate::errors::Nature::Create]
    {
        let _ = crate::errors::class(nature, "fuzz", &told, None);
    }
    crate::batch::fuzz(data);
    crate::fleet::fuzz(data);
    crate::detail::fuzz(data);
    crate::live::fuzz(data);
    crate::writes::fuzz(data);
    crate::diagnose::fuzz(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_place_and_no_value() {
        #[derive(Deserialize, Debug)]
        #[expect(dead_code, reason = "only its shape matters")]
        struct Row {
            name: String,
            #[serde(deserialize_with = "nullable")]
            note: Option<String>,
            n: u32,
        }
        let check = |text: &str, expected: &str| {
            let Err(PortError::Unsupported { what }) = json::<Row>("p", text.as_bytes()) else { panic!() };
            assert!(what.contains(expected), "{what}");
            assert!(!what.contains("hunter2"), "{what}");
        };
        check(r#"{"name":"a","n":1}"#, "missing field `note`");
        check(r#"{"name":"a","note":null,"n":"hunter2"}"#, "expected u32");
        check(r#"{"name":"hunter2""#, "it ends too early");
        check("<html>hunter2", "expected value");
        assert!(json::<Row>("p", br#"{"name":"a","note":null,"n":1}"#).is_ok());
    }
}
