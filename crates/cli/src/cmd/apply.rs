//! `berth apply --once`: the daemon's own loop until nothing is left to do, then its verdict. It holds the same lock, or
//! the same lease.

use crate::app::App;
use crate::args::Apply;
use crate::lead::{self, Keeper};
use crate::live::{self, Live, Mark};
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use crate::world::Door;
use crate::{logs, out};
use anyhow::{Context, Result};
use berth_model::config::Config;
use berth_store::{Held, Hints, Lease, Postgres};
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
    let code = match store.clone() {
        AnyStore::Database(database) => in_turn(config, database, &mut live, args.timeout).await?,
        AnyStore::File(file) => {
            let lock = file
                .lock()
                .await
                .context("'apply' works without a daemon; with one, use 'berth wait' or 'berth reconcile'")?;
            let code = alone(config, store.clone(), &mut live, args.timeout).await?;
            drop(lock);
            code
        }
        memory @ AnyStore::Memory(_) => alone(config, memory, &mut live, args.timeout).await?,
    };
    store.close().await;
    Ok(code)
}

async fn alone(config: Config, store: AnyStore, live: &mut Live, timeout: Duration) -> Result<ExitCode> {
    let app = App::new(config, store, Door::open()?, None).await?;
    Ok(once(&app, None, std::future::pending(), live, timeout).await)
}

/// Takes the lead for as long as it takes.
async fn in_turn(config: Config, store: Postgres, live: &mut Live, timeout: Duration) -> Result<ExitCode> {
    let mut lease = lead::lease(&store, "");
    let Some(held) = take(&mut lease).await? else {
        return Ok(ExitCode::FAILURE);
    };
    let app = App::new(config, AnyStore::Database(store), Door::open()?, Some(&held)).await;
    let app = match app {
        Ok(app) => app,
        Err(error) => {
            lead::give_up(&mut lease, &held).await;
            return Err(error);
        }
    };
    let hearing = tokio::spawn(lease.listen());
    let hints = lease.hints();
    let keeper = Keeper::start(lease, held.clone());
    let code = once(&app, Some(hints), keeper.lost(&app), live, timeout).await;
    hearing.abort();
    lease = keeper.end().await;
    lead::give_up(&mut lease, &held).await;
    Ok(code)
}

/// The lead; `None`, and told, where another daemon has it.
async fn take(lease: &mut Lease) -> Result<Option<Held>> {
    let until = Instant::now() + 2 * lease.times().lasts;
    loop {
        let leader = match lease.take().await? {
            Ok(held) => return Ok(Some(held)),
            Err(leader) => leader,
        };
        if let Some(holder) = leader.holder {
            let address = leader.address.filter(|a| !a.is_empty()).map(|a| format!(" (asked at {a})"));
            anstream::eprintln!(
                "{}: {holder} leads{} and does the work; use 'berth wait' or 'berth reconcile'",
                out::paint(out::BAD, "not applied"),
                address.unwrap_or_default()
            );
            return Ok(None);
        }
        // Nobody leads, and one who did may not know yet that the server was started anew.
        if Instant::now() > until {
            anyhow::bail!("the lead does not come free; see 'berth doctor'");
        }
        tokio::time::sleep(lease.times().every / 4).await;
    }
}

/// Reconciles until nothing is left to do, or `lost` ends.
async fn once(
    app: &Arc<App>,
    hints: Option<Arc<Hints>>,
    lost: impl Future<Output = ()>,
    live: &mut Live,
    timeout: Duration,
) -> ExitCode {
    let stop = CancellationToken::new();
    let feeding = tokio::spawn(app.clone().feed(hints, stop.clone()));
    let began = Instant::now();
    let ended = async {
        let settled = until_settled(app, live, timeout).await;
        stop.cancel();
        settled
    };
    let working = async {
        tokio::select! {
            () = app.engine.run(stop.clone()) => {}
            () = async { stop.cancelled().await; tokio::time::sleep(Duration::from_secs(25)).await } => {}
        }
    };
    let settled = tokio::select! {
        (settled, ()) = futures::future::join(ended, working) => Some(settled),
        () = lost => None,
    };
    stop.cancel();
    // It ends with the token; an error is its panic, told by the hook.
    let _ = feeding.await;
    live.clear();
    match settled {
        Some(settled) => verdict(app, settled, began.elapsed()),
        None => {
            let lead = out::paint(out::BAD, "not applied");
            anstream::eprintln!("{lead}: the lead was lost on the way; the daemon that has it goes on");
            ExitCode::FAILURE
        }
    }
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
