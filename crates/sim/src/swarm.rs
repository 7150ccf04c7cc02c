//! The Docker Swarm behind the server: services, tasks, updates with rollback, addresses, volumes.
//! It must never know the server's database: it acts on specs only, as the real one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::image::{Behaviour, Images};
use crate::rng::Rng;
use crate::spec::{Mode, Spec};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskState {
    /// Waits for an address, for ever if none comes free.
    New,
    Starting,
    Running,
    /// Dies again at every restart.
    Failed,
    Shutdown,
}

#[derive(Clone, Debug)]
pub struct Task {
    pub id: String,
    pub slot: u32,
    pub state: TaskState,
    pub error: Option<String>,
    /// When it entered its state.
    pub since: Duration,
    pub spec: Arc<Spec>,
    pub address: bool,
}

#[derive(Clone, Debug)]
pub struct UpdateStatus {
    /// `updating`, `completed`, `paused`, `rollback_started`, `rollback_paused` or `rollback_completed`.
    pub state: &'static str,
    pub started: Duration,
    pub completed: Option<Duration>,
    pub message: String,
}

#[derive(Clone, Debug)]
pub struct Service {
    pub id: String,
    pub name: String,
    pub spec: Arc<Spec>,
    pub previous: Option<Arc<Spec>>,
    /// Absent on a service that was never updated.
    pub update: Option<UpdateStatus>,
    pub version: u64,
    pub created: Duration,
    pub updated: Duration,
    pub vip: bool,
    pub tasks: Vec<Task>,
    /// The last few tasks that ended.
    pub history: Vec<Task>,
}

impl Service {
    pub fn running(&self) -> usize {
        self.tasks.iter().filter(|t| t.state == TaskState::Running).count()
    }

    /// The task that answers requests: a running one, the newest first.
    pub fn live(&self) -> Option<&Task> {
        self.tasks.iter().rev().find(|t| t.state == TaskState::Running)
    }

    /// True when every slot runs the present spec.
    pub fn settled(&self) -> bool {
        let running = |slot| {
            let fits = |t: &Task| {
                t.slot == slot && t.state == TaskState::Running && Arc::ptr_eq(&t.spec, &self.spec)
            };
            self.tasks.iter().any(fits)
        };
        (1..=self.spec.desired()).all(running)
    }
}

/// When a volume came to exist, and for which service.
#[derive(Clone, Debug)]
pub struct Volume {
    pub created: Duration,
    pub service: String,
}

/// What passing time does to a service, addressed by its id (a re-created service ignores old ticks).
#[derive(Clone, Debug)]
pub(crate) enum Tick {
    TaskUp { service: String, id: String, task: String },
    UpdateDone { service: String, id: String, version: u64 },
    RollbackDone { service: String, id: String, version: u64 },
}

#[derive(Clone, Debug)]
pub struct Swarm {
    /// By name, as `docker service ls` sorts them.
    pub services: BTreeMap<String, Service>,
    pub volumes: BTreeMap<String, Volume>,
    pub images: Images,
    /// How many addresses the shared network has to give, and how many are taken.
    pub capacity: usize,
    pub used: usize,
    pub start_time: Duration,
    pub monitor: Duration,
    starved: bool,
    rng: Rng,
    /// Ticks to come, collected by the world's clock.
    pub(crate) outbox: Vec<(Duration, Tick)>,
}

impl Swarm {
    pub fn new(seed: u64, prefix: u8, start_time: Duration, monitor: Duration) -> Swarm {
        // Network, broadcast, gateway and the node's own load-balancer address are never handed out.
        let capacity = (1usize << (32 - u32::from(prefix.clamp(8, 29)))) - 4;
        Swarm {
            services: BTreeMap::new(),
            volumes: BTreeMap::new(),
            images: Images::default(),
            capacity,
            used: 0,
            start_time,
            monitor,
            starved: false,
            rng: Rng::new(seed ^ 0x5157_4152_4d00),
            outbox: Vec::new(),
        }
    }

    fn take(&mut self) -> bool {
        let free = self.used < self.capacity;
        if free {
            self.used += 1;
        } else {
            self.starved = true;
        }
        free
    }

    /// Creates the service, or updates it when it exists: what a deployment does at its end.
    pub fn apply(&mut self, name: &str, mut spec: Spec, now: Duration) {
        match self.services.get(name) {
            None => self.create(name, spec, now),
            Some(service) => {
                spec.force_update = service.spec.force_update + 1;
                self.update(name, spec, now);
            }
        }
    }

    pub fn create(&mut self, name: &str, spec: Spec, now: Duration) {
        let id = self.rng.swarm_id();
        let service = Service {
            id,
            name: name.to_owned(),
            spec: Arc::new(spec),
            previous: None,
            update: None,
            version: 1,
            created: now,
            updated: now,
            vip: false,
            tasks: Vec::new(),
            history: Vec::new(),
        };
        self.services.insert(name.to_owned(), service);
        self.reconcile(name, now);
    }

    pub fn update(&mut self, name: &str, spec: Spec, now: Duration) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let scaling = service.spec.same_tasks(&spec);
        let stop_first = spec.update["Order"] != "start-first";
        let spec = Arc::new(spec);
        service.previous = Some(Arc::clone(&service.spec));
        service.version += 1;
        service.updated = now;
        // Every change of the spec clears the status; the updater sets a new one when tasks must change.
        service.update = None;
        if scaling {
            for task in service.tasks.iter_mut().filter(|t| Arc::ptr_eq(&t.spec, &service.spec)) {
                task.spec = Arc::clone(&spec);
            }
        } else {
            service.update = Some(UpdateStatus {
                state: "updating",
                started: now,
                completed: None,
                message: "update in progress".to_owned(),
            });
        }
        service.spec = spec;
        let id = service.id.clone();
        let version = service.version;
        let idle = service.spec.desired() == 0;
        // Only running tasks of the old spec live on beside the new ones, and only when started first.
        self.end_tasks(name, now, |task, spec| {
            !Arc::ptr_eq(&task.spec, spec) && (stop_first || task.state != TaskState::Running)
        });
        self.reconcile(name, now);
        if !scaling && idle {
            let tick = Tick::UpdateDone { service: name.to_owned(), id, version };
            self.outbox.push((now + self.monitor, tick));
        }
    }

    /// `docker service scale`. False when there is no such service.
    pub fn scale(&mut self, name: &str, replicas: u32, now: Duration) -> bool {
        let Some(service) = self.services.get(name) else {
            return false;
        };
        let mut spec = (*service.spec).clone();
        spec.mode = Mode::Replicated(replicas);
        self.update(name, spec, now);
        true
    }

    /// `docker service rm`. Volumes stay.
    pub fn remove(&mut self, name: &str, now: Duration) -> bool {
        let Some(service) = self.services.remove(name) else {
            return false;
        };
        let freed = service.tasks.iter().filter(|t| t.address).count() + usize::from(service.vip);
        self.used -= freed;
        self.refill(now);
        true
    }

    /// Ends tasks that match, keeping a short history as `docker service ps` shows it.
    fn end_tasks(&mut self, name: &str, now: Duration, end: impl Fn(&Task, &Arc<Spec>) -> bool) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let mut freed = 0;
        let mut kept = Vec::with_capacity(service.tasks.len());
        for mut task in std::mem::take(&mut service.tasks) {
            if !end(&task, &service.spec) {
                kept.push(task);
                continue;
            }
            freed += usize::from(task.address);
            task.address = false;
            if task.state != TaskState::Failed {
                task.state = TaskState::Shutdown;
                task.since = now;
            }
            service.history.push(task);
        }
        service.tasks = kept;
        let extra = service.history.len().saturating_sub(4);
        service.history.drain(..extra);
        self.used -= freed;
        if freed > 0 {
            self.refill(now);
        }
    }

    /// Gives freed addresses to those who wait for one.
    fn refill(&mut self, now: Duration) {
        if !self.starved {
            return;
        }
        self.starved = false;
        let names: Vec<String> = self.services.keys().cloned().collect();
        for name in names {
            self.reconcile(&name, now);
            if self.starved {
                return;
            }
        }
    }

    /// Brings the number of tasks and addresses of a service to what its spec asks for.
    fn reconcile(&mut self, name: &str, now: Duration) {
        let Some(service) = self.services.get(name) else {
            return;
        };
        let spec = Arc::clone(&service.spec);
        let wants_vip = spec.on_shared_network() && spec.endpoint == "vip";
        if service.vip != wants_vip {
            let got = if wants_vip { self.take() } else { false };
            if !wants_vip {
                self.used -= 1;
            }
            if let Some(service) = self.services.get_mut(name) {
                service.vip = got;
            }
        }
        let desired = spec.desired();
        self.end_tasks(name, now, |task, _| task.slot > desired);
        for slot in 1..=desired {
            let Some(service) = self.services.get_mut(name) else {
                return;
            };
            let ready = service.vip || !wants_vip;
            let own = |t: &&mut Task| t.slot == slot && Arc::ptr_eq(&t.spec, &spec);
            let waiting = match service.tasks.iter_mut().find(own) {
                Some(task) if task.state != TaskState::New => continue,
                Some(task) => task.id.clone(),
                None => {
                    let id = self.rng.swarm_id();
                    service.tasks.push(Task {
                        id: id.clone(),
                        slot,
                        state: TaskState::New,
                        error: None,
                        since: now,
                        spec: Arc::clone(&spec),
                        address: false,
                    });
                    id
                }
            };
            let address = spec.on_shared_network();
            if !ready {
                self.starved = true;
                continue;
            }
            if address && !self.take() {
                continue;
            }
            let Some(service) = self.services.get_mut(name) else {
                return;
            };
            if let Some(task) = service.tasks.iter_mut().find(|t| t.id == waiting) {
                task.state = TaskState::Starting;
                task.since = now;
                task.address = address;
            }
            let tick = Tick::TaskUp { service: name.to_owned(), id: service.id.clone(), task: waiting };
            self.outbox.push((now + self.start_time, tick));
        }
    }

    pub(crate) fn tick(&mut self, tick: &Tick, now: Duration) {
        match tick {
            Tick::TaskUp { service, id, task } => {
                if self.services.get(service).is_some_and(|s| s.id == *id) {
                    self.task_up(service, task, now);
                }
            }
            Tick::UpdateDone { service, id, version } => {
                self.finish(service, id, *version, "updating", now, |_| ("completed", "update completed"));
            }
            Tick::RollbackDone { service, id, version } => {
                self.finish(service, id, *version, "rollback_started", now, |service| {
                    if service.settled() {
                        ("rollback_completed", "rollback completed")
                    } else {
                        ("rollback_paused", "update paused due to failure or early termination of task")
                    }
                });
            }
        }
    }

    fn finish(
        &mut self,
        name: &str,
        id: &str,
        version: u64,
        from: &str,
        now: Duration,
        outcome: impl Fn(&Service) -> (&'static str, &'static str),
    ) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        if service.id != id || service.version != version {
            return;
        }
        let (state, message) = outcome(service);
        if let Some(update) = service.update.as_mut().filter(|u| u.state == from) {
            update.state = state;
            update.message = message.to_owned();
            update.completed = (!state.ends_with("paused")).then_some(now);
        }
    }

    fn task_up(&mut self, name: &str, task_id: &str, now: Duration) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Some(task) = service.tasks.iter_mut().find(|t| t.id == task_id) else {
            return;
        };
        if task.state != TaskState::Starting {
            return;
        }
        for volume in task.spec.mounts.iter().filter(|m| m["Type"] == "volume") {
            if let Some(source) = volume["Source"].as_str().filter(|s| !s.is_empty()) {
                let new = || Volume { created: now, service: name.to_owned() };
                self.volumes.entry(source.to_owned()).or_insert_with(new);
            }
        }
        task.since = now;
        let slot = task.slot;
        if let Some(error) = death(&task.spec, &self.images) {
            task.state = TaskState::Failed;
            task.error = Some(error);
            self.failed(name, task_id, slot, now);
            return;
        }
        task.state = TaskState::Running;
        task.error = None;
        self.end_tasks(name, now, |t, spec| t.slot == slot && t.id != task_id && !Arc::ptr_eq(&t.spec, spec));
        let Some(service) = self.services.get(name) else {
            return;
        };
        if service.update.as_ref().is_some_and(|u| u.state == "updating") && service.settled() {
            let tick = Tick::UpdateDone {
                service: name.to_owned(),
                id: service.id.clone(),
                version: service.version,
            };
            self.outbox.push((now + self.monitor, tick));
        }
    }

    /// A task of the present spec died: the update's failure action decides.
    fn failed(&mut self, name: &str, task_id: &str, slot: u32, now: Duration) {
        let Some(service) = self.services.get_mut(name) else {
            return;
        };
        let Some(update) = service.update.as_mut().filter(|u| u.state == "updating") else {
            return;
        };
        let action = service.spec.update["FailureAction"].as_str().unwrap_or("pause").to_owned();
        match (action.as_str(), service.previous.clone()) {
            ("rollback", Some(previous)) => {
                update.state = "rollback_started";
                update.started = now;
                update.message =
                    format!("update rolled back due to failure or early termination of task {task_id}");
                service.spec = previous;
                service.previous = None;
                service.version += 1;
                service.updated = now;
                let tick = Tick::RollbackDone {
                    service: name.to_owned(),
                    id: service.id.clone(),
                    version: service.version,
                };
                self.outbox.push((now + self.monitor, tick));
                self.end_tasks(name, now, |t, spec| !Arc::ptr_eq(&t.spec, spec));
                self.reconcile(name, now);
            }
            ("continue", _) => {
                let tick = Tick::UpdateDone {
                    service: name.to_owned(),
                    id: service.id.clone(),
                    version: service.version,
                };
                self.outbox.push((now + self.monitor, tick));
                self.end_tasks(name, now, |t, spec| t.slot == slot && !Arc::ptr_eq(&t.spec, spec));
            }
            _ => {
                update.state = "paused";
                update.message =
                    format!("update paused due to failure or early termination of task {task_id}");
            }
        }
    }

    /// Declares how an image behaves; tasks that kept dying of it get another start.
    pub fn set_image(&mut self, reference: &str, behaviour: Behaviour, now: Duration) {
        self.images.set(reference, behaviour);
        for service in self.services.values_mut() {
            for task in &mut service.tasks {
                if task.state == TaskState::Failed && death(&task.spec, &self.images).is_none() {
                    task.state = TaskState::Starting;
                    task.since = now;
                    let (name, id) = (service.name.clone(), service.id.clone());
                    let tick = Tick::TaskUp { service: name, id, task: task.id.clone() };
                    self.outbox.push((now + self.start_time, tick));
                }
            }
        }
    }
}

/// Why a container of this spec dies, if it does.
pub(crate) fn death(spec: &Spec, images: &Images) -> Option<String> {
    let command = spec.command.as_deref().unwrap_or_default().join(" ");
    if command.contains("/nosuch") {
        return Some(format!(
            "starting container failed: exec: \"{command}\": stat: no such file or directory"
        ));
    }
    let health = spec.health["Test"].get(0).and_then(Value::as_str);
    let checked = health.is_some_and(|first| !first.is_empty() && first != "NONE");
    let exit = || Some("task: non-zero exit (1)".to_owned());
    if spec.env.iter().any(|line| line == "BERTH_SIM_CRASH=1") {
        return exit();
    }
    match images.behaviour(&spec.image) {
        Behaviour::Crash => exit(),
        Behaviour::Missing => Some(format!("No such image: {}", spec.image)),
        Behaviour::Unhealthy if checked => Some("task: non-zero exit (137): unhealthy container".to_owned()),
        _ => None,
    }
}
