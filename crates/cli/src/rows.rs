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
    /// Why they are not known, if they are not.
    unreadable: Option<String>,
    /// Those that changed with the last reading, where nothing else did.
    changed: Option<Vec<File>>,
    /// A hint came that was not followed yet.
    due: bool,
    /// A row asks for removal of whose kind nothing is made.
    idle: bool,
}

impl Rows {
    /// Nothing read yet.
    #[must_use]
    pub fn new(store: Postgres, hints: Arc<Hints>) -> Self {
        let unreadable = Some("the rows were not read yet".to_owned());
        let (known, doomed) = (BTreeMap::new(), BTreeSet::new());
        Self { store, hints, known, doomed, unreadable, changed: None, due: true, idle: false }
    }

    /// What they say.
    #[must_use]
    pub fn reading(&self) -> Reading {
        if let Some(why) = &self.unreadable {
            return Reading::Unreadable(why.clone());
        }
        let doomed = self.doomed.iter().filter_map(|key| Key::parse(key)).collect();
        Reading::Rows(self.known.values().cloned().collect(), Arc::new(doomed))
    }

    /// All that the last change was: these rows changed, or came.
    #[must_use]
    pub fn only_changed(&self) -> Option<&[File]> {
        self.changed.as_deref()
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
            match self.store.rows(since.as_deref()).await {
                Ok(found) => {
                    let was_unknown = self.unreadable.take().is_some();
                    let changed = self.take(found.all, found.rows);
                    self.hints.read_up_to(since.as_deref(), found.upto);
                    self.due = false;
                    self.changed = changed.filter(|_| !was_unknown);
                    if was_unknown || self.changed.as_ref().is_none_or(|changed| !changed.is_empty()) {
                        return;
                    }
                }
                Err(error) => {
                    tokio::time::sleep(AGAIN).await;
                    let why = error.to_string();
                    if self.unreadable.is_none() {
                        tracing::warn!("rows cannot be read, and nothing is removed meanwhile: {why}");
                    }
                    if self.unreadable.replace(why.clone()) != Some(why) {
                        self.changed = None;
                        return;
                    }
                }
            }
        }
    }

    /// Takes over what was read. Answers the rows that changed or came, where nothing else did.
    fn take(&mut self, all: bool, rows: Vec<berth_store::Row>) -> Option<Vec<File>> {
        let mut before = if all { std::mem::take(&mut self.known) } else { BTreeMap::new() };
        let doomed = if all { std::mem::take(&mut self.doomed) } else { self.doomed.clone() };
        let mut is_more = false;
        let mut changed = Vec::new();
        for row in rows {
            let asks = row.manifest.is_none() && row.generation > 0;
            let (key, input) = input(row);
            let Some(input) = input else {
                is_more |= self.known.remove(&key).or_else(|| before.remove(&key)).is_some();
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
            match old.filter(|old| *old == file) {
                Some(old) => file = old,
                None => changed.push(file.clone()),
            }
            self.known.insert(key, file);
        }
        is_more |= !before.is_empty() || self.doomed != doomed;
        (!is_more).then_some(changed)
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
