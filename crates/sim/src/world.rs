//! The whole simulated world and its clock: database, queue, Swarm, proxy and keys.
//! It must never read the wall clock: time is told by the caller and applied lazily, event by event.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::auth::{ApiKey, Role};
use crate::clock::Timers;
use crate::columns::Application;
use crate::http_api::Order;
use crate::image::Behaviour;
use crate::queue::Queue;
use crate::rng::Rng;
use crate::rows::{Deployment, Domain, Environment, Mount, Port, Project};
use crate::sim::{Options, Probe};
use crate::swarm::{Service, Swarm, Tick};
use crate::table::Table;
use crate::traefik::Traefik;

/// The tables. Change rows with [`Table::update`].
#[derive(Clone, Debug, Default)]
pub struct Db {
    pub projects: Table<Project>,
    pub environments: Table<Environment>,
    pub applications: Table<Application>,
    pub domains: Table<Domain>,
    pub mounts: Table<Mount>,
    pub ports: Table<Port>,
    pub deployments: Table<Deployment>,
}

/// Something that happens by itself when its time has come.
pub(crate) enum Event {
    Tick(Tick),
    Pump,
    JobDone(u64),
    /// A call whose client may have gone away.
    Call(Order),
}

/// An earlier state of what lists are made of.
pub(crate) struct Snapshot {
    pub at: Duration,
    pub db: Db,
    pub services: std::collections::BTreeMap<String, Service>,
}

/// Who may see lists of services, as one text array that every create rewrites whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessList {
    pub ids: Vec<String>,
    pub written: u64,
}

/// Everything there is. Tests change it to play another person in the UI or a shell on the host.
pub struct World {
    pub options: Arc<Options>,
    pub db: Db,
    pub queue: Queue,
    pub swarm: Swarm,
    pub traefik: Traefik,
    pub keys: Vec<ApiKey>,
    /// Applications (by `appName`) whose service Docker fails to remove although the call says 200.
    pub fail_service_rm: HashSet<String>,
    /// True once concurrent domain creates used up the connection pool: every call hangs until a restart.
    pub wedged: bool,
    pub organization: String,
    pub user: String,
    pub(crate) rng: Rng,
    pub(crate) access: AccessList,
    pub(crate) boot: u64,
    /// Grows with every write that another write can race with.
    pub(crate) seq: u64,
    pub(crate) creating_domains: usize,
    pub(crate) history: Option<VecDeque<Snapshot>>,
    config_key: u64,
    now: Duration,
    timers: Timers<Event>,
}

impl World {
    pub(crate) fn new(options: Arc<Options>) -> World {
        let mut rng = Rng::new(options.seed);
        let swarm = Swarm::new(options.seed, options.capacity_prefix, options.start_time, options.monitor);
        let (organization, user) = (rng.id(), rng.id());
        World {
            options,
            db: Db::default(),
            queue: Queue::default(),
            swarm,
            traefik: Traefik::default(),
            keys: Vec::new(),
            fail_service_rm: HashSet::new(),
            wedged: false,
            organization,
            user,
            rng,
            access: AccessList::default(),
            boot: 0,
            seq: 0,
            creating_domains: 0,
            history: None,
            config_key: 0,
            now: Duration::ZERO,
            timers: Timers::default(),
        }
    }

    /// Time since the start of the simulation.
    pub fn now(&self) -> Duration {
        self.now
    }

    pub(crate) fn timestamp(&self, at: Duration) -> Timestamp {
        let span = SignedDuration::try_from(at).unwrap_or(SignedDuration::MAX);
        self.options.epoch.saturating_add(span).unwrap_or(self.options.epoch)
    }

    /// A moment as the database writes it: ISO with milliseconds.
    pub fn iso_at(&self, at: Duration) -> String {
        self.timestamp(at).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    pub fn iso(&self) -> String {
        self.iso_at(self.now)
    }

    pub(crate) fn millis_at(&self, at: Duration) -> i64 {
        self.timestamp(at).as_millisecond()
    }

    pub(crate) fn millis(&self) -> i64 {
        self.millis_at(self.now)
    }

    pub(crate) fn next_config_key(&mut self) -> u64 {
        self.config_key += 1;
        self.config_key
    }

    pub(crate) fn later(&mut self, wait: Duration, event: Event) {
        self.timers.push(self.now + wait, event);
    }

    /// Lets time pass: everything due until `now` happens, each thing at its own moment.
    pub(crate) fn advance(&mut self, now: Duration) {
        loop {
            for (at, tick) in std::mem::take(&mut self.swarm.outbox) {
                self.timers.push(at, Event::Tick(tick));
            }
            let Some((at, event)) = self.timers.due(now) else {
                break;
            };
            self.now = self.now.max(at);
            match event {
                Event::Tick(tick) => self.swarm.tick(&tick, self.now),
                Event::Pump => self.pump(),
                Event::JobDone(id) => self.job_done(id),
                Event::Call(order) => self.run_order(&order),
            }
        }
        self.now = self.now.max(now);
    }

    /// The server process dies and comes back; Swarm does not notice.
    pub(crate) fn restart(&mut self) {
        self.boot += 1;
        self.wedged = false;
        self.creating_domains = 0;
        self.drop_queue();
    }

    pub fn add_key(&mut self, name: &str, role: Role, limit: Option<(Duration, u64)>) -> ApiKey {
        let key = ApiKey {
            id: self.rng.id(),
            name: name.to_owned(),
            key: format!("{}{}{}", self.rng.id(), self.rng.id(), self.rng.id()),
            role,
            created_at: self.iso(),
            limit,
            count: 0,
            last: None,
            remaining: None,
        };
        self.keys.push(key.clone());
        key
    }

    /// An application found by its `appName` or its `name` (the first one of that name).
    pub fn find_app(&self, name: &str) -> Option<&Application> {
        self.db.applications.iter().find(|a| &*a.app_name == name || a.text("name") == Some(name))
    }

    /// Another person edits one column in the UI.
    pub fn edit_app(&mut self, id: &str, column: &str, value: serde_json::Value) -> bool {
        self.db.applications.update(id, |a| a.set(column, value)).is_some()
    }

    /// Another person deletes an application: rows, routers and service, as `application.delete` does.
    pub fn delete_app(&mut self, id: &str) -> bool {
        let Some(app) = self.db.applications.remove(id) else {
            return false;
        };
        self.drop_children(id);
        self.queue.waiting.retain(|job| job.application_id != id);
        self.traefik.files.remove(&*app.app_name);
        if !self.fail_service_rm.contains(&*app.app_name) {
            let now = self.now;
            self.swarm.remove(&app.app_name, now);
        }
        true
    }

    /// The database's cascade below an application.
    pub(crate) fn drop_children(&mut self, id: &str) {
        let domains: Vec<String> = self.db.domains.of(id).map(|r| r.domain_id.clone()).collect();
        domains.iter().for_each(|id| drop(self.db.domains.remove(id)));
        let mounts: Vec<String> = self.db.mounts.of(id).map(|r| r.mount_id.clone()).collect();
        mounts.iter().for_each(|id| drop(self.db.mounts.remove(id)));
        let ports: Vec<String> = self.db.ports.of(id).map(|r| r.port_id.clone()).collect();
        ports.iter().for_each(|id| drop(self.db.ports.remove(id)));
        let rows: Vec<String> = self.db.deployments.of(id).map(|r| r.deployment_id.clone()).collect();
        rows.iter().for_each(|id| drop(self.db.deployments.remove(id)));
    }

    pub(crate) fn probe(&self, host: &str, path: &str) -> Probe {
        if self.traefik.down {
            return Probe::Refused;
        }
        let path = path.split('?').next().unwrap_or("/");
        let Some((app, router)) = self.traefik.route(host, path) else {
            return Probe::NoRoute;
        };
        let Some(task) = self.swarm.services.get(app).and_then(Service::live) else {
            return Probe::BadGateway;
        };
        match self.swarm.images.behaviour(&task.spec.image) {
            Behaviour::Unhealthy => Probe::Status(500),
            Behaviour::Status(paths) => {
                Probe::Status(paths.get(&router.rewrite(path)).copied().unwrap_or(404))
            }
            Behaviour::SlowStart(wait) if self.now < task.since + *wait => Probe::BadGateway,
            _ => Probe::Status(200),
        }
    }

    pub(crate) fn remember(&mut self) {
        let Some(history) = &mut self.history else { return };
        if history.len() == 64 {
            history.pop_front();
        }
        let (db, services) = (self.db.clone(), self.swarm.services.clone());
        history.push_back(Snapshot { at: self.now, db, services });
    }
}
