//! Conditions after kstatus: derived from a plan and its outcome, never written by hand. Reasons are a closed list.

use crate::time::Time;
use serde::{Deserialize, Serialize};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ConditionType {
    /// The wanted spec is what runs, and answers.
    Ready,
    /// Work is under way. Present only while true.
    Reconciling,
    /// Nothing moves without a person, or for long. Present only while true.
    Stalled,
    /// The manifest is valid and taken.
    Accepted,
    /// The wanted spec was handed over and runs.
    Deployed,
    /// It answers its health check now.
    Healthy,
    /// The records of its hosts are answered by all servers of their zones. Present where Berth reaches the zones.
    DNSReady,
    /// The certificates of its hosts are there and right. Present only where they are not, or soon will not be.
    CertificateReady,
    /// A field that `drift: report` names differs, or someone undoes a field. Present only while true.
    Drifted,
}

/// True, false, or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Status {
    /// It is so.
    True,
    /// It is not so.
    False,
    /// Nobody knows.
    Unknown,
}

macro_rules! reasons {
    ($(#[doc = $doc:literal] $name:ident),+ $(,)?) => {
        /// Why a condition is as it is: the whole list.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Reason { $(#[doc = $doc] $name),+ }
        impl Reason {
            /// Every reason.
            pub const ALL: &[Reason] = &[$(Reason::$name),+];
            /// As it is published.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Reason::$name => stringify!($name)),+ }
            }
            /// What it means.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Reason::$name => $doc.trim_ascii()),+ }
            }
        }
    };
}

reasons! {
    /// All is as the manifest says.
    Settled,
    /// Changes are being made.
    Progressing,
    /// A retry follows a failure; the message says when.
    Retrying,
    /// The manifest is valid.
    Valid,
    /// The manifest has errors; what ran goes on running.
    Invalid,
    /// The manifest is gone and the objects are being removed.
    Removing,
    /// An object carries another owner's mark, or none.
    NotOwned,
    /// Two objects answer to one name and neither may be touched.
    Duplicate,
    /// Something that is not Berth's stands where it wants to write.
    Conflict,
    /// It waits for another stack, app or project.
    WaitsFor,
    /// A guard holds it until `berth confirm`.
    Held,
    /// A person paused it.
    Paused,
    /// A call was sent and not answered; its effect is being looked for.
    Unknown,
    /// The backend does not answer, or answers too little to be believed.
    BackendUnavailable,
    /// The backend refuses the key, or the key is used up.
    Unauthorized,
    /// The backend refuses the change.
    Refused,
    /// The server's network has no address left.
    AddressSpace,
    /// The image does not exist, or may not be pulled with these credentials.
    ImageUnavailable,
    /// The image's registry does not answer.
    RegistryUnavailable,
    /// A project or environment that should be there is not.
    PlaceMissing,
    /// A `${{…}}` in the environment refers to nothing.
    ReferenceMissing,
    /// A given secret is missing; the message holds the command that gives it.
    MissingSecret,
    /// The vault holds an older version of a secret than what runs.
    SecretOlderThanLive,
    /// The deployment ended in an error.
    DeployFailed,
    /// The deployment runs far longer than it should.
    DeployStuck,
    /// Swarm put the old version back.
    RolledBackBySwarm,
    /// Tasks do not start.
    TasksFailing,
    /// The health check did not pass in time.
    HealthFailed,
    /// A bad version was replaced by the last good one; the bad one is not tried again until the manifest changes.
    RolledBack,
    /// The last good version did not come up either.
    RollbackFailed,
    /// A bad version, and no good one to go back to.
    Quarantined,
    /// The health check passes.
    Answering,
    /// The health check does not pass.
    NotAnswering,
    /// No health check is asked for.
    NotChecked,
    /// Every server of their zones answers the records of its hosts as they must be.
    RecordsVerified,
    /// A record is there, and not every server of its zone answers it yet.
    RecordsPending,
    /// A record cannot be made: its zone is served elsewhere, full, locked, or has no room for it.
    RecordRefused,
    /// A zone cannot be read or written now.
    DnsUnavailable,
    /// Records would lead to an address that the world cannot reach.
    AddressNotPublic,
    /// The certificate is not there yet, or wrong.
    CertificatePending,
    /// The certificate expires within two weeks: its renewal is overdue.
    CertificateExpiring,
    /// The certificate expired.
    CertificateExpired,
    /// A field differs and is left alone, as `drift:` says.
    Reported,
    /// Someone keeps changing a field back; repairs are slowed.
    Contested,
    /// What was deleted still runs; the message holds the command that ends it.
    Orphaned,
    /// It carries this owner's mark, and nothing asks for it or for its removal.
    Unclaimed,
    /// This daemon runs in it, so it is not removed.
    RunsHere,
    /// This version of Berth or of the backend cannot do it.
    Unsupported,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// About what.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// How it is.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// In words, with what to do next.
    pub message: String,
    /// When `status` last changed.
    pub since: Time,
}

/// The phases of a run: a closed list, shown as `[3/7] create 1.2s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Is there room, does the registry answer.
    Check,
    /// Project and environment.
    Place,
    /// Application and children.
    Create,
    /// Fields.
    Configure,
    /// Dokploy's deployment.
    Deploy,
    /// Swarm's update.
    Converge,
    /// The health check.
    Health,
}

impl Phase {
    /// All, in order.
    pub const ALL: [Phase; 7] = [
        Phase::Check,
        Phase::Place,
        Phase::Create,
        Phase::Configure,
        Phase::Deploy,
        Phase::Converge,
        Phase::Health,
    ];

    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Check => "check",
            Phase::Place => "place",
            Phase::Create => "create",
            Phase::Configure => "configure",
            Phase::Deploy => "deploy",
            Phase::Converge => "converge",
            Phase::Health => "health",
        }
    }

    /// Its place in the list, from 1.
    #[must_use]
    pub fn number(self) -> usize {
        self as usize + 1
    }
}
