//! What Berth remembers of a stack between runs. Losing it costs history and nothing else: what must last stands in
//! the objects' marks.

use crate::condition::{Condition, Phase, Reason};
use crate::desired::ChildKey;
use crate::dns::{Fqdn, Ledger, RecordData, RecordKey, Verified};
use crate::hash::Hash;
use crate::ids::{
    AppId, AppName, BackendName, ChildId, EnvironmentId, Key, OperationId, ProjectId, ServiceName, StackName,
};
use crate::stack::{Origin, compact};
use crate::time::Time;
use litemap::LiteMap;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The record of a stack or project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// Its account: a stack without a manifest is still removed from where it was.
    pub backend: Option<BackendName>,
    /// Rises when the spec changes.
    pub generation: u64,
    /// Hash of the spec of that generation.
    pub spec: Option<Hash>,
    /// Where its manifest stands.
    pub origin: Option<Origin>,
    /// Its apps, also those on the way out.
    #[serde(skip_serializing_if = "LiteMap::is_empty")]
    pub apps: LiteMap<AppName, Box<AppRecord>>,
    /// Its own project, or the one a `Project` manifest made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<ProjectRecord>,
    /// What was deleted and still runs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tombstones: Vec<Tombstone>,
    /// Failures in a row, and what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failing: Option<Failing>,
    /// Paused by a person.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// `deletionPolicy: delete` stood in the manifest: needed once the manifest is gone.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletes: bool,
    /// What it wrote into DNS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dns: Option<Box<DnsRecord>>,
}

/// What a stack wrote into DNS, and how far the world was seen to know of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DnsRecord {
    /// What was written.
    #[serde(skip_serializing_if = "Ledger::is_empty")]
    pub ledger: Ledger,
    /// What every server was seen to answer, and when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub verified: BTreeMap<RecordKey, Verified>,
    /// Hosts whose records are to be taken over, as somebody asked, until they are.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub adopting: BTreeSet<Fqdn>,
    /// Since when records are waited for that not every server answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Time>,
}

impl DnsRecord {
    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Record {
    /// Gives back the room to grow that what was just read has.
    pub fn compact(&mut self) {
        for (_, app) in &mut self.apps {
            app.children = compact(std::mem::take(&mut app.children));
        }
        self.apps = compact(std::mem::take(&mut self.apps));
    }
}

/// The record of one app.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AppRecord {
    /// The application's id.
    pub id: Option<AppId>,
    /// Its service name.
    pub service: Option<ServiceName>,
    /// The create that made it.
    pub op: Option<OperationId>,
    /// Children that are ours.
    #[serde(skip_serializing_if = "LiteMap::is_empty")]
    #[serde(with = "children_as_list")]
    pub children: LiteMap<ChildKey, ChildId>,
    /// The whole of what was last written, or read and found equal (`DesiredApp::full`).
    pub applied: Option<Hash>,
    /// The hash that the live service was last seen with, its update completed.
    pub live: Option<Hash>,
    /// Something that reaches the container only with a deployment was written, and none was asked for yet.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deploy_due: bool,
    /// The version that is being rolled out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Box<Rollout>>,
    /// The image of the last deployment, with the digest of a tag that is followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The last version that passed the gate.
    pub good: Option<Hash>,
    /// The version that did not.
    pub quarantined: Option<Hash>,
    /// What went wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quarantine_reason: Option<(Reason, String)>,
    /// Taken over, not made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
    /// The highest version of each given secret that was applied.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, u32>,
    /// Routers that still have to be seen in the Traefik file, and how often they were written again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routers_due: Option<u8>,
    /// Repairs per field path, to find who keeps undoing them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fights: BTreeMap<String, Fight>,
    /// What differs and is left so, by field path, until a look shows otherwise.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub drift: BTreeMap<String, LeftDrift>,
    /// Children that the mark announces, as far as this store knows: a mark that announces others was written by a
    /// Berth whose store was lost or replaced by an older one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub announced: Vec<Hash>,
    /// Found half made by its mark, with no create of it on record: a store was lost in the middle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Time>,
    /// A delete was sent: its service must be seen gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted_at: Option<Time>,
    /// When somebody asked that its containers be started anew; a deployment does so too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Time>,
}

/// Maps with structured keys are lists of pairs in JSON.
mod children_as_list {
    use super::{ChildId, ChildKey, LiteMap};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    pub(super) fn serialize<S: Serializer>(m: &LiteMap<ChildKey, ChildId>, s: S) -> Result<S::Ok, S::Error> {
        m.iter().collect::<Vec<_>>().serialize(s)
    }
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<LiteMap<ChildKey, ChildId>, D::Error> {
        Ok(Vec::<(ChildKey, ChildId)>::deserialize(d)?.into_iter().collect())
    }
}

/// A version on its way through the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rollout {
    /// What is rolled out.
    pub hash: Hash,
    /// Finds our deployment while it is open.
    pub token: String,
    /// Where it is.
    pub phase: Phase,
    /// When the deployment was asked for.
    pub asked: Time,
    /// When this phase began.
    pub since: Time,
    /// Times a deployment of this version was asked for.
    pub attempts: u32,
    /// The call was not answered: look for the token before asking again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unanswered: bool,
    /// What the last look said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub last: String,
    /// The last good version is being put back.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub restoring: bool,
    /// When tasks were first seen without an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_address: Option<Time>,
    /// When our job was first seen neither queued nor as a row.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing_since: Option<Time>,
    /// When the certificate was first seen pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_since: Option<Time>,
}

/// Someone else keeps writing a field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fight {
    /// Repairs within the window.
    pub repairs: u32,
    /// The first of them.
    pub first: Time,
    /// The last of them.
    pub last: Time,
}

/// A difference that is not repaired, or not now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftDrift {
    /// `Reported` or `Contested`.
    pub reason: Reason,
    /// What is there, what should be, and why it is left.
    pub message: String,
    /// Seen at the service that runs, not at the application's settings.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub live: bool,
}

/// A project that Berth made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProjectRecord {
    /// Its id; `None` while the create is open.
    pub id: Option<ProjectId>,
    /// The create that made it.
    pub op: OperationId,
    /// Environments that Berth made in it, by name.
    #[serde(default)]
    pub environments: BTreeMap<String, EnvironmentId>,
}

/// Something that was deleted and still runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// The service.
    pub service: ServiceName,
    /// The command that ends it.
    pub command: String,
    /// Since when.
    pub since: Time,
}

/// Failures in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failing {
    /// How many.
    pub count: u32,
    /// Why.
    pub reason: Reason,
    /// In words.
    pub message: String,
}

/// A create that was, or is about to be, sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Intent {
    /// Chosen before the call; stands in the object's mark where it has one.
    pub op: OperationId,
    /// Whose.
    pub key: Key,
    /// What is made.
    pub target: IntentTarget,
    /// Times it was sent.
    pub attempt: u32,
    /// The lease epoch under which it was sent.
    pub epoch: u64,
    /// Sent and not answered; before this instant nothing is concluded from not finding it.
    pub settle_by: Time,
    /// Whether an answer is missing (else the call was not sent yet, as far as the record knows).
    pub sent: Time,
}

/// What a create makes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub enum IntentTarget {
    /// A project.
    Project {
        /// Its name.
        name: String,
    },
    /// An environment of a project.
    Environment {
        /// The project.
        project: ProjectId,
        /// Its name.
        name: String,
    },
    /// An application.
    App {
        /// Which app of the stack.
        app: AppName,
    },
    /// A child of an application.
    Child {
        /// Which app of the stack.
        app: AppName,
        /// Its key.
        child: ChildKey,
    },
}

/// How a stack stands: what `berth get`, the API and the status rows show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StackStatus {
    /// Which.
    pub key: Key,
    /// The generation of the manifest.
    pub generation: u64,
    /// The last generation that was judged.
    pub observed_generation: u64,
    /// Conditions, `Ready` first.
    pub conditions: Vec<Condition>,
    /// Apps.
    pub apps: Vec<AppStatus>,
    /// The hosts whose records Berth knows of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostStatus>,
    /// The first host's URL.
    pub url: Option<String>,
    /// Where the rollout stands, if one is open.
    pub phase: Option<Phase>,
    /// Tenant, for filters.
    pub tenant: Option<String>,
    /// Where its manifest stands.
    pub origin: Option<Origin>,
    /// When any of this last changed.
    pub changed: Time,
}

impl StackStatus {
    /// Gives back the room to grow that what was just read has.
    pub fn compact(&mut self) {
        self.conditions.shrink_to_fit();
        self.apps.shrink_to_fit();
        self.hosts.shrink_to_fit();
    }

    /// The condition of this type.
    #[must_use]
    pub fn condition(&self, kind: crate::condition::ConditionType) -> Option<&Condition> {
        self.conditions.iter().find(|c| c.kind == kind)
    }
    /// Whether `Ready` is true.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.condition(crate::condition::ConditionType::Ready)
            .is_some_and(|c| c.status == crate::condition::Status::True)
    }
}

/// How the records of one host stand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostStatus {
    /// The host.
    pub host: Fqdn,
    /// The zone that holds its records.
    pub zone: Fqdn,
    /// What they say.
    pub records: Vec<RecordData>,
    /// When every server was last seen to answer them all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verified_at: Option<Time>,
}

/// How one app stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppStatus {
    /// Its name.
    pub name: AppName,
    /// Its application.
    pub id: Option<AppId>,
    /// Its service.
    pub service: Option<ServiceName>,
    /// The image that is wanted.
    pub image: String,
    /// The wanted hash.
    pub hash: Option<Hash>,
    /// The hash that runs.
    pub live: Option<Hash>,
    /// Children and fields on it that Berth does not manage.
    pub unmanaged: Vec<String>,
}

/// One run, as `berth explain` and `berth history` show it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Rises with every run of the daemon.
    pub id: u64,
    /// Which.
    pub key: Key,
    /// When it began.
    pub at: Time,
    /// Why it ran.
    pub because: Vec<String>,
    /// The generation it judged.
    pub generation: u64,
    /// What it did: one line a step.
    pub did: Vec<String>,
    /// What it left alone, and why.
    pub blocked: Vec<String>,
    /// `settled`, `progressing`, `blocked`, `failed: …`.
    pub outcome: String,
    /// Phases and how long each took, in milliseconds.
    pub phases: Vec<(Phase, u64)>,
    /// When it runs next, and why.
    pub next: Option<(Time, String)>,
    /// How long it took.
    pub took: Duration,
}

/// A version that passed the gate, to go back to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Of which stack.
    pub stack: StackName,
    /// Of which app.
    pub app: AppName,
    /// Its hash.
    pub hash: Hash,
    /// The generation it belonged to.
    pub generation: u64,
    /// When it passed.
    pub at: Time,
    /// The image, for the list.
    pub image: String,
    /// The compiled app, sealed by the vault.
    pub sealed: Vec<u8>,
}
