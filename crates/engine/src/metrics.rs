//! The metrics: controller-runtime's names where the meaning is the same, Berth's own under `berth_`. Every label set
//! is bounded and made at start; none has a stack's name.

use crate::certificates::Standing;
use crate::queue::Lane;
use berth_ports::{BackendState, Breaker};
use prometheus::{
    GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry,
};

/// What each metric is: name, kind, labels, help. The reference page is made from it.
pub const METRICS: &[(&str, &str, &[&str], &str)] = &[
    ("workqueue_depth", "gauge", &["name", "lane"], "Keys that wait for a run."),
    ("workqueue_queue_duration_seconds", "histogram", &["lane"], "How long a key waited for its run."),
    ("workqueue_parked", "gauge", &[], "Keys that failed so often that they are only tried now and then."),
    (
        "controller_runtime_reconcile_total",
        "counter",
        &["controller", "result"],
        "Runs by kind and result: success, requeue, error.",
    ),
    ("controller_runtime_reconcile_time_seconds", "histogram", &["controller"], "How long runs took."),
    ("controller_runtime_active_workers", "gauge", &["name"], "Runs under way."),
    ("berth_backend_calls_total", "counter", &["backend", "procedure", "outcome"], "Calls to a backend."),
    (
        "berth_backend_call_seconds",
        "histogram",
        &["backend"],
        "How long calls took, waiting for a permit excluded.",
    ),
    (
        "berth_backend_wait_seconds",
        "histogram",
        &["backend"],
        "How long requests waited for a place among those in flight (inFlight in berth.yaml).",
    ),
    ("berth_backend_requests_total", "counter", &["backend"], "HTTP requests to a backend; a batch is one."),
    ("berth_backend_breaker_open", "gauge", &["backend"], "1 while the breaker is not closed."),
    ("berth_backend_in_flight", "gauge", &["backend"], "Calls in flight."),
    (
        "berth_backend_calls_left",
        "gauge",
        &["backend"],
        "Share of the calls that an account may make which is left, from 0 to 1; absent where nothing limits them.",
    ),
    (
        "berth_backend_addresses",
        "gauge",
        &["backend"],
        "Addresses that the services' network has in all; absent where that is not known.",
    ),
    (
        "berth_backend_room",
        "gauge",
        &["backend"],
        "Addresses left for new services and tasks; absent where that is not known.",
    ),
    ("berth_stacks", "gauge", &["state"], "Stacks by state: ready, reconciling, stalled, unknown."),
    ("berth_unhealthy", "gauge", &[], "Stacks whose health check does not pass."),
    (
        "berth_certificates",
        "gauge",
        &["backend", "state"],
        "Hosts with HTTPS by their certificate: ok, expiring_14d, expiring_3d, expired, pending, unseen.",
    ),
    (
        "berth_certificate_expiry_timestamp_seconds",
        "gauge",
        &["backend"],
        "When the first certificate expires, in seconds since 1970; absent where none was seen.",
    ),
    (
        "berth_dns_records",
        "gauge",
        &["state"],
        "Records that Berth wrote: verified where every server was seen to answer them, else pending.",
    ),
    (
        "berth_dns_stacks",
        "gauge",
        &["reason"],
        "Stacks whose DNSReady is not true, by its reason: Conflict, RecordsPending, RecordRefused, DnsUnavailable, \
         AddressNotPublic, Held, other.",
    ),
    (
        "berth_dns_orphans",
        "gauge",
        &[],
        "Records with a mark of Berth that it knows nothing of, in the zones that it writes: 'berth doctor' names them.",
    ),
    (
        "berth_dns_verification_seconds",
        "histogram",
        &[],
        "From the first look at the servers of a new record to the one at which all of them answered it.",
    ),
    ("berth_unknown_intents", "gauge", &[], "Creates that were sent and not answered."),
    ("berth_rollouts_total", "counter", &["outcome"], "Rollouts by outcome: good, failed, restored."),
    ("berth_steps_total", "counter", &["step", "outcome"], "Steps that changed the outside."),
    ("berth_first_call_seconds", "histogram", &[], "From a changed manifest to the first call."),
    ("berth_ready_seconds", "histogram", &[], "From a changed manifest to Ready."),
    ("berth_pass_lateness_seconds", "gauge", &["backend"], "How late the last pass over the fleet began."),
    ("berth_pass_seconds", "histogram", &["backend"], "How long a pass over the fleet took."),
    ("berth_held", "gauge", &["backend"], "Stacks that a guard holds."),
    ("berth_manifest_errors", "gauge", &[], "Manifests that are invalid."),
    ("berth_store_commits_total", "counter", &[], "Transactions of the state store."),
    ("berth_store_errors_total", "counter", &[], "Transactions that failed."),
    ("berth_orphans", "gauge", &[], "Services that were deleted and still run."),
    (LEADER, "gauge", &[], "1 where this daemon leads; alone it always does."),
    (STORE_UP, "gauge", &[], "1 while the state store answers and takes what is written."),
    (
        LOST,
        "counter",
        &[],
        "Leads that ended because the lease could not be renewed in time. Only where daemons take turns.",
    ),
];

const LEADER: &str = "berth_leader";
const STORE_UP: &str = "berth_store_up";
const LOST: &str = "berth_lease_lost_total";

fn help(name: &str) -> &'static str {
    METRICS.iter().find(|m| m.0 == name).map_or("", |m| m.3)
}

/// What a daemon shows that does not lead: that it does not, and whether the state store answers.
#[must_use]
pub fn standing_by(store_up: bool) -> Registry {
    let registry = Registry::new();
    for (name, value) in [(LEADER, false), (STORE_UP, store_up)] {
        register(&registry, IntGauge::new(name, help(name))).set(i64::from(value));
    }
    registry
}

/// What a daemon that takes turns shows whoever leads: the leads that it lost.
#[must_use]
pub fn turns() -> (Registry, IntCounter) {
    let registry = Registry::new();
    let lost = register(&registry, IntCounter::new(LOST, help(LOST)));
    (registry, lost)
}

/// The metrics of one engine.
#[allow(missing_docs)]
pub struct Metrics {
    pub registry: Registry,
    pub depth: IntGaugeVec,
    pub queue_seconds: HistogramVec,
    pub parked: IntGauge,
    pub runs: IntCounterVec,
    pub run_seconds: HistogramVec,
    pub workers: IntGaugeVec,
    pub calls: IntCounterVec,
    pub call_seconds: HistogramVec,
    pub waits: HistogramVec,
    pub requests: IntCounterVec,
    pub breaker: IntGaugeVec,
    pub in_flight: IntGaugeVec,
    pub calls_left: GaugeVec,
    pub addresses: IntGaugeVec,
    pub room: IntGaugeVec,
    pub stacks: IntGaugeVec,
    pub unhealthy: IntGauge,
    pub certificates: IntGaugeVec,
    pub certificate_expiry: GaugeVec,
    pub dns_records: IntGaugeVec,
    pub dns_stacks: IntGaugeVec,
    pub dns_orphans: IntGauge,
    pub dns_verified: Histogram,
    pub unknown: IntGauge,
    pub rollouts: IntCounterVec,
    pub steps: IntCounterVec,
    pub first_call: Histogram,
    pub ready: Histogram,
    pub lateness: GaugeVec,
    pub pass_seconds: HistogramVec,
    pub held: IntGaugeVec,
    pub manifest_errors: IntGauge,
    pub commits: IntCounter,
    pub store_errors: IntCounter,
    pub orphans: IntGauge,
    pub leader: IntGauge,
    pub store_up: IntGauge,
}

/// From a poll to what a person would call slow: holds 60 s and 180 s, which alert rules ask for.
const SECONDS: &[f64] =
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 180.0, 300.0, 600.0];

impl Metrics {
    /// Makes and registers all of them.
    ///
    /// # Panics
    /// Never: the names are constants and a test makes them once.
    #[must_use]
    pub fn new<'a>(backends: impl Iterator<Item = &'a str> + Clone) -> Self {
        let registry = Registry::new();
        let entry = |name: &str| {
            METRICS.iter().find(|m| m.0 == name).copied().unwrap_or((
                "berth_unlisted",
                "gauge",
                &[],
                "A metric that the list lacks.",
            ))
        };
        macro_rules! make {
            ($kind:ident, vec $name:literal) => {{
                let (name, _, labels, help) = entry($name);
                register(&registry, $kind::new(Opts::new(name, help), labels))
            }};
            ($kind:ident, $name:literal) => {{
                let (name, _, _, help) = entry($name);
                register(&registry, $kind::with_opts(Opts::new(name, help)))
            }};
        }
        let histogram = |n: &str| {
            let (name, _, _, help) = entry(n);
            register(
                &registry,
                Histogram::with_opts(HistogramOpts::new(name, help).buckets(SECONDS.to_vec())),
            )
        };
        let histograms = |n: &str| {
            let (name, _, labels, help) = entry(n);
            register(
                &registry,
                HistogramVec::new(HistogramOpts::new(name, help).buckets(SECONDS.to_vec()), labels),
            )
        };
        let m = Self {
            depth: make!(IntGaugeVec, vec "workqueue_depth"),
            queue_seconds: histograms("workqueue_queue_duration_seconds"),
            parked: make!(IntGauge, "workqueue_parked"),
            runs: make!(IntCounterVec, vec "controller_runtime_reconcile_total"),
            run_seconds: histograms("controller_runtime_reconcile_time_seconds"),
            workers: make!(IntGaugeVec, vec "controller_runtime_active_workers"),
            calls: make!(IntCounterVec, vec "berth_backend_calls_total"),
            call_seconds: histograms("berth_backend_call_seconds"),
            waits: histograms("berth_backend_wait_seconds"),
            requests: make!(IntCounterVec, vec "berth_backend_requests_total"),
            breaker: make!(IntGaugeVec, vec "berth_backend_breaker_open"),
            in_flight: make!(IntGaugeVec, vec "berth_backend_in_flight"),
            calls_left: make!(GaugeVec, vec "berth_backend_calls_left"),
            addresses: make!(IntGaugeVec, vec "berth_backend_addresses"),
            room: make!(IntGaugeVec, vec "berth_backend_room"),
            stacks: make!(IntGaugeVec, vec "berth_stacks"),
            unhealthy: make!(IntGauge, "berth_unhealthy"),
            certificates: make!(IntGaugeVec, vec "berth_certificates"),
            certificate_expiry: make!(GaugeVec, vec "berth_certificate_expiry_timestamp_seconds"),
            dns_records: make!(IntGaugeVec, vec "berth_dns_records"),
            dns_stacks: make!(IntGaugeVec, vec "berth_dns_stacks"),
            dns_orphans: make!(IntGauge, "berth_dns_orphans"),
            dns_verified: histogram("berth_dns_verification_seconds"),
            unknown: make!(IntGauge, "berth_unknown_intents"),
            rollouts: make!(IntCounterVec, vec "berth_rollouts_total"),
            steps: make!(IntCounterVec, vec "berth_steps_total"),
            first_call: histogram("berth_first_call_seconds"),
            ready: histogram("berth_ready_seconds"),
            lateness: make!(GaugeVec, vec "berth_pass_lateness_seconds"),
            pass_seconds: histograms("berth_pass_seconds"),
            held: make!(IntGaugeVec, vec "berth_held"),
            manifest_errors: make!(IntGauge, "berth_manifest_errors"),
            commits: make!(IntCounter, "berth_store_commits_total"),
            store_errors: make!(IntCounter, "berth_store_errors_total"),
            orphans: make!(IntGauge, "berth_orphans"),
            leader: make!(IntGauge, "berth_leader"),
            store_up: make!(IntGauge, "berth_store_up"),
            registry,
        };
        // There is an engine only where there is a lead.
        m.leader.set(1);
        m.store_up.set(1);
        for state in ["ready", "reconciling", "stalled", "unknown"] {
            m.stacks.with_label_values(&[state]);
        }
        for state in ["verified", "pending"] {
            m.dns_records.with_label_values(&[state]);
        }
        for (_, reason) in crate::dns::REASONS {
            m.dns_stacks.with_label_values(&[reason]);
        }
        for outcome in ["good", "failed", "restored"] {
            m.rollouts.with_label_values(&[outcome]);
        }
        for controller in ["stack", "project"] {
            for result in ["success", "requeue", "error"] {
                m.runs.with_label_values(&[controller, result]);
            }
        }
        for backend in backends {
            for lane in Lane::ALL {
                m.depth.with_label_values(&[backend, lane.as_str()]);
            }
            m.breaker.with_label_values(&[backend]);
            m.in_flight.with_label_values(&[backend]);
            m.requests.with_label_values(&[backend]);
            m.held.with_label_values(&[backend]);
            m.workers.with_label_values(&[backend]);
            m.lateness.with_label_values(&[backend]);
            for standing in Standing::ALL {
                m.certificates.with_label_values(&[backend, standing.as_str()]);
            }
        }
        m
    }

    /// How an account stands.
    pub(crate) fn account(&self, name: &str, now: &BackendState) {
        let labels = &[name];
        self.breaker.with_label_values(labels).set(i64::from(!matches!(now.breaker, Breaker::Closed)));
        self.in_flight.with_label_values(labels).set(i64::try_from(now.in_flight).unwrap_or(i64::MAX));
        if let Some(left) = now.calls_left {
            self.calls_left.with_label_values(labels).set(left);
        }
    }

    /// The addresses that an account's network has and has left. What is not known is not shown.
    pub(crate) fn room(&self, backend: &str, known: Option<(u64, u64)>) {
        let labels = &[backend];
        match known {
            Some((usable, left)) => {
                let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
                self.addresses.with_label_values(labels).set(number(usable));
                self.room.with_label_values(labels).set(number(left));
            }
            None => {
                // An error means that it was not shown.
                let _ = self.addresses.remove_label_values(labels);
                let _ = self.room.remove_label_values(labels);
            }
        }
    }
}

fn register<M: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    metric: prometheus::Result<M>,
) -> M {
    let metric = metric.unwrap_or_else(|e| unreachable!("a constant metric: {e}"));
    registry.register(Box::new(metric.clone())).unwrap_or_else(|e| unreachable!("registered once: {e}"));
    metric
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_made_and_listed() {
        let metrics = Metrics::new(["main"].into_iter());
        let families = [metrics.registry.gather(), turns().0.gather()].concat();
        let mut text = String::new();
        prometheus::TextEncoder::new().encode_utf8(&families, &mut text).unwrap();
        for (name, ..) in METRICS {
            let unlabelled = text.contains(&format!("# TYPE {name} "));
            let vec_without_children = [
                "berth_backend_calls_total",
                "berth_steps_total",
                "berth_backend_calls_left",
                "berth_backend_addresses",
                "berth_backend_room",
            ]
            .contains(name)
                || name.ends_with("_seconds");
            assert!(unlabelled || vec_without_children, "{name}");
        }
        assert!(!text.contains("berth_unlisted"));
    }
}
