//! `application.one` and `project.one`: everything about one object.

use crate::children::{DomainRow, MountRow, PortRow};
use crate::columns::Columns;
use crate::parse::{Count, json, nullable};
use berth_model::Secret;
use berth_model::observed::{
    AppDetail, Deployment, DeploymentStatus, EnvironmentDetail, ProjectDetail, SeenChild,
};
use berth_ports::PortError;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AppRow {
    application_id: String,
    app_name: String,
    environment_id: String,
    #[serde(deserialize_with = "nullable")]
    description: Option<String>,
    #[serde(flatten)]
    columns: Columns,
    mounts: Vec<MountRow>,
    ports: Vec<PortRow>,
    domains: Vec<DomainRow>,
    deployments: Vec<DeploymentRow>,
}

/// A row of `deployments`, and of `deployment.allCentralized`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeploymentRow {
    deployment_id: String,
    title: Option<String>,
    description: Option<String>,
    status: Option<String>,
    created_at: Option<String>,
    pub(crate) application_id: Option<String>,
}

impl DeploymentRow {
    pub(crate) fn seen(self) -> Deployment {
        Deployment {
            id: self.deployment_id.into(),
            title: format!(
                "{}\n{}",
                self.title.as_deref().unwrap_or(""),
                self.description.as_deref().unwrap_or("")
            ),
            status: match self.status.as_deref() {
                Some("done") => DeploymentStatus::Done,
                Some("error") => DeploymentStatus::Error,
                Some("cancelled") => DeploymentStatus::Cancelled,
                // A word that is not known is no end.
                _ => DeploymentStatus::Running,
            },
            created: self.created_at.unwrap_or_default(),
        }
    }
}

/// Newest first: the server's order means nothing. Its times are ISO texts, which sort.
pub(crate) fn newest_first(rows: &mut [Deployment]) {
    rows.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.id.cmp(&a.id)));
}

/// Reads `application.one`.
pub(crate) fn app(body: &[u8]) -> Result<AppDetail, PortError> {
    let row: AppRow = json("application.one", body)?;
    let mut deployments: Vec<_> = row.deployments.into_iter().map(DeploymentRow::seen).collect();
    newest_first(&mut deployments);
    let mounts = row.mounts.into_iter().filter_map(MountRow::seen);
    let ports = row.ports.into_iter().filter_map(PortRow::seen);
    let domains = row.domains.into_iter().filter_map(DomainRow::seen);
    let mut children: Vec<SeenChild> = mounts.chain(ports).chain(domains).collect();
    children.sort_by(|a, b| (&a.key, &a.id).cmp(&(&b.key, &b.id)));
    Ok(AppDetail {
        id: row.application_id.into(),
        service: row.app_name.into(),
        environment: row.environment_id.into(),
        fields: row.columns.fields(),
        env_text: row.columns.env.unwrap_or_default(),
        description: row.description.filter(|d| !d.is_empty()),
        children,
        deployments,
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectRow {
    project_id: String,
    name: String,
    #[serde(deserialize_with = "nullable")]
    description: Option<String>,
    #[serde(deserialize_with = "nullable")]
    env: Option<Secret>,
    environments: Vec<EnvironmentRow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentRow {
    environment_id: String,
    name: String,
    #[serde(deserialize_with = "nullable")]
    description: Option<String>,
    #[serde(default)]
    is_default: bool,
    #[serde(deserialize_with = "nullable")]
    env: Option<Secret>,
    // One by one and not flattened: flattening would keep every row in memory first.
    applications: Count,
    compose: Count,
    #[serde(default)]
    postgres: Count,
    #[serde(default)]
    mysql: Count,
    #[serde(default)]
    mariadb: Count,
    #[serde(default)]
    mongo: Count,
    #[serde(default)]
    redis: Count,
    #[serde(default)]
    libsql: Count,
}

impl EnvironmentRow {
    /// Services of all eight kinds. A kind that an earlier version does not have counts nothing.
    fn services(&self) -> usize {
        let Self { applications, compose, postgres, mysql, mariadb, mongo, redis, libsql, .. } = self;
        count([applications, compose, postgres, mysql, mariadb, mongo, redis, libsql])
    }
}

/// Services in lists that were counted one by one.
pub(crate) fn count<const N: usize>(counts: [&Count; N]) -> usize {
    counts.iter().map(|c| c.0).sum()
}

/// Reads `project.one`.
pub(crate) fn project(body: &[u8]) -> Result<ProjectDetail, PortError> {
    let row: ProjectRow = json("project.one", body)?;
    Ok(ProjectDetail {
        id: row.project_id.into(),
        name: row.name.into(),
        description: row.description.filter(|d| !d.is_empty()),
        env: row.env.unwrap_or_default(),
        environments: row
            .environments
            .into_iter()
            .map(|e| EnvironmentDetail {
                services: e.services(),
                id: e.environment_id.into(),
                name: e.name,
                description: e.description.filter(|d| !d.is_empty()),
                is_default: e.is_default,
                env: e.env.unwrap_or_default(),
            })
            .collect(),
    })
}

pub(crate) fn fuzz(data: &[u8]) {
    if let Ok(app) = app(data) {
        for (field, value) in &app.fields {
            let _ = crate::columns::write(*field, value, Some(&app.env_text));
        }
        for child in &app.children {
            assert!(crate::children::columns(&child.key, &child.child).is_some());
        }
    }
    let _ = project(data);
}
