//! Desired state from rows: read in full once, then what changed, whenever something says that something may have.

use crate::state::input;
use berth_source::{File, LARGEST, Reading};
use berth_store::{Hints, Postgres};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Between two tries while the database cannot be read.
const AGAIN: Duration = Duration::from_secs(1);

/// The rows as they were last read.
pub struct Rows {
    store: Postgres,
    hints: Arc<Hints>,
    known: BTreeMap<String, File>,
    reading: Reading,
    /// A hint came that was not followed yet.
    due: bool,
    /// A row asks for removal: it may be one of which nothing was made.
    doomed: bool,
}

impl Rows {
    /// Nothing read yet.
    #[must_use]
    pub fn new(store: Postgres, hints: Arc<Hints>) -> Self {
        let reading = Reading::Unreadable("the rows were not read yet".to_owned());
        Self { store, hints, known: BTreeMap::new(), reading, due: true, doomed: false }
    }

    /// What they say.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading.clone()
    }

    /// Waits until they say something else. Given up half-way, it misses nothing.
    pub async fn changed(&mut self) {
        loop {
            if !self.due {
                self.hints.rows.notified().await;
                self.due = true;
            }
            let since = self.hints.since();
            let reading = match self.store.rows(since.as_deref()).await {
                Ok(found) => {
                    self.take(since.is_none(), found.rows);
                    self.hints.read_up_to(found.upto);
                    self.due = false;
                    Reading::Files(self.known.values().cloned().collect())
                }
                Err(error) => {
                    tokio::time::sleep(AGAIN).await;
                    Reading::Unreadable(error.to_string())
                }
            };
            if reading == self.reading && !self.doomed {
                continue;
            }
            if let Reading::Unreadable(why) = &reading
                && matches!(self.reading, Reading::Files(_))
            {
                tracing::warn!("rows cannot be read, and nothing is removed meanwhile: {why}");
            }
            self.reading = reading;
            return;
        }
    }

    fn take(&mut self, all: bool, rows: Vec<berth_store::Row>) {
        let mut before = if all { std::mem::take(&mut self.known) } else { BTreeMap::new() };
        for row in rows {
            self.doomed |= row.manifest.is_none() && row.generation > 0;
            let (key, input) = input(row);
            let Some(input) = input else {
                self.known.remove(&key);
                continue;
            };
            let oversize = input.bytes.len() > LARGEST;
            let mut file =
                File { name: input.file, bytes: input.bytes, oversize, generation: input.generation };
            // What did not change keeps its place in memory, by which it is told apart.
            let old = before.remove(&key).or_else(|| self.known.remove(&key));
            if let Some(old) = old.filter(|old| *old == file) {
                file = old;
            }
            self.known.insert(key, file);
        }
    }

    /// Takes rows away that asked for removal before anything was made of them. After what is wanted was told.
    pub async fn finish(&mut self) {
        if !self.doomed {
            return;
        }
        match self.store.finish().await {
            Ok(()) => self.doomed = false,
            Err(error) => tracing::warn!(%error, "rows that are done with could not be taken away"),
        }
    }
}
