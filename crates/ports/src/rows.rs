//! The words for rows that ask for stacks: what is there, what somebody wants to write, and why it is not written.

use crate::PortError;
use berth_model::ids::StackName;

/// A stack as a row asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub name: StackName,
    /// Whose it is.
    pub tenant: Option<String>,
    /// `production` and so on.
    pub stage: String,
    /// What it is laid over.
    pub template: Option<String>,
    /// The name it had.
    pub formerly: Option<String>,
    /// What stands under `spec:`, as JSON. It may hold secrets.
    pub spec: String,
    /// Rises when what is asked for changes.
    pub generation: u64,
    /// Its removal is asked for.
    pub removing: bool,
}

/// A stack as somebody wants to ask for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Its name.
    pub name: StackName,
    /// Whose it is.
    pub tenant: Option<String>,
    /// `None`: production.
    pub stage: Option<String>,
    /// What it is laid over.
    pub template: Option<String>,
    /// The name it had.
    pub formerly: Option<String>,
    /// What stands under `spec:`, as JSON.
    pub spec: String,
}

/// What must hold of a row for a change of it to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Nothing.
    #[default]
    Anything,
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It is there at this generation.
    Generation(u64),
}

/// A change that was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// It was not there before.
    pub created: bool,
    /// What it is at now.
    pub generation: u64,
}

/// Something wrong with what was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where: a path like `spec.apps.web.port`.
    pub path: Option<String>,
    /// What.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// Why a change is not made.
#[derive(Debug, Clone, PartialEq)]
pub enum Refused {
    /// Stacks come from files here, and not from rows.
    NoRows,
    /// It stands in the daemon's directory.
    FromFile(String),
    /// There is none of that name within reach.
    NotFound,
    /// Somebody else has that name.
    Taken,
    /// It is being removed: the name is not free yet.
    BeingRemoved,
    /// The condition does not hold; what it is at now, if it is there.
    Stale(Option<u64>),
    /// This cannot change once it is there.
    Fixed(&'static str),
    /// What is asked for has faults.
    Faulty(Vec<Fault>),
    /// The state or a backend cannot be asked.
    Port(PortError),
}

impl From<PortError> for Refused {
    fn from(error: PortError) -> Self {
        Refused::Port(error)
    }
}
