//! The system's notices, reduced to "look again". Never trusted to be complete: a full reading follows anyway.

use crate::walk::Tree;
use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Notify;

/// What is watched, and who is told.
pub(crate) struct Watch {
    /// `None` where the system has none left to give: then only the regular reading sees a change.
    watcher: Option<RecommendedWatcher>,
    interest: Arc<Mutex<Interest>>,
    watched: BTreeSet<PathBuf>,
    complained: bool,
}

/// What matters of all that is heard.
#[derive(Default)]
struct Interest {
    dirs: BTreeSet<PathBuf>,
    hops: BTreeSet<PathBuf>,
}

impl Watch {
    /// `changed` is told whenever something may have changed.
    pub(crate) fn new(changed: Arc<Notify>) -> Self {
        let interest = Arc::new(Mutex::new(Interest::default()));
        let heard = Arc::clone(&interest);
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            let matters = match event {
                Ok(event) => heard.lock().unwrap_or_else(PoisonError::into_inner).matters(&event),
                // It missed something.
                Err(_) => true,
            };
            if matters {
                changed.notify_one();
            }
        });
        let watcher = watcher
            .map_err(|e| {
                tracing::warn!(
                    "the system watches no files for us ({e}): changes are seen at the regular reading"
                )
            })
            .ok();
        Self { watcher, interest, watched: BTreeSet::new(), complained: false }
    }

    /// Watches the places of this tree, and no others.
    ///
    /// Each is asked for again every time, since a directory that was made anew under its old name is another one.
    pub(crate) fn follow(&mut self, tree: &Tree) {
        let mut places = tree.dirs.clone();
        // A link is watched through the directory that it stands in; so is the watched directory itself. Where that
        // one is gone, the nearest one above is watched for its return.
        places.extend(
            tree.hops
                .iter()
                .filter_map(|hop| hop.ancestors().skip(1).find(|dir| dir.is_dir()))
                .map(Path::to_owned),
        );
        {
            let mut interest = self.interest.lock().unwrap_or_else(PoisonError::into_inner);
            interest.dirs.clone_from(&tree.dirs);
            interest.hops.clone_from(&tree.hops);
        }
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.watched.difference(&places) {
            // It is mostly gone by itself.
            let _ = watcher.unwatch(gone);
        }
        for place in &places {
            match watcher.watch(place, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // It went meanwhile; the walk that follows sees that.
                Err(e) if matches!(e.kind, notify::ErrorKind::PathNotFound) => {}
                Err(e) => {
                    if !self.complained {
                        tracing::warn!(path = %place.display(), "it cannot be watched ({e}): changes are seen at the regular reading");
                    }
                    self.complained = true;
                }
            }
        }
        self.watched = places;
    }
}

impl Interest {
    fn matters(&self, event: &Event) -> bool {
        if event.need_rescan() {
            return true;
        }
        match event.kind {
            // What reading itself does.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
            EventKind::Access(_) => return false,
            _ => {}
        }
        event.paths.is_empty()
            || event.paths.iter().any(|path| {
                self.hops.contains(path)
                    || self.dirs.contains(path)
                    || path.parent().is_some_and(|parent| self.dirs.contains(parent))
            })
    }
}
