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

/// All of them in one zone. `known` says whether a stack has a record in its ledger, or wants it.
#[must_use]
pub fn orphans(view: &ZoneView, known: impl Fn(&StackName, &RecordKey) -> bool) -> Vec<Orphan> {
    let mut found = Vec::new();
    for (name, seen) in &view.names {
        for (kind, set) in &seen.sets {
            let key = RecordKey::new(name.clone(), *kind);
            // With marks on values, the values of several stacks may share the set.
            let own = set.values.values().map(|v| &v.mark);
            let marks = own.chain([&set.mark]).filter_map(|m| m.ours());
            let stacks: BTreeSet<_> = marks.map(|m| &m.stack).filter(|stack| !known(stack, &key)).collect();
            found.extend(stacks.into_iter().map(|stack| Orphan { key: key.clone(), stack: stack.clone() }));
        }
    }
    found
}
