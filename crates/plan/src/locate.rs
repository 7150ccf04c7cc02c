//! Which application is ours: by recorded id and mark, by a complete mark, by the operation of an open create.
//!
//! Never by name alone, except where the manifest says `adopt`.

use crate::{Open, Planner};
use berth_model::condition::Reason;
use berth_model::desired::{Desired, DesiredApp};
use berth_model::field::{Field, text};
use berth_model::ids::{AppId, AppName, ServiceName, StackName};
use berth_model::mark::{Mark, MarkSeen};
use berth_model::observed::{FleetView, Seen, SeenApp};
use berth_model::record::IntentTarget;
use berth_model::remote::Read;
use berth_model::step::{Learned, Step};
use std::time::Duration;

/// Where an app's application is.
pub(crate) enum Located<'f> {
    /// There, and ours.
    Ours(&'f SeenApp),
    /// There is none, and one may be made.
    None,
    /// To be taken over.
    Adopt(&'f SeenApp),
    /// It cannot be told yet, or something is in the way: the plan says what.
    Blocked,
}

impl<'a> Planner<'a> {
    /// Finds the application of one app.
    pub(crate) fn locate(
        &mut self,
        desired: &Desired,
        app: &DesiredApp,
        fleet: &'a FleetView,
        environment: Option<&berth_model::ids::EnvironmentId>,
    ) -> Located<'a> {
        let what = format!("app {}", app.name);
        let formerly = desired.formerly.as_ref();
        let record = self.input.record.apps.get(&app.name);
        if let Some(id) = record.and_then(|r| r.id.as_ref()) {
            match self.recorded(&what, id, fleet) {
                Recorded::There(seen)
                    if crate::remove::belongs_elsewhere(seen, &desired.stack, formerly, &app.name) =>
                {
                    self.learn(Learned::Forget { app: app.name.clone() });
                    return Located::Blocked;
                }
                Recorded::There(seen) => {
                    // Nobody but a create of ours writes an unfinished mark of this app: one that was never deployed
                    // is an effect that came after it had been given up.
                    let old = formerly.into_iter().flat_map(|f| fleet.of_stack(f.as_str()));
                    let twins = fleet.of_stack(desired.stack.as_str()).chain(old).filter(|other| {
                        other.id != seen.id
                            && matches!(&other.mark, MarkSeen::Ours(m)
                                if m.id.is_none() && m.app == app.name)
                    });
                    self.drop_begun(&what, &app.name, twins);
                    self.tell_twins(desired, app, seen, fleet);
                    return self.still_ours(&what, seen);
                }
                Recorded::Unclear => return Located::Blocked,
                Recorded::Gone => {
                    let service = record.and_then(|r| r.service.clone());
                    if !self.gone_with_its_service(&app.name, service) {
                        return Located::Blocked;
                    }
                }
            }
        }
        let mut names = vec![&desired.stack];
        names.extend(formerly);
        let mut complete = Vec::new();
        let mut begun = Vec::new();
        for seen in names.iter().flat_map(|n| fleet.of_stack(n.as_str())) {
            if !is_ours(seen, &desired.stack, formerly, &app.name) {
                continue;
            }
            let MarkSeen::Ours(mark) = &seen.mark else {
                continue;
            };
            let mark: &Mark = mark;
            match &mark.id {
                Some(id) if *id == seen.id => complete.push((seen, mark)),
                // Somebody's duplicate of ours: it carries our words, not our ownership.
                Some(_) => self.note(
                    format!("application {}", seen.id),
                    Reason::NotOwned,
                    format!("'{}' is a copy of an application of this stack and is left alone", seen.name),
                ),
                None => begun.push((seen, mark)),
            }
        }
        complete.sort_by(|a, b| (&a.0.created, &a.0.id).cmp(&(&b.0.created, &b.0.id)));
        begun.sort_by(|a, b| (&a.0.created, &a.0.id).cmp(&(&b.0.created, &b.0.id)));
        if let Some((seen, mark)) = complete.first() {
            if complete.len() > 1 {
                self.block(
                    &what,
                    Reason::Duplicate,
                    format!(
                        "{} applications carry this app's complete mark; the oldest, {}, is kept as it is; delete the others by hand",
                        complete.len(),
                        seen.id
                    ),
                );
                return Located::Blocked;
            }
            self.own(app, seen, mark);
            self.drop_begun(&what, &app.name, begun.iter().map(|(s, _)| *s));
            return Located::Ours(seen);
        }
        if let Some(located) = self.begun(&what, app, &begun) {
            return located;
        }
        let target = IntentTarget::App { app: app.name.clone() };
        if let Open::Unsettled(intent) = self.open(&target) {
            self.unsettled(what, intent);
            return Located::Blocked;
        }
        if app.adopt
            && let Some(located) = self.adoptable(&what, app, fleet, environment)
        {
            return located;
        }
        Located::None
    }

    /// Second finished applications of an app: made by us while no store and no list knew of the first. Which of them
    /// people use is not for Berth to guess.
    fn tell_twins(&mut self, desired: &Desired, app: &DesiredApp, kept: &SeenApp, fleet: &FleetView) {
        for other in fleet.of_stack(desired.stack.as_str()).filter(|o| o.id != kept.id) {
            if matches!(&other.mark, MarkSeen::Ours(m) if m.id.as_ref() == Some(&other.id) && m.app == app.name)
            {
                self.block(
                    format!("application {}", other.id),
                    Reason::Duplicate,
                    format!(
                        "it carries the complete mark of app {} as {} does, which is the one that is kept; delete it by hand",
                        app.name, kept.id
                    ),
                );
            }
        }
    }

    fn own(&mut self, app: &DesiredApp, seen: &SeenApp, mark: &Mark) {
        self.learn(Learned::Owned {
            app: app.name.clone(),
            id: seen.id.clone(),
            service: seen.service.clone(),
            mark: Box::new(mark.clone()),
        });
    }

    /// An application with the recorded id: is it ours to change?
    fn still_ours(&mut self, what: &str, seen: &'a SeenApp) -> Located<'a> {
        if let MarkSeen::Foreign(mark) = &seen.mark {
            self.block(
                what,
                Reason::NotOwned,
                format!(
                    "application {} now carries another owner's mark ({mark}); it is left alone",
                    seen.id
                ),
            );
            return Located::Blocked;
        }
        Located::Ours(seen)
    }

    /// One application, or several of one create (an answer was lost and the effect came late).
    fn begun(&mut self, what: &str, app: &DesiredApp, begun: &[(&'a SeenApp, &Mark)]) -> Option<Located<'a>> {
        let (first, mark) = begun.first()?;
        let intended = self.op_of(&IntentTarget::App { app: app.name.clone() });
        if intended.as_ref().is_some_and(|op| *op == mark.op) {
            self.own(app, first, mark);
            self.drop_begun(what, &app.name, begun[1..].iter().map(|(s, _)| *s));
            return Some(Located::Ours(first));
        }
        // No intent: the store was lost. Ours only where it is the only one and was never deployed.
        if begun.len() > 1 {
            self.block(
                what,
                Reason::Duplicate,
                format!(
                    "{} unfinished applications of this app exist and the store does not know which is right; delete all but one",
                    begun.len()
                ),
            );
            return Some(Located::Blocked);
        }
        match self.never_deployed(&first.id) {
            None => Some(Located::Blocked),
            Some(true) => {
                self.own(app, first, mark);
                Some(Located::Ours(first))
            }
            Some(false) => {
                self.block(
                    what,
                    Reason::Duplicate,
                    format!(
                        "application {} carries an unfinished mark of this app but was deployed; nobody can tell whose it is: delete it, or clear its description",
                        first.id
                    ),
                );
                Some(Located::Blocked)
            }
        }
    }

    /// Whether an application was never deployed; `None` while that is being asked.
    fn never_deployed(&mut self, id: &AppId) -> Option<bool> {
        match self.input.observed.details.get(id) {
            Some(Seen::Present(detail)) => Some(detail.deployments.is_empty()),
            _ => {
                self.look(Read::App(id.clone()));
                None
            }
        }
    }

    /// Second objects of one create go, if they were never deployed.
    fn drop_begun<'f>(&mut self, what: &str, app: &AppName, others: impl Iterator<Item = &'f SeenApp>) {
        for other in others {
            match self.never_deployed(&other.id) {
                None => {}
                Some(true) => self.step(Step::DeleteApp {
                    app: app.clone(),
                    id: other.id.clone(),
                    service: other.service.clone(),
                    duplicate: true,
                }),
                Some(false) => self.block(
                    what,
                    Reason::Duplicate,
                    format!("application {} is a second one of the same create and was deployed; delete it by hand", other.id),
                ),
            }
        }
    }

    /// The application of a recorded id. That one list lacks it proves nothing: it is asked for by name.
    pub(crate) fn recorded(&mut self, what: &str, id: &AppId, fleet: &'a FleetView) -> Recorded<'a> {
        if let Some(seen) = self.input.observed.overlay.get(id).or_else(|| fleet.app(id)) {
            return Recorded::There(seen);
        }
        match self.input.observed.details.get(id) {
            Some(Seen::Absent) => Recorded::Gone,
            Some(Seen::Present(_)) => {
                self.block(
                    what,
                    Reason::BackendUnavailable,
                    format!("application {id} exists but the inventory does not list it; the inventory is not believed"),
                );
                self.wait(Duration::from_secs(5), "the inventory lacks an application");
                Recorded::Unclear
            }
            _ => {
                self.look(Read::App(id.clone()));
                Recorded::Unclear
            }
        }
    }

    /// An application that others deleted takes its service with it, unless a job of the server made that again.
    fn gone_with_its_service(&mut self, app: &AppName, service: Option<ServiceName>) -> bool {
        match service.as_ref().map(|s| (s, self.input.observed.live.get(s))) {
            Some((service, None)) => {
                self.look(Read::Live(service.clone()));
                return false;
            }
            Some((service, Some(Seen::Present(_)))) => {
                self.learn(Learned::Orphaned { app: app.clone(), service: service.clone() });
            }
            None | Some((_, Some(Seen::Absent | Seen::Unknown))) => {
                self.learn(Learned::GoneApp { app: app.clone() });
            }
        }
        true
    }

    fn adoptable(
        &mut self,
        what: &str,
        app: &DesiredApp,
        fleet: &'a FleetView,
        environment: Option<&berth_model::ids::EnvironmentId>,
    ) -> Option<Located<'a>> {
        let name = text(&app.fields, Field::Name)?;
        let mut named = fleet.apps.iter().filter(|a| a.name == name && Some(&a.environment) == environment);
        let first = named.next()?;
        if named.next().is_some() {
            self.block(
                what,
                Reason::Duplicate,
                format!("several applications are called '{name}'; rename all but the one to adopt"),
            );
            return Some(Located::Blocked);
        }
        if first.mark != MarkSeen::None {
            self.block(
                what,
                Reason::NotOwned,
                format!("application '{name}' carries a mark already; it is left alone"),
            );
            return Some(Located::Blocked);
        }
        Some(Located::Adopt(first))
    }
}

/// Whether a mark of ours, complete or begun, names this app of this stack, under its name or its former one.
pub(crate) fn is_ours(
    seen: &SeenApp,
    stack: &StackName,
    formerly: Option<&StackName>,
    app: &AppName,
) -> bool {
    matches!(&seen.mark, MarkSeen::Ours(m)
        if (m.stack == *stack || Some(&m.stack) == formerly) && m.app == *app)
}

/// What became of a recorded application.
pub(crate) enum Recorded<'f> {
    There(&'f SeenApp),
    Gone,
    Unclear,
}
