//! The routes. Each reads what is published and answers; none waits for the engine or for a backend.

use crate::error::Error;
use crate::{Fleet, watch};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use berth_model::ids::{Key, StackName};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

const PAGE: &str = include_str!("page.html");

/// What every route works with.
pub(crate) struct Shared<F> {
    pub(crate) fleet: Arc<F>,
    pub(crate) readers: Arc<tokio::sync::Semaphore>,
    pub(crate) stop: CancellationToken,
}

impl<F> Clone for Shared<F> {
    fn clone(&self) -> Self {
        Self { fleet: self.fleet.clone(), readers: self.readers.clone(), stop: self.stop.clone() }
    }
}

/// The whole API. Watches end when `stop` is cancelled.
pub fn router<F: Fleet>(fleet: Arc<F>, stop: CancellationToken) -> Router {
    let readers = Arc::new(tokio::sync::Semaphore::new(watch::READERS));
    let shared = Shared { fleet, readers, stop };
    // Events are not compressed: they would sit in the compressor's buffer.
    let live = Router::new().route("/api/v1/events", get(watch::events::<F>));
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(healthz::<F>))
        .route("/health", get(health::<F>))
        .route("/readyz", get(readyz::<F>))
        .route("/metrics", get(metrics::<F>))
        .route("/api/v1/stacks", get(stacks::<F>))
        .route("/api/v1/stacks/{name}", get(stack::<F>))
        .route("/api/v1/projects/{name}", get(project::<F>))
        .layer(CompressionLayer::new())
        .merge(live)
        .fallback(nothing)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

/// Serves until cancelled; then gives requests under way two seconds.
///
/// # Errors
/// The listener breaks.
pub async fn serve<F: Fleet>(
    fleet: Arc<F>,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let app = router(fleet, stop.clone());
    let server = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let force = async {
        stop.cancelled().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
    };
    tokio::select! {
        done = server => done,
        () = force => Ok(()),
    }
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

#[derive(Debug, Default, Deserialize)]
struct Filter {
    tenant: Option<String>,
}

async fn stacks<F: Fleet>(
    State(shared): State<Shared<F>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(filter) = filter.map_err(|e| Error::Bad(e.body_text()))?;
    let mut items = shared.fleet.statuses().await?;
    let mut holds = shared.fleet.holds();
    if let Some(tenant) = &filter.tenant {
        items.retain(|s| s.tenant.as_ref() == Some(tenant));
        // A hold names stacks of every tenant.
        holds.clear();
    }
    items.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(Json(json!({"items": items, "holds": holds})).into_response())
}

async fn stack<F: Fleet>(
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(filter) = filter.map_err(|e| Error::Bad(e.body_text()))?;
    let name =
        StackName::new(&name).map_err(|e| Error::Bad(format!("'{name}' is not a stack's name: {e}")))?;
    let found = shared.fleet.status(&Key::Stack(name.clone())).await?;
    let found = found.filter(|s| filter.tenant.is_none() || s.tenant == filter.tenant);
    let status = found.ok_or_else(|| {
        Error::NotFound(format!("no stack '{name}' was judged yet; /api/v1/stacks lists what there is"))
    })?;
    Ok(Json(status).into_response())
}

async fn project<F: Fleet>(
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let found = shared.fleet.status(&Key::Project(name.as_str().into())).await?;
    let status = found.ok_or_else(|| {
        Error::NotFound(format!("no project '{name}' was judged yet; /api/v1/stacks lists what there is"))
    })?;
    Ok(Json(status).into_response())
}

async fn nothing() -> Error {
    Error::NotFound(
        "there is no such path; there are /health, /healthz, /readyz, /metrics, /api/v1/stacks, /api/v1/stacks/NAME, \
         /api/v1/projects/NAME and /api/v1/events"
            .to_owned(),
    )
}

async fn wrong_method() -> Error {
    Error::Method
}
