//! Errors as JSON: what happened and what to do, with the status that fits. Never an answer without a body.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use berth_model::access::{Role, Verb};
use berth_ports::{Fault, PortError, Refused};
use serde::Serialize;

/// The body of every answer that is an error.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    error: Body,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = ErrorDetail)]
#[serde(rename_all = "camelCase")]
struct Body {
    /// In one word; the list is closed.
    #[schema(example = "notFound")]
    code: &'static str,
    /// In words, with what to do.
    message: String,
    /// Everything that is wrong with what was asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<FaultView>,
    /// What the stack is at now.
    #[serde(skip_serializing_if = "Option::is_none")]
    generation: Option<u64>,
}

/// Something wrong with what was asked for.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Fault)]
struct FaultView {
    /// Where: a path like `spec.apps.web.port`.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// What.
    message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

/// An error of the API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No such path or object.
    #[error("{0}")]
    NotFound(String),
    /// The request cannot be read.
    #[error("{0}")]
    Bad(String),
    /// Nobody, or nobody that is known.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// Known, and may not.
    #[error("the role {role} may not do this; {} may", needed(*.verb))]
    Role {
        /// Theirs.
        role: Role,
        /// What was tried.
        verb: Verb,
    },
    /// Known, and not for this tenant.
    #[error("{0}")]
    Tenant(&'static str),
    /// The path is there, the method is not.
    #[error("this path is not served with this method")]
    Method,
    /// What is there stands against it.
    #[error("{0}")]
    Conflict(String),
    /// The condition of the request does not hold.
    #[error("{}", stale(*.0))]
    Stale(Option<u64>),
    /// Larger than is taken.
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    /// Not JSON.
    #[error("the body is no JSON: send it with content-type: application/json")]
    MediaType,
    /// It was understood and is wrong.
    #[error("{0}")]
    Invalid(String, Vec<Fault>),
    /// Too many requests.
    #[error("too many requests; wait a moment")]
    Limited,
    /// Not now.
    #[error("{0}")]
    Busy(String),
    /// The request took too long to arrive or to be answered.
    #[error("the request was not complete in time")]
    Slow,
    /// A defect.
    #[error("an error in Berth; its log has more")]
    Internal,
}

fn needed(verb: Verb) -> String {
    let may: Vec<_> = Role::ALL.into_iter().filter(|r| r.may(verb)).map(Role::as_str).collect();
    may.join(", ")
}

fn stale(now: Option<u64>) -> String {
    match now {
        Some(generation) => format!(
            "the stack is at generation {generation} now, which is not what the request expects: read it again"
        ),
        None => "the stack is not there, which is not what the request expects: read it again".to_owned(),
    }
}

impl From<PortError> for Error {
    fn from(error: PortError) -> Self {
        match error {
            PortError::NotFound(what) => Error::NotFound(what),
            PortError::Conflict(why) => Error::Conflict(why),
            PortError::Unsupported { what } => Error::Conflict(format!("unsupported: {what}")),
            PortError::Refused { .. }
            | PortError::Retry { .. }
            | PortError::Unknown { .. }
            | PortError::Auth { .. } => Error::Busy(error.to_string()),
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NoRows => Error::Conflict(
                "this daemon takes its stacks from a directory: change the manifest there, or give berth.yaml \
                 'source: {postgres: …}'"
                    .to_owned(),
            ),
            Refused::FromFile(at) => {
                Error::Conflict(format!("the stack stands in the daemon's directory, {at}: change it there"))
            }
            Refused::NotFound => Error::NotFound("there is no such stack".to_owned()),
            Refused::Taken => Error::Conflict("the name is taken: choose another one".to_owned()),
            Refused::BeingRemoved => Error::Conflict(
                "a stack of this name is being removed; the name is free once everything outside is gone".to_owned(),
            ),
            Refused::Stale(now) => Error::Stale(now),
            Refused::Fixed(what) => Error::Conflict(format!(
                "{what} of a stack cannot change: ask for a new stack, with \"formerly\" to take over what runs"
            )),
            Refused::Faulty(faults) => Error::faulty(faults),
            Refused::Port(error) => error.into(),
        }
    }
}

impl Error {
    /// What is asked for has faults; the first one leads.
    pub(crate) fn faulty(faults: Vec<Fault>) -> Self {
        let first = faults.first().map_or_else(|| "it is not valid".to_owned(), |f| f.message.clone());
        let more = if faults.len() > 1 { format!(" (and {} more)", faults.len() - 1) } else { String::new() };
        Error::Invalid(format!("what is asked for is not valid: {first}{more}"), faults)
    }

    fn parts(&self) -> (StatusCode, &'static str) {
        match self {
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "notFound"),
            Error::Bad(_) => (StatusCode::BAD_REQUEST, "badRequest"),
            Error::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Error::Role { .. } | Error::Tenant(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Error::Method => (StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed"),
            Error::Conflict(_) => (StatusCode::CONFLICT, "conflict"),
            Error::Stale(_) => (StatusCode::PRECONDITION_FAILED, "preconditionFailed"),
            Error::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "tooLarge"),
            Error::MediaType => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupportedMediaType"),
            Error::Invalid(..) => (StatusCode::UNPROCESSABLE_ENTITY, "invalid"),
            Error::Limited => (StatusCode::TOO_MANY_REQUESTS, "tooManyRequests"),
            Error::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Error::Slow => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Error::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = self.parts();
        let message = self.to_string();
        let (faults, generation) = match self {
            Error::Invalid(_, faults) => (faults, None),
            Error::Stale(now) => (Vec::new(), now),
            _ => (Vec::new(), None),
        };
        let faults = faults.into_iter().map(|f| FaultView { path: f.path, message: f.message, help: f.help });
        let body = ErrorBody { error: Body { code, message, faults: faults.collect(), generation } };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        match status {
            StatusCode::UNAUTHORIZED => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"berth\""));
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            }
            StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        response
    }
}
