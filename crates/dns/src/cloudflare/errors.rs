//! What Cloudflare's bad answers mean. The error on top often says only "validation error": the reasons stand in the
//! chain below it.

use berth_ports::PortError;
use berth_wire::{Call, Counts, Judge, Reply, Verdict, rate_limit, redact};
use serde::Deserialize;
use std::borrow::Cow;

#[derive(Deserialize)]
struct Body<'a> {
    success: bool,
    #[serde(borrow, default)]
    errors: Vec<Told<'a>>,
}

#[derive(Deserialize)]
struct Told<'a> {
    #[serde(default)]
    code: i64,
    #[serde(borrow, default)]
    message: Cow<'a, str>,
    #[serde(borrow, default)]
    error_chain: Vec<Told<'a>>,
}

/// Codes and words, from the top down.
struct Said {
    codes: Vec<i64>,
    words: Vec<String>,
}

impl Said {
    fn of(errors: &[Told<'_>]) -> Self {
        let mut said = Said { codes: Vec::new(), words: Vec::new() };
        said.add(errors, 0);
        said
    }

    fn add(&mut self, errors: &[Told<'_>], depth: usize) {
        for told in errors.iter().take(8) {
            self.codes.push(told.code);
            self.words.push(format!("{} ({})", redact::message(&told.message), told.code));
            if depth < 4 {
                self.add(&told.error_chain, depth + 1);
            }
        }
    }

    fn has(&self, codes: &[i64]) -> bool {
        self.codes.iter().any(|c| codes.contains(c))
    }
}

/// Something stands there that excludes it, or exactly it.
const CONFLICTS: [i64; 4] = [81053, 81054, 81057, 81058];
/// The record that was to be changed is gone.
const GONE: [i64; 1] = [81044];
/// The token is none.
const NO_TOKEN: [i64; 5] = [6003, 6103, 6111, 9106, 9109];
/// "Authentication error": also said at random in the middle of much work.
const DENIED: i64 = 10000;

/// Reads Cloudflare's answers for the client.
pub(crate) struct Answers;

impl Judge for Answers {
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict> {
        let body = serde_json::from_slice::<Body<'_>>(&reply.body).ok();
        if (200..300).contains(&reply.status) && body.as_ref().is_some_and(|b| b.success) {
            return Ok(());
        }
        let said = body.as_ref().map(|b| Said::of(&b.errors));
        let why = match &said {
            Some(said) if !said.words.is_empty() => format!("{}: {}", call.procedure, said.words.join(": ")),
            _ => format!("{}: status {}", call.procedure, reply.status),
        };
        let maybe = |why: String| {
            if call.changes() { PortError::Unknown { why } } else { PortError::Retry { after: None, why } }
        };
        let has = |codes: &[i64]| said.as_ref().is_some_and(|s| s.has(codes));
        Err(match reply.status {
            429 => Verdict::again(PortError::Retry { after: rate_limit(reply), why }),
            _ if has(&NO_TOKEN) => {
                Verdict { error: PortError::Auth { why }, again: false, counts: Counts::NotLetIn }
            }
            401 => Verdict { error: PortError::Auth { why }, again: false, counts: Counts::NotLetIn },
            403 => Verdict { again: has(&[DENIED]), ..Verdict::last(PortError::Auth { why }) },
            _ if has(&CONFLICTS) || has(&GONE) => Verdict::last(PortError::Conflict(why)),
            404 => Verdict::last(PortError::NotFound(why)),
            502..=504 | 520..=530 => Verdict { error: maybe(why), again: true, counts: Counts::NoAnswer },
            500..=599 => Verdict::again(maybe(why)),
            // A yes without a word that it is one.
            200..=299 if body.is_none() => Verdict::last(maybe(why)),
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
