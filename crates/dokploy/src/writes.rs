//! Writes: each one call, with exactly the keys that are meant.
//!
//! A create or a deploy is sent once. An update, a move and a delete say the same when they are said again, so the
//! client may repeat them after a lost answer. No write is ever batched.

use crate::adapter::Inner;
use crate::children;
use crate::columns;
use crate::parse::created;
use berth_model::Secret;
use berth_model::desired::{Child, ChildKey};
use berth_model::field::{Field, Fields, Value};
use berth_model::ids::AppId;
use berth_model::remote::{Fact, Read, Write, Written};
use berth_model::stack::Mount;
use berth_ports::PortError;
use berth_wire::{Call, Transport, redact};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};
use std::sync::Arc;

/// The server refuses a body of one megabyte, and of a much larger one it only drops the connection.
const LARGEST: usize = 1_000_000;

/// One write, ready to be sent.
#[derive(Debug)]
struct Ready {
    procedure: &'static str,
    body: Json,
    again: Again,
}

/// Whether a write may be sent again after a lost answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    Yes,
    No,
}

fn ready(procedure: &'static str, body: Json, again: Again) -> Result<Option<Ready>, PortError> {
    Ok(Some(Ready { procedure, body, again }))
}

/// What a write sends. `None` where nothing would change.
fn prepare(write: &Write) -> Result<Option<Ready>, PortError> {
    match write {
        Write::CreateProject { name, description } => {
            ready("project.create", json!({ "name": name, "description": description }), Again::No)
        }
        Write::UpdateProject { id, description, env } => {
            let mut body = Map::new();
            if let Some(description) = description {
                body.insert("description".to_owned(), json!(description));
            }
            if let Some(env) = env {
                body.insert("env".to_owned(), json!(env.expose()));
            }
            if body.is_empty() {
                return Ok(None);
            }
            body.insert("projectId".to_owned(), json!(id.as_str()));
            ready("project.update", Json::Object(body), Again::Yes)
        }
        Write::RemoveProject { id } => {
            ready("project.remove", json!({ "projectId": id.as_str() }), Again::Yes)
        }
        Write::RemoveEnvironment { id, .. } => {
            ready("environment.remove", json!({ "environmentId": id.as_str() }), Again::Yes)
        }
        Write::CreateEnvironment { project, name, description } => ready(
            "environment.create",
            json!({ "projectId": project.as_str(), "name": name, "description": description }),
            Again::No,
        ),
        // The name is left out: the default environment may not even be given its own name again.
        Write::UpdateEnvironment { id, env } => ready(
            "environment.update",
            json!({ "environmentId": id.as_str(), "env": env.expose() }),
            Again::Yes,
        ),
        Write::CreateApp { environment, name, service_base, description } => ready(
            "application.create",
            json!({
                "environmentId": environment.as_str(),
                "name": name,
                "appName": service_base,
                "description": description,
            }),
            Again::No,
        ),
        Write::MoveApp { id, environment } => ready(
            "application.move",
            json!({ "applicationId": id.as_str(), "targetEnvironmentId": environment.as_str() }),
            Again::Yes,
        ),
        Write::UpdateApp { id, fields, env_text, description } => {
            match update_app(id, fields, env_text.as_ref(), description.as_deref())? {
                Some(body) => ready("application.update", body, Again::Yes),
                // The server answers an empty patch with 500.
                None => Ok(None),
            }
        }
        Write::CreateChild { app, key, child } => match children::create(app, key, child) {
            Some((procedure, body)) => ready(procedure, body, Again::No),
            None => Err(mismatch(key)),
        },
        Write::UpdateChild { id, key, child, .. } => match children::update(id, key, child) {
            Some((procedure, body)) => ready(procedure, body, Again::Yes),
            None => Err(mismatch(key)),
        },
        Write::RemoveChild { id, key, .. } => {
            let (procedure, body) = children::remove(id, key);
            ready(procedure, body, Again::Yes)
        }
        Write::Deploy { app, token } => ready(
            "application.deploy",
            json!({ "applicationId": app.as_str(), "title": token, "description": "Berth" }),
            Again::No,
        ),
        // Another one of the same would restart it once more.
        Write::Restart { app, service } => ready(
            "application.reload",
            json!({ "applicationId": app.as_str(), "appName": service.as_str() }),
            Again::No,
        ),
        Write::DeleteApp { id } => {
            ready("application.delete", json!({ "applicationId": id.as_str() }), Again::Yes)
        }
    }
}

fn mismatch(key: &ChildKey) -> PortError {
    PortError::Refused { why: format!("{key}: key and values are of different kinds (an error in Berth)") }
}

fn update_app(
    id: &AppId,
    fields: &Fields,
    env_text: Option<&Secret>,
    description: Option<&str>,
) -> Result<Option<Json>, PortError> {
    let mut body = Map::new();
    for (field, value) in fields {
        body.insert(columns::column(*field).to_owned(), columns::write(*field, value, env_text)?);
    }
    if let Some(description) = description {
        body.insert("description".to_owned(), json!(description));
    }
    if body.is_empty() {
        return Ok(None);
    }
    body.insert("applicationId".to_owned(), json!(id.as_str()));
    Ok(Some(Json::Object(body)))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeProject {
    project: ProjectId,
    environment: EnvironmentId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ProjectId {
    project_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EnvironmentId {
    environment_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeApp {
    application_id: String,
    app_name: String,
}

/// Reads the answer to a write that went well.
fn written(write: &Write, procedure: &str, body: &[u8]) -> Result<Written, PortError> {
    match write {
        Write::CreateProject { .. } => {
            let made: MadeProject = created(procedure, body)?;
            Ok(Written::Project {
                project: made.project.project_id.into(),
                environment: made.environment.environment_id.into(),
            })
        }
        Write::CreateEnvironment { .. } => {
            let made: EnvironmentId = created(procedure, body)?;
            Ok(Written::Environment(made.environment_id.into()))
        }
        Write::CreateApp { .. } => {
            let made: MadeApp = created(procedure, body)?;
            Ok(Written::App { id: made.application_id.into(), service: made.app_name.into() })
        }
        Write::CreateChild { key, .. } => {
            let made: children::Made = created(procedure, body)?;
            made.id(key)
                .map(Written::Child)
                .ok_or_else(|| PortError::Unknown { why: format!("{procedure}: the answer has no id") })
        }
        // Several of these answer with nothing, and a mount's update with the row as it was before.
        _ => Ok(Written::Done),
    }
}

/// Whether something that is not there counts as removed.
fn removes(write: &Write) -> bool {
    matches!(
        write,
        Write::RemoveProject { .. }
            | Write::RemoveEnvironment { .. }
            | Write::RemoveChild { .. }
            | Write::DeleteApp { .. }
    )
}

/// The secret values that a write sends, so that an error which repeats them can be cut.
fn secrets(write: &Write) -> Vec<Secret> {
    let lines = |text: &Secret| {
        let mut all: Vec<Secret> =
            berth_model::dotenv::parse(text.expose()).into_values().map(Secret::new).collect();
        all.push(text.clone());
        all
    };
    match write {
        Write::UpdateProject { env: Some(env), .. } | Write::UpdateEnvironment { env, .. } => lines(env),
        Write::UpdateApp { fields, env_text, .. } => {
            let mut all = env_text.as_ref().map(lines).unwrap_or_default();
            for (field, value) in fields {
                match value {
                    Value::Secret(s) => all.push(s.clone()),
                    Value::Env(vars) if *field == Field::Env => all.extend(vars.values().cloned()),
                    _ => {}
                }
            }
            all
        }
        Write::CreateChild { child: Child::Mount(Mount::File { content, .. }), .. }
        | Write::UpdateChild { child: Child::Mount(Mount::File { content, .. }), .. } => {
            vec![content.clone()]
        }
        _ => Vec::new(),
    }
}

/// The same error without these values.
fn scrubbed(error: PortError, secrets: &[Secret]) -> PortError {
    let cut = |text: String| redact::without(&text, secrets);
    match error {
        PortError::NotFound(t) => PortError::NotFound(cut(t)),
        PortError::Conflict(t) => PortError::Conflict(cut(t)),
        PortError::Refused { why } => PortError::Refused { why: cut(why) },
        PortError::Retry { after, why } => PortError::Retry { after, why: cut(why) },
        PortError::Unknown { why } => PortError::Unknown { why: cut(why) },
        PortError::Auth { why } => PortError::Auth { why: cut(why) },
        PortError::Unsupported { what } => PortError::Unsupported { what: cut(what) },
    }
}

/// The application whose routers a write changes, and whether it touches the file that all applications share.
fn routers(write: &Write) -> Option<(&AppId, bool)> {
    let shared = |child: &Child| matches!(child, Child::Domain(h) if h.strip_path || h.internal_path != "/");
    match write {
        Write::CreateChild { app, key: ChildKey::Domain(_), child }
        | Write::UpdateChild { app, key: ChildKey::Domain(_), child, .. } => Some((app, shared(child))),
        Write::RemoveChild { app, key: ChildKey::Domain(_), .. } => Some((app, false)),
        _ => None,
    }
}

impl<T: Transport> Inner<T> {
    pub(crate) async fn write(self: &Arc<Self>, write: &Write) -> Result<Written, PortError> {
        let Some(ready) = prepare(write)? else {
            return Ok(Written::Done);
        };
        let body = serde_json::to_vec(&ready.body).map_err(|_| PortError::Refused {
            why: format!("{}: the values cannot be written as JSON", ready.procedure),
        })?;
        if body.len() > LARGEST {
            return Err(PortError::Refused {
                why: format!(
                    "{}: {} bytes are more than Dokploy takes in one call (1 MB); make env or files smaller",
                    ready.procedure,
                    body.len()
                ),
            });
        }
        match write {
            Write::RemoveProject { id } => self.empty(id, None).await?,
            Write::RemoveEnvironment { project, id } => self.empty(project, Some(id)).await?,
            _ => {}
        }
        let mut call = Call::post(ready.procedure, format!("/api/{}", ready.procedure), Bytes::from(body));
        call.idempotent = ready.again == Again::Yes;

        let locked = routers(write).map(|(app, shared)| (self.routers_of(app), shared));
        let _one_per_app = match &locked {
            Some((lock, _)) => Some(lock.lock().await),
            None => None,
        };
        let _places = match &locked {
            // The server reads and writes that file whole: two at once lose entries.
            Some((_, true)) => Some(self.domain_writes.acquire_many(self.domain_places as u32).await),
            Some((_, false)) => Some(self.domain_writes.acquire().await),
            None => None,
        };
        let finishing = self.finishing();
        let result = self.ask(&call).await;
        drop(finishing);
        match result {
            Ok(reply) => written(write, ready.procedure, &reply.body),
            Err(PortError::NotFound(_)) if removes(write) => Ok(Written::Done),
            Err(error) => Err(scrubbed(error, &secrets(write))),
        }
    }

    /// Removing a project leaves the services of its applications running, with nothing left to find them by: so
    /// never one that holds any.
    async fn empty(
        self: &Arc<Self>,
        id: &berth_model::ids::ProjectId,
        environment: Option<&berth_model::ids::EnvironmentId>,
    ) -> Result<(), PortError> {
        let Fact::Project(seen) = self.read(&Read::Project(id.clone()), false).await? else {
            return Ok(());
        };
        let all = seen.present().map_or(&[][..], |p| &p.environments[..]);
        let going = all.iter().filter(|e| environment.is_none_or(|id| e.id == *id));
        let services: usize = going.map(|e| e.services).sum();
        if services > 0 {
            let what = if environment.is_some() { "environment" } else { "project" };
            return Err(PortError::Conflict(format!(
                "{what}.remove: the {what} still holds {services} services; Dokploy would leave them running"
            )));
        }
        Ok(())
    }
}

pub(crate) fn fuzz(data: &[u8]) {
    let app = AppId::from("a");
    for write in [
        Write::CreateProject { name: String::new(), description: String::new() },
        Write::CreateApp {
            environment: "e".into(),
            name: String::new(),
            service_base: String::new(),
            description: String::new(),
        },
        Write::Deploy { app, token: String::new() },
    ] {
        let _ = written(&write, "fuzz", data);
    }
}

#[cfg(test)]
#[path = "writes_tests.rs"]
mod tests;
