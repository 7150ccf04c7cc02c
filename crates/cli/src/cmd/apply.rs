//! `berth apply --once`: the daemon's own loop until nothing is left to do, then its verdict. It holds the same lock.

use crate::app::App;
use crate::args::Apply;
use crate::live::{self, Live, Mark};
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use crate::world::Door;
use crate::{logs, out};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long an account may not answer before there is no point in waiting for it.
const UNREACHABLE: Duration = Duration::from_secs(30);

/// Applies once.
///
/// # Errors
/// It cannot start.
pub async fn apply(given: Option<&Path>, args: Apply) -> Result<ExitCode> {
    let config = settings::load(given, Needs::All)?;
    let mut live = Live::new();
    logs::above(live.screen());
    logs::start(args.log, "warn");
    let store = AnyStore::open(&config).await?;
    let lock = store
        .file()?
        .lock()
        .await
        .context("'apply' works without a daemon; with one, use 'berth wait' or 'berth reconcile'")?;
    let app = App::new(config, store.clone(), Door::open()?, None).await?;
    let stop = CancellationToken::new();
    let feeding = tokio::spawn(app.clone().feed(None, stop.clone()));
    let began = Instant::now();
    let settled = {
        let stop = stop.clone();
        let engine = app.engine.run(stop.clone());
        let ended = async {
            let settled = until_settled(&app, &mut live, args.timeout).await;
            stop.cancel();
            settled
        };
        let (settled, ()) = futures::join!(ended, async {
            tokio::select! {
                () = engine => {}
                () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(25)).await } => {}
            }
        });
        settled
    };
    // It ends with the token; an error is its panic, told by the hook.
    let _ = feeding.await;
    live.clear();
    let code = verdict(&app, settled, began.elapsed());
    store.close().await;
    drop(lock);
    Ok(code)
}

/// Shows what moves; false where time ran out or a person broke it off.
async fn until_settled(app: &Arc<App>, live: &mut Live, timeout: Duration) -> bool {
    let began = tokio::time::Instant::now();
    let deadline = began + timeout;
    loop {
        for line in live.look(app.engine.keys(), &app.engine.statuses()) {
            live.line(&line);
        }
        if app.is_settled() {
            return true;
        }
        let unseen = app.engine.unseen();
        if began.elapsed() > UNREACHABLE && unseen.iter().any(|(_, trouble)| trouble.is_some()) {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep_until(deadline) => return false,
            () = crate::interrupted() => return false,
            () = tokio::time::sleep(live::EVERY) => {}
        }
    }
}

fn verdict(app: &App, settled: bool, took: Duration) -> ExitCode {
    let keys = app.engine.keys();
    let unready: Vec<_> = keys
        .iter()
        .map(|k| (k, live::glance(app.engine.status_of(k).as_ref())))
        .filter(|(_, g)| g.mark != Mark::Good)
        .collect();
    let took = out::seconds(took);
    if !app.has_read() {
        let why = app.ready().err().unwrap_or_default().join("; ");
        anstream::eprintln!("{}: {why}", out::paint(out::BAD, "not applied"));
        return ExitCode::FAILURE;
    }
    if settled && unready.is_empty() {
        anstream::eprintln!("{} all {} are Ready, after {took}", Mark::Good.sign(), keys.len());
        return ExitCode::SUCCESS;
    }
    let lead = if settled { "not Ready" } else { "not Ready when it ended" };
    anstream::eprintln!("{} {} of {} {lead}, after {took}:", Mark::Bad.sign(), unready.len(), keys.len());
    for (key, seen) in unready {
        anstream::eprintln!("  {} {}: {}: {}", seen.mark.sign(), live::name(key), seen.reason, seen.message);
    }
    for (backend, trouble) in app.engine.unseen() {
        let trouble = trouble.unwrap_or_else(|| "it was not looked at".to_owned());
        anstream::eprintln!("  {} backend {backend}: {trouble}", Mark::Bad.sign());
    }
    ExitCode::FAILURE
}
