//! Where a stack lives: finds, and where it may, makes its project and environment.

use crate::{Open, Planner};
use berth_model::condition::Reason;
use berth_model::desired::Desired;
use berth_model::field::Difference;
use berth_model::ids::{EnvironmentId, ProjectId};
use berth_model::mark;
use berth_model::observed::{EnvironmentDetail, FleetView, Seen, SeenEnvironment, SeenProject};
use berth_model::record::IntentTarget;
use berth_model::remote::Read;
use berth_model::stack::Place;
use berth_model::step::{Learned, Step};
use std::time::Duration;

/// A place, as far as it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) project: Option<ProjectId>,
    pub(crate) environment: Option<EnvironmentId>,
}

impl Planner<'_> {
    /// The place of the stack; steps that make what is missing of it are in the plan. `None`: something is in the way.
    pub(crate) fn place(&mut self, desired: &Desired, fleet: &FleetView) -> Option<Spot> {
        let name = desired.place.project().as_str();
        let found = match &desired.place {
            Place::Shared { create, .. } => self.shared(fleet, name, *create),
            Place::Own { .. } => self.own_place(desired, fleet, name),
        };
        let project = match found {
            Found::Blocked => return None,
            Found::Made => None,
            Found::There(project) => Some(project),
        };
        let may_create = matches!(desired.place, Place::Own { .. } | Place::Shared { create: true, .. });
        let wanted = desired.environment.as_str();
        let Some(project) = project else {
            // `production` comes with a new project.
            if wanted != "production" {
                self.step(Step::CreateEnvironment { project: None, name: wanted.to_owned() });
            }
            return Some(Spot { project: None, environment: None });
        };
        let environment = environment(project, wanted);
        if let Some(environment) = environment {
            return Some(Spot {
                project: Some(project.id.clone()),
                environment: Some(environment.id.clone()),
            });
        }
        if !may_create && self.policy.project_declared {
            self.block(
                "environment",
                Reason::WaitsFor,
                format!(
                    "it waits for the environment '{wanted}' of project '{name}', which the Project manifest makes"
                ),
            );
            return None;
        }
        if !may_create {
            self.block(
                "environment",
                Reason::PlaceMissing,
                format!(
                    "project '{name}' has no environment '{wanted}'; make it, declare it in the Project manifest, or set target.create: true"
                ),
            );
            return None;
        }
        let target = IntentTarget::Environment { project: project.id.clone(), name: wanted.to_owned() };
        if let Open::Unsettled(intent) = self.open(&target) {
            self.unsettled(format!("environment {wanted}"), intent);
            return None;
        }
        self.step(Step::CreateEnvironment { project: Some(project.id.clone()), name: wanted.to_owned() });
        Some(Spot { project: Some(project.id.clone()), environment: None })
    }

    fn shared<'f>(&mut self, fleet: &'f FleetView, name: &str, create: bool) -> Found<'f> {
        if let Some(by_id) = fleet.projects.iter().find(|p| p.id.as_str() == name) {
            return Found::There(by_id);
        }
        let mut by_name = fleet.projects.iter().filter(|p| p.name.as_str() == name);
        match (by_name.next(), by_name.count()) {
            (Some(project), 0) => Found::There(project),
            (Some(_), more) => {
                self.block(
                    "project",
                    Reason::Duplicate,
                    format!(
                        "{} projects are called '{name}'; give target.project the id of the one that is meant",
                        more + 1
                    ),
                );
                Found::Blocked
            }
            (None, _) if self.policy.project_declared => {
                self.block(
                    "project",
                    Reason::WaitsFor,
                    format!("it waits for the project '{name}', which its Project manifest makes"),
                );
                Found::Blocked
            }
            (None, _) if !create => {
                self.block(
                    "project",
                    Reason::PlaceMissing,
                    format!(
                        "there is no project '{name}'; make it, add a Project manifest with create: true, or set target.create: true"
                    ),
                );
                Found::Blocked
            }
            (None, _) => self.make_project(name),
        }
    }

    fn own_place<'f>(&mut self, desired: &Desired, fleet: &'f FleetView, name: &str) -> Found<'f> {
        if let Some(id) = self.input.record.project.as_ref().and_then(|p| p.id.as_ref()) {
            if let Some(project) = fleet.projects.iter().find(|p| p.id == *id) {
                self.rename_mark(desired, project);
                return Found::There(project);
            }
            match self.input.observed.projects.get(id) {
                Some(Seen::Absent) => self.learn(Learned::Project { id: None }),
                Some(Seen::Present(_)) => {
                    self.block(
                        "project",
                        Reason::BackendUnavailable,
                        format!("project {id} exists but the inventory does not list it; the inventory is not believed"),
                    );
                    self.wait(Duration::from_secs(5), "the inventory lacks a project");
                    return Found::Blocked;
                }
                _ => {
                    self.look(Read::Project(id.clone()));
                    return Found::Blocked;
                }
            }
        }
        let names = |p: &&SeenProject| {
            let stack = p.mark.as_ref().and_then(|m| m.stack.as_ref());
            stack.is_some_and(|s| *s == desired.stack || Some(s) == desired.formerly.as_ref())
        };
        if let Some(ours) = fleet.projects.iter().filter(names).min_by(|a, b| a.id.cmp(&b.id)) {
            self.learn(Learned::Project { id: Some(ours.id.clone()) });
            self.rename_mark(desired, ours);
            return Found::There(ours);
        }
        // Marked for another stack, but nothing in it is anybody else's: left over from a name this stack had once.
        let empty = |p: &&SeenProject| {
            let services: usize = p.environments.iter().map(|e| e.services).sum();
            let own = fleet.of_stack(desired.stack.as_str()).filter(|a| a.project == p.id).count();
            services == own
        };
        let ours_by_name = fleet
            .projects
            .iter()
            .filter(|p| p.name.as_str() == name)
            .find(|p| p.mark.as_ref().is_some_and(|m| m.stack.is_some()));
        if let Some(left_over) = ours_by_name.filter(empty) {
            self.learn(Learned::Project { id: Some(left_over.id.clone()) });
            self.rename_mark(desired, left_over);
            return Found::There(left_over);
        }
        if fleet.projects.iter().any(|p| p.name.as_str() == name) {
            self.block(
                "project",
                Reason::NotOwned,
                format!(
                    "a project '{name}' exists and was not made by Berth; to live in it, name it as target.project"
                ),
            );
            return Found::Blocked;
        }
        self.make_project(name)
    }

    /// Second projects of one create (its answer was lost and the effect came late) go, once everything else is done.
    pub(crate) fn drop_twin_projects(&mut self, desired: &Desired, fleet: &FleetView) {
        let Some(kept) = self.input.record.project.as_ref().and_then(|p| p.id.clone()) else {
            return;
        };
        for project in &fleet.projects {
            let stack = project.mark.as_ref().and_then(|m| m.stack.as_ref());
            let ours = stack.is_some_and(|s| *s == desired.stack || Some(s) == desired.formerly.as_ref());
            let twin = project.id != kept && ours;
            if twin && project.environments.iter().all(|e| e.services == 0) {
                self.step(Step::RemoveProject { id: project.id.clone(), name: project.name.to_string() });
            }
        }
    }

    /// In a project of its own, environments that Berth made and that hold nothing any more go, once everything else
    /// is done: the stack moved to another one, or one create took effect twice.
    pub(crate) fn drop_idle_environments(&mut self, spot: &Spot, fleet: &FleetView) {
        let (Some(kept), Some(used)) = (&spot.project, &spot.environment) else {
            return;
        };
        let Some(project) = fleet.projects.iter().find(|p| p.id == *kept) else {
            return;
        };
        if !idle_environments(project, used).any(|_| true) {
            return;
        }
        let detail = match self.input.observed.projects.get(kept) {
            Some(Seen::Present(detail)) => detail,
            Some(_) => return,
            None => return self.look(Read::Project(kept.clone())),
        };
        let ours = |e: &&EnvironmentDetail| {
            e.description.as_deref() == Some(mark::OUR_ENVIRONMENT)
                && e.services == 0
                && !e.is_default
                && e.id != *used
        };
        for environment in detail.environments.iter().filter(ours) {
            self.step(Step::RemoveEnvironment {
                project: kept.clone(),
                id: environment.id.clone(),
                name: environment.name.clone(),
            });
        }
    }

    /// After a rename the project's mark follows, so that a lost store still finds it.
    fn rename_mark(&mut self, desired: &Desired, project: &SeenProject) {
        let description = project.description.as_deref();
        let Some(mark) = project.mark.clone() else {
            return;
        };
        if mark.stack.as_ref() == Some(&desired.stack) || mark.stack.is_none() {
            return;
        }
        let renamed = mark::PlaceMark { stack: Some(desired.stack.clone()), ..mark.clone() };
        self.step(Step::UpdateProject {
            id: project.id.clone(),
            differences: vec![Difference {
                path: "mark".to_owned(),
                from: Some(mark.to_string()),
                to: Some(renamed.to_string()),
            }],
            description: Some(mark::with_line(description, &renamed.to_string())),
            env: None,
        });
    }

    fn make_project<'f>(&mut self, name: &str) -> Found<'f> {
        let target = IntentTarget::Project { name: name.to_owned() };
        if let Open::Unsettled(intent) = self.open(&target) {
            self.unsettled(format!("project {name}"), intent);
            return Found::Blocked;
        }
        self.step(Step::CreateProject { name: name.to_owned(), words: None });
        Found::Made
    }
}

/// The environment of a project that a manifest names by id or name. Of two of one name (one create that took effect
/// twice), the one that is lived in.
#[must_use]
pub fn environment<'p>(project: &'p SeenProject, wanted: &str) -> Option<&'p SeenEnvironment> {
    let by_id = project.environments.iter().find(|e| e.id.as_str() == wanted);
    by_id.or_else(|| {
        let same = project.environments.iter().filter(|e| e.name == wanted);
        same.min_by_key(|e| std::cmp::Reverse(e.services))
    })
}

/// Environments of a project, but for the default one and the one in use, that no list shows anything in.
pub fn idle_environments<'p>(
    project: &'p SeenProject,
    used: &'p EnvironmentId,
) -> impl Iterator<Item = &'p SeenEnvironment> {
    project.environments.iter().filter(move |e| !e.is_default && e.services == 0 && e.id != *used)
}

enum Found<'f> {
    There(&'f SeenProject),
    Made,
    Blocked,
}
