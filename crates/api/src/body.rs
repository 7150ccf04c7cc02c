//! Bodies and conditions of requests, read with bounds: too large, no JSON and wrong are three errors.

use crate::error::Error;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, HeaderName, header};
use berth_ports::Expect;
use http_body_util::{BodyExt, Limited};
use serde::de::DeserializeOwned;
use std::time::Duration;

/// The largest body: a spec of a row has 1 MiB at most.
pub(crate) const LARGEST: usize = 1 << 20;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(20);

/// A body as JSON.
pub(crate) struct Body<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self, Error> {
        let is_json =
            request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).is_some_and(|t| {
                let kind = t.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
                kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
            });
        if !is_json {
            return Err(Error::MediaType);
        }
        let whole = Limited::new(request.into_body(), LARGEST).collect();
        let bytes = match tokio::time::timeout(PATIENCE, whole).await {
            Ok(Ok(whole)) => whole.to_bytes(),
            Ok(Err(error)) if error.downcast_ref::<http_body_util::LengthLimitError>().is_some() => {
                return Err(Error::TooLarge(LARGEST));
            }
            Ok(Err(_)) => return Err(Error::Bad("the body ended before it was complete".to_owned())),
            Err(_) => return Err(Error::Slow),
        };
        serde_json::from_slice(&bytes).map(Body).map_err(|e| {
            if e.is_data() {
                Error::Invalid(format!("the body is not as it should be: {e}"), Vec::new())
            } else {
                Error::Bad(format!("the body is no JSON: {e}"))
            }
        })
    }
}

/// What a request expects of the stack that it changes.
pub(crate) fn expectation(headers: &HeaderMap) -> Result<Expect, Error> {
    let text = |name: HeaderName| match headers.get(&name).map(|v| v.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text.trim())),
        Some(Err(_)) => Err(Error::Bad(format!("the header {name} is no text"))),
    };
    match (text(header::IF_MATCH)?, text(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Expect::Anything),
        (None, Some("*")) => Ok(Expect::Absent),
        (None, Some(_)) => Err(Error::Bad("If-None-Match can only be *".to_owned())),
        (Some("*"), None) => Ok(Expect::Present),
        (Some(tag), None) => {
            let number = tag.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(tag);
            let wrong = || Error::Bad("If-Match is a generation, as the ETag of a stack: \"3\"".to_owned());
            number.parse().map(Expect::Generation).map_err(|_| wrong())
        }
        (Some(_), Some(_)) => Err(Error::Bad("If-Match and If-None-Match exclude each other".to_owned())),
    }
}
