//! Desired state from rows: read in full once, then what changed, whenever something says that something may have.

use crate::state::input;
use berth_engine::Engine;
use berth_model::ids::Key;
use berth_ports::World;
use berth_source::{File, LARGEST, Reading};
use berth_store::{Hints, Postgres};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Between two tries while the database cannot be read, and between two looks whether rows are done with.
const AGAIN: Duration = Duration::from_secs(1);

/// The rows as they were last read.
pub struct Rows {
    store: Postgres,
    hints: Arc<Hints>,
    known: BTreeMap<String, File>,
    /// Keys of rows that ask for removal.
    doomed: BTreeSet<String>,
    reading: Reading,
    /// A hint came that was not followed yet.
    due: bool,
    /// A row asks for removal of whose kind nothing is made.
    idle: bool,
}

impl Rows {
    /// Nothing read yet.
    #[must_use]
    pub fn new(store: Postgres, hints: Arc<Hints>) -> Self {
        let reading = Reading::Unreadable("the rows were not read yet".to_owned());
        let (known, doomed) = (BTreeMap::new(), BTreeSet::new());
        Self { store, hints, known, doomed, reading, due: true, idle: false }
    }

    /// What they say.
    #[must_use]
    pub fn reading(&self) -> Reading {
        self.reading.clone()
    }

    /// Waits until they say something else. Meanwhile takes rows away that are done with. Given up half-way, it misses
    /// nothing.
    pub async fn changed<W: World>(&mut self, engine: &Engine<W>) {
        loop {
            if !self.due {
                tokio::select! {
                    () = self.hints.rows.notified() => self.due = true,
                    () = tokio::time::sleep(AGAIN), if !self.doomed.is_empty() => {
                        self.finish(engine).await;
                        continue;
                    }
                }
            }
            let since = self.hints.since();
            let reading = match self.store.rows(since.as_deref()).await {
                Ok(found) => {
                    self.take(found.all, found.rows);
                    self.hints.read_up_to(since.as_deref(), found.upto);
                    self.due = false;
                    let doomed = self.doomed.iter().filter_map(|key| Key::parse(key)).collect();
                    Reading::Rows(self.known.values().cloned().collect(), Arc::new(doomed))
                }
                Err(error) => {
                    tokio::time::sleep(AGAIN).await;
                    Reading::Unreadable(error.to_string())
                }
            };
            if reading == self.reading {
                continue;
            }
            if let Reading::Unreadable(why) = &reading
                && matches!(self.reading, Reading::Rows(..))
            {
                tracing::warn!("rows cannot be read, and nothing is removed meanwhile: {why}");
            }
            self.reading = reading;
            return;
        }
    }

    fn take(&mut self, all: bool, rows: Vec<berth_store::Row>) {
        let mut before = if all { std::mem::take(&mut self.known) } else { BTreeMap::new() };
        if all {
            self.doomed.clear();
        }
        for row in rows {
            let asks = row.manifest.is_none() && row.generation > 0;
            let (key, input) = input(row);
            let Some(input) = input else {
                self.known.remove(&key);
                if asks {
                    self.idle |= Key::parse(&key).is_none();
                    self.doomed.insert(key);
                } else {
                    self.doomed.remove(&key);
                }
                continue;
            };
            self.doomed.remove(&key);
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

    /// Takes rows away that ask for the removal of what is not there.
    async fn finish<W: World>(&mut self, engine: &Engine<W>) {
        let keys = engine.nothing_of(self.doomed.iter().filter_map(|key| Key::parse(key)));
        if keys.is_empty() && !self.idle {
            return;
        }
        let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
        match self.store.finish(&keys).await {
            Ok(()) => self.idle = false,
            Err(error) => tracing::warn!(%error, "rows that are done with could not be taken away"),
        }
    }
}
