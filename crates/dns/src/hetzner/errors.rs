//! What the Cloud API's bad answers mean: by its code first, by the status where there is none.

use berth_ports::PortError;
use berth_wire::{Call, Counts, Judge, Reply, Verdict, rate_limit, redact};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Told<'a>,
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow, default)]
    code: Cow<'a, str>,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    details: Option<Details<'a>>,
}

#[derive(Deserialize)]
struct Details<'a> {
    #[serde(borrow, default)]
    fields: Vec<Field<'a>>,
}

#[derive(Deserialize)]
struct Field<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    messages: Vec<Cow<'a, str>>,
}

/// Reads the Cloud API's answers for the client.
pub(crate) struct Answers;

impl Judge for Answers {
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict> {
        if (200..300).contains(&reply.status) {
            return Ok(());
        }
        let body = serde_json::from_slice::<Body<'_>>(&reply.body).ok();
        let code = body.as_ref().map_or("", |b| &*b.error.code);
        let why = match &body {
            Some(body) => format!("{}: {}", call.procedure, words(&body.error)),
            None => format!("{}: status {}", call.procedure, reply.status),
        };
        Err(verdict(call, reply, code, why))
    }
}

fn verdict(call: &Call, reply: &Reply, code: &str, why: String) -> Verdict {
    let maybe = |why: String| {
        if call.changes() { PortError::Unknown { why } } else { PortError::Retry { after: None, why } }
    };
    match (code, reply.status) {
        ("unauthorized", _) | (_, 401) => {
            Verdict { error: PortError::Auth { why }, again: false, counts: Counts::NotLetIn }
        }
        ("token_readonly", _) => {
            Verdict::last(PortError::Auth { why: format!("{why}: the token only reads") })
        }
        ("rate_limit_exceeded", _) | (_, 429) => {
            Verdict::again(PortError::Retry { after: rate_limit(reply), why })
        }
        // Another action of the zone runs; nothing was done.
        ("locked", _) | (_, 423) => Verdict::again(PortError::Retry { after: None, why }),
        ("conflict", _) => Verdict::again(PortError::Retry { after: None, why }),
        ("uniqueness_error", _) | (_, 409) => Verdict::last(PortError::Conflict(why)),
        ("not_found", _) | (_, 404) => Verdict::last(PortError::NotFound(why)),
        ("protected", _) => {
            Verdict::last(PortError::Refused { why: format!("{why}: take the protection off first") })
        }
        ("maintenance" | "unavailable", _) | (_, 503) => Verdict {
            error: PortError::Retry { after: rate_limit(reply), why },
            again: true,
            counts: Counts::NoAnswer,
        },
        ("timeout" | "bad_gateway", _) | (_, 502 | 504) => {
            Verdict { error: maybe(why), again: true, counts: Counts::NoAnswer }
        }
        (_, 403) => Verdict::last(PortError::Auth { why }),
        (_, 500..=599) => Verdict::again(maybe(why)),
        (_, 300..=399) => Verdict::last(PortError::Refused {
            why: format!(
                "{} was redirected: this address is retired; a token of the old DNS console does not work here",
                call.procedure
            ),
        }),
        _ => Verdict::last(PortError::Refused { why }),
    }
}

fn words(told: &Told<'_>) -> String {
    let mut text = redact::message(&told.message);
    if !told.code.is_empty() {
        text = format!("{text} ({})", redact::cap(&told.code, 40));
    }
    for field in told.details.iter().flat_map(|d| &d.fields).take(5) {
        let messages: Vec<_> = field.messages.iter().take(3).map(|m| redact::message(m)).collect();
        text.push_str(&format!("; {}: {}", redact::cap(&field.name, 40), messages.join(", ")));
    }
    text
}

/// An action that ended badly.
pub(super) fn action(procedure: &str, error: Option<&super::parse::ActionError>) -> PortError {
    let Some(error) = error else {
        return PortError::Refused { why: format!("{procedure}: its action failed without a reason") };
    };
    let why = format!(
        "{procedure}: its action failed: {} ({})",
        redact::message(&error.message),
        redact::cap(&error.code, 40)
    );
    match error.code.as_str() {
        "locked" | "conflict" | "timeout" | "service_error" | "server_error" | "unavailable" => {
            PortError::Retry { after: None, why }
        }
        "uniqueness_error" => PortError::Conflict(why),
        _ => PortError::Refused { why },
    }
}

/// Feeds the judge.
pub(super) fn fuzz(data: &[u8]) {
    crate::account::fuzz(&Answers, data);
}
