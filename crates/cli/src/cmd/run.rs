//! `berth run`: the daemon. Its lock is taken before anything is asked of a server, and let go last.

use crate::app::App;
use crate::args::{LogFormat, Run};
use crate::front::Front;
use crate::live::{self, Live};
use crate::settings::{self, Needs};
use crate::state::{self, AnyStore};
use crate::world::{self, Door};
use crate::{lead, logs, out, supervisor};
use anyhow::{Context, Result};
use berth_model::config::{Config, StatePlace};
use berth_ports::{Platform, Severity};
use berth_store::{Postgres, Sqlite};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs until told to stop.
///
/// # Errors
/// It cannot start; what to do is said.
pub async fn run(given: Option<&Path>, args: Run) -> Result<ExitCode> {
    let mut config = settings::load(given, Needs::All)?;
    if let Some(listen) = args.listen {
        config.listen = listen;
    }
    let alone = matches!(config.state, StatePlace::Sqlite(_));
    let live = Live::new();
    let shown = alone && live.is_shown() && !args.no_live && args.log == LogFormat::Text;
    if shown {
        logs::above(live.screen());
    } else {
        live.clear();
    }
    logs::start(args.log, if shown { "warn" } else { "info" });
    let stop = CancellationToken::new();
    match &config.state {
        // A database may be away now, and come: nothing is asked of it yet.
        StatePlace::Postgres(url) => {
            let store = Postgres::at(url.value.expose())?;
            in_turns(config, store, &args, stop).await?;
        }
        StatePlace::Sqlite(path) => {
            let store = Sqlite::open(path, out::now()).await?;
            self::alone(config, store, &args, shown.then_some(live), stop).await?;
        }
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

fn told(config: &Config, address: SocketAddr) {
    let sources = config.directory.iter().map(|d| d.display().to_string());
    let sources: Vec<_> = sources.chain(config.rows.then(|| "rows".to_owned())).collect();
    tracing::info!(
        owner = %config.owner, manifests = sources.join(" and "), state = state::place(config), %address,
        "berth {} runs", env!("CARGO_PKG_VERSION")
    );
    if let Some((stack, app)) = &config.itself {
        tracing::info!("it is app {app} of stack {stack}, and deploys itself last");
    } else if let Some(service) = world::own_service() {
        tracing::info!("the app of service {service} is itself, and is deployed last");
    }
}

/// The only daemon of its state file.
async fn alone(
    config: Config,
    store: Sqlite,
    args: &Run,
    mut live: Option<Live>,
    stop: CancellationToken,
) -> Result<()> {
    let lock = store.lock().await?;
    let app = App::new(config, AnyStore::File(store.clone()), Door::open()?, None).await?;
    let listener = listen(&app.config)?;
    let address = listener.local_addr().context("the API's address")?;
    told(&app.config, address);
    signals(stop.clone())?;
    let front = Front::alone(app.clone());
    let serving = tokio::spawn(serve(front.clone(), app.config.clone(), listener, stop.clone()));
    let feeding = tokio::spawn(app.clone().feed(None, stop.clone()));
    tokio::spawn(diagnose(app.clone()));
    tokio::spawn(supervisor::tell(front));
    if let Some(live) = &mut live {
        live.line(&format!("berth runs; status on http://{address}, stop with Ctrl-C"));
    }
    let watching = tokio::spawn(watch(app.clone(), live, stop.clone()));
    if args.exit_when_settled {
        tokio::spawn(end_when_settled(app.clone(), stop.clone()));
    }
    let finished = tokio::select! {
        () = app.engine.run(stop.clone()) => true,
        () = async { stop.cancelled().await; tokio::time::sleep(args.grace).await } => false,
    };
    if !finished {
        tracing::warn!(
            "calls in flight did not end within {:?}; what they did is looked for at the next start",
            args.grace
        );
    }
    supervisor::stopping();
    for task in [watching, feeding] {
        // Each ends with the token; an error is its panic, told by the hook.
        let _ = task.await;
    }
    let _ = serving.await;
    store.close().await;
    drop(lock);
    Ok(())
}

/// One of several daemons on one database.
async fn in_turns(config: Config, store: Postgres, args: &Run, stop: CancellationToken) -> Result<()> {
    let front = Arc::new(Front::new(config.clone(), AnyStore::Database(store.clone())));
    let listener = listen(&config)?;
    let address = listener.local_addr().context("the API's address")?;
    told(&config, address);
    signals(stop.clone())?;
    let serving = tokio::spawn(serve(front.clone(), config.clone(), listener, stop.clone()));
    let relaying = tokio::spawn({
        let (front, stop) = (front.clone(), stop.clone());
        async move { front.relay(stop).await }
    });
    tokio::spawn(supervisor::tell(front.clone()));
    let beside = |app: &Arc<App>, term: &CancellationToken| {
        tokio::spawn(diagnose(app.clone()));
        tokio::spawn(watch(app.clone(), None, term.clone()));
        if args.exit_when_settled {
            tokio::spawn(end_when_settled(app.clone(), stop.clone()));
        }
    };
    lead::run(&config, address, store.clone(), &front, beside, args.grace, &stop).await?;
    supervisor::stopping();
    // It ends with the token; an error is its panic, told by the hook.
    let _ = relaying.await;
    let _ = serving.await;
    store.close().await;
    Ok(())
}

async fn end_when_settled(app: Arc<App>, stop: CancellationToken) {
    app.settled().await;
    stop.cancel();
}

fn listen(config: &Config) -> Result<TcpListener> {
    let address = config.listen;
    let bound = TcpListener::bind(address).and_then(|l| l.set_nonblocking(true).map(|()| l));
    bound.with_context(|| {
        format!("the API cannot listen on {address}; set another 'listen' in berth.yaml or use --listen")
    })
}

/// Serves until told to stop. Without the API the daemon still does its work, so an error ends the API only.
async fn serve(front: Arc<Front>, config: Config, listener: TcpListener, stop: CancellationToken) {
    let (options, tls) = crate::front::served(&config);
    if let Err(error) = berth_api::serve(front, listener, &options, tls, stop).await {
        tracing::error!("the API is not served: {error}");
    }
}

/// The first signal asks, the second one does not.
fn signals(stop: CancellationToken) -> Result<()> {
    let mut term = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut int = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
            if stop.is_cancelled() {
                std::process::exit(130);
            }
            tracing::info!("asked to stop; calls in flight are finished (once more to stop at once)");
            stop.cancel();
        }
    });
    Ok(())
}

/// Says at the start what keeps an account from being used. The other accounts run on.
async fn diagnose(app: Arc<App>) {
    for (backend, platform) in &app.platforms {
        match platform.diagnose().await {
            Ok(diagnosis) => {
                for finding in diagnosis.findings {
                    match finding.severity {
                        Severity::Error => tracing::error!(%backend, "{}", finding.text),
                        Severity::Warning => tracing::warn!(%backend, "{}", finding.text),
                        Severity::Ok => tracing::info!(%backend, "{}", finding.text),
                    }
                }
            }
            Err(error) => {
                tracing::error!(%backend, %error, "the account cannot be asked who we are; see 'berth doctor'")
            }
        }
    }
}

/// Shows or logs what moves, until the end.
async fn watch(app: Arc<App>, mut live: Option<Live>, stop: CancellationToken) {
    let mut events = app.engine.events();
    let mut tick = tokio::time::interval(live::EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick() => {
                if let Some(live) = &mut live {
                    live.look(app.engine.keys(), &app.engine.statuses());
                }
            }
            event = events.recv() => match event {
                Ok(event) => match &mut live {
                    Some(live) if event.warning => {
                        let (key, reason) = (live::name(&event.key), event.reason.as_str());
                        let sign = out::paint(out::BAD, "!");
                        live.line(&format!("{sign} {key}: {reason}: {}", out::one_line(&event.message)));
                    }
                    Some(_) => {}
                    None if event.warning => {
                        tracing::warn!(key = %event.key, reason = event.reason.as_str(), "{}", event.message);
                    }
                    None => {
                        tracing::info!(key = %event.key, reason = event.reason.as_str(), "{}", event.message);
                    }
                },
                Err(tokio::sync::broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "events came faster than they could be logged; 'berth events' has them");
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
            }
        }
    }
    if let Some(live) = &mut live {
        live.look(app.engine.keys(), &app.engine.statuses());
    }
}
