//! Writes of projects. Removing one must never touch Swarm: its services stay behind, as on the real server.

use serde_json::{Value, json};

use super::{Ctx, has_nul, maybe, params, text};
use crate::auth::Role;
use crate::error::{Answer, ApiError, say};
use crate::rows::{Environment, Project};
use crate::schema::Input;
use crate::world::World;

const COLUMNS: &str = r#""projectId", "name", "description", "createdAt", "organizationId", "env""#;

pub(super) fn create(world: &mut World, ctx: &Ctx, input: &Input) -> Answer {
    let refuse = |why: &str| Err(ApiError::bad(format!("Error creating the project: {why}")));
    // The router wraps whatever goes wrong, a missing permission too, into a 400.
    if ctx.role == Role::Member {
        return refuse("unauthorized to access resource \"project\"");
    }
    let project_id = world.rng.id();
    let now = world.iso();
    if has_nul(input) {
        let params = params(input.values());
        return refuse(&format!(
            "Failed query: insert into \"project\" ({COLUMNS}) values ($1, $2, default, $3, $4, default) \
             returning {COLUMNS}\nparams: {project_id},{params},{now},{}",
            world.organization
        ));
    }
    let project = Project {
        project_id: project_id.clone(),
        name: text(input, "name").to_owned(),
        description: maybe(input, "description"),
        created_at: now.clone(),
        organization_id: world.organization.clone(),
        env: text(input, "env").to_owned(),
    };
    let environment = Environment {
        environment_id: world.rng.id(),
        name: "production".to_owned(),
        description: Some("Production environment".to_owned()),
        created_at: now,
        env: String::new(),
        project_id,
        is_default: true,
    };
    let answer = say(&json!({"project": project, "environment": environment}));
    world.db.projects.insert(project);
    world.db.environments.insert(environment);
    answer
}

pub(super) fn update(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "projectId");
    if !world.db.projects.contains(id) {
        return Err(ApiError::missing("Project"));
    }
    let moved = input.get("organizationId").is_some_and(|to| *to != world.organization.as_str());
    if moved || has_nul(input) {
        return Err(ApiError::internal(format!(
            "Failed query: update \"project\" set \"projectId\" = $1 where \"project\".\"projectId\" = $2 \
             returning {COLUMNS}\nparams: {},{id}",
            params(input.values())
        )));
    }
    let row = world.db.projects.update(id, |row| {
        if let Some(name) = maybe(input, "name") {
            row.name = name;
        }
        if let Some(description) = input.get("description") {
            row.description = description.as_str().map(str::to_owned);
        }
        if let Some(env) = maybe(input, "env") {
            row.env = env;
        }
        if let Some(created) = maybe(input, "createdAt") {
            row.created_at = created;
        }
        row.clone()
    });
    say(&row)
}

pub(super) fn remove(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "projectId");
    let row = world.db.projects.remove(id).ok_or_else(|| ApiError::missing("Project"))?;
    let environments: Vec<String> = world.db.environments.of(id).map(|e| e.environment_id.clone()).collect();
    for environment in environments {
        let apps: Vec<String> = world.db.applications.of(&environment).map(|a| a.id.to_string()).collect();
        for app in apps {
            world.drop_children(&app);
            world.db.applications.remove(&app);
        }
        world.db.environments.remove(&environment);
    }
    say(&json!(row))
}

/// All that `project.allForPermissions` tells of a project itself.
pub(super) fn stub(row: &Project) -> Value {
    json!({"projectId": row.project_id, "name": row.name})
}
