//! `berth token` and `berth audit`: who may use the API, and who did what. A token's text is printed once, by itself on
//! standard output, and never again.

use crate::args::{Audit, Output, Role, TokenCommand};
use crate::out;
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use anyhow::{Context, Result, bail};
use berth_model::access::{self, Token};
use berth_ports::{Answer, Change, PortError, Query, Snapshot, Store};
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// # Errors
/// The state cannot be used, or there is no such token.
pub async fn token(given: Option<&Path>, command: TokenCommand) -> Result<ExitCode> {
    match command {
        TokenCommand::Create { name, role, tenant, expires_in } => {
            create(given, name, role, tenant, expires_in).await
        }
        TokenCommand::List { output } => list(given, output).await,
        TokenCommand::Revoke { name } => revoke(given, name).await,
    }
}

async fn create(
    given: Option<&Path>,
    name: String,
    role: Role,
    tenant: Option<String>,
    expires_in: Option<Duration>,
) -> Result<ExitCode> {
    access::token_name(&name).map_err(|e| anyhow::anyhow!("'{name}': {e}"))?;
    if tenant.as_ref().is_some_and(|t| t.trim().is_empty() || t.len() > 100 || t.contains(char::is_control)) {
        bail!("a tenant has 1 to 100 characters, none of them a control");
    }
    let config = settings::load(given, Needs::Places)?;
    let store = AnyStore::open(&config).await?;
    let random = berth_vault::random().context("the system gives no randomness")?;
    let text = berth_api::token_text(&random);
    let made = out::now();
    let token = Token {
        name: name.clone(),
        tenant,
        role: match role {
            Role::Viewer => access::Role::Viewer,
            Role::Developer => access::Role::Developer,
            Role::Admin => access::Role::Admin,
            Role::Owner => access::Role::Owner,
        },
        hash: berth_api::token_hash(text.expose()),
        made,
        expires: expires_in.map(|time| made.after(time)),
    };
    let trace = traced("make", &token);
    match store.commit(vec![Change::Token(token), Change::Audit(trace)]).await {
        Ok(()) => {}
        Err(PortError::Conflict(why)) => bail!("{why}"),
        Err(error) => return Err(error).context("the token was not made"),
    }
    anstream::eprintln!(
        "token {name}: this is its text, shown this once; send it as 'authorization: Bearer TEXT'"
    );
    out::say(text.expose())?;
    Ok(ExitCode::SUCCESS)
}

fn traced(what: &str, token: &Token) -> access::Audit {
    let trace = super::trace(what, None, &Snapshot::default(), "done");
    access::Audit { key: Some(format!("token/{}", token.name)), tenant: token.tenant.clone(), ..trace }
}

#[derive(Serialize)]
struct Listed {
    name: String,
    role: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<String>,
    made: berth_model::Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires: Option<berth_model::Time>,
}

async fn list(given: Option<&Path>, output: Output) -> Result<ExitCode> {
    let (_, store) = super::to_read(given).await?;
    let all = match store {
        Some(store) => store.tokens().await?,
        None => Vec::new(),
    };
    let listed: Vec<Listed> = all
        .into_iter()
        .map(|t| Listed {
            name: t.name,
            role: t.role.to_string(),
            tenant: t.tenant,
            made: t.made,
            expires: t.expires,
        })
        .collect();
    out::data(output.output, &listed, || {
        if listed.is_empty() {
            return "There is no token; 'berth token create' makes one.\n".to_owned();
        }
        let now = out::now();
        let rows: Vec<Vec<String>> = listed
            .iter()
            .map(|t| {
                let tenant = t.tenant.clone().unwrap_or_else(|| "all".to_owned());
                let expires = match t.expires {
                    None => "never".to_owned(),
                    Some(at) if at <= now => "expired".to_owned(),
                    Some(at) => format!("in {}", out::age(now, at)),
                };
                vec![t.name.clone(), t.role.clone(), tenant, out::age(t.made, now), expires]
            })
            .collect();
        out::table(&["NAME", "ROLE", "TENANT", "AGE", "EXPIRES"], &rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn revoke(given: Option<&Path>, name: String) -> Result<ExitCode> {
    let config = settings::load(given, Needs::Places)?;
    let store = AnyStore::open(&config).await?;
    let all = store.tokens().await?;
    let Some(token) = all.iter().find(|t| t.name == name) else {
        bail!("there is no token '{name}'; 'berth token list' shows what there is");
    };
    let trace = traced("revoke", token);
    let changes = vec![Change::RevokeToken(name.clone()), Change::Audit(trace)];
    store.commit(changes).await.context("the token was not revoked")?;
    anstream::eprintln!("token {name}: revoked");
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// The state cannot be read.
pub async fn audit(given: Option<&Path>, args: Audit) -> Result<ExitCode> {
    let (_, store) = super::state(given).await?;
    let key = match &args.name {
        None => None,
        Some(name) if name.contains('/') => Some(name.clone()),
        Some(name) => Some(format!("stack/{name}")),
    };
    let query = Query::Audit { key, tenant: args.tenant, limit: args.last };
    let Answer::Audit(entries) = store.query(query).await? else {
        bail!("the state answered something else; this is a defect")
    };
    out::data(args.output.output, &entries, || {
        if entries.is_empty() {
            return "Nobody changed anything that is remembered.\n".to_owned();
        }
        let dash = || "-".to_owned();
        let rows: Vec<Vec<String>> = entries
            .iter()
            .map(|e| {
                vec![
                    out::clock(e.at),
                    e.who.clone(),
                    e.what.clone(),
                    e.key.clone().unwrap_or_else(dash),
                    e.generation.map_or_else(dash, |g| g.to_string()),
                    out::one_line(&e.outcome),
                ]
            })
            .collect();
        out::table(&["WHEN", "WHO", "WHAT", "OF", "GENERATION", "OUTCOME"], &rows)
    })?;
    Ok(ExitCode::SUCCESS)
}
