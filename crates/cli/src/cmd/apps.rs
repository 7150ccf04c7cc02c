//! `berth logs`, `berth restart`, `berth scale`: what the API does for one app, by the same code.

use super::ask;
use crate::args::{Logs, Restart, Scale};
use crate::out;
use crate::portal::{self, Portal};
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use anyhow::{Context, Result, bail};
use berth_model::event::Request;
use berth_model::ids::{AppName, Key, StackName};
use berth_ports::{Expect, Refused, Snapshot};
use std::path::Path;
use std::process::ExitCode;

/// A stack that is known, and one of its apps: the named one, else its only one.
fn app_of(name: &str, app: Option<&str>, snapshot: &Snapshot) -> Result<(StackName, Vec<AppName>)> {
    let Key::Stack(stack) = super::known(name, snapshot)? else {
        bail!("{name} has no apps: it is a project")
    };
    let key = Key::Stack(stack.clone());
    let known: Vec<AppName> =
        snapshot.record(&key).map(|r| r.apps.keys().cloned().collect()).unwrap_or_default();
    let Some(app) = app else {
        return Ok((stack, known));
    };
    let app = AppName::new(app).with_context(|| format!("'{app}' is not an app's name"))?;
    if !known.contains(&app) {
        let names: Vec<_> = known.iter().map(ToString::to_string).collect();
        bail!("{key} has no app '{app}'; it has: {}", names.join(", "));
    }
    Ok((stack, vec![app]))
}

/// # Errors
/// The state cannot be written, or there is no such app.
pub async fn restart(given: Option<&Path>, args: Restart) -> Result<ExitCode> {
    let (config, store, snapshot) = ask::open(given).await?;
    let (stack, apps) = app_of(&args.name, args.app.as_deref(), &snapshot)?;
    let key = Key::Stack(stack);
    let app = args.app.is_some().then(|| apps.into_iter().next()).flatten();
    let what = app.as_ref().map_or_else(|| "its apps".to_owned(), |a| format!("app {a}"));
    ask::request(&config, &store, &snapshot, vec![Request::Restart { key: key.clone(), app }]).await?;
    anstream::eprintln!(
        "{key}: asked to restart {what}; 'berth wait {} --for ready' waits for it",
        key.name()
    );
    Ok(ExitCode::SUCCESS)
}

/// # Errors
/// No row asks for the stack, or the database cannot be written.
pub async fn scale(given: Option<&Path>, args: Scale) -> Result<ExitCode> {
    let (config, store, snapshot) = ask::open(given).await?;
    let (stack, apps) = app_of(&args.name, Some(&args.app), &snapshot)?;
    let key = Key::Stack(stack.clone());
    let portal = Portal::new(config.clone(), store);
    let scaled = async {
        portal::not_from_file(snapshot.status(&key))?;
        let rows = portal.rows()?;
        rows.scale_stack(&super::who(), &stack, None, &apps[0], args.replicas, Expect::Anything).await
    };
    match scaled.await {
        Ok(generation) => {
            super::note_without_daemon(&config).await;
            anstream::eprintln!(
                "{key}: {} replicas of {} are asked for, as generation {generation}",
                args.replicas,
                args.app
            );
            Ok(ExitCode::SUCCESS)
        }
        Err(Refused::FromFile(at)) => {
            bail!("{key} stands in {at}: write 'replicas: {}' there", args.replicas)
        }
        Err(Refused::NoRows | Refused::NotFound) => {
            bail!("no row asks for {key}; where its manifest stands, 'replicas:' is what to change")
        }
        Err(refused) => Err(anyhow::anyhow!(said(refused))),
    }
}

/// # Errors
/// There is no such app, or its backend does not answer.
pub async fn logs(given: Option<&Path>, args: Logs) -> Result<ExitCode> {
    let config = settings::load(given, Needs::All)?;
    let Some(store) = AnyStore::open_to_read(&config).await? else {
        bail!("nothing is known yet: there is no state in {}", crate::state::place(&config));
    };
    let snapshot = berth_ports::Store::snapshot(&store).await?;
    let (stack, apps) = app_of(&args.name, args.app.as_deref(), &snapshot)?;
    let [app] = &apps[..] else {
        let names: Vec<_> = apps.iter().map(ToString::to_string).collect();
        bail!("{stack} has several apps: berth logs {stack} {}", names.join("|"));
    };
    let text = Portal::new(config, store).output(&stack, app, args.last, args.since).await;
    match text {
        Ok(text) if text.is_empty() => anstream::eprintln!("nothing was written"),
        Ok(text) => out::say(&text)?,
        Err(refused) => bail!("{}", said(refused)),
    }
    Ok(ExitCode::SUCCESS)
}

fn said(refused: Refused) -> String {
    match refused {
        Refused::Port(error) => error.to_string(),
        Refused::BeingRemoved => "it is being removed".to_owned(),
        Refused::Faulty(faults) => faults.into_iter().map(|f| f.message).collect::<Vec<_>>().join("; "),
        other => format!("{other:?}"),
    }
}
