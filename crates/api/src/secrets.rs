//! Secrets that are given to a stack: they come in, are sealed, and never go out again.

use crate::auth::{Configure, May};
use crate::body::Body;
use crate::error::{Error, ErrorBody};
use crate::fleet::{Fleet, SecretOf};
use crate::routes::Shared;
use crate::stacks::{given, stack_name, within_reach};
use crate::view::instant;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use berth_model::Secret;
use berth_model::access::Audit;
use berth_model::ids::AppName;
use serde::{Deserialize, Serialize};

/// The longest name of a secret.
const NAME: usize = 200;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Of {
    /// Of this app only; without it of the whole stack.
    app: Option<String>,
}

/// A value.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Value {
    /// It is sealed, and shown by nothing.
    #[schema(min_length = 1)]
    value: String,
}

/// A secret that was given, without its value.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = GivenSecret)]
pub(crate) struct SecretView {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    /// Rises with every value.
    version: u32,
    #[schema(format = DateTime)]
    given: String,
}

/// The secrets of a stack.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct SecretList {
    items: Vec<SecretView>,
}

/// Lists what was given to a stack.
#[utoipa::path(get, path = "/api/v1/stacks/{name}/secrets", operation_id = "listSecrets", tag = "secrets",
    params(("name" = String, Path, description = "The stack's name.")),
    responses((status = 200, body = SecretList), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn list<F: Fleet>(
    may: May<Configure>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
) -> Result<Json<SecretList>, Error> {
    let name = stack_name(&name)?;
    within_reach(&shared, &may.0, &name).await?;
    let items = shared.fleet.secrets(&name).await?;
    let items = items.into_iter().map(|row| SecretView {
        name: row.name,
        app: row.app.map(|a| a.to_string()),
        version: row.version,
        given: instant(row.at),
    });
    Ok(Json(SecretList { items: items.collect() }))
}

async fn named<F: Fleet>(
    shared: &Shared<F>,
    may: &May<Configure>,
    (stack, name): (String, String),
    of: Of,
) -> Result<(SecretOf, Audit), Error> {
    let stack = stack_name(&stack)?;
    let view = within_reach(shared, &may.0, &stack).await?;
    if name.is_empty() || name.len() > NAME || name.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(Error::Bad(format!("a secret's name has 1 to {NAME} characters and no spaces")));
    }
    let app = of.app.map(|a| AppName::new(&a)).transpose();
    let app = app.map_err(|e| Error::Bad(format!("this is not an app's name: {e}")))?;
    let trace = Audit {
        at: (shared.clock)(),
        who: may.0.name(),
        what: String::new(),
        key: Some(format!("stack/{stack}")),
        tenant: view.tenant().map(str::to_owned),
        generation: Some(view.generation()),
        outcome: format!("done: {name}"),
    };
    Ok((SecretOf { stack, app, name }, trace))
}

/// Gives a secret, or a new value of one. What refers to it is deployed with it.
#[utoipa::path(put, path = "/api/v1/stacks/{name}/secrets/{secret}", operation_id = "giveSecret", tag = "secrets", request_body = Value,
    params(("name" = String, Path, description = "The stack's name."), ("secret" = String, Path, description = "The secret's name."), Of),
    responses((status = 200, body = SecretView), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn give<F: Fleet>(
    may: May<Configure>,
    State(shared): State<Shared<F>>,
    Path(path): Path<(String, String)>,
    of: Result<Query<Of>, QueryRejection>,
    Body(body): Body<Value>,
) -> Result<Json<SecretView>, Error> {
    let value = Secret::new(body.value);
    let (of, trace) = named(&shared, &may, path, given(of)?).await?;
    if value.expose().is_empty() {
        return Err(Error::Invalid("a secret may not be empty".to_owned(), Vec::new()));
    }
    let at = trace.at;
    let version =
        shared.fleet.give_secret(&of, value, Audit { what: "give secret".to_owned(), ..trace }).await?;
    let app = of.app.map(|a| a.to_string());
    Ok(Json(SecretView { name: of.name, app, version, given: instant(at) }))
}

/// Takes a secret away. What runs keeps the value until its next change.
#[utoipa::path(delete, path = "/api/v1/stacks/{name}/secrets/{secret}", operation_id = "removeSecret", tag = "secrets",
    params(("name" = String, Path, description = "The stack's name."), ("secret" = String, Path, description = "The secret's name."), Of),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn remove<F: Fleet>(
    may: May<Configure>,
    State(shared): State<Shared<F>>,
    Path(path): Path<(String, String)>,
    of: Result<Query<Of>, QueryRejection>,
) -> Result<StatusCode, Error> {
    let (of, trace) = named(&shared, &may, path, given(of)?).await?;
    let there = shared.fleet.secrets(&of.stack).await?;
    if !there.iter().any(|row| row.name == of.name && row.app == of.app) {
        return Err(Error::NotFound(format!("'{}' was not given to stack '{}'", of.name, of.stack)));
    }
    shared.fleet.remove_secret(&of, Audit { what: "remove secret".to_owned(), ..trace }).await?;
    Ok(StatusCode::NO_CONTENT)
}
