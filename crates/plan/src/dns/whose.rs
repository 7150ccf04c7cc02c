//! Whose a seen set is, and which of its values are ours. Where that cannot be told, nothing is ours.

use super::judge::Us;
use super::reasons::Whose;
use berth_model::dns::{
    DnsHash, DnsMark, DnsMarkSeen, LedgerEntry, MarkPlace, RecordData, RecordKey, RecordType, SeenSet,
};
use std::collections::BTreeSet;

/// Sets up to this size are searched for the values that a hash names.
const SEARCHED: usize = 10;

/// How a set stands to us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Nothing is there.
    Nothing,
    /// Our mark, and no record.
    Half(DnsMark),
    /// Some of its values are ours.
    Ours(Owned),
    /// Records without any mark, not known to be ours.
    Unmarked,
    /// Our mark, and nobody knows for which values.
    Unproven,
    /// Another's.
    Taken(Whose),
}

/// What is ours in a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owned {
    /// Values of ours that are there.
    pub(super) values: BTreeSet<RecordData>,
    /// Those among them that stood there before us.
    pub(super) adopted: BTreeSet<RecordData>,
    /// The mark, if it is there. With marks on values: if it is on all of ours.
    pub(super) mark: Option<DnsMark>,
}

/// How `set` stands to us.
pub(super) fn whose(
    key: &RecordKey,
    set: &SeenSet,
    entry: Option<&LedgerEntry>,
    wanted: Option<&BTreeSet<RecordData>>,
    us: &Us<'_>,
    place: MarkPlace,
) -> Standing {
    match &set.mark {
        DnsMarkSeen::Foreign(mark) if !place.per_value() => Standing::Taken(Whose::Owner(mark.clone())),
        DnsMarkSeen::Ours(mark) if !us.is(&mark.stack) && !place.per_value() => {
            Standing::Taken(Whose::Stack(mark.stack.clone()))
        }
        DnsMarkSeen::Ours(mark) if set.is_empty() => Standing::Half(mark.clone()),
        _ if set.is_nothing() => Standing::Nothing,
        _ if place.per_value() => by_value(set, entry, us),
        DnsMarkSeen::Ours(mark) => by_set(key, set, mark, entry, wanted),
        _ => unmarked(set, entry),
    }
}

/// Ours were about to go when last heard of: what stands there without a mark may be somebody else's by now.
fn going(entry: &LedgerEntry) -> bool {
    entry.pending.as_ref().is_some_and(BTreeSet::is_empty)
}

/// Every value says for itself. One that has lost its mark and that we are known to have written is ours still.
fn by_value(set: &SeenSet, entry: Option<&LedgerEntry>, us: &Us<'_>) -> Standing {
    let mut owned = Owned { values: BTreeSet::new(), adopted: BTreeSet::new(), mark: None };
    let mut marks = BTreeSet::new();
    let mut taken = None;
    let mut lost = false;
    for (data, value) in &set.values {
        match &value.mark {
            DnsMarkSeen::Ours(mark) if us.is(&mark.stack) => {
                owned.values.insert(data.clone());
                if mark.adopted {
                    owned.adopted.insert(data.clone());
                }
                marks.insert(mark.to_string());
                owned.mark = Some(mark.clone());
            }
            DnsMarkSeen::Ours(mark) => taken = Some(Whose::Stack(mark.stack.clone())),
            DnsMarkSeen::Foreign(mark) => taken = Some(Whose::Owner(mark.clone())),
            DnsMarkSeen::None if entry.is_some_and(|e| e.values.contains(data) && !going(e)) => {
                owned.values.insert(data.clone());
                lost = true;
            }
            DnsMarkSeen::None => {}
        }
    }
    if lost || marks.len() > 1 {
        owned.mark = None;
    }
    if let Some(entry) = entry {
        owned.adopted.extend(entry.adopted.intersection(&owned.values).cloned());
    }
    match taken {
        _ if !owned.values.is_empty() => Standing::Ours(owned),
        Some(whose) => Standing::Taken(whose),
        None => Standing::Unmarked,
    }
}

/// The set has our mark.
fn by_set(
    key: &RecordKey,
    set: &SeenSet,
    mark: &DnsMark,
    entry: Option<&LedgerEntry>,
    wanted: Option<&BTreeSet<RecordData>>,
) -> Standing {
    let seen = set.data();
    let proven = named(key, &seen, mark.hash, wanted);
    let (values, adopted) = match entry {
        Some(entry) => {
            let claimed = || seen.iter().filter(|v| entry.claims(v)).cloned().collect::<BTreeSet<_>>();
            let mut changed = Vec::new();
            // A mark is written before its values and taken away after them: what it names tells how far a change came.
            let mut values = match proven {
                // The mark is of before the change, or younger than the ledger, as after yesterday's copy of the store.
                Some(proven) if entry.pending.as_ref() != Some(&proven) => proven,
                // The new values are there, and perhaps some of the old ones still.
                Some(_) => claimed(),
                None => {
                    let claimed = claimed();
                    changed = edited(key.kind, &seen, &claimed, entry);
                    claimed
                }
            };
            let mut adopted: BTreeSet<_> = entry.adopted.intersection(&values).cloned().collect();
            if mark.adopted {
                // Taken over, and the ledger does not know them: it is of before.
                adopted.extend(values.difference(&entry.values).cloned());
            }
            if !entry.adopted.is_subset(&seen) {
                adopted.extend(changed.iter().cloned());
            }
            values.extend(changed);
            (values, adopted)
        }
        None => {
            let Some(values) = proven else {
                return Standing::Unproven;
            };
            let adopted = if mark.adopted { values.clone() } else { BTreeSet::new() };
            (values, adopted)
        }
    };
    Standing::Ours(Owned { values, adopted, mark: Some(mark.clone()) })
}

/// Values of ours that were changed by hand: no more of them than are missing, never one that was seen beside ours, and
/// never a text, since texts of all kinds share a set.
fn edited(
    kind: RecordType,
    seen: &BTreeSet<RecordData>,
    ours: &BTreeSet<RecordData>,
    entry: &LedgerEntry,
) -> Vec<RecordData> {
    if kind == RecordType::Cname && ours.is_empty() {
        // There is room for one: where our mark stands and another target, ours was changed.
        return seen.iter().cloned().collect();
    }
    let missing = entry.values.difference(seen).count();
    let extra: Vec<_> = seen.difference(ours).filter(|v| !entry.beside.contains(*v)).cloned().collect();
    let fits = kind != RecordType::Txt && entry.pending.is_none() && extra.len() <= missing;
    if fits { extra } else { Vec::new() }
}

/// The values that the hash in a mark names.
fn named(
    key: &RecordKey,
    seen: &BTreeSet<RecordData>,
    hash: DnsHash,
    wanted: Option<&BTreeSet<RecordData>>,
) -> Option<BTreeSet<RecordData>> {
    if DnsHash::of(key, seen) == hash {
        return Some(seen.clone());
    }
    if let Some(wanted) = wanted.filter(|w| w.is_subset(seen) && DnsHash::of(key, *w) == hash) {
        return Some(wanted.clone());
    }
    if seen.len() > SEARCHED {
        return None;
    }
    let all: Vec<_> = seen.iter().collect();
    let chosen = |bits: u32| all.iter().enumerate().filter(move |(i, _)| bits >> i & 1 == 1).map(|(_, v)| *v);
    let bits = (1..(1u32 << all.len())).find(|bits| DnsHash::of(key, chosen(*bits)) == hash)?;
    Some(chosen(bits).cloned().collect())
}

/// No mark at all. What was announced only does not count: it would have come with its mark.
fn unmarked(set: &SeenSet, entry: Option<&LedgerEntry>) -> Standing {
    let Some(entry) = entry.filter(|e| !e.values.is_empty() && !going(e)) else {
        return Standing::Unmarked;
    };
    let seen = set.data();
    let known: BTreeSet<_> = entry.values.union(&entry.beside).cloned().collect();
    if set.opaque.is_empty() && entry.values.is_subset(&seen) && seen.is_subset(&known) {
        return Standing::Ours(Owned {
            values: entry.values.clone(),
            adopted: entry.adopted.clone(),
            mark: None,
        });
    }
    Standing::Unmarked
}
