//! The port to DNS: all zones that all credentials of this daemon reach, as one thing.

use crate::{BackendState, Finding, PortError};
use berth_model::dns::{Asked, Change, Changed, Fqdn, Verification, ZoneChoice, ZoneId, ZoneView};
use berth_model::ids::CredentialName;
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// DNS.
///
/// Guarantees: one look at a zone serves everybody who waits for it; one writer a zone; changes of one zone that come
/// close together go together; what stands as wanted already is not sent; a change whose belief no longer holds changes
/// nothing and answers `Conflict`; of several changes that go together, one that is refused fails alone. Every change
/// says the same again when it is repeated, so an unanswered one needs no more than another look.
pub trait Dns: Send + Sync + 'static {
    /// The zone that a name is to be written into: the longest that any credential reaches.
    ///
    /// `Conflict` where two credentials reach a zone of the same name: it names both. `Retry` where none of the zones
    /// that could be listed holds the name, and not all could be.
    fn zone_of(&self, name: &Fqdn) -> impl Future<Output = Result<ZoneChoice, PortError>> + Send;

    /// The zone, no older than `max_age`, with at least the names in `ask` covered. Where the whole zone can be listed
    /// it is, whatever is asked.
    fn view(
        &self,
        zone: &ZoneId,
        ask: &BTreeSet<Fqdn>,
        max_age: Duration,
    ) -> impl Future<Output = Result<Arc<ZoneView>, PortError>> + Send;

    /// One change. It waits a moment for others of the same zone.
    fn change(
        &self,
        zone: &ZoneId,
        change: Change,
    ) -> impl Future<Output = Result<Changed, PortError>> + Send;

    /// Whether the world can see it: first what the provider shows, then every authoritative server, and only when all
    /// of them are right, recursors. A recursor that is asked too early remembers that there is nothing.
    fn verify(
        &self,
        zone: &ZoneId,
        asked: &Asked,
    ) -> impl Future<Output = Result<Verification, PortError>> + Send;

    /// Looks at every credential, and at every zone that holds one of these hosts: asked at start, and by
    /// `berth doctor`. Changes nothing.
    fn preflight(&self, hosts: &BTreeSet<Fqdn>) -> impl Future<Output = Vec<Preflight>> + Send;

    /// How each credential stands, without a call.
    fn states(&self) -> Vec<(CredentialName, BackendState)>;
}

/// What a look at one credential, or at one zone, told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preflight {
    /// Of which credential.
    pub credential: CredentialName,
    /// Of which zone; `None` for the credential itself.
    pub zone: Option<Fqdn>,
    /// What there is to say, worst first.
    pub findings: Vec<Finding>,
}
