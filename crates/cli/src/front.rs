//! What the API serves, whoever leads: the engine's word while this daemon leads, else what the store has. What is asked
//! for goes into the store, from any daemon.

use crate::app::App;
use crate::portal::{self, Portal};
use crate::state::AnyStore;
use berth_api::{Fleet, Hold, Lead, NameState, Options, Plan, Proposal, SecretOf, TlsFiles};
use berth_model::Secret;
use berth_model::access::{Audit, Token, TokenHash};
use berth_model::config::Config;
use berth_model::event::{Event, Request};
use berth_model::ids::{AppName, Key, StackName};
use berth_model::record::StackStatus;
use berth_ports::{
    Answer, Asked, Change, Draft, Expect, Fault, PortError, Put, Query, Refused, SecretRow, Store,
};
use berth_store::{Held, Leader};
use prometheus::{IntCounter, Registry};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often a stream of events shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Events that a slow reader may be behind.
const BEHIND: usize = 1_024;

/// Between two looks at what another daemon wrote down.
const LOOK: Duration = Duration::from_secs(1);

/// At a first look: so many events, as far as they are younger than so many milliseconds.
const FEW: u32 = 64;
const JUST_NOW: i64 = 2_000;

/// The API's document, with the manifest language's schema in it.
#[must_use]
pub fn document() -> &'static str {
    berth_api::with_spec(&berth_manifest::schema(berth_manifest::SchemaKind::StackSpec))
}

/// How the API is served by these settings.
#[must_use]
pub fn served(config: &Config) -> (Options, Option<TlsFiles>) {
    let _ = document();
    let options = Options {
        anonymous: config.api.anonymous,
        per_second: config.api.per_second,
        clock: crate::out::now,
        random: berth_vault::random,
        heartbeat: HEARTBEAT,
    };
    let tls = config.api.tls.as_ref();
    (options, tls.map(|t| TlsFiles { certificate: t.certificate.clone(), key: t.key.clone() }))
}

enum Role {
    /// Nobody else can lead.
    Alone(Arc<App>),
    Leads(Arc<App>, Held),
    StandsBy(Leader),
    /// The database does not answer: why.
    CutOff(String),
}

/// The front of a daemon.
pub struct Front {
    store: AnyStore,
    portal: Portal,
    role: Mutex<Role>,
    events: broadcast::Sender<Event>,
    /// The last event that was passed on, whoever told it.
    passed_on: AtomicU64,
    /// Somebody watches from now on.
    watched: Notify,
    /// Shown whoever leads.
    turns: Registry,
    lost: IntCounter,
}

impl Front {
    /// Of one of several daemons: standing by.
    #[must_use]
    pub fn new(config: Config, store: AnyStore) -> Self {
        Self::of(config, store, Role::CutOff("the database was not asked yet".to_owned()))
    }

    /// Of the only daemon.
    #[must_use]
    pub fn alone(app: Arc<App>) -> Arc<Self> {
        let front = Arc::new(Self::of(app.config.clone(), app.store.clone(), Role::Alone(app.clone())));
        front.follow(&app);
        front
    }

    fn of(config: Config, store: AnyStore, role: Role) -> Self {
        let (portal, events) = (Portal::new(config, store.clone()), broadcast::channel(BEHIND).0);
        let (passed_on, watched) = (AtomicU64::new(0), Notify::new());
        let (turns, lost) = berth_engine::turns();
        Self { store, portal, role: Mutex::new(role), events, passed_on, watched, turns, lost }
    }

    fn role(&self) -> MutexGuard<'_, Role> {
        self.role.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn app(&self) -> Option<Arc<App>> {
        match &*self.role() {
            Role::Alone(app) => Some(app.clone()),
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
        self.follow(app);
    }

    /// Who watches goes on watching, whoever leads.
    fn follow(self: &Arc<Self>, app: &App) {
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
            Some(app) => Ok(app.engine.statuses()),
            None => match self.store.query(Query::Statuses).await? {
                Answer::Statuses(all) => Ok(all),
                _ => Ok(Vec::new()),
            },
        }
    }
    async fn status(&self, key: &Key) -> Result<Option<StackStatus>, PortError> {
        match self.app() {
            Some(app) => Ok(app.engine.status_of(key)),
            None => match self.store.query(Query::Status(key.clone())).await? {
                Answer::Statuses(mut found) => Ok(found.pop()),
                _ => Ok(None),
            },
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
            Role::Alone(app) => return app.ready(),
            Role::Leads(app, held) if held.may_call() => return app.ready(),
            Role::Leads(..) | Role::StandsBy(_) => return Ok(()),
            Role::CutOff(why) => why.clone(),
        };
        Err(vec![why])
    }
    fn alive(&self) -> bool {
        self.app().is_none_or(|app| app.engine.is_alive())
    }
    fn lead(&self) -> Option<Lead> {
        Some(match &*self.role() {
            Role::Alone(_) => return None,
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
        let alone = matches!(&*self.role(), Role::Alone(_));
        match self.app() {
            Some(app) if alone => crate::app::text_of(&[&app.engine.metrics().registry]),
            Some(app) => crate::app::text_of(&[&app.engine.metrics().registry, &self.turns]),
            None => crate::app::text_of(&[&berth_engine::standing_by(up), &self.turns]),
        }
    }
    fn holds(&self) -> Vec<Hold> {
        self.app().map(|app| app.holds()).unwrap_or_default()
    }

    async fn token(&self, hash: TokenHash) -> Result<Option<Token>, PortError> {
        match self.store.query(Query::Token(hash)).await? {
            Answer::Tokens(mut found) => Ok(found.pop()),
            _ => Ok(None),
        }
    }
    async fn tokens(&self) -> Result<Vec<Token>, PortError> {
        self.store.tokens().await
    }
    async fn make_token(&self, token: Token, trace: Audit) -> Result<(), PortError> {
        self.store.commit(vec![Change::Token(token), Change::Audit(trace)]).await
    }
    async fn revoke_token(&self, name: String, trace: Audit) -> Result<(), PortError> {
        self.store.commit(vec![Change::RevokeToken(name), Change::Audit(trace)]).await
    }
    async fn ask(&self, request: Request, trace: Audit) -> Result<(), PortError> {
        let at = trace.at;
        self.store.commit(vec![Change::Request { at, request }, Change::Audit(trace)]).await
    }
    async fn trace(&self, trace: Audit) -> Result<(), PortError> {
        self.store.commit(vec![Change::Audit(trace)]).await
    }

    async fn secrets(&self, stack: &StackName) -> Result<Vec<SecretRow>, PortError> {
        self.portal.secrets(stack).await
    }
    async fn give_secret(&self, of: &SecretOf, value: Secret, trace: Audit) -> Result<u32, PortError> {
        self.portal.give_secret(of, &value, trace).await
    }
    async fn remove_secret(&self, of: &SecretOf, trace: Audit) -> Result<(), PortError> {
        self.portal.remove_secret(of, trace).await
    }

    async fn asked(&self, name: &StackName) -> Result<Option<Asked>, PortError> {
        self.portal.asked(name).await
    }
    async fn unjudged(&self) -> Result<Vec<Asked>, PortError> {
        self.portal.unjudged().await
    }
    async fn name(&self, name: &StackName) -> Result<NameState, PortError> {
        let status = self.status(&Key::Stack(name.clone())).await?;
        self.portal.name(name, status.as_ref()).await
    }
    async fn check(&self, draft: &Draft) -> Result<Vec<Fault>, PortError> {
        let resolved = self.portal.resolve(draft).await?;
        Ok(match resolved {
            Err(faults) => faults,
            Ok(stack) => {
                self.app().map(|app| portal::clashes(&stack, &app.engine.wanted())).unwrap_or_default()
            }
        })
    }
    async fn put(&self, who: &str, draft: &Draft, expect: Expect, everybody: bool) -> Result<Put, Refused> {
        let status = self.status(&Key::Stack(draft.name.clone())).await?;
        portal::not_from_file(status.as_ref())?;
        self.portal.rows()?.put_stack(who, draft, expect, everybody).await
    }
    async fn remove(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        expect: Expect,
    ) -> Result<u64, Refused> {
        portal::not_from_file(self.status(&Key::Stack(name.clone())).await?.as_ref())?;
        self.portal.rows()?.remove_stack(who, name, tenant, expect).await
    }
    async fn scale(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        app: &AppName,
        replicas: u32,
        expect: Expect,
    ) -> Result<u64, Refused> {
        portal::not_from_file(self.status(&Key::Stack(name.clone())).await?.as_ref())?;
        self.portal.rows()?.scale_stack(who, name, tenant, app, replicas, expect).await
    }
    async fn plan(&self, proposal: &Proposal) -> Result<Plan, Refused> {
        self.portal.plan(proposal, self.app()).await
    }
    async fn output(
        &self,
        name: &StackName,
        app: &AppName,
        lines: u16,
        since: Option<Duration>,
    ) -> Result<String, Refused> {
        self.portal.output(name, app, lines, since).await
    }
}
