//! Who is calling, keys, and the small calls about the server itself.
//! Nothing here may answer a key's text a second time: only its creation does.

use std::time::Duration;

use serde_json::{Value, json};

use super::{Ctx, text};
use crate::auth::Role;
use crate::error::{Answer, ApiError, Code, say};
use crate::schema::Input;
use crate::world::World;

const DAY: u64 = 86_400_000;

pub(super) fn version(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    say(&world.options.version)
}

pub(super) fn address(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    say(&world.options.address)
}

pub(super) fn health(_: &mut World, _: &Ctx, _: &Input) -> Answer {
    say(&json!({"status": "ok"}))
}

pub(super) fn nothing(_: &mut World, _: &Ctx, _: &Input) -> Answer {
    Ok(Some("[]".to_owned()))
}

pub(super) fn session(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    say(&json!({"user": {"id": world.user}, "session": {"activeOrganizationId": world.organization}}))
}

pub(super) fn organization(world: &mut World, _: &Ctx, _: &Input) -> Answer {
    say(&json!({"id": world.organization, "name": "My Organization", "slug": null, "logo": null,
                "createdAt": world.iso_at(Duration::ZERO), "metadata": null, "defaultRole": null,
                "ownerId": world.user}))
}

pub(super) fn get(world: &mut World, ctx: &Ctx, _: &Input) -> Answer {
    let keys: Vec<Value> = world
        .keys
        .iter()
        .map(|k| {
            json!({"id": k.id, "name": k.name, "prefix": null, "enabled": true, "expiresAt": null,
                   "createdAt": k.created_at})
        })
        .collect();
    let user = json!({"id": world.user, "firstName": "Ada", "lastName": "Admin", "email": "admin@example.test",
        "image": null, "allowImpersonation": false, "twoFactorEnabled": false, "stripeCustomerId": null,
        "stripeSubscriptionId": null, "serversQuantity": 0, "isEnterpriseCloud": false,
        "sendInvoiceNotifications": false, "apiKeys": keys});
    let mut row = json!({"id": "member-1", "organizationId": world.organization, "userId": world.user,
        "role": ctx.role.name(), "createdAt": world.iso_at(Duration::ZERO), "teamId": null, "isDefault": true});
    for flag in [
        "canCreateProjects",
        "canAccessToSSHKeys",
        "canCreateServices",
        "canDeleteProjects",
        "canDeleteServices",
        "canAccessToDocker",
        "canAccessToAPI",
        "canAccessToGitProviders",
        "canAccessToTraefikFiles",
        "canDeleteEnvironments",
        "canCreateEnvironments",
    ] {
        row[flag] = Value::Bool(false);
    }
    for list in [
        "accessedProjects",
        "accessedEnvironments",
        "accessedServices",
        "accessedGitProviders",
        "accessedServers",
    ] {
        row[list] = json!([]);
    }
    if ctx.role != Role::Member {
        row["accessedServices"] = json!(world.access.ids);
    }
    row["user"] = user;
    say(&row)
}

pub(super) fn create_key(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    if input["metadata"]["organizationId"] != world.organization.as_str() {
        return Err(ApiError::new(Code::Forbidden, "You are not a member of this organization"));
    }
    let number = |key: &str| input.get(key).and_then(Value::as_u64);
    if number("expiresIn").is_some_and(|seconds| seconds < 86_400) {
        return Err(ApiError::internal("The expiresIn is smaller than the predefined minimum value."));
    }
    let limited = input.get("rateLimitEnabled").and_then(Value::as_bool).unwrap_or(true);
    let window = number("rateLimitTimeWindow").unwrap_or(DAY);
    let max = number("rateLimitMax").unwrap_or(10);
    let limit = limited.then(|| (Duration::from_millis(window), max));
    let remaining = number("remaining");
    let key = world.add_key(text(input, "name"), Role::Owner, limit);
    if let Some(stored) = world.keys.last_mut() {
        stored.remaining = remaining;
    }
    say(&json!({"configId": "default", "name": key.name, "start": &key.key[..6], "referenceId": world.user,
        "prefix": null, "key": key.key, "refillInterval": null, "refillAmount": null, "lastRefillAt": null,
        "enabled": true, "rateLimitEnabled": limited, "rateLimitTimeWindow": window, "rateLimitMax": max,
        "requestCount": 0, "remaining": remaining, "lastRequest": null, "expiresAt": null,
        "createdAt": key.created_at, "updatedAt": key.created_at, "permissions": null, "metadata": null,
        "id": key.id}))
}

pub(super) fn delete_key(world: &mut World, _: &Ctx, input: &Input) -> Answer {
    let id = text(input, "apiKeyId");
    let before = world.keys.len();
    world.keys.retain(|key| key.id != id);
    if world.keys.len() == before {
        return Err(ApiError::missing("API key"));
    }
    say(&true)
}
