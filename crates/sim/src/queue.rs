//! The deployment queue: in memory, first in first out, lost at a restart.
//! A job must read the application at its start, never at the call that queued it.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::{Value, json};

use crate::dotenv;
use crate::image::Behaviour;
use crate::rows::{Deployment, Mount, Port};
use crate::spec::Spec;
use crate::world::{Event, World};

const KEPT: usize = 10;
const FAILED: &str = "\nError occurred ❌, check the logs for details.\n";

#[derive(Clone, Debug)]
pub struct Job {
    pub id: u64,
    pub application_id: String,
    pub title: String,
    pub description: String,
    /// False for `redeploy`, which does not pull.
    pub pull: bool,
    pub queued: Duration,
    pub started: Option<Duration>,
    app_name: String,
    deployment_id: String,
    /// What the job found at its start: the spec to hand over, unless the deployment fails.
    spec: Option<Box<Spec>>,
}

#[derive(Clone, Debug)]
pub struct Queue {
    pub waiting: VecDeque<Job>,
    pub active: Vec<Job>,
    /// How many jobs run at a time.
    pub concurrency: usize,
    count: u64,
}

impl Default for Queue {
    fn default() -> Self {
        Queue { waiting: VecDeque::new(), active: Vec::new(), concurrency: 1, count: 0 }
    }
}

impl World {
    pub(crate) fn enqueue(&mut self, application_id: &str, title: String, description: String, pull: bool) {
        self.queue.count += 1;
        let job = Job {
            id: self.queue.count,
            application_id: application_id.to_owned(),
            title,
            description,
            pull,
            queued: self.now(),
            started: None,
            app_name: String::new(),
            deployment_id: String::new(),
            spec: None,
        };
        self.queue.waiting.push_back(job);
        // The worker wakes a moment later: until then nothing but the queue shows the job.
        self.later(self.options.queue_delay, Event::Pump);
    }

    pub(crate) fn pump(&mut self) {
        while self.queue.active.len() < self.queue.concurrency.max(1) {
            // Jobs of one service never overlap.
            let busy = |id: &str| self.queue.active.iter().any(|j| j.application_id == id);
            let Some(at) = self.queue.waiting.iter().position(|j| !busy(&j.application_id)) else {
                return;
            };
            let Some(job) = self.queue.waiting.remove(at) else {
                return;
            };
            self.start_job(job);
        }
    }

    fn start_job(&mut self, mut job: Job) {
        let Some(app) = self.db.applications.get(&job.application_id) else {
            return;
        };
        job.app_name = app.app_name.to_string();
        job.started = Some(self.now());
        job.deployment_id = self.rng.id();
        let (spec, log) = match self.prepare(&job) {
            Ok((spec, log)) => (Some(Box::new(spec)), log),
            Err(log) => (None, log),
        };
        job.spec = spec;
        self.db
            .applications
            .update(&job.application_id, |a| a.set("applicationStatus", Value::from("running")));
        let old: Vec<String> =
            self.db.deployments.of(&job.application_id).map(|d| d.deployment_id.clone()).collect();
        for id in old.iter().take(old.len().saturating_sub(KEPT)) {
            self.db.deployments.remove(id);
        }
        let now = self.iso();
        self.db.deployments.insert(Deployment {
            deployment_id: job.deployment_id.clone(),
            title: job.title.clone(),
            description: Some(job.description.clone()),
            status: "running".to_owned(),
            log_path: format!("/etc/dokploy/logs/{0}/{0}-{1}.log", job.app_name, self.millis()),
            pid: None,
            application_id: job.application_id.clone(),
            compose_id: None,
            server_id: None,
            is_preview_deployment: false,
            preview_deployment_id: None,
            created_at: now.clone(),
            started_at: Some(now),
            finished_at: None,
            error_message: None,
            schedule_id: None,
            backup_id: None,
            rollback_id: None,
            volume_backup_id: None,
            build_server_id: None,
            log,
        });
        self.later(self.options.build_time, Event::JobDone(job.id));
        self.queue.active.push(job);
    }

    /// Pulls and resolves: the spec with the log so far, or the log of the failure.
    fn prepare(&self, job: &Job) -> Result<(Spec, String), String> {
        let mut log = String::from("Initializing deployment\n");
        let Some(app) = self.db.applications.get(&job.application_id) else {
            return Err(log);
        };
        let fail = |log: &str, why: &str| Err(format!("{log}{why}{FAILED}"));
        if app.text("sourceType") != Some("docker") {
            return fail(&log, "Error: the source has no provider\n❌ Cloning failed\n");
        }
        let Some(image) = app.text("dockerImage").filter(|image| !image.is_empty()) else {
            return fail(&log, "Docker image not found");
        };
        if job.pull {
            log.push_str(&format!("Pulling {image}\n"));
            match self.swarm.images.behaviour(image) {
                Behaviour::Missing => {
                    let why = "not found: manifest unknown: manifest unknown\n❌ Pulling image failed\n";
                    return fail(&log, &format!("Error response from daemon: manifest for {image} {why}"));
                }
                Behaviour::LocalOnly => {
                    let why = "lookup the default registry: no such host\n❌ Pulling image failed\n";
                    return fail(&log, &format!("Error response from daemon: Get: dial tcp: {why}"));
                }
                _ => log.push_str(&format!(
                    "Status: Image is up to date for {image}\n{image}\n✅ Pulling image completed.\n"
                )),
            }
        }
        match self.spec_of(&job.application_id) {
            Ok(spec) => Ok((spec, log)),
            Err(why) => fail(&log, &format!("Error: {why}\n")),
        }
    }

    /// The spec the database asks for right now, or why it can not be made.
    pub(crate) fn spec_of(&self, application_id: &str) -> Result<Spec, String> {
        let app = self.db.applications.get(application_id).ok_or("Application not found")?;
        let environment = self.db.environments.get(app.environment_id());
        let project = environment.and_then(|e| self.db.projects.get(&e.project_id));
        let env = dotenv::resolve(
            app.text("env").unwrap_or_default(),
            environment.map_or("", |e| &e.env),
            project.map_or("", |p| &p.env),
        )?;
        let mounts: Vec<&Mount> = self.db.mounts.of(application_id).collect();
        let ports: Vec<&Port> = self.db.ports.of(application_id).collect();
        Spec::of(app, &mounts, &ports, env)
    }

    pub(crate) fn job_done(&mut self, id: u64) {
        let Some(at) = self.queue.active.iter().position(|j| j.id == id) else {
            return;
        };
        let job = self.queue.active.remove(at);
        let status = if job.spec.is_some() { "done" } else { "error" };
        // Handed over even when the application was deleted meanwhile: the service comes back.
        if let Some(spec) = job.spec {
            let now = self.now();
            self.swarm.apply(&job.app_name, *spec, now);
        }
        let now = self.iso();
        self.db.deployments.update(&job.deployment_id, |row| {
            row.status = status.to_owned();
            row.finished_at = Some(now);
        });
        self.db.applications.update(&job.application_id, |a| a.set("applicationStatus", Value::from(status)));
        self.pump();
    }

    /// What a restart does to the queue: waiting jobs vanish, running rows are cancelled.
    pub(crate) fn drop_queue(&mut self) {
        self.queue.waiting.clear();
        self.queue.active.clear();
        let running: Vec<(String, String)> = self
            .db
            .deployments
            .iter()
            .filter(|d| d.status == "running")
            .map(|d| (d.deployment_id.clone(), d.application_id.clone()))
            .collect();
        for (deployment, application) in running {
            self.db.deployments.update(&deployment, |row| row.status = "cancelled".to_owned());
            self.db.applications.update(&application, |a| a.set("applicationStatus", Value::from("idle")));
        }
    }

    /// `deployment.queueList`: waiting and active jobs, newest first.
    pub(crate) fn queue_list(&self) -> Vec<Value> {
        let mut jobs: Vec<&Job> = self.queue.active.iter().chain(&self.queue.waiting).collect();
        jobs.sort_by_key(|job| std::cmp::Reverse((job.queued, job.id)));
        jobs.into_iter().map(|job| self.queue_row(job)).collect()
    }

    fn queue_row(&self, job: &Job) -> Value {
        let app = self.db.applications.get(&job.application_id);
        let environment = app.and_then(|a| self.db.environments.get(a.environment_id()));
        let path = environment.map_or(Value::Null, |e| {
            let (project, environment) = (&e.project_id, &e.environment_id);
            let href = format!(
                "/dashboard/project/{project}/environment/{environment}/services/application/{}",
                job.application_id
            );
            json!({"href": href, "label": "Application"})
        });
        let mut row = json!({
            "id": format!("job-{}", job.id),
            "name": "deployments",
            "data": {
                "applicationId": job.application_id, "titleLog": job.title, "descriptionLog": job.description,
                "type": if job.pull { "deploy" } else { "redeploy" }, "applicationType": "application",
                "server": false,
            },
            "timestamp": self.millis_at(job.queued),
        });
        if let Some(started) = job.started {
            row["processedOn"] = Value::from(self.millis_at(started));
        }
        row["state"] = Value::from(if job.started.is_some() { "active" } else { "waiting" });
        row["servicePath"] = path;
        row
    }
}
