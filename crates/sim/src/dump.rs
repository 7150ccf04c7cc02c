//! The whole world as one JSON value, in an order that does not depend on when things were made.
//! It must never leave out a column: worlds are compared by it.

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::rows::value;
use crate::table::{Row, Table};
use crate::world::World;

/// Rows by the given columns, then by their text.
fn sorted<R: Row + Serialize>(table: &Table<R>, keys: &[&str]) -> Vec<Value> {
    let mut rows: Vec<(String, Value)> = table
        .iter()
        .map(|row| {
            let row = value(row);
            let key: Vec<String> = keys.iter().map(|k| row[k].to_string()).collect();
            (key.join("\u{1}"), row)
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows.into_iter().map(|(_, row)| row).collect()
}

pub(crate) fn dump(world: &World) -> Value {
    let services: Map<String, Value> = world
        .swarm
        .services
        .values()
        .map(|s| {
            let update = s.update.as_ref().map(|u| u.state);
            let row = json!({"Spec": s.spec.inspect(&s.name), "UpdateStatus": update, "running": s.running(),
                             "desired": s.spec.desired(), "version": s.version});
            (s.name.clone(), row)
        })
        .collect();
    let routers: Map<String, Value> =
        world.traefik.files.keys().map(|app| (app.clone(), json!(world.traefik.text(app)))).collect();
    json!({
        "projects": sorted(&world.db.projects, &["name", "createdAt", "projectId"]),
        "environments": sorted(&world.db.environments, &["projectId", "name", "createdAt", "environmentId"]),
        "applications": sorted(&world.db.applications, &["name", "createdAt", "applicationId"]),
        "domains": sorted(&world.db.domains, &["host", "path", "applicationId", "uniqueConfigKey"]),
        "mounts": sorted(&world.db.mounts, &["applicationId", "mountPath", "mountId"]),
        "ports": sorted(&world.db.ports, &["applicationId", "publishedPort", "portId"]),
        "deployments": sorted(&world.db.deployments, &["applicationId", "createdAt", "deploymentId"]),
        "services": services,
        "volumes": world.swarm.volumes.keys().collect::<Vec<_>>(),
        "routers": routers,
    })
}
