//! What one stack wrote into DNS, as whoever runs the changes remembers it. It is announced before a change and settled
//! after it, so that a crash between the two is read as what it was.

use super::change::{Change, SetChange, Then};
use super::data::{RecordData, RecordKey};
use super::zone::ZoneId;
use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// What was written under one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Where.
    pub zone: ZoneId,
    /// Our values, as they were after the last change that is known to have happened.
    pub values: BTreeSet<RecordData>,
    /// Values that stood there before us and were taken over. They are never removed.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub adopted: BTreeSet<RecordData>,
    /// Values that were seen beside ours: others', whatever becomes of ours.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub beside: BTreeSet<RecordData>,
    /// What is about to be written, or may have been; empty where ours are about to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<BTreeSet<RecordData>>,
    /// Until when what was sent and not answered may still take effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settle_by: Option<Time>,
}

impl LedgerEntry {
    /// Of values that stand there.
    #[must_use]
    pub fn of(zone: &ZoneId, values: BTreeSet<RecordData>) -> Self {
        Self {
            zone: zone.clone(),
            values,
            adopted: BTreeSet::new(),
            beside: BTreeSet::new(),
            pending: None,
            settle_by: None,
        }
    }

    /// Whether we wrote this value, or may have.
    #[must_use]
    pub fn claims(&self, value: &RecordData) -> bool {
        self.values.contains(value) || self.pending.as_ref().is_some_and(|p| p.contains(value))
    }
}

/// What one stack wrote.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ledger(pub BTreeMap<RecordKey, LedgerEntry>);

impl Ledger {
    /// Nothing was written.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What was written under a key.
    #[must_use]
    pub fn get(&self, key: &RecordKey) -> Option<&LedgerEntry> {
        self.0.get(key)
    }

    /// To be kept before the change is sent.
    pub fn announce(&mut self, zone: &ZoneId, change: &Change) {
        for (key, set) in change.keys().zip(change.sets.values()) {
            let Then::Put(put) = &set.then else {
                // From here on, what stands there without a mark may be somebody else's.
                if let Some(entry) = self.0.get_mut(&key) {
                    entry.pending = Some(BTreeSet::new());
                }
                continue;
            };
            let entry = self.0.entry(key).or_insert_with(|| LedgerEntry::of(zone, BTreeSet::new()));
            entry.zone = zone.clone();
            entry.adopted.extend(stood(set, &put.values));
            entry.beside = set.kept().filter(|v| !put.values.contains(*v)).cloned().collect();
            entry.pending = Some(put.values.clone());
        }
    }

    /// What was announced is sent, and may take effect until then. It ends with an answer that says what became of it.
    pub fn open(&mut self, change: &Change, until: Option<Time>) {
        for (key, set) in change.keys().zip(change.sets.values()) {
            if matches!(set.then, Then::Put(_))
                && let Some(entry) = self.0.get_mut(&key)
            {
                entry.settle_by = until;
            }
        }
    }

    /// To be kept after the change is known to have happened.
    pub fn settle(&mut self, zone: &ZoneId, change: &Change) {
        self.announce(zone, change);
        for (key, set) in change.keys().zip(change.sets.values()) {
            match &set.then {
                Then::Put(put) => {
                    if let Some(entry) = self.0.get_mut(&key) {
                        entry.values = put.values.clone();
                        entry.adopted.retain(|v| put.values.contains(v));
                        entry.pending = None;
                        entry.settle_by = None;
                    }
                }
                Then::Remove { .. } => {
                    self.0.remove(&key);
                }
            }
        }
    }
}

/// Values that are put and stood there before without being ours.
fn stood(set: &SetChange, put: &BTreeSet<RecordData>) -> BTreeSet<RecordData> {
    set.kept().filter(|v| put.contains(*v)).cloned().collect()
}
