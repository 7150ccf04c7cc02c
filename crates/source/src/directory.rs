//! The watched directory as a task: reads, waits for a change or for the regular time, and reads again.

use crate::scan::{File, scan_after};
use crate::walk::Error;
use crate::watch::Watch;
use berth_model::ids::Key;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What a source held when it was last looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// It could not be read, and why: nothing is known of what it holds.
    Unreadable(String),
    /// Every manifest, by name.
    Files(Arc<[File]>),
    /// Every row as a manifest, and the keys of those whose removal is asked for.
    Rows(Arc<[File]>, Arc<BTreeSet<Key>>),
}

impl Default for Reading {
    fn default() -> Self {
        Self::Unreadable("the directory was not read yet".to_owned())
    }
}

/// A directory that is watched.
#[derive(Debug, Clone)]
pub struct Directory {
    path: PathBuf,
    rescan: Duration,
    quiet: Duration,
    ceiling: Duration,
}

impl Directory {
    /// A directory, read in full this often even where nothing was noticed: notices get lost on network file systems
    /// and mounts.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>, rescan: Duration) -> Self {
        Self {
            path: path.into(),
            rescan,
            quiet: Duration::from_millis(50),
            ceiling: Duration::from_millis(500),
        }
    }

    /// Waits after a change until nothing changed for `quiet`, but never longer than `ceiling`.
    #[must_use]
    pub fn with_debounce(mut self, quiet: Duration, ceiling: Duration) -> Self {
        self.quiet = quiet;
        self.ceiling = ceiling;
        self
    }

    /// Reads and watches until cancelled, or until nobody listens. Sends only what differs from the last reading.
    pub async fn run(self, tx: watch::Sender<Reading>, cancel: CancellationToken) {
        let changed = Arc::new(Notify::new());
        let mut watch = Watch::new(Arc::clone(&changed));
        let mut before: Arc<[File]> = Arc::default();
        loop {
            let path = self.path.clone();
            let known = Arc::clone(&before);
            let reading = tokio::task::spawn_blocking(move || {
                let result = scan_after(&path, &known, &mut |tree| watch.follow(tree));
                (watch, result)
            });
            let result;
            (watch, result) = match reading.await {
                Ok(done) => done,
                Err(e) => {
                    // The watch went with it. A new one, and another try at the regular time.
                    tracing::error!(path = %self.path.display(), "reading the directory broke off: {e}");
                    tx.send_if_modified(|last| {
                        replace(last, Reading::Unreadable("reading it broke off".to_owned()))
                    });
                    watch = Watch::new(Arc::clone(&changed));
                    if self.wait(&changed, &tx, &cancel, self.rescan).await {
                        continue;
                    } else {
                        return;
                    }
                }
            };
            let mut pause = self.rescan;
            match result {
                Ok(files) => {
                    if *files != *before {
                        before = files.into();
                    }
                    let files = Arc::clone(&before);
                    tx.send_if_modified(|last| replace(last, Reading::Files(files)));
                }
                Err(error) => {
                    if matches!(error, Error::Restless { .. }) {
                        pause = self.ceiling.min(self.rescan);
                    }
                    let text = error.to_string();
                    if tx.send_if_modified(|last| replace(last, Reading::Unreadable(text))) {
                        tracing::warn!("{error}");
                    }
                }
            }
            if !self.wait(&changed, &tx, &cancel, pause).await {
                return;
            }
        }
    }

    /// Waits until there is reason to read again; false when there never will be.
    async fn wait(
        &self,
        changed: &Notify,
        tx: &watch::Sender<Reading>,
        cancel: &CancellationToken,
        pause: Duration,
    ) -> bool {
        tokio::select! {
            () = cancel.cancelled() => return false,
            () = tx.closed() => return false,
            () = tokio::time::sleep(pause) => return true,
            () = changed.notified() => {}
        }
        // Not at the first change of many, but not after an endless number either.
        let latest = Instant::now() + self.ceiling;
        loop {
            tokio::select! {
                () = cancel.cancelled() => return false,
                () = tokio::time::sleep_until((Instant::now() + self.quiet).min(latest)) => return true,
                () = changed.notified() => {
                    if Instant::now() >= latest {
                        return true;
                    }
                }
            }
        }
    }
}

fn replace(last: &mut Reading, new: Reading) -> bool {
    let differs = *last != new;
    if differs {
        *last = new;
    }
    differs
}
