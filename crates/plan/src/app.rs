//! One app of a stack that is to stay: create, configure, deploy, gate, in the order that survives a crash anywhere.
//!
//! Application with the operation mark, mounts, ports, domains, one update with all fields and the complete mark,
//! deploy.

use crate::diff::Drift;
use crate::locate::{Located, Recorded};
use crate::place::Spot;
use crate::{Planner, Policy};
use berth_model::condition::{Phase, Reason};
use berth_model::desired::{Desired, DesiredApp};
use berth_model::field::{Difference, Field, Fields, Value, text};
use berth_model::hash::Hash;
use berth_model::ids::{AppId, AppName, StackName};
use berth_model::mark::{self, Mark, MarkSeen};
use berth_model::observed::{AppDetail, FleetView, ImageAnswer, Seen, SeenApp};
use berth_model::record::{AppRecord, IntentTarget, LeftDrift};
use berth_model::remote::Read;
use berth_model::step::{Learned, Step};
use std::collections::BTreeMap;
use std::time::Duration;

impl<'a> Planner<'a> {
    /// A stack that is to stay.
    pub(crate) fn keep(&mut self, desired: &Desired) {
        for blocked in self.input.compile_blocked {
            self.block(blocked.what.clone(), blocked.reason, blocked.message.clone());
        }
        if desired.paused || self.input.record.paused {
            self.block("stack", Reason::Paused, "paused; resume with: berth resume".to_owned());
            return;
        }
        if self.is_held() {
            return;
        }
        let Some(fleet) = self.input.observed.fleet.as_deref() else {
            return;
        };
        if !self.recorded_apps_are_listed(fleet) {
            return;
        }
        if !self.records(desired) {
            return;
        }
        let Some(spot) = self.place(desired, fleet) else {
            return;
        };
        if self.input.needs_project
            && let Some(project) = &spot.project
        {
            match self.input.observed.projects.get(project) {
                Some(Seen::Present(_)) => {}
                _ => {
                    self.look(Read::Project(project.clone()));
                    return;
                }
            }
        }
        for app in &desired.apps {
            self.app(desired, app, &spot, fleet);
        }
        let gone: Vec<_> = self.input.record.apps.keys().cloned().collect();
        let formerly = desired.formerly.as_ref().map_or("", StackName::as_str);
        let marked: Vec<_> = fleet
            .of_stack(desired.stack.as_str())
            .chain(fleet.of_stack(formerly))
            .filter_map(|a| match &a.mark {
                // Also one that was never finished: a create that came late, or whose store was lost.
                MarkSeen::Ours(m) if m.id.as_ref().is_none_or(|id| *id == a.id) => Some(m.app.clone()),
                _ => None,
            })
            .collect();
        let mut extra: Vec<AppName> = gone.into_iter().chain(marked).collect();
        extra.sort();
        extra.dedup();
        extra.retain(|name| !desired.left.contains(name) && !desired.apps.iter().any(|a| a.name == *name));
        for name in extra.iter().rev() {
            self.remove_app(&desired.stack, desired.formerly.as_ref(), name, fleet);
        }
        for intent in self.input.intents.iter().filter(|i| self.policy.now < i.settle_by) {
            if let IntentTarget::App { app } = &intent.target
                && !desired.left.contains(app)
                && !desired.apps.iter().any(|a| a.name == *app)
            {
                // No longer wanted, but it may still come.
                self.unsettled(format!("app {app}"), intent);
            }
        }
        self.itself_last();
        let moved_out = matches!(desired.place, berth_model::stack::Place::Shared { .. });
        if self.plan.steps.is_empty() && self.plan.blocked.is_empty() && self.plan.wait.is_none() {
            if moved_out {
                // It had a project of its own once; the apps have left it.
                self.remove_own_project(&desired.stack, fleet);
                if let Some(formerly) = &desired.formerly {
                    self.remove_own_project(formerly, fleet);
                }
            } else {
                self.drop_twin_projects(desired, fleet);
                self.drop_idle_environments(&spot, fleet);
            }
        }
    }

    /// Nothing is made anywhere while an application of ours is missing from the list for an unknown reason.
    fn recorded_apps_are_listed(&mut self, fleet: &'a FleetView) -> bool {
        let mut sure = true;
        for (name, record) in &self.input.record.apps {
            if let Some(id) = record.id.as_ref().filter(|_| record.deleted_at.is_none())
                && matches!(self.recorded(&format!("app {name}"), id, fleet), Recorded::Unclear)
            {
                sure = false;
            }
        }
        sure
    }

    fn app(&mut self, desired: &Desired, app: &DesiredApp, spot: &Spot, fleet: &'a FleetView) {
        match self.locate(desired, app, fleet, spot.environment.as_ref()) {
            Located::Blocked => {}
            // Its records come first: whoever asks for one too early is told that there is none, and remembers that.
            Located::None if app.hosts().any(|host| self.withheld.contains(host)) => {}
            Located::None => self.create(desired, app, spot),
            // Ours from here on, and planned again as what it is: an application of which only what is named is managed.
            Located::Adopt(seen) => {
                let mark = self.mark(desired, app, Some(&seen.id), &AppRecord::default());
                let mark = Box::new(Mark { adopted: true, secrets: BTreeMap::new(), ..mark });
                let (app, id, service) = (app.name.clone(), seen.id.clone(), seen.service.clone());
                self.learn(Learned::Owned { app, id, service, mark });
            }
            Located::Ours(seen) => self.configure(desired, app, spot, seen, false),
        }
    }

    fn create(&mut self, desired: &Desired, app: &DesiredApp, spot: &Spot) {
        let what = format!("app {}", app.name);
        if !self.input.compile_blocked.is_empty() || !self.may_create(&what, app) {
            return;
        }
        self.phase(Phase::Create);
        let name = text(&app.fields, Field::Name).unwrap_or(desired.stack.as_str()).to_owned();
        self.step(Step::CreateApp {
            app: app.name.clone(),
            environment: spot.environment.clone(),
            name,
            service_base: app.service_base.clone(),
        });
        for (key, child) in &app.children {
            self.step(Step::CreateChild { app: app.name.clone(), key: key.clone(), child: child.clone() });
        }
        let differences =
            app.fields.iter().filter(|(_, v)| **v != Value::Null).flat_map(|(f, v)| created(*f, v)).collect();
        let env_text = env_text(app, None);
        self.step(Step::UpdateApp {
            app: app.name.clone(),
            differences,
            fields: app.fields.clone(),
            env_text,
            mark: Some(Box::new(self.mark(desired, app, None, &AppRecord::default()))),
            description: None,
        });
        self.deploy(app, &AppRecord::default(), "first deployment".to_owned());
    }

    /// Room in the network, and an image that can be had.
    fn may_create(&mut self, what: &str, app: &DesiredApp) -> bool {
        let replicas = match app.fields.get(&Field::Replicas) {
            Some(Value::Int(n)) => *n,
            _ => 1,
        };
        if let Some(room) = self.policy.room
            && room < 1 + replicas
        {
            self.block(
                what,
                Reason::AddressSpace,
                format!(
                    "the network dokploy-network has {room} addresses left and this app needs {}; make the network with a larger subnet, or remove stacks",
                    1 + replicas
                ),
            );
            self.wait(Duration::from_secs(60), "room in the network");
            return false;
        }
        if !self.policy.check_registry {
            return true;
        }
        let Some(image) = text(&app.fields, Field::Image).map(str::to_owned) else {
            return true;
        };
        match self.input.observed.images.get(&image) {
            None => {
                let user = text(&app.fields, Field::RegistryUser).map(str::to_owned);
                let auth = match (user, app.fields.get(&Field::RegistryPassword)) {
                    (Some(user), Some(Value::Secret(password))) => Some((user, password.clone())),
                    _ => None,
                };
                self.step(Step::CheckImage { image, auth });
                // The rest of the plan stands: what follows is what happens if the image is there.
                true
            }
            Some(ImageAnswer::Found(_)) => true,
            Some(ImageAnswer::Missing) => {
                self.block(
                    what,
                    Reason::ImageUnavailable,
                    format!("image {image} does not exist in its registry"),
                );
                self.wait(Duration::from_secs(60), "the image");
                false
            }
            Some(ImageAnswer::Denied) => {
                self.block(
                    what,
                    Reason::ImageUnavailable,
                    format!(
                        "the registry refuses image {image}; check registry.username and registry.password"
                    ),
                );
                self.wait(Duration::from_secs(60), "the image");
                false
            }
            Some(ImageAnswer::NoAnswer(why)) => {
                self.block(
                    what,
                    Reason::RegistryUnavailable,
                    format!("the registry of {image} does not answer ({why}); nothing is made until it does, or set checkRegistry: false on the backend"),
                );
                self.wait(Duration::from_secs(15), "the registry");
                false
            }
        }
    }

    fn configure(&mut self, desired: &Desired, app: &DesiredApp, spot: &Spot, seen: &SeenApp, adopt: bool) {
        let empty = AppRecord::default();
        let record =
            self.input.record.apps.get(&app.name).map(|r| &**r).filter(|r| r.id.as_ref() == Some(&seen.id));
        let known = record.is_some();
        let record = record.unwrap_or(&empty);
        let old = match &seen.mark {
            MarkSeen::Ours(mark) => Some(&**mark),
            _ => None,
        };
        if self.newer_secret_runs(app, record, old) {
            return;
        }
        // What was written while a child was in the way, or its create not answered, lacks that child.
        let whole = app.children.keys().all(|key| record.children.contains_key(key));
        // A look that shows another mark than ours calls the whole application into question.
        let marked = old.is_some_and(|m| *m == self.complete_mark(desired, app, &seen.id, record, m));
        // A field that someone else keeps writing is looked at until its writer gives up.
        let contested = record.drift.values().any(|d| d.reason == Reason::Contested && !d.live);
        let applied = record.applied == Some(app.full) && !contested;
        let written = known && marked && whole && applied && !self.policy.verify;
        let mut changed = false;
        if !written {
            let detail = match self.input.observed.details.get(&seen.id) {
                Some(Seen::Present(detail)) => detail,
                Some(Seen::Absent) => {
                    self.learn(Learned::GoneApp { app: app.name.clone() });
                    return;
                }
                _ => {
                    self.look(Read::App(seen.id.clone()));
                    return;
                }
            };
            if !self.input.compile_blocked.is_empty() {
                return;
            }
            // A list may be older than the application itself: its own words decide whose its children are.
            let fresh = mark::read(detail.description.as_deref().unwrap_or(""), self.policy.owner);
            let old = match &fresh {
                MarkSeen::Ours(mark) => Some(&**mark),
                MarkSeen::None | MarkSeen::Foreign(_) => None,
            };
            let before = self.plan.steps.len();
            let blocked = self.plan.blocked.len();
            self.differences(desired, app, spot, detail, record, old, adopt);
            changed = self.plan.steps[before..].iter().any(|s| !s.is_read());
            if !changed && self.plan.blocked.len() == blocked {
                self.learn(Learned::Applied { app: app.name.clone(), full: app.full });
            }
        }
        if self.plan.blocked.iter().any(|b| b.what == format!("app {}", app.name)) {
            return;
        }
        self.bring_up(app, record, seen, changed, known);
    }

    /// An older vault must not write an older secret over a newer one that runs.
    fn newer_secret_runs(&mut self, app: &DesiredApp, record: &AppRecord, old: Option<&Mark>) -> bool {
        for (name, version) in &app.secrets {
            let marked = old.and_then(|m| m.secrets.get(name)).copied().unwrap_or(0);
            let live = record.secrets.get(name).copied().unwrap_or(0).max(marked);
            if live > *version {
                self.block(
                    format!("app {}", app.name),
                    Reason::SecretOlderThanLive,
                    format!(
                        "the vault holds version {version} of secret '{name}', but version {live} runs: the vault is older than the server; restore the newer vault, or give the secret again"
                    ),
                );
                return true;
            }
        }
        false
    }

    #[allow(clippy::too_many_arguments)]
    fn differences(
        &mut self,
        desired: &Desired,
        app: &DesiredApp,
        spot: &Spot,
        detail: &AppDetail,
        record: &AppRecord,
        old: Option<&Mark>,
        adopt: bool,
    ) {
        // The mark that is there vouches for a child that may still come: nothing is written until it came, or cannot.
        let open = self.input.intents.iter().find(|i| {
            self.policy.now < i.settle_by
                && matches!(&i.target, IntentTarget::Child { app: of, child }
                    if *of == app.name && !detail.children.iter().any(|c| c.key == *child))
        });
        if let Some(intent) = open {
            return self.unsettled(format!("app {}", app.name), intent);
        }
        if self.may_still_come(app, detail, record, old) {
            return;
        }
        if spot.environment.as_ref() != Some(&detail.environment) {
            self.phase(Phase::Place);
            self.step(Step::MoveApp {
                app: app.name.clone(),
                id: detail.id.clone(),
                from: detail.environment.clone(),
                to: spot.environment.clone(),
            });
        }
        let begun = old.is_some_and(|m| m.id.is_none());
        let before = self.plan.steps.len();
        let children = self.children(app, detail, record, old, begun);
        let what = format!("app {}", app.name);
        if self.plan.blocked.iter().any(|b| b.what == what && b.reason == Reason::Unknown) {
            // The mark must not be called complete while a child may still appear.
            self.plan.steps.truncate(before);
            return;
        }
        // A child has no place for a mark: before one is made under a finished application, the parent announces it,
        // so that it is recognised even if the answer and the store are lost.
        let pending: Vec<Hash> = self.plan.steps[before..]
            .iter()
            .filter_map(|s| match s {
                Step::CreateChild { key, child, .. } => {
                    Some(crate::child_digest(self.policy.hash_key, key, child))
                }
                _ => None,
            })
            .collect();
        let wanted = Mark { children, ..self.mark(desired, app, Some(&detail.id), record) };
        let wanted = Mark { adopted: record.adopted || adopt || old.is_some_and(|m| m.adopted), ..wanted };
        if !pending.is_empty()
            && !begun
            && !old.is_some_and(|m| pending.iter().all(|p| m.pending.contains(p)))
        {
            let base = old.cloned().unwrap_or_else(|| wanted.clone());
            // What an earlier announcement led to stands in no list yet.
            let mut known: Vec<_> = base.children.iter().chain(&wanted.children).cloned().collect();
            known.sort();
            known.dedup();
            let announce = Mark { id: Some(detail.id.clone()), pending, children: known, ..base };
            let step = Step::UpdateApp {
                app: app.name.clone(),
                differences: vec![Difference {
                    path: "mark".to_owned(),
                    from: None,
                    to: Some("announces new children".to_owned()),
                }],
                fields: Fields::new(),
                env_text: None,
                mark: Some(Box::new(announce)),
                description: detail.description.clone(),
            };
            self.plan.steps.insert(before, step);
        }
        let drifting = record.applied == Some(app.full)
            || (record.applied.is_none() && old.is_some_and(|m| m.hash == Some(app.hash)));
        let drift = Drift::between(app, detail, record, drifting, self.policy.now);
        self.left_alone(app, record, false, &drift.left);
        if let Some(after) = drift.contested_until {
            self.wait(after, crate::CONTESTED);
        }
        if !drift.repaired.is_empty() {
            self.learn(Learned::Fought { app: app.name.clone(), paths: drift.repaired.clone() });
        }
        let creates = self.plan.steps[before..].iter().any(|s| matches!(s, Step::CreateChild { .. }));
        let line = detail.description.as_deref().and_then(mark::line);
        let mark_differs = creates || line != Some(wanted.to_string().as_str());
        if drift.patch.is_empty() && !mark_differs {
            return;
        }
        self.phase(Phase::Configure);
        let mut differences = drift.differences;
        if mark_differs && !creates && old.is_some_and(|m| m.id.is_some() && m.hash == Some(app.hash)) {
            differences.push(Difference {
                path: "mark".to_owned(),
                from: line.map(str::to_owned),
                to: Some(wanted.to_string()),
            });
        }
        self.step(Step::UpdateApp {
            app: app.name.clone(),
            differences,
            env_text: drift.env_text,
            fields: drift.patch,
            mark: mark_differs.then(|| Box::new(wanted)),
            description: mark_differs.then(|| detail.description.clone()).flatten(),
        });
    }

    /// Whether the mark announces children whose create this store knows nothing of: the store was lost or restored,
    /// and what was under way may still take effect. Until then the announcement stands.
    fn may_still_come(
        &mut self,
        app: &DesiredApp,
        detail: &AppDetail,
        record: &AppRecord,
        old: Option<&Mark>,
    ) -> bool {
        let Some(old) = old.filter(|m| !m.pending.is_empty() && m.pending != record.announced) else {
            return false;
        };
        let come: Vec<Hash> = detail
            .children
            .iter()
            .map(|c| crate::child_digest(self.policy.hash_key, &c.key, &c.child))
            .collect();
        if old.pending.iter().all(|p| come.contains(p)) {
            return false;
        }
        let Some(found) = record.found else {
            self.learn(Learned::HalfMade { app: app.name.clone() });
            return true;
        };
        let until = found.after(self.policy.settle);
        if self.policy.now >= until {
            return false;
        }
        self.block(
            format!("app {}", app.name),
            Reason::Unknown,
            "its mark announces children that this store did not make; what is under way settles first"
                .to_owned(),
        );
        self.wait(until.since(self.policy.now).min(Duration::from_secs(10)), "a lost create settles");
        true
    }

    /// The mark that goes with the record as it is.
    fn complete_mark(
        &self,
        desired: &Desired,
        app: &DesiredApp,
        id: &AppId,
        record: &AppRecord,
        old: &Mark,
    ) -> Mark {
        let mut children: Vec<_> = record.children.values().cloned().collect();
        children.sort();
        let adopted = record.adopted || old.adopted;
        Mark { children, adopted, ..self.mark(desired, app, Some(id), record) }
    }

    /// Drift that is not put back: told, and kept in the record until the next look at the same place.
    pub(crate) fn left_alone(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        live: bool,
        left: &[(String, (Reason, String))],
    ) {
        for (path, (reason, message)) in left {
            self.note(format!("app {} {path}", app.name), *reason, message.clone());
        }
        let left: BTreeMap<String, LeftDrift> = left
            .iter()
            .map(|(path, (reason, message))| {
                (path.clone(), LeftDrift { reason: *reason, message: message.clone(), live })
            })
            .collect();
        if !record.drift.iter().filter(|(_, d)| d.live == live).eq(&left) {
            self.learn(Learned::Drift { app: app.name.clone(), live, left });
        }
    }

    /// The complete mark of an app. Ids that a create will tell are filled in when it is written.
    fn mark(&self, desired: &Desired, app: &DesiredApp, id: Option<&AppId>, record: &AppRecord) -> Mark {
        let Policy { owner, .. } = self.policy;
        let seen_op = id.and_then(|id| {
            let fleet = self.input.observed.fleet.as_ref()?;
            match &self.input.observed.overlay.get(id).or_else(|| fleet.app(id))?.mark {
                MarkSeen::Ours(m) => Some(m.op.clone()),
                _ => None,
            }
        });
        Mark {
            owner: (*owner).clone(),
            stack: desired.stack.clone(),
            app: app.name.clone(),
            op: record.op.clone().or(seen_op).unwrap_or_else(|| "0".into()),
            id: id.cloned(),
            hash: Some(app.hash),
            children: Vec::new(),
            pending: Vec::new(),
            // Only while the last good version stands in for it: a mark that names a version nobody wants any more
            // would have to be written again later.
            quarantined: self.policy.restoring.get(&app.name).copied(),
            secrets: app.secrets.clone(),
            adopted: record.adopted,
        }
    }
}

fn created(field: Field, value: &Value) -> Vec<Difference> {
    let from = if let Value::Env(_) = value { Value::Env(BTreeMap::new()) } else { Value::Null };
    let mut differences = berth_model::field::differences(field, &from, value);
    for d in &mut differences {
        d.from = None;
    }
    differences
}

/// The env text to write: the whole one, or (on an adopted application) what is there with our variables in it.
pub(crate) fn env_text(app: &DesiredApp, detail: Option<&AppDetail>) -> Option<berth_model::Secret> {
    let Some(Value::Env(vars)) = app.fields.get(&Field::Env) else {
        return None;
    };
    crate::diff::render_env(vars, app.env_is_partial.then(|| detail.map(|d| d.env_text.expose())).flatten())
}
