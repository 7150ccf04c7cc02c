//! Writes of environments. The default one can never be renamed or removed.

use super::{Ctx, maybe, params, text};
use crate::error::{Answer, ApiError, say};
use crate::rows::Environment;
use crate::schema::Input;
use crate::world::World;

pub(super) fn create(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let name = text(input, "name");
    if name == "production" {
        return Err(ApiError::bad("You cannot create a environment with the name 'production'"));
    }
    let environment_id = world.rng.id();
    let project_id = text(input, "projectId").to_owned();
    if !world.db.projects.contains(&project_id) {
        let columns =
            r#""environmentId", "name", "description", "createdAt", "env", "projectId", "isDefault""#;
        return Err(ApiError::bad(format!(
            "Error creating the environment: Failed query: insert into \"environment\" ({columns}) values \
             ($1, $2, default, $3, default, $4, default) returning {columns}\nparams: {environment_id},{name},{},{}",
            world.iso(),
            params(input.values().skip(1)),
        )));
    }
    let row = Environment {
        environment_id,
        name: name.to_owned(),
        description: maybe(input, "description"),
        created_at: world.iso(),
        env: String::new(),
        project_id,
        is_default: false,
    };
    let answer = say(&row);
    world.db.environments.insert(row);
    answer
}

pub(super) fn update(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let refuse = |why: &str| Err(ApiError::bad(format!("Error updating the environment: {why}")));
    let id = text(input, "environmentId");
    let Some(row) = world.db.environments.get(id) else {
        return refuse("Environment not found");
    };
    if row.is_default && input.contains_key("name") {
        return refuse("You cannot rename the default environment");
    }
    if input.len() < 2 {
        return refuse("No values to set");
    }
    let row = world.db.environments.update(id, |row| {
        if let Some(name) = maybe(input, "name") {
            row.name = name;
        }
        if let Some(description) = maybe(input, "description") {
            row.description = Some(description);
        }
        if let Some(env) = maybe(input, "env") {
            row.env = env;
        }
        if let Some(project) = maybe(input, "projectId") {
            row.project_id = project;
        }
        row.clone()
    });
    say(&row)
}

pub(super) fn remove(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "environmentId");
    let row = world.db.environments.get(id).ok_or_else(|| ApiError::missing("Environment"))?;
    if row.is_default {
        return Err(ApiError::bad("You cannot delete the default environment"));
    }
    if world.db.applications.of(id).next().is_some() {
        let why = "Cannot delete environment: it has active services. Delete all services first.";
        return Err(ApiError::bad(why));
    }
    say(&world.db.environments.remove(id))
}
