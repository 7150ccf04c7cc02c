//! Commits that wait for the writer at the same time go to disk together: what a commit costs is the waiting for the
//! disk. Each is still all or nothing by itself, and is answered only after the disk has it.

use super::{error, write};
use crate::limit::Limits;
use berth_ports::{Change, PortError};
use sqlx::Connection;
use sqlx::sqlite::SqliteConnection;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::oneshot;

type Answer = Result<(), PortError>;

struct One {
    changes: Arc<Vec<Change>>,
    tell: oneshot::Sender<Answer>,
}

/// Commits that wait for the writer, in order.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Vec<One>>);

impl Waiting {
    /// Puts a commit in line; whoever has the writer next answers it.
    pub(super) fn join(&self, changes: &Arc<Vec<Change>>) -> oneshot::Receiver<Answer> {
        let (tell, told) = oneshot::channel();
        let one = One { changes: Arc::clone(changes), tell };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(one);
        told
    }

    fn take(&self) -> Vec<One> {
        let mut all = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        // Who does not wait any more was cancelled before anything was written.
        all.retain(|one| !one.tell.is_closed());
        all
    }
}

/// Writes everything that waits, and answers it.
pub(super) async fn write(
    path: &Path,
    writer: &mut SqliteConnection,
    waiting: &Waiting,
    epoch: u64,
    limits: &Limits,
) {
    let mut all = waiting.take();
    let result = attempt(path, writer, &all, epoch, limits).await;
    let shared = |e: &PortError| {
        matches!(e, PortError::Unknown { .. } | PortError::Retry { .. } | PortError::Conflict(_))
    };
    if result.as_ref().is_err_and(|e| !shared(e)) && all.len() > 1 {
        // One of them is at fault, and the others are not to suffer for it.
        for one in all.drain(..) {
            let result = attempt(path, writer, std::slice::from_ref(&one), epoch, limits).await;
            // Who went away needs no answer.
            let _ = one.tell.send(result);
        }
    }
    for one in all {
        // Who went away needs no answer.
        let _ = one.tell.send(result.clone());
    }
}

async fn attempt(
    path: &Path,
    writer: &mut SqliteConnection,
    all: &[One],
    epoch: u64,
    limits: &Limits,
) -> Answer {
    let port = |e: sqlx::Error| error::port(path, "writing", &e);
    // Immediate: to read first and find out later that another process wrote in between cannot be waited for.
    let mut transaction = writer.begin_with("begin immediate").await.map_err(port)?;
    write::fence(path, &mut transaction, epoch).await?;
    for one in all {
        write::all(path, &mut transaction, &one.changes, limits).await?;
    }
    transaction.commit().await.map_err(|e| error::at_commit(path, &e))
}
