//! What all providers have in common: zones, a reading of them, and operations on sets that say what stands there and
//! what is to stand there afterwards.

use crate::raw::{Listing, RawSet, RawValue};
use berth_model::dns::{DnsMark, Fqdn, Put, RecordData, RecordKey, SetChange, Then, Ttl, ZoneFacts};
use berth_ports::{BackendState, PortError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A zone as its provider names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Zone {
    pub(crate) name: Fqdn,
    /// The provider's own key of it.
    pub(crate) key: String,
    pub(crate) facts: Arc<ZoneFacts>,
}

/// What is to be read.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Scope<'a> {
    /// Everything; where that is not to be had, these names.
    All(&'a BTreeSet<Fqdn>),
    /// These names. Who cannot read less than everything reads everything.
    Names(&'a BTreeSet<Fqdn>),
}

/// How a provider takes changes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Manner {
    /// How much goes together in one batch, by what the provider counts; all of it happens or nothing does, or it may
    /// be tried again in parts.
    pub(crate) together: usize,
    /// One writer for all zones of the credential.
    pub(crate) serial: bool,
    /// Says yes before it is so.
    pub(crate) lags: bool,
    /// Writes over whatever stands there: then nothing is written on the strength of one look alone.
    pub(crate) blind: bool,
}

/// A change of the sets at one name, with what stands there.
#[derive(Debug)]
pub(crate) struct Op<'a> {
    pub(crate) sets: Vec<SetOp<'a>>,
}

/// A change of one set.
#[derive(Debug)]
pub(crate) struct SetOp<'a> {
    pub(crate) key: RecordKey,
    pub(crate) before: RawSet,
    pub(crate) change: &'a SetChange,
    /// The TXT record that carries the mark, where marks stand in one.
    pub(crate) companion: Option<Companion>,
}

/// The TXT record that carries a mark.
#[derive(Debug)]
pub(crate) struct Companion {
    pub(crate) key: RecordKey,
    pub(crate) before: RawSet,
}

impl Companion {
    /// Whether this text stands there already, alone.
    pub(crate) fn is(&self, mark: &DnsMark) -> bool {
        matches!(self.before.values.as_slice(), [one] if one.live() == Some(&Self::data(mark)))
    }

    /// The mark as a value.
    pub(crate) fn data(mark: &DnsMark) -> RecordData {
        RecordData::Txt(mark.to_string().as_bytes().into())
    }
}

impl SetOp<'_> {
    /// What is put, if anything.
    pub(crate) fn put(&self) -> Option<&Put> {
        match &self.change.then {
            Then::Put(put) => Some(put),
            Then::Remove { .. } => None,
        }
    }

    pub(crate) fn mark(&self) -> Option<&DnsMark> {
        self.put().map(|p| &p.mark)
    }

    fn is_put(&self, data: &RecordData) -> bool {
        self.put().is_some_and(|p| p.values.contains(data))
    }

    /// Values that are put and stand there already.
    pub(crate) fn same(&self) -> impl Iterator<Item = &RawValue> {
        self.before.values.iter().filter(|v| v.live().is_some_and(|d| self.is_put(d)))
    }

    /// Values of ours that go.
    pub(crate) fn gone(&self) -> impl Iterator<Item = &RawValue> {
        self.before
            .values
            .iter()
            .filter(|v| v.live().is_some_and(|d| self.change.ours.contains(d) && !self.is_put(d)))
    }

    /// Others' values.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &RawValue> {
        self.before
            .values
            .iter()
            .filter(|v| v.live().is_none_or(|d| !self.is_put(d) && !self.change.ours.contains(d)))
    }

    /// Values that come.
    pub(crate) fn coming(&self) -> impl Iterator<Item = &RecordData> {
        let there = |data: &RecordData| self.before.values.iter().any(|v| v.live() == Some(data));
        self.put().into_iter().flat_map(|p| &p.values).filter(move |d| !there(d))
    }

    /// Whether values or others' values stand there afterwards.
    pub(crate) fn leaves_something(&self) -> bool {
        self.put().is_some() || self.kept().next().is_some()
    }

    /// The lifetime afterwards; `default` for a set that is new and left to the zone. Of a set that others share it
    /// stays as it is.
    pub(crate) fn ttl(&self, default: Ttl) -> Ttl {
        let there = self.before.ttl();
        match self.put().map(|p| p.ttl) {
            Some(Ttl::Seconds(s)) if self.kept().next().is_none() => Ttl::Seconds(s),
            _ => there.unwrap_or(match self.put().map(|p| p.ttl) {
                Some(Ttl::Seconds(s)) => Ttl::Seconds(s),
                _ => default,
            }),
        }
    }
}

/// One account of a provider.
pub(crate) trait Provider: Send + Sync + 'static {
    /// All zones that it reaches.
    fn zones(&self) -> impl Future<Output = Result<Vec<Zone>, PortError>> + Send;
    /// A look at one.
    fn read(&self, zone: &Zone, scope: Scope<'_>) -> impl Future<Output = Result<Listing, PortError>> + Send;
    /// Changes of one zone, at most as many as go together. `Refused` and `Conflict` mean that trying them in parts
    /// makes sense.
    fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> impl Future<Output = Result<(), PortError>> + Send;
    fn manner(&self) -> Manner;
    /// How much of a batch a change takes at most. Names are counted, where nothing else is said.
    fn weight(&self, _op: &Op<'_>) -> usize {
        1
    }
    /// How the account stands.
    fn state(&self) -> BackendState;
}
