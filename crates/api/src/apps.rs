//! Apps of a stack: what they wrote, restarts, replicas; and what is asked of the whole stack beside its row.

use crate::auth::{Deploy, Logs, May, Restart, Scale, Who};
use crate::body::{Body, expectation};
use crate::error::{Error, ErrorBody};
use crate::fleet::Fleet;
use crate::routes::Shared;
use crate::stacks::{given, stack_name, with_tag, within_reach};
use crate::view::StackView;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use berth_model::access::Audit;
use berth_model::event::Request;
use berth_model::ids::{AppName, Key, StackName};
use berth_model::units::parse_duration;
use serde::{Deserialize, Serialize};

/// The most lines of one answer.
const LINES: u16 = 10_000;

/// The most replicas of an app.
const REPLICAS: u32 = 1_000;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// So many lines, the newest; 100 where nothing is said.
    #[param(minimum = 1, maximum = 10000)]
    tail: Option<u16>,
    /// Not older than this: `90s`, `5m`, `2h`.
    #[param(pattern = "^[1-9][0-9]{0,5}(s|m|h|d)$")]
    since: Option<String>,
}

/// How many replicas an app is to have.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Replicas {
    #[schema(minimum = 0, maximum = 1000)]
    replicas: u32,
}

/// What is asked of the daemon about a stack.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = Action)]
#[serde(rename_all = "camelCase", deny_unknown_fields, tag = "do")]
pub(crate) enum Act {
    /// Look at everything again now, and repair it.
    Reconcile {
        /// Deploy again even where nothing changed, so that a moved tag is pulled.
        #[serde(default)]
        pull: bool,
    },
    /// Change nothing of it until it is resumed.
    Pause {},
    /// Undo a pause.
    Resume {},
    /// Go back to an earlier version until what is asked for changes.
    Rollback {
        /// The generation to go back to; without it the one before.
        to: Option<u64>,
    },
}

/// It was handed over to the daemon that leads.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Accepted {
    /// What was asked for.
    #[schema(example = "restart")]
    asked: &'static str,
}

fn app_name(text: &str) -> Result<AppName, Error> {
    AppName::new(text).map_err(|e| Error::Bad(format!("'{text}' is not an app's name: {e}")))
}

/// An app that this caller reaches.
async fn app_within_reach<F: Fleet>(
    shared: &Shared<F>,
    who: &Who,
    name: &str,
    app: &str,
) -> Result<(StackName, AppName), Error> {
    let (name, app) = (stack_name(name)?, app_name(app)?);
    let view = within_reach(shared, who, &name).await?;
    if !view.has_app(app.as_str()) {
        return Err(Error::NotFound(format!("stack '{name}' has no app '{app}', as far as it was judged")));
    }
    Ok((name, app))
}

async fn ask<F: Fleet>(shared: &Shared<F>, who: &Who, request: Request) -> Result<Response, Error> {
    let key = request.key();
    let status = match key {
        Some(key) => shared.fleet.status(key).await?,
        None => None,
    };
    let asked = request.verb();
    let trace = Audit {
        at: (shared.clock)(),
        who: who.name(),
        what: asked.to_owned(),
        key: key.map(ToString::to_string),
        tenant: status.as_ref().and_then(|s| s.tenant.clone()),
        generation: status.map(|s| s.generation),
        outcome: "asked".to_owned(),
    };
    shared.fleet.ask(request, trace).await?;
    Ok((StatusCode::ACCEPTED, Json(Accepted { asked })).into_response())
}

/// What an app's containers wrote lately, as text.
#[utoipa::path(get, path = "/api/v1/stacks/{name}/apps/{app}/logs", operation_id = "readLogs", tag = "apps",
    params(("name" = String, Path, description = "The stack's name."), ("app" = String, Path, description = "The app's name."), Which),
    responses((status = 200, body = String, content_type = "text/plain"),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn logs<F: Fleet>(
    may: May<Logs>,
    State(shared): State<Shared<F>>,
    Path((name, app)): Path<(String, String)>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Response, Error> {
    let which = given(which)?;
    let lines = which.tail.unwrap_or(100);
    if !(1..=LINES).contains(&lines) {
        return Err(Error::Bad(format!("tail is a number from 1 to {LINES}")));
    }
    let since = match which.since.as_deref().map(parse_duration) {
        None => None,
        Some(Ok(since)) if since.as_secs() > 0 => Some(since),
        Some(_) => return Err(Error::Bad("since is a time like 90s, 5m or 2h".to_owned())),
    };
    let (name, app) = app_within_reach(&shared, &may.0, &name, &app).await?;
    let text = shared.fleet.output(&name, &app, lines, since).await?;
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        // Whatever a program writes is never a page.
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    Ok((headers, text).into_response())
}

/// Starts an app's containers anew, with the settings that they have.
#[utoipa::path(post, path = "/api/v1/stacks/{name}/apps/{app}/restart", operation_id = "restartApp", tag = "apps",
    params(("name" = String, Path, description = "The stack's name."), ("app" = String, Path, description = "The app's name.")),
    responses((status = 202, body = Accepted), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn restart<F: Fleet>(
    may: May<Restart>,
    State(shared): State<Shared<F>>,
    Path((name, app)): Path<(String, String)>,
) -> Result<Response, Error> {
    let (name, app) = app_within_reach(&shared, &may.0, &name, &app).await?;
    ask(&shared, &may.0, Request::Restart { key: Key::Stack(name), app: Some(app) }).await
}

/// Changes how many replicas of an app are asked for.
#[utoipa::path(post, path = "/api/v1/stacks/{name}/apps/{app}/scale", operation_id = "scaleApp", tag = "apps", request_body = Replicas,
    params(("name" = String, Path, description = "The stack's name."), ("app" = String, Path, description = "The app's name."),
        ("If-Match" = Option<String>, Header, description = "A generation, as the ETag of the stack, or *.")),
    responses((status = 200, body = StackView), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn scale<F: Fleet>(
    may: May<Scale>,
    State(shared): State<Shared<F>>,
    Path((name, app)): Path<(String, String)>,
    headers: HeaderMap,
    Body(body): Body<Replicas>,
) -> Result<Response, Error> {
    let (who, expect) = (may.0, expectation(&headers)?);
    if body.replicas > REPLICAS {
        return Err(Error::Invalid(format!("an app has at most {REPLICAS} replicas"), Vec::new()));
    }
    let (name, app) = app_within_reach(&shared, &who, &name, &app).await?;
    shared.fleet.scale(&who.name(), &name, who.tenant(), &app, body.replicas, expect).await?;
    Ok(with_tag(StatusCode::OK, within_reach(&shared, &who, &name).await?))
}

/// Asks the daemon to reconcile, pause, resume or roll back a stack.
#[utoipa::path(post, path = "/api/v1/stacks/{name}/actions", operation_id = "actOnStack", tag = "stacks", request_body = Act,
    params(("name" = String, Path, description = "The stack's name.")),
    responses((status = 202, body = Accepted), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn act<F: Fleet>(
    may: May<Deploy>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
    Body(act): Body<Act>,
) -> Result<Response, Error> {
    let name = stack_name(&name)?;
    within_reach(&shared, &may.0, &name).await?;
    let key = Key::Stack(name);
    let request = match act {
        Act::Reconcile { pull } => Request::Reconcile { key, pull },
        Act::Pause {} => Request::Pause { key },
        Act::Resume {} => Request::Resume { key },
        Act::Rollback { to } => Request::Rollback { key, to },
    };
    ask(&shared, &may.0, request).await
}
