//! Makes text from outside fit to be shown. It lets too little through rather than too much: a server may echo the
//! very values that were sent to it.

use berth_model::Secret;

/// The longest text that is kept.
const CAP: usize = 300;

/// A remote error message: its first line, nothing of a database error's statement and values, no credentials of URLs.
#[must_use]
pub fn message(text: &str) -> String {
    let line = text.lines().next().unwrap_or("");
    let line = line.split("params:").next().unwrap_or("");
    let (line, database) = match line.find("Failed query") {
        Some(at) => (&line[..at], true),
        None => (line, false),
    };
    let mut kept = cap(&userinfo(line.trim().trim_end_matches(':')), CAP);
    if database {
        if !kept.is_empty() {
            kept.push_str(": ");
        }
        kept.push_str("a database error (its text is withheld)");
    }
    kept
}

/// The end of a log: the last `lines` that say something, each capped, with what looks like a credential masked.
#[must_use]
pub fn log_tail(text: &str, lines: usize) -> String {
    let mut last: Vec<_> = text.lines().rev().filter(|l| !l.trim().is_empty()).take(lines).collect();
    last.reverse();
    last.into_iter().map(|l| cap(&assignments(&userinfo(l.trim_end())), CAP)).collect::<Vec<_>>().join("\n")
}

/// The text without these values, wherever they stand in it. Very short ones are left: they would match everywhere.
#[must_use]
pub fn without<'a>(text: &str, secrets: impl IntoIterator<Item = &'a Secret>) -> String {
    let mut text = text.to_owned();
    for secret in secrets {
        if secret.expose().len() >= 4 && text.contains(secret.expose()) {
            text = text.replace(secret.expose(), "***");
        }
    }
    text
}

/// At most `max` characters, with a sign that there was more. Control characters become spaces.
#[must_use]
pub fn cap(text: &str, max: usize) -> String {
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let mut out: String = text.chars().take(max).map(clean).collect();
    if text.chars().nth(max).is_some() {
        out.push('…');
    }
    out
}

/// Masks `user:password@` in URLs.
fn userinfo(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (head, tail) = rest.split_at(at + 3);
        out.push_str(head);
        let end = tail.find(|c: char| c == '/' || c.is_whitespace() || c == '"').unwrap_or(tail.len());
        rest = match tail[..end].rfind('@') {
            Some(sign) => {
                out.push_str("***");
                &tail[sign..]
            }
            None => tail,
        };
    }
    out.push_str(rest);
    out
}

/// Masks what follows `password=`, `token:` and the like.
fn assignments(text: &str) -> String {
    const NAMES: [&str; 7] = ["password", "passwd", "secret", "token", "api_key", "apikey", "authorization"];
    // Only ASCII is folded, so byte positions in both texts agree.
    let lower = text.to_ascii_lowercase();
    let mut cut = None;
    for name in NAMES {
        for (at, _) in lower.match_indices(name) {
            let after = lower[at + name.len()..].trim_start_matches(|c: char| {
                c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '"' | '\'' | ' ')
            });
            if after.starts_with(['=', ':']) {
                let end = lower.len() - after.len() + 1;
                cut = Some(cut.map_or(end, |c: usize| c.min(end)));
            }
        }
    }
    // The rest of the line goes: where a value ends cannot be known.
    cut.map_or_else(|| text.to_owned(), |at| format!("{} ***", &text[..at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_lose_what_they_echo() {
        let table = [
            ("Application not found", "Application not found"),
            ("Failed query: update x\nparams: hunter2", "a database error (its text is withheld)"),
            (
                "Error updating the environment: Failed query: update hunter2",
                "Error updating the environment: a database error (its text is withheld)",
            ),
            ("no params: hunter2", "no"),
            ("first\nhunter2", "first"),
            ("get https://u:hunter2@h/x failed", "get https://***@h/x failed"),
            ("", ""),
        ];
        for (text, expected) in table {
            assert_eq!(message(text), expected, "{text}");
        }
        assert_eq!(message(&"x".repeat(1000)).chars().count(), CAP + 1);
    }

    #[test]
    fn logs_keep_their_end() {
        let text = "one\n\ntwo\nDB_PASSWORD=hunter2 rest\nlogin with token: hunter2\nAuthorization: Bearer hunter2\n";
        assert_eq!(log_tail(text, 4), "two\nDB_PASSWORD= ***\nlogin with token: ***\nAuthorization: ***");
        assert_eq!(log_tail("pull https://a:b@c/d", 5), "pull https://***@c/d");
    }

    #[test]
    fn known_secrets_go() {
        assert_eq!(without("x hunter2 y ab", [&Secret::new("hunter2"), &Secret::new("ab")]), "x *** y ab");
    }
}
