//! The port to the state store. The engine holds the state in memory; the store is what survives.

use crate::PortError;
use berth_model::Time;
use berth_model::access::{Audit, Token, TokenHash};
use berth_model::event::{Event, Request};
use berth_model::ids::{AppName, Key, OperationId, StackName};
use berth_model::record::{Intent, Record, Run, StackStatus, Version};
use std::future::Future;

/// The state store.
///
/// Guarantees: `commit` is one transaction; what it acknowledged survives a crash; a commit under an epoch older than
/// the store's changes nothing and is refused with `Conflict`.
pub trait Store: Send + Sync + 'static {
    /// Everything the engine keeps in memory.
    fn snapshot(&self) -> impl Future<Output = Result<Snapshot, PortError>> + Send;

    /// All changes, or none.
    fn commit(&self, changes: Vec<Change>) -> impl Future<Output = Result<(), PortError>> + Send;

    /// What is not kept in memory.
    fn query(&self, query: Query) -> impl Future<Output = Result<Answer, PortError>> + Send;
}

/// What the engine starts from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    /// Records.
    pub records: Vec<(Key, Box<Record>)>,
    /// Open creates.
    pub intents: Vec<Intent>,
    /// Published states.
    pub statuses: Vec<Box<StackStatus>>,
    /// Given secrets, sealed.
    pub secrets: Vec<SecretRow>,
    /// The last event's number.
    pub last_event: u64,
    /// The last run's number.
    pub last_run: u64,
    /// The last request that was carried out.
    pub last_request: u64,
    /// When the store was made: younger than an object's record means that a store was lost.
    pub made: Time,
}

impl Snapshot {
    /// The record of a key.
    #[must_use]
    pub fn record(&self, key: &Key) -> Option<&Record> {
        self.records.iter().find(|(k, _)| k == key).map(|(_, r)| &**r)
    }

    /// The published state of a key.
    #[must_use]
    pub fn status(&self, key: &Key) -> Option<&StackStatus> {
        self.statuses.iter().find(|s| s.key == *key).map(|s| &**s)
    }
}

/// A given secret, sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretRow {
    /// Of which stack (or project, as `project/NAME`).
    pub stack: String,
    /// Of which app, if of one.
    pub app: Option<AppName>,
    /// Its name.
    pub name: String,
    /// Rises with every change.
    pub version: u32,
    /// The sealed value.
    pub sealed: Vec<u8>,
    /// When it was given.
    pub at: Time,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Writes a record.
    Record(Key, Box<Record>),
    /// Drops a record, its status and its versions.
    Forget(Key),
    /// Writes an intent.
    Intent(Intent),
    /// The intent was settled.
    Settled(OperationId),
    /// Publishes a state.
    Status(Box<StackStatus>),
    /// Appends an event. History is bounded by count.
    Event(Event),
    /// Appends a run. History is bounded by count, per key.
    Run(Box<Run>),
    /// Keeps a version to go back to. The newest ten of an app stay.
    Version(Box<Version>),
    /// Gives a secret.
    Secret(SecretRow),
    /// Takes a secret away.
    RemoveSecret {
        /// Of which stack.
        stack: String,
        /// Of which app.
        app: Option<AppName>,
        /// Its name.
        name: String,
    },
    /// A person asks for something.
    Request {
        /// When.
        at: Time,
        /// What.
        request: Request,
    },
    /// Requests up to this one were carried out.
    RequestsDone(u64),
    /// Makes a token. Refused with `Conflict` where one has its name.
    Token(Token),
    /// Takes a token away, by its name.
    RevokeToken(String),
    /// Somebody changed something, or was refused. History is bounded by count and age.
    Audit(Audit),
}

/// A question to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Query {
    /// Events after this number, oldest first.
    Events {
        /// After which.
        after: u64,
        /// Of one key only.
        key: Option<Key>,
        /// At most so many (the newest, where there are more).
        limit: u32,
    },
    /// Runs of a key, newest first.
    Runs {
        /// Which.
        key: Key,
        /// At most so many.
        limit: u32,
    },
    /// Versions of a stack, newest first.
    Versions {
        /// Which.
        stack: StackName,
    },
    /// Requests after this number, oldest first.
    Requests {
        /// After which.
        after: u64,
    },
    /// Given secrets.
    Secrets,
    /// Published states.
    Statuses,
    /// One published state.
    Status(Key),
    /// One record.
    Record(Key),
    /// The token of this hash.
    Token(TokenHash),
    /// All tokens, by name.
    Tokens,
    /// Who changed what, newest first.
    Audit {
        /// Of one key only.
        key: Option<String>,
        /// Of one tenant only.
        tenant: Option<String>,
        /// At most so many.
        limit: u32,
    },
}

/// The answer to a [`Query`].
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To `Events`.
    Events(Vec<Event>),
    /// To `Runs`.
    Runs(Vec<Run>),
    /// To `Versions`.
    Versions(Vec<Version>),
    /// To `Requests`: number and request.
    Requests(Vec<(u64, Request)>),
    /// To `Secrets`.
    Secrets(Vec<SecretRow>),
    /// To `Statuses` and `Status`.
    Statuses(Vec<StackStatus>),
    /// To `Record`.
    Record(Option<Box<Record>>),
    /// To `Token` and `Tokens`.
    Tokens(Vec<Token>),
    /// To `Audit`.
    Audit(Vec<Audit>),
}
