//! What the status API serves, whoever leads: the engine's word while this daemon leads, else what the store has.

use crate::app::App;
use crate::state::AnyStore;
use berth_api::{Fleet, Hold, Lead};
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_model::record::StackStatus;
use berth_ports::{Answer, PortError, Query, Store};
use berth_store::{Held, Leader};
use prometheus::{IntCounter, Registry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::broadcast;

/// Events that a slow reader may be behind.
const BEHIND: usize = 1_024;

enum Role {
    Leads(Arc<App>, Held),
    StandsBy(Leader),
    /// The database does not answer: why.
    CutOff(String),
}

/// The front of a daemon that takes turns with others.
pub struct Front {
    store: AnyStore,
    role: Mutex<Role>,
    events: broadcast::Sender<Event>,
    standing_by: Registry,
    /// Shown whoever leads.
    turns: Registry,
    lost: IntCounter,
}

impl Front {
    /// Standing by.
    #[must_use]
    pub fn new(store: AnyStore) -> Self {
        let role = Mutex::new(Role::CutOff("the database was not asked yet".to_owned()));
        let (turns, lost) = berth_engine::turns();
        let events = broadcast::channel(BEHIND).0;
        Self { store, role, events, standing_by: berth_engine::standing_by(), turns, lost }
    }

    fn role(&self) -> MutexGuard<'_, Role> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn app(&self) -> Option<Arc<App>> {
        match &*self.role() {
            // One that was stopped for a while may not know yet that its time is over.
            Role::Leads(app, held) if held.may_call() => Some(app.clone()),
            Role::Leads(..) | Role::StandsBy(_) | Role::CutOff(_) => None,
        }
    }

    /// This daemon leads, with this engine.
    pub fn lead(&self, app: &Arc<App>, held: &Held) {
        *self.role() = Role::Leads(app.clone(), held.clone());
        // Who watches goes on watching, whoever leads.
        let (mut from, to) = (app.engine.events(), self.events.clone());
        tokio::spawn(async move {
            use broadcast::error::RecvError;
            loop {
                match from.recv().await {
                    // Nobody may be watching.
                    Ok(event) => drop(to.send(event)),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    /// It does not lead any more.
    pub fn resign(&self) {
        *self.role() = Role::StandsBy(Leader::default());
    }

    /// It did not give its lead up: another one may have it.
    pub fn lost(&self) {
        self.lost.inc();
    }

    /// Another one leads.
    pub fn stands_by(&self, leader: Leader) {
        *self.role() = Role::StandsBy(leader);
    }

    /// Nobody knows who leads.
    pub fn is_cut_off(&self, why: String) {
        *self.role() = Role::CutOff(why);
    }
}

impl Fleet for Front {
    async fn statuses(&self) -> Result<Vec<StackStatus>, PortError> {
        match self.app() {
            Some(app) => app.statuses().await,
            None => match self.store.query(Query::Statuses).await? {
                Answer::Statuses(all) => Ok(all),
                _ => Ok(Vec::new()),
            },
        }
    }
    async fn status(&self, key: &Key) -> Result<Option<StackStatus>, PortError> {
        match self.app() {
            Some(app) => app.status(key).await,
            None => Ok(self.statuses().await?.into_iter().find(|s| s.key == *key)),
        }
    }
    async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, PortError> {
        self.store.events_after(after, limit).await
    }
    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        let why = match &*self.role() {
            Role::Leads(app, held) if held.may_call() => return app.ready(),
            Role::Leads(..) | Role::StandsBy(_) => return Ok(()),
            Role::CutOff(why) => why.clone(),
        };
        Err(vec![why])
    }
    fn alive(&self) -> bool {
        self.app().is_none_or(|app| app.alive())
    }
    fn lead(&self) -> Option<Lead> {
        Some(match &*self.role() {
            Role::Leads(app, held) if held.may_call() => {
                Lead { leads: true, leader: None, address: Some(app.config.listen.to_string()) }
            }
            Role::StandsBy(leader) => {
                Lead { leads: false, leader: leader.holder.clone(), address: leader.address.clone() }
            }
            Role::Leads(..) | Role::CutOff(_) => Lead { leads: false, leader: None, address: None },
        })
    }
    fn metrics(&self) -> String {
        match self.app() {
            Some(app) => crate::app::text_of(&[&app.engine.metrics().registry, &self.turns]),
            None => crate::app::text_of(&[&self.standing_by, &self.turns]),
        }
    }
    fn holds(&self) -> Vec<Hold> {
        self.app().map(|app| app.holds()).unwrap_or_default()
    }
}
