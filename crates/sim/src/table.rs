//! An ordered, indexed table of rows: what a database table is to this world.
//! It must never hand out a mutable row without re-indexing it afterwards.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A row knows its primary key and, when it has one, the key of its parent.
pub trait Row: Clone {
    fn id(&self) -> &str;
    fn parent(&self) -> Option<&str>;
}

/// Rows in insertion order. Rows stand behind `Arc`, so a copy of a table (for stale lists) is cheap.
#[derive(Clone, Debug)]
pub struct Table<R> {
    rows: BTreeMap<u64, Arc<R>>,
    by_id: HashMap<String, u64>,
    by_parent: HashMap<String, BTreeSet<u64>>,
    next: u64,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Table { rows: BTreeMap::new(), by_id: HashMap::new(), by_parent: HashMap::new(), next: 0 }
    }
}

impl<R: Row> Table<R> {
    pub fn get(&self, id: &str) -> Option<&R> {
        self.rows.get(self.by_id.get(id)?).map(Arc::as_ref)
    }

    pub fn contains(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    pub fn len(&self) -> usize {
        self.rows.len()
    }

    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// All rows, oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &R> {
        self.rows.values().map(Arc::as_ref)
    }

    /// The rows of one parent, oldest first.
    pub fn of<'a>(&'a self, parent: &str) -> impl DoubleEndedIterator<Item = &'a R> {
        self.by_parent.get(parent).into_iter().flatten().filter_map(|seq| self.rows.get(seq)).map(Arc::as_ref)
    }

    pub fn insert(&mut self, row: R) {
        self.next += 1;
        let seq = self.next;
        self.by_id.insert(row.id().to_owned(), seq);
        if let Some(parent) = row.parent() {
            self.by_parent.entry(parent.to_owned()).or_default().insert(seq);
        }
        self.rows.insert(seq, Arc::new(row));
    }

    pub fn remove(&mut self, id: &str) -> Option<R> {
        let seq = self.by_id.remove(id)?;
        let row = self.rows.remove(&seq)?;
        self.unlink(row.parent(), seq);
        Some(Arc::unwrap_or_clone(row))
    }

    /// Changes one row in place; `None` when there is no such row.
    pub fn update<T>(&mut self, id: &str, change: impl FnOnce(&mut R) -> T) -> Option<T> {
        let seq = *self.by_id.get(id)?;
        let row = Arc::make_mut(self.rows.get_mut(&seq)?);
        let before = row.parent().map(str::to_owned);
        let out = change(row);
        let after = row.parent().map(str::to_owned);
        if before != after {
            self.unlink(before.as_deref(), seq);
            if let Some(parent) = after {
                self.by_parent.entry(parent).or_default().insert(seq);
            }
        }
        Some(out)
    }

    fn unlink(&mut self, parent: Option<&str>, seq: u64) {
        let Some(parent) = parent else { return };
        if let Some(set) = self.by_parent.get_mut(parent) {
            set.remove(&seq);
            if set.is_empty() {
                self.by_parent.remove(parent);
            }
        }
    }
}
