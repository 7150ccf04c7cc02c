//! The reads over many services: trees of projects, flat overviews, search.
//! No list may answer env, image, mounts or replicas of a service: the real ones do not.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Ctx, project, text};
use crate::columns::Application;
use crate::error::{Answer, ApiError, say};
use crate::rows::{Environment, Project, value};
use crate::schema::Input;
use crate::world::World;

const KINDS: [&str; 7] = ["mariadb", "mongo", "mysql", "postgres", "redis", "compose", "libsql"];

/// An environment with its services; databases and compose are always empty here.
fn tree(mut head: Value, apps: impl Iterator<Item = Value>) -> Value {
    head["applications"] = Value::Array(apps.collect());
    for kind in KINDS {
        head[kind] = json!([]);
    }
    head
}

fn newest_first(world: &World) -> impl Iterator<Item = &Project> {
    world.db.projects.iter().rev()
}

/// How `project.one` and `environment.byProjectId` show a service.
fn brief(app: &Application) -> Value {
    json!({"name": app.get("name"), "description": app.get("description"), "appName": &*app.app_name,
           "createdAt": app.get("createdAt"), "serverId": app.get("serverId"),
           "applicationStatus": app.get("applicationStatus"), "applicationId": &*app.id,
           "icon": app.get("icon"), "server": null})
}

pub(super) fn project_one(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "projectId");
    let row = world.db.projects.get(id).ok_or_else(|| ApiError::missing("Project"))?;
    let environments: Vec<Value> = world
        .db
        .environments
        .of(id)
        .map(|e| tree(value(e), world.db.applications.of(&e.environment_id).map(brief)))
        .collect();
    let mut out = value(row);
    out["environments"] = Value::Array(environments);
    out["projectTags"] = json!([]);
    say(&out)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Small<'a> {
    application_id: &'a str,
    name: &'a Value,
    application_status: &'a Value,
}

pub(super) fn project_all(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    let environment = |e: &Environment| {
        let head = json!({"name": e.name, "environmentId": e.environment_id, "isDefault": e.is_default});
        let apps = world.db.applications.of(&e.environment_id).map(|a| {
            value(&Small {
                application_id: &a.id,
                name: a.get("name"),
                application_status: a.get("applicationStatus"),
            })
        });
        tree(head, apps)
    };
    let projects: Vec<Value> = newest_first(world)
        .map(|p| {
            let mut out = value(p);
            out["environments"] = world.db.environments.of(&p.project_id).map(environment).collect();
            out["projectTags"] = json!([]);
            out
        })
        .collect();
    say(&projects)
}

pub(super) fn for_permissions(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    let service = |a: &Application| {
        json!({"applicationId": &*a.id, "appName": &*a.app_name, "name": a.get("name"),
               "createdAt": a.get("createdAt"), "applicationStatus": a.get("applicationStatus"),
               "description": a.get("description"), "serverId": a.get("serverId")})
    };
    let environment = |e: &Environment| {
        let head = json!({"environmentId": e.environment_id, "name": e.name, "isDefault": e.is_default});
        tree(head, world.db.applications.of(&e.environment_id).map(service))
    };
    let projects: Vec<Value> = newest_first(world)
        .map(|p| {
            let mut out = project::stub(p);
            out["environments"] = world.db.environments.of(&p.project_id).map(environment).collect();
            out
        })
        .collect();
    say(&projects)
}

pub(super) fn environment_one(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "environmentId");
    let row = world.db.environments.get(id).ok_or_else(|| ApiError::missing("Environment"))?;
    let head = json!({"name": row.name, "description": row.description, "environmentId": row.environment_id,
                      "isDefault": row.is_default, "projectId": row.project_id, "env": row.env});
    // Unlike the other trees this one does not tell the appName.
    let service = |a: &Application| {
        json!({"applicationId": &*a.id, "name": a.get("name"), "createdAt": a.get("createdAt"),
               "applicationStatus": a.get("applicationStatus"), "description": a.get("description"),
               "serverId": a.get("serverId"), "icon": a.get("icon"), "server": null})
    };
    let mut out = tree(head, world.db.applications.of(id).map(service));
    out["project"] = world.db.projects.get(&row.project_id).map_or(Value::Null, value);
    say(&out)
}

pub(super) fn by_project(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "projectId");
    let Some(project) = world.db.projects.get(id) else {
        return say(&json!([]));
    };
    let project = value(project);
    let rows: Vec<Value> = world
        .db
        .environments
        .of(id)
        .map(|e| {
            let head = json!({"name": e.name, "description": e.description,
                              "environmentId": e.environment_id, "isDefault": e.is_default});
            let mut out = tree(head, world.db.applications.of(&e.environment_id).map(brief));
            out["project"] = project.clone();
            out
        })
        .collect();
    say(&rows)
}

/// Every application with its environment and project, newest first.
fn everywhere(world: &World) -> impl Iterator<Item = (&Application, &Environment, &Project)> {
    world.db.applications.iter().rev().filter_map(|app| {
        let environment = world.db.environments.get(app.environment_id())?;
        Some((app, environment, world.db.projects.get(&environment.project_id)?))
    })
}

pub(super) fn overview_services(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    let rows: Vec<Value> = everywhere(world)
        .map(|(app, environment, project)| {
            let last = world.db.deployments.of(&app.id).next_back().map(|d| d.created_at.clone());
            json!({"id": &*app.id, "type": "application", "name": app.get("name"), "appName": &*app.app_name,
                   "status": app.get("applicationStatus"), "createdAt": app.get("createdAt"),
                   "serverId": app.get("serverId"), "projectId": project.project_id,
                   "projectName": project.name, "environmentId": environment.environment_id,
                   "environmentName": environment.name, "lastDeployAt": last})
        })
        .collect();
    say(&rows)
}

pub(super) fn overview_domains(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    let row = |d: &crate::rows::Domain| {
        let app = world.db.applications.get(d.application_id.as_deref()?)?;
        let environment = world.db.environments.get(app.environment_id())?;
        let project = world.db.projects.get(&environment.project_id)?;
        Some(json!({"domainId": d.domain_id, "host": d.host, "path": d.path, "port": d.port,
            "customEntrypoint": d.custom_entrypoint, "https": d.https, "certificateType": d.certificate_type,
            "createdAt": d.created_at, "enabled": d.enabled, "domainType": d.domain_type,
            "serviceOwnerId": &*app.id, "serviceOwnerType": "application", "serviceName": app.get("name"),
            "projectId": project.project_id, "projectName": project.name,
            "environmentId": environment.environment_id, "environmentName": environment.name}))
    };
    let rows: Vec<Value> = world.db.domains.iter().filter_map(row).collect();
    say(&rows)
}

/// `application.search`: sees only what is in the access list, which concurrent creates lose entries of.
pub(super) fn search(world: &mut World, ctx: &Ctx, input: &Input) -> Answer {
    let allowed: std::collections::HashSet<&str> = match ctx.role {
        crate::auth::Role::Member => std::collections::HashSet::new(),
        _ => world.access.ids.iter().map(String::as_str).collect(),
    };
    let contains = |value: &Value, key: &str| {
        let wanted = text(input, key).to_lowercase();
        wanted.is_empty() || value.as_str().is_some_and(|text| text.to_lowercase().contains(&wanted))
    };
    let equal = |value: &str, key: &str| text(input, key).is_empty() || text(input, key) == value;
    let fits = |app: &Application, project: &Project| {
        let any = ["name", "appName", "description"].iter().any(|c| contains(app.get(c), "q"));
        any && ["name", "appName", "description"].iter().all(|c| contains(app.get(c), c))
            && equal(app.environment_id(), "environmentId")
            && equal(&project.project_id, "projectId")
    };
    let found: Vec<&Application> = everywhere(world)
        .filter(|(app, _, project)| allowed.contains(&*app.id) && fits(app, project))
        .map(|(app, ..)| app)
        .collect();
    let number = |key: &str, or: u64| input.get(key).and_then(Value::as_u64).unwrap_or(or) as usize;
    let items: Vec<Value> = found
        .iter()
        .skip(number("offset", 0))
        .take(number("limit", 20))
        .map(|app| {
            json!({"applicationId": &*app.id, "name": app.get("name"), "appName": &*app.app_name,
                   "description": app.get("description"), "environmentId": app.environment_id(),
                   "applicationStatus": app.get("applicationStatus"), "sourceType": app.get("sourceType"),
                   "createdAt": app.get("createdAt")})
        })
        .collect();
    say(&json!({"items": items, "total": found.len()}))
}
