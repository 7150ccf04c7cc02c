//! Events as server-sent events. A reader gets each event once and in order, resumes after the last it saw, and is
//! dropped when it does not keep up: nothing here waits for a slow reader or grows with it.

use crate::auth::{May, Read, Who};
use crate::error::{Error, ErrorBody};
use crate::fleet::Fleet;
use crate::routes::Shared;
use crate::stacks::{given, stack_name, within_reach};
use crate::view::instant;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event as Sse, Sse as Stream};
use axum::response::{IntoResponse, Response};
use berth_model::event::Event;
use berth_model::ids::{Key, StackName};
use futures::stream;
use serde::{Deserialize, Serialize};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Readers at once.
pub(crate) const READERS: usize = 64;
/// Events that wait for one reader.
const BUFFER: usize = 256;
/// The store keeps no more than this.
const REPLAY: u32 = 10_000;
/// While it is sent what it missed, a reader may be this slow.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a watched stack is looked at between its events: a rollout moves on without one.
const LOOK: Duration = Duration::from_secs(1);

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct From {
    /// Begin after this event. The header `Last-Event-ID` does the same and goes before.
    after: Option<u64>,
}

/// One event, as the data of a message called `event`.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Event)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EventView {
    /// Rises; a reader resumes after it.
    id: u64,
    #[schema(format = DateTime)]
    at: String,
    /// `stack` or `project`.
    kind: &'static str,
    name: String,
    /// Whether a person should look.
    warning: bool,
    /// In one word.
    reason: &'static str,
    /// In words.
    message: String,
}

/// All events, as a stream of messages `event`.
#[utoipa::path(get, path = "/api/v1/events", operation_id = "watchEvents", tag = "events", params(From, ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen.")),
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn events<F: Fleet>(
    may: May<Read>,
    State(shared): State<Shared<F>>,
    headers: HeaderMap,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Response, Error> {
    if may.0.tenant().is_some() {
        return Err(Error::Tenant(
            "events of all tenants are for tokens without a tenant; see /api/v1/stacks/NAME/events",
        ));
    }
    stream_of(&shared, given(query)?, &headers, None, may.0).await
}

/// One stack's way from accepted to Ready: messages `status` with the whole stack whenever it changes, and `event`.
#[utoipa::path(get, path = "/api/v1/stacks/{name}/events", operation_id = "watchStack", tag = "events",
    params(("name" = String, Path, description = "The stack's name."), From, ("Last-Event-ID" = Option<String>, Header, description = "The last event that was seen.")),
    responses((status = 200, body = String, content_type = "text/event-stream"),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn of_stack<F: Fleet>(
    may: May<Read>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
    headers: HeaderMap,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Response, Error> {
    let name = stack_name(&name)?;
    within_reach(&shared, &may.0, &name).await?;
    stream_of(&shared, given(query)?, &headers, Some(name), may.0).await
}

async fn stream_of<F: Fleet>(
    shared: &Shared<F>,
    query: From,
    headers: &HeaderMap,
    of: Option<StackName>,
    who: Who,
) -> Result<Response, Error> {
    let header = headers.get("last-event-id");
    let after = match header.map(|v| v.to_str().ok().and_then(|t| t.trim().parse().ok())) {
        Some(Some(id)) => Some(id),
        Some(None) => return Err(Error::Bad("Last-Event-ID is not a number".to_owned())),
        None => query.after,
    };
    let permit = shared.readers.clone().try_acquire_owned().map_err(|_| {
        Error::Busy(format!("{READERS} readers watch already; close one, or poll /api/v1/stacks"))
    })?;
    let (tx, rx) = mpsc::channel(BUFFER);
    let shared = shared.clone();
    tokio::spawn(async move {
        let _permit = permit;
        let stop = shared.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tx.closed() => {}
            () = pump(&shared, after, of.as_ref(), &who, &tx) => {}
        }
    });
    let body = stream::unfold(rx, |mut rx| async move { Some((Ok::<_, Infallible>(rx.recv().await?), rx)) });
    let mut response = Stream::new(body).into_response();
    let no_buffer = HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", no_buffer);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn message(name: &str, value: &impl Serialize) -> Sse {
    Sse::default().event(name).data(serde_json::to_string(value).unwrap_or_else(|_| "{}".to_owned()))
}

fn sse(event: &Event) -> Sse {
    let view = EventView {
        id: event.id,
        at: instant(event.at),
        kind: if matches!(event.key, Key::Stack(_)) { "stack" } else { "project" },
        name: event.key.name().to_owned(),
        warning: event.warning,
        reason: event.reason.as_str(),
        message: event.message.clone(),
    };
    message("event", &view).id(event.id.to_string())
}

/// Feeds one reader until it is gone or too slow.
async fn pump<F: Fleet>(
    shared: &Shared<F>,
    after: Option<u64>,
    of: Option<&StackName>,
    who: &Who,
    tx: &mpsc::Sender<Sse>,
) {
    let fleet = &*shared.fleet;
    let is_watched = |event: &Event| of.is_none_or(|name| event.key == Key::Stack(name.clone()));
    // Before the store is read: nothing falls between the two.
    let mut live = fleet.subscribe();
    let mut last = after;
    if tx.try_send(Sse::default().comment("watching").retry(Duration::from_secs(2))).is_err() {
        return;
    }
    if let Some(after) = after {
        let missed = match fleet.events_after(after, REPLAY).await {
            Ok(missed) => missed,
            Err(error) => {
                // The reader comes again with the same number.
                tracing::warn!(%error, "a watch could not read what it missed");
                return;
            }
        };
        for event in missed {
            last = last.max(Some(event.id));
            if is_watched(&event) && tx.send_timeout(sse(&event), PATIENCE).await.is_err() {
                return;
            }
        }
    }
    let mut shown = String::new();
    let mut spoke = Instant::now();
    loop {
        if let Some(name) = of {
            match status(shared, who, name).await {
                // It is out of reach now, or gone.
                Some(None) => {
                    let _ = tx.try_send(Sse::default().event("gone").data("{}"));
                    return;
                }
                Some(Some(now)) if now != shown => {
                    if tx.try_send(Sse::default().event("status").data(&now)).is_err() {
                        return;
                    }
                    shown = now;
                    spoke = Instant::now();
                }
                Some(Some(_)) | None => {}
            }
        }
        let wake = if of.is_some() { LOOK.min(shared.heartbeat) } else { shared.heartbeat };
        let said = match tokio::time::timeout(wake, live.recv()).await {
            Err(_) if spoke.elapsed() >= shared.heartbeat => Sse::default().comment("alive"),
            Err(_) => continue,
            Ok(Ok(event)) if last.is_some_and(|l| event.id <= l) || !is_watched(&event) => continue,
            Ok(Ok(event)) => {
                last = Some(event.id);
                sse(&event)
            }
            // It comes again with Last-Event-ID and reads from the store.
            Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return,
        };
        if tx.try_send(said).is_err() {
            return;
        }
        spoke = Instant::now();
    }
}

/// The watched stack as JSON; `None` while it cannot be read, `Some(None)` where it is gone.
async fn status<F: Fleet>(shared: &Shared<F>, who: &Who, name: &StackName) -> Option<Option<String>> {
    match within_reach(shared, who, name).await {
        Ok(view) => serde_json::to_string(&view).ok().map(Some),
        Err(Error::NotFound(_)) => Some(None),
        Err(_) => None,
    }
}
