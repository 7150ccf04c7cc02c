//! Stacks: read, asked for, their removal asked for, and how a name stands. What is asked for lands in the same rows as
//! a portal's own statements.

use crate::auth::{Delete, Deploy, May, Read, Who};
use crate::body::{Body, expectation};
use crate::error::{Error, ErrorBody};
use crate::fleet::{Fleet, Hold, NameState, Plan, Proposal};
use crate::routes::Shared;
use crate::view::StackView;
use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use berth_model::access::Verb;
use berth_model::ids::{Key, StackName};
use berth_ports::{Draft, Refused};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// What a stack is asked for as.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[schema(as = PutStack)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct PutStack {
    /// Whose it is. A token of one tenant fills it in.
    #[schema(max_length = 100)]
    tenant: Option<String>,
    /// The template that it is laid over.
    #[schema(max_length = 40)]
    template: Option<String>,
    /// `production`, where nothing is said.
    #[schema(pattern = "^(production|staging|preview|development)$")]
    stage: Option<String>,
    /// The name it had: what runs under that name is taken over.
    #[schema(max_length = 40)]
    formerly: Option<String>,
    /// As under `spec:` of a manifest; empty where the template says it all.
    #[schema(value_type = Option<StackSpec>)]
    spec: Option<Box<RawValue>>,
}

/// Stands for the manifest language's own schema, which is put in its place.
#[derive(utoipa::ToSchema)]
#[allow(dead_code)]
pub(crate) struct StackSpec {}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Filter {
    /// Only of this tenant.
    tenant: Option<String>,
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Dry {
    /// Change nothing and answer the plan.
    #[serde(default)]
    dry_run: bool,
}

/// Every stack and project within reach.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct List {
    items: Vec<StackView>,
    /// What guards hold: only for who sees all tenants.
    holds: Vec<Hold>,
}

/// How a name stands.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct Name {
    name: String,
    /// `free`, `reserved`, `taken` or `invalid`.
    #[schema(example = "free")]
    state: &'static str,
    /// Why it is not free.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

pub(crate) fn given<T>(query: Result<Query<T>, QueryRejection>) -> Result<T, Error> {
    query.map(|Query(v)| v).map_err(|e| Error::Bad(e.body_text()))
}

pub(crate) fn stack_name(text: &str) -> Result<StackName, Error> {
    StackName::new(text).map_err(|e| Error::Bad(format!("'{text}' is not a stack's name: {e}")))
}

/// Lists stacks and projects, and how they stand.
#[utoipa::path(get, path = "/api/v1/stacks", operation_id = "listStacks", tag = "stacks", params(Filter),
    responses((status = 200, body = List), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn list<F: Fleet>(
    may: May<Read>,
    State(shared): State<Shared<F>>,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Result<Json<List>, Error> {
    let filter = given(filter)?;
    let who = may.0;
    let mut asked = BTreeMap::new();
    for row in shared.fleet.unjudged().await? {
        asked.insert(Key::Stack(row.name.clone()), row);
    }
    let mut items = Vec::new();
    for status in shared.fleet.statuses().await? {
        let row = asked.remove(&status.key);
        items.extend(StackView::of(&status.key, Some(&status), row.as_ref(), false));
    }
    items.extend(asked.iter().filter_map(|(key, row)| StackView::of(key, None, Some(row), false)));
    items.retain(|s| {
        who.reaches(s.tenant()) && filter.tenant.as_deref().is_none_or(|t| s.tenant() == Some(t))
    });
    items.sort_by(|a, b| a.order().cmp(&b.order()));
    // A hold names stacks of every tenant.
    let sees_all = who.tenant().is_none() && filter.tenant.is_none();
    let holds = if sees_all { shared.fleet.holds() } else { Vec::new() };
    Ok(Json(List { items, holds }))
}

/// A stack that this caller reaches.
pub(crate) async fn within_reach<F: Fleet>(
    shared: &Shared<F>,
    who: &Who,
    name: &StackName,
) -> Result<StackView, Error> {
    let key = Key::Stack(name.clone());
    let (status, asked) = (shared.fleet.status(&key).await?, shared.fleet.asked(name).await?);
    let view = StackView::of(&key, status.as_ref(), asked.as_ref(), who.may(Verb::Deploy));
    // One that is out of reach is not there, as far as this caller can tell.
    view.filter(|v| who.reaches(v.tenant())).ok_or_else(|| {
        Error::NotFound(format!("there is no stack '{name}'; /api/v1/stacks lists what there is"))
    })
}

pub(crate) fn with_tag(status: StatusCode, view: StackView) -> Response {
    let tag = HeaderValue::from_str(&format!("\"{}\"", view.generation()));
    let mut response = (status, Json(view)).into_response();
    if let Ok(tag) = tag {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Shows one stack.
#[utoipa::path(get, path = "/api/v1/stacks/{name}", operation_id = "getStack", tag = "stacks", params(("name" = String, Path, description = "The stack's name.")),
    responses((status = 200, body = StackView, headers(("ETag" = String, description = "The generation."))),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn one<F: Fleet>(
    may: May<Read>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
) -> Result<Response, Error> {
    let view = within_reach(&shared, &may.0, &stack_name(&name)?).await?;
    Ok(with_tag(StatusCode::OK, view))
}

/// Shows one shared project.
#[utoipa::path(get, path = "/api/v1/projects/{name}", operation_id = "getProject", tag = "stacks", params(("name" = String, Path, description = "The project's name.")),
    responses((status = 200, body = StackView), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn project<F: Fleet>(
    _: May<Read>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
) -> Result<Json<StackView>, Error> {
    let key = Key::Project(name.as_str().into());
    let status = shared.fleet.status(&key).await?;
    let view = StackView::of(&key, status.as_ref(), None, false);
    view.map(Json).ok_or_else(|| {
        Error::NotFound(format!("no project '{name}' was judged yet; /api/v1/stacks lists what there is"))
    })
}

/// Asks for a stack, or changes what is asked for.
///
/// The body is all that is asked for: what it leaves out is not there. `If-Match` with a generation changes only what is
/// still at it; `If-None-Match: *` only asks for a stack that is not there.
#[utoipa::path(put, path = "/api/v1/stacks/{name}", operation_id = "putStack", tag = "stacks", request_body = PutStack,
    params(("name" = String, Path, description = "The stack's name."), Dry,
        ("If-Match" = Option<String>, Header, description = "A generation, as the ETag of the stack, or *."),
        ("If-None-Match" = Option<String>, Header, description = "Only *: the stack is not there yet.")),
    responses((status = 200, description = "Changed, or as it was; with dryRun the plan.", body = PutAnswer),
        (status = 201, description = "Asked for.", body = StackView),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn put<F: Fleet>(
    may: May<Deploy>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
    dry: Result<Query<Dry>, QueryRejection>,
    headers: HeaderMap,
    Body(body): Body<PutStack>,
) -> Result<Response, Error> {
    let (who, dry, expect) = (may.0, given(dry)?, expectation(&headers)?);
    let name = stack_name(&name)?;
    let tenant = match (who.tenant(), body.tenant) {
        (Some(own), Some(other)) if own != other => {
            return Err(Error::Tenant("the token is of another tenant"));
        }
        (Some(own), _) => Some(own.to_owned()),
        (None, given) => given,
    };
    let draft = Draft {
        name: name.clone(),
        tenant,
        stage: body.stage,
        template: body.template,
        formerly: body.formerly,
        spec: body.spec.map_or_else(|| "{}".to_owned(), |s| s.get().to_owned()),
    };
    if let NameState::Reserved = shared.fleet.name(&name).await? {
        return Err(Error::Conflict(format!("the name '{name}' is reserved: choose another one")));
    }
    if dry.dry_run {
        // Before anything is said of a stack of that name: it may be somebody else's.
        reach_of_row(&shared, &who, &name).await?;
        let plan: Plan = shared.fleet.plan(&Proposal::Put(draft)).await?;
        return Ok(Json(plan).into_response());
    }
    let faults = shared.fleet.check(&draft).await?;
    if !faults.is_empty() {
        return Err(Error::faulty(faults));
    }
    let put = shared.fleet.put(&who.name(), &draft, expect, who.tenant().is_none()).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(with_tag(status, within_reach(&shared, &who, &name).await?))
}

/// What a `PUT` answers with 200.
#[derive(utoipa::ToSchema)]
#[schema(as = StackOrPlan)]
#[serde(untagged)]
#[allow(dead_code)]
pub(crate) enum PutAnswer {
    /// The stack.
    Stack(Box<StackView>),
    /// With `dryRun`.
    Plan(Plan),
}

/// A name that is somebody else's is told like one that is taken, and nothing of it is.
async fn reach_of_row<F: Fleet>(shared: &Shared<F>, who: &Who, name: &StackName) -> Result<(), Error> {
    let status = shared.fleet.status(&Key::Stack(name.clone())).await?;
    let asked = shared.fleet.asked(name).await?;
    let strange = status.is_some_and(|s| !who.reaches(s.tenant.as_deref()))
        || asked.is_some_and(|a| !who.reaches(a.tenant.as_deref()));
    if strange { Err(Refused::Taken.into()) } else { Ok(()) }
}

/// Asks for the removal of a stack. Its name is free once everything outside is gone; volumes stay.
#[utoipa::path(delete, path = "/api/v1/stacks/{name}", operation_id = "deleteStack", tag = "stacks",
    params(("name" = String, Path, description = "The stack's name."), Dry,
        ("If-Match" = Option<String>, Header, description = "A generation, as the ETag of the stack, or *.")),
    responses((status = 200, description = "With dryRun.", body = Plan),
        (status = 202, description = "Its removal is asked for.", body = StackView),
        (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn delete<F: Fleet>(
    may: May<Delete>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
    dry: Result<Query<Dry>, QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, Error> {
    let (who, dry, expect) = (may.0, given(dry)?, expectation(&headers)?);
    let name = stack_name(&name)?;
    let before = within_reach(&shared, &who, &name).await?;
    if dry.dry_run {
        return Ok(Json(shared.fleet.plan(&Proposal::Remove(name)).await?).into_response());
    }
    shared.fleet.remove(&who.name(), &name, who.tenant(), expect).await?;
    // What was made of nothing may be gone by now.
    let after = within_reach(&shared, &who, &name).await.unwrap_or(before);
    Ok(with_tag(StatusCode::ACCEPTED, after))
}

/// Says whether a name is free.
#[utoipa::path(get, path = "/api/v1/names/{name}", operation_id = "checkName", tag = "stacks", params(("name" = String, Path, description = "A name.")),
    responses((status = 200, body = Name), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn name<F: Fleet>(
    _: May<Read>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
) -> Result<Json<Name>, Error> {
    let (state, why) = match StackName::new(&name) {
        Err(why) => ("invalid", Some(why.to_string())),
        Ok(parsed) => match shared.fleet.name(&parsed).await? {
            NameState::Free => ("free", None),
            NameState::Reserved => ("reserved", Some("the daemon's settings keep it".to_owned())),
            NameState::Taken(why) => ("taken", Some(why)),
        },
    };
    Ok(Json(Name { name, state, why }))
}
