//! The gate: what must be seen before a version is called Ready, in this order: our deployment ended `done`; the live
//! service carries the wanted hash and its update is completed; replicas run; the health check answers in time.
//!
//! Nothing is inferred from a request that was accepted.

use crate::Planner;
use berth_model::condition::{Phase, Reason};
use berth_model::desired::DesiredApp;
use berth_model::field::{Field, Value};
use berth_model::hash::Hash;
use berth_model::ids::DeploymentId;
use berth_model::observed::{
    Deployment, DeploymentStatus, Live, ProbeResult, Seen, SeenApp, SeenService, Task, UpdateState,
};
use berth_model::record::{AppRecord, Rollout};
use berth_model::remote::Read;
use berth_model::stack::{HealthHttp, Https};
use berth_model::step::{Learned, ProbeSpec, Step};
use berth_model::time::Time;
use berth_model::units::show_duration;
use std::time::Duration;

/// A job that is in neither list for this long is lost.
const LOST_AFTER: Duration = Duration::from_secs(4);
/// A deployment that runs for longer says so; it is not repeated, since it still holds the queue.
const STUCK_AFTER: Duration = Duration::from_secs(20 * 60);
/// A service that has not converged by then failed.
const CONVERGE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Tasks that wait for an address for this long do not get one.
const ADDRESS_WITHIN: Duration = Duration::from_secs(30);
/// A pending certificate holds the gate no longer than this.
const CERTIFICATE_WITHIN: Duration = Duration::from_secs(5 * 60);
/// Deployments of one version before it is given up.
const ATTEMPTS: u32 = 5;

impl Planner<'_> {
    /// Moves a rollout on by what was seen.
    pub(crate) fn gate(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        rollout: &Rollout,
        seen: &SeenApp,
        changed: bool,
    ) {
        if changed && self.plan.steps.iter().any(|s| needs_new_deploy(s, app)) {
            // Written after the deployment began: it did not carry this.
            return self.deploy(app, record, "fields were written after the deployment began".to_owned());
        }
        let mut rollout = rollout.clone();
        if rollout.phase <= Phase::Deploy {
            self.phase(Phase::Deploy);
            match self.deployment(app, record, &mut rollout, seen) {
                Step1::Wait => return self.keep_rollout(app, record, rollout),
                Step1::Looking | Step1::Over => return,
                Step1::Done => enter(&mut rollout, Phase::Converge, self.policy.now),
            }
        }
        if rollout.phase == Phase::Converge {
            self.phase(Phase::Converge);
            match self.converge(app, record, &mut rollout, seen) {
                Step1::Wait => return self.keep_rollout(app, record, rollout),
                Step1::Looking | Step1::Over => return,
                Step1::Done => enter(&mut rollout, Phase::Health, self.policy.now),
            }
        }
        self.phase(Phase::Health);
        match self.health(app, &mut rollout) {
            Step1::Wait => self.keep_rollout(app, record, rollout),
            Step1::Looking => {
                // Entering the phase is worth remembering even before the first answer: its time runs from here.
                self.keep_rollout(app, record, rollout);
            }
            Step1::Over => {}
            Step1::Done => {
                self.learn(Learned::Live { app: app.name.clone(), hash: Some(app.hash) });
                self.learn(Learned::Good { app: app.name.clone(), hash: app.hash });
                self.learn(Learned::Rollout { app: app.name.clone(), rollout: None });
            }
        }
    }

    fn keep_rollout(&mut self, app: &DesiredApp, record: &AppRecord, rollout: Rollout) {
        if record.rollout.as_deref() != Some(&rollout) {
            self.learn(Learned::Rollout { app: app.name.clone(), rollout: Some(Box::new(rollout)) });
        }
    }

    fn fail(&mut self, app: &DesiredApp, hash: Hash, reason: Reason, message: String) -> Step1 {
        self.learn(Learned::Failed { app: app.name.clone(), hash, reason, message });
        Step1::Over
    }

    /// Our deployment, through queue, run and outcome.
    fn deployment(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        rollout: &mut Rollout,
        seen: &SeenApp,
    ) -> Step1 {
        let now = self.policy.now;
        let Some(jobs) = self.input.observed.jobs.clone() else {
            self.look(Read::Jobs);
            return Step1::Looking;
        };
        let queued = jobs.holds(&seen.id, &rollout.token);
        match jobs.row(&seen.id, &rollout.token) {
            Some(row) => {
                rollout.missing_since = None;
                rollout.unanswered = false;
                self.row(app, record, rollout, row)
            }
            None if queued => {
                rollout.missing_since = None;
                rollout.unanswered = false;
                rollout.last = "the deployment waits in Dokploy's queue".to_owned();
                self.wait(pace(now.since(rollout.asked)), "the deployment waits in the queue");
                Step1::Wait
            }
            None => self.missing(app, record, rollout, seen),
        }
    }

    fn row(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        rollout: &mut Rollout,
        row: &Deployment,
    ) -> Step1 {
        let now = self.policy.now;
        match row.status {
            DeploymentStatus::Done => Step1::Done,
            DeploymentStatus::Running if now.since(rollout.asked) > STUCK_AFTER => {
                self.block(
                    format!("app {}", app.name),
                    Reason::DeployStuck,
                    format!(
                        "the deployment has been running for {}; look at its log in Dokploy; a restart of the dokploy service ends it",
                        show_duration(Duration::from_secs(now.since(rollout.asked).as_secs()))
                    ),
                );
                self.wait(Duration::from_secs(60), "a stuck deployment");
                Step1::Wait
            }
            DeploymentStatus::Running => {
                rollout.last = "the deployment runs".to_owned();
                self.wait(pace(now.since(rollout.asked)), "the deployment runs");
                Step1::Wait
            }
            DeploymentStatus::Cancelled => {
                self.again(app, record, rollout, "a restart of Dokploy cancelled the deployment")
            }
            DeploymentStatus::Error => match self.log(&row.id) {
                None => Step1::Looking,
                Some(log) => {
                    let why = if log.is_empty() { "its log is empty".to_owned() } else { log };
                    self.fail(
                        app,
                        rollout.hash,
                        Reason::DeployFailed,
                        format!("the deployment failed: {why}"),
                    )
                }
            },
        }
    }

    fn log(&mut self, id: &DeploymentId) -> Option<String> {
        let found = self.input.observed.logs.get(id).cloned();
        if found.is_none() {
            self.look(Read::Log(id.clone()));
        }
        found
    }

    /// Neither queued nor a row. It may have aged out (eleven rows a service), be lost, or still be on its way.
    fn missing(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        rollout: &mut Rollout,
        seen: &SeenApp,
    ) -> Step1 {
        let now = self.policy.now;
        let since = *rollout.missing_since.get_or_insert(now);
        let patience = if rollout.unanswered { self.policy.settle } else { LOST_AFTER };
        let waited = if rollout.unanswered { now.since(rollout.asked) } else { now.since(since) };
        if waited < patience {
            rollout.last = "the deployment is not in the queue yet".to_owned();
            self.wait(Duration::from_secs(1).min(patience), "looks for the deployment");
            return Step1::Wait;
        }
        match self.input.observed.live.get(&seen.service) {
            None | Some(Seen::Unknown) if !self.input.observed.live.contains_key(&seen.service) => {
                self.look(Read::Live(seen.service.clone()));
                Step1::Looking
            }
            Some(Seen::Present(live)) if live.hash == Some(rollout.hash) => Step1::Done,
            Some(Seen::Unknown) => {
                self.wait(Duration::from_secs(2), "the live service is not known");
                Step1::Wait
            }
            _ => self.again(app, record, rollout, "the deployment was lost before it began"),
        }
    }

    fn again(&mut self, app: &DesiredApp, record: &AppRecord, rollout: &Rollout, why: &str) -> Step1 {
        if rollout.attempts >= ATTEMPTS {
            let message = format!("{why}, {} times in a row", rollout.attempts);
            return self.fail(app, rollout.hash, Reason::DeployFailed, message);
        }
        self.deploy(app, record, why.to_owned());
        Step1::Over
    }

    /// Swarm's update of the service.
    fn converge(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        rollout: &mut Rollout,
        seen: &SeenApp,
    ) -> Step1 {
        let now = self.policy.now;
        let waited = now.since(rollout.since);
        let live = match self.input.observed.live.get(&seen.service) {
            None => {
                self.look(Read::Live(seen.service.clone()));
                return Step1::Looking;
            }
            Some(Seen::Present(live)) => live,
            Some(Seen::Unknown) => {
                self.wait(Duration::from_secs(2), "the live service is not known");
                return Step1::Wait;
            }
            Some(Seen::Absent) if waited > ADDRESS_WITHIN => {
                return self.again(app, record, rollout, "the deployment is done but no service is there");
            }
            Some(Seen::Absent) => {
                self.wait(Duration::from_secs(1), "the service appears");
                return Step1::Wait;
            }
        };
        match &live.update {
            UpdateState::RolledBack(why) => {
                return self.task_failure(app, rollout, seen, Reason::RolledBackBySwarm, why);
            }
            UpdateState::Paused(why) => {
                return self.task_failure(app, rollout, seen, Reason::TasksFailing, why);
            }
            UpdateState::Updating if waited <= CONVERGE_WITHIN => {
                rollout.last = "Swarm updates the service".to_owned();
                if let Some(step) = self.stuck_tasks(app, rollout, seen, waited) {
                    return step;
                }
                self.wait(pace(waited), "Swarm updates the service");
                return Step1::Wait;
            }
            UpdateState::Updating => {
                return self.task_failure(
                    app,
                    rollout,
                    seen,
                    Reason::TasksFailing,
                    "the update does not end",
                );
            }
            UpdateState::Settled => {}
        }
        if live.hash != Some(rollout.hash) {
            if waited > Duration::from_secs(10) {
                return self.again(
                    app,
                    record,
                    rollout,
                    "another version runs though the deployment is done",
                );
            }
            self.wait(Duration::from_secs(1), "the new version appears");
            return Step1::Wait;
        }
        self.replicas(app, rollout, seen, live, waited)
    }

    fn replicas(
        &mut self,
        app: &DesiredApp,
        rollout: &mut Rollout,
        seen: &SeenApp,
        live: &Live,
        waited: Duration,
    ) -> Step1 {
        let wanted = match app.fields.get(&Field::Replicas) {
            Some(Value::Int(n)) => u32::try_from(*n).unwrap_or(u32::MAX),
            _ => live.replicas.unwrap_or(1),
        };
        let services = match &self.input.observed.services {
            Seen::Unknown => {
                if !self.input.observed.services_asked {
                    self.look(Read::Services);
                    return Step1::Looking;
                }
                self.wait(Duration::from_secs(2), "the list of services is not known");
                return Step1::Wait;
            }
            Seen::Absent => None,
            Seen::Present(all) => all.get(&seen.service).cloned(),
        };
        let service = services.unwrap_or(SeenService { image: "".into(), running: 0, wanted });
        if service.running >= wanted && service.wanted == wanted {
            return Step1::Done;
        }
        rollout.last = format!("{} of {wanted} replicas run", service.running);
        if let Some(step) = self.stuck_tasks(app, rollout, seen, waited) {
            return step;
        }
        if waited > CONVERGE_WITHIN {
            let why = rollout.last.clone();
            return self.task_failure(app, rollout, seen, Reason::TasksFailing, &why);
        }
        self.wait(pace(waited), rollout.last.clone());
        Step1::Wait
    }

    /// Tasks that will not come up by waiting: no address, or one failure after the other.
    fn stuck_tasks(
        &mut self,
        app: &DesiredApp,
        rollout: &mut Rollout,
        seen: &SeenApp,
        waited: Duration,
    ) -> Option<Step1> {
        if waited < Duration::from_secs(3) {
            return None;
        }
        let Some(tasks) = self.input.observed.tasks.get(&seen.service) else {
            self.look(Read::Tasks(seen.service.clone()));
            return Some(Step1::Looking);
        };
        let now = self.policy.now;
        let wanted = |t: &&Task| t.desired.eq_ignore_ascii_case("running");
        let no_address = tasks.iter().filter(wanted).any(|t| t.state.eq_ignore_ascii_case("new"));
        if no_address {
            let since = *rollout.without_address.get_or_insert(now);
            if now.since(since) >= ADDRESS_WITHIN {
                return Some(self.fail(
                    app,
                    rollout.hash,
                    Reason::AddressSpace,
                    "its tasks have been waiting for an address for 30s: the network dokploy-network is full; make it with a larger subnet, or remove stacks".to_owned(),
                ));
            }
        } else {
            rollout.without_address = None;
        }
        let failed = tasks.iter().filter(|t| t.error.is_some() && !wanted(t)).count();
        if failed >= 3 && tasks.iter().filter(wanted).all(|t| !t.state.eq_ignore_ascii_case("running")) {
            let why = newest_error(tasks).unwrap_or_else(|| "tasks end one after the other".to_owned());
            return Some(self.fail(
                app,
                rollout.hash,
                Reason::TasksFailing,
                format!("tasks end one after the other: {why}"),
            ));
        }
        None
    }

    fn task_failure(
        &mut self,
        app: &DesiredApp,
        rollout: &Rollout,
        seen: &SeenApp,
        reason: Reason,
        why: &str,
    ) -> Step1 {
        let Some(tasks) = self.input.observed.tasks.get(&seen.service) else {
            self.look(Read::Tasks(seen.service.clone()));
            return Step1::Looking;
        };
        let detail = newest_error(tasks).unwrap_or_else(|| why.to_owned());
        let lead = match reason {
            Reason::RolledBackBySwarm => "Swarm put the old version back",
            _ => "tasks do not come up",
        };
        self.fail(app, rollout.hash, reason, format!("{lead}: {detail}"))
    }

    /// The health check, begun only now.
    fn health(&mut self, app: &DesiredApp, rollout: &mut Rollout) -> Step1 {
        let Some((health, spec)) = probe_spec(app) else {
            return Step1::Done;
        };
        let now = self.policy.now;
        let Some(result) = self.input.observed.probes.get(&app.name) else {
            self.step(Step::Probe { app: app.name.clone(), probe: spec });
            return Step1::Looking;
        };
        match result {
            ProbeResult::Status { status, .. } if (health.expect.0..=health.expect.1).contains(status) => {
                Step1::Done
            }
            ProbeResult::Certificate(why) => {
                let since = *rollout.certificate_since.get_or_insert(now);
                if now.since(since) >= CERTIFICATE_WITHIN {
                    // Never a failure of the gate: it is a condition of its own from here on.
                    return Step1::Done;
                }
                rollout.last = format!("the certificate of {} is pending: {why}", spec.host);
                self.note(format!("app {}", app.name), Reason::CertificatePending, rollout.last.clone());
                // The time of the health check does not run while nothing can be asked.
                rollout.since = now;
                self.wait(health.every.max(Duration::from_secs(1)), rollout.last.clone());
                Step1::Wait
            }
            other => {
                rollout.last = match other {
                    ProbeResult::Status { path, status } => {
                        format!("{}{path} answered {status}", spec.host)
                    }
                    ProbeResult::NoAnswer(why) | ProbeResult::Certificate(why) => {
                        format!("{} did not answer: {why}", spec.host)
                    }
                };
                if now.since(rollout.since) >= health.within {
                    let message = format!(
                        "the health check did not pass within {}: {}",
                        show_duration(health.within),
                        rollout.last
                    );
                    return self.fail(app, rollout.hash, Reason::HealthFailed, message);
                }
                self.wait(health.every, rollout.last.clone());
                Step1::Wait
            }
        }
    }
}

/// How one gate of the row went.
enum Step1 {
    /// Passed.
    Done,
    /// Look again later.
    Wait,
    /// A fact was asked for.
    Looking,
    /// The plan says what happens instead.
    Over,
}

fn enter(rollout: &mut Rollout, phase: Phase, now: Time) {
    if rollout.phase != phase {
        rollout.phase = phase;
        rollout.since = now;
        rollout.last.clear();
    }
}

/// Looks come quickly at first and slow down with the wait: a sixth of what was waited already.
pub(crate) fn pace(waited: Duration) -> Duration {
    (waited / 6).clamp(Duration::from_millis(150), Duration::from_secs(5))
}

fn newest_error(tasks: &[Task]) -> Option<String> {
    tasks.iter().find_map(|t| t.error.clone())
}

fn needs_new_deploy(step: &Step, app: &DesiredApp) -> bool {
    match step {
        Step::UpdateApp { app: a, fields, .. } => *a == app.name && fields.keys().any(|f| f.needs_deploy()),
        _ => false,
    }
}

/// What to ask of an app, where it is asked anything.
#[must_use]
pub fn probe_spec(app: &DesiredApp) -> Option<(&HealthHttp, ProbeSpec)> {
    let health = app.health.as_ref()?;
    let (at, host) = app.first_host()?;
    let prefix = at.path.trim_end_matches('/');
    let paths = health.paths.iter().map(|p| format!("{prefix}{p}")).collect();
    Some((
        health,
        ProbeSpec { host: at.host.clone(), https: host.https != Https::None, paths, expect: health.expect },
    ))
}
