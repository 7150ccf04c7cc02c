//! Records with our mark that no ledger knows: what a lost store leaves of stacks that are gone. They are shown and
//! never removed.

use berth_model::dns::{RecordKey, ZoneView};
use berth_model::ids::StackName;
use std::collections::BTreeSet;

/// A set with our mark that nobody remembers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Which.
    pub key: RecordKey,
    /// The stack that its mark names.
    pub stack: StackName,
}

/// All of them in one zone. `known` are the keys of all stacks' ledgers and wanted sets.
#[must_use]
pub fn orphans(view: &ZoneView, known: &BTreeSet<(StackName, RecordKey)>) -> Vec<Orphan> {
    let mut found = Vec::new();
    for (name, seen) in &view.names {
        for (kind, set) in &seen.sets {
            let key = RecordKey::new(name.clone(), *kind);
            // With marks on values, the values of several stacks may share the set.
            let own = set.values.values().map(|v| &v.mark);
            let marks = own.chain([&set.mark]).filter_map(|m| m.ours());
            let stacks: BTreeSet<_> = marks.map(|m| m.stack.clone()).collect();
            let lost = stacks.into_iter().map(|stack| Orphan { key: key.clone(), stack });
            found.extend(lost.filter(|o| !known.contains(&(o.stack.clone(), o.key.clone()))));
        }
    }
    found
}
