//! What is asked for by HTTP or by the command, against the settings, the sources and the store: the same rows and the
//! same reader as everything else. Reads backends, and never changes one.

use crate::app::{self, App};
use crate::given::Named;
use crate::state::AnyStore;
use crate::world::{self, Door, Platforms};
use berth_api::{NameState, Plan, PlanLine, Proposal, SecretOf};
use berth_engine::Proposal as IfWanted;
use berth_manifest::{Context, Input};
use berth_model::Secret;
use berth_model::access::Audit;
use berth_model::config::Config;
use berth_model::ids::{AppName, Key, StackName};
use berth_model::record::{Record, StackStatus};
use berth_model::remote::{Fact, Read};
use berth_model::stack::{HostKey, Stack};
use berth_model::step::Step;
use berth_ports::{
    Answer, Asked, Change, Draft, Fault, Pace, Platform, PortError, Query, Refused, SecretRow, Store, Wanted,
};
use berth_store::{Postgres, manifest_of};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};

/// What is written into a draft's place where its manifest would stand.
const DRAFT: &str = "draft";

/// The most of an app's output that is answered.
const OUTPUT: usize = 4 << 20;

/// The settings, the store, and what is made of them once it is needed.
pub struct Portal {
    config: Config,
    store: AnyStore,
    /// Accounts to read from: of a daemon that stands by, and of commands.
    platforms: OnceCell<Platforms>,
    /// Plans of a daemon that stands by, which reads the whole state for each.
    looking: Semaphore,
}

fn refused(error: &anyhow::Error) -> PortError {
    PortError::Refused { why: format!("{error:#}") }
}

impl Portal {
    /// Over this store.
    #[must_use]
    pub fn new(config: Config, store: AnyStore) -> Self {
        Self { config, store, platforms: OnceCell::new(), looking: Semaphore::new(1) }
    }

    /// The database whose rows ask for stacks.
    ///
    /// # Errors
    /// Rows are no source here.
    pub fn rows(&self) -> Result<&Postgres, Refused> {
        match &self.store {
            AnyStore::Database(store) if self.config.rows => Ok(store),
            _ => Err(Refused::NoRows),
        }
    }

    /// The row of a stack, where rows are a source.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn asked(&self, name: &StackName) -> Result<Option<Asked>, PortError> {
        match self.rows() {
            Ok(store) => store.stack_row(name).await,
            Err(_) => Ok(None),
        }
    }

    /// Rows that nobody has judged as they are now.
    ///
    /// # Errors
    /// The database cannot be read.
    pub async fn unjudged(&self) -> Result<Vec<Asked>, PortError> {
        match self.rows() {
            Ok(store) => store.unjudged_rows().await,
            Err(_) => Ok(Vec::new()),
        }
    }

    /// How a name stands, given what is published of it.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn name(&self, name: &StackName, status: Option<&StackStatus>) -> Result<NameState, PortError> {
        if self.config.reserved_names.iter().any(|n| n == name.as_str()) {
            return Ok(NameState::Reserved);
        }
        let asked = self.asked(name).await?;
        Ok(match (asked, status) {
            (Some(row), _) if row.removing => {
                NameState::Taken("a stack of this name is being removed".to_owned())
            }
            (Some(_), _) | (None, Some(_)) => NameState::Taken("a stack has this name".to_owned()),
            (None, None) => match self.record(&Key::Stack(name.clone())).await? {
                Some(_) => NameState::Taken("what a stack of this name left is being removed".to_owned()),
                None => NameState::Free,
            },
        })
    }

    /// What was given to a stack.
    ///
    /// # Errors
    /// The state cannot be read.
    pub async fn secrets(&self, stack: &StackName) -> Result<Vec<SecretRow>, PortError> {
        match self.store.query(Query::Secrets).await? {
            Answer::Secrets(all) => Ok(all.into_iter().filter(|r| r.stack == stack.as_str()).collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// Gives a secret; the version that it has now.
    ///
    /// # Errors
    /// The vault's keys or the state cannot be used, or somebody gave it at the same moment.
    pub async fn give_secret(&self, of: &SecretOf, value: &Secret, trace: Audit) -> Result<u32, PortError> {
        let vault = world::vault(&self.config).map_err(|e| refused(&e))?;
        let named = named(of);
        let (kept, record) = (self.secrets(&of.stack).await?, self.record(&named.key).await?);
        let (version, mut changes) = named.give(&vault, value, &kept, record.as_deref(), trace.at);
        changes.push(Change::Audit(trace));
        self.store.commit(changes).await.map(|()| version)
    }

    /// Takes a secret away.
    ///
    /// # Errors
    /// The state cannot be written.
    pub async fn remove_secret(&self, of: &SecretOf, trace: Audit) -> Result<(), PortError> {
        let mut changes = named(of).remove(trace.at);
        changes.push(Change::Audit(trace));
        self.store.commit(changes).await
    }

    async fn record(&self, key: &Key) -> Result<Option<Box<Record>>, PortError> {
        match self.store.query(Query::Record(key.clone())).await? {
            Answer::Record(found) => Ok(found),
            _ => Ok(None),
        }
    }

    /// The stack that a draft asks for, or everything that is wrong with it as far as it and its template tell.
    ///
    /// # Errors
    /// The sources cannot be read.
    pub async fn resolve(&self, draft: &Draft) -> Result<Result<Arc<Stack>, Vec<Fault>>, PortError> {
        if !draft.spec.starts_with('{') {
            let message = "the spec is no JSON object".to_owned();
            let help = Some("write what stands under 'spec:' in a manifest".to_owned());
            return Ok(Err(vec![Fault { path: Some("spec".to_owned()), message, help }]));
        }
        let mut inputs =
            self.template(draft.template.as_deref().or(named_in(&draft.spec).as_deref())).await?;
        inputs.push(Input::new(DRAFT, manifest_of(draft)));
        let mut fleet = berth_manifest::load(&inputs, &Context::from(&self.config));
        let faults: Vec<Fault> = fleet
            .errors
            .into_iter()
            .filter(|e| e.file == DRAFT)
            .map(|e| Fault { path: e.path, message: e.message, help: e.help })
            .collect();
        Ok(match fleet.stacks.remove(&draft.name) {
            Some(stack) if faults.is_empty() => Ok(stack),
            _ if faults.is_empty() => Err(vec![Fault {
                path: Some("template".to_owned()),
                message: "its template has faults".to_owned(),
                help: Some("put the template right first; 'berth validate' shows what is wrong".to_owned()),
            }]),
            _ => Err(faults),
        })
    }

    /// Where a template may stand: its row, else the files that hold templates.
    async fn template(&self, name: Option<&str>) -> Result<Vec<Input>, PortError> {
        let Some(name) = name else {
            return Ok(Vec::new());
        };
        if let Ok(store) = self.rows()
            && let Some(row) = store.template_row(name).await?
        {
            return Ok(crate::state::input(row).1.into_iter().collect());
        }
        let Some(directory) = &self.config.directory else {
            return Ok(Vec::new());
        };
        let files = berth_source::scan(directory).map_err(|e| PortError::Retry {
            after: None,
            why: format!("the directory {} cannot be read: {e}", directory.display()),
        })?;
        let holds = |bytes: &[u8]| bytes.windows(13).any(|w| w == b"StackTemplate");
        Ok(berth_source::inputs(&files).into_iter().filter(|i| holds(&i.bytes)).collect())
    }

    /// What would be done. By the engine that leads, where there is one; else by one that is made for it and only looks.
    ///
    /// # Errors
    /// The proposal has faults, or something cannot be read.
    pub async fn plan(&self, proposal: &Proposal, leads: Option<Arc<App>>) -> Result<Plan, Refused> {
        let (name, wanted) = match proposal {
            Proposal::Remove(name) => (name, IfWanted::Nothing),
            Proposal::Put(draft) => {
                let stack = self.resolve(draft).await?.map_err(Refused::Faulty)?;
                (&draft.name, IfWanted::Stack(stack))
            }
        };
        let key = Key::Stack(name.clone());
        let planned = match leads {
            Some(app) => {
                if let IfWanted::Stack(stack) = &wanted {
                    let clashes = clashes(stack, &app.engine.wanted());
                    if !clashes.is_empty() {
                        return Err(Refused::Faulty(clashes));
                    }
                }
                app.engine.plan_if(&key, &wanted).await
            }
            None => {
                // It is never closed.
                let _one_by_one = self.looking.acquire().await;
                let app = self.look().await.map_err(|e| refused(&e))?;
                app.engine.plan_if(&key, &wanted).await
            }
        };
        match planned {
            Ok(planned) => Ok(shown(&planned.plan)),
            // Nothing was made of it yet, so its removal is nothing to do.
            Err(PortError::NotFound(_)) if matches!(proposal, Proposal::Remove(_)) => {
                Ok(Plan { lines: Vec::new(), writes: 0, deploys: 0, blocked: 0 })
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn look(&self) -> anyhow::Result<Arc<App>> {
        let app = App::new(self.config.clone(), self.store.clone(), Door::open()?, None).await?;
        let (wanted, _) = app::wanted(&app.inputs().await?, &app.config);
        app.engine.set_wanted(Arc::new(wanted));
        Ok(app)
    }

    /// What an app's containers wrote lately.
    ///
    /// # Errors
    /// It was never made, or its backend does not answer.
    pub async fn output(
        &self,
        name: &StackName,
        app: &AppName,
        lines: u16,
        since: Option<Duration>,
    ) -> Result<String, Refused> {
        let record = self.record(&Key::Stack(name.clone())).await?;
        let made = record.as_ref().and_then(|r| Some((r.backend.clone()?, r.apps.get(app)?.id.clone()?)));
        let Some((backend, id)) = made else {
            return Err(Refused::Port(PortError::NotFound(format!("app {app} of {name} was not made yet"))));
        };
        let made = async || world::platforms(&self.config, None).map(|(platforms, _)| platforms);
        let platforms = self.platforms.get_or_try_init(made).await.map_err(|e| refused(&e))?;
        let Some(platform) = platforms.get(&backend) else {
            let why = format!("the settings name no backend '{backend}' any more");
            return Err(Refused::Port(PortError::Refused { why }));
        };
        match platform.read(&Read::Output { app: id, lines, since }, Pace::Run).await? {
            Fact::Output(mut text) => {
                if text.len() > OUTPUT {
                    let from = (text.len() - OUTPUT..text.len()).find(|n| text.is_char_boundary(*n));
                    text.drain(..from.unwrap_or(0));
                }
                Ok(text)
            }
            _ => Err(Refused::Port(PortError::Refused { why: "an answer to another question".to_owned() })),
        }
    }
}

fn named(of: &SecretOf) -> Named {
    Named { key: Key::Stack(of.stack.clone()), app: of.app.clone(), name: of.name.clone() }
}

/// The template that a spec names in itself.
fn named_in(spec: &str) -> Option<String> {
    let spec: serde_json::Value = serde_json::from_str(spec).ok()?;
    Some(spec.get("template")?.as_str()?.to_owned())
}

/// # Errors
/// The stack stands in a file of the directory.
pub fn not_from_file(status: Option<&StackStatus>) -> Result<(), Refused> {
    match status.and_then(|s| s.origin.as_ref()).filter(|o| !o.file.starts_with("row:")) {
        Some(origin) => Err(Refused::FromFile(format!("{}:{}", origin.file, origin.line))),
        None => Ok(()),
    }
}

/// Hosts that lead to another stack already.
#[must_use]
pub fn clashes(stack: &Stack, wanted: &Wanted) -> Vec<Fault> {
    let mut own: BTreeMap<&HostKey, &AppName> = BTreeMap::new();
    for (app, spec) in &stack.apps {
        own.extend(spec.hosts.keys().map(|host| (host, app)));
    }
    if own.is_empty() {
        return Vec::new();
    }
    let others =
        wanted.stacks.values().filter(|s| s.name != stack.name && Some(&s.name) != stack.formerly.as_ref());
    let mut faults = Vec::new();
    for other in others {
        for host in other.apps.values().flat_map(|a| a.hosts.keys()) {
            if let Some(app) = own.get(host) {
                let path = if host.path == "/" { "" } else { &host.path };
                faults.push(Fault {
                    path: Some(format!("spec.apps.{app}")),
                    // Whose it is is nobody else's business.
                    message: format!("{}{path} leads to another stack already", host.host),
                    help: Some("a host and path can lead to one app only".to_owned()),
                });
            }
        }
    }
    faults
}

fn shown(plan: &berth_model::step::Plan) -> Plan {
    let lines = berth_plan::lines(plan).into_iter().filter(|l| l.action != "look").map(|l| PlanLine {
        action: l.action.to_owned(),
        what: l.what,
        path: l.path,
        from: l.from,
        to: l.to,
    });
    Plan {
        lines: lines.collect(),
        writes: plan.writes().count(),
        deploys: plan.steps.iter().filter(|s| matches!(s, Step::Deploy { .. })).count(),
        blocked: plan.blocked.len(),
    }
}
