//! What Hostinger's bad answers mean.

use berth_ports::PortError;
use berth_wire::{Call, Counts, Judge, Reply, Verdict, rate_limit, redact};
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    errors: BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>,
}

/// "Not valid, or conflicts with another record": also said of a value that is there already.
const CONFLICT: &str = "DNS:4008";
/// A page that is no answer of the API: the address is locked out for a while.
const LOCKED_OUT: Duration = Duration::from_secs(600);

/// Reads Hostinger's answers for the client.
pub(crate) struct Answers;

impl Judge for Answers {
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict> {
        if (200..300).contains(&reply.status) {
            return Ok(());
        }
        let body = serde_json::from_slice::<Body<'_>>(&reply.body).ok();
        let why = match &body {
            Some(body) => format!("{}: {}", call.procedure, words(body)),
            None => format!("{}: status {}", call.procedure, reply.status),
        };
        let maybe = |why: String| {
            if call.changes() { PortError::Unknown { why } } else { PortError::Retry { after: None, why } }
        };
        Err(match reply.status {
            401 => Verdict { error: PortError::Auth { why }, again: false, counts: Counts::NotLetIn },
            403 if body.is_none() => Verdict::last(PortError::Retry {
                after: Some(LOCKED_OUT),
                why: format!("{why}, and not from the API: this address may be locked out for a while"),
            }),
            403 => Verdict::last(PortError::Auth { why }),
            404 => Verdict::last(PortError::NotFound(why)),
            409 => Verdict::last(PortError::Conflict(why)),
            422 if why.contains(CONFLICT) => Verdict::last(PortError::Conflict(why)),
            429 => Verdict::again(PortError::Retry { after: rate_limit(reply), why }),
            502..=504 => Verdict { error: maybe(why), again: true, counts: Counts::NoAnswer },
            500..=599 => Verdict::again(maybe(why)),
            300..=399 => Verdict::last(PortError::Refused {
                why: format!("{} was redirected: the url is not the API's own address", call.procedure),
            }),
            _ => Verdict::last(PortError::Refused { why }),
        })
    }
}

fn words(body: &Body<'_>) -> String {
    let mut text = redact::message(&body.message);
    for (field, messages) in body.errors.iter().take(5) {
        let messages: Vec<_> = messages.iter().take(3).map(|m| redact::message(m)).collect();
        text.push_str(&format!("; {}: {}", redact::cap(field, 40), messages.join(", ")));
    }
    text
}

/// Feeds the judge.
pub(super) fn fuzz(data: &[u8]) {
    crate::account::fuzz(&Answers, data);
}
