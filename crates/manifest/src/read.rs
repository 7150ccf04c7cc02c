//! From the tree to typed values, telling every fault instead of the first.
//!
//! Messages never repeat a value whose type is wrong: it may be a secret in the wrong place.

pub(crate) use crate::read_schema::{Cpu, Memory, Period};
use crate::tree::{Key, Kind, Node, Span, Via};
use berth_model::units::{self, Bytes, NanoCpus};
use std::sync::Arc;
use std::time::Duration;

/// A fault or a warning about one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where.
    pub at: Span,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// A second place that explains the first.
    pub also: Option<(Span, String)>,
    /// Only a warning.
    pub warning: bool,
}

/// Collects problems.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    /// What was found.
    pub problems: Vec<Problem>,
    /// A template lies under the document, so that a `null` may aim at something the template lost.
    pub layered: bool,
    /// More was found than is kept.
    full: bool,
}

/// The most problems that are kept of one document, so that a file of nothing but faults is answered soon.
const MOST_PROBLEMS: usize = 200;

impl Sink {
    /// One for a document that lies over a template, or for one that does not.
    pub(crate) fn over(layered: bool) -> Self {
        Self { layered, ..Self::default() }
    }

    /// A fault.
    pub(crate) fn error(&mut self, at: Span, message: impl Into<String>) {
        self.push(at, message.into(), None, false);
    }

    /// A fault with advice.
    pub(crate) fn error_help(&mut self, at: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(at, message.into(), Some(help.into()), false);
    }

    /// A warning.
    pub(crate) fn warn(&mut self, at: Span, message: impl Into<String>, help: impl Into<String>) {
        self.push(at, message.into(), Some(help.into()), true);
    }

    fn push(&mut self, at: Span, message: String, help: Option<String>, warning: bool) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { at, message, help, also: None, warning });
        } else if !warning && !self.full {
            self.full = true;
            let message = format!("there is more wrong here; the first {MOST_PROBLEMS} are shown");
            self.problems.push(Problem { at, message, help: None, also: None, warning });
        }
    }

    /// Whether a fault was found.
    pub(crate) fn failed(&self) -> bool {
        self.problems.iter().any(|p| !p.warning)
    }

    /// A wrong type.
    pub(crate) fn expected(&mut self, node: &Node, what: &str) {
        self.error(node.at, format!("expected {what}, found {}", node.what()));
    }
}

/// What can be read from a tree.
pub(crate) trait Read: Sized {
    /// Reads it, or tells why not.
    fn read(node: &Node, sink: &mut Sink) -> Option<Self>;

    /// What `null` means: nothing, unless the field is one that can be cleared.
    fn null(_at: Span) -> Option<Self> {
        None
    }
}

/// Reads a field that may be `null`.
pub(crate) fn field<T: Read>(node: &Node, sink: &mut Sink) -> Option<T> {
    if node.kind == Kind::Null { T::null(node.at) } else { T::read(node, sink) }
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// The value.
    pub v: T,
    /// Where it stands.
    pub at: Span,
}

impl<T: Read> Read for At<T> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        T::read(node, sink).map(|v| At { v, at: node.at })
    }
}

/// A field that `null` clears.
#[derive(Debug, Clone)]
pub(crate) struct Tri<T> {
    /// The value; none where it says `null`.
    pub v: Option<T>,
    /// Where it stands.
    pub at: Span,
}

impl<T: Read> Read for Tri<T> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        T::read(node, sink).map(|v| Tri { v: Some(v), at: node.at })
    }
    fn null(at: Span) -> Option<Self> {
        Some(Tri { v: None, at })
    }
}

/// A map keyed by name, in the order it is written.
#[derive(Debug, Clone)]
pub(crate) struct Map<T>(pub Vec<(Key, T)>);

impl<T> Default for Map<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Read> Read for Map<T> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        let Kind::Map(entries) = &node.kind else {
            sink.expected(node, "a map");
            return None;
        };
        let mut read = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if value.kind == Kind::Null {
                if sink.layered {
                    let help = "take it out; the template has no entry of that name";
                    sink.warn(key.at, format!("'{}: null' removes nothing", key.text), help);
                } else {
                    let help = "write \"\" for an empty text and {} for an empty map, or take the entry out";
                    sink.error_help(key.at, format!("'{}' has no value", key.text), help);
                }
            } else if let Some(v) = T::read(value, sink) {
                read.push((key.clone(), v));
            }
        }
        Some(Map(read))
    }
}

impl<T: Read> Read for Vec<T> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        let Kind::Seq(items) = &node.kind else {
            sink.expected(node, "a list");
            return None;
        };
        let mut read = Vec::with_capacity(items.len());
        for item in items {
            if item.kind == Kind::Null {
                sink.error(item.at, "an item of the list has no value");
            } else if let Some(v) = T::read(item, sink) {
                read.push(v);
            }
        }
        Some(read)
    }
}

/// One, or a list of them.
#[derive(Debug, Clone)]
pub(crate) struct Many<T>(pub Vec<T>);

impl<T: Read> Read for Many<T> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::Seq(_) => Vec::read(node, sink).map(Many),
            _ => T::read(node, sink).map(|v| Many(vec![v])),
        }
    }
}

/// The short form, or the map that says more.
#[derive(Debug, Clone)]
pub(crate) enum Short<S, F> {
    /// The short form.
    Short(S),
    /// The map.
    Full(F),
}

impl<S: Read, F: Read> Read for Short<S, F> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::Map(_) => F::read(node, sink).map(Short::Full),
            _ => S::read(node, sink).map(Short::Short),
        }
    }
}

impl<T: Read> Read for Box<T> {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        T::read(node, sink).map(Box::new)
    }
}

/// A text. Plain numbers and truth values keep their spelling: `8080`, `1.10`, `true`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Words(pub Arc<str>);

impl std::ops::Deref for Words {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Read for Words {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, .. } => Some(Words(text.clone())),
            _ => {
                sink.expected(node, "a text");
                None
            }
        }
    }
}

impl Read for bool {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, plain, via } if *plain || via.is_some() => match &**text {
                "true" => Some(true),
                "false" => Some(false),
                _ => {
                    sink.error_help(
                        node.at,
                        "expected true or false",
                        "YAML's yes, no, on and off are texts here",
                    );
                    None
                }
            },
            _ => {
                sink.expected(node, "true or false");
                None
            }
        }
    }
}

macro_rules! whole {
    ($($ty:ty),*) => { $(
        impl Read for $ty {
            fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
                let Some(text) = node.text() else {
                    sink.expected(node, "a whole number");
                    return None;
                };
                let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
                match text.parse::<$ty>() {
                    Ok(n) if digits => Some(n),
                    _ if digits => {
                        sink.error(node.at, format!("{text} is too large; at most {}", <$ty>::MAX));
                        None
                    }
                    _ => {
                        sink.error(node.at, "expected a whole number");
                        None
                    }
                }
            }
        }
    )* };
}
whole!(u16, u32, u64);

/// Implements reading of a text with a unit.
macro_rules! unit {
    ($ty:ty, $parse:path, $what:literal) => {
        impl Read for $ty {
            fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
                let Some(text) = node.text() else {
                    sink.expected(node, $what);
                    return None;
                };
                $parse(text).map_err(|e| sink.error(node.at, e)).ok()
            }
        }
    };
}
unit!(Bytes, units::parse_bytes, "an amount of memory like 512Mi");
unit!(NanoCpus, units::parse_cpus, "a share of processors like 0.5");
unit!(Duration, units::parse_duration, "a duration like 30s");

/// A text and where it was read from: for what must not stand in the file itself.
#[derive(Debug, Clone)]
pub(crate) struct Given {
    /// The text.
    pub text: Arc<str>,
    /// The reference it was followed from; none where it stands in the file.
    pub via: Option<Arc<Via>>,
}

impl Read for Given {
    fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
        match &node.kind {
            Kind::Scalar { text, via, .. } => Some(Given { text: text.clone(), via: via.clone() }),
            _ => {
                sink.expected(node, "{env: VARIABLE} or {file: PATH}");
                None
            }
        }
    }
}

/// Declares an object: a struct whose fields are all optional, its reader, which refuses unknown keys, and its
/// schema, whose descriptions are the doc comments.
macro_rules! object {
    ($(#[$m:meta])* $name:ident { $( $(#[$f:meta])* $key:literal $field:ident : $ty:ty ),* $(,)? }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Default, schemars::JsonSchema)]
        #[schemars(deny_unknown_fields)]
        pub(crate) struct $name {
            $( $(#[$f])* #[schemars(rename = $key)] pub $field: Option<$ty>, )*
            /// Keys whose value was refused: they are not missed as well.
            #[schemars(skip)]
            pub refused: Vec<&'static str>,
        }
        impl $crate::read::Read for $name {
            fn read(node: &$crate::tree::Node, sink: &mut $crate::read::Sink) -> Option<Self> {
                const KEYS: &[&str] = &[$($key),*];
                let $crate::tree::Kind::Map(entries) = &node.kind else {
                    sink.expected(node, "a map");
                    return None;
                };
                let mut out = Self::default();
                for (key, value) in entries {
                    match &*key.text {
                        $( $key => {
                            out.$field = $crate::read::field(value, sink);
                            if out.$field.is_none() && value.kind != $crate::tree::Kind::Null {
                                out.refused.push($key);
                            }
                        } )*
                        _ => $crate::read::unknown_key(key, KEYS, sink),
                    }
                }
                Some(out)
            }
        }
    };
}
pub(crate) use object;

/// Declares a choice of words.
macro_rules! words {
    ($(#[$m:meta])* $name:ident { $( $(#[$v:meta])* $variant:ident = $word:literal ),* $(,)? }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, schemars::JsonSchema)]
        pub(crate) enum $name { $( $(#[$v])* #[schemars(rename = $word)] $variant ),* }
        impl $crate::read::Read for $name {
            fn read(node: &$crate::tree::Node, sink: &mut $crate::read::Sink) -> Option<Self> {
                const WORDS: &[&str] = &[$($word),*];
                match node.text() {
                    $( Some($word) => Some($name::$variant), )*
                    text => {
                        $crate::read::unknown_word(node, text, WORDS, sink);
                        None
                    }
                }
            }
        }
    };
}
pub(crate) use words;

/// Tells an unknown key, with the nearest known one.
pub(crate) fn unknown_key(key: &Key, known: &[&str], sink: &mut Sink) {
    if &*key.text == "<<" {
        let help = "lay the stack over a StackTemplate instead, or use a plain alias";
        return sink.error_help(key.at, "merge keys ('<<') are not part of the language", help);
    }
    let shown: String = key.text.chars().take(60).collect();
    sink.error_help(
        key.at,
        format!("unknown key '{shown}'"),
        suggest(&key.text, known.iter().copied(), "keys"),
    );
}

/// Tells a word that is none of the choice.
pub(crate) fn unknown_word(node: &Node, text: Option<&str>, known: &[&str], sink: &mut Sink) {
    let list = known.join(", ");
    match text {
        Some(text) => {
            let message = format!("expected one of {list}");
            match nearest(text, known) {
                Some(near) => sink.error_help(node.at, message, format!("did you mean '{near}'?")),
                None => sink.error(node.at, message),
            }
        }
        None => sink.expected(node, &format!("one of {list}")),
    }
}

/// "did you mean …?", or the list of what is known.
pub(crate) fn suggest<'a>(text: &str, known: impl Iterator<Item = &'a str>, what: &str) -> String {
    let known: Vec<&str> = known.take(500).collect();
    match nearest(text, &known) {
        Some(near) => format!("did you mean '{near}'?"),
        None if known.is_empty() => format!("there are no {what} here"),
        None => {
            let more = if known.len() > 40 { ", …" } else { "" };
            format!("the {what} known here are: {}{more}", known[..known.len().min(40)].join(", "))
        }
    }
}

/// The known word nearest to `text`, if one is near.
pub(crate) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain =
        |s: &str| s.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    if text.len() > 64 {
        return None;
    }
    let wanted = plain(text);
    let limit = (wanted.len() / 3).clamp(1, 3);
    known
        .iter()
        .map(|k| (distance(&wanted, &plain(k)), *k))
        .filter(|(d, k)| *d <= limit && *d < k.len())
        .min_by_key(|(d, _)| *d)
        .map(|(_, k)| k)
}

/// Optimal string alignment distance: insertions, deletions, replacements and swapped neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<u8>, Vec<u8>) = (a.bytes().collect(), b.bytes().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let swap = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + swap);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words() {
        assert_eq!(nearest("imgae", &["image", "port"]), Some("image"));
        assert_eq!(nearest("name_on_dokploy", &["nameOnDokploy"]), Some("nameOnDokploy"));
        assert_eq!(nearest("volume", &["volumes"]), Some("volumes"));
        assert_eq!(nearest("zzz", &["image"]), None);
        assert_eq!(nearest("", &["a"]), None);
    }
}
