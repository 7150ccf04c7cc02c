//! The book of calls: their numbers, what was asked, which fault hits which of them.
//! It must never decide what a fault does: that is the simulator's whose book it is.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::fault::{CallNo, CallRecord, Chaos, Fault, Rule};
use crate::rng::Rng;

/// What a call is about, as far as the book needs to know.
#[derive(Clone, Debug, Default)]
pub(crate) struct Subject {
    pub key: String,
    pub procedure: String,
    pub zone: Option<String>,
    pub summary: String,
    pub mutation: bool,
    pub items: usize,
}

#[derive(Default)]
pub(crate) struct Ledger {
    pub count: u64,
    pub calls: Vec<CallRecord>,
    pub latency: Duration,
    planned: BTreeMap<u64, Fault>,
    rules: Vec<(Rule, Rng)>,
    chaos: Option<(Chaos, Rng)>,
}

impl Ledger {
    /// Enters a call and tells its number and its fault. A planned fault comes before a rule, a rule before chaos.
    pub(crate) fn enter(&mut self, at: Duration, subject: Subject) -> (u64, Option<Fault>) {
        self.count += 1;
        let no = self.count;
        let fault = self.planned.remove(&no);
        let fault = fault.or_else(|| self.rules.iter_mut().find_map(|(rule, rng)| rule.draw(rng, &subject)));
        let drawn = self.chaos.as_mut().and_then(|(chaos, rng)| chaos.draw(rng, subject.mutation));
        let fault = fault.or(drawn);
        self.calls.push(CallRecord {
            no,
            at,
            key: subject.key,
            procedure: subject.procedure,
            zone: subject.zone,
            summary: subject.summary,
            mutation: subject.mutation,
            items: subject.items,
            status: None,
            fault: fault.as_ref().map(Fault::name),
            bytes: 0,
        });
        (no, fault)
    }

    pub(crate) fn answered(&mut self, no: u64, status: u16, bytes: usize) {
        let at = self.calls.binary_search_by_key(&no, |c| c.no);
        if let Some(record) = at.ok().and_then(|at| self.calls.get_mut(at)) {
            record.status = Some(status);
            record.bytes = bytes;
        }
    }

    pub(crate) fn plan(&mut self, at: CallNo, fault: Fault) {
        let no = match at {
            CallNo::Next(n) => self.count + n,
            CallNo::At(n) => n,
        };
        self.planned.insert(no, fault);
    }

    pub(crate) fn set_chaos(&mut self, chaos: Option<Chaos>) {
        self.chaos = chaos.map(|chaos| {
            let rng = Rng::new(chaos.seed);
            (chaos, rng)
        });
    }

    pub(crate) fn set_rules(&mut self, rules: Vec<Rule>, seed: u64) {
        let rng = |at: usize| Rng::new(seed.wrapping_add(at as u64).wrapping_mul(0x9E37_79B9));
        self.rules = rules.into_iter().enumerate().map(|(at, rule)| (rule, rng(at))).collect();
    }
}
