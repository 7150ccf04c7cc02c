//! Removal, from what is recorded or marked, in reverse order: wait out our jobs, delete, look at the live service.
//!
//! It never needs the spec to render, and never touches a volume.

use crate::Planner;
use crate::locate::{Recorded, is_ours};
use berth_model::condition::{Phase, Reason};
use berth_model::ids::{AppName, StackName};
use berth_model::mark::{self, MarkSeen};
use berth_model::observed::{FleetView, Seen, SeenApp};
use berth_model::remote::Read;
use berth_model::step::{Learned, Step};
use std::time::Duration;

/// What still runs this long after its delete is let go, with the command that ends it.
const GONE_WITHIN: Duration = Duration::from_secs(60);

/// Whether a complete mark of ours says that the application is another app's by now (a rename that the record missed).
pub(crate) fn belongs_elsewhere(
    seen: &SeenApp,
    stack: &StackName,
    formerly: Option<&StackName>,
    app: &AppName,
) -> bool {
    matches!(&seen.mark, MarkSeen::Ours(m) if m.id.as_ref() == Some(&seen.id)
        && ((m.stack != *stack && Some(&m.stack) != formerly) || m.app != *app))
}

impl<'a> Planner<'a> {
    /// The whole stack is to go.
    pub(crate) fn remove_stack(&mut self) {
        if self.is_held() {
            return;
        }
        let Some(fleet) = self.input.observed.fleet.as_deref() else {
            return;
        };
        let stack = self.input.stack.clone();
        let mut apps: Vec<AppName> = self.input.record.apps.keys().cloned().collect();
        for seen in fleet.of_stack(stack.as_str()) {
            if let MarkSeen::Ours(mark) = &seen.mark {
                apps.push(mark.app.clone());
            }
        }
        apps.sort();
        apps.dedup();
        let mut unfinished = false;
        for app in apps.iter().rev() {
            unfinished |= !self.remove_app(&stack, None, app, fleet);
        }
        if let Some(intent) = self.input.intents.iter().find(|i| self.policy.now < i.settle_by) {
            // A create that was not answered may still take effect: let it, then remove what it made.
            self.unsettled("a create".to_owned(), intent);
            unfinished = true;
        }
        if !unfinished && self.remove_records() {
            self.remove_own_project(&stack, fleet);
        }
    }

    /// One app is to go. True once nothing of it is left.
    pub(crate) fn remove_app(
        &mut self,
        stack: &StackName,
        formerly: Option<&StackName>,
        app: &AppName,
        fleet: &'a FleetView,
    ) -> bool {
        let what = format!("app {app}");
        let record = self.input.record.apps.get(app);
        if let Some(deleted) = record.and_then(|r| r.deleted_at) {
            let service = record.and_then(|r| r.service.clone());
            return self.watch_it_go(app, service, deleted);
        }
        let mut objects: Vec<&SeenApp> = Vec::new();
        if let Some(id) = record.and_then(|r| r.id.as_ref()) {
            match self.recorded(&what, id, fleet) {
                Recorded::Unclear => return false,
                Recorded::There(seen) => {
                    // By recorded id *and* mark.
                    let ours = is_ours(seen, stack, formerly, app);
                    if belongs_elsewhere(seen, stack, formerly, app) {
                        self.learn(Learned::Forget { app: app.clone() });
                        return true;
                    }
                    if !ours {
                        self.block(
                            what,
                            Reason::NotOwned,
                            format!(
                                "application {} no longer carries Berth's mark and is left alone; delete it by hand if it is to go",
                                seen.id
                            ),
                        );
                        return false;
                    }
                    objects.push(seen);
                }
                Recorded::Gone => {
                    let service = record.and_then(|r| r.service.clone());
                    return self.watch_it_go(app, service, self.policy.now);
                }
            }
        } else {
            objects.extend(self.marked(stack, app, fleet));
            if let Some(formerly) = formerly {
                objects.extend(self.marked(formerly, app, fleet));
            }
        }
        if objects.is_empty() {
            if record.is_some() {
                self.learn(Learned::Forget { app: app.clone() });
            }
            return true;
        }
        for seen in objects {
            if let MarkSeen::Ours(mark) = &seen.mark
                && mark.adopted
            {
                return self.let_go(app, seen);
            }
            if self.stays_itself(app) || self.waits_for_jobs(&what, seen) {
                return false;
            }
            self.phase(Phase::Create);
            if record.is_none_or(|r| r.id.is_none())
                && let MarkSeen::Ours(mark) = &seen.mark
            {
                // Recorded first, so that a crash after the delete still knows which service to look for.
                self.learn(Learned::Owned {
                    app: app.clone(),
                    id: seen.id.clone(),
                    service: seen.service.clone(),
                    mark: mark.clone(),
                });
            }
            self.step(Step::DeleteApp {
                app: app.clone(),
                id: seen.id.clone(),
                service: seen.service.clone(),
                duplicate: false,
            });
        }
        false
    }

    /// What was taken over and not made is given back: our mark goes, everything else stays as it is.
    fn let_go(&mut self, app: &AppName, seen: &SeenApp) -> bool {
        let Some(Seen::Present(detail)) = self.input.observed.details.get(&seen.id) else {
            self.look(Read::App(seen.id.clone()));
            return false;
        };
        let description = detail.description.clone().unwrap_or_default();
        let Some(line) = mark::line(&description) else {
            self.learn(Learned::Forget { app: app.clone() });
            return true;
        };
        let words: Vec<&str> = description.lines().filter(|l| *l != line).collect();
        self.step(Step::UpdateApp {
            app: app.clone(),
            differences: vec![berth_model::field::Difference {
                path: "mark".to_owned(),
                from: Some(line.to_owned()),
                to: None,
            }],
            fields: Default::default(),
            env_text: None,
            mark: None,
            description: Some(words.join("\n")),
        });
        false
    }

    /// Applications that carry the mark, though the ledger does not know them: complete marks, and unfinished ones
    /// that were never deployed.
    fn marked(&mut self, stack: &StackName, app: &AppName, fleet: &'a FleetView) -> Vec<&'a SeenApp> {
        let mut ours = Vec::new();
        for seen in fleet.of_stack(stack.as_str()) {
            let MarkSeen::Ours(mark) = &seen.mark else {
                continue;
            };
            if mark.app != *app {
                continue;
            }
            match &mark.id {
                Some(id) if *id == seen.id => ours.push(seen),
                Some(_) => {}
                None => match self.input.observed.details.get(&seen.id) {
                    Some(Seen::Present(detail)) if detail.deployments.is_empty() => ours.push(seen),
                    Some(Seen::Present(_)) => self.block(
                        format!("app {app}"),
                        Reason::NotOwned,
                        format!(
                            "application {} carries an unfinished mark but was deployed; it is left alone",
                            seen.id
                        ),
                    ),
                    Some(Seen::Absent) => {}
                    _ => self.look(Read::App(seen.id.clone())),
                },
            }
        }
        ours
    }

    /// A job that runs would make the service again after the delete.
    fn waits_for_jobs(&mut self, what: &str, seen: &SeenApp) -> bool {
        let Some(jobs) = self.input.observed.jobs.clone() else {
            self.look(Read::Jobs);
            return true;
        };
        let running = jobs.rows.get(&seen.id).is_some_and(|rows| {
            rows.iter().any(|d| d.status == berth_model::observed::DeploymentStatus::Running)
        });
        if running || jobs.queued.get(&seen.id).is_some_and(|q| !q.is_empty()) {
            self.note(
                what,
                Reason::WaitsFor,
                "a deployment of it is under way; it is removed after that".to_owned(),
            );
            self.wait(Duration::from_secs(1), "a deployment ends");
            return true;
        }
        false
    }

    fn watch_it_go(
        &mut self,
        app: &AppName,
        service: Option<berth_model::ServiceName>,
        deleted: berth_model::Time,
    ) -> bool {
        let Some(service) = service else {
            self.learn(Learned::GoneApp { app: app.clone() });
            return true;
        };
        match self.input.observed.live.get(&service) {
            Some(Seen::Absent) => {
                self.learn(Learned::GoneApp { app: app.clone() });
                true
            }
            None => {
                self.look(Read::Live(service));
                false
            }
            Some(_) if self.policy.now.since(deleted) >= GONE_WITHIN => {
                self.learn(Learned::Orphaned { app: app.clone(), service });
                true
            }
            Some(_) => {
                self.note(
                    format!("app {app}"),
                    Reason::Removing,
                    "deleted; its service is still there".to_owned(),
                );
                self.wait(Duration::from_secs(1), "the service goes");
                false
            }
        }
    }

    /// The stack's own project goes with it, once no service of any kind is in it.
    pub(crate) fn remove_own_project(&mut self, stack: &StackName, fleet: &'a FleetView) {
        let recorded = self.input.record.project.as_ref().and_then(|p| p.id.as_ref());
        let ours = fleet.projects.iter().find(|p| {
            p.mark.as_ref().is_some_and(|m| m.stack.as_ref() == Some(stack)) || Some(&p.id) == recorded
        });
        let Some(project) = ours else {
            if recorded.is_some() {
                self.learn(Learned::Project { id: None });
            }
            return;
        };
        let Some(Seen::Present(detail)) = self.input.observed.projects.get(&project.id) else {
            match self.input.observed.projects.get(&project.id) {
                Some(Seen::Absent) => self.learn(Learned::Project { id: None }),
                _ => self.look(Read::Project(project.id.clone())),
            }
            return;
        };
        let mark = mark::read_place(detail.description.as_deref().unwrap_or(""), self.policy.owner);
        if mark.is_none_or(|m| m.stack.as_ref() != Some(stack)) {
            self.learn(Learned::Project { id: None });
            self.note(
                "project",
                Reason::NotOwned,
                format!("project {} no longer carries Berth's mark and stays", project.id),
            );
            return;
        }
        let services: usize = detail.environments.iter().map(|e| e.services).sum();
        if services > 0 {
            // Let go of it: somebody else lives there.
            self.learn(Learned::Project { id: None });
            self.note(
                "project",
                Reason::Conflict,
                format!(
                    "project '{}' stays: {services} services that Berth did not make are in it",
                    detail.name
                ),
            );
            return;
        }
        self.step(Step::RemoveProject { id: project.id.clone(), name: detail.name.to_string() });
    }
}
