//! Mounts and published ports of applications: rows only, they reach a container at its next deployment.
//! A mount without `serviceType` must stay an orphan: the real server stores it with no parent at all.

use serde_json::{Value, json};

use super::{Ctx, maybe, params, text};
use crate::error::{Answer, ApiError, say};
use crate::rows::{Mount, Port, value};
use crate::schema::Input;
use crate::world::World;

const OWNERS: [&str; 8] =
    ["application", "compose", "libsql", "mariadb", "mongo", "mysql", "postgres", "redis"];

pub(super) fn create(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let mount_id = world.rng.id();
    let service = text(input, "serviceId");
    let given = maybe(input, "serviceType");
    let kind = given.clone().unwrap_or_else(|| "application".to_owned());
    let known = kind == "application" && world.db.applications.contains(service);
    if given.is_some() && !known {
        return Err(ApiError::bad(format!(
            "Failed query: insert into \"mount\" (\"mountId\", \"type\", \"{kind}Id\") values ($1, $2, $3) \
             returning \"mountId\"\nparams: {mount_id},{}",
            params(input.values())
        )));
    }
    let row = Mount {
        mount_id,
        kind: text(input, "type").to_owned(),
        host_path: maybe(input, "hostPath"),
        volume_name: maybe(input, "volumeName"),
        file_path: maybe(input, "filePath"),
        content: maybe(input, "content"),
        service_type: kind,
        mount_path: text(input, "mountPath").to_owned(),
        application_id: given.map(|_| service.to_owned()),
        compose_id: None,
        libsql_id: None,
        mariadb_id: None,
        mongo_id: None,
        mysql_id: None,
        postgres_id: None,
        redis_id: None,
    };
    let answer = say(&row);
    world.db.mounts.insert(row);
    answer
}

/// A row with the stubs of its possible owners.
fn with_owners(world: &World, row: &Mount) -> Value {
    let mut out = value(row);
    for owner in OWNERS {
        out[owner] = Value::Null;
    }
    if let Some(app) = row.application_id.as_deref().and_then(|id| world.db.applications.get(id)) {
        out["application"] = json!({"serverId": null, "appName": &*app.app_name,
            "environment": {"project": {"organizationId": world.organization}}});
    }
    out
}

pub(super) fn one(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let row = world.db.mounts.get(text(input, "mountId")).ok_or_else(|| ApiError::missing("Mount"))?;
    say(&with_owners(world, row))
}

pub(super) fn update(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "mountId");
    let row = world.db.mounts.get(id).ok_or_else(|| ApiError::missing("Mount"))?;
    // The answer is the row as it was before.
    let before = with_owners(world, row);
    world.db.mounts.update(id, |row| {
        let set = |slot: &mut Option<String>, key: &str| {
            if let Some(value) = input.get(key) {
                *slot = value.as_str().map(str::to_owned);
            }
        };
        set(&mut row.host_path, "hostPath");
        set(&mut row.volume_name, "volumeName");
        set(&mut row.file_path, "filePath");
        set(&mut row.content, "content");
        set(&mut row.application_id, "applicationId");
        for (slot, key) in [
            (&mut row.kind, "type"),
            (&mut row.mount_path, "mountPath"),
            (&mut row.service_type, "serviceType"),
        ] {
            if let Some(text) = maybe(input, key) {
                *slot = text;
            }
        }
    });
    say(&before)
}

pub(super) fn remove(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let row = world.db.mounts.remove(text(input, "mountId")).ok_or_else(|| ApiError::missing("Mount"))?;
    say(&row)
}

pub(super) fn by_service(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "serviceId");
    if !world.db.applications.contains(id) {
        return Err(ApiError::missing("Application"));
    }
    say(&world.db.mounts.of(id).collect::<Vec<_>>())
}

fn number(input: &Input, key: &str) -> Option<i64> {
    input.get(key).and_then(Value::as_i64).filter(|n| i32::try_from(*n).is_ok())
}

pub(super) fn port_create(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let refuse = || ApiError::bad("Error input: Inserting port");
    let application_id = text(input, "applicationId").to_owned();
    if !world.db.applications.contains(&application_id) {
        return Err(refuse());
    }
    let row = Port {
        port_id: world.rng.id(),
        published_port: number(input, "publishedPort").ok_or_else(refuse)?,
        publish_mode: maybe(input, "publishMode").unwrap_or_else(|| "ingress".to_owned()),
        target_port: number(input, "targetPort").ok_or_else(refuse)?,
        protocol: maybe(input, "protocol").unwrap_or_else(|| "tcp".to_owned()),
        application_id,
    };
    let answer = say(&row);
    world.db.ports.insert(row);
    answer
}

pub(super) fn port_one(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let row = world.db.ports.get(text(input, "portId")).ok_or_else(|| ApiError::bad("Port not found"))?;
    let mut out = value(row);
    out["application"] = json!({"applicationId": row.application_id});
    say(&out)
}

pub(super) fn port_update(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let refuse = || ApiError::bad("Error input: Updating port");
    let published = number(input, "publishedPort").ok_or_else(refuse)?;
    let target = number(input, "targetPort").ok_or_else(refuse)?;
    let changed = world.db.ports.update(text(input, "portId"), |row| {
        row.published_port = published;
        row.target_port = target;
        // What is left out goes back to the defaults.
        row.publish_mode = maybe(input, "publishMode").unwrap_or_else(|| "ingress".to_owned());
        row.protocol = maybe(input, "protocol").unwrap_or_else(|| "tcp".to_owned());
        row.clone()
    });
    say(&changed.ok_or_else(|| ApiError::missing("Port"))?)
}

pub(super) fn port_delete(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let row = world.db.ports.remove(text(input, "portId")).ok_or_else(|| ApiError::missing("Port"))?;
    say(&row)
}
