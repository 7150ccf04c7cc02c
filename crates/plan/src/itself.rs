//! The app that this daemon runs as: its deployment ends the daemon, so it is the last thing that is done, and it is
//! never removed.

use crate::Planner;
use berth_model::condition::Reason;
use berth_model::ids::AppName;
use berth_model::step::{Learned, Step};
use std::time::Duration;

/// Why its own deployment is put off. The engine counts from when it is told so.
pub const ITSELF_LAST: &str =
    "it is this daemon: it deploys itself once nothing else is to be done, or after 10 minutes";

/// Between two looks whether everything else is done.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// The app that this daemon runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Itself {
    /// Which app of the stack.
    pub app: AppName,
    /// Something is to be done, or under way, in other stacks.
    pub others: bool,
    /// It was put off for long enough.
    pub overdue: bool,
}

impl Planner<'_> {
    /// Puts what the daemon does to itself behind everything else: behind the other steps of this plan, the rollouts of
    /// the other apps, and the other stacks. Its successor goes on where the record ends.
    pub(crate) fn itself_last(&mut self) {
        let Some(itself) = &self.policy.itself else { return };
        let own = |step: &Step| !step.is_read() && step.app() == Some(&itself.app);
        if !self.plan.deploys().any(|app| *app == itself.app) {
            return;
        }
        let steps = self.plan.writes().any(|step| !own(step));
        // What is blocked does not move; perhaps it waits for this very app.
        let blocked = |name: &AppName| self.plan.blocked.iter().any(|b| b.what == format!("app {name}"));
        let mut apps = self.input.record.apps.iter().filter(|(name, _)| **name != itself.app);
        let rollouts = apps.any(|(name, app)| app.rollout.is_some() && !blocked(name));
        if itself.overdue || !(steps || rollouts || itself.others) {
            let (last, first): (Vec<_>, Vec<_>) = self.plan.steps.drain(..).partition(own);
            self.plan.steps = first;
            self.plan.steps.extend(last);
            return;
        }
        self.plan.steps.retain(|step| !own(step));
        // What would have been written with them is learned with them.
        self.plan.learned.retain(|learned| match learned {
            Learned::Fought { app, .. } | Learned::Routers { app, due: Some(_) } => *app != itself.app,
            _ => true,
        });
        self.block(format!("app {}", itself.app), Reason::WaitsFor, ITSELF_LAST);
        self.wait(LOOK_AGAIN, ITSELF_LAST);
    }

    /// Whether this app is the daemon itself, which is left where it is.
    pub(crate) fn stays_itself(&mut self, app: &AppName) -> bool {
        let itself = self.policy.itself.as_ref().is_some_and(|i| i.app == *app);
        if itself {
            let message = "this daemon runs in it and does not remove itself; put its manifest back, or delete the application in Dokploy when the daemon is to end";
            self.block(format!("app {app}"), Reason::RunsHere, message);
        }
        itself
    }
}
