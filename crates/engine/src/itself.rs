//! The app that this daemon runs as: how it is recognised, and since when its own deployment is put off.

use crate::Engine;
use berth_model::ids::{AppName, Key, ServiceName, StackName};
use berth_model::record::Record;
use berth_model::step::{Plan, Step};
use berth_plan::{ITSELF_LAST, Itself};
use berth_ports::World;
use std::time::Duration;

/// Its own deployment waits no longer than this for everything else to be done.
const PUT_OFF_AT_MOST: Duration = Duration::from_secs(10 * 60);

/// What tells which app this daemon is. With neither it is none: it runs somewhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    /// As the settings say.
    pub named: Option<(StackName, AppName)>,
    /// The Swarm service that this process runs in, as it was told by its environment. Not asked where the settings say.
    pub service: Option<ServiceName>,
}

impl Identity {
    /// The app of this stack that the daemon is.
    pub(crate) fn of(&self, stack: &StackName, record: &Record) -> Option<AppName> {
        if let Some((own, app)) = &self.named {
            return (own == stack).then(|| app.clone());
        }
        let service = self.service.as_ref()?;
        let mut apps = record.apps.iter();
        apps.find(|(_, app)| app.service.as_ref() == Some(service)).map(|(name, _)| name.clone())
    }
}

impl<W: World> Engine<W> {
    /// For a plan: which app of this stack the daemon is, and whether anything else is to be done first. A preview says
    /// what is to be done, whatever the others do meanwhile.
    pub(crate) fn itself(&self, key: &Key, record: &Record, preview: bool) -> Option<Itself> {
        let Key::Stack(stack) = key else { return None };
        let app = self.options.identity.of(stack, record)?;
        if preview {
            return Some(Itself { app, others: false, overdue: false });
        }
        let now = self.now();
        let state = self.state();
        let rolls = |record: &Record| record.apps.values().any(|app| app.rollout.is_some());
        let others = state.queues.values().any(|queue| !queue.is_idle_but_for(key))
            || state.records.iter().any(|(other, record)| other != key && rolls(record));
        let since = state.live.get(key).and_then(|t| t.put_off);
        let overdue = since.is_some_and(|since| now.since(since) >= PUT_OFF_AT_MOST);
        Some(Itself { app, others, overdue })
    }

    /// Keeps since when its own deployment is put off.
    pub(crate) fn put_off(&self, key: &Key, plan: &Plan) {
        if plan.steps.iter().any(Step::is_read) {
            // It is made again with the answers.
            return;
        }
        if plan.blocked.iter().any(|b| b.message == ITSELF_LAST) {
            let now = self.now();
            self.state().transient(key).put_off.get_or_insert(now);
        } else if let Some(transient) = self.state().live.get_mut(key) {
            transient.put_off = None;
        }
    }
}
