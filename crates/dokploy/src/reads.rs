//! Reads: the sweep, which every stack shares, and the questions about one object.

use crate::adapter::{Inner, Services, query};
use crate::batch::Query;
use crate::fleet::{self, Lists};
use crate::parse::json;
use crate::{detail, live};
use berth_model::ids::ServiceName;
use berth_model::observed::{FleetView, Jobs, Live, Seen};
use berth_model::remote::{Fact, Read};
use berth_ports::PortError;
use berth_wire::{Lane, Transport};
use bytes::Bytes;
use futures::FutureExt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long the network's room counts as known: it changes when an operator makes the network anew.
const ROOM_AGE: Duration = Duration::from_secs(600);
/// How long one look at the queue, or at what runs, serves those who ask after it.
const SHARED_AGE: Duration = Duration::from_millis(150);
/// The same, for reads of the audit.
const AUDIT_AGE: Duration = Duration::from_secs(2);

impl<T: Transport> Inner<T> {
    pub(crate) async fn sweep(self: &Arc<Self>, max_age: Duration) -> Result<Arc<FleetView>, PortError> {
        let look = || {
            let inner = Arc::clone(self);
            async move { inner.look_at_fleet().await }.boxed()
        };
        self.fleet.get(max_age, self.finished(), look).await
    }

    async fn look_at_fleet(self: Arc<Self>) -> Result<Arc<FleetView>, PortError> {
        // A member's key and another organization both answer 200, with too little.
        self.standing().await?.usable()?;
        let at = self.now();
        let this = &self;
        let plain = async |procedure| this.ask(&query(procedure).list()).await.map(|reply| reply.body);
        let (inventory, projects, domains, services, room) = futures::join!(
            plain("project.allForPermissions"),
            plain("project.all"),
            self.domains(),
            plain("swarm.getNodeApps"),
            self.network_room(),
        );
        let (inventory, projects, domains) = (inventory?, projects?, domains?);
        // Docker behind the server may be away while the server is not: what runs is then unknown, and no more.
        let services = match services {
            Ok(body) => body,
            Err(error @ (PortError::Auth { .. } | PortError::Unsupported { .. })) => return Err(error),
            Err(_) => Bytes::new(),
        };
        let owner = self.owner.clone();
        let read = move || {
            let lists = Lists {
                inventory: &inventory,
                projects: &projects,
                domains: domains.as_deref(),
                services: &services,
                room,
            };
            fleet::view(&lists, &owner, at).map(Arc::new)
        };
        if !self.aside {
            return read();
        }
        match tokio::task::spawn_blocking(read).await {
            Ok(view) => view,
            Err(broken) => Err(PortError::Unknown { why: format!("the lists could not be read: {broken}") }),
        }
    }

    async fn domains(&self) -> Result<Option<Bytes>, PortError> {
        if !self.has_domains.load(Ordering::Relaxed) {
            return Ok(None);
        }
        match self.ask(&query("overview.domains").list()).await {
            Ok(reply) => Ok(Some(reply.body)),
            Err(PortError::Unsupported { .. }) => {
                tracing::info!(backend = %self.name, "no overview.domains (older than v0.30.0): domains are read one application at a time");
                self.has_domains.store(false, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Addresses of the services' network. That it cannot be known is no reason to fail.
    pub(crate) async fn network_room(self: &Arc<Self>) -> Option<u64> {
        let look = || {
            let inner = Arc::clone(self);
            async move {
                let call = query("docker.getConfig").with("containerId", "dokploy-network");
                match inner.ask(&call).await {
                    Ok(reply) => Ok(fleet::network_room(&reply.body)),
                    // Kept as well: a server that cannot say is not asked with every sweep.
                    Err(
                        PortError::NotFound(_) | PortError::Unsupported { .. } | PortError::Refused { .. },
                    ) => Ok(None),
                    Err(error) => Err(error),
                }
            }
            .boxed()
        };
        self.room.get(ROOM_AGE, 0, look).await.ok().flatten()
    }

    /// Whether Docker answers: the services' own network is always there.
    async fn docker_answers(self: &Arc<Self>) -> Result<bool, PortError> {
        let call = query("docker.getConfig").with("containerId", "dokploy-network");
        let found = absent(self.ask(&call).await.map(|reply| reply.body))?;
        Ok(found.is_some_and(|body| live::is_network(&body, "dokploy-network")))
    }

    /// A service that no list can be missing, since none lists anything: looked for while Docker answers before and
    /// after.
    async fn last_of_all(self: &Arc<Self>, service: &ServiceName) -> Result<Seen<Live>, PortError> {
        if !self.docker_answers().await? {
            return Ok(Seen::Unknown);
        }
        let call = query("docker.getConfig").with("containerId", service.as_str());
        let found = absent(self.ask(&call).await.map(|reply| reply.body))?;
        if let Some(live) = found.map(|body| live::service(&body)).transpose()?.flatten() {
            return Ok(Seen::Present(live));
        }
        Ok(if self.docker_answers().await? { Seen::Absent } else { Seen::Unknown })
    }

    async fn services_now(self: &Arc<Self>, max_age: Duration) -> Result<Services, PortError> {
        let look = || {
            let inner = Arc::clone(self);
            async move {
                began(&inner.looked.services);
                let reply = inner.ask(&query("swarm.getNodeApps").list()).await?;
                Ok(match fleet::services(&reply.body)? {
                    Seen::Present(services) => Seen::Present(Arc::new(services)),
                    Seen::Absent | Seen::Unknown => Seen::Unknown,
                })
            }
            .boxed()
        };
        self.services.get(max_age, self.finished(), look).await
    }

    async fn jobs_now(self: &Arc<Self>) -> Result<Arc<Jobs>, PortError> {
        let look = || {
            let inner = Arc::clone(self);
            async move {
                began(&inner.looked.jobs);
                let at = inner.now();
                // The queue first: a job that leaves it in between then shows in the rows. The other way round it
                // would show in neither.
                let queue = inner.ask(&query("deployment.queueList")).await?;
                let rows = inner.ask(&query("deployment.allCentralized").list()).await?;
                live::jobs(&queue.body, &rows.body, at).map(Arc::new)
            }
            .boxed()
        };
        // Every write makes the last look too old: while many stacks are written, they wait for one look together.
        spaced(&self.looked.jobs).await;
        self.jobs.get(SHARED_AGE, self.finished(), look).await
    }

    pub(crate) async fn read(self: &Arc<Self>, read: &Read, slow: bool) -> Result<Fact, PortError> {
        let lane = if slow { Lane::Slow } else { Lane::Read };
        match read {
            Read::App(id) => {
                let found = self.gather(one("application.one", "applicationId", id.as_str()), slow).await;
                Ok(Fact::App(match absent(found)? {
                    Some(body) => Seen::Present(Box::new(detail::app(&body)?)),
                    None => Seen::Absent,
                }))
            }
            Read::Live(service) => {
                let found = self.gather(one("docker.getConfig", "containerId", service.as_str()), slow).await;
                if let Some(live) = absent(found)?.map(|body| live::service(&body)).transpose()?.flatten() {
                    return Ok(Fact::Live(Seen::Present(live)));
                }
                // Nothing may mean "no such service" and "Docker did not answer": the list of all tells them apart.
                Ok(Fact::Live(match self.services_now(Duration::ZERO).await? {
                    Seen::Present(services) if services.contains_key(service) => Seen::Unknown,
                    Seen::Present(_) => Seen::Absent,
                    // An empty list says nothing: Docker may be away, or the last service of all may be gone.
                    Seen::Absent | Seen::Unknown => self.last_of_all(service).await?,
                }))
            }
            Read::Address => {
                let body = self.ask(&query("settings.getIp")).await?.body;
                let text: String = json("settings.getIp", &body)?;
                // A server that was set up behind a name has none.
                Ok(Fact::Address(text.trim().parse().map_or(Seen::Absent, Seen::Present)))
            }
            Read::Routers(id) => {
                let found = self
                    .gather(one("application.readTraefikConfig", "applicationId", id.as_str()), slow)
                    .await;
                Ok(Fact::Routers(
                    match absent(found)?.map(|body| live::routers(&body)).transpose()?.flatten() {
                        Some(text) => Seen::Present(text),
                        None => Seen::Absent,
                    },
                ))
            }
            Read::Tasks(service) => {
                let mut call =
                    query("docker.getServiceContainersByAppName").with("appName", service.as_str());
                call.lane = lane;
                Ok(Fact::Tasks(live::tasks(&self.ask(&call).await?.body)?))
            }
            // Nobody waits for an audit: one look serves many of its stacks.
            Read::Services if slow => Ok(Fact::Services(self.services_now(AUDIT_AGE).await?)),
            Read::Services => {
                spaced(&self.looked.services).await;
                Ok(Fact::Services(self.services_now(SHARED_AGE).await?))
            }
            Read::Jobs => Ok(Fact::Jobs(self.jobs_now().await?)),
            Read::Project(id) => {
                let mut call = query("project.one").with("projectId", id.as_str());
                call.lane = lane;
                Ok(Fact::Project(match absent(self.ask(&call).await.map(|reply| reply.body))? {
                    Some(body) => Seen::Present(Box::new(detail::project(&body)?)),
                    None => Seen::Absent,
                }))
            }
            Read::Log(id) => {
                let call = query("deployment.readLogs").with("deploymentId", id.as_str()).with("tail", "100");
                Ok(Fact::Log(live::log(&self.ask(&call).await?.body)?))
            }
            Read::Output { app, lines, since } => {
                let mut call = query("application.readLogs")
                    .with("applicationId", app.as_str())
                    .with("tail", (*lines).clamp(1, 10_000).to_string());
                if let Some(since) = since {
                    call = call.with("since", format!("{}s", since.as_secs().max(1)));
                }
                Ok(Fact::Output(live::output(&self.ask(&call).await?.body)?))
            }
        }
    }
}

fn began(look: &Mutex<Option<Instant>>) {
    *look.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
}

/// Waits until the last look is old enough for another one.
async fn spaced(look: &Mutex<Option<Instant>>) {
    let last = *look.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = last {
        tokio::time::sleep_until(last + SHARED_AGE).await;
    }
}

fn one(procedure: &'static str, parameter: &'static str, value: &str) -> Query {
    Query { procedure, parameter, value: value.to_owned() }
}

/// A known procedure that knows no such object.
fn absent(found: Result<Bytes, PortError>) -> Result<Option<Bytes>, PortError> {
    match found {
        Ok(body) => Ok(Some(body)),
        Err(PortError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
