//! Applications: rows, deployments, and the calls that reach Swarm directly.
//! A write must never start or change a service by itself: only deploy, redeploy, reload, start and stop do.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Ctx, has_nul, maybe, params, text};
use crate::columns::{Application, COLUMNS, SQL_COLUMNS};
use crate::error::{Answer, ApiError, say};
use crate::rows::{Deployment, Domain, Environment, Mount, Port, Project};
use crate::schema::{Input, Kind};
use crate::world::World;

#[derive(Serialize)]
struct Place<'a> {
    #[serde(flatten)]
    row: &'a Environment,
    project: Option<&'a Project>,
}

/// An application as `application.one` answers it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct One<'a> {
    #[serde(flatten)]
    row: &'a Application,
    environment: Option<Place<'a>>,
    domains: Vec<&'a Domain>,
    deployments: Vec<&'a Deployment>,
    mounts: Vec<&'a Mount>,
    redirects: [(); 0],
    security: [(); 0],
    ports: Vec<&'a Port>,
    gitlab: Option<()>,
    github: Option<()>,
    bitbucket: Option<()>,
    gitea: Option<()>,
    server: Option<()>,
    preview_deployments: [(); 0],
    registry: Option<()>,
    build_registry: Option<()>,
    rollback_registry: Option<()>,
    /// These two stand in the read only, not in what an action answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    has_git_provider_access: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unauthorized_provider: Option<Option<()>>,
}

fn whole(world: &World, id: &str, read: bool) -> Answer {
    let row = world.db.applications.get(id).ok_or_else(|| ApiError::missing("Application"))?;
    let environment = world.db.environments.get(row.environment_id());
    let mut deployments: Vec<&Deployment> = world.db.deployments.of(id).collect();
    // The real answer has no stable order; a rotation keeps clients from trusting one.
    let turn = (world.seq as usize) % deployments.len().max(1);
    deployments.rotate_left(turn);
    say(&One {
        row,
        environment: environment.map(|row| Place { row, project: world.db.projects.get(&row.project_id) }),
        domains: world.db.domains.of(id).collect(),
        deployments,
        mounts: world.db.mounts.of(id).collect(),
        redirects: [],
        security: [],
        ports: world.db.ports.of(id).collect(),
        gitlab: None,
        github: None,
        bitbucket: None,
        gitea: None,
        server: None,
        preview_deployments: [],
        registry: None,
        build_registry: None,
        rollback_registry: None,
        has_git_provider_access: read.then_some(true),
        unauthorized_provider: read.then_some(None),
    })
}

pub(super) fn one(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    whole(world, text(input, "applicationId"), true)
}

pub(super) fn create(world: &mut World, ctx: &Ctx, input: &Input) -> Answer {
    let environment = text(input, "environmentId");
    if !world.db.environments.contains(environment) {
        return Err(ApiError::missing("Environment"));
    }
    // Whatever the database refuses at the insert is answered with one and the same text.
    match maybe(input, "serverId").as_deref() {
        None if !has_nul(input) => {}
        None | Some("") => return Err(ApiError::bad("Error creating the application")),
        Some(_) => return Err(ApiError::denied("You are not authorized to access this server")),
    }
    let base = match maybe(input, "appName") {
        Some(base) => base.trim().replace(' ', "-").to_lowercase(),
        None => format!("app-{}-{}-{}", world.rng.word(), world.rng.word(), world.rng.word()),
    };
    let app_name = format!("{base}-{}", world.rng.suffix());
    let (id, token, now) = (world.rng.id(), world.rng.id(), world.iso());
    let mut row = Application::new(&id, text(input, "name"), &app_name, environment, &now, &token);
    for column in ["description", "sourceType"] {
        if let Some(value) = input.get(column) {
            row.set(column, value.clone());
        }
    }
    let answer = say(&row);
    world.db.applications.insert(row);
    // The access list is read, extended and written back whole: an overlapping create loses an entry.
    if world.access.written > ctx.seen && world.rng.chance(0.7) {
        world.access.ids.pop();
    }
    world.access.ids.push(id);
    world.seq += 1;
    world.access.written = world.seq;
    answer
}

fn failed(set: &Input, id: &str) -> ApiError {
    let names: Vec<String> =
        set.keys().enumerate().map(|(at, key)| format!("{key:?} = ${}", at + 1)).collect();
    ApiError::internal(format!(
        "Failed query: update \"application\" set {} where \"application\".\"applicationId\" = ${} returning {}\n\
         params: {},{id}",
        names.join(", "),
        set.len() + 1,
        *SQL_COLUMNS,
        params(set.values())
    ))
}

/// Numbers the column type can not hold.
fn fits(column: &str, value: &Value) -> bool {
    let number = COLUMNS.iter().any(|c| c.name == column && matches!(c.kind, Kind::Number));
    let big = column == "stopGracePeriodSwarm";
    !number || value.is_null() || value.as_i64().is_some_and(|n| big || i32::try_from(n).is_ok())
}

pub(super) fn update(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    let mut set = input.clone();
    set.shift_remove("applicationId");
    if set.is_empty() {
        return Err(ApiError::internal("No values to set"));
    }
    let unknown_environment =
        maybe(&set, "environmentId").is_some_and(|id| !world.db.environments.contains(&id));
    let foreign =
        ["registryId", "githubId", "gitlabId", "giteaId", "bitbucketId", "buildServerId", "buildRegistryId"];
    let unknown_reference = foreign.iter().any(|key| maybe(&set, key).is_some());
    if unknown_environment || unknown_reference || has_nul(&set) || !set.iter().all(|(k, v)| fits(k, v)) {
        return Err(failed(&set, id));
    }
    let done = world.db.applications.update(id, |row| {
        for (column, value) in set {
            row.set(&column, value);
        }
    });
    done.ok_or_else(|| ApiError::bad("Error updating application"))?;
    say(&true)
}

pub(super) fn relocate(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    let target = text(input, "targetEnvironmentId");
    if !world.db.applications.contains(id) {
        return Err(ApiError::missing("Application"));
    }
    if !world.db.environments.contains(target) {
        return Err(failed(&Input::from_iter([("environmentId".to_owned(), Value::from(target))]), id));
    }
    let row = world.db.applications.update(id, |row| {
        row.set("environmentId", Value::from(target));
        row.clone()
    });
    say(&row)
}

pub(super) fn delete(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    let before = whole(world, id, false)?;
    world.delete_app(id);
    Ok(before)
}

fn queued(world: &mut World, input: &Input, title: &str, pull: bool) -> Answer {
    let id = text(input, "applicationId");
    if !world.db.applications.contains(id) {
        return Err(ApiError::missing("Application"));
    }
    let title = maybe(input, "title").filter(|t| !t.is_empty()).unwrap_or_else(|| title.to_owned());
    world.enqueue(id, title, text(input, "description").to_owned(), pull);
    Ok(None)
}

pub(super) fn deploy(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    queued(world, input, "Manual deployment", true)
}

pub(super) fn redeploy(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    queued(world, input, "Rebuild deployment", false)
}

fn set_status(world: &mut World, id: &str, status: &str) {
    world.db.applications.update(id, |row| row.set("applicationStatus", Value::from(status)));
}

fn name_of(world: &World, id: &str) -> Result<String, ApiError> {
    let row = world.db.applications.get(id).ok_or_else(|| ApiError::missing("Application"))?;
    Ok(row.app_name.to_string())
}

pub(super) fn stop(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    let before = whole(world, id, false)?;
    let (name, now) = (name_of(world, id)?, world.now());
    world.swarm.scale(&name, 0, now);
    set_status(world, id, "idle");
    Ok(before)
}

pub(super) fn start(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    let before = whole(world, id, false)?;
    let (name, now) = (name_of(world, id)?, world.now());
    // To one, whatever `replicas` says.
    if !world.swarm.scale(&name, 1, now) {
        return Err(ApiError::internal(format!(
            "Command execution failed: Command failed: docker service scale {name}=1 \n{name}: \
             Error response from daemon: service {name} not found\n"
        )));
    }
    set_status(world, id, "done");
    Ok(before)
}

pub(super) fn mark_running(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    name_of(world, id)?;
    set_status(world, id, "running");
    Ok(None)
}

pub(super) fn reload(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "applicationId");
    let (name, now) = (name_of(world, id)?, world.now());
    match world.spec_of(id) {
        Ok(spec) => world.swarm.apply(&name, spec, now),
        Err(_) => {
            set_status(world, id, "error");
            return Err(ApiError::internal("Error reloading application"));
        }
    }
    set_status(world, id, "done");
    say(&true)
}

/// What the containers wrote: here, one line for each task's start.
pub(super) fn read_logs(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let name = name_of(world, text(input, "applicationId"))?;
    let tail = input.get("tail").and_then(Value::as_u64).unwrap_or(100) as usize;
    let service = world.swarm.services.get(&name);
    let tasks = service.into_iter().flat_map(|s| s.history.iter().chain(&s.tasks));
    let lines: Vec<String> = tasks.map(|t| format!("{name}.{}.{}    | listening\n", t.slot, t.id)).collect();
    say(&lines[lines.len().saturating_sub(tail)..].concat())
}

fn save(world: &mut World, input: &Input, extra: &[(&str, &str)]) -> Answer {
    let id = text(input, "applicationId");
    let done = world.db.applications.update(id, |row| {
        for (column, value) in input {
            row.set(column, value.clone());
        }
        for (column, value) in extra {
            row.set(column, Value::from(*value));
        }
    });
    done.ok_or_else(|| ApiError::missing("Application"))?;
    say(&true)
}

pub(super) fn save_docker(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    save(world, input, &[("sourceType", "docker"), ("applicationStatus", "idle")])
}

pub(super) fn save_env(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    save(world, input, &[])
}

pub(super) fn traefik(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let name = name_of(world, text(input, "applicationId"))?;
    say(&json!(world.traefik.text(&name)))
}
