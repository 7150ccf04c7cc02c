//! What runs and what is under way: the live service, its tasks, the deployment queue.

use crate::detail::{DeploymentRow, newest_first};
use crate::parse::{is_nothing, json};
use berth_model::Time;
use berth_model::hash::Hash;
use berth_model::ids::AppId;
use berth_model::observed::{Deployment, Jobs, Live, Task, UpdateState};
use berth_ports::PortError;
use berth_wire::redact;
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

/// The label under which the applied hash stands.
const HASH_LABEL: &str = "berth.dev/hash";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Inspected {
    spec: Option<Spec>,
    update_status: Option<UpdateStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    task_template: TaskTemplate,
    mode: Option<Mode>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TaskTemplate {
    container_spec: ContainerSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ContainerSpec {
    image: String,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mode {
    replicated: Option<Replicated>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Replicated {
    replicas: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct UpdateStatus {
    #[serde(default)]
    state: String,
    message: Option<String>,
}

/// Reads the inspection of a service. `None` where the answer is nothing: that there is no such service, or that
/// Docker did not answer.
pub(crate) fn service(body: &[u8]) -> Result<Option<Live>, PortError> {
    if is_nothing(body) {
        return Ok(None);
    }
    let row: Inspected = json("docker.getConfig", body)?;
    // Something else of that name: a container or a network has no such part.
    let Some(spec) = row.spec else { return Ok(None) };
    let container = spec.task_template.container_spec;
    Ok(Some(Live {
        hash: container.labels.as_ref().and_then(|l| Hash::parse(l.get(HASH_LABEL)?)),
        image: container.image,
        update: row.update_status.map_or(UpdateState::Settled, update),
        replicas: spec.mode.and_then(|m| m.replicated).and_then(|r| r.replicas),
    }))
}

fn update(status: UpdateStatus) -> UpdateState {
    let message = || {
        let words = redact::message(status.message.as_deref().unwrap_or(""));
        if words.is_empty() { status.state.clone() } else { words }
    };
    match status.state.as_str() {
        "" | "completed" => UpdateState::Settled,
        "paused" => UpdateState::Paused(message()),
        s if s.starts_with("rollback") => UpdateState::RolledBack(message()),
        _ => UpdateState::Updating,
    }
}

/// Whether the answer of `docker.getConfig` is this network's.
pub(crate) fn is_network(body: &[u8], name: &str) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Network {
        name: String,
        #[serde(rename = "IPAM")]
        _ipam: serde::de::IgnoredAny,
    }
    serde_json::from_slice(body).is_ok_and(|network: Network| network.name == name)
}

/// Reads `docker.getServiceContainersByAppName`.
pub(crate) fn tasks(body: &[u8]) -> Result<Vec<Task>, PortError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Row {
        state: String,
        current_state: Option<String>,
        error: Option<String>,
    }
    if is_nothing(body) {
        return Ok(Vec::new());
    }
    let rows: Vec<Row> = json("docker.getServiceContainersByAppName", body)?;
    Ok(rows
        .into_iter()
        .map(|row| Task {
            desired: row.state,
            // "Running 5 minutes ago"
            state: row.current_state.as_deref().unwrap_or("").split(' ').next().unwrap_or("").to_owned(),
            error: row.error.and_then(|e| {
                // Without an error the field holds the bare word.
                let words = e.trim().trim_start_matches("Error:").trim().trim_matches('"');
                (!words.is_empty()).then(|| redact::message(words))
            }),
        })
        .collect())
}

/// Reads `deployment.queueList` and `deployment.allCentralized`.
pub(crate) fn jobs(queue: &[u8], rows: &[u8], at: Time) -> Result<Jobs, PortError> {
    #[derive(Deserialize)]
    struct Job {
        data: JobData,
        state: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct JobData {
        application_id: Option<String>,
        title_log: Option<String>,
        description_log: Option<String>,
    }
    let mut jobs = Jobs { at, ..Jobs::default() };
    let queue: Vec<Job> = json("deployment.queueList", queue)?;
    for job in queue {
        let over = matches!(job.state.as_deref(), Some("completed" | "failed"));
        if let Some(app) = job.data.application_id.filter(|_| !over) {
            let title = job.data.title_log.unwrap_or_default();
            let description = job.data.description_log.unwrap_or_default();
            jobs.queued.entry(AppId::from(app)).or_default().push(format!("{title}\n{description}"));
        }
    }
    let rows: Vec<DeploymentRow> = json("deployment.allCentralized", rows)?;
    let mut by_app: BTreeMap<AppId, Vec<Deployment>> = BTreeMap::new();
    for mut row in rows {
        if let Some(app) = row.application_id.take() {
            by_app.entry(AppId::from(app)).or_default().push(row.seen());
        }
    }
    for rows in by_app.values_mut() {
        newest_first(rows);
    }
    jobs.rows = by_app;
    Ok(jobs)
}

/// Reads `application.readTraefikConfig`: a text, or nothing where there is no file.
pub(crate) fn routers(body: &[u8]) -> Result<Option<String>, PortError> {
    if is_nothing(body) { Ok(None) } else { json("application.readTraefikConfig", body).map(Some) }
}

/// Reads `deployment.readLogs`, fit to be shown.
pub(crate) fn log(body: &[u8]) -> Result<String, PortError> {
    if is_nothing(body) {
        return Ok(String::new());
    }
    let text: String = json("deployment.readLogs", body)?;
    Ok(redact::log_tail(&text, 12))
}

/// Reads `application.readLogs`: what a program wrote, as it wrote it.
pub(crate) fn output(body: &[u8]) -> Result<String, PortError> {
    if is_nothing(body) {
        return Ok(String::new());
    }
    json("application.readLogs", body)
}

pub(crate) fn fuzz(data: &[u8]) {
    let _ = service(data);
    let _ = tasks(data);
    let _ = jobs(data, b"[]", Time::default());
    let _ = jobs(b"[]", data, Time::default());
    let _ = routers(data);
    let _ = log(data);
    let _ = output(data);
}

#[cfg(test)]
#[path = "live_tests.rs"]
mod tests;
