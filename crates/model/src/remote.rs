//! What may be asked of a platform and what it answers: the vocabulary of the `Platform` port.
//!
//! A [`Write`] is complete: every id in it is known. A plan's [`crate::step::Step`] becomes one when it is executed.

use crate::desired::{Child, ChildKey};
use crate::field::Fields;
use crate::ids::{AppId, ChildId, DeploymentId, EnvironmentId, ProjectId, ServiceName};
use crate::observed::{AppDetail, Jobs, Live, ProjectDetail, Seen, SeenService, Task};
use crate::secret::Secret;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// A question about one object. Every one may be asked again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Read {
    /// An application in full.
    App(AppId),
    /// The live service of that name.
    Live(ServiceName),
    /// Its tasks.
    Tasks(ServiceName),
    /// Every running service of the account: one list, shared by all who wait.
    Services,
    /// The Traefik file of an application.
    Routers(AppId),
    /// All open deployments and queued jobs of the account.
    Jobs,
    /// A project in full.
    Project(ProjectId),
    /// The end of a deployment's log.
    Log(DeploymentId),
    /// The address that the platform has for its server.
    Address,
    /// What an application's containers wrote lately.
    Output {
        /// Which.
        app: AppId,
        /// At most so many lines, the newest.
        lines: u16,
        /// Not older than this.
        since: Option<Duration>,
    },
}

/// The answer to a [`Read`].
#[derive(Debug, Clone)]
pub enum Fact {
    /// To `App`.
    App(Seen<Box<AppDetail>>),
    /// To `Live`.
    Live(Seen<Live>),
    /// To `Tasks`.
    Tasks(Vec<Task>),
    /// To `Services`. `Unknown` where the list is empty: that says nothing.
    Services(Seen<Arc<HashMap<ServiceName, SeenService>>>),
    /// To `Routers`.
    Routers(Seen<String>),
    /// To `Jobs`.
    Jobs(Arc<Jobs>),
    /// To `Project`.
    Project(Seen<Box<ProjectDetail>>),
    /// To `Log`. Redacted.
    Log(String),
    /// To `Address`. `Absent` where none was set there.
    Address(Seen<IpAddr>),
    /// To `Output`: as it was written.
    Output(String),
}

/// A change of one object.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Makes a project; its environment `production` comes with it.
    CreateProject {
        /// Name.
        name: String,
        /// Mark, with other words.
        description: String,
    },
    /// Changes what is given.
    UpdateProject {
        /// Which.
        id: ProjectId,
        /// New description.
        description: Option<String>,
        /// New variables, the whole text.
        env: Option<Secret>,
    },
    /// Removes an empty project.
    RemoveProject {
        /// Which.
        id: ProjectId,
    },
    /// Removes an empty environment.
    RemoveEnvironment {
        /// Of which project.
        project: ProjectId,
        /// Which.
        id: EnvironmentId,
    },
    /// Makes an environment.
    CreateEnvironment {
        /// Where.
        project: ProjectId,
        /// Name.
        name: String,
        /// Mark.
        description: String,
    },
    /// Changes an environment's variables.
    UpdateEnvironment {
        /// Which.
        id: EnvironmentId,
        /// New variables, the whole text.
        env: Secret,
    },
    /// Makes an application.
    CreateApp {
        /// Where.
        environment: EnvironmentId,
        /// Display name.
        name: String,
        /// What the service name begins with.
        service_base: String,
        /// Operation mark.
        description: String,
    },
    /// Moves an application with everything it has.
    MoveApp {
        /// Which.
        id: AppId,
        /// Where to.
        environment: EnvironmentId,
    },
    /// Changes the fields that are given, and no other.
    UpdateApp {
        /// Which.
        id: AppId,
        /// Fields.
        fields: Fields,
        /// The env text, where `Env` is among the fields.
        env_text: Option<Secret>,
        /// New description.
        description: Option<String>,
    },
    /// Makes a mount, port or domain.
    CreateChild {
        /// Under which application.
        app: AppId,
        /// Its key.
        key: ChildKey,
        /// Its values.
        child: Child,
    },
    /// Writes a child's values over what is there (also the same ones again, to mend a router).
    UpdateChild {
        /// Under which application.
        app: AppId,
        /// Which.
        id: ChildId,
        /// Its key.
        key: ChildKey,
        /// Its values.
        child: Child,
    },
    /// Removes a child.
    RemoveChild {
        /// Under which application.
        app: AppId,
        /// Which.
        id: ChildId,
        /// Its key.
        key: ChildKey,
    },
    /// Asks for a deployment.
    Deploy {
        /// Of which application.
        app: AppId,
        /// Finds the deployment while it is open.
        token: String,
    },
    /// Starts the containers of an application anew, with the settings that it has.
    Restart {
        /// Which.
        app: AppId,
        /// Its service.
        service: ServiceName,
    },
    /// Removes an application with its children; volumes stay.
    DeleteApp {
        /// Which.
        id: AppId,
    },
}

impl Write {
    /// Whether the object exists only because of this write: an unanswered one must be looked up before it is repeated.
    #[must_use]
    pub fn creates(&self) -> bool {
        matches!(
            self,
            Write::CreateProject { .. }
                | Write::CreateEnvironment { .. }
                | Write::CreateApp { .. }
                | Write::CreateChild { .. }
                | Write::Deploy { .. }
        )
    }

    /// A word for logs and metrics.
    #[must_use]
    pub fn verb(&self) -> &'static str {
        match self {
            Write::CreateProject { .. } => "create_project",
            Write::UpdateProject { .. } => "update_project",
            Write::RemoveProject { .. } => "remove_project",
            Write::RemoveEnvironment { .. } => "remove_environment",
            Write::CreateEnvironment { .. } => "create_environment",
            Write::UpdateEnvironment { .. } => "update_environment",
            Write::CreateApp { .. } => "create_app",
            Write::MoveApp { .. } => "move_app",
            Write::UpdateApp { .. } => "update_app",
            Write::CreateChild { .. } => "create_child",
            Write::UpdateChild { .. } => "update_child",
            Write::RemoveChild { .. } => "remove_child",
            Write::Deploy { .. } => "deploy",
            Write::Restart { .. } => "restart",
            Write::DeleteApp { .. } => "delete_app",
        }
    }
}

/// What a [`Write`] answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Nothing worth knowing.
    Done,
    /// To `CreateProject`.
    Project {
        /// Its id.
        project: ProjectId,
        /// The environment that came with it.
        environment: EnvironmentId,
    },
    /// To `CreateEnvironment`.
    Environment(EnvironmentId),
    /// To `CreateApp`.
    App {
        /// Its id.
        id: AppId,
        /// Its service name.
        service: ServiceName,
    },
    /// To `CreateChild`.
    Child(ChildId),
}
