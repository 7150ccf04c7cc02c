//! What others may see of the engine: states, plans without acting, whether it has come to rest.

use crate::Engine;
use crate::think::Thought;
use berth_model::ids::{BackendName, Key, StackName};
use berth_model::observed::Observed;
use berth_model::record::{Record, StackStatus};
use berth_model::stack::Stack;
use berth_model::step::{Plan, Step};
use berth_ports::{Pace, PortError, Wanted, World};
use std::collections::BTreeSet;
use std::sync::Arc;

pub use berth_model::event::Event;

/// A plan that nobody carries out.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Of what.
    pub key: Key,
    /// The plan.
    pub plan: Plan,
}

/// What a plan takes as wanted of its key.
#[derive(Debug, Clone)]
pub enum Proposal {
    /// What the sources say.
    AsWanted,
    /// This stack.
    Stack(Arc<Stack>),
    /// That it goes.
    Nothing,
}

/// What a guard holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct HoldView {
    /// In which account.
    pub backend: BackendName,
    /// Confirms it.
    pub token: String,
    /// Stacks that would be removed.
    pub removing: BTreeSet<StackName>,
    /// Stacks that would be made again.
    pub recreating: BTreeSet<StackName>,
}

impl<W: World> Engine<W> {
    /// All published states, by key.
    #[must_use]
    pub fn statuses(&self) -> Vec<StackStatus> {
        self.state().statuses.values().map(|s| (**s).clone()).collect()
    }

    /// One published state.
    #[must_use]
    pub fn status_of(&self, key: &Key) -> Option<StackStatus> {
        self.state().statuses.get(key).map(|s| (**s).clone())
    }

    /// What the sources say is wanted.
    #[must_use]
    pub fn wanted(&self) -> Arc<Wanted> {
        self.state().wanted.clone()
    }

    /// The record of a key.
    #[must_use]
    pub fn record(&self, key: &Key) -> Option<Record> {
        self.state().records.get(key).map(|r| (**r).clone())
    }

    /// Events from now on. A reader that falls behind by more than a thousand reads the store.
    #[must_use]
    pub fn events(&self) -> tokio::sync::broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// Events from now on have numbers above this one.
    pub fn number_events_after(&self, number: u64) {
        let mut state = self.state();
        state.last_event = state.last_event.max(number);
    }

    /// What guards hold.
    #[must_use]
    pub fn holds(&self) -> Vec<HoldView> {
        let state = self.state();
        let held = state.accounts.iter().filter_map(|(backend, a)| Some((backend, a.hold.as_ref()?)));
        held.map(|(backend, hold)| HoldView {
            backend: backend.clone(),
            token: hold.token.clone(),
            removing: hold.removing.clone(),
            recreating: hold.recreating.clone(),
        })
        .collect()
    }

    /// What confirms each of the zones that would lose too many records at once.
    #[must_use]
    pub fn zone_tokens(&self) -> Vec<String> {
        self.state().zone_holds().into_iter().map(|hold| hold.token).collect()
    }

    /// Accounts that were not looked at yet, each with what the last attempt said.
    #[must_use]
    pub fn unseen(&self) -> Vec<(BackendName, Option<String>)> {
        let state = self.state();
        let unseen = state.accounts.iter().filter(|(_, a)| a.view.is_none());
        unseen.map(|(backend, a)| (backend.clone(), a.trouble.as_ref().map(|t| t.1.clone()))).collect()
    }

    /// Every key that is wanted or remembered.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Key> {
        let state = self.state();
        let stacks = state.wanted.stacks.keys().map(|n| Key::Stack(n.clone()));
        let projects = state.wanted.projects.keys().map(|n| Key::Project(n.clone()));
        projects.chain(stacks).chain(state.records.keys().cloned()).collect()
    }

    /// Nothing runs and nothing waits for a run (timers may be set).
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.state().queues.values().all(crate::queue::Queue::is_idle)
    }

    /// Everything wanted was judged at its generation and is Ready or cannot be without a person, and nothing that
    /// is not wanted is left.
    #[must_use]
    pub fn at_rest(&self) -> bool {
        use berth_model::condition::ConditionType;
        let keys = self.keys();
        let state = self.state();
        let settled = |key: &Key| {
            state.statuses.get(key).is_some_and(|s| {
                let generation = state.records.get(key).map_or(0, |r| r.generation);
                s.observed_generation == generation
                    && (s.is_ready() || s.condition(ConditionType::Stalled).is_some())
            })
        };
        let resting = keys.iter().all(|k| {
            settled(k)
                && (state.is_wanted(k)
                    || state.statuses.get(k).is_some_and(|s| s.condition(ConditionType::Stalled).is_some()))
        });
        resting && state.unjudged.is_empty() && state.accounts.values().all(|a| a.passed)
    }

    /// Keys that no run has judged since they last changed.
    #[must_use]
    pub fn unjudged(&self) -> BTreeSet<Key> {
        self.state().unjudged.clone()
    }

    /// Plans one key with reads only: nothing is written, neither outside nor in the store.
    ///
    /// # Errors
    /// The backend cannot be asked.
    pub async fn plan(&self, key: &Key) -> Result<Planned, PortError> {
        self.plan_if(key, &Proposal::AsWanted).await
    }

    /// Plans one key as if something else were wanted of it.
    ///
    /// # Errors
    /// As [`Engine::plan`].
    pub async fn plan_if(&self, key: &Key, proposal: &Proposal) -> Result<Planned, PortError> {
        let backend = match proposal {
            Proposal::Stack(stack) => Some(stack.target.backend.clone()),
            Proposal::AsWanted | Proposal::Nothing => self.state().backend_of(key),
        };
        let Some(backend) = backend else {
            return Err(PortError::NotFound(format!("{key} is neither wanted nor remembered")));
        };
        let mut observed = Observed { fleet: Some(self.view(&backend, key).await?), ..Observed::default() };
        let known = self.record(key);
        let mut record =
            known.unwrap_or_else(|| Record { backend: Some(backend.clone()), ..Record::default() });
        loop {
            let before = record.clone();
            let Thought { plan, desired } =
                self.think(key, proposal, &mut record, &mut observed, true).await?;
            // In memory only: what was learned makes the next plan of this look.
            let _ = self.learned(key, &mut record, desired.as_ref(), &plan, false);
            let looks = plan.steps.iter().any(Step::is_read);
            if looks {
                self.observe(&backend, &plan, &mut observed, Pace::Run).await?;
            } else if record == before {
                return Ok(Planned { key: key.clone(), plan });
            }
        }
    }
}
