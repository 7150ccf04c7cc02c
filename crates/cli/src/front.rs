//! What the status API serves, whoever leads: the engine's word while this daemon leads, else what the store has.

use crate::app::App;
use crate::state::AnyStore;
use berth_api::{Fleet, Hold, Lead};
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_model::record::StackStatus;
use berth_ports::{Answer, PortError, Query, Store};
use berth_store::{Held, Leader};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Events that a slow reader may be behind.
const BEHIND: usize = 1_024;

/// Between two looks at what another daemon wrote down.
const LOOK: Duration = Duration::from_secs(1);

/// At a first look: so many events, as far as they are younger than so many milliseconds.
const FEW: u32 = 64;
const JUST_NOW: i64 = 2_000;

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
    /// The last event that was passed on, whoever told it.
    passed_on: AtomicU64,
    /// Somebody watches from now on.
    watched: Notify,
}

impl Front {
    /// Standing by.
    #[must_use]
    pub fn new(store: AnyStore) -> Self {
        let role = Mutex::new(Role::CutOff("the database was not asked yet".to_owned()));
        Self { store, role, events: broadcast::channel(BEHIND).0, passed_on: AtomicU64::new(0), watched: Notify::new() }
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
    pub fn lead(self: &Arc<Self>, app: &Arc<App>, held: &Held) {
        // Who watches would pass over a number that it saw already: the state may be an older copy.
        app.engine.number_events_after(self.passed_on.load(Ordering::SeqCst));
        *self.role() = Role::Leads(app.clone(), held.clone());
        // Who watches goes on watching, whoever leads.
        let (mut from, front) = (app.engine.events(), self.clone());
        tokio::spawn(async move {
            use broadcast::error::RecvError;
            loop {
                match from.recv().await {
                    Ok(event) => front.pass_on(event),
                    Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        });
    }

    fn pass_on(&self, event: Event) {
        self.passed_on.fetch_max(event.id, Ordering::SeqCst);
        // Nobody may be watching.
        drop(self.events.send(event));
    }

    /// Passes on what another daemon writes down, while this one does not lead and somebody watches.
    pub async fn relay(&self, stop: CancellationToken) {
        // The last event that whoever watches was told of.
        let mut last = None;
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
                // Soon: what is written down until the first look is told by its time only.
                () = self.watched.notified(), if last.is_none() => {}
            }
            if self.events.receiver_count() == 0 {
                last = None;
                continue;
            }
            if self.app().is_some() {
                last = Some(self.passed_on.load(Ordering::SeqCst)).filter(|last| *last > 0);
                continue;
            }
            let (after, limit) = last.map_or((0, FEW), |last| (last, BEHIND as u32));
            // Where it cannot be read, the daemon's readiness says so.
            let Ok(events) = self.store.events_after(after, limit).await else { continue };
            let newest = events.last().map(|event| event.id);
            let since = crate::out::now().0 - JUST_NOW;
            let fresh = events.into_iter().filter(|event| last.is_some() || event.at.0 >= since);
            fresh.for_each(|event| self.pass_on(event));
            last = newest.or(last).or(Some(0));
        }
    }

    /// It does not lead any more.
    pub fn resign(&self) {
        *self.role() = Role::StandsBy(Leader::default());
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
        let events = self.events.subscribe();
        self.watched.notify_one();
        events
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        let why = match &*self.role() {
            Role::Leads(app, held) if held.may_call() => return app.ready(),
            Role::Leads(..) | Role::StandsBy(_) => return Ok(()),
            Role::CutOff(why) => why.clone(),
        };
        Err(vec![why])
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
        let up = !matches!(&*self.role(), Role::CutOff(_));
        self.app().map_or_else(|| crate::app::text_of(&berth_engine::standing_by(up)), |app| app.metrics())
    }
    fn holds(&self) -> Vec<Hold> {
        self.app().map(|app| app.holds()).unwrap_or_default()
    }
}
