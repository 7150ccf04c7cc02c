//! The text of TXT records: quoted or bare, in one chunk or several. What counts is the bytes when all chunks are joined.

/// The longest chunk.
pub const CHUNK: usize = 255;
/// More than a record can hold; what is longer is not read.
const LARGEST: usize = 70_000;

/// The chunks of a text as providers and zone files write it: one or more quoted strings with `\"`, `\\` and `\DDD`, or
/// bare text, which is taken as it is. `None` where it is longer than any record.
///
/// A text that begins with a quote and is not well quoted to its end is bare.
#[must_use]
pub fn chunks(text: &str) -> Option<Vec<Vec<u8>>> {
    if text.len() > LARGEST {
        return None;
    }
    let text = text.trim_matches([' ', '\t']);
    Some(quoted(text).unwrap_or_else(|| vec![text.as_bytes().to_vec()]))
}

fn quoted(text: &str) -> Option<Vec<Vec<u8>>> {
    let mut bytes = text.bytes().peekable();
    let mut chunks = Vec::new();
    loop {
        if bytes.next()? != b'"' {
            return None;
        }
        let mut chunk = Vec::new();
        loop {
            match bytes.next()? {
                b'"' => break,
                b'\\' => match bytes.next()? {
                    first @ b'0'..=b'9' => {
                        let mut digit =
                            || bytes.next().filter(u8::is_ascii_digit).map(|d| u16::from(d - b'0'));
                        let n = u16::from(first - b'0') * 100 + digit()? * 10 + digit()?;
                        chunk.push(u8::try_from(n).ok()?);
                    }
                    other => chunk.push(other),
                },
                other => chunk.push(other),
            }
        }
        chunks.push(chunk);
        // `"a""b"` is one spelling of two strings, too.
        while bytes.next_if(|b| matches!(b, b' ' | b'\t')).is_some() {}
        if bytes.peek().is_none() {
            return Some(chunks);
        }
    }
}

/// The bytes as quoted strings of at most 255 bytes each: what every provider takes.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    let chunks: Vec<&[u8]> = if bytes.is_empty() { vec![&[]] } else { bytes.chunks(CHUNK).collect() };
    quote_chunks(chunks)
}

/// These very chunks as quoted strings.
#[must_use]
pub fn quote_chunks<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut out = String::new();
    for chunk in chunks {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push('"');
        for byte in chunk {
            match byte {
                b'"' | b'\\' => {
                    out.push('\\');
                    out.push(char::from(*byte));
                }
                b' '..=b'~' => out.push(char::from(*byte)),
                other => {
                    out.push('\\');
                    for digit in [other / 100, other / 10 % 10, other % 10] {
                        out.push(char::from(b'0' + digit));
                    }
                }
            }
        }
        out.push('"');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_is_one_text() {
        let table: &[(&str, &[u8])] = &[
            ("hello", b"hello"),
            ("\"hello\"", b"hello"),
            (" \"hel\"  \"lo\" ", b"hello"),
            ("\"hel\"\"lo\"", b"hello"),
            ("\"a\\\"b\\\\c\"", b"a\"b\\c"),
            ("\"a\\065\"", b"aA"),
            ("\"\\255\"", b"\xff"),
            ("\"\"", b""),
            ("", b""),
            // Not well quoted: taken as they stand.
            ("\"open", b"\"open"),
            ("\"a\" b", b"\"a\" b"),
            ("\"a\\999\"", b"\"a\\999\""),
            ("a\\065", b"a\\065"),
            ("say \"hi\"", b"say \"hi\""),
        ];
        for (text, expected) in table {
            assert_eq!(chunks(text).unwrap().concat(), *expected, "{text}");
        }
        assert_eq!(chunks(&"x".repeat(LARGEST + 1)), None);
    }

    #[test]
    fn written_text_reads_back() {
        let long: Vec<u8> = (0..=255).cycle().take(700).map(|n: u16| (n % 256) as u8).collect();
        for bytes in [&b""[..], b"v=spf1 -all", b"a\"b\\c", long.as_slice()] {
            let text = quote(bytes);
            let read = chunks(&text).unwrap();
            assert_eq!(read.concat(), bytes);
            assert!(read.iter().all(|c| c.len() <= CHUNK));
            assert!(text.is_ascii());
        }
        assert_eq!(quote(&[b'a'; 256]).matches('"').count(), 4);
    }
}
