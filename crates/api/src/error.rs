//! Errors as JSON: what happened and what to do, with the status that fits. Never an answer without a body.

use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// An error of the API.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// No such path or object.
    #[error("{0}")]
    NotFound(String),
    /// The request cannot be read.
    #[error("{0}")]
    Bad(String),
    /// The path is there, the method is not.
    #[error("only GET is served here: the API changes nothing; use the berth command")]
    Method,
    /// Not now.
    #[error("{0}")]
    Busy(String),
}

impl From<berth_ports::PortError> for Error {
    fn from(error: berth_ports::PortError) -> Self {
        Error::Busy(format!("the state cannot be read: {error}"))
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, code) = match &self {
            Error::NotFound(_) => (StatusCode::NOT_FOUND, "notFound"),
            Error::Bad(_) => (StatusCode::BAD_REQUEST, "badRequest"),
            Error::Method => (StatusCode::METHOD_NOT_ALLOWED, "methodNotAllowed"),
            Error::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        };
        let body = Json(json!({"error": {"code": code, "message": self.to_string()}}));
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        match self {
            Error::Method => {
                headers.insert(header::ALLOW, header::HeaderValue::from_static("GET, HEAD"));
            }
            Error::Busy(_) => {
                headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
            }
            Error::NotFound(_) | Error::Bad(_) => {}
        }
        response
    }
}
