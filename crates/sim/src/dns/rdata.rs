//! Record data between text and wire. Text is what providers store; the wire is what servers answer.
//! What is not understood must never be dropped: it travels as the generic form of RFC 3597.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, NULL, PTR, TXT};
use hickory_proto::rr::{Name, RData, RecordType};
use hickory_proto::serialize::binary::{BinEncodable as _, BinEncoder};

pub(crate) fn name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}

/// A type by its name, known or `TYPE123`.
pub(crate) fn kind(text: &str) -> Option<RecordType> {
    let number = text.strip_prefix("TYPE").and_then(|n| n.parse::<u16>().ok());
    number.map(RecordType::from).or_else(|| text.parse().ok())
}

/// A type's name.
pub(crate) fn kind_name(kind: RecordType) -> String {
    match kind {
        RecordType::Unknown(number) => format!("TYPE{number}"),
        known => known.to_string(),
    }
}

/// The strings of a TXT in zone-file text. `None` where they are not all quoted.
pub(crate) fn quoted_strings(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    let mut bytes = text.trim().bytes().peekable();
    while let Some(first) = bytes.next() {
        match first {
            b' ' | b'\t' => continue,
            b'"' => {}
            _ => return None,
        }
        let mut one = Vec::new();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => {
                    let next = bytes.next()?;
                    if !next.is_ascii_digit() {
                        one.push(next);
                        continue;
                    }
                    let mut code = u32::from(next - b'0');
                    for _ in 0..2 {
                        let digit = bytes.next().filter(u8::is_ascii_digit)?;
                        code = code * 10 + u32::from(digit - b'0');
                    }
                    one.push(u8::try_from(code).ok()?);
                }
                byte => one.push(byte),
            }
        }
        out.push(one);
    }
    (!out.is_empty()).then_some(out)
}

/// Strings as zone-file text.
pub(crate) fn quote<'a>(strings: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut out = String::new();
    for one in strings {
        out.push_str(if out.is_empty() { "\"" } else { " \"" });
        for &byte in one {
            match byte {
                b'"' | b'\\' => {
                    out.push('\\');
                    out.push(char::from(byte));
                }
                0x20..=0x7e => out.push(char::from(byte)),
                _ => {
                    let _ = write!(out, "\\{byte:03}");
                }
            }
        }
        out.push('"');
    }
    out
}

/// The generic form: `\# LENGTH HEX`.
fn generic(text: &str) -> Option<Vec<u8>> {
    let mut words = text.strip_prefix("\\#")?.split_whitespace();
    let length: usize = words.next()?.parse().ok()?;
    let hex: String = words.collect();
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    bytes.filter(|b| b.len() == length)
}

/// Zone-file text as data; names in it are absolute.
pub(crate) fn parse(kind: RecordType, text: &str) -> Option<RData> {
    if let Some(bytes) = generic(text) {
        return Some(RData::Unknown { code: kind, rdata: NULL::with(bytes) });
    }
    let target = || name(text.trim());
    match kind {
        RecordType::A => text.trim().parse::<Ipv4Addr>().ok().map(|a| RData::A(A(a))),
        RecordType::AAAA => text.trim().parse::<Ipv6Addr>().ok().map(|a| RData::AAAA(AAAA(a))),
        RecordType::CNAME => target().map(|n| RData::CNAME(CNAME(n))),
        RecordType::NS => target().map(|n| RData::NS(NS(n))),
        RecordType::PTR => target().map(|n| RData::PTR(PTR(n))),
        RecordType::TXT => {
            // A server splits on the wire what was written in one piece.
            let strings = quoted_strings(text)?;
            let parts = strings.iter().flat_map(|one| match one.is_empty() {
                true => vec![one.as_slice()],
                false => one.chunks(255).collect(),
            });
            Some(RData::TXT(TXT::from_bytes(parts.collect())))
        }
        _ => RData::try_from_str(kind, text).ok(),
    }
}

/// Data as zone-file text.
pub(crate) fn show(data: &RData) -> String {
    let dotted = |name: &Name| super::name::absolute(&name.to_ascii());
    match data {
        RData::A(a) => a.0.to_string(),
        RData::AAAA(a) => a.0.to_string(),
        RData::CNAME(n) => dotted(&n.0),
        RData::NS(n) => dotted(&n.0),
        RData::PTR(n) => dotted(&n.0),
        RData::TXT(txt) => quote(txt.txt_data.iter().map(AsRef::as_ref)),
        other => {
            let mut bytes = Vec::new();
            let mut encoder = BinEncoder::new(&mut bytes);
            encoder.set_canonical_form(true);
            let _ = other.emit(&mut encoder);
            let mut out = format!("\\# {}", bytes.len());
            for (at, byte) in bytes.iter().enumerate() {
                let _ = write!(out, "{}{byte:02x}", if at == 0 { " " } else { "" });
            }
            out
        }
    }
}
