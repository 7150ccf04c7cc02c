//! The same world over real sockets: the API, the proxy in front of the applications, the registry.
//! A broken exchange must never look like an answer: the connection is dropped instead.

use std::io;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::compression::CompressionLayer;

use crate::sim::{Probe, Sim};

pub(crate) async fn whole(request: Request<Body>) -> Request<Bytes> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    Request::from_parts(parts, body)
}

/// A body that fails at once: the connection closes before a complete answer is out.
pub(crate) fn torn() -> Response<Body> {
    let broken =
        futures::stream::once(async { Err::<Bytes, _>(io::Error::from(io::ErrorKind::ConnectionReset)) });
    let mut out = Response::new(Body::from_stream(broken));
    // A promised length that never comes keeps an early head from passing for an empty answer.
    out.headers_mut().insert(header::CONTENT_LENGTH, header::HeaderValue::from_static("1"));
    out
}

async fn api(State(sim): State<Sim>, request: Request<Body>) -> Response<Body> {
    match sim.handle(whole(request).await).await {
        Ok(response) => response.map(Body::from),
        Err(_) => torn(),
    }
}

async fn proxy(State(sim): State<Sim>, request: Request<Body>) -> Response<Body> {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let host = host.split(':').next().unwrap_or_default();
    let (status, text) = match sim.probe(host, request.uri().path()) {
        Probe::NoRoute => (404, "404 page not found\n"),
        Probe::BadGateway => (502, "Bad Gateway"),
        Probe::Status(code) => (code, "simulated\n"),
        Probe::Refused => return torn(),
    };
    let mut out = Response::new(Body::from(text));
    *out.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    out
}

async fn registry(State(sim): State<Sim>, request: Request<Body>) -> Response<Body> {
    sim.registry(whole(request).await).map(Body::from)
}

pub(crate) async fn run(listener: TcpListener, router: Router, cancel: CancellationToken) {
    let server = axum::serve(listener, router).with_graceful_shutdown(cancel.clone().cancelled_owned());
    // Hung calls would hold a graceful end for ever.
    let force = async {
        cancel.cancelled().await;
        tokio::time::sleep(Duration::from_millis(200)).await;
    };
    tokio::select! {
        _ = server => {}
        () = force => {}
    }
}

/// Serves the API until cancelled; every call takes `latency`.
pub async fn serve(sim: Sim, listener: TcpListener, latency: Duration, cancel: CancellationToken) {
    sim.set_latency(latency);
    let router = Router::new().fallback(api).layer(CompressionLayer::new()).with_state(sim);
    run(listener, router, cancel).await;
}

/// Serves what the proxy would: requests by `Host` header to the applications' simulated answers.
pub async fn serve_proxy(sim: Sim, listener: TcpListener, cancel: CancellationToken) {
    run(listener, Router::new().fallback(proxy).with_state(sim), cancel).await;
}

/// Serves the image registry.
pub async fn serve_registry(sim: Sim, listener: TcpListener, cancel: CancellationToken) {
    run(listener, Router::new().fallback(registry).with_state(sim), cancel).await;
}
