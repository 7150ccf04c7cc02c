//! What PowerDNS's bad answers mean. Most are plain text; only 422 carries a reason.

use berth_ports::PortError;
use berth_wire::{Call, Counts, Judge, Reply, Verdict, rate_limit, redact};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    error: Cow<'a, str>,
}

/// Reads PowerDNS's answers for the client.
pub(crate) struct Answers;

impl Judge for Answers {
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict> {
        let said = serde_json::from_slice::<Body<'_>>(&reply.body).ok().map(|b| redact::message(&b.error));
        let why = match &said {
            Some(said) => format!("{}: {said}", call.procedure),
            None => format!("{}: status {}", call.procedure, reply.status),
        };
        let maybe = |why: String| {
            if call.changes() { PortError::Unknown { why } } else { PortError::Retry { after: None, why } }
        };
        Err(match reply.status {
            200..=299 => return Ok(()),
            401 | 403 => Verdict {
                error: PortError::Auth { why: format!("{why}: the API key is wrong") },
                again: false,
                counts: Counts::NotLetIn,
            },
            404 => Verdict::last(PortError::NotFound(why)),
            409 => Verdict::last(PortError::Conflict(why)),
            422 if why.contains("onflict") => Verdict::last(PortError::Conflict(why)),
            405 => Verdict::last(PortError::Refused { why: format!("{why}: this API only reads") }),
            429 => Verdict::again(PortError::Retry { after: rate_limit(reply), why }),
            // Its database was locked by another writer; a set that is replaced twice is the same set.
            500 => Verdict::again(maybe(why)),
            502..=504 => Verdict { error: maybe(why), again: true, counts: Counts::NoAnswer },
            300..=399 => Verdict::last(PortError::Refused {
                why: format!("{} was redirected: the url is not the API's own address", call.procedure),
            }),
            _ => Verdict::last(PortError::Refused { why }),
        })
    }
}

/// Feeds the judge.
pub(super) fn fuzz(data: &[u8]) {
    crate::account::fuzz(&Answers, data);
}
