//! Environment texts: the dotenv dialect the server parses, and `${{…}}` references between levels.
//! It must never be smarter than the server: quirks of the dialect are kept on purpose.

/// Parses a dotenv text into pairs in the order a JavaScript object would list them.
pub fn parse(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut pairs: Vec<(String, String)> = Vec::new();
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (pair, next) = line(rest);
        if let Some((key, value)) = pair {
            match pairs.iter_mut().find(|(known, _)| *known == key) {
                Some(known) => known.1 = value,
                None => pairs.push((key, value)),
            }
        }
        rest = next;
    }
    // Integer-like keys come first and in numeric order, as in any JavaScript object.
    let integer = |key: &str| key.parse::<u32>().ok().filter(|n| n.to_string() == key);
    pairs.sort_by_key(|(key, _)| integer(key).map_or(u64::MAX, u64::from));
    pairs
}

/// Reads one assignment (which may span lines when quoted) and returns what follows it.
fn line(text: &str) -> (Option<(String, String)>, &str) {
    let end = text.find('\n').unwrap_or(text.len());
    let after = |at: usize| text.get(at..).map_or("", |rest| rest.strip_prefix('\n').unwrap_or(rest));
    let skip = (None, after(end));
    let mut head = text[..end].trim_start();
    if let Some(rest) = head.strip_prefix("export")
        && rest.starts_with([' ', '\t'])
    {
        head = rest.trim_start();
    }
    let key_len = head
        .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')))
        .unwrap_or(head.len());
    if key_len == 0 {
        return skip;
    }
    let (key, tail) = head.split_at(key_len);
    let value = match tail.trim_start().strip_prefix('=') {
        Some(value) => value,
        None => match tail.strip_prefix(':') {
            Some(value) if value.starts_with([' ', '\t']) => value,
            _ => return skip,
        },
    };
    let value = value.trim_start();
    // Offset of the value inside the whole text: a quoted one may go on past this line.
    let start = end - value.len();
    if let Some(quote @ ('\'' | '"' | '`')) = value.chars().next()
        && let Some((inner, stop)) = quoted(&text[start..], quote)
    {
        let stop = start + stop;
        let line_end = text[stop..].find('\n').map_or(text.len(), |n| stop + n);
        return (Some((key.to_owned(), inner)), after(line_end));
    }
    let plain = value.split('#').next().unwrap_or("").trim();
    (Some((key.to_owned(), unwrap(plain))), after(end))
}

/// The content of a quoted value and the offset after the closing quote.
fn quoted(text: &str, quote: char) -> Option<(String, usize)> {
    let mut candidates = Vec::new();
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote {
            candidates.push(at);
            if !escaped {
                break;
            }
        }
        escaped = c == '\\' && !escaped;
    }
    // The pattern is greedy and backtracks: the farthest closing quote with a clean end of line wins.
    candidates.into_iter().rev().find_map(|at| {
        let tail = text[at + 1..].split('\n').next().unwrap_or("").trim_start();
        let clean = tail.is_empty() || tail.starts_with('#');
        clean.then(|| (expand(&text[1..at], quote), at + 1))
    })
}

fn unwrap(value: &str) -> String {
    let quote = value.chars().next().filter(|c| matches!(c, '\'' | '"' | '`'));
    match quote {
        Some(quote) if value.len() > 1 && value.ends_with(quote) => expand(&value[1..value.len() - 1], quote),
        _ => value.to_owned(),
    }
}

fn expand(inner: &str, quote: char) -> String {
    if quote == '"' { inner.replace("\\n", "\n").replace("\\r", "\r") } else { inner.to_owned() }
}

/// The `KEY=value` list a container would see, or the text of the error that fails the deployment.
pub fn resolve(service: &str, environment: &str, project: &str) -> Result<Vec<String>, String> {
    let own = parse(service);
    let project = parse(project);
    let environment = parse(environment);
    let mut out = Vec::with_capacity(own.len());
    for (key, value) in &own {
        let value = replace(value, "project.", &project, "project")?;
        let value = replace(&value, "environment.", &environment, "environment")?;
        let value = replace(&value, "", &own, "service")?;
        out.push(format!("{key}={value}"));
    }
    Ok(out)
}

fn replace(value: &str, prefix: &str, known: &[(String, String)], level: &str) -> Result<String, String> {
    let open = format!("${{{{{prefix}");
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    while let Some(at) = rest.find(&open) {
        let inner = &rest[at + open.len()..];
        let Some(end) = inner.find("}}") else { break };
        let name = &inner[..end];
        let Some((_, found)) = known.iter().find(|(key, _)| key == name) else {
            return Err(format!("Invalid {level} environment variable: {prefix}{name}"));
        };
        out.push_str(&rest[..at]);
        out.push_str(found);
        rest = &inner[end + 2..];
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> String {
        parse(text).first().map(|(_, value)| value.clone()).unwrap_or_default()
    }

    #[test]
    fn the_dialect_of_the_server() {
        assert_eq!(one("A=x#y"), "x");
        assert_eq!(one("A='x # y'  # z"), "x # y");
        assert_eq!(one("A=\"a\\nb\""), "a\nb");
        assert_eq!(one("A=\"a\\\"b\""), "a\\\"b");
        assert_eq!(one("A='two\nlines'\nB=1"), "two\nlines");
        assert_eq!(one("export A=1"), "1");
        assert_eq!(one("A: yes"), "yes");
        assert_eq!(one("A=$B"), "$B");
        assert_eq!(
            parse("# c\nnothing\nB=1\n7=x\nB=2\n"),
            [("7".into(), "x".into()), ("B".into(), "2".into())]
        );
        assert_eq!(parse("A=\nB='x'"), [("A".into(), String::new()), ("B".into(), "x".into())]);
    }

    #[test]
    fn references_resolve_by_level_and_unknown_ones_fail() {
        let got = resolve("A=${{project.X}}-${{environment.Y}}\nB=${{A}}", "Y=2", "X=1");
        assert_eq!(got, Ok(vec!["A=1-2".into(), "B=${{project.X}}-${{environment.Y}}".into()]));
        let lost = resolve("A=${{project.NO}}", "", "");
        assert_eq!(lost, Err("Invalid project environment variable: project.NO".into()));
    }
}
