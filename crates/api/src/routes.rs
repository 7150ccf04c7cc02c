//! All paths, and what every answer goes through. Those without a token are health, metrics, the page and the document.

use crate::auth::Limits;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::{apps, openapi, secrets, stacks, tokens, watch};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Json, Router};
use berth_model::Time;
use serde_json::json;
use std::any::Any;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;

const PAGE: &str = include_str!("page.html");

/// How the API behaves.
#[derive(Clone)]
pub struct Options {
    /// Whether one may read without a token.
    pub anonymous: bool,
    /// Requests a second of one caller.
    pub per_second: NonZeroU32,
    /// Wall time.
    pub clock: fn() -> Time,
    /// 32 bytes that nobody can guess, for a new token; `None` where there are none to be had.
    pub random: fn() -> Option<[u8; 32]>,
    /// How often a comment shows that a stream is alive.
    pub heartbeat: Duration,
}

/// What every route works with.
pub(crate) struct Shared<F> {
    pub(crate) fleet: Arc<F>,
    pub(crate) readers: Arc<tokio::sync::Semaphore>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) anonymous: bool,
    pub(crate) clock: fn() -> Time,
    pub(crate) random: fn() -> Option<[u8; 32]>,
    pub(crate) heartbeat: Duration,
    pub(crate) stop: CancellationToken,
}

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Self {
        Self {
            fleet: self.fleet.clone(),
            readers: self.readers.clone(),
            limits: self.limits.clone(),
            anonymous: self.anonymous,
            clock: self.clock,
            random: self.random,
            heartbeat: self.heartbeat,
            stop: self.stop.clone(),
        }
    }
}

/// The whole API. Watches end when `stop` is cancelled.
pub fn router<F: Fleet>(fleet: Arc<F>, options: &Options, stop: CancellationToken) -> Router {
    let shared = Shared {
        fleet,
        readers: Arc::new(tokio::sync::Semaphore::new(watch::READERS)),
        limits: Arc::new(Limits::new(options.per_second)),
        anonymous: options.anonymous,
        clock: options.clock,
        random: options.random,
        heartbeat: options.heartbeat,
        stop,
    };
    // Events are not compressed: they would sit in the compressor's buffer.
    let live = Router::new()
        .route("/api/v1/events", get(watch::events::<F>))
        .route("/api/v1/stacks/{name}/events", get(watch::of_stack::<F>));
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz::<F>))
        .route("/health", get(health::<F>))
        .route("/readyz", get(readyz::<F>))
        .route("/metrics", get(metrics::<F>))
        .route("/api/v1/openapi.json", get(document))
        .route("/api/v1/stacks", get(stacks::list::<F>))
        .route(
            "/api/v1/stacks/{name}",
            get(stacks::one::<F>).put(stacks::put::<F>).delete(stacks::delete::<F>),
        )
        .route("/api/v1/stacks/{name}/actions", post(apps::act::<F>))
        .route("/api/v1/stacks/{name}/apps/{app}/logs", get(apps::logs::<F>))
        .route("/api/v1/stacks/{name}/apps/{app}/restart", post(apps::restart::<F>))
        .route("/api/v1/stacks/{name}/apps/{app}/scale", post(apps::scale::<F>))
        .route("/api/v1/stacks/{name}/secrets", get(secrets::list::<F>))
        .route("/api/v1/stacks/{name}/secrets/{secret}", put(secrets::give::<F>).delete(secrets::remove::<F>))
        .route("/api/v1/names/{name}", get(stacks::name::<F>))
        .route("/api/v1/projects/{name}", get(stacks::project::<F>))
        .route("/api/v1/tokens", get(tokens::list::<F>).post(tokens::make::<F>))
        .route("/api/v1/tokens/{name}", delete(tokens::revoke::<F>))
        .layer(CompressionLayer::new())
        .merge(live)
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(shared)
}

/// The panic itself was told by the hook.
fn panicked(_: Box<dyn Any + Send>) -> Response {
    Error::Internal.into_response()
}

async fn page() -> Response {
    let mut response = Html(PAGE).into_response();
    let headers = response.headers_mut();
    let set = [
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in set {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn document() -> Response {
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, openapi::document().clone()).into_response()
}

async fn healthz<F: Fleet>(State(shared): State<Shared<F>>) -> Response {
    if shared.fleet.alive() {
        "ok\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the loop stands still\n").into_response()
    }
}

/// The form that some platforms' probes expect.
async fn health<F: Fleet>(State(shared): State<Shared<F>>) -> Response {
    if shared.fleet.alive() {
        Json(json!({"status": "healthy"})).into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "the loop stands still"}))).into_response()
    }
}

async fn readyz<F: Fleet>(State(shared): State<Shared<F>>) -> Response {
    match shared.fleet.ready() {
        Ok(()) => match shared.fleet.lead() {
            None => Json(json!({"ready": true})).into_response(),
            Some(lead) => Json(json!({"ready": true, "lead": lead})).into_response(),
        },
        Err(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "why": why}))).into_response()
        }
    }
}

async fn metrics<F: Fleet>(State(shared): State<Shared<F>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], shared.fleet.metrics())
}

async fn nothing() -> Error {
    Error::NotFound("there is no such path; /api/v1/openapi.json names those that there are".to_owned())
}

async fn wrong_method() -> Error {
    Error::Method
}
