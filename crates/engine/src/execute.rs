//! The executor: steps become calls. The only place that changes the outside, and it makes no choices.
//!
//! Before a create an intent is recorded; after it the id. A call that was not answered leaves its intent open.

use crate::Engine;
use crate::state::Place;
use berth_model::condition::Phase;
use berth_model::desired::{Desired, DesiredApp};
use berth_model::dns::Trouble;
use berth_model::field::{Field, text};
use berth_model::ids::{
    AppId, AppName, BackendName, EnvironmentId, Key, OperationId, ProjectId, ServiceName,
};
use berth_model::mark::{self, Mark, MarkSeen, PlaceMark};
use berth_model::observed::{Observed, SeenApp};
use berth_model::record::{Intent, IntentTarget, ProjectRecord, Record, Rollout};
use berth_model::remote::{Write, Written};
use berth_model::step::Step;
use berth_ports::{Change, Platform, PortError, World};

/// What a run carries from step to step.
pub(crate) struct Doing<'a> {
    pub(crate) key: &'a Key,
    pub(crate) backend: &'a BackendName,
    pub(crate) desired: Option<&'a Desired>,
    pub(crate) record: &'a mut Record,
    pub(crate) observed: &'a Observed,
    pub(crate) did: &'a mut Vec<String>,
    /// Made in this run.
    pub(crate) project: Option<ProjectId>,
    pub(crate) environment: Option<EnvironmentId>,
    /// Changes of records that did not go through.
    pub(crate) refused: Vec<(berth_model::dns::Change, Trouble)>,
    /// A record stood otherwise than a look said.
    pub(crate) is_stale: bool,
}

/// Held while a place is made; let go however the run ends.
struct Claim<'a, W: World> {
    engine: &'a Engine<W>,
    /// `None`: one's own place, which nobody else makes.
    place: Option<Place>,
}

impl<W: World> Drop for Claim<'_, W> {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            self.engine.state().making.remove(place);
            self.engine.places.notify_waiters();
        }
    }
}

/// Whether the steps that follow still hold.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Go on.
    Step,
    /// An id came to exist that later steps were planned without: plan again.
    Replan,
}

impl<W: World> Engine<W> {
    /// One call, counted.
    pub(crate) async fn call(&self, doing: &mut Doing<'_>, write: &Write) -> Result<Written, PortError> {
        let Some(platform) = self.parts.platforms.get(doing.backend) else {
            return Err(PortError::Refused { why: format!("no backend '{}'", doing.backend) });
        };
        self.first_call(doing.key);
        let result = platform.write(write).await;
        let outcome = match &result {
            Ok(_) => "ok",
            Err(PortError::Unknown { .. }) => "unknown",
            Err(_) => "failed",
        };
        self.metrics.steps.with_label_values(&[write.verb(), outcome]).inc();
        match &result {
            Ok(_) => doing.did.push(describe(write)),
            Err(error) => doing.did.push(format!("{}: {error}", describe(write))),
        }
        if matches!(result, Err(PortError::Unknown { .. } | PortError::NotFound(_))) {
            // What a look from before this call shows is no longer the truth.
            let now = self.now();
            self.state().transient(doing.key).fresh_after = now;
        }
        result
    }

    pub(crate) fn first_call(&self, key: &Key) {
        let mut state = self.state();
        if let Some(changed) = state.changed.remove(key) {
            self.metrics.first_call.observe(changed.elapsed().as_secs_f64());
            state.first_calls.insert(key.clone(), changed);
        }
    }

    /// Performs one step.
    pub(crate) async fn perform(
        &self,
        doing: &mut Doing<'_>,
        step: &Step,
        last_of_app: bool,
    ) -> Result<Next, PortError> {
        match step {
            Step::Look(_) | Step::LookDns(_) | Step::Probe { .. } | Step::CheckImage { .. } => Ok(Next::Step),
            Step::ChangeRecords { zone, changes } => self.change_records(doing, zone, changes).await,
            Step::CreateProject { name, words } => self.create_project(doing, name, words.as_deref()).await,
            Step::UpdateProject { id, description, env, .. } => {
                let write = Write::UpdateProject {
                    id: id.clone(),
                    description: description.clone(),
                    env: env.clone(),
                };
                self.call(doing, &write).await?;
                let now = self.now();
                self.state().transient(doing.key).fresh_after = now;
                Ok(Next::Replan)
            }
            Step::RemoveProject { id, .. } => {
                self.call(doing, &Write::RemoveProject { id: id.clone() }).await?;
                if doing.record.project.as_ref().is_some_and(|p| p.id.as_ref().is_none_or(|own| own == id)) {
                    doing.record.project = None;
                }
                let now = self.now();
                self.state().transient(doing.key).fresh_after = now;
                self.save(doing, Vec::new()).await?;
                Ok(Next::Replan)
            }
            Step::RemoveEnvironment { project, id, .. } => {
                let write = Write::RemoveEnvironment { project: project.clone(), id: id.clone() };
                self.call(doing, &write).await?;
                if let Some(project) = &mut doing.record.project {
                    project.environments.retain(|_, known| known != id);
                }
                let now = self.now();
                self.state().transient(doing.key).fresh_after = now;
                self.save(doing, Vec::new()).await?;
                Ok(Next::Replan)
            }
            Step::CreateEnvironment { project, name } => {
                let Some(project) = project.clone().or_else(|| doing.project.clone()) else {
                    return Ok(Next::Replan);
                };
                self.create_environment(doing, &project, name).await
            }
            Step::UpdateEnvironment { id, env, .. } => {
                let Some(id) = id.clone() else {
                    return Ok(Next::Replan);
                };
                self.call(doing, &Write::UpdateEnvironment { id, env: env.clone() }).await?;
                Ok(Next::Replan)
            }
            Step::DeleteApp { app, id, duplicate, .. } => {
                self.call(doing, &Write::DeleteApp { id: id.clone() }).await?;
                let now = self.now();
                self.state().transient(doing.key).fresh_after = now;
                if !duplicate {
                    doing.record.apps.entry(app.clone()).or_default().deleted_at = Some(now);
                    self.state().transient(doing.key).overlay.remove(id);
                    self.save(doing, Vec::new()).await?;
                }
                Ok(Next::Replan)
            }
            Step::CreateApp { app, environment, name, service_base } => {
                let Some(environment) = environment.clone().or_else(|| doing.environment.clone()) else {
                    return Ok(Next::Replan);
                };
                self.create_app(doing, app, environment, name, service_base).await
            }
            Step::Deploy { app, hash, restoring, attempt, .. } => {
                self.deploy(doing, app, *hash, *restoring, *attempt).await
            }
            Step::Restart { app, id, service } => self.restart_app(doing, app, id, service).await,
            Step::MoveApp { .. }
            | Step::UpdateApp { .. }
            | Step::CreateChild { .. }
            | Step::UpdateChild { .. }
            | Step::RemoveChild { .. } => self.change_app(doing, step, last_of_app).await,
        }
    }

    /// Writes the record down, with other changes.
    pub(crate) async fn save(&self, doing: &Doing<'_>, mut changes: Vec<Change>) -> Result<(), PortError> {
        changes.push(Change::Record(doing.key.clone(), Box::new(doing.record.clone())));
        self.commit(changes).await
    }

    /// Records a create before it is sent.
    async fn intend(&self, doing: &Doing<'_>, target: IntentTarget) -> Result<Intent, PortError> {
        let now = self.now();
        let open = {
            let state = self.state();
            state.intents.values().find(|i| i.key == *doing.key && i.target == target).cloned()
        };
        let intent = Intent {
            op: open.as_ref().map_or_else(|| self.operation(), |i| i.op.clone()),
            key: doing.key.clone(),
            target,
            attempt: open.map_or(1, |i| i.attempt + 1),
            epoch: 0,
            // Retries inside the call may take about as long again before the last one is sent.
            settle_by: now.after(self.options.settle * 2),
            sent: now,
        };
        self.save(doing, vec![Change::Intent(intent.clone())]).await?;
        Ok(intent)
    }

    /// The right to make a place that others may want to make too. `None` after another made it, or while this run's
    /// look is older than its making: look again.
    async fn claim(&self, doing: &Doing<'_>, target: &IntentTarget) -> Option<Claim<'_, W>> {
        if is_own(doing) {
            return Some(Claim { engine: self, place: None });
        }
        let place = (doing.backend.clone(), target.clone());
        {
            let mut state = self.state();
            let looked = doing.observed.fleet.as_ref().map(|view| view.at);
            let is_known = state.made.get(&place).is_none_or(|made| looked.is_some_and(|at| at > *made));
            if is_known && state.making.insert(place.clone()) {
                return Some(Claim { engine: self, place: Some(place) });
            }
        }
        loop {
            let done = self.places.notified();
            if !self.state().making.contains(&place) {
                break;
            }
            done.await;
        }
        let now = self.now();
        self.state().transient(doing.key).fresh_after = now;
        None
    }

    /// A place was made: looks from before do not show it.
    fn made(&self, doing: &Doing<'_>, claim: Claim<'_, W>) {
        let now = self.now();
        let mut state = self.state();
        state.transient(doing.key).fresh_after = now;
        if let Some(place) = &claim.place {
            state.made.insert(place.clone(), now);
        }
        // Whoever waits for it takes the state's lock.
        drop(state);
        drop(claim);
    }

    /// A create without an answer: from now on it may take this long to show. Without an effect: it is over.
    async fn failed_create(&self, doing: &Doing<'_>, intent: Intent, error: PortError) -> PortError {
        let change = if matches!(error, PortError::Unknown { .. }) {
            Change::Intent(Intent { settle_by: self.now().after(self.options.settle), ..intent })
        } else {
            Change::Settled(intent.op)
        };
        match self.save(doing, vec![change]).await {
            Ok(()) => error,
            Err(store) => store,
        }
    }

    fn operation(&self) -> OperationId {
        const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let mut bits = u128::from(self.roll()) << 64 | u128::from(self.roll());
        let mut text = String::with_capacity(16);
        for _ in 0..16 {
            text.push(char::from(DIGITS[usize::try_from(bits & 31).unwrap_or(0)]));
            bits >>= 5;
        }
        text.into()
    }

    fn place_mark(&self, doing: &Doing<'_>, op: &OperationId) -> PlaceMark {
        // Only a project of its own goes with a stack; a shared one that it may make belongs to nobody in particular.
        let stack = match doing.key {
            Key::Stack(name) if is_own(doing) => Some(name.clone()),
            _ => None,
        };
        PlaceMark { owner: self.options.owner.clone(), stack, op: op.clone() }
    }

    async fn create_project(
        &self,
        doing: &mut Doing<'_>,
        name: &str,
        words: Option<&str>,
    ) -> Result<Next, PortError> {
        let target = IntentTarget::Project { name: name.to_owned() };
        let Some(claim) = self.claim(doing, &target).await else {
            return Ok(Next::Replan);
        };
        let intent = self.intend(doing, target).await?;
        let mark = self.place_mark(doing, &intent.op).to_string();
        let write = Write::CreateProject { name: name.into(), description: mark::with_line(words, &mark) };
        match self.call(doing, &write).await {
            Ok(Written::Project { project, environment }) => {
                if is_own(doing) {
                    doing.record.project = Some(ProjectRecord {
                        id: Some(project.clone()),
                        op: intent.op.clone(),
                        environments: [("production".to_owned(), environment.clone())].into(),
                    });
                }
                doing.project = Some(project);
                doing.environment = Some(environment);
                self.made(doing, claim);
                self.save(doing, vec![Change::Settled(intent.op)]).await?;
                Ok(Next::Replan)
            }
            Ok(_) => Err(PortError::Unknown { why: "project.create answered something else".to_owned() }),
            Err(error) => Err(self.failed_create(doing, intent, error).await),
        }
    }

    async fn create_environment(
        &self,
        doing: &mut Doing<'_>,
        project: &ProjectId,
        name: &str,
    ) -> Result<Next, PortError> {
        let target = IntentTarget::Environment { project: project.clone(), name: name.to_owned() };
        let Some(claim) = self.claim(doing, &target).await else {
            return Ok(Next::Replan);
        };
        let intent = self.intend(doing, target).await?;
        let write = Write::CreateEnvironment {
            project: project.clone(),
            name: name.into(),
            // Found again by its name, which is unique to its project where Berth makes it.
            description: mark::OUR_ENVIRONMENT.to_owned(),
        };
        match self.call(doing, &write).await {
            Ok(Written::Environment(id)) => {
                if let Some(project) = &mut doing.record.project {
                    project.environments.insert(name.to_owned(), id.clone());
                }
                doing.environment = Some(id);
                self.made(doing, claim);
                self.save(doing, vec![Change::Settled(intent.op)]).await?;
                Ok(Next::Replan)
            }
            Ok(_) => Err(PortError::Unknown { why: "environment.create answered something else".to_owned() }),
            Err(error) => Err(self.failed_create(doing, intent, error).await),
        }
    }

    async fn create_app(
        &self,
        doing: &mut Doing<'_>,
        app: &AppName,
        environment: EnvironmentId,
        name: &str,
        service_base: &str,
    ) -> Result<Next, PortError> {
        let Some(desired) = doing.desired else {
            return Ok(Next::Replan);
        };
        let intent = self.intend(doing, IntentTarget::App { app: app.clone() }).await?;
        let mark = Mark {
            owner: self.options.owner.clone(),
            stack: desired.stack.clone(),
            app: app.clone(),
            op: intent.op.clone(),
            id: None,
            hash: None,
            children: Vec::new(),
            pending: Vec::new(),
            quarantined: None,
            secrets: Default::default(),
            adopted: false,
        };
        let write = Write::CreateApp {
            environment: environment.clone(),
            name: name.into(),
            service_base: service_base.to_owned(),
            description: mark.to_string(),
        };
        match self.call(doing, &write).await {
            Ok(Written::App { id, service }) => {
                let entry = doing.record.apps.entry(app.clone()).or_default();
                let kept = (entry.quarantined, entry.quarantine_reason.clone(), entry.good);
                **entry = Default::default();
                (entry.quarantined, entry.quarantine_reason, entry.good) = kept;
                entry.id = Some(id.clone());
                entry.service = Some(service.clone());
                entry.op = Some(intent.op.clone());
                let seen = SeenApp {
                    id: id.clone(),
                    name: name.into(),
                    service,
                    project: doing.project.clone().unwrap_or_else(|| "".into()),
                    environment,
                    mark_print: mark::print(Some(&mark.to_string())),
                    mark: MarkSeen::Ours(Box::new(mark)),
                    created: "".into(),
                };
                let now = self.now();
                self.state().transient(doing.key).overlay.insert(id, (now, seen));
                self.save(doing, vec![Change::Settled(intent.op)]).await?;
                Ok(Next::Step)
            }
            Ok(_) => Err(PortError::Unknown { why: "application.create answered something else".to_owned() }),
            Err(error) => Err(self.failed_create(doing, intent, error).await),
        }
    }

    async fn deploy(
        &self,
        doing: &mut Doing<'_>,
        app: &AppName,
        hash: berth_model::hash::Hash,
        restoring: bool,
        attempt: u32,
    ) -> Result<Next, PortError> {
        let Some(id) = doing.record.apps.get(app).and_then(|r| r.id.clone()) else {
            return Ok(Next::Replan);
        };
        let now = self.now();
        let token = format!("berth {hash} {}", self.operation());
        let before = doing.record.apps.get(app).cloned();
        let compiled = doing.desired.and_then(|d| d.apps.iter().find(|a| a.name == *app));
        let image = compiled.and_then(|a| text(&a.fields, Field::Image)).map(str::to_owned);
        if let Some(entry) = doing.record.apps.get_mut(app) {
            entry.image = image;
            entry.live = None;
            entry.deploy_due = false;
            // Its containers are new after it.
            entry.restart = None;
            entry.rollout = Some(Box::new(Rollout {
                hash,
                token: token.clone(),
                phase: Phase::Deploy,
                asked: now,
                since: now,
                attempts: attempt,
                unanswered: true,
                last: String::new(),
                restoring,
                without_address: None,
                missing_since: None,
                certificate_since: None,
            }));
        }
        self.save(doing, Vec::new()).await?;
        {
            let mut state = self.state();
            let transient = state.transient(doing.key);
            transient.pull = false;
            transient.phases = vec![(Phase::Deploy, now)];
        }
        match self.call(doing, &Write::Deploy { app: id, token }).await {
            Ok(_) => {
                if let Some(rollout) = doing.record.apps.get_mut(app).and_then(|r| r.rollout.as_mut()) {
                    rollout.unanswered = false;
                }
                self.save(doing, Vec::new()).await?;
                Ok(Next::Step)
            }
            Err(error @ PortError::Unknown { .. }) => Err(error),
            Err(error) => {
                if let (Some(entry), Some(before)) = (doing.record.apps.get_mut(app), before) {
                    entry.rollout = before.rollout;
                    entry.live = before.live;
                    entry.deploy_due = before.deploy_due;
                }
                match self.save(doing, Vec::new()).await {
                    Ok(()) => Err(error),
                    Err(store) => Err(store),
                }
            }
        }
    }

    /// An answer that is missing counts as one that came: a restart that did happen is not repeated, and one that did
    /// not is asked for again by who missed it.
    async fn restart_app(
        &self,
        doing: &mut Doing<'_>,
        app: &AppName,
        id: &AppId,
        service: &ServiceName,
    ) -> Result<Next, PortError> {
        let write = Write::Restart { app: id.clone(), service: service.clone() };
        // Of the daemon's own containers nobody hears the answer: its successor would restart them again.
        if let Key::Stack(stack) = doing.key
            && self.options.identity.of(stack, doing.record).as_ref() == Some(app)
        {
            if let Some(entry) = doing.record.apps.get_mut(app) {
                entry.restart = None;
            }
            self.save(doing, Vec::new()).await?;
        }
        let result = self.call(doing, &write).await;
        if matches!(result, Ok(_) | Err(PortError::Unknown { .. } | PortError::Refused { .. })) {
            if let Some(entry) = doing.record.apps.get_mut(app) {
                entry.restart = None;
            }
            // What runs is being replaced: it is looked at until it is up again.
            self.state().transient(doing.key).verify = true;
            self.save(doing, Vec::new()).await?;
        }
        result.map(|_| Next::Replan)
    }

    /// A change of an application that is there.
    async fn change_app(
        &self,
        doing: &mut Doing<'_>,
        step: &Step,
        last_of_app: bool,
    ) -> Result<Next, PortError> {
        let app = match step {
            Step::MoveApp { app, .. }
            | Step::UpdateApp { app, .. }
            | Step::CreateChild { app, .. }
            | Step::UpdateChild { app, .. }
            | Step::RemoveChild { app, .. } => app.clone(),
            _ => return Ok(Next::Step),
        };
        let Some(id) = doing.record.apps.get(&app).and_then(|r| r.id.clone()) else {
            return Ok(Next::Replan);
        };
        // A crash in the middle must not be taken for "as it was before".
        if let Some(entry) = doing.record.apps.get_mut(&app)
            && entry.applied.take().is_some()
        {
            self.save(doing, Vec::new()).await?;
        }
        let compiled = doing.desired.and_then(|d| d.apps.iter().find(|a| a.name == app));
        match step {
            Step::MoveApp { to, .. } => {
                let Some(to) = to.clone().or_else(|| doing.environment.clone()) else {
                    return Ok(Next::Replan);
                };
                self.call(doing, &Write::MoveApp { id: id.clone(), environment: to.clone() }).await?;
                self.overlay(doing, &id, |seen| seen.environment = to);
            }
            Step::UpdateApp { fields, env_text, mark, description, .. } => {
                let mark = mark.as_deref().map(|m| self.complete(doing, &app, m));
                let line = mark.as_ref().map(ToString::to_string);
                let write = Write::UpdateApp {
                    id: id.clone(),
                    fields: fields.clone(),
                    env_text: env_text.clone(),
                    description: line.as_ref().map(|line| mark::with_line(description.as_deref(), line)),
                };
                if let (Some(mark), Some(entry)) = (&mark, doing.record.apps.get_mut(&app))
                    && !mark.pending.is_empty()
                {
                    entry.announced = mark.pending.clone();
                    self.save(doing, Vec::new()).await?;
                }
                self.call(doing, &write).await?;
                if let (Some(mark), Some(line)) = (mark, line) {
                    if let Some(entry) = doing.record.apps.get_mut(&app) {
                        entry.adopted = mark.adopted;
                        entry.secrets = mark.secrets.clone();
                        if mark.pending.is_empty() {
                            entry.found = None;
                            entry.announced.clear();
                        }
                    }
                    self.overlay(doing, &id, |seen| {
                        seen.mark_print = mark::print(Some(&line));
                        seen.mark = MarkSeen::Ours(Box::new(mark));
                    });
                }
            }
            Step::CreateChild { key, child, .. } => {
                let target = IntentTarget::Child { app: app.clone(), child: key.clone() };
                let intent = self.intend(doing, target).await?;
                let write = Write::CreateChild { app: id, key: key.clone(), child: child.clone() };
                match self.call(doing, &write).await {
                    Ok(Written::Child(child)) => {
                        if let Some(entry) = doing.record.apps.get_mut(&app) {
                            entry.children.insert(key.clone(), child);
                            routers_due(entry, key);
                        }
                        self.save(doing, vec![Change::Settled(intent.op)]).await?;
                    }
                    Ok(_) => {
                        return Err(PortError::Unknown { why: "a create answered without an id".to_owned() });
                    }
                    Err(error) => return Err(self.failed_create(doing, intent, error).await),
                }
            }
            Step::UpdateChild { id: child_id, key, child, .. } => {
                let write = Write::UpdateChild {
                    app: id,
                    id: child_id.clone(),
                    key: key.clone(),
                    child: child.clone(),
                };
                self.call(doing, &write).await?;
                if let Some(entry) = doing.record.apps.get_mut(&app) {
                    routers_due(entry, key);
                }
            }
            Step::RemoveChild { id: child_id, key, .. } => {
                let write = Write::RemoveChild { app: id, id: child_id.clone(), key: key.clone() };
                self.call(doing, &write).await?;
                if let Some(entry) = doing.record.apps.get_mut(&app)
                    && entry.children.get(key) == Some(child_id)
                {
                    entry.children.remove(key);
                }
                // The server writes the whole file anew: the routers that stay must still be there.
                if let Some(entry) = doing.record.apps.get_mut(&app) {
                    routers_due(entry, key);
                }
            }
            _ => {}
        }
        if last_of_app && let (Some(entry), Some(compiled)) = (doing.record.apps.get_mut(&app), compiled) {
            entry.applied = Some(compiled.full);
            self.save(doing, Vec::new()).await?;
        }
        Ok(Next::Step)
    }

    fn overlay(&self, doing: &Doing<'_>, id: &berth_model::ids::AppId, change: impl FnOnce(&mut SeenApp)) {
        let seen = {
            let state = self.state();
            let known = state.live.get(doing.key).and_then(|t| t.overlay.get(id)).map(|(_, s)| s.clone());
            known.or_else(|| doing.observed.fleet.as_ref()?.app(id).cloned())
        };
        if let Some(mut seen) = seen {
            change(&mut seen);
            let now = self.now();
            self.state().transient(doing.key).overlay.insert(id.clone(), (now, seen));
        }
    }

    /// Fills in what only the creates before this step told.
    fn complete(&self, doing: &Doing<'_>, app: &AppName, planned: &Mark) -> Mark {
        let mut mark = planned.clone();
        if let Some(entry) = doing.record.apps.get(app) {
            mark.id = entry.id.clone();
            if let Some(op) = &entry.op {
                mark.op = op.clone();
            }
            if mark.pending.is_empty() {
                let compiled: Option<&DesiredApp> =
                    doing.desired.and_then(|d| d.apps.iter().find(|a| a.name == *app));
                let wanted =
                    |k: &berth_model::desired::ChildKey| compiled.is_none_or(|c| c.children.contains_key(k));
                mark.children =
                    entry.children.iter().filter(|(k, _)| wanted(k)).map(|(_, id)| id.clone()).collect();
                mark.children.sort();
            }
        }
        mark
    }
}

/// Whether the project belongs to the key: a stack's own, or the one a `Project` manifest declares.
fn is_own(doing: &Doing<'_>) -> bool {
    doing.desired.is_none_or(|d| matches!(d.place, berth_model::stack::Place::Own { .. }))
}

fn routers_due(entry: &mut berth_model::record::AppRecord, key: &berth_model::desired::ChildKey) {
    if matches!(key, berth_model::desired::ChildKey::Domain(_)) && entry.routers_due.is_none() {
        entry.routers_due = Some(0);
    }
}

/// A write in words, without its values.
fn describe(write: &Write) -> String {
    match write {
        Write::CreateProject { name, .. } => format!("made project {name}"),
        Write::UpdateProject { id, .. } => format!("updated project {id}"),
        Write::RemoveProject { id } => format!("removed project {id}"),
        Write::RemoveEnvironment { id, .. } => format!("removed environment {id}"),
        Write::CreateEnvironment { name, .. } => format!("made environment {name}"),
        Write::UpdateEnvironment { id, .. } => format!("updated environment {id}"),
        Write::CreateApp { name, .. } => format!("made application {name}"),
        Write::MoveApp { id, environment } => format!("moved application {id} to {environment}"),
        Write::UpdateApp { id, fields, description, .. } => {
            let mut names: Vec<_> = fields.keys().map(|f| f.path()).collect();
            if description.is_some() {
                names.push("mark");
            }
            format!("updated {} of application {id}", names.join(", "))
        }
        Write::CreateChild { key, .. } => format!("made {key}"),
        Write::UpdateChild { key, .. } => format!("updated {key}"),
        Write::RemoveChild { key, .. } => format!("removed {key}"),
        Write::Deploy { app, .. } => format!("asked for a deployment of {app}"),
        Write::Restart { app, .. } => format!("restarted application {app}"),
        Write::DeleteApp { id } => format!("deleted application {id}"),
    }
}
