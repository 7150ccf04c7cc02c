//! Faults as people see them: one line each for logs, or with the source line for a terminal.
//!
//! Messages hold no values of variables. [`render`] shows source lines: it is for the person who has the files.

use crate::tree::Span;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The file changes nothing until this is put right.
    Error,
    /// Told, and no more.
    Warning,
}

/// One fault or warning about one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was given.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The value's path in the document: `spec.apps.web.port`.
    pub path: Option<String>,
    /// The document it is about: `stack/john-dev`, where its kind and name could be read.
    pub document: Option<String>,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// A second place that explains the first.
    pub related: Option<Related>,
    /// Where in the file's bytes it begins, and how many it spans.
    pub(crate) range: (u32, u32),
}

/// A second place that explains the first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// What stands there.
    pub message: String,
    /// Where in the file's bytes.
    pub(crate) range: (u32, u32),
}

impl Diagnostic {
    pub(crate) fn at(file: &str, at: Span, message: String) -> Self {
        Self {
            file: file.to_owned(),
            line: at.line,
            column: at.column,
            path: None,
            document: None,
            message,
            help: None,
            severity: Severity::Error,
            related: None,
            range: (at.start, at.len),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{path}: ")?;
        }
        f.write_str(&self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

/// Where [`render`] finds the text of a file.
pub trait Sources {
    /// The bytes of the file as it was read.
    fn source(&self, file: &str) -> Option<&[u8]>;
}

impl Sources for [crate::Input] {
    fn source(&self, file: &str) -> Option<&[u8]> {
        self.iter().find(|i| &*i.file == file).map(|i| &*i.bytes)
    }
}

impl Sources for (&str, &[u8]) {
    fn source(&self, file: &str) -> Option<&[u8]> {
        (self.0 == file).then_some(self.1)
    }
}

impl Sources for std::collections::BTreeMap<String, Vec<u8>> {
    fn source(&self, file: &str) -> Option<&[u8]> {
        self.get(file).map(Vec::as_slice)
    }
}

/// Longer lines are not shown.
const LONGEST_LINE: usize = 400;

/// The lines that `start..start+len` touches, the range in them, and the first line's distance in lines is `line`.
fn excerpt(bytes: &[u8], range: (u32, u32)) -> Option<(&str, std::ops::Range<usize>)> {
    let (start, len) = (range.0 as usize, range.1 as usize);
    let text = std::str::from_utf8(bytes).ok().or_else(|| {
        // Show what comes before a byte that is not text.
        let end = std::str::from_utf8(bytes).err()?.valid_up_to();
        std::str::from_utf8(&bytes[..end]).ok()
    })?;
    let start = start.min(text.len());
    if !text.is_char_boundary(start) {
        return None;
    }
    let begin = text[..start].rfind('\n').map_or(0, |n| n + 1);
    let stop = text[start..].find(['\n', '\r']).map_or(text.len(), |n| start + n);
    let line = &text[begin..stop];
    if line.len() > LONGEST_LINE || line.contains('\0') {
        return None;
    }
    let line = line.strip_prefix('\u{feff}').map_or(line, |l| l);
    let cut = stop - begin - line.len();
    let from = (start - begin).saturating_sub(cut);
    let to = (from + len.max(1)).min(line.len());
    let to = (from..=to).rev().find(|n| line.is_char_boundary(*n)).unwrap_or(from);
    Some((line, from..to.max(from)))
}

/// All of them in the manner of rustc, each with its source line, with an empty line between.
#[must_use]
pub fn render(diagnostics: &[Diagnostic], sources: &(impl Sources + ?Sized), color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for d in diagnostics {
        let level = if d.severity == Severity::Error { Level::ERROR } else { Level::WARNING };
        let title = level.primary_title(d.message.as_str());
        let place = |file: &str, range, kind: AnnotationKind, line: u32, label: Option<String>| {
            let (text, range) = excerpt(sources.source(file)?, range)?;
            let note = kind.span(range).label(label);
            Some(
                Snippet::source(text.to_owned())
                    .line_start(line as usize)
                    .path(file.to_owned())
                    .annotation(note),
            )
        };
        let mut group = match place(&d.file, d.range, AnnotationKind::Primary, d.line, d.path.clone()) {
            Some(snippet) => title.element(snippet),
            None => title.element(
                annotate_snippets::Origin::path(d.file.as_str())
                    .line(d.line as usize)
                    .char_column(d.column as usize),
            ),
        };
        if let Some(r) = &d.related {
            let label = Some(r.message.clone());
            group = match place(&r.file, r.range, AnnotationKind::Context, r.line, label) {
                Some(snippet) => group.element(snippet),
                None => group.element(Level::NOTE.message(format!("{}:{}: {}", r.file, r.line, r.message))),
            };
        }
        if let Some(help) = &d.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push_str("\n\n");
    }
    out
}
