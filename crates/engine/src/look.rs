//! Looking: the shared view of an account, and the single facts that a plan asks for.

use crate::Engine;
use berth_model::Time;
use berth_model::ids::{BackendName, Key};
use berth_model::observed::{FleetView, Observed};
use berth_model::remote::{Fact, Read};
use berth_model::step::{Plan, Step};
use berth_ports::{Pace, Platform, PortError, Registry, World};
use futures::future::join_all;
use std::sync::Arc;
use std::time::Duration;

impl<W: World> Engine<W> {
    /// A view of the account that shows this key as our own writes left it.
    pub(crate) async fn view(&self, backend: &BackendName, key: &Key) -> Result<Arc<FleetView>, PortError> {
        let now = self.now();
        let (cached, needed) = {
            let mut state = self.state();
            let settling = state
                .intents
                .values()
                .filter(|i| i.key == *key)
                .map(|i| if now >= i.settle_by { i.settle_by } else { Time(now.0 - 2_000) })
                .max();
            let fresh_after = state.transient(key).fresh_after;
            let needed = settling.map_or(fresh_after, |s| s.max(fresh_after));
            (state.accounts.get(backend).and_then(|a| a.view.clone()), needed)
        };
        let oldest =
            Time(now.0 - i64::try_from(self.options.intervals.resync.as_millis() * 3).unwrap_or(i64::MAX));
        if let Some(view) = cached.filter(|v| v.at > needed && v.at > oldest) {
            return Ok(view);
        }
        // Times are whole milliseconds: a look that began within the same one may be older than what is needed.
        self.sweep(backend, now.since(needed).saturating_sub(Duration::from_millis(1))).await
    }

    /// Looks at the whole account, and keeps what was seen.
    pub(crate) async fn sweep(
        &self,
        backend: &BackendName,
        max_age: Duration,
    ) -> Result<Arc<FleetView>, PortError> {
        let Some(platform) = self.parts.platforms.get(backend) else {
            return Err(PortError::Refused { why: format!("berth.yaml has no backend '{backend}'") });
        };
        let result = platform.sweep(max_age).await;
        let mut state = self.state();
        let mut fresh = false;
        if let Some(account) = state.accounts.get_mut(backend) {
            match &result {
                Ok(view) => {
                    if account.view.as_ref().is_none_or(|old| old.at <= view.at) {
                        fresh = !account.view.as_ref().is_some_and(|old| Arc::ptr_eq(old, view));
                        account.view = Some(view.clone());
                    }
                    account.trouble = None;
                }
                Err(error) => account.trouble = Some(crate::run::classify(error)),
            }
        }
        if fresh {
            // Before anybody plans with this view: it may show too little.
            state.guard(backend);
            if let Ok(view) = &result {
                state.sight(backend, view);
            }
        }
        result
    }

    /// Performs the reads of a plan, all at once; the port bounds what is in flight.
    pub(crate) async fn observe(
        &self,
        backend: &BackendName,
        plan: &Plan,
        observed: &mut Observed,
        pace: Pace,
    ) -> Result<(), PortError> {
        let Some(platform) = self.parts.platforms.get(backend) else {
            return Ok(());
        };
        let reads: Vec<&Read> = plan
            .steps
            .iter()
            .filter_map(|s| match s {
                Step::Look(read) => Some(read),
                _ => None,
            })
            .collect();
        let facts = join_all(reads.iter().map(|r| platform.read(r, pace))).await;
        for (read, fact) in reads.into_iter().zip(facts) {
            match fact {
                Ok(fact) => take(read, fact, observed),
                Err(error) => return Err(error),
            }
        }
        self.observe_dns(plan, observed).await;
        for step in &plan.steps {
            match step {
                Step::Probe { app, probe } => {
                    let result = self.probe(backend, probe).await;
                    observed.probes.insert(app.clone(), result);
                }
                Step::CheckImage { image, auth } => {
                    let auth = auth.as_ref().map(|(user, password)| (user.as_str(), password));
                    let answer = self.parts.registry.image(image, auth).await;
                    observed.images.insert(image.clone(), answer);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn take(read: &Read, fact: Fact, observed: &mut Observed) {
    match (read, fact) {
        (Read::App(id), Fact::App(seen)) => {
            observed.details.insert(id.clone(), seen.unbox());
        }
        (Read::Live(service), Fact::Live(seen)) => {
            observed.live.insert(service.clone(), seen);
        }
        (Read::Tasks(service), Fact::Tasks(tasks)) => {
            observed.tasks.insert(service.clone(), tasks);
        }
        (Read::Services, Fact::Services(seen)) => {
            observed.services = seen;
            observed.services_asked = true;
        }
        (Read::Routers(id), Fact::Routers(seen)) => {
            observed.routers.insert(id.clone(), seen);
        }
        (Read::Address, Fact::Address(seen)) => observed.address = Some(seen),
        (Read::Jobs, Fact::Jobs(jobs)) => observed.jobs = Some(jobs),
        (Read::Project(id), Fact::Project(seen)) => {
            observed.projects.insert(id.clone(), seen.unbox());
        }
        (Read::Log(id), Fact::Log(text)) => {
            observed.logs.insert(id.clone(), text);
        }
        // An adapter that answers another question is a defect of the adapter; the plan will ask again.
        _ => {}
    }
}
