//! `{name}`, `{app}`, `{tenant}`, `{stage}`, `{projectId}`, `{environmentId.NAME}` in texts.
//!
//! `${…}` and `${{…}}` are matched first and stay as they are; `{{word}}` writes `{word}`; every other brace is text.

use berth_model::stack::{Part, Text};

/// Every placeholder there is.
pub(crate) const KNOWN: &str =
    "{name}, {app}, {tenant}, {stage}, {pr}, {sha}, {projectId}, {environmentId.NAME}";

/// What placeholders stand for in one place.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Values<'a> {
    /// `{name}`
    pub name: Option<&'a str>,
    /// `{app}`
    pub app: Option<&'a str>,
    /// `{tenant}`
    pub tenant: Option<&'a str>,
    /// `{stage}`
    pub stage: Option<&'a str>,
    /// Ids that are known later may stand here.
    pub late: bool,
}

/// What is wrong with a placeholder, and what to do.
pub(crate) type Wrong = (String, String);

/// A piece of a text.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    /// `${…}` or `${{…}}`
    Reference(&'a str),
    /// `{word}` or `{word.NAME}`
    Hole(&'a str, Option<&'a str>),
    /// `{{word}}`, with its inside in single braces.
    Escaped(&'a str),
}

/// `word` or `word.NAME` at the beginning, up to a `}`; its length.
fn hole(text: &str) -> Option<(&str, Option<&str>, usize)> {
    let end = text.find('}')?;
    let inner = &text[..end];
    let (word, name) = inner.split_once('.').map_or((inner, None), |(w, n)| (w, Some(n)));
    let letters =
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let begins = word.bytes().next().is_some_and(|b| b.is_ascii_alphabetic());
    let named = name.is_none_or(|n| {
        !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    });
    (letters && begins && named).then_some((word, name, end))
}

fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut found = Vec::new();
    let (mut at, mut plain) = (0, 0);
    while let Some(n) = text[at..].find(['$', '{']) {
        let here = at + n;
        let rest = &text[here..];
        let (piece, len) = if rest.starts_with("${{") {
            let len = rest.find("}}").map_or(rest.len(), |e| e + 2);
            (Piece::Reference(&rest[..len]), len)
        } else if rest.starts_with("${") {
            let len = rest.find('}').map_or(rest.len(), |e| e + 1);
            (Piece::Reference(&rest[..len]), len)
        } else if let Some(inner) = rest.strip_prefix("{{")
            && let Some((_, _, end)) = hole(inner)
            && inner[end..].starts_with("}}")
        {
            (Piece::Escaped(&rest[1..end + 3]), end + 4)
        } else if let Some(inner) = rest.strip_prefix('{')
            && let Some((word, name, end)) = hole(inner)
        {
            (Piece::Hole(word, name), end + 2)
        } else {
            at = here + 1;
            continue;
        };
        if plain < here {
            found.push(Piece::Text(&text[plain..here]));
        }
        found.push(piece);
        at = here + len;
        plain = at;
    }
    if plain < text.len() {
        found.push(Piece::Text(&text[plain..]));
    }
    found
}

/// Fills the placeholders of a text.
///
/// # Errors
/// Every placeholder that is unknown or has no value here.
pub(crate) fn fill(text: &str, values: &Values<'_>) -> Result<Text, Vec<Wrong>> {
    if !text.contains('{') {
        return Ok(Text::lit(text));
    }
    let mut parts: Vec<Part> = Vec::new();
    let mut wrong = Vec::new();
    let mut literal = String::new();
    for piece in pieces(text) {
        match piece {
            Piece::Text(t) | Piece::Reference(t) | Piece::Escaped(t) => literal.push_str(t),
            Piece::Hole(word, name) => match value(word, name, values) {
                Ok(Ok(text)) => literal.push_str(text),
                Ok(Err(part)) => {
                    if !literal.is_empty() {
                        parts.push(Part::Lit(std::mem::take(&mut literal)));
                    }
                    parts.push(part);
                }
                Err(e) => wrong.push(e),
            },
        }
    }
    if !literal.is_empty() || parts.is_empty() {
        parts.push(Part::Lit(literal));
    }
    if wrong.is_empty() { Ok(Text(parts)) } else { Err(wrong) }
}

fn value<'a>(word: &str, name: Option<&str>, values: &Values<'a>) -> Result<Result<&'a str, Part>, Wrong> {
    let shown = name.map_or_else(|| format!("{{{word}}}"), |n| format!("{{{word}.{n}}}"));
    let wrong = |message: String, help: &str| Err((message, help.to_owned()));
    let given = match (word, name) {
        ("name", None) => values.name,
        ("app", None) => values.app,
        ("tenant", None) => values.tenant,
        ("stage", None) => values.stage,
        ("pr" | "sha", None) => None,
        ("projectId", None) if values.late => return Ok(Err(Part::ProjectId)),
        ("environmentId", Some(n)) if values.late => return Ok(Err(Part::EnvironmentId(n.to_owned()))),
        ("projectId", None) | ("environmentId", Some(_)) => {
            return wrong(
                format!("{shown} cannot stand here: the id is known only after a create"),
                "ids may stand in values of env",
            );
        }
        ("environmentId", None) => {
            return wrong(
                "{environmentId} needs the environment's name".to_owned(),
                "write it like {environmentId.production}",
            );
        }
        _ => {
            // In a variable the word may be a piece of a secret: it is shown only where it is clearly a slip.
            const WORDS: [&str; 8] =
                ["name", "app", "tenant", "stage", "pr", "sha", "projectId", "environmentId"];
            if values.late && crate::read::nearest(word, &WORDS).is_none() {
                let help = format!("known are {KNOWN}; write two braces on each side for text in braces");
                return Err(("the value holds an unknown placeholder".to_owned(), help));
            }
            let help = format!("known are {KNOWN}; write {{{shown}}} for the text {shown}");
            return Err((format!("unknown placeholder {shown}"), help));
        }
    };
    match given {
        Some(text) => Ok(Ok(text)),
        None if word == "tenant" => {
            wrong("{tenant} has no value here".to_owned(), "give the stack metadata.tenant")
        }
        None if matches!(word, "pr" | "sha") => {
            wrong(format!("{shown} has a value in previews only"), "take it out, or use {name} or {stage}")
        }
        None => wrong(
            format!("{shown} has no value here"),
            "it stands for the name of an app, in what belongs to one",
        ),
    }
}

/// References in a variable's value that the server would not resolve, each with what was probably meant.
#[must_use]
pub(crate) fn bad_references(text: &str) -> Vec<Wrong> {
    let mut wrong = Vec::new();
    for piece in pieces(text) {
        match piece {
            Piece::Reference(r) if r.starts_with("${{") => {
                if !r.ends_with("}}") {
                    wrong.push(("a '${{' is not closed".to_owned(), "close it with '}}'".to_owned()));
                }
            }
            Piece::Reference(r) => {
                let name: String =
                    r[2..].chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                let name = if name.is_empty() { "NAME".to_owned() } else { name };
                wrong.push((
                    "'${…}' is not resolved in a variable".to_owned(),
                    format!(
                        "write ${{{{project.{name}}}}} for the project's variable, ${{{{environment.{name}}}}} for the \
                         environment's, or the value itself"
                    ),
                ));
            }
            Piece::Escaped(e) => {
                let inner = &e[1..e.len() - 1];
                if let Some((scope @ ("project" | "environment"), name)) = inner.split_once('.') {
                    wrong.push((
                        format!("'{{{{{inner}}}}}' is not a reference"),
                        format!("write ${{{{{scope}.{name}}}}}"),
                    ));
                }
            }
            Piece::Hole(scope @ ("project" | "environment"), Some(name)) => {
                wrong.push((
                    format!("'{{{scope}.{name}}}' is not a reference"),
                    format!("write ${{{{{scope}.{name}}}}}"),
                ));
            }
            Piece::Text(_) | Piece::Hole(..) => {}
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    const V: Values<'_> =
        Values { name: Some("n"), app: Some("a"), tenant: None, stage: Some("staging"), late: true };

    #[track_caller]
    fn good(text: &str, expected: &str) {
        assert_eq!(fill(text, &V), Ok(Text::lit(expected)), "{text}");
    }

    #[track_caller]
    fn bad(text: &str, says: &str) {
        let wrong = fill(text, &V).unwrap_err();
        assert!(wrong[0].0.contains(says), "{wrong:?}");
    }

    #[test]
    fn filled() {
        good("", "");
        good("{name}.x", "n.x");
        good("{name}-{app}.{stage}", "n-a.staging");
        good("{{name}}", "{name}");
        good("{{environmentId.x}}", "{environmentId.x}");
        good("${name}", "${name}");
        good("${{project.name}}{name}", "${{project.name}}n");
        good("${{ {name} }}", "${{ {name} }}");
        good("{\"a\": 1}", "{\"a\": 1}");
        good("{ name }", "{ name }");
        good("{}{{}}{{{", "{}{{}}{{{");
        good("$name ${unclosed {name}", "$name ${unclosed {name}");
        good("{{{name}}}", "{{name}}");
        good("ä{name}ö", "änö");
        assert_eq!(
            fill("a{projectId}b{environmentId.e-1}", &V),
            Ok(Text(vec![
                Part::Lit("a".into()),
                Part::ProjectId,
                Part::Lit("b".into()),
                Part::EnvironmentId("e-1".into())
            ]))
        );
        assert_eq!(fill("{projectId}", &V), Ok(Text(vec![Part::ProjectId])));
    }

    #[test]
    fn refused() {
        bad("{nmae}", "unknown placeholder {nmae}");
        bad("{name.x}", "unknown placeholder");
        bad("{tenant}", "has no value");
        bad("{pr}", "previews only");
        bad("{environmentId}", "needs the environment's name");
        assert_eq!(fill("{x}{y}", &V).unwrap_err().len(), 2);
        bad("{hunter2}", "the value holds an unknown placeholder");
        let early = Values { late: false, ..V };
        assert!(fill("{projectId}", &early).unwrap_err()[0].0.contains("after a create"));
    }

    #[test]
    fn references() {
        assert!(bad_references("${{project.X}} {name} ${{X}}").is_empty());
        assert!(bad_references("${X}")[0].1.contains("${{project.X}}"));
        assert!(bad_references("{{project.X}}")[0].1.contains("${{project.X}}"));
        assert!(bad_references("{environment.X}")[0].1.contains("${{environment.X}}"));
        assert!(bad_references("${{project.X}").len() == 1);
    }
}
