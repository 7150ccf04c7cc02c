//! Events as server-sent events. A reader gets each event once and in order, resumes after the last it saw, and is
//! dropped when it does not keep up: nothing here waits for a slow reader or grows with it.

use crate::Fleet;
use crate::error::Error;
use crate::routes::Shared;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::sse::{Event as Sse, Sse as Stream};
use axum::response::{IntoResponse, Response};
use berth_model::event::Event;
use futures::stream;
use serde::Deserialize;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

/// Readers at once.
pub(crate) const READERS: usize = 64;
/// Events that wait for one reader.
const BUFFER: usize = 256;
/// A comment this often shows that the line is alive.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(15);
/// The store keeps no more than this.
const REPLAY: u32 = 10_000;
/// While it is sent what it missed, a reader may be this slow.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Debug, Default, Deserialize)]
pub(crate) struct From {
    after: Option<u64>,
}

pub(crate) async fn events<F: Fleet>(
    State(shared): State<Shared<F>>,
    headers: HeaderMap,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Response, Error> {
    let Query(query) = query.map_err(|e| Error::Bad(e.body_text()))?;
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
    tokio::spawn(async move {
        let _permit = permit;
        let stop = shared.stop.clone();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tx.closed() => {}
            () = pump(&*shared.fleet, after, &tx) => {}
        }
    });
    let body = stream::unfold(rx, |mut rx| async move { Some((Ok::<_, Infallible>(rx.recv().await?), rx)) });
    let mut response = Stream::new(body).into_response();
    let no_buffer = HeaderValue::from_static("no");
    response.headers_mut().insert("x-accel-buffering", no_buffer);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn sse(event: &Event) -> Sse {
    let data = serde_json::to_string(event).unwrap_or_else(|_| "{}".to_owned());
    Sse::default().id(event.id.to_string()).event("event").data(data)
}

/// Feeds one reader until it is gone or too slow.
async fn pump<F: Fleet>(fleet: &F, after: Option<u64>, tx: &mpsc::Sender<Sse>) {
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
            if tx.send_timeout(sse(&event), PATIENCE).await.is_err() {
                return;
            }
        }
    }
    loop {
        let message = match tokio::time::timeout(HEARTBEAT, live.recv()).await {
            Err(_) => Sse::default().comment("alive"),
            Ok(Ok(event)) if last.is_some_and(|l| event.id <= l) => continue,
            Ok(Ok(event)) => {
                last = Some(event.id);
                sse(&event)
            }
            // It comes again with Last-Event-ID and reads from the store.
            Ok(Err(RecvError::Lagged(_) | RecvError::Closed)) => return,
        };
        if tx.try_send(message).is_err() {
            return;
        }
    }
}
