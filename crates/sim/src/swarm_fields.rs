//! The strict shapes of the Swarm settings an application carries (capital keys, no others).
//! Nothing here may accept a key Docker does not know: the real schemas refuse them.

use crate::schema::{Field, Kind, nul, opt, req};

const TEXTS: Kind = Kind::List(&Kind::Text(0));
const TEXT: Kind = Kind::Text(0);
const NUM: Kind = Kind::Strict;

pub(crate) const HEALTH_CHECK: Kind = Kind::Closed(&[
    opt("Test", TEXTS),
    opt("Interval", NUM),
    opt("Timeout", NUM),
    opt("StartPeriod", NUM),
    opt("Retries", NUM),
]);
pub(crate) const RESTART_POLICY: Kind =
    Kind::Closed(&[opt("Condition", TEXT), opt("Delay", NUM), opt("MaxAttempts", NUM), opt("Window", NUM)]);
const SPREAD: Kind = Kind::Closed(&[opt("Spread", Kind::Closed(&[req("SpreadDescriptor", TEXT)]))]);
const PLATFORM: Kind = Kind::Closed(&[opt("Architecture", TEXT), opt("OS", TEXT)]);
pub(crate) const PLACEMENT: Kind = Kind::Closed(&[
    opt("Constraints", TEXTS),
    opt("Preferences", Kind::List(&SPREAD)),
    opt("MaxReplicas", NUM),
    opt("Platforms", Kind::List(&PLATFORM)),
]);
const CHANGE: &[Field] = &[
    req("Parallelism", NUM),
    opt("Delay", NUM),
    opt("FailureAction", TEXT),
    opt("Monitor", NUM),
    opt("MaxFailureRatio", NUM),
    req("Order", TEXT),
];
pub(crate) const UPDATE_CONFIG: Kind = Kind::Closed(CHANGE);
pub(crate) const ROLLBACK_CONFIG: Kind = Kind::Closed(CHANGE);
pub(crate) const MODE: Kind = Kind::Closed(&[
    opt("Replicated", Kind::Closed(&[opt("Replicas", NUM)])),
    opt("Global", Kind::Closed(&[])),
    opt("ReplicatedJob", Kind::Closed(&[opt("MaxConcurrent", NUM), opt("TotalCompletions", NUM)])),
    opt("GlobalJob", Kind::Closed(&[])),
]);
pub(crate) const LABELS: Kind = Kind::Record(&TEXT);
const NET: Kind =
    Kind::Closed(&[opt("Target", TEXT), opt("Aliases", TEXTS), opt("DriverOpts", Kind::Record(&TEXT))]);
pub(crate) const NETWORK: Kind = Kind::List(&NET);
const PUBLISHED: Kind = Kind::Closed(&[
    opt("Protocol", TEXT),
    opt("TargetPort", NUM),
    opt("PublishedPort", NUM),
    opt("PublishMode", TEXT),
]);
pub(crate) const ENDPOINT_SPEC: Kind =
    Kind::Closed(&[nul("Mode", TEXT), opt("Ports", Kind::List(&PUBLISHED))]);
const ULIMIT: Kind = Kind::Closed(&[req("Name", Kind::Text(1)), req("Soft", NUM), req("Hard", NUM)]);
pub(crate) const ULIMITS: Kind = Kind::List(&ULIMIT);
