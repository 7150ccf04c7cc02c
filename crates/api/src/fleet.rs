//! What the API works on: how things stand, who may what, and what is asked for. Whoever serves brings it.
//!
//! Nothing here decides: a [`Fleet`] answers for the engine, the store and the sources together.

use berth_model::Secret;
use berth_model::access::{Audit, Token, TokenHash};
use berth_model::event::{Event, Request};
use berth_model::ids::{AppName, Key, StackName};
use berth_model::record::StackStatus;
use berth_ports::{Asked, Draft, Expect, Fault, PortError, Put, Refused, SecretRow};
use serde::Serialize;
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use tokio::sync::broadcast;

/// What a guard holds until a person confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Hold {
    /// In which account.
    pub backend: String,
    /// Confirms it: `berth confirm TOKEN`.
    pub token: String,
    /// Stacks that would be removed.
    #[schema(value_type = Vec<String>)]
    pub removing: BTreeSet<StackName>,
    /// Stacks that would be made again.
    #[schema(value_type = Vec<String>)]
    pub recreating: BTreeSet<StackName>,
}

/// Who leads.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Lead {
    /// This daemon does.
    pub leads: bool,
    /// Which one does, as far as is known, where it is another.
    pub leader: Option<String>,
    /// Where that one is asked.
    pub address: Option<String>,
}

/// Which secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretOf {
    /// Of which stack.
    pub stack: StackName,
    /// Of which app, if of one.
    pub app: Option<AppName>,
    /// Its name.
    pub name: String,
}

/// How a name stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameState {
    /// Nobody has it.
    Free,
    /// The settings keep it.
    Reserved,
    /// Somebody has it: why it is not free.
    Taken(String),
}

/// What is to be planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proposal {
    /// This is asked for.
    Put(Draft),
    /// It is not asked for any more.
    Remove(StackName),
}

/// A plan, for people and programs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// What would be done, left alone, and said.
    pub lines: Vec<PlanLine>,
    /// Calls that would change something.
    pub writes: usize,
    /// Deployments among them.
    pub deploys: usize,
    /// Things that are left alone for a reason.
    pub blocked: usize,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanLine {
    /// `create`, `update`, `delete`, `deploy`, `restart`, `blocked`, `note`.
    pub action: String,
    /// What.
    pub what: String,
    /// Which field of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is there, or the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What comes, or why not. Never a secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What is served.
pub trait Fleet: Send + Sync + 'static {
    /// All published states.
    fn statuses(&self) -> impl Future<Output = Result<Vec<StackStatus>, PortError>> + Send;
    /// One published state.
    fn status(&self, key: &Key) -> impl Future<Output = Result<Option<StackStatus>, PortError>> + Send;
    /// Events after this number, oldest first; the newest `limit` where there are more.
    fn events_after(
        &self,
        after: u64,
        limit: u32,
    ) -> impl Future<Output = Result<Vec<Event>, PortError>> + Send;
    /// Events from now on.
    fn subscribe(&self) -> broadcast::Receiver<Event>;
    /// `Err` says why the daemon cannot be relied on yet.
    ///
    /// # Errors
    /// Each reason in words.
    fn ready(&self) -> Result<(), Vec<String>>;
    /// Whether the daemon's loop turns; one that does not should be started again.
    fn alive(&self) -> bool {
        true
    }
    /// The metrics in Prometheus' text form.
    fn metrics(&self) -> String;
    /// What guards hold.
    fn holds(&self) -> Vec<Hold>;
    /// Who leads, where daemons take turns.
    fn lead(&self) -> Option<Lead> {
        None
    }

    /// The token of this hash.
    fn token(&self, hash: TokenHash) -> impl Future<Output = Result<Option<Token>, PortError>> + Send;
    /// All tokens.
    fn tokens(&self) -> impl Future<Output = Result<Vec<Token>, PortError>> + Send;
    /// Makes a token, and leaves a trace of it. `Conflict` where its name is taken.
    fn make_token(&self, token: Token, trace: Audit) -> impl Future<Output = Result<(), PortError>> + Send;
    /// Takes a token away, and leaves a trace of it.
    fn revoke_token(&self, name: String, trace: Audit) -> impl Future<Output = Result<(), PortError>> + Send;
    /// Hands a request over to whoever leads, and leaves a trace of it.
    fn ask(&self, request: Request, trace: Audit) -> impl Future<Output = Result<(), PortError>> + Send;
    /// Leaves a trace.
    fn trace(&self, trace: Audit) -> impl Future<Output = Result<(), PortError>> + Send;

    /// What was given to a stack, without its values.
    fn secrets(&self, stack: &StackName) -> impl Future<Output = Result<Vec<SecretRow>, PortError>> + Send;
    /// Gives a secret, leaves a trace of it, and has the stack looked at; the version that it has now.
    fn give_secret(
        &self,
        of: &SecretOf,
        value: Secret,
        trace: Audit,
    ) -> impl Future<Output = Result<u32, PortError>> + Send;
    /// Takes a secret away, leaves a trace of it, and has the stack looked at.
    fn remove_secret(
        &self,
        of: &SecretOf,
        trace: Audit,
    ) -> impl Future<Output = Result<(), PortError>> + Send;

    /// The row of a stack, where rows are a source.
    fn asked(&self, name: &StackName) -> impl Future<Output = Result<Option<Asked>, PortError>> + Send;
    /// Rows that nobody has judged as they are now.
    fn unjudged(&self) -> impl Future<Output = Result<Vec<Asked>, PortError>> + Send;
    /// How a name stands.
    fn name(&self, name: &StackName) -> impl Future<Output = Result<NameState, PortError>> + Send;
    /// What can be told to be wrong with a stack before it is asked for.
    fn check(&self, draft: &Draft) -> impl Future<Output = Result<Vec<Fault>, PortError>> + Send;
    /// Asks for a stack. Refused as [`Refused::Taken`] where the row that is there is not of the draft's tenant, unless
    /// `everybody`, who may write any tenant's row but not change whose it is.
    fn put(
        &self,
        who: &str,
        draft: &Draft,
        expect: Expect,
        everybody: bool,
    ) -> impl Future<Output = Result<Put, Refused>> + Send;
    /// Asks for the removal of a stack of this tenant, or of anybody's.
    fn remove(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        expect: Expect,
    ) -> impl Future<Output = Result<u64, Refused>> + Send;
    /// Changes an app's replicas where they are asked for.
    fn scale(
        &self,
        who: &str,
        name: &StackName,
        tenant: Option<&str>,
        app: &AppName,
        replicas: u32,
        expect: Expect,
    ) -> impl Future<Output = Result<u64, Refused>> + Send;
    /// What would be done.
    fn plan(&self, proposal: &Proposal) -> impl Future<Output = Result<Plan, Refused>> + Send;
    /// What an app's containers wrote lately.
    fn output(
        &self,
        name: &StackName,
        app: &AppName,
        lines: u16,
        since: Option<Duration>,
    ) -> impl Future<Output = Result<String, Refused>> + Send;
}
