//! Tokens: made, listed, revoked by owners, each within their tenant. The text of a token is answered once and kept
//! nowhere.

use crate::auth::{May, Tokens, Who, token_hash, token_text};
use crate::body::Body;
use crate::error::{Error, ErrorBody};
use crate::fleet::Fleet;
use crate::routes::Shared;
use crate::view::instant;
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use berth_model::access::{self, Audit, Role, Token};
use berth_model::units::parse_duration;
use berth_ports::Fault;
use serde::{Deserialize, Serialize};

/// A token to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct NewToken {
    /// Stands in the audit.
    #[schema(min_length = 1, max_length = 100, pattern = "^[A-Za-z0-9_.@-]{1,100}$")]
    name: String,
    /// `viewer`, `developer`, `admin` or `owner`.
    #[schema(pattern = "^(viewer|developer|admin|owner)$")]
    role: String,
    /// Whose stacks it reaches; without one everybody's. A token of one tenant makes tokens of that tenant only.
    #[schema(min_length = 1, max_length = 100)]
    tenant: Option<String>,
    /// For how long: `90d`, `12h`. Without it, until it is revoked.
    #[schema(pattern = "^[1-9][0-9]{0,5}(s|m|h|d)$")]
    expires_in: Option<String>,
}

/// A token, without its text.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Token)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenView {
    name: String,
    role: String,
    tenant: Option<String>,
    #[schema(format = DateTime)]
    made: String,
    #[schema(format = DateTime)]
    expires: Option<String>,
    /// The text: shown this once.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

/// The tokens within reach.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub(crate) struct TokenList {
    items: Vec<TokenView>,
}

impl TokenView {
    fn of(token: &Token, text: Option<String>) -> Self {
        Self {
            name: token.name.clone(),
            role: token.role.to_string(),
            tenant: token.tenant.clone(),
            made: instant(token.made),
            expires: token.expires.map(instant),
            token: text,
        }
    }
}

fn trace<F: Fleet>(shared: &Shared<F>, who: &Who, what: &str, token: &Token) -> Audit {
    Audit {
        at: (shared.clock)(),
        who: who.name(),
        what: what.to_owned(),
        key: Some(format!("token/{}", token.name)),
        tenant: token.tenant.clone(),
        generation: None,
        outcome: "done".to_owned(),
    }
}

/// Lists tokens.
#[utoipa::path(get, path = "/api/v1/tokens", operation_id = "listTokens", tag = "tokens",
    responses((status = 200, body = TokenList), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn list<F: Fleet>(
    may: May<Tokens>,
    State(shared): State<Shared<F>>,
) -> Result<Json<TokenList>, Error> {
    let all = shared.fleet.tokens().await?;
    let within = all.iter().filter(|t| may.0.reaches(t.tenant.as_deref()));
    Ok(Json(TokenList { items: within.map(|t| TokenView::of(t, None)).collect() }))
}

/// Makes a token. Its text is in the answer, and nowhere else.
#[utoipa::path(post, path = "/api/v1/tokens", operation_id = "makeToken", tag = "tokens", request_body = NewToken,
    responses((status = 201, body = TokenView), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn make<F: Fleet>(
    may: May<Tokens>,
    State(shared): State<Shared<F>>,
    Body(new): Body<NewToken>,
) -> Result<Response, Error> {
    let who = may.0;
    let at = |path: &str, message: String| {
        Error::faulty(vec![Fault { path: Some(path.to_owned()), message, help: None }])
    };
    access::token_name(&new.name).map_err(|e| at("name", e.to_owned()))?;
    let role = Role::parse(&new.role)
        .ok_or_else(|| at("role", "a role is viewer, developer, admin or owner".to_owned()))?;
    let tenant = match (who.tenant(), new.tenant) {
        (Some(own), Some(other)) if own != other => {
            return Err(Error::Tenant("the token is of another tenant"));
        }
        (Some(own), _) => Some(own.to_owned()),
        (None, Some(text))
            if text.trim().is_empty() || text.len() > 100 || text.contains(char::is_control) =>
        {
            return Err(at("tenant", "a tenant has 1 to 100 characters, none of them a control".to_owned()));
        }
        (None, given) => given,
    };
    let now = (shared.clock)();
    let expires = match new.expires_in.as_deref().map(parse_duration) {
        None => None,
        Some(Ok(time)) if time.as_secs() > 0 => Some(now.after(time)),
        Some(_) => return Err(at("expiresIn", "it is a time like 90s, 12h or 2160h".to_owned())),
    };
    let random = (shared.random)();
    let random = random.ok_or_else(|| Error::Busy("the system gives no randomness".to_owned()))?;
    let text = token_text(&random);
    let hash = token_hash(text.expose());
    let token = Token { name: new.name, tenant, role, hash, made: now, expires };
    shared.fleet.make_token(token.clone(), trace(&shared, &who, "make", &token)).await?;
    let view = TokenView::of(&token, Some(text.expose().to_owned()));
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, "no-store")], Json(view)).into_response())
}

/// Revokes a token, from now on.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", operation_id = "revokeToken", tag = "tokens",
    params(("name" = String, Path, description = "The token's name.")),
    responses((status = 204), (status = "4XX", body = ErrorBody), (status = 503, body = ErrorBody)))]
pub(crate) async fn revoke<F: Fleet>(
    may: May<Tokens>,
    State(shared): State<Shared<F>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Error> {
    let all = shared.fleet.tokens().await?;
    let found = all.iter().find(|t| t.name == name && may.0.reaches(t.tenant.as_deref()));
    let Some(token) = found else {
        return Err(Error::NotFound(format!("there is no token '{name}'; /api/v1/tokens lists them")));
    };
    shared.fleet.revoke_token(name, trace(&shared, &may.0, "revoke", token)).await?;
    Ok(StatusCode::NO_CONTENT)
}
