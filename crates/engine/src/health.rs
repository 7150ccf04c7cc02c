//! Health after Ready: each stack is asked now and then, a few at a time, and only a change is written down.

use crate::Engine;
use berth_model::ids::{AppName, Key};
use berth_model::observed::ProbeResult;
use berth_model::stack::{Https, Stack};
use berth_model::step::ProbeSpec;
use berth_ports::World;
use tokio::time::Instant;

/// Bad answers in a row before a stack is called unhealthy: one lost packet is not an outage.
const BAD_IN_A_ROW: u32 = 2;

impl<W: World> Engine<W> {
    /// Plans the next check of a key.
    pub(crate) fn schedule_probe(&self, key: &Key, at: Instant) {
        let mut state = self.state();
        if let Some(old) = state.probe_of.insert(key.clone(), at) {
            state.probes.remove(&(old, key.clone()));
        }
        state.probes.insert((at, key.clone()), ());
    }

    /// Keys whose check is due.
    pub(crate) fn due_probes(&self, now: Instant, at_most: usize) -> Vec<Key> {
        let mut state = self.state();
        let mut due = Vec::new();
        while due.len() < at_most {
            let Some(((at, key), ())) = state.probes.first_key_value().map(|(k, v)| (k.clone(), *v)) else {
                break;
            };
            if at > now {
                break;
            }
            state.probes.remove(&(at, key.clone()));
            state.probe_of.remove(&key);
            due.push(key);
        }
        due
    }

    /// Asks the apps of one stack, and wakes it when the answer changed.
    pub(crate) async fn check_health(&self, key: &Key) {
        let (stack, backend, ready) = {
            let state = self.state();
            let Key::Stack(name) = key else { return };
            let ready = state.statuses.get(key).is_some_and(|s| s.is_ready());
            (state.wanted.stacks.get(name).cloned(), state.backend_of(key), ready)
        };
        let (Some(stack), Some(backend)) = (stack, backend) else {
            return;
        };
        let mut turned = false;
        if ready {
            for (app, spec) in probes(&stack) {
                let result = self.probe(&backend, &spec).await;
                turned |= self.note_health(key, &app, &spec, &result);
            }
        }
        if turned {
            self.wake(key, crate::Lane::Dependency, "its health changed");
        }
        self.schedule_probe(key, Instant::now() + self.options.intervals.health);
    }

    fn note_health(&self, key: &Key, app: &AppName, spec: &ProbeSpec, result: &ProbeResult) -> bool {
        let (good, message) = match result {
            ProbeResult::Status { status, .. } if (spec.expect.0..=spec.expect.1).contains(status) => {
                (true, String::new())
            }
            ProbeResult::Status { path, status } => (false, format!("{}{path} answers {status}", spec.host)),
            ProbeResult::NoAnswer(why) => (false, format!("{} does not answer: {why}", spec.host)),
            // A condition of its own: `certificates`.
            ProbeResult::Certificate(_) => (true, String::new()),
        };
        let mut state = self.state();
        let transient = state.transient(key);
        let before = transient.health.get(app).is_none_or(|(ok, _)| *ok);
        let bad = if good { 0 } else { transient.bad.get(app).copied().unwrap_or(0) + 1 };
        transient.bad.insert(app.clone(), bad);
        let ok = bad < BAD_IN_A_ROW;
        if ok && !good {
            return false;
        }
        transient.health.insert(app.clone(), (ok, message));
        before != ok
    }
}

/// What is asked of a stack's apps: the first host of each app that has a health check.
pub(crate) fn probes(stack: &Stack) -> Vec<(AppName, ProbeSpec)> {
    stack
        .apps
        .iter()
        .filter_map(|(name, app)| {
            let health = app.health_http.as_ref()?;
            let (at, host) = app.hosts.iter().next()?;
            let prefix = at.path.trim_end_matches('/');
            Some((
                name.clone(),
                ProbeSpec {
                    host: at.host.clone(),
                    https: host.https != Https::None,
                    paths: health.paths.iter().map(|p| format!("{prefix}{p}")).collect(),
                    expect: health.expect,
                },
            ))
        })
        .collect()
}
