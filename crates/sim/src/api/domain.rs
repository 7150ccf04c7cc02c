//! Domains: rows without any uniqueness, and the router file that every write of an application's domain rewrites.
//! The file write must never be checked against the rows: an overlapping write loses routers silently.

use serde_json::{Value, json};

use super::{Ctx, has_nul, maybe, params, text};
use crate::error::{Answer, ApiError, say};
use crate::rows::{Domain, value};
use crate::schema::Input;
use crate::traefik::Router;
use crate::world::World;

/// Rewrites the file of the application a domain belongs to.
fn write_router(world: &mut World, ctx: &Ctx, row: &Domain, keep: bool) {
    let Some(app) = row.application_id.as_deref().and_then(|id| world.db.applications.get(id)) else {
        return;
    };
    let name = app.app_name.to_string();
    let lost = world.traefik.written_since(&name, ctx.seen) && world.rng.chance(0.5);
    world.seq += 1;
    let router = (keep && row.enabled).then(|| Router::of(row));
    world.traefik.write(&name, row.unique_config_key, router, world.seq, lost);
}

pub(super) fn create(world: &mut World, ctx: &Ctx, input: &Input) -> Answer {
    let domain_id = world.rng.id();
    let application_id = maybe(input, "applicationId");
    let unknown = application_id.as_deref().is_some_and(|id| !world.db.applications.contains(id));
    if unknown || maybe(input, "composeId").is_some() || has_nul(input) {
        let columns = r#""domainId", "host", "https", "port", "path", "applicationId", "composeId""#;
        return Err(ApiError::bad(format!(
            "Failed query: insert into \"domain\" ({columns}) values ($1, $2, $3, $4, $5, $6, $7) returning {columns}\n\
             params: {domain_id},{}",
            params(input.values())
        )));
    }
    let flag = |key: &str| input.get(key).and_then(Value::as_bool).unwrap_or(false);
    let or = |key: &str, default: &str| match input.get(key) {
        None => Some(default.to_owned()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    let row = Domain {
        domain_id,
        host: text(input, "host").to_owned(),
        https: flag("https"),
        port: input.get("port").map_or(Some(3000), Value::as_i64),
        custom_entrypoint: maybe(input, "customEntrypoint"),
        path: or("path", "/"),
        service_name: maybe(input, "serviceName"),
        domain_type: or("domainType", "application"),
        unique_config_key: world.next_config_key(),
        created_at: world.iso(),
        compose_id: None,
        custom_cert_resolver: maybe(input, "customCertResolver"),
        application_id,
        preview_deployment_id: None,
        certificate_type: maybe(input, "certificateType").unwrap_or_else(|| "none".to_owned()),
        internal_path: or("internalPath", "/"),
        strip_path: flag("stripPath"),
        middlewares: list(input, "middlewares").unwrap_or_default(),
        forward_auth_enabled: flag("forwardAuthEnabled"),
        enabled: true,
    };
    world.db.domains.insert(row.clone());
    write_router(world, ctx, &row, true);
    say(&row)
}

fn list(input: &Input, key: &str) -> Option<Vec<String>> {
    Some(input.get(key)?.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

/// A row with the stub of its owner.
fn with_owner(world: &World, row: &Domain) -> Value {
    let mut out = value(row);
    out["application"] = row.application_id.as_deref().and_then(|id| world.db.applications.get(id)).map_or(
        Value::Null,
        |a| json!({"applicationId": &*a.id, "appName": &*a.app_name, "name": a.get("name")}),
    );
    out
}

pub(super) fn one(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let row = world.db.domains.get(text(input, "domainId")).ok_or_else(|| ApiError::missing("Domain"))?;
    say(&with_owner(world, row))
}

pub(super) fn by_application(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let rows = world.db.domains.of(text(input, "applicationId"));
    say(&rows.map(|row| with_owner(world, row)).collect::<Vec<_>>())
}

pub(super) fn update(world: &mut World, ctx: &Ctx, input: &Input) -> Answer {
    let changed = world.db.domains.update(text(input, "domainId"), |row| {
        row.host = text(input, "host").to_owned();
        let set = |slot: &mut Option<String>, key: &str| {
            if let Some(value) = input.get(key) {
                *slot = value.as_str().map(str::to_owned);
            }
        };
        set(&mut row.path, "path");
        set(&mut row.internal_path, "internalPath");
        set(&mut row.service_name, "serviceName");
        set(&mut row.domain_type, "domainType");
        set(&mut row.custom_cert_resolver, "customCertResolver");
        set(&mut row.custom_entrypoint, "customEntrypoint");
        if let Some(port) = input.get("port") {
            row.port = port.as_i64();
        }
        if let Some(kind) = maybe(input, "certificateType") {
            row.certificate_type = kind;
        }
        if let Some(names) = list(input, "middlewares") {
            row.middlewares = names;
        }
        for (slot, key) in [
            (&mut row.https, "https"),
            (&mut row.strip_path, "stripPath"),
            (&mut row.forward_auth_enabled, "forwardAuthEnabled"),
            (&mut row.enabled, "enabled"),
        ] {
            if let Some(on) = input.get(key).and_then(Value::as_bool) {
                *slot = on;
            }
        }
        row.clone()
    });
    let row = changed.ok_or_else(|| ApiError::missing("Domain"))?;
    write_router(world, ctx, &row, true);
    say(&row)
}

pub(super) fn delete(world: &mut World, ctx: &Ctx, input: &Input) -> Answer {
    let row = world.db.domains.remove(text(input, "domainId")).ok_or_else(|| ApiError::missing("Domain"))?;
    write_router(world, ctx, &row, false);
    say(&row)
}
