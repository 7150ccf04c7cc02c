//! Thinking: what is wanted of one key, compiled, with versions that failed replaced, and the plan for it.
//!
//! It reads memory and the vault; it asks and changes nothing outside.

use crate::removal::{Removal, shows};
use crate::view::Proposal;
use crate::{Engine, version};
use berth_model::Secret;
use berth_model::condition::Reason;
use berth_model::desired::{Desired, DesiredApp};
use berth_model::hash::HashKey;
use berth_model::ids::{AppName, Key, StackName};
use berth_model::observed::{Observed, ProjectDetail, Seen};
use berth_model::record::{Intent, IntentTarget, Record};
use berth_model::stack::{OnFirstFailure, Stack};
use berth_model::step::{Blocked, Note, Plan};
use berth_plan::{Compiled, Existing, Policy, Secrets, Surroundings};
use berth_ports::{Answer, PortError, Query, Store, Vault, World};
use std::collections::BTreeMap;

impl<W: World> Engine<W> {
    /// One plan. `preview`: nobody carries it out.
    pub(crate) async fn think(
        &self,
        key: &Key,
        proposal: &Proposal,
        record: &mut Record,
        observed: &mut Observed,
        preview: bool,
    ) -> Result<Thought, PortError> {
        let stack = match (proposal, key) {
            (Proposal::Stack(stack), _) => Some(stack.clone()),
            (Proposal::AsWanted, Key::Stack(name)) => self.state().wanted.stacks.get(name).cloned(),
            (Proposal::AsWanted, Key::Project(_)) | (Proposal::Nothing, _) => None,
        };
        let backend = match &stack {
            Some(stack) => Some(stack.target.backend.clone()),
            None => self.state().backend_of(key),
        };
        let (intents, held, transient, account_room, check_registry) =
            self.circumstances(key, stack.as_deref());
        let mut policy = Policy {
            now: self.now(),
            owner: &self.options.owner,
            hash_key: &self.parts.vault.hash_key(),
            verify: transient.0,
            held,
            room: account_room,
            project_declared: stack.as_ref().is_some_and(|s| self.project_declared(s)),
            check_registry,
            pull: transient.1,
            restoring: BTreeMap::new(),
            itself: self.itself(key, record, preview),
            dns: self.dns_policy(backend.as_ref()),
            settle: self.options.settle,
        };
        match key {
            Key::Project(name) => {
                let project = self.state().wanted.projects.get(name).cloned();
                let stack = format!("project/{name}");
                let secret = |wanted: &str| self.given(&stack, None, wanted).map(|(s, _)| s);
                let input = berth_plan::ProjectInput {
                    name,
                    desired: project.as_deref(),
                    delete: record.deletes,
                    secret: &secret,
                    record,
                    intents: &intents,
                    observed,
                };
                Ok(Thought { plan: berth_plan::plan_project(&input, &policy), desired: None })
            }
            Key::Stack(name) => {
                let Some(stack) = stack else {
                    let removal = match proposal {
                        Proposal::Nothing => Removal::Meant,
                        _ => self.state().removal(key, record.origin.as_ref()),
                    };
                    let marked = observed.fleet.as_ref().is_none_or(|f| shows(f, name));
                    let plan = match removal {
                        Removal::Meant => {
                            let input = input(name, None, &[], false, record, &intents, observed);
                            berth_plan::plan(input, &policy)
                        }
                        // Nothing of it is there, and there is nothing to say of it.
                        Removal::Unclaimed if record.apps.is_empty() && intents.is_empty() && !marked => {
                            Plan::default()
                        }
                        Removal::Unclaimed | Removal::Unsure => left_alone(removal, name),
                    };
                    return Ok(Thought { plan, desired: None });
                };
                let stack = self.pinned(stack, record).await;
                let mut compiled = self.compile(&stack, record, observed, policy.hash_key);
                self.restore(name, &stack, record, &mut compiled, &mut policy).await?;
                let input = input(
                    name,
                    Some(&compiled.desired),
                    &compiled.blocked,
                    compiled.needs_project,
                    record,
                    &intents,
                    observed,
                );
                let undone = compiled.desired.apps.is_empty() && compiled.desired.left.is_empty();
                let mut plan = if undone && !stack.apps.is_empty() {
                    // Every app was given up and is undone.
                    berth_plan::plan(berth_plan::Input { desired: None, ..input }, &policy)
                } else {
                    berth_plan::plan(input, &policy)
                };
                quarantine_blocks(record, &stack, &compiled.desired, &mut plan);
                if !preview {
                    self.put_off(key, &plan);
                }
                Ok(Thought { plan, desired: Some(compiled.desired) })
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn circumstances(
        &self,
        key: &Key,
        stack: Option<&Stack>,
    ) -> (Vec<Intent>, Option<String>, (bool, bool), Option<u64>, bool) {
        let mut state = self.state();
        let backend = stack.map_or_else(|| state.backend_of(key), |s| Some(s.target.backend.clone()));
        let wanted = stack.is_some() || state.is_wanted(key);
        // A project that another stack may have made is not made again before it is known whether it was. What is being
        // made just now is waited for by who wants to make it too.
        let shares = |i: &Intent| {
            wanted
                && matches!(i.target, IntentTarget::Project { .. } | IntentTarget::Environment { .. })
                && state.backend_of(&i.key) == backend
                && !backend.as_ref().is_some_and(|b| state.making.contains(&(b.clone(), i.target.clone())))
        };
        let intents = state.intents.values().filter(|i| i.key == *key || shares(i));
        let intents: Vec<_> = intents.cloned().collect();
        let name = match key {
            Key::Stack(name) => Some(name.clone()),
            Key::Project(_) => None,
        };
        let account = backend.as_ref().and_then(|b| state.accounts.get(b));
        let held = account.and_then(|a| a.hold.as_ref()).and_then(|hold| {
            let name = name.as_ref()?;
            (hold.removing.contains(name) || hold.recreating.contains(name)).then(|| hold.token.clone())
        });
        let room = account.and_then(|a| a.room(Some(key)));
        let check =
            backend.as_ref().and_then(|b| self.options.backends.get(b)).is_some_and(|b| b.check_registry);
        let transient = state.transient(key);
        (intents, held, (transient.verify, transient.pull), room, check)
    }

    fn given(&self, stack: &str, app: Option<&AppName>, name: &str) -> Option<(Secret, u32)> {
        let row = {
            let state = self.state();
            let find = |app: Option<&AppName>| state.secrets.find(stack, app, name).cloned();
            app.and_then(|a| find(Some(a))).or_else(|| find(None))?
        };
        let what = berth_ports::SealedFor { kind: "secret", stack, app: row.app.as_ref(), name };
        self.parts.vault.open(what, &row.sealed).ok().map(|s| (s, row.version))
    }

    pub(crate) fn compile(
        &self,
        stack: &Stack,
        record: &Record,
        observed: &Observed,
        hash_key: &HashKey,
    ) -> Compiled {
        struct Keep<'e, W: World>(&'e Engine<W>);
        impl<W: World> Secrets for Keep<'_, W> {
            fn given(&self, stack: &str, app: &AppName, name: &str) -> Option<(Secret, u32)> {
                self.0.given(stack, Some(app), name)
            }
            fn generated(
                &self,
                stack: &str,
                app: &AppName,
                name: &str,
                how: &berth_model::stack::Generate,
            ) -> Secret {
                self.0.parts.vault.generate(stack, app, name, how)
            }
        }
        let place = place_of(stack, record, observed);
        let environment = place.and_then(|p| {
            let wanted = stack.target.environment.as_str();
            p.environments.iter().find(|e| e.name == wanted || e.id.as_str() == wanted).map(|e| &e.id)
        });
        let around = Surroundings { project: place, environment };
        let existing = |app: &AppName| {
            let known = record.apps.get(app);
            let detail = known.and_then(|r| r.id.as_ref()).and_then(|id| observed.details.get(id));
            let env = match detail
                .and_then(Seen::present)
                .and_then(|d| d.fields.get(&berth_model::field::Field::Env))
            {
                Some(berth_model::field::Value::Env(env)) => Some(env),
                _ => None,
            };
            Existing { adopted: known.is_some_and(|r| r.adopted), env }
        };
        berth_plan::compile(stack, hash_key, &Keep(self), around, &existing)
    }

    /// Where the wanted version failed before, the last good one takes its place.
    async fn restore(
        &self,
        name: &StackName,
        stack: &Stack,
        record: &Record,
        compiled: &mut Compiled,
        policy: &mut Policy<'_>,
    ) -> Result<(), PortError> {
        let mut given_up = Vec::new();
        for app in &mut compiled.desired.apps {
            let Some(known) = record.apps.get(&app.name) else {
                continue;
            };
            if known.quarantined != Some(app.hash) {
                continue;
            }
            let bad = app.hash;
            let good = match known.good {
                Some(good) => self.version(name, &app.name, good, app).await?,
                None => None,
            };
            match good {
                Some(good) => {
                    *app = good;
                    policy.restoring.insert(app.name.clone(), bad);
                }
                None => given_up.push(app.name.clone()),
            }
        }
        if given_up.is_empty() {
            return Ok(());
        }
        let never_up = record.apps.values().all(|r| r.good.is_none());
        if stack.on_first_failure == OnFirstFailure::Remove && never_up {
            compiled.desired.apps.clear();
        } else {
            // Left as it is, to be looked at.
            compiled.desired.apps.retain(|a| !given_up.contains(&a.name));
            compiled.desired.left = given_up.into_iter().collect();
        }
        Ok(())
    }

    async fn version(
        &self,
        stack: &StackName,
        app: &AppName,
        hash: berth_model::hash::Hash,
        today: &DesiredApp,
    ) -> Result<Option<DesiredApp>, PortError> {
        let answer = self.parts.store.query(Query::Versions { stack: stack.clone() }).await?;
        let Answer::Versions(versions) = answer else {
            return Ok(None);
        };
        let found = versions.into_iter().find(|v| v.app == *app && v.hash == hash);
        Ok(found.and_then(|v| version::open(&self.parts.vault, stack, app, hash, &v.sealed, today)))
    }

    fn project_declared(&self, stack: &Stack) -> bool {
        let target = &stack.target;
        self.state().wanted.projects.get(target.project.project()).is_some_and(|project| {
            target.environment == "production" || project.environments.contains_key(&target.environment)
        })
    }
}

/// Nothing is done about a stack that is not wanted.
fn left_alone(removal: Removal, name: &StackName) -> Plan {
    let (reason, message) = if removal == Removal::Unclaimed {
        let message = format!(
            "it carries this owner's mark, and nothing asks for it or for its removal: its row was lost, say. To keep it, \
             insert the row again; to remove it, insert the row and delete it ({name})"
        );
        (Reason::Unclaimed, message)
    } else {
        let message = "it has no valid manifest, but a source has errors or cannot be read, so it is not believed to be \
                       removed";
        (Reason::Invalid, message.to_owned())
    };
    Plan { blocked: vec![Blocked { what: "stack".to_owned(), reason, message }], ..Plan::default() }
}

/// A plan and what it was made for.
pub(crate) struct Thought {
    pub(crate) plan: Plan,
    pub(crate) desired: Option<Desired>,
}

fn input<'a>(
    stack: &'a StackName,
    desired: Option<&'a Desired>,
    compile_blocked: &'a [Blocked],
    needs_project: bool,
    record: &'a Record,
    intents: &'a [Intent],
    observed: &'a Observed,
) -> berth_plan::Input<'a> {
    berth_plan::Input { stack, desired, compile_blocked, needs_project, record, intents, observed }
}

/// The project of a stack in full, where this run read it.
fn place_of<'o>(stack: &Stack, record: &Record, observed: &'o Observed) -> Option<&'o ProjectDetail> {
    let fleet = observed.fleet.as_ref()?;
    let own = record.project.as_ref().and_then(|p| p.id.as_ref());
    let name = stack.target.project.project().as_str();
    let id = own.or_else(|| {
        let found = fleet.projects.iter().find(|p| p.id.as_str() == name || p.name.as_str() == name);
        found.map(|p| &p.id)
    })?;
    observed.projects.get(id).and_then(Seen::present)
}

/// Apps whose wanted version failed are left alone, or hold the last good one: the plan says so.
fn quarantine_blocks(record: &Record, stack: &Stack, desired: &Desired, plan: &mut Plan) {
    for (app, known) in &record.apps {
        let Some((reason, message)) = &known.quarantine_reason else {
            continue;
        };
        if known.quarantined.is_none() || !stack.apps.contains_key(app) {
            continue;
        }
        let today = desired.apps.iter().find(|a| a.name == *app);
        let restored = today.is_some_and(|a| Some(a.hash) == known.good);
        if today.is_some() && !restored {
            // Another version is wanted by now.
            continue;
        }
        if restored && (plan.wait.is_some() || plan.writes().next().is_some()) {
            plan.notes.push(Note {
                what: format!("app {app}"),
                reason: Reason::RolledBack,
                message: format!("{message}; the last good version is being put back"),
            });
            continue;
        }
        let (reason, lead) = match (reason, restored) {
            (_, true) => (Reason::RolledBack, "the last good version was put back"),
            (Reason::RollbackFailed, _) => {
                (Reason::RollbackFailed, "the last good version did not come up either")
            }
            _ => (Reason::Quarantined, "there is no good version to go back to"),
        };
        plan.blocked.push(Blocked {
            what: format!("app {app}"),
            reason,
            message: format!(
                "{message}; {lead}; it is not tried again until the manifest changes, or: berth reconcile {}",
                stack.name
            ),
        });
    }
}
