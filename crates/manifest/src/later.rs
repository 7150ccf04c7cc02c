//! The parts of the language that are read and checked for form but not built by this version: databases, Swarm
//! targets, quotas and previews.
//!
//! Nothing here is resolved; a document that needs it is refused with a message that says so.

use crate::domain::DomainPlan;
use crate::read::{At, Cpu, Memory, Period, Words, object, words};

object!(
    /// A database of the stack.
    Database {
        /// Which server.
        #[schemars(required)]
        "engine" engine: Engine,
        /// Its major version.
        "version" version: Words,
    }
);

words!(
    /// A database server.
    Engine {
        /// PostgreSQL.
        Postgres = "postgres",
        /// Redis.
        Redis = "redis",
    }
);

object!(
    /// How an app uses a database.
    Uses {
        /// The schema; the app's name with `-` as `_` if omitted.
        "schema" schema: Words,
    }
);

object!(
    /// A network of the stack's own.
    NetworkPlan {
        /// Only this stack is in it.
        "isolated" isolated: bool,
        /// Encrypted between nodes.
        "encrypted" encrypted: bool,
    }
);

object!(
    /// The router of a Swarm target.
    Routing {
        /// The router's network.
        "network" network: Words,
        /// Its entry point.
        "entrypoint" entrypoint: Words,
        /// Its certificate resolver.
        "resolver" resolver: Words,
    }
);

object!(
    /// How changes spread.
    Rollout {
        /// How many stacks go first.
        "canary" canary: u32,
        /// How many go at a time: a number or a share like `10%`.
        "batch" batch: Words,
        /// Stop when one fails.
        "pauseOnFailure" pause_on_failure: bool,
        /// Which task goes first.
        "order" order: crate::raw::Order,
        /// Tasks at a time.
        "parallel" parallel: u32,
        /// How long a new task is watched.
        "monitor" monitor: Period,
        /// Put the old version back.
        "rollback" rollback: Words,
    }
);

object!(
    /// Scaling by load.
    Autoscale {
        /// The fewest replicas.
        "min" min: u32,
        /// The most replicas.
        "max" max: u32,
        /// The share of processor at which one is added: `60%`.
        "cpu" cpu: Words,
    }
);

object!(
    /// A Swarm config.
    ConfigFile {
        /// A file beside the manifest.
        "file" file: Words,
        /// The content itself.
        "content" content: Words,
    }
);

object!(
    /// What a tenant may use.
    QuotaSpec {
        /// Whose.
        #[schemars(required)]
        "tenant" tenant: At<Words>,
        /// Stacks.
        "stacks" stacks: u32,
        /// Replicas.
        "replicas" replicas: QuotaReplicas,
        /// Processor share.
        "cpu" cpu: QuotaCpu,
        /// Memory.
        "memory" memory: QuotaMemory,
        /// Storage.
        "storage" storage: Memory,
        /// Previews.
        "previews" previews: u32,
        /// What an app gets that says nothing.
        "defaults" defaults: QuotaDefaults,
    }
);

object!(
    /// Replicas that a tenant may run.
    QuotaReplicas {
        /// In all.
        "total" total: u32,
        /// Of one app.
        "perApp" per_app: u32,
    }
);

object!(
    /// Processor share of a tenant.
    QuotaCpu {
        /// Used at most.
        "limit" limit: Cpu,
        /// Set aside at most.
        "reserve" reserve: Cpu,
    }
);

object!(
    /// Memory of a tenant.
    QuotaMemory {
        /// Used at most.
        "limit" limit: Memory,
        /// Set aside at most.
        "reserve" reserve: Memory,
    }
);

object!(
    /// What an app of a tenant gets that says nothing.
    QuotaDefaults {
        /// Processor share.
        "cpu" cpu: Cpu,
        /// Memory.
        "memory" memory: Memory,
    }
);

object!(
    /// How previews are made from a stack.
    PreviewPolicySpec {
        /// The stack.
        #[schemars(required)]
        "from" from: At<Words>,
        /// The preview's name: `shop-pr-{pr}`.
        "name" name: Words,
        /// Its host names.
        "domain" domain: DomainPlan,
        /// Its images.
        "image" image: PreviewImage,
        /// How long it lives.
        "ttl" ttl: Period,
        /// How many there may be.
        "limit" limit: u32,
        /// Replicas of each app.
        "replicas" replicas: u32,
        /// What becomes of its volumes.
        "storage" storage: PreviewStorage,
    }
);

object!(
    /// The images of a preview.
    PreviewImage {
        /// The tag: `pr-{pr}-{sha}`.
        "tag" tag: Words,
    }
);

words!(
    /// What becomes of a preview's volumes.
    PreviewStorage {
        /// They go with it.
        Delete = "delete",
        /// They stay.
        Retain = "retain",
    }
);

object!(
    /// One preview.
    PreviewSpec {
        /// Its policy.
        #[schemars(required)]
        "policy" policy: At<Words>,
        /// The pull request.
        "pr" pr: u32,
        /// The commit.
        "sha" sha: Words,
    }
);
