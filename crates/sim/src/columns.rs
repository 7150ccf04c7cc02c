//! The application table: its columns in the order the API answers them, their input rules and defaults.
//! The list must never drift from the recorded row: every read of an application comes from it.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use crate::schema::{Field, Kind, Need};
use crate::swarm_fields as swarm;
use crate::table::Row;

use self::Start::{Empty, Int, No, Nothing, Word, Yes};

/// The value of a column in a fresh row.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    Nothing,
    Yes,
    No,
    Empty,
    Int(i64),
    Word(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub name: &'static str,
    pub kind: Kind,
    pub nullable: bool,
    pub start: Start,
}

const fn col(name: &'static str, kind: Kind, nullable: bool, start: Start) -> Column {
    Column { name, kind, nullable, start }
}

pub(crate) const STATUS: &[&str] = &["idle", "running", "done", "error"];
const TEXTS: Kind = Kind::List(&Kind::Text(0));

pub(crate) static COLUMNS: &[Column] = &[
    col("applicationId", Kind::Text(0), false, Nothing),
    col("name", Kind::Text(1), false, Nothing),
    col("appName", Kind::Text(0), false, Nothing),
    col("description", Kind::Text(0), true, Nothing),
    col("env", Kind::Text(0), true, Nothing),
    col("previewEnv", Kind::Text(0), true, Nothing),
    col("watchPaths", TEXTS, true, Nothing),
    col("previewBuildArgs", Kind::Text(0), true, Nothing),
    col("previewBuildSecrets", Kind::Text(0), true, Nothing),
    col("previewLabels", TEXTS, true, Nothing),
    col("previewWildcard", Kind::Text(0), true, Nothing),
    col("previewPort", Kind::Number, true, Int(3000)),
    col("previewHttps", Kind::Flag, false, No),
    col("previewPath", Kind::Text(0), true, Word("/")),
    col("previewCertificateType", Kind::OneOf(&["letsencrypt", "none", "custom"]), false, Word("none")),
    col("previewCustomCertResolver", Kind::Text(0), true, Nothing),
    col("previewLimit", Kind::Number, true, Int(3)),
    col("isPreviewDeploymentsActive", Kind::Flag, true, No),
    col("previewRequireCollaboratorPermissions", Kind::Flag, true, Yes),
    col("rollbackActive", Kind::Flag, true, No),
    col("buildArgs", Kind::Text(0), true, Nothing),
    col("buildSecrets", Kind::Text(0), true, Nothing),
    col("memoryReservation", Kind::Text(0), true, Nothing),
    col("memoryLimit", Kind::Text(0), true, Nothing),
    col("cpuReservation", Kind::Text(0), true, Nothing),
    col("cpuLimit", Kind::Text(0), true, Nothing),
    col("title", Kind::Text(0), true, Nothing),
    col("enabled", Kind::Flag, true, Nothing),
    col("subtitle", Kind::Text(0), true, Nothing),
    col("command", Kind::Text(0), true, Nothing),
    col("args", TEXTS, true, Nothing),
    col("icon", Kind::Text(0), true, Nothing),
    col("refreshToken", Kind::Text(0), true, Nothing),
    col(
        "sourceType",
        Kind::OneOf(&["github", "docker", "git", "gitlab", "bitbucket", "gitea", "drop"]),
        false,
        Word("github"),
    ),
    col("cleanCache", Kind::Flag, true, No),
    col("repository", Kind::Text(0), true, Nothing),
    col("owner", Kind::Text(0), true, Nothing),
    col("branch", Kind::Text(0), true, Nothing),
    col("buildPath", Kind::Text(0), true, Word("/")),
    col("triggerType", Kind::OneOf(&["push", "tag"]), true, Word("push")),
    col("autoDeploy", Kind::Flag, true, Yes),
    col("gitlabProjectId", Kind::Number, true, Nothing),
    col("gitlabRepository", Kind::Text(0), true, Nothing),
    col("gitlabOwner", Kind::Text(0), true, Nothing),
    col("gitlabBranch", Kind::Text(0), true, Nothing),
    col("gitlabBuildPath", Kind::Text(0), true, Word("/")),
    col("gitlabPathNamespace", Kind::Text(0), true, Nothing),
    col("giteaRepository", Kind::Text(0), true, Nothing),
    col("giteaOwner", Kind::Text(0), true, Nothing),
    col("giteaBranch", Kind::Text(0), true, Nothing),
    col("giteaBuildPath", Kind::Text(0), true, Word("/")),
    col("bitbucketRepository", Kind::Text(0), true, Nothing),
    col("bitbucketRepositorySlug", Kind::Text(0), true, Nothing),
    col("bitbucketOwner", Kind::Text(0), true, Nothing),
    col("bitbucketBranch", Kind::Text(0), true, Nothing),
    col("bitbucketBuildPath", Kind::Text(0), true, Word("/")),
    col("username", Kind::Text(0), true, Nothing),
    col("password", Kind::Text(0), true, Nothing),
    col("dockerImage", Kind::Text(0), true, Nothing),
    col("registryUrl", Kind::Text(0), true, Nothing),
    col("customGitUrl", Kind::Text(0), true, Nothing),
    col("customGitBranch", Kind::Text(0), true, Nothing),
    col("customGitBuildPath", Kind::Text(0), true, Nothing),
    col("customGitSSHKeyId", Kind::Text(0), true, Nothing),
    col("enableSubmodules", Kind::Flag, false, No),
    col("dockerfile", Kind::Text(0), true, Word("Dockerfile")),
    col("dockerContextPath", Kind::Text(0), true, Nothing),
    col("dockerBuildStage", Kind::Text(0), true, Nothing),
    col("dropBuildPath", Kind::Text(0), true, Nothing),
    col("healthCheckSwarm", swarm::HEALTH_CHECK, true, Nothing),
    col("restartPolicySwarm", swarm::RESTART_POLICY, true, Nothing),
    col("placementSwarm", swarm::PLACEMENT, true, Nothing),
    col("updateConfigSwarm", swarm::UPDATE_CONFIG, true, Nothing),
    col("rollbackConfigSwarm", swarm::ROLLBACK_CONFIG, true, Nothing),
    col("modeSwarm", swarm::MODE, true, Nothing),
    col("labelsSwarm", swarm::LABELS, true, Nothing),
    col("networkSwarm", swarm::NETWORK, true, Nothing),
    col("stopGracePeriodSwarm", Kind::Number, true, Nothing),
    col("endpointSpecSwarm", swarm::ENDPOINT_SPEC, true, Nothing),
    col("ulimitsSwarm", swarm::ULIMITS, true, Nothing),
    col("replicas", Kind::Number, false, Int(1)),
    col("applicationStatus", Kind::OneOf(STATUS), false, Word("idle")),
    col(
        "buildType",
        Kind::OneOf(&[
            "dockerfile",
            "heroku_buildpacks",
            "paketo_buildpacks",
            "nixpacks",
            "static",
            "railpack",
        ]),
        false,
        Word("nixpacks"),
    ),
    col("railpackVersion", Kind::Text(0), true, Word("0.15.4")),
    col("herokuVersion", Kind::Text(0), true, Word("24")),
    col("publishDirectory", Kind::Text(0), true, Nothing),
    col("isStaticSpa", Kind::Flag, true, Nothing),
    col("createEnvFile", Kind::Flag, false, Yes),
    col("createdAt", Kind::Text(0), false, Nothing),
    col("registryId", Kind::Text(0), true, Nothing),
    col("rollbackRegistryId", Kind::Text(0), true, Nothing),
    col("environmentId", Kind::Text(0), false, Nothing),
    col("githubId", Kind::Text(0), true, Nothing),
    col("gitlabId", Kind::Text(0), true, Nothing),
    col("giteaId", Kind::Text(0), true, Nothing),
    col("bitbucketId", Kind::Text(0), true, Nothing),
    col("serverId", Kind::Text(0), true, Nothing),
    col("buildServerId", Kind::Text(0), true, Nothing),
    col("buildRegistryId", Kind::Text(0), true, Nothing),
    col("networkIds", TEXTS, true, Empty),
    col("detachDokployNetwork", Kind::Flag, false, No),
];

static INDEX: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| COLUMNS.iter().enumerate().map(|(at, column)| (column.name, at)).collect());

/// What `application.update` accepts: every column but the server and the name it can never change.
pub(crate) static PATCH: LazyLock<Vec<Field>> = LazyLock::new(|| {
    let field = |column: &Column| {
        let need = if column.name == "applicationId" { Need::Required } else { Need::Optional };
        let kind = if column.name == "applicationId" { Kind::Text(1) } else { column.kind };
        Field { name: column.name, kind, nullable: column.nullable, need }
    };
    COLUMNS.iter().filter(|c| !matches!(c.name, "serverId" | "appName")).map(field).collect()
});

/// The quoted column list that a database error leaks.
pub(crate) static SQL_COLUMNS: LazyLock<String> =
    LazyLock::new(|| COLUMNS.iter().map(|c| format!("{:?}", c.name)).collect::<Vec<_>>().join(", "));

/// One application. Columns are read and written by their API names.
#[derive(Clone, Debug)]
pub struct Application {
    values: Vec<Value>,
    /// The three keys every lookup needs, kept beside the columns.
    pub id: Arc<str>,
    pub app_name: Arc<str>,
    environment: Arc<str>,
}

impl Application {
    pub fn new(
        id: &str,
        name: &str,
        app_name: &str,
        environment: &str,
        created: &str,
        token: &str,
    ) -> Application {
        let values = COLUMNS
            .iter()
            .map(|column| match column.start {
                Nothing => Value::Null,
                Yes => Value::Bool(true),
                No => Value::Bool(false),
                Empty => Value::Array(Vec::new()),
                Int(n) => Value::from(n),
                Word(text) => Value::from(text),
            })
            .collect();
        let mut row =
            Application { values, id: id.into(), app_name: app_name.into(), environment: environment.into() };
        for (key, text) in [
            ("applicationId", id),
            ("name", name),
            ("appName", app_name),
            ("environmentId", environment),
            ("createdAt", created),
            ("refreshToken", token),
        ] {
            row.set(key, Value::from(text));
        }
        row
    }

    /// A column; `Null` for a name that is none.
    pub fn get(&self, column: &str) -> &Value {
        INDEX.get(column).and_then(|at| self.values.get(*at)).unwrap_or(&Value::Null)
    }

    pub fn text(&self, column: &str) -> Option<&str> {
        self.get(column).as_str()
    }

    pub fn int(&self, column: &str) -> Option<i64> {
        self.get(column).as_i64()
    }

    pub fn environment_id(&self) -> &str {
        &self.environment
    }

    pub fn status(&self) -> &str {
        self.text("applicationStatus").unwrap_or("idle")
    }

    /// Writes a column; a name that is none is ignored, as the API ignores it.
    pub fn set(&mut self, column: &str, value: Value) {
        if column == "environmentId"
            && let Some(text) = value.as_str()
        {
            self.environment = text.into();
        }
        if let Some(slot) = INDEX.get(column).and_then(|at| self.values.get_mut(*at)) {
            *slot = value;
        }
    }

    pub fn columns(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        COLUMNS.iter().map(|c| c.name).zip(&self.values)
    }
}

impl Row for Application {
    fn id(&self) -> &str {
        &self.id
    }

    fn parent(&self) -> Option<&str> {
        Some(&self.environment)
    }
}

impl Serialize for Application {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (name, value) in self.columns() {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}
