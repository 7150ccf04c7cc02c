//! A plan: the steps that are missing, and everything that is left alone with the reason why.

use crate::condition::{Phase, Reason};
use crate::desired::{Child, ChildKey};
use crate::dns::{self, DnsRead, LedgerEntry, RecordKey, Verified, ZoneId};
use crate::field::{Difference, Fields};
use crate::hash::Hash;
use crate::ids::{AppId, AppName, ChildId, EnvironmentId, ProjectId, ServiceName};
use crate::mark::Mark;
use crate::remote::Read;
use crate::secret::Secret;
use crate::time::Time;
use std::time::Duration;

/// What to do, in order, and what not to do.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Plan {
    /// Steps, in the order in which they are taken.
    pub steps: Vec<Step>,
    /// What is left alone.
    pub blocked: Vec<Blocked>,
    /// What should be said though nothing is done: drift that is only reported, unmanaged children, warnings.
    pub notes: Vec<Note>,
    /// What to remember, apart from the outcome of steps.
    pub learned: Vec<Learned>,
    /// Look again after this long: something is under way.
    pub wait: Option<(Duration, String)>,
    /// Where the rollout stands.
    pub phase: Option<Phase>,
}

impl Plan {
    /// Steps that change the outside.
    pub fn writes(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter().filter(|s| !s.is_read())
    }
    /// Nothing to do and nothing in the way.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.blocked.is_empty() && self.wait.is_none()
    }
    /// Whether the step at this place changes an app, and nothing but a deployment follows for it.
    #[must_use]
    pub fn is_last_of_app(&self, at: usize) -> bool {
        let Some(app) = self.steps[at].changes() else {
            return false;
        };
        // With something of the app left out, it is not all as wanted after this.
        if self.blocked.iter().any(|b| b.what == format!("app {app}")) {
            return false;
        }
        !self.steps[at + 1..].iter().any(|s| s.changes() == Some(app))
    }
    /// Apps that the plan deploys.
    pub fn deploys(&self) -> impl Iterator<Item = &AppName> {
        self.steps.iter().filter_map(|s| match s {
            Step::Deploy { app, .. } => Some(app),
            _ => None,
        })
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Look before anything else; the plan is made again with the answer.
    Look(Read),
    /// Look at DNS.
    LookDns(DnsRead),
    /// Ask an app's health check.
    Probe {
        /// Which app.
        app: AppName,
        /// URL parts, and what counts as good.
        probe: ProbeSpec,
    },
    /// Ask the registry for an image.
    CheckImage {
        /// The reference.
        image: String,
        /// Credentials, if any.
        auth: Option<(String, Secret)>,
    },
    /// Change records of one zone. They do not depend on each other.
    ChangeRecords {
        /// The zone.
        zone: ZoneId,
        /// The changes, each at one name.
        changes: Vec<dns::Change>,
    },
    /// Make the stack's project.
    CreateProject {
        /// Name.
        name: String,
        /// Words before the mark.
        words: Option<String>,
    },
    /// Change a project.
    UpdateProject {
        /// Which.
        id: ProjectId,
        /// Differences, to be shown.
        differences: Vec<Difference>,
        /// New description.
        description: Option<String>,
        /// New env text.
        env: Option<Secret>,
    },
    /// Remove a project that is empty and ours.
    RemoveProject {
        /// Which.
        id: ProjectId,
        /// To be shown.
        name: String,
    },
    /// Remove an environment that is empty and ours.
    RemoveEnvironment {
        /// Of which project.
        project: ProjectId,
        /// Which.
        id: crate::ids::EnvironmentId,
        /// To be shown.
        name: String,
    },
    /// Make an environment.
    CreateEnvironment {
        /// In which project; `None` is the one made in this plan.
        project: Option<ProjectId>,
        /// Name.
        name: String,
    },
    /// Change an environment's variables.
    UpdateEnvironment {
        /// Which; `None` is the one of that name made in this plan.
        id: Option<EnvironmentId>,
        /// Its name.
        name: String,
        /// Differences, to be shown.
        differences: Vec<Difference>,
        /// New env text.
        env: Secret,
    },
    /// Make an application.
    CreateApp {
        /// Which app.
        app: AppName,
        /// Where; `None` is the environment made in this plan.
        environment: Option<EnvironmentId>,
        /// Display name.
        name: String,
        /// What the service name begins with.
        service_base: String,
    },
    /// Move an application.
    MoveApp {
        /// Which app.
        app: AppName,
        /// Its id.
        id: AppId,
        /// Where from, to be shown.
        from: EnvironmentId,
        /// Where to; `None` is the environment made in this plan.
        to: Option<EnvironmentId>,
    },
    /// Change fields of an application, its mark with them.
    UpdateApp {
        /// Which app.
        app: AppName,
        /// Differences, to be shown.
        differences: Vec<Difference>,
        /// Fields to write.
        fields: Fields,
        /// The env text, where the fields hold the environment.
        env_text: Option<Secret>,
        /// The mark to write: ids that are known only after creates are filled in when it is written.
        mark: Option<Box<Mark>>,
        /// The description that the mark goes into.
        description: Option<String>,
    },
    /// Make a child.
    CreateChild {
        /// Of which app.
        app: AppName,
        /// Its key.
        key: ChildKey,
        /// Its values.
        child: Child,
    },
    /// Change a child.
    UpdateChild {
        /// Of which app.
        app: AppName,
        /// Which.
        id: ChildId,
        /// Its key.
        key: ChildKey,
        /// What is there, to be shown; the same as `child` where only its router is mended.
        from: Option<Child>,
        /// Its values.
        child: Child,
    },
    /// Remove a child.
    RemoveChild {
        /// Of which app.
        app: AppName,
        /// Which.
        id: ChildId,
        /// Its key.
        key: ChildKey,
    },
    /// Ask for a deployment.
    Deploy {
        /// Of which app.
        app: AppName,
        /// Of what.
        hash: Hash,
        /// It puts the last good version back.
        restoring: bool,
        /// Which attempt at this version, from 1.
        attempt: u32,
        /// Why, in words.
        because: String,
    },
    /// Start an app's containers anew.
    Restart {
        /// Which app.
        app: AppName,
        /// Its application.
        id: AppId,
        /// Its service.
        service: ServiceName,
    },
    /// Delete an application.
    DeleteApp {
        /// Which app it was.
        app: AppName,
        /// Its id.
        id: AppId,
        /// Its service.
        service: ServiceName,
        /// A second object of one create, never deployed.
        duplicate: bool,
    },
}

impl Step {
    /// The app whose existing application this changes, short of a deployment.
    #[must_use]
    pub fn changes(&self) -> Option<&AppName> {
        match self {
            Step::MoveApp { app, .. }
            | Step::UpdateApp { app, .. }
            | Step::CreateChild { app, .. }
            | Step::UpdateChild { app, .. }
            | Step::RemoveChild { app, .. } => Some(app),
            _ => None,
        }
    }

    /// The app that it is about, if it is about one.
    #[must_use]
    pub fn app(&self) -> Option<&AppName> {
        match self {
            Step::Probe { app, .. }
            | Step::CreateApp { app, .. }
            | Step::MoveApp { app, .. }
            | Step::UpdateApp { app, .. }
            | Step::CreateChild { app, .. }
            | Step::UpdateChild { app, .. }
            | Step::RemoveChild { app, .. }
            | Step::Deploy { app, .. }
            | Step::Restart { app, .. }
            | Step::DeleteApp { app, .. } => Some(app),
            Step::Look(_)
            | Step::LookDns(_)
            | Step::ChangeRecords { .. }
            | Step::CheckImage { .. }
            | Step::CreateProject { .. }
            | Step::UpdateProject { .. }
            | Step::RemoveProject { .. }
            | Step::RemoveEnvironment { .. }
            | Step::CreateEnvironment { .. }
            | Step::UpdateEnvironment { .. } => None,
        }
    }

    /// Whether the step leaves the outside as it is.
    #[must_use]
    pub fn is_read(&self) -> bool {
        matches!(self, Step::Look(_) | Step::LookDns(_) | Step::Probe { .. } | Step::CheckImage { .. })
    }

    /// The phase it belongs to.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self {
            Step::Look(_) | Step::LookDns(_) | Step::CheckImage { .. } => Phase::Check,
            Step::ChangeRecords { .. }
            | Step::CreateProject { .. }
            | Step::UpdateProject { .. }
            | Step::RemoveProject { .. }
            | Step::RemoveEnvironment { .. }
            | Step::CreateEnvironment { .. }
            | Step::UpdateEnvironment { .. }
            | Step::MoveApp { .. } => Phase::Place,
            Step::CreateApp { .. }
            | Step::CreateChild { .. }
            | Step::UpdateChild { .. }
            | Step::RemoveChild { .. }
            | Step::DeleteApp { .. } => Phase::Create,
            Step::UpdateApp { .. } => Phase::Configure,
            Step::Deploy { .. } | Step::Restart { .. } => Phase::Deploy,
            Step::Probe { .. } => Phase::Health,
        }
    }
}

/// What to ask of an app from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSpec {
    /// The host.
    pub host: String,
    /// HTTPS.
    pub https: bool,
    /// Paths, tried in order.
    pub paths: Vec<String>,
    /// Lowest and highest good status.
    pub expect: (u16, u16),
}

/// Something that is left alone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Blocked {
    /// What: an app, a child, the project.
    pub what: String,
    /// Why.
    pub reason: Reason,
    /// In words, with what to do next.
    pub message: String,
}

/// Something that should be said.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Note {
    /// About what.
    pub what: String,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// Something that looking told, to be kept in the record.
#[derive(Debug, Clone, PartialEq)]
pub enum Learned {
    /// This application is ours (found by its mark).
    Owned {
        /// Which app.
        app: AppName,
        /// Its id.
        id: AppId,
        /// Its service.
        service: ServiceName,
        /// Its mark.
        mark: Box<Mark>,
    },
    /// This child is ours (found by an intent, or in the mark).
    OwnedChild {
        /// Of which app.
        app: AppName,
        /// Its key.
        key: ChildKey,
        /// Its id.
        id: ChildId,
    },
    /// A child is gone.
    GoneChild {
        /// Of which app.
        app: AppName,
        /// Its key.
        key: ChildKey,
    },
    /// An application is gone, and what ran of it.
    GoneApp {
        /// Which app.
        app: AppName,
    },
    /// What was deleted still runs.
    Orphaned {
        /// Which app.
        app: AppName,
        /// Its service.
        service: ServiceName,
    },
    /// The project is ours, or gone.
    Project {
        /// Its id; `None` where it is gone.
        id: Option<ProjectId>,
    },
    /// This is what runs.
    Live {
        /// Which app.
        app: AppName,
        /// The hash, if it carries one.
        hash: Option<Hash>,
    },
    /// The rollout moved on.
    Rollout {
        /// Which app.
        app: AppName,
        /// Where it is now; `None` where it ended.
        rollout: Option<Box<crate::record::Rollout>>,
    },
    /// The version passed the gate.
    Good {
        /// Which app.
        app: AppName,
        /// It.
        hash: Hash,
    },
    /// Its mark announces children that no create of this store is known for.
    HalfMade {
        /// Which app.
        app: AppName,
    },
    /// These differences, and no others, are left as they are.
    Drift {
        /// Of which app.
        app: AppName,
        /// Seen at the service that runs, not at the application's settings.
        live: bool,
        /// By field path.
        left: std::collections::BTreeMap<String, crate::record::LeftDrift>,
    },
    /// The version failed.
    Failed {
        /// Which app.
        app: AppName,
        /// It.
        hash: Hash,
        /// Why.
        reason: Reason,
        /// In words.
        message: String,
    },
    /// All routers stand in the Traefik file (or a write again is due).
    Routers {
        /// Which app.
        app: AppName,
        /// Times written again; `None` where all is well.
        due: Option<u8>,
    },
    /// Everything of the app was read and is as wanted.
    Applied {
        /// Which app.
        app: AppName,
        /// `DesiredApp::full`.
        full: Hash,
    },
    /// A field was repaired again.
    Fought {
        /// Which app.
        app: AppName,
        /// The paths.
        paths: Vec<String>,
    },
    /// This is what the ledger of DNS is to hold; `None` for nothing.
    Records {
        /// By name and type.
        entries: Vec<(RecordKey, Option<LedgerEntry>)>,
    },
    /// Every server answered these records.
    Verified {
        /// By name and type.
        records: Vec<(RecordKey, Verified)>,
        /// They are all there are: others are forgotten.
        all: bool,
    },
    /// Records are waited for that not every server answers, since then; `None`: no more.
    Waiting {
        /// Since when.
        since: Option<Time>,
    },
    /// An app that the manifest no longer has is nothing to remember.
    Forget {
        /// Which app.
        app: AppName,
    },
}

impl Learned {
    /// Whether it is kept with the plan's writes, and not before them.
    #[must_use]
    pub fn goes_with_writes(&self) -> bool {
        matches!(self, Learned::Fought { .. } | Learned::Routers { due: Some(_), .. })
    }

    /// Whether the plan would be another once this is kept.
    #[must_use]
    pub fn changes_the_plan(&self) -> bool {
        !self.goes_with_writes()
            && !matches!(self, Learned::Applied { .. } | Learned::Drift { .. } | Learned::Waiting { .. })
    }
}
