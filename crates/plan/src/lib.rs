//! The planner: desired and observed state in, a [`Plan`](berth_model::step::Plan) that says everything out.
//!
//! Pure, total, deterministic: no IO, no clock, no randomness; the time comes in with [`Policy`]. The text that
//! `berth plan` prints and the steps that the daemon takes are the same value.

mod app;
mod children;
mod compile;
mod diff;
pub mod dns;
mod gate;
mod guard;
mod itself;
mod judge;
mod locate;
mod place;
mod project;
mod records;
mod remove;
mod render;
mod runs;

pub use compile::{
    Compiled, Existing, HASH_LABEL, LATER, Secrets, Surroundings, child_digest, compile, display_name,
};
pub use diff::{CONTESTED, fought};
pub use gate::probe_spec;
pub use guard::{Guard, Hold, guard};
pub use itself::{ITSELF_LAST, Itself};
pub use judge::{Expected, Verdict, expect, judge};
pub use place::{environment, idle_environments};
pub use project::{ProjectInput, plan_project};
pub use records::{DnsPolicy, is_public, stands};
pub use render::{Line, lines, render};

use berth_model::condition::{Phase, Reason};
use berth_model::desired::Desired;
use berth_model::hash::{Hash, HashKey};
use berth_model::ids::{AppName, OperationId, Owner, StackName};
use berth_model::observed::Observed;
use berth_model::record::{Intent, IntentTarget, Record};
use berth_model::remote::Read;
use berth_model::step::{Blocked, Learned, Note, Plan, Step};
use berth_model::time::Time;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What a run may assume and must respect.
#[derive(Debug, Clone)]
pub struct Policy<'a> {
    /// The instant of this plan.
    pub now: Time,
    /// Us.
    pub owner: &'a Owner,
    /// For digests in marks.
    pub hash_key: &'a HashKey,
    /// Read everything again, whatever the record says: the judge or the audit called it into question.
    pub verify: bool,
    /// A guard holds this stack: the token that confirms it.
    pub held: Option<String>,
    /// Addresses that are left for new services; `None` where it is not known.
    pub room: Option<u64>,
    /// A `Project` manifest declares the stack's shared project and environment: they will be made, not by the stack.
    pub project_declared: bool,
    /// Ask the registry before a create.
    pub check_registry: bool,
    /// Deploy again though nothing changed, so that a moved tag is taken.
    pub pull: bool,
    /// Versions that are restored instead of what is written: app to the hash that failed.
    pub restoring: BTreeMap<AppName, Hash>,
    /// The app of this stack that the daemon itself runs as, if it is one.
    pub itself: Option<Itself>,
    /// DNS, where a credential is set.
    pub dns: Option<DnsPolicy<'a>>,
    /// Operation ids for creates of this plan come from here, one for each target.
    pub settle: Duration,
}

/// Input of a stack's plan.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// Which stack.
    pub stack: &'a StackName,
    /// What is wanted; `None`: it is to go.
    pub desired: Option<&'a Desired>,
    /// What compiling found in the way.
    pub compile_blocked: &'a [Blocked],
    /// The project's variables or ids are needed to compile.
    pub needs_project: bool,
    /// What is remembered.
    pub record: &'a Record,
    /// Open creates of this stack.
    pub intents: &'a [Intent],
    /// What was seen.
    pub observed: &'a Observed,
}

/// Plans one stack.
#[must_use]
pub fn plan(input: Input<'_>, policy: &Policy<'_>) -> Plan {
    let mut planner =
        Planner { input, policy, plan: Plan::default(), withheld: BTreeSet::new(), is_unsure: false };
    match input.desired {
        Some(desired) => planner.keep(desired),
        None => planner.remove_stack(),
    }
    planner.finish()
}

/// The plan under construction.
pub(crate) struct Planner<'a> {
    pub(crate) input: Input<'a>,
    pub(crate) policy: &'a Policy<'a>,
    pub(crate) plan: Plan,
    /// Hosts under which nothing new is exposed for now.
    pub(crate) withheld: BTreeSet<String>,
    /// Not all zones could be looked at: nothing that was known of records is forgotten.
    pub(crate) is_unsure: bool,
}

/// How an open create stands.
pub(crate) enum Open<'a> {
    /// There is none.
    No,
    /// It may still take effect: nothing is concluded from not finding it.
    Unsettled(&'a Intent),
    /// Its deadline passed: what is not there now will not come.
    Settled,
}

impl<'a> Planner<'a> {
    pub(crate) fn block(&mut self, what: impl Into<String>, reason: Reason, message: impl Into<String>) {
        let (what, message) = (what.into(), message.into());
        if !self.plan.blocked.iter().any(|b| b.what == what && b.reason == reason) {
            self.plan.blocked.push(Blocked { what, reason, message });
        }
    }

    pub(crate) fn note(&mut self, what: impl Into<String>, reason: Reason, message: impl Into<String>) {
        self.plan.notes.push(Note { what: what.into(), reason, message: message.into() });
    }

    pub(crate) fn step(&mut self, step: Step) {
        self.plan.steps.push(step);
    }

    pub(crate) fn learn(&mut self, learned: Learned) {
        self.plan.learned.push(learned);
    }

    /// Asks for a fact, once.
    pub(crate) fn look(&mut self, read: Read) {
        let step = Step::Look(read);
        if !self.plan.steps.contains(&step) {
            self.plan.steps.push(step);
        }
    }

    /// A guard holds the stack: nothing is done, and nothing is concluded from what was not seen.
    pub(crate) fn is_held(&mut self) -> bool {
        let Some(token) = &self.policy.held else {
            return false;
        };
        let message = format!(
            "this pass would remove or make again too many stacks at once; if that is meant, run: berth confirm {token}"
        );
        self.block("stack", Reason::Held, message);
        true
    }

    /// Something is under way: look again no later than `after`.
    pub(crate) fn wait(&mut self, after: Duration, why: impl Into<String>) {
        if self.plan.wait.as_ref().is_none_or(|(d, _)| after < *d) {
            self.plan.wait = Some((after, why.into()));
        }
    }

    pub(crate) fn phase(&mut self, phase: Phase) {
        if self.plan.phase.is_none_or(|p| phase < p) {
            self.plan.phase = Some(phase);
        }
    }

    /// The open create of this target.
    pub(crate) fn open(&self, target: &IntentTarget) -> Open<'a> {
        match self.input.intents.iter().find(|i| i.target == *target) {
            None => Open::No,
            Some(i) if self.policy.now < i.settle_by => Open::Unsettled(i),
            Some(_) => Open::Settled,
        }
    }

    /// Blocks until an open create has settled.
    pub(crate) fn unsettled(&mut self, what: String, intent: &Intent) {
        let left = intent.settle_by.since(self.policy.now);
        self.block(
            what,
            Reason::Unknown,
            format!(
                "a create was sent and not answered; it is looked for until {} from now before it is repeated",
                berth_model::units::show_duration(left)
            ),
        );
        // A late effect shows in the list: look now and then, not only at the end.
        self.wait(left.min(Duration::from_secs(10)), "an unanswered create settles");
    }

    /// The operation under which an object was or will be made: an open intent's, so that a repeat carries the same.
    pub(crate) fn op_of(&self, target: &IntentTarget) -> Option<OperationId> {
        self.input.intents.iter().find(|i| i.target == *target).map(|i| i.op.clone())
    }

    fn finish(mut self) -> Plan {
        // Looks first: the plan is made again with their answers, and what follows them is only a guess until then.
        if self.plan.steps.iter().any(Step::is_read) {
            let (reads, writes): (Vec<_>, Vec<_>) = self.plan.steps.drain(..).partition(Step::is_read);
            self.plan.steps = reads;
            self.plan.steps.extend(writes);
        }
        self.plan
    }
}
