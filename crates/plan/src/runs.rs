//! What runs against what is wanted: when an app is deployed, and when it is left running.

use crate::Planner;
use crate::diff::Drift;
use berth_model::condition::{Phase, Reason};
use berth_model::desired::{ChildKey, DesiredApp};
use berth_model::field::{Field, Value, text};
use berth_model::ids::AppName;
use berth_model::observed::{DeploymentStatus, Live, Seen, SeenApp, UpdateState};
use berth_model::record::{AppRecord, Rollout};
use berth_model::remote::Read;
use berth_model::stack::DriftPolicy;
use berth_model::step::{Learned, Step};
use std::time::Duration;

impl Planner<'_> {
    /// Brings an app up, and starts it anew once it is at rest, where somebody asked for that.
    pub(crate) fn bring_up(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        seen: &SeenApp,
        changed: bool,
        known: bool,
    ) {
        let (steps, blocked, wait) = (self.plan.steps.len(), self.plan.blocked.len(), self.plan.wait.clone());
        self.routers(app, record, seen);
        self.deploy_or_follow(app, record, seen, changed, known);
        let rests = !changed
            && record.rollout.is_none()
            && record.live == Some(app.hash)
            && (steps, blocked) == (self.plan.steps.len(), self.plan.blocked.len())
            && wait == self.plan.wait;
        if rests && record.restart.is_some() {
            let (app, id, service) = (app.name.clone(), seen.id.clone(), seen.service.clone());
            self.step(Step::Restart { app, id, service });
        }
    }

    /// Deploys, follows a deployment through the gate, or finds that what runs is what is wanted.
    fn deploy_or_follow(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        seen: &SeenApp,
        changed: bool,
        known: bool,
    ) {
        if record.deploy_due {
            return self.deploy(app, record, "what was written last is not deployed yet".to_owned());
        }
        if let Some(rollout) = &record.rollout
            && rollout.hash == app.hash
        {
            return self.gate(app, record, rollout, seen, changed);
        }
        if changed && self.changes_what_runs(app, record) {
            // What is written now is not what was read: whatever runs, it is not this.
            let repairs = |l: &Learned| matches!(l, Learned::Fought { app: a, .. } if *a == app.name);
            let repaired = self.plan.learned.iter().any(repairs);
            let why = if repaired { "it was changed from outside" } else { "the spec changed" };
            return self.deploy(app, record, why.to_owned());
        }
        if let Some(rollout) = &record.rollout {
            return self.superseded(app, rollout, seen);
        }
        if !self.policy.verify && !self.policy.pull && known && record.live == Some(app.hash) {
            return;
        }
        if self.policy.pull {
            return self.deploy(app, record, "asked for by hand".to_owned());
        }
        match self.input.observed.live.get(&seen.service) {
            Some(Seen::Present(live)) => self.compare_live(app, record, live),
            Some(Seen::Absent) => {
                self.learn(Learned::Live { app: app.name.clone(), hash: None });
                let why = if record.live.is_some() { "its service is gone" } else { "it was never deployed" };
                self.deploy(app, record, why.to_owned());
            }
            _ => self.look(Read::Live(seen.service.clone())),
        }
    }

    /// Another version is on its way although this one is wanted, and nothing has to be written for it: what runs is
    /// known once that deployment is over.
    fn superseded(&mut self, app: &DesiredApp, rollout: &Rollout, seen: &SeenApp) {
        let Some(jobs) = &self.input.observed.jobs else {
            return self.look(Read::Jobs);
        };
        let queued = jobs.holds(&seen.id, &rollout.token);
        let waited = self.policy.now.since(rollout.asked);
        let open = match jobs.row(&seen.id, &rollout.token) {
            Some(row) => row.status == DeploymentStatus::Running,
            None => queued || (rollout.unanswered && waited < self.policy.settle),
        };
        if open {
            return self.wait(crate::gate::pace(waited), "an earlier deployment ends");
        }
        self.learn(Learned::Live { app: app.name.clone(), hash: None });
        self.learn(Learned::Rollout { app: app.name.clone(), rollout: None });
    }

    /// Whether the steps just planned for this app reach the container only with a deploy.
    fn changes_what_runs(&self, app: &DesiredApp, record: &AppRecord) -> bool {
        record.live != Some(app.hash)
            || self.plan.steps.iter().any(|s| match s {
                Step::UpdateApp { app: a, fields, .. } => {
                    *a == app.name && fields.keys().any(|f| f.needs_deploy())
                }
                Step::CreateChild { app: a, key, .. } | Step::RemoveChild { app: a, key, .. } => {
                    *a == app.name && !matches!(key, ChildKey::Domain(_))
                }
                Step::UpdateChild { app: a, key, from, child, .. } => {
                    *a == app.name && !matches!(key, ChildKey::Domain(_)) && from.as_ref() != Some(child)
                }
                _ => false,
            })
    }

    /// What runs against what is wanted.
    fn compare_live(&mut self, app: &DesiredApp, record: &AppRecord, live: &Live) {
        if live.update == UpdateState::Updating {
            self.wait(Duration::from_secs(2), "Swarm updates the service");
            return;
        }
        if live.hash != Some(app.hash) {
            let why = match &live.update {
                UpdateState::RolledBack(why) => format!("Swarm had rolled it back: {why}"),
                _ if live.hash.is_none() => "what runs carries no hash".to_owned(),
                _ => "an older version runs".to_owned(),
            };
            return self.deploy(app, record, why);
        }
        let image = text(&app.fields, Field::Image);
        let replicas = match app.fields.get(&Field::Replicas) {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        };
        let off = if image.is_some_and(|i| !same_image(i, &live.image)) {
            Some(("image", format!("it runs the image {}", live.image)))
        } else if replicas.is_some() && live.replicas.map(u64::from) != replicas {
            let seen = live.replicas.map_or_else(|| "another number of".to_owned(), |n| n.to_string());
            Some(("replicas", format!("it was scaled to {seen} replicas")))
        } else {
            None
        };
        if let Some((path, why)) = off {
            return match Drift::verdict(app, record, path, self.policy.now) {
                Ok(()) => {
                    self.learn(Learned::Fought { app: app.name.clone(), paths: vec![path.to_owned()] });
                    self.deploy(app, record, why);
                }
                Err((reason, message)) => {
                    if app.policy(path) != DriftPolicy::Ignore {
                        let left = [(path.to_owned(), (reason, format!("{why}; {message}")))];
                        self.left_alone(app, record, true, &left);
                    }
                    self.learn(Learned::Live { app: app.name.clone(), hash: live.hash });
                }
            };
        }
        self.left_alone(app, record, true, &[]);
        self.learn(Learned::Live { app: app.name.clone(), hash: live.hash });
        if record.good == Some(app.hash) {
            self.degraded(app, record);
            return;
        }
        // The right version runs, but nobody here saw it pass the gate (the store was lost): it passes it now.
        let rollout = Rollout {
            hash: app.hash,
            token: String::new(),
            phase: Phase::Converge,
            asked: self.policy.now,
            since: self.policy.now,
            attempts: 1,
            unanswered: false,
            last: String::new(),
            restoring: self.policy.restoring.contains_key(&app.name),
            without_address: None,
            missing_since: None,
            certificate_since: None,
        };
        self.learn(Learned::Rollout { app: app.name.clone(), rollout: Some(Box::new(rollout)) });
    }

    /// A version that passed the gate, with replicas missing now: Swarm is at it, and the stack is not Ready.
    fn degraded(&mut self, app: &DesiredApp, record: &AppRecord) {
        let Some(service) = &record.service else { return };
        match &self.input.observed.services {
            Seen::Unknown if !self.input.observed.services_asked => self.look(Read::Services),
            Seen::Present(all) => {
                if let Some(seen) = all.get(service).filter(|s| s.running < s.wanted) {
                    self.wait(
                        Duration::from_secs(10),
                        format!("{} of {} replicas of app {} run", seen.running, seen.wanted, app.name),
                    );
                }
            }
            Seen::Unknown | Seen::Absent => {}
        }
    }

    pub(crate) fn deploy(&mut self, app: &DesiredApp, record: &AppRecord, because: String) {
        if !self.input.compile_blocked.is_empty() {
            return;
        }
        let waits: Vec<_> = app.needs.iter().filter(|n| !self.is_up(n)).map(ToString::to_string).collect();
        if !waits.is_empty() {
            self.block(
                format!("app {}", app.name),
                Reason::WaitsFor,
                format!("it is deployed once {} is up", waits.join(", ")),
            );
            return;
        }
        self.phase(Phase::Deploy);
        let same = record.rollout.as_ref().filter(|r| r.hash == app.hash);
        self.step(Step::Deploy {
            app: app.name.clone(),
            hash: app.hash,
            restoring: self.policy.restoring.contains_key(&app.name),
            attempt: same.map_or(1, |r| r.attempts + 1),
            because,
        });
    }

    /// Whether an app of this stack passed the gate and is not on its way to another version.
    fn is_up(&self, name: &AppName) -> bool {
        let Some(desired) = self.input.desired else {
            return false;
        };
        if desired.left.contains(name) {
            return false;
        }
        let Some(app) = desired.apps.iter().find(|a| a.name == *name) else {
            return true;
        };
        let good = self
            .plan
            .learned
            .iter()
            .any(|l| matches!(l, Learned::Good { app: a, hash } if a == name && *hash == app.hash));
        let record = self.input.record.apps.get(name);
        let up = record.is_some_and(|r| r.rollout.is_none() && r.live == Some(app.hash));
        let deploys = self.plan.steps.iter().any(|s| matches!(s, Step::Deploy { app: a, .. } if a == name));
        (up || good) && !deploys
    }
}

/// Swarm may show an image with the digest it was resolved to.
pub(crate) fn same_image(wanted: &str, live: &str) -> bool {
    wanted == live || live.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('@'))
}
