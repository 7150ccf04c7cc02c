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
use prometheus::Registry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::broadcast;

/// How often a stream of events shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Events that a slow reader may be behind.
const BEHIND: usize = 1_024;

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
    standing_by: Registry,
}

impl Front {
    /// Of one of several daemons: standing by.
    #[must_use]
    pub fn new(config: Config, store: AnyStore) -> Self {
        Self::of(config, store, Role::CutOff("the database was not asked yet".to_owned()))
    }

    /// Of the only daemon.
    #[must_use]
    pub fn alone(app: Arc<App>) -> Self {
        let front = Self::of(app.config.clone(), app.store.clone(), Role::Alone(app.clone()));
        front.pass_on(&app);
        front
    }

    fn of(config: Config, store: AnyStore, role: Role) -> Self {
        let portal = Portal::new(config, store.clone());
        let (events, standing_by) = (broadcast::channel(BEHIND).0, berth_engine::standing_by());
        Self { store, portal, role: Mutex::new(role), events, standing_by }
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
    pub fn lead(&self, app: &Arc<App>, held: &Held) {
        *self.role() = Role::Leads(app.clone(), held.clone());
        self.pass_on(app);
    }

    /// Who watches goes on watching, whoever leads.
    fn pass_on(&self, app: &App) {
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
        self.events.subscribe()
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
        match self.app() {
            Some(app) => crate::app::text_of(&app.engine.metrics().registry),
            None => crate::app::text_of(&self.standing_by),
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
