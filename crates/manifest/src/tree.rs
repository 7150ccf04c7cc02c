//! YAML text as a tree that remembers where each piece stands. The one place that calls the YAML parser.
//!
//! It judges form only (syntax, duplicate keys, size); what a key means is not known here.

use serde::de::{Deserialize, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Location, MergeKeyPolicy, Spanned};
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

/// The largest file that is read.
pub const MAX_BYTES: usize = 1 << 20;
/// The most documents in one file.
pub const MAX_DOCUMENTS: usize = 2_000;
/// The most values in one file, aliases counted as often as they are used.
pub const MAX_NODES: usize = 100_000;
/// The deepest nesting.
pub const MAX_DEPTH: usize = 64;

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, PartialOrd, Ord, Hash)]
pub(crate) struct Span {
    /// Which file: an index of the reader's table.
    pub file: u32,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// Where it begins, in bytes.
    pub start: u32,
    /// How many bytes it spans.
    pub len: u32,
}

impl Span {
    fn new(file: u32, at: Location) -> Self {
        let narrow = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        Self {
            file,
            line: narrow(at.line()),
            column: narrow(at.column()),
            start: narrow(at.span().byte_offset().unwrap_or(0)),
            len: narrow(at.span().byte_len().unwrap_or(0)),
        }
    }
}

/// The key of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    /// Its text.
    pub text: Arc<str>,
    /// Where it stands.
    pub at: Span,
}

/// Where a scalar's text came from, when not from the file itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Via {
    /// `{env: NAME}`
    Env(String),
    /// `{file: PATH}`
    File(String),
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `null`, `~` or nothing.
    Null,
    /// A text, number or truth value, as it is written.
    Scalar {
        /// The text; a plain number keeps its own spelling.
        text: Arc<str>,
        /// Without quotes, so that it may be a number or a truth value.
        plain: bool,
        /// Followed from a reference.
        via: Option<Arc<Via>>,
    },
    /// A list.
    Seq(Vec<Arc<Node>>),
    /// A map, in the order it is written.
    Map(Vec<(Key, Arc<Node>)>),
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub at: Span,
}

impl Node {
    /// The value under `key`, if this is a map that has it.
    #[must_use]
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<Node>> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(k, _)| &*k.text == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The text, if this is a scalar.
    #[must_use]
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// What this is, for messages. Never the value itself: it may be a secret.
    #[must_use]
    pub(crate) fn what(&self) -> &'static str {
        match &self.kind {
            Kind::Null => "nothing",
            Kind::Scalar { .. } => "a text",
            Kind::Seq(_) => "a list",
            Kind::Map(_) => "a map",
        }
    }
}

/// A fault of form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// Where.
    pub at: Span,
}

/// The documents of a file, and what is wrong with its form. Where the syntax is broken there are no documents.
#[must_use]
pub(crate) fn parse(file: u32, bytes: &[u8]) -> (Vec<Arc<Node>>, Vec<Fault>) {
    let fault = |message: String, help: &str, line: u32, column: u32, start: usize| Fault {
        message,
        help: (!help.is_empty()).then(|| help.to_owned()),
        at: Span { file, line, column, start: u32::try_from(start).unwrap_or(0), len: 0 },
    };
    if bytes.len() > MAX_BYTES {
        let message = format!("the file has {} bytes; at most {MAX_BYTES} are read", bytes.len());
        return (Vec::new(), vec![fault(message, "split it into several files", 1, 1, 0)]);
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => {
            let (line, column) = line_column(bytes, e.valid_up_to());
            let message = format!("byte {} is not UTF-8 text", e.valid_up_to());
            return (
                Vec::new(),
                vec![fault(message, "save the file as UTF-8", line, column, e.valid_up_to())],
            );
        }
    };
    if let Some(at) = bytes.iter().position(|b| *b == 0) {
        let (line, column) = line_column(bytes, at);
        let message = "the file holds a NUL byte".to_owned();
        return (Vec::new(), vec![fault(message, "a manifest is plain text", line, column, at)]);
    }
    let (first, mut faults) = read(file, text, DuplicateKeyPolicy::Error);
    match first {
        Ok(docs) => (docs, faults),
        Err(e) => {
            let twice = matches!(e.without_snippet(), serde_saphyr::Error::DuplicateMappingKey { .. });
            faults.push(describe(file, text, &e));
            if twice {
                // Once more without stopping at the first repeated key, so that all the rest is told as well.
                let (second, more) = read(file, text, DuplicateKeyPolicy::LastWins);
                faults.extend(more);
                if let Err(e) = &second {
                    faults.push(describe(file, text, e));
                }
                faults.sort_by_key(|f| f.at);
                faults.dedup_by_key(|f| f.at);
                return (second.unwrap_or_default(), faults);
            }
            (Vec::new(), faults)
        }
    }
}

fn line_column(bytes: &[u8], at: usize) -> (u32, u32) {
    let before = &bytes[..at];
    let line = before.iter().filter(|b| **b == b'\n').count() + 1;
    let start = before.iter().rposition(|b| *b == b'\n').map_or(0, |n| n + 1);
    let column = String::from_utf8_lossy(&before[start..]).chars().count() + 1;
    (u32::try_from(line).unwrap_or(u32::MAX), u32::try_from(column).unwrap_or(u32::MAX))
}

type Documents = Result<Vec<Arc<Node>>, serde_saphyr::Error>;

fn read(file: u32, text: &str, duplicate_keys: DuplicateKeyPolicy) -> (Documents, Vec<Fault>) {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS,
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_total_scalar_bytes: 4 * MAX_BYTES,
            flow_nesting_limit: MAX_DEPTH,
        },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: MAX_NODES },
        duplicate_keys: duplicate_keys,
        // `<<` arrives as a key like any other and is refused with its place.
        merge_keys: MergeKeyPolicy::AsOrdinary,
        strict_booleans: true,
        legacy_octal_numbers: false,
        with_snippet: false,
        reject_unsupported_tags: true,
    };
    let raw: Result<Vec<Raw>, _> = serde_saphyr::from_str_multiple_with_options(text, options);
    let mut build = Build { file, text, faults: Vec::new() };
    let docs = raw.map(|docs| docs.into_iter().map(|d| build.node(d)).collect());
    (docs, build.faults)
}

fn describe(file: u32, text: &str, error: &serde_saphyr::Error) -> Fault {
    use serde_saphyr::Error as E;
    let top = Span { file, line: 1, column: 1, ..Span::default() };
    let mut at = error.location().map_or(top, |l| Span::new(file, l));
    at.column = at.column.max(1);
    if error.location().is_none_or(|l| l.span().byte_offset().is_none()) {
        // The scanner knows line and column only.
        let line: usize =
            text.split_inclusive('\n').take(at.line.saturating_sub(1) as usize).map(str::len).sum();
        let rest = text.get(line..).unwrap_or("");
        let column = rest.char_indices().nth(at.column as usize - 1).map_or(rest.len(), |(n, _)| n);
        at.start = u32::try_from(line + column).unwrap_or(0);
    }
    let plain = error.without_snippet();
    let (message, help) = match plain {
        E::DuplicateMappingKey { key, .. } => twice(key.as_deref()),
        E::Budget { .. } | E::AliasReplayLimitExceeded { .. } => too_much(),
        other if other.to_string().contains("limit exceeded") => too_much(),
        other => {
            let words = other.to_string();
            // The place is told separately.
            let words = words.split(" at line ").next().unwrap_or(&words);
            let words = words.lines().next().unwrap_or(words);
            let words = words.strip_prefix("error: ").unwrap_or(words);
            let words =
                words.split_once(": ").filter(|(p, _)| p.starts_with("line ")).map_or(words, |(_, w)| w);
            (format!("this is not valid YAML: {words}"), yaml_help(text, at))
        }
    };
    Fault { message, help, at }
}

fn too_much() -> (String, Option<String>) {
    let limits = format!(
        "at most {MAX_DEPTH} levels, {MAX_DOCUMENTS} documents and {MAX_NODES} values are read from one file"
    );
    ("the file is too deep, too long, or repeats itself too often by aliases".to_owned(), Some(limits))
}

/// Advice for the faults of syntax that people make most.
fn yaml_help(text: &str, at: Span) -> Option<String> {
    let line = text.lines().nth(at.line.saturating_sub(1) as usize)?;
    let indent = &line[..line.len() - line.trim_start().len()];
    if indent.contains('\t') {
        Some("indent with spaces; YAML does not allow tabs there".to_owned())
    } else if line.contains(": {")
        && !line.contains(": {{")
        && line.matches('{').count() != line.matches('}').count()
    {
        Some("a '{' is not closed on this line".to_owned())
    } else if line.matches(": ").count() > 1 && !line.contains('{') {
        Some("put quotes around a value that holds ': '".to_owned())
    } else {
        None
    }
}

fn twice(key: Option<&str>) -> (String, Option<String>) {
    let name = key.map_or_else(|| "this key".to_owned(), |k| format!("the key '{k}'"));
    (format!("{name} stands twice in one map"), Some("keep one of the two".to_owned()))
}

/// What the parser hands over, before its place is joined with the source.
type Raw = Spanned<RawKind>;

enum RawKind {
    Null,
    /// Text that the parser read as text.
    Text(String),
    /// A number or truth value: its spelling is taken from the source.
    Literal,
    Seq(Vec<Raw>),
    Map(Vec<(Raw, Raw)>),
}

impl<'de> Deserialize<'de> for RawKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = RawKind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }
    fn visit_none<E>(self) -> Result<RawKind, E> {
        Ok(RawKind::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, d: D) -> Result<RawKind, D::Error> {
        RawKind::deserialize(d)
    }
    fn visit_bool<E>(self, _: bool) -> Result<RawKind, E> {
        Ok(RawKind::Literal)
    }
    fn visit_i64<E>(self, _: i64) -> Result<RawKind, E> {
        Ok(RawKind::Literal)
    }
    fn visit_u64<E>(self, _: u64) -> Result<RawKind, E> {
        Ok(RawKind::Literal)
    }
    fn visit_i128<E>(self, _: i128) -> Result<RawKind, E> {
        Ok(RawKind::Literal)
    }
    fn visit_u128<E>(self, _: u128) -> Result<RawKind, E> {
        Ok(RawKind::Literal)
    }
    fn visit_f64<E>(self, _: f64) -> Result<RawKind, E> {
        Ok(RawKind::Literal)
    }
    fn visit_str<E>(self, text: &str) -> Result<RawKind, E> {
        Ok(RawKind::Text(text.to_owned()))
    }
    fn visit_string<E>(self, text: String) -> Result<RawKind, E> {
        Ok(RawKind::Text(text))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<RawKind, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(RawKind::Seq(items))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawKind, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(RawKind::Map(entries))
    }
    fn visit_enum<A: EnumAccess<'de>>(self, _: A) -> Result<RawKind, A::Error> {
        Err(A::Error::custom("a tag that is not known"))
    }
}

struct Build<'a> {
    file: u32,
    text: &'a str,
    faults: Vec<Fault>,
}

impl Build<'_> {
    fn source(&self, at: Location) -> &str {
        let span = Span::new(self.file, at);
        let (start, end) = (span.start as usize, (span.start + span.len) as usize);
        self.text.get(start..end).unwrap_or("").trim()
    }

    fn node(&mut self, raw: Raw) -> Arc<Node> {
        // An aliased value is shown where it is used, and spelled where it is defined.
        let at = Span::new(self.file, raw.referenced);
        let kind = match raw.value {
            RawKind::Null => Kind::Null,
            RawKind::Literal => {
                Kind::Scalar { text: self.source(raw.defined).into(), plain: true, via: None }
            }
            RawKind::Text(text) => {
                let first = self.source(raw.defined).bytes().next();
                let plain = !matches!(first, Some(b'"' | b'\'' | b'|' | b'>'));
                Kind::Scalar { text: text.into(), plain, via: None }
            }
            RawKind::Seq(items) => Kind::Seq(items.into_iter().map(|i| self.node(i)).collect()),
            RawKind::Map(entries) => self.map(entries),
        };
        Arc::new(Node { kind, at })
    }

    fn map(&mut self, entries: Vec<(Raw, Raw)>) -> Kind {
        let mut seen = HashSet::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let at = Span::new(self.file, key.referenced);
            let text: Arc<str> = match key.value {
                RawKind::Text(text) => text.into(),
                RawKind::Literal => self.source(key.defined).into(),
                RawKind::Null => "null".into(),
                RawKind::Seq(_) | RawKind::Map(_) => {
                    let message = "a key is a plain text, not a list or a map".to_owned();
                    self.faults.push(Fault { message, help: None, at });
                    continue;
                }
            };
            let value = self.node(value);
            if seen.insert(text.clone()) {
                kept.push((Key { text, at }, value));
            } else if self.faults.len() < 200 {
                let (message, help) = twice(Some(&text));
                self.faults.push(Fault { message, help, at });
            }
        }
        Kind::Map(kept)
    }
}
