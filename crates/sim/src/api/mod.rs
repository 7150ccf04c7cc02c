//! The procedures: names, kinds, inputs and who may call them.
//! A procedure must never be reachable that is not in this list: everything else is a plain 404.

mod application;
mod cluster;
mod deployment;
mod domain;
mod environment;
mod lists;
mod mount;
mod project;
mod user;

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;

use crate::auth::Role;
use crate::columns::PATCH;
use crate::error::{Answer, ApiError};
use crate::schema::{Field, Input, Kind, check, must, nul, opt, req};
use crate::world::World;

/// What a handler knows about its call.
pub(crate) struct Ctx {
    pub role: Role,
    /// The world's write counter when the request came in: later writes were not seen by this one.
    pub seen: u64,
}

pub(crate) type Run = fn(&mut World, &Ctx, &Input) -> Answer;

/// What a member without grants gets.
#[derive(Clone, Copy)]
enum Guard {
    Anyone,
    /// An empty list.
    Blank,
    /// `You don't have access to this …`
    See(&'static str),
    /// `unauthorized to access resource "…"`
    Use(&'static str),
}

enum Fields {
    Given(&'static [Field]),
    /// Every column of an application.
    Patch,
}

pub(crate) struct Procedure {
    pub name: &'static str,
    pub mutation: bool,
    /// Answers many rows: what list faults act on.
    pub list: bool,
    guard: Guard,
    fields: Fields,
    run: Run,
}

const ID: Kind = Kind::Text(1);
const TEXT: Kind = Kind::Text(0);
const APP: &[Field] = &[req("applicationId", ID)];
const PROJECT: &[Field] = &[req("projectId", ID)];
const ENVIRONMENT: &[Field] = &[req("environmentId", ID)];
const SERVER: &[Field] = &[opt("serverId", TEXT)];
const JOB: &[Field] = &[req("applicationId", ID), opt("title", TEXT), opt("description", TEXT)];
const PORT: Kind = Kind::Between(1, 65535, true);
const CERTIFICATE: Kind = Kind::OneOf(&["letsencrypt", "none", "custom"]);
const DOMAIN_TYPE: Kind = Kind::OneOf(&["compose", "application", "preview"]);
const TEXTS: Kind = Kind::List(&TEXT);
const DOMAIN: &[Field] = &[
    req("host", Kind::Host),
    nul("path", Kind::Text(1)),
    nul("port", PORT),
    opt("https", Kind::Flag),
    nul("applicationId", TEXT),
    opt("certificateType", CERTIFICATE),
    nul("customCertResolver", TEXT),
    nul("customEntrypoint", TEXT),
    nul("composeId", TEXT),
    nul("serviceName", TEXT),
    nul("domainType", DOMAIN_TYPE),
    nul("previewDeploymentId", TEXT),
    nul("internalPath", TEXT),
    opt("stripPath", Kind::Flag),
    nul("middlewares", TEXTS),
    opt("forwardAuthEnabled", Kind::Flag),
];
const DOMAIN_UPDATE: &[Field] = &[
    req("domainId", TEXT),
    req("host", Kind::Host),
    nul("path", Kind::Text(1)),
    nul("port", PORT),
    opt("https", Kind::Flag),
    opt("certificateType", CERTIFICATE),
    nul("customCertResolver", TEXT),
    nul("customEntrypoint", TEXT),
    nul("serviceName", TEXT),
    nul("domainType", DOMAIN_TYPE),
    nul("internalPath", TEXT),
    opt("stripPath", Kind::Flag),
    nul("middlewares", TEXTS),
    opt("forwardAuthEnabled", Kind::Flag),
    opt("enabled", Kind::Flag),
];
const MOUNT_TYPE: Kind = Kind::OneOf(&["bind", "volume", "file"]);
const SERVICE_TYPE: Kind =
    Kind::OneOf(&["application", "postgres", "mysql", "mariadb", "mongo", "redis", "compose", "libsql"]);
const PROTOCOL: Kind = Kind::OneOf(&["tcp", "udp"]);
const PUBLISH: Kind = Kind::OneOf(&["ingress", "host"]);
const SEARCH: &[Field] = &[
    opt("q", TEXT),
    opt("name", TEXT),
    opt("appName", TEXT),
    opt("description", TEXT),
    opt("projectId", TEXT),
    opt("environmentId", TEXT),
    opt("limit", Kind::Between(1, 100, false)),
    opt("offset", Kind::Between(0, i64::MAX, false)),
];
const NEW_KEY: &[Field] = &[
    req("name", Kind::Text(1)),
    opt("prefix", TEXT),
    opt("expiresIn", Kind::Number),
    req("metadata", Kind::Object(&[req("organizationId", TEXT)])),
    opt("rateLimitEnabled", Kind::Flag),
    opt("rateLimitTimeWindow", Kind::Number),
    opt("rateLimitMax", Kind::Number),
    opt("remaining", Kind::Number),
    opt("refillAmount", Kind::Number),
    opt("refillInterval", Kind::Number),
];

const fn query(name: &'static str, guard: Guard, fields: &'static [Field], run: Run) -> Procedure {
    Procedure { name, mutation: false, list: false, guard, fields: Fields::Given(fields), run }
}

const fn list(name: &'static str, guard: Guard, fields: &'static [Field], run: Run) -> Procedure {
    Procedure { name, mutation: false, list: true, guard, fields: Fields::Given(fields), run }
}

const fn mutation(name: &'static str, guard: Guard, fields: &'static [Field], run: Run) -> Procedure {
    Procedure { name, mutation: true, list: false, guard, fields: Fields::Given(fields), run }
}

use Guard::{Anyone, Blank, See, Use};

static PROCEDURES: &[Procedure] = &[
    query("settings.getDokployVersion", Anyone, &[], user::version),
    query("settings.getIp", Anyone, &[], user::address),
    query("settings.health", Anyone, &[], user::health),
    query("user.session", Anyone, &[], user::session),
    query("user.get", Anyone, &[], user::get),
    mutation("user.createApiKey", Use("apiKey"), NEW_KEY, user::create_key),
    mutation("user.deleteApiKey", Use("apiKey"), &[req("apiKeyId", TEXT)], user::delete_key),
    query("organization.active", Anyone, &[], user::organization),
    mutation(
        "project.create",
        Anyone,
        &[req("name", ID), nul("description", TEXT), opt("env", TEXT)],
        project::create,
    ),
    list("project.one", See("project"), PROJECT, lists::project_one),
    list("project.all", Blank, &[], lists::project_all),
    list("project.allForPermissions", Use("member"), &[], lists::for_permissions),
    mutation(
        "project.update",
        Use("project"),
        &[
            req("projectId", ID),
            opt("name", ID),
            nul("description", TEXT),
            opt("env", TEXT),
            opt("organizationId", TEXT),
            opt("createdAt", TEXT),
        ],
        project::update,
    ),
    mutation("project.remove", Use("project"), PROJECT, project::remove),
    mutation(
        "environment.create",
        Use("environment"),
        &[req("name", ID), req("projectId", ID), opt("description", TEXT)],
        environment::create,
    ),
    list("environment.one", See("environment"), ENVIRONMENT, lists::environment_one),
    list("environment.byProjectId", Blank, PROJECT, lists::by_project),
    mutation(
        "environment.update",
        Use("environment"),
        &[
            req("environmentId", ID),
            opt("name", ID),
            opt("description", TEXT),
            opt("env", TEXT),
            opt("projectId", TEXT),
        ],
        environment::update,
    ),
    mutation("environment.remove", Use("environment"), ENVIRONMENT, environment::remove),
    mutation(
        "application.create",
        Use("service"),
        &[
            req("name", ID),
            opt("appName", Kind::AppName),
            nul("description", TEXT),
            req("environmentId", TEXT),
            nul("serverId", TEXT),
            opt(
                "sourceType",
                Kind::OneOf(&["github", "docker", "git", "gitlab", "bitbucket", "gitea", "drop"]),
            ),
        ],
        application::create,
    ),
    query("application.one", See("service"), APP, application::one),
    Procedure {
        name: "application.update",
        mutation: true,
        list: false,
        guard: Use("service"),
        fields: Fields::Patch,
        run: application::update,
    },
    mutation(
        "application.move",
        Use("service"),
        &[req("applicationId", TEXT), req("targetEnvironmentId", TEXT)],
        application::relocate,
    ),
    mutation("application.delete", See("service"), APP, application::delete),
    mutation("application.deploy", See("service"), JOB, application::deploy),
    mutation("application.redeploy", See("service"), JOB, application::redeploy),
    mutation("application.stop", See("service"), APP, application::stop),
    mutation("application.start", See("service"), APP, application::start),
    query(
        "application.readLogs",
        See("service"),
        &[
            req("applicationId", ID),
            opt("tail", Kind::Between(1, 10000, false)),
            opt("since", TEXT),
            opt("search", TEXT),
        ],
        application::read_logs,
    ),
    mutation("application.markRunning", See("service"), APP, application::mark_running),
    mutation(
        "application.reload",
        See("service"),
        &[must("appName", TEXT, false), req("applicationId", TEXT)],
        application::reload,
    ),
    mutation(
        "application.saveDockerProvider",
        See("service"),
        &[
            must("dockerImage", TEXT, true),
            req("applicationId", TEXT),
            must("username", TEXT, true),
            must("password", TEXT, true),
            must("registryUrl", TEXT, true),
        ],
        application::save_docker,
    ),
    mutation(
        "application.saveEnvironment",
        See("service"),
        &[
            req("applicationId", TEXT),
            must("env", TEXT, true),
            must("buildArgs", TEXT, true),
            must("buildSecrets", TEXT, true),
            must("createEnvFile", Kind::Flag, false),
        ],
        application::save_env,
    ),
    list("application.search", Anyone, SEARCH, lists::search),
    query("application.readTraefikConfig", See("service"), APP, application::traefik),
    mutation("domain.create", Use("domain"), DOMAIN, domain::create),
    query("domain.one", Use("domain"), &[req("domainId", TEXT)], domain::one),
    mutation("domain.update", Use("domain"), DOMAIN_UPDATE, domain::update),
    mutation("domain.delete", Use("domain"), &[req("domainId", TEXT)], domain::delete),
    list("domain.byApplicationId", Use("domain"), &[req("applicationId", TEXT)], domain::by_application),
    mutation(
        "mounts.create",
        Use("service"),
        &[
            req("type", MOUNT_TYPE),
            nul("hostPath", TEXT),
            nul("volumeName", TEXT),
            nul("content", TEXT),
            req("mountPath", Kind::Text(1)),
            nul("filePath", TEXT),
            opt("serviceType", SERVICE_TYPE),
            req("serviceId", Kind::Text(1)),
        ],
        mount::create,
    ),
    query("mounts.one", Use("service"), &[req("mountId", ID)], mount::one),
    mutation(
        "mounts.update",
        Use("service"),
        &[
            req("mountId", ID),
            opt("type", MOUNT_TYPE),
            nul("hostPath", TEXT),
            nul("volumeName", TEXT),
            nul("content", TEXT),
            opt("mountPath", Kind::Text(1)),
            nul("filePath", TEXT),
            opt("serviceType", SERVICE_TYPE),
            nul("applicationId", TEXT),
        ],
        mount::update,
    ),
    mutation("mounts.remove", Use("service"), &[req("mountId", TEXT)], mount::remove),
    list(
        "mounts.listByServiceId",
        Use("service"),
        &[opt("serviceType", SERVICE_TYPE), req("serviceId", Kind::Text(1))],
        mount::by_service,
    ),
    mutation(
        "port.create",
        Use("service"),
        &[
            must("publishedPort", Kind::Strict, false),
            opt("publishMode", PUBLISH),
            must("targetPort", Kind::Strict, false),
            opt("protocol", PROTOCOL),
            must("applicationId", TEXT, false),
        ],
        mount::port_create,
    ),
    query("port.one", Use("service"), &[req("portId", ID)], mount::port_one),
    mutation(
        "port.update",
        Use("service"),
        &[
            req("portId", ID),
            req("publishedPort", Kind::Strict),
            opt("publishMode", PUBLISH),
            req("targetPort", Kind::Strict),
            opt("protocol", PROTOCOL),
        ],
        mount::port_update,
    ),
    mutation("port.delete", Use("service"), &[req("portId", TEXT)], mount::port_delete),
    list("deployment.all", See("service"), APP, deployment::all),
    list("deployment.allCentralized", Blank, &[], deployment::centralized),
    list("deployment.queueList", Blank, &[], deployment::queue_list),
    query(
        "deployment.readLogs",
        See("service"),
        &[req("deploymentId", ID), opt("tail", Kind::Between(1, 10000, false))],
        deployment::read_logs,
    ),
    list("overview.domains", Blank, &[], lists::overview_domains),
    list("overview.services", Blank, &[], lists::overview_services),
    list("swarm.getNodeApps", Use("docker"), SERVER, cluster::node_apps),
    query("swarm.getNodes", Use("docker"), SERVER, cluster::swarm_nodes),
    query("cluster.getNodes", Use("docker"), SERVER, cluster::cluster_nodes),
    query(
        "docker.getConfig",
        Use("docker"),
        &[req("containerId", ID), opt("serverId", TEXT)],
        cluster::config,
    ),
    list(
        "docker.getServiceContainersByAppName",
        Use("docker"),
        &[req("appName", ID), opt("serverId", TEXT)],
        cluster::containers,
    ),
    list("server.all", Use("server"), &[], user::nothing),
    list("registry.all", Use("registry"), &[], user::nothing),
];

static BY_NAME: LazyLock<HashMap<String, &'static Procedure>> =
    LazyLock::new(|| PROCEDURES.iter().map(|p| (p.name.to_ascii_lowercase(), p)).collect());

/// Routing is case-insensitive.
pub(crate) fn find(name: &str) -> Option<&'static Procedure> {
    if let Some(found) = BY_NAME.get(name) {
        return Some(found);
    }
    BY_NAME.get(&name.to_ascii_lowercase()).copied()
}

impl Procedure {
    /// Validates, checks the role and runs.
    pub(crate) fn call(&self, world: &mut World, ctx: &Ctx, input: &Value, coerce: bool) -> Answer {
        let fields = match &self.fields {
            Fields::Given(fields) => fields,
            Fields::Patch => PATCH.as_slice(),
        };
        // A procedure without input ignores whatever is sent.
        let input = if fields.is_empty() {
            Input::new()
        } else {
            check(fields, input, coerce).map_err(ApiError::invalid)?
        };
        if ctx.role == Role::Member {
            match self.guard {
                Anyone => {}
                Blank => return Ok(Some("[]".to_owned())),
                See(what) => return Err(ApiError::denied(format!("You don't have access to this {what}"))),
                Use(what) => {
                    return Err(ApiError::denied(format!("unauthorized to access resource {what:?}")));
                }
            }
        }
        (self.run)(world, ctx, &input)
    }
}

/// A text of the input; empty when absent.
fn text<'a>(input: &'a Input, key: &str) -> &'a str {
    input.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// A nullable text of the input.
fn maybe(input: &Input, key: &str) -> Option<String> {
    input.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// PostgreSQL refuses a NUL byte in any text.
fn has_nul(input: &Input) -> bool {
    input.values().any(|v| v.as_str().is_some_and(|text| text.contains('\0')))
}

/// The parameters of a leaked statement.
pub(crate) fn params<'a>(values: impl IntoIterator<Item = &'a Value>) -> String {
    let one = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    values.into_iter().map(one).collect::<Vec<_>>().join(",")
}
