//! The rows of the simulated database, with the keys and the order the API answers them in.
//! A row must never hold anything the real table does not: extra keys would teach clients lies.

use serde::Serialize;
use serde_json::Value;

use crate::table::Row;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    pub project_id: String,
    pub name: String,
    pub description: Option<String>,
    pub created_at: String,
    pub organization_id: String,
    pub env: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    pub environment_id: String,
    pub name: String,
    pub description: Option<String>,
    pub created_at: String,
    pub env: String,
    pub project_id: String,
    pub is_default: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Domain {
    pub domain_id: String,
    pub host: String,
    pub https: bool,
    pub port: Option<i64>,
    pub custom_entrypoint: Option<String>,
    pub path: Option<String>,
    pub service_name: Option<String>,
    pub domain_type: Option<String>,
    pub unique_config_key: u64,
    pub created_at: String,
    pub compose_id: Option<String>,
    pub custom_cert_resolver: Option<String>,
    pub application_id: Option<String>,
    pub preview_deployment_id: Option<String>,
    pub certificate_type: String,
    pub internal_path: Option<String>,
    pub strip_path: bool,
    pub middlewares: Vec<String>,
    pub forward_auth_enabled: bool,
    pub enabled: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    pub mount_id: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub host_path: Option<String>,
    pub volume_name: Option<String>,
    pub file_path: Option<String>,
    pub content: Option<String>,
    pub service_type: String,
    pub mount_path: String,
    pub application_id: Option<String>,
    pub compose_id: Option<String>,
    pub libsql_id: Option<String>,
    pub mariadb_id: Option<String>,
    pub mongo_id: Option<String>,
    pub mysql_id: Option<String>,
    pub postgres_id: Option<String>,
    pub redis_id: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    pub port_id: String,
    pub published_port: i64,
    pub publish_mode: String,
    pub target_port: i64,
    pub protocol: String,
    pub application_id: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    pub deployment_id: String,
    pub title: String,
    pub description: Option<String>,
    /// `running`, `done`, `error` or `cancelled`.
    pub status: String,
    pub log_path: String,
    pub pid: Option<String>,
    pub application_id: String,
    pub compose_id: Option<String>,
    pub server_id: Option<String>,
    pub is_preview_deployment: bool,
    pub preview_deployment_id: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub error_message: Option<String>,
    pub schedule_id: Option<String>,
    pub backup_id: Option<String>,
    pub rollback_id: Option<String>,
    pub volume_backup_id: Option<String>,
    pub build_server_id: Option<String>,
    /// What `deployment.readLogs` answers; not a column.
    #[serde(skip)]
    pub log: String,
}

macro_rules! row {
    ($row:ty, $id:ident, $parent:expr) => {
        impl Row for $row {
            fn id(&self) -> &str {
                &self.$id
            }
            fn parent(&self) -> Option<&str> {
                let read: fn(&$row) -> Option<&str> = $parent;
                read(self)
            }
        }
    };
}

row!(Project, project_id, |_| None);
row!(Environment, environment_id, |row| Some(&row.project_id));
row!(Domain, domain_id, |row| row.application_id.as_deref());
row!(Mount, mount_id, |row| row.application_id.as_deref());
row!(Port, port_id, |row| Some(&row.application_id));
row!(Deployment, deployment_id, |row| Some(&row.application_id));

/// A row as a JSON value (rows of this module always serialise).
pub(crate) fn value(row: &impl Serialize) -> Value {
    serde_json::to_value(row).unwrap_or(Value::Null)
}
