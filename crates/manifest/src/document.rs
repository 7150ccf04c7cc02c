//! A file as its documents: the envelope of each, read and checked, with the spec still as a tree.

use crate::raw::Metadata;
use crate::read::{At, Problem, Read, Sink, Words, suggest, unknown_key};
use crate::tree::{self, Kind, Node, Span};
use std::sync::Arc;

/// The one version of the language.
pub const API_VERSION: &str = "berth.dev/v1";

/// The kinds of documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DocumentKind {
    /// A shared project.
    Project,
    /// A template.
    StackTemplate,
    /// A stack.
    Stack,
    /// Not built yet: a tenant's limits.
    Quota,
    /// Not built yet: how previews are made.
    PreviewPolicy,
    /// Not built yet: a preview.
    Preview,
}

impl DocumentKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Project, Self::StackTemplate, Self::Stack, Self::Quota, Self::PreviewPolicy, Self::Preview];

    /// As written in a manifest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Project => "Project",
            Self::StackTemplate => "StackTemplate",
            Self::Stack => "Stack",
            Self::Quota => "Quota",
            Self::PreviewPolicy => "PreviewPolicy",
            Self::Preview => "Preview",
        }
    }
}

/// A document whose envelope could be read. Its text stands in the file: the tree of it is grown again when it is
/// needed, which is seldom, and costs ten times the text.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) kind: DocumentKind,
    pub(crate) name: At<Words>,
    /// The template that it names.
    pub(crate) template: Option<At<Words>>,
    /// Where it begins.
    pub(crate) at: Span,
    /// Which one of its file it is, from 0.
    pub(crate) nth: usize,
    /// Faults of the envelope.
    pub(crate) problems: Vec<Problem>,
    /// Unique among all documents ever read by one reader.
    pub(crate) id: u64,
}

/// A document with everything in it.
#[derive(Debug)]
pub(crate) struct Grown {
    pub(crate) meta: Metadata,
    pub(crate) spec: Arc<Node>,
    pub(crate) root: Arc<Node>,
}

/// A file, read.
#[derive(Debug, Default)]
pub(crate) struct Parsed {
    pub(crate) documents: Vec<Arc<Document>>,
    /// Faults that belong to no readable document.
    pub(crate) problems: Vec<Problem>,
    /// Names that can be seen in what could not be read.
    pub(crate) glimpsed: Vec<(DocumentKind, String, u32)>,
}

/// The documents of a file, by their places in it, each as far as its envelope can be read.
pub(crate) fn grow(file: u32, bytes: &[u8]) -> Vec<Option<Arc<Grown>>> {
    let mut sink = Sink::default();
    let (roots, _) = tree::parse(file, bytes);
    let envelopes = roots.into_iter().map(|root| (envelope(&root, &mut sink), root));
    envelopes
        .map(|(read, root)| read.ok().map(|(_, meta, _, spec)| Arc::new(Grown { meta, spec, root })))
        .collect()
}

/// Reads a file, and hands each document to `each`. Documents that did not change since `before`, which had the bytes
/// that come with it, keep their identity.
pub(crate) fn parse(
    file: u32,
    bytes: &[u8],
    before: Option<(&[u8], &Parsed)>,
    next_id: &mut u64,
    mut each: impl FnMut(&Arc<Document>, &Grown),
) -> Parsed {
    let (roots, faults) = tree::parse(file, bytes);
    let mut out = Parsed::default();
    let broken = roots.is_empty() && !faults.is_empty();
    out.problems.extend(faults.into_iter().map(|f| Problem {
        at: f.at,
        message: f.message,
        help: f.help,
        also: None,
        warning: false,
    }));
    let top = Span { file, line: 1, column: 1, start: 0, len: 0 };
    if broken {
        out.glimpsed = glimpse(&String::from_utf8_lossy(&bytes[..bytes.len().min(4 << 20)]));
    } else if roots.is_empty() {
        let comments = bytes.contains(&b'#');
        let (message, help, warning) = if comments {
            ("the file holds no document, only comments", "remove it, or write a document into it", true)
        } else {
            // A file that is being written is empty for a moment; that must not look like a removal.
            ("the file is empty", "remove the file if what it declared is to go", false)
        };
        let (message, help) = (message.to_owned(), Some(help.to_owned()));
        out.problems.push(Problem { at: top, message, help, also: None, warning });
    }
    let old = before.map(|(bytes, parsed)| (tree::parse(file, bytes).0, parsed));
    for (nth, root) in roots.into_iter().enumerate() {
        if let Some((old_roots, parsed)) = &old
            && old_roots.get(nth) == Some(&root)
            && let Some(document) = parsed.documents.iter().find(|d| d.nth == nth)
        {
            out.documents.push(document.clone());
            continue;
        }
        let mut sink = Sink::default();
        match envelope(&root, &mut sink) {
            Ok((kind, meta, name, spec)) => {
                *next_id += 1;
                let named = (kind == DocumentKind::Stack).then(|| spec.get("template")).flatten();
                let template = named.and_then(|node| match &node.kind {
                    Kind::Scalar { text, .. } => Some(At { v: Words(text.clone()), at: node.at }),
                    _ => None,
                });
                let problems = sink.problems;
                let document =
                    Arc::new(Document { kind, name, template, at: root.at, nth, problems, id: *next_id });
                each(&document, &Grown { meta, spec, root });
                out.documents.push(document);
            }
            Err(seen) => {
                out.glimpsed.extend(seen.map(|(kind, name)| (kind, name, root.at.line)));
                out.problems.extend(sink.problems);
            }
        }
    }
    out.documents.shrink_to_fit();
    out
}

type Envelope = (DocumentKind, Metadata, At<Words>, Arc<Node>);

/// The envelope of a document, or at least its name if that is all there is.
fn envelope(root: &Arc<Node>, sink: &mut Sink) -> Result<Envelope, Option<(DocumentKind, String)>> {
    const KEYS: &[&str] = &["apiVersion", "kind", "metadata", "spec"];
    let Kind::Map(entries) = &root.kind else {
        sink.error_help(root.at, format!("a document is a map, found {}", root.what()), EXAMPLE);
        return Err(None);
    };
    for (key, _) in entries {
        if &*key.text == "status" {
            sink.error_help(
                key.at,
                "a document has no status",
                "read it with 'berth status'; take it out here",
            );
        } else if !KEYS.contains(&&*key.text) {
            unknown_key(key, KEYS, sink);
        }
    }
    match root.get("apiVersion") {
        Some(v) if v.text() == Some(API_VERSION) => {}
        Some(v) => {
            sink.error_help(v.at, "this apiVersion is not known", format!("write apiVersion: {API_VERSION}"))
        }
        None => sink.error_help(
            root.at,
            "the document has no apiVersion",
            format!("add apiVersion: {API_VERSION}"),
        ),
    }
    let kind = match root.get("kind") {
        Some(node) => {
            let known = DocumentKind::ALL.into_iter().find(|k| node.text() == Some(k.as_str()));
            if known.is_none() {
                let words = DocumentKind::ALL.iter().map(|k| k.as_str());
                let help = suggest(node.text().unwrap_or(""), words, "kinds");
                sink.error_help(node.at, "this kind is not known", help);
            }
            known
        }
        None => {
            sink.error_help(root.at, "the document has no kind", EXAMPLE);
            None
        }
    };
    let meta = match root.get("metadata") {
        Some(node) => Metadata::read(node, sink),
        None => {
            sink.error_help(root.at, "the document has no metadata", "add metadata: {name: …}");
            None
        }
    };
    let name = meta.as_ref().and_then(|m| m.name.clone());
    if let (Some(node), None) = (root.get("metadata"), &name)
        && meta.as_ref().is_some_and(|m| !m.refused.contains(&"name"))
    {
        sink.error_help(node.at, "the document has no name", "add name: to metadata");
    }
    let spec = match root.get("spec") {
        Some(node) if matches!(node.kind, Kind::Map(_)) => Some(node.clone()),
        Some(node) => {
            sink.expected(node, "a map");
            None
        }
        None if kind == Some(DocumentKind::Project) => {
            Some(Arc::new(Node { kind: Kind::Map(Vec::new()), at: root.at }))
        }
        None => {
            sink.error_help(root.at, "the document has no spec", "add spec: with what is wanted");
            None
        }
    };
    let (Some(kind), Some(meta), Some(name)) = (kind, meta, name.clone()) else {
        return Err(kind.zip(name).map(|(k, n)| (k, n.v.to_string())));
    };
    if kind != DocumentKind::Stack {
        let extra = [
            ("tenant", meta.tenant.as_ref().map(|v| v.at)),
            ("stage", meta.stage.and(root.get("metadata").and_then(|m| m.get("stage"))).map(|n| n.at)),
            ("formerly", meta.formerly.as_ref().map(|v| v.at)),
        ];
        for (key, at) in extra {
            if let Some(at) = at {
                let message = format!("a {} has no {key}", kind.as_str());
                sink.error_help(at, message, "only a Stack has one; take it out here");
            }
        }
    }
    match spec {
        Some(spec) => Ok((kind, meta, name, spec)),
        None => Err(Some((kind, name.v.to_string()))),
    }
}

const EXAMPLE: &str = "a document has apiVersion, kind, metadata and spec";

/// Names that a person would see in a text that is not valid YAML, so that it does not look like a removal.
fn glimpse(text: &str) -> Vec<(DocumentKind, String, u32)> {
    let mut found = Vec::new();
    let (mut kind, mut in_metadata, mut begin): (Option<DocumentKind>, bool, u32) = (None, false, 1);
    let mut name: Option<String> = None;
    let mut close = |kind: &mut Option<DocumentKind>, name: &mut Option<String>, line: u32| {
        if let (Some(kind), Some(name)) = (kind.take(), name.take()) {
            found.push((kind, name, line));
        }
    };
    for (n, line) in text.lines().take(200_000).enumerate() {
        if line.starts_with("---") {
            close(&mut kind, &mut name, begin);
            begin = u32::try_from(n).unwrap_or(u32::MAX - 1) + 2;
            in_metadata = false;
        } else if let Some(word) = line.strip_prefix("kind:") {
            kind = DocumentKind::ALL.into_iter().find(|k| word.trim() == k.as_str());
        } else if let Some(rest) = line.strip_prefix("metadata:") {
            in_metadata = true;
            if let Some((_, after)) = rest.split_once("name:") {
                name = name.take().or_else(|| first_word(after));
            }
        } else if in_metadata && line.starts_with([' ', '\t']) {
            if let Some(after) = line.trim_start().strip_prefix("name:") {
                name = name.take().or_else(|| first_word(after));
            }
        } else if !line.trim().is_empty() {
            in_metadata = false;
        }
    }
    close(&mut kind, &mut name, begin);
    found
}

fn first_word(text: &str) -> Option<String> {
    let text = text.trim_start().trim_start_matches(['"', '\'']);
    let word: String =
        text.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_').take(100).collect();
    (!word.is_empty()).then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_seen_in_broken_text() {
        let text = "kind: Stack\nmetadata: {name: a-b, x: 1}\nspec: {\n---\nkind: Stack\nmetadata:\n  labels: x\n  name: \"c\"\nspec:\n  name: no\n";
        assert_eq!(
            glimpse(text),
            [(DocumentKind::Stack, "a-b".to_owned(), 1), (DocumentKind::Stack, "c".to_owned(), 5)]
        );
        assert_eq!(glimpse(""), []);
    }
}
