//! Reads of deployment rows and of the queue. A waiting job must never show as a row.

use serde_json::{Value, json};

use super::{Ctx, text};
use crate::error::{Answer, ApiError, say};
use crate::rows::value;
use crate::schema::Input;
use crate::world::World;

pub(super) fn all(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    say(&world.db.deployments.of(id).rev().collect::<Vec<_>>())
}

pub(super) fn centralized(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    let row = |d: &crate::rows::Deployment| {
        let app = world.db.applications.get(&d.application_id)?;
        let environment = world.db.environments.get(app.environment_id())?;
        let project = world.db.projects.get(&environment.project_id)?;
        let mut out = value(d);
        out["application"] = json!({"applicationId": &*app.id, "name": app.get("name"),
            "appName": &*app.app_name, "icon": app.get("icon"),
            "environment": {"environmentId": environment.environment_id, "name": environment.name,
                            "project": {"projectId": project.project_id, "name": project.name}},
            "server": null, "buildServer": null});
        for key in ["compose", "server", "buildServer"] {
            out[key] = Value::Null;
        }
        Some(out)
    };
    let rows: Vec<Value> = world.db.deployments.iter().rev().filter_map(row).collect();
    say(&rows)
}

pub(super) fn queue_list(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    say(&world.queue_list())
}

pub(super) fn read_logs(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let row = world
        .db
        .deployments
        .get(text(input, "deploymentId"))
        .ok_or_else(|| ApiError::missing("Deployment"))?;
    let tail = input.get("tail").and_then(Value::as_u64).unwrap_or(10_000) as usize;
    let lines: Vec<&str> = row.log.split_inclusive('\n').collect();
    say(&lines[lines.len().saturating_sub(tail)..].concat())
}
