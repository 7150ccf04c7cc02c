//! The port to a platform that runs applications, and the two that look at what it runs from outside.

use crate::PortError;
use berth_model::Secret;
use berth_model::observed::{FleetView, ImageAnswer, Probed};
use berth_model::remote::{Fact, Read, Write, Written};
use berth_model::step::ProbeSpec;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How urgent a read is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// A run waits for it.
    Run,
    /// The slow audit: batched, one in flight, backs away while others' latency rises.
    Audit,
}

/// One account of a platform.
///
/// Guarantees: at most the configured number of calls in flight, also over several callers; the same read asked twice
/// at once is sent once; a write is never repeated after it may have taken effect, unless it is one that may be
/// repeated (an update of the same values, a delete).
pub trait Platform: Send + Sync + 'static {
    /// The whole fleet, no older than `max_age`. Shared: one look serves everybody who waits. A write makes every
    /// earlier look too old.
    fn sweep(&self, max_age: Duration) -> impl Future<Output = Result<Arc<FleetView>, PortError>> + Send;

    /// One object.
    fn read(&self, read: &Read, pace: Pace) -> impl Future<Output = Result<Fact, PortError>> + Send;

    /// One change.
    fn write(&self, write: &Write) -> impl Future<Output = Result<Written, PortError>> + Send;

    /// Who we are there and what it can do: asked at start, and by `berth doctor`.
    fn diagnose(&self) -> impl Future<Output = Result<Diagnosis, PortError>> + Send;

    /// How the account stands, without a call.
    fn state(&self) -> BackendState;
}

/// How an account stands.
#[derive(Debug, Clone, PartialEq)]
pub struct BackendState {
    /// Its breaker.
    pub breaker: Breaker,
    /// Calls in flight.
    pub in_flight: usize,
    /// The share of the calls that it may make which is left, from 0 to 1; `None` where nothing limits them.
    pub calls_left: Option<f64>,
}

/// A circuit breaker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Breaker {
    /// Calls pass.
    Closed,
    /// Calls are refused at once.
    Open {
        /// Why it opened, in words.
        why: String,
        /// Until one call may try.
        retry_in: Duration,
    },
    /// One call is trying.
    HalfOpen {
        /// Why it had opened.
        why: String,
    },
}

/// What a look at an account's own circumstances told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// The server's version.
    pub version: Option<String>,
    /// The organization that the key belongs to.
    pub organization: Option<String>,
    /// The key's role in it.
    pub role: Option<String>,
    /// The key allows only so many calls; why that is known.
    pub limited: Option<String>,
    /// Everything worth saying, worst first.
    pub findings: Vec<Finding>,
}

impl Diagnosis {
    /// Whether work can be done with this account.
    #[must_use]
    pub fn usable(&self) -> bool {
        self.findings.iter().all(|f| f.severity != Severity::Error)
    }
}

/// One line of a diagnosis.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad.
    pub severity: Severity,
    /// What, in words, with what to do next.
    pub text: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing to do.
    Ok,
    /// Worth knowing.
    Warning,
    /// Work cannot be done.
    Error,
}

/// Asks an app's health check from outside.
pub trait Prober: Send + Sync + 'static {
    /// The first path that answers as expected, else the last answer, with the certificate that was met. Never longer
    /// than a few seconds.
    fn probe(&self, backend: &str, spec: &ProbeSpec) -> impl Future<Output = Probed> + Send;
}

/// Asks an image's registry.
pub trait Registry: Send + Sync + 'static {
    /// What it says of this reference.
    fn image(
        &self,
        reference: &str,
        auth: Option<(&str, &Secret)>,
    ) -> impl Future<Output = ImageAnswer> + Send;
}
