//! What Dokploy's bad answers mean. Their texts are cut down before anything else looks at them: the server echoes
//! statements and values.

use berth_ports::PortError;
use berth_wire::{Call, Counts, Judge, Reply, Verdict, redact, retry_after};
use serde::Deserialize;
use std::borrow::Cow;

/// What a bad answer says, from either transport, redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) message: String,
    /// The message was a database error.
    pub(crate) database: bool,
    /// The procedure that answered: absent where none did.
    pub(crate) path: bool,
    /// What input validation found.
    pub(crate) issues: Option<String>,
    /// From before any procedure: the key was not let in.
    pub(crate) bare: bool,
    /// It is an error as Dokploy writes them, and not a page of something that stands in front of it.
    pub(crate) shaped: bool,
}

/// How every refusal without a reason is called; also how it is known again.
pub(crate) const BARE: &str = "answered 401 without a reason";

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    message: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<Data<'a>>,
    #[serde(default)]
    issues: Option<Vec<Issue>>,
}

#[derive(Deserialize)]
struct Data<'a> {
    #[serde(borrow)]
    path: Option<Cow<'a, str>>,
    #[serde(rename = "httpStatus")]
    status: Option<u16>,
    #[serde(rename = "zodError")]
    zod: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Issue {
    #[serde(default)]
    path: Vec<serde_json::Value>,
    message: Option<String>,
}

impl Issue {
    fn show(&self) -> String {
        let path: Vec<_> = self
            .path
            .iter()
            .map(|p| p.as_str().map_or_else(|| p.to_string(), |s| redact::cap(s, 40)))
            .collect();
        format!("{}: {}", path.join("."), redact::message(self.message.as_deref().unwrap_or("invalid")))
    }
}

impl Told {
    /// From an answer of the REST transport.
    pub(crate) fn rest(reply: &Reply) -> Self {
        match serde_json::from_slice::<Body<'_>>(&reply.body) {
            Ok(body) => Self::from_body(reply.status, body, false),
            // Plain text: "Invalid JSON", "Body exceeded 1mb limit", or a proxy's page, of which nothing is kept.
            Err(_) => Self {
                status: reply.status,
                message: match reply.body.as_ref() {
                    b"Invalid JSON" => "Invalid JSON".to_owned(),
                    _ => format!("status {}", reply.status),
                },
                database: false,
                path: false,
                issues: None,
                bare: reply.status == 401,
                shaped: false,
            },
        }
    }

    /// From one item of a tRPC batch: the object under `error.json`.
    pub(crate) fn item(error: &str) -> Self {
        match serde_json::from_str::<Body<'_>>(error) {
            Ok(body) => {
                let status = body.data.as_ref().and_then(|d| d.status).unwrap_or(500);
                Self::from_body(status, body, true)
            }
            Err(_) => Self {
                status: 500,
                message: "an error of unexpected shape".to_owned(),
                database: false,
                path: true,
                issues: None,
                bare: false,
                shaped: true,
            },
        }
    }

    fn from_body(status: u16, body: Body<'_>, trpc: bool) -> Self {
        let text = body.message.as_deref().unwrap_or("");
        let issues = match &body.issues {
            Some(issues) => Some(issues.iter().take(5).map(Issue::show).collect::<Vec<_>>().join("; ")),
            // The tRPC transport has no list, only the same news in another form.
            None if body.data.as_ref().is_some_and(|d| d.zod.is_some()) => {
                Some("input validation failed".to_owned())
            }
            None => None,
        };
        // tRPC names the path that was asked even where nothing answers to it.
        let unknown = trpc && text.starts_with("No procedure found");
        Self {
            status,
            message: redact::message(text),
            database: text.contains("Failed query"),
            path: !unknown && body.data.as_ref().is_some_and(|d| d.path.is_some()),
            issues,
            bare: status == 401 && (body.data.is_none() || text == "UNAUTHORIZED"),
            shaped: body.data.is_some(),
        }
    }
}

/// How a call bears being repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    /// Changes nothing.
    Read,
    /// Says the same again when repeated.
    Update,
    /// Makes one more when repeated.
    Create,
}

impl Nature {
    pub(crate) fn of(call: &Call) -> Self {
        match (call.changes(), call.idempotent) {
            (false, _) => Nature::Read,
            (true, true) => Nature::Update,
            (true, false) => Nature::Create,
        }
    }
}

/// The class of a bad answer.
pub(crate) fn class(
    nature: Nature,
    procedure: &str,
    told: &Told,
    after: Option<std::time::Duration>,
) -> Verdict {
    let why = || format!("{procedure}: {}", told.message);
    let lower = told.message.to_ascii_lowercase();
    let maybe = || match nature {
        Nature::Read => PortError::Retry { after: None, why: why() },
        Nature::Update | Nature::Create => PortError::Unknown { why: why() },
    };
    match told.status {
        400 if told.issues.is_some() => Verdict::last(PortError::Refused {
            why: format!("{procedure}: {}", told.issues.as_deref().unwrap_or_default()),
        }),
        400 => Verdict::last(bad_request(nature, told, &lower, why())),
        401 if told.bare => Verdict {
            error: PortError::Auth {
                why: format!(
                    "{procedure} {BARE}: the key is wrong, deleted, expired, used up or rate-limited"
                ),
            },
            again: false,
            counts: Counts::NotLetIn,
        },
        401 | 403 => Verdict::last(PortError::Auth { why: why() }),
        404 if told.path => Verdict::last(PortError::NotFound(why())),
        // A proxy says so while the server behind it starts: nothing about the server follows from it.
        404 | 405 if !told.shaped => Verdict {
            error: PortError::Retry {
                after: None,
                why: format!(
                    "{procedure}: something other than Dokploy answers at the backend's url (status {})",
                    told.status
                ),
            },
            again: nature == Nature::Read,
            counts: Counts::NoAnswer,
        },
        404 | 405 | 501 => Verdict::last(PortError::Unsupported {
            what: format!(
                "{procedure}: this server has no such procedure (older than v0.28.3, or not Dokploy)"
            ),
        }),
        409 | 412 => Verdict::last(PortError::Conflict(why())),
        429 => Verdict::again(PortError::Retry { after, why: why() }),
        // Only with the header is it the server itself that says "not now".
        503 if after.is_some() => Verdict::again(PortError::Retry { after, why: why() }),
        502..=504 => Verdict { error: maybe(), again: true, counts: Counts::NoAnswer },
        500 if told.message == "No values to set" => Verdict::last(PortError::Refused { why: why() }),
        408 | 500..=599 => Verdict::last(maybe()),
        300..=399 => Verdict::last(PortError::Refused {
            why: format!("{procedure} was redirected: the backend's url is not Dokploy's own address"),
        }),
        _ => Verdict::last(PortError::Refused { why: why() }),
    }
}

/// A 400 without issues: Dokploy wraps faults of its own in it, also passing ones.
fn bad_request(nature: Nature, told: &Told, lower: &str, why: String) -> PortError {
    if lower == "error updating application" || lower.contains("not found") {
        PortError::NotFound(why)
    } else if lower.contains("unauthorized") || lower.contains("permission") {
        PortError::Auth { why }
    } else if lower.contains("active services") {
        PortError::Conflict(why)
    } else if lower.starts_with("you cannot")
        || lower.starts_with("cannot")
        || lower.contains("invalid json")
        || lower.contains("no values to set")
    {
        PortError::Refused { why }
    } else if (nature != Nature::Read && told.database)
        || (nature == Nature::Create && lower.starts_with("error"))
    {
        // A create is several statements without one transaction: the row may be there.
        PortError::Unknown { why }
    } else {
        PortError::Retry { after: None, why }
    }
}

/// Reads Dokploy's answers for the client.
pub(crate) struct Answers;

impl Judge for Answers {
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict> {
        let is_list = reply.body.first() == Some(&b'[');
        let batch = call.path.starts_with(crate::batch::ROUTE);
        let good = (200..300).contains(&reply.status)
            // The items of a batch carry their own errors.
            || (batch && is_list && reply.status != 401);
        if good {
            return Ok(());
        }
        let mut told = Told::rest(reply);
        told.bare |= is_list && reply.status == 401;
        if batch && !told.shaped && matches!(reply.status, 400 | 403..=405 | 410..=428 | 431) {
            // Said of this path alone, by something in between: nothing about the server follows, and no try mends it.
            return Err(Verdict::last(PortError::Unsupported {
                what: format!("batch: something in front of Dokploy refuses it (status {})", reply.status),
            }));
        }
        Err(class(Nature::of(call), &call.procedure, &told, retry_after(reply)))
    }
}

#[cfg(test)]
#[path = "errors_tests.rs"]
mod tests;
