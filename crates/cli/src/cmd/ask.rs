//! What a person asks of the daemon through the state file: pause, resume, reconcile, rollback, confirm. The daemon
//! looks for it every second; nothing is done to a server here.

use crate::app::{self, App};
use crate::args::{Confirm, Rollback};
use crate::out::{self, BOLD, paint};
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use anyhow::{Context, Result, bail};
use berth_model::config::Config;
use berth_model::event::Request;
use berth_model::ids::Key;
use berth_ports::{Answer, Change, Query, Snapshot, Store};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

pub(super) async fn open(given: Option<&Path>) -> Result<(Config, AnyStore, Snapshot)> {
    let config = settings::load(given, Needs::Places)?;
    let store = AnyStore::open(&config).await?;
    let snapshot = store.snapshot().await?;
    Ok((config, store, snapshot))
}

pub(super) async fn request(
    config: &Config,
    store: &AnyStore,
    snapshot: &Snapshot,
    requests: Vec<Request>,
) -> Result<()> {
    let at = out::now();
    let mut changes = Vec::new();
    for request in requests {
        changes.push(Change::Audit(super::trace(request.verb(), request.key(), snapshot, "asked")));
        changes.push(Change::Request { at, request });
    }
    store.commit(changes).await.context("the request could not be left in the state")?;
    super::note_without_daemon(config).await;
    Ok(())
}

async fn each(
    given: Option<&Path>,
    names: Vec<String>,
    done: &str,
    make: impl Fn(Key) -> Request,
) -> Result<ExitCode> {
    let (config, store, snapshot) = open(given).await?;
    let keys = names.iter().map(|n| super::known(n, &snapshot)).collect::<Result<Vec<_>>>()?;
    let requests = keys.iter().cloned().map(make).collect();
    request(&config, &store, &snapshot, requests).await?;
    for key in keys {
        anstream::eprintln!("{key}: {done}");
    }
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// The state cannot be written, or nothing has a name.
pub async fn pause(given: Option<&Path>, names: Vec<String>) -> Result<ExitCode> {
    each(given, names, "asked to pause; what runs goes on running", |key| Request::Pause { key }).await
}

/// # Errors
/// The state cannot be written, or nothing has a name.
pub async fn resume(given: Option<&Path>, names: Vec<String>) -> Result<ExitCode> {
    each(given, names, "asked to resume", |key| Request::Resume { key }).await
}

/// # Errors
/// The state cannot be written, or nothing has a name.
pub async fn reconcile(given: Option<&Path>, names: Vec<String>, pull: bool) -> Result<ExitCode> {
    let done = if pull { "asked to be looked at and deployed again" } else { "asked to be looked at again" };
    each(given, names, done, |key| Request::Reconcile { key, pull }).await
}

/// # Errors
/// There is no such version, or the state cannot be written.
pub async fn rollback(given: Option<&Path>, args: Rollback) -> Result<ExitCode> {
    let (config, store, snapshot) = open(given).await?;
    let key = super::known(&args.name, &snapshot)?;
    let Key::Stack(name) = &key else { bail!("{key} has no versions: only stacks are rolled back") };
    let record = snapshot.record(&key).cloned().unwrap_or_default();
    let Answer::Versions(versions) = store.query(Query::Versions { stack: name.clone() }).await? else {
        bail!("the state file answered something else; this is a defect")
    };
    let fits = |generation: u64| args.to.map_or(generation < record.generation, |to| generation == to);
    let Some(found) = versions.iter().find(|v| fits(v.generation)) else {
        let mut kept: Vec<String> = versions.iter().map(|v| v.generation.to_string()).collect();
        kept.dedup();
        let kept = if kept.is_empty() { "none passed its gate".to_owned() } else { kept.join(", ") };
        bail!(
            "{key} has no such earlier version (generations kept: {kept}); 'berth history {name}' lists them"
        );
    };
    let to = found.generation;
    request(&config, &store, &snapshot, vec![Request::Rollback { key: key.clone(), to: args.to }]).await?;
    anstream::eprintln!(
        "{key}: asked to go back to generation {to} (now {}); it stays there until its manifest changes",
        record.generation
    );
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// The state cannot be written; or what is held cannot be read.
pub async fn confirm(given: Option<&Path>, args: Confirm) -> Result<ExitCode> {
    if let Some(token) = args.token {
        let (config, store, snapshot) = open(given).await?;
        request(&config, &store, &snapshot, vec![Request::Confirm { token: token.clone() }]).await?;
        anstream::eprintln!(
            "asked to go on with what token {token} holds; a token of something else changes nothing"
        );
        return Ok(ExitCode::SUCCESS);
    }
    // What is held follows from the manifests and the state: the same judgement as the daemon's.
    let app = App::to_look(given).await?;
    let wanted = Arc::new(app::wanted(&app.inputs().await?, &app.config).0);
    app.engine.set_wanted(wanted.clone());
    let mut looked = std::collections::BTreeSet::new();
    for key in app.engine.keys() {
        let backend = match &key {
            Key::Stack(name) => wanted.stacks.get(name).map(|s| s.target.backend.clone()),
            Key::Project(_) => None,
        };
        let Some(backend) = backend.or_else(|| app.engine.record(&key)?.backend) else {
            continue;
        };
        if looked.insert(backend.clone()) {
            // One plan looks at the whole account, which is what the guard judges by.
            let planned = app.engine.plan(&key).await;
            planned.with_context(|| format!("backend {backend} cannot be looked at; see 'berth doctor'"))?;
        }
    }
    app.engine.set_wanted(wanted);
    let holds = app.holds();
    out::data(args.output.output, &holds, || {
        if holds.is_empty() {
            return "Nothing is held.\n".to_owned();
        }
        let mut text = String::new();
        for hold in &holds {
            let names = |set: &std::collections::BTreeSet<berth_model::StackName>| {
                set.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
            };
            text.push_str(&format!("{}\n", paint(BOLD, format!("Held in backend {}", hold.backend))));
            if !hold.removing.is_empty() {
                text.push_str(&format!("  would be removed:    {}\n", names(&hold.removing)));
            }
            if !hold.recreating.is_empty() {
                text.push_str(&format!("  would be made again: {}\n", names(&hold.recreating)));
            }
            text.push_str(&format!("  if that is meant:    berth confirm {}\n", hold.token));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}
