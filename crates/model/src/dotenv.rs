//! The one text in which Dokploy keeps variables, read as its own parser reads it and written so that it reads back.

use std::collections::BTreeMap;

/// Reads an env text: later duplicates win, lines without `=` are passed over.
#[must_use]
pub fn parse(text: &str) -> BTreeMap<String, String> {
    entries(text).into_iter().map(|e| (e.key, e.value)).collect()
}

/// One assignment and where it stands in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The variable.
    pub key: String,
    /// Its value, without quotes.
    pub value: String,
    /// Byte range of the whole assignment, its line end excluded.
    pub range: std::ops::Range<usize>,
}

/// Reads an env text entry by entry, in order.
#[must_use]
pub fn entries(text: &str) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let line_end = text[at..].find('\n').map_or(text.len(), |n| at + n);
        match assignment(text, at, line_end) {
            Some((entry, next)) => {
                found.push(entry);
                at = next;
            }
            None => at = line_end + 1,
        }
    }
    found
}

fn key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// One assignment that begins on the line `at..line_end`; a quoted value may run over further lines.
fn assignment(text: &str, at: usize, line_end: usize) -> Option<(Entry, usize)> {
    let line = text.get(at..line_end)?;
    let mut rest = line.trim_start();
    if let Some(after) = rest.strip_prefix("export ") {
        rest = after.trim_start();
    }
    let key_len = rest.find(|c| !key_char(c)).unwrap_or(rest.len());
    if key_len == 0 {
        return None;
    }
    let key = rest[..key_len].to_owned();
    let after = rest[key_len..].trim_start_matches([' ', '\t']);
    let value_at = match after.as_bytes().first() {
        Some(b'=') => &after[1..],
        Some(b':') if after[1..].starts_with([' ', '\t']) => &after[1..],
        _ => return None,
    };
    let value_at = value_at.trim_start_matches([' ', '\t']);
    let start = line_end - value_at.len();
    let quote = value_at.chars().next().filter(|c| matches!(c, '"' | '\'' | '`'));
    if let Some(q) = quote
        && let Some(len) = text[start + 1..].find(q)
    {
        let inner = &text[start + 1..start + 1 + len];
        let end = start + len + 2;
        let stop = text[end..].find('\n').map_or(text.len(), |n| end + n);
        let tail = text[end..stop].trim();
        if tail.is_empty() || tail.starts_with('#') {
            let mut value = inner.replace("\r\n", "\n");
            if q == '"' {
                value = value.replace("\\n", "\n").replace("\\r", "\r");
            }
            return Some((Entry { key, value, range: at..stop }, stop + 1));
        }
    }
    let bare = value_at.split('#').next().unwrap_or("").trim();
    Some((Entry { key, value: bare.to_owned(), range: at..line_end }, line_end + 1))
}

/// Writes one assignment that [`parse`] reads back to the same value, or says that none exists.
///
/// # Errors
/// The value holds every kind of quote (there is no escape in this format).
pub fn assignment_line(key: &str, value: &str) -> Result<String, Unwritable> {
    let quote = if value.contains('\r') {
        // Line ends are normalised inside every kind of quote; only `"\r"` spells one.
        if value.contains('"') || value.contains("\\n") || value.contains("\\r") {
            return Err(Unwritable { key: key.to_owned() });
        }
        return Ok(format!("{key}=\"{}\"", value.replace('\r', "\\r")));
    } else if !value.contains('\'') {
        '\''
    } else if !value.contains('`') {
        '`'
    } else if !value.contains('"') && !value.contains("\\n") && !value.contains("\\r") {
        '"'
    } else {
        return Err(Unwritable { key: key.to_owned() });
    };
    Ok(format!("{key}={quote}{value}{quote}"))
}

/// A value that Dokploy's env text cannot hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the value of {key} holds ', ` and \" (or \\n) together, which Dokploy's env text cannot express; give it as a file"
)]
pub struct Unwritable {
    /// The variable.
    pub key: String,
}

/// Writes a whole env text, one assignment a line, in the order of the keys.
///
/// # Errors
/// The first value that cannot be written.
pub fn render<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<String, Unwritable> {
    let lines = vars.into_iter().map(|(k, v)| assignment_line(k, v)).collect::<Result<Vec<_>, _>>()?;
    Ok(lines.join("\n"))
}

/// A `${{scope.NAME}}` in a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reference {
    /// `${{project.NAME}}`
    Project(String),
    /// `${{environment.NAME}}`
    Environment(String),
    /// `${{NAME}}`: a variable of the same app.
    Own(String),
    /// Any other scope (`vault.…`): not ours to judge.
    Other(String),
}

/// The references in a value, in order.
#[must_use]
pub fn references(value: &str) -> Vec<Reference> {
    let mut found = Vec::new();
    let mut rest = value;
    while let Some(start) = rest.find("${{") {
        let Some(len) = rest[start + 3..].find("}}") else {
            break;
        };
        let inner = rest[start + 3..start + 3 + len].trim();
        found.push(match inner.split_once('.') {
            Some(("project", name)) => Reference::Project(name.to_owned()),
            Some(("environment", name)) => Reference::Environment(name.to_owned()),
            Some(_) => Reference::Other(inner.to_owned()),
            None => Reference::Own(inner.to_owned()),
        });
        rest = &rest[start + 3 + len + 2..];
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(&str, &str)]) {
        let got = parse(text);
        let got: Vec<_> = got.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn reads_as_the_server_does() {
        check("A=1\nB=two words\n", &[("A", "1"), ("B", "two words")]);
        check("A=x#y", &[("A", "x")]);
        check("A='x#y' # note\nB=`a\nb`", &[("A", "x#y"), ("B", "a\nb")]);
        check("A=\"a\\nb\"", &[("A", "a\nb")]);
        check("export A=1\nB: 2\n# c\nnonsense\nA=3", &[("A", "3"), ("B", "2")]);
        check("A='unclosed", &[("A", "'unclosed")]);
        check("A=", &[("A", "")]);
        check("", &[]);
    }

    #[test]
    fn written_values_read_back() {
        for value in [
            "",
            "x",
            "a b",
            "it's",
            "it's `q`",
            "#x",
            "multi\nline",
            "$A ${B}",
            "\"q\"",
            "tab\t",
            "a=b",
            "\\n",
            "c\rd",
        ] {
            let line = assignment_line("K", value).unwrap();
            assert_eq!(parse(&line).get("K").map(String::as_str), Some(value), "{line:?}");
        }
        assert!(assignment_line("K", "'`\"").is_err());
        assert!(assignment_line("K", "'`\\n").is_err());
    }

    #[test]
    fn references_are_found() {
        assert_eq!(
            references("a ${{project.X}} ${{ environment.Y }} ${{Z}} ${{vault.p.q}} ${A} ${{"),
            [
                Reference::Project("X".into()),
                Reference::Environment("Y".into()),
                Reference::Own("Z".into()),
                Reference::Other("vault.p.q".into())
            ]
        );
    }
}
