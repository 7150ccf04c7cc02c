//! `berth run`: the daemon. Its lock is taken before anything is asked of a server, and let go last.

use crate::app::App;
use crate::args::{LogFormat, Run};
use crate::live::{self, Live};
use crate::settings::{self, Needs};
use crate::world::{AnyStore, Door};
use crate::{logs, out};
use anyhow::{Context, Result};
use berth_ports::{Platform, Severity};
use berth_store::Sqlite;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
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
    let live = Live::new();
    let shown = live.is_shown() && !args.no_live && args.log == LogFormat::Text;
    if shown {
        logs::above(live.screen());
    } else {
        live.clear();
    }
    logs::start(args.log, if shown { "warn" } else { "info" });
    let store = Sqlite::open(&config.sqlite, out::now()).await?;
    let lock = store.lock().await?;
    let app = App::new(config, AnyStore::File(store.clone()), Door::open()?).await?;
    let listener = listen(&app).await?;
    let address = listener.local_addr().context("the status API's address")?;
    tracing::info!(
        owner = %app.config.owner, directory = %app.config.directory.display(), state = %app.config.sqlite.display(),
        %address, "berth {} runs", env!("CARGO_PKG_VERSION")
    );
    let stop = CancellationToken::new();
    signals(stop.clone())?;
    let serving = tokio::spawn(berth_api::serve(app.clone(), listener, stop.clone()));
    let feeding = tokio::spawn(app.clone().feed(stop.clone()));
    tokio::spawn(diagnose(app.clone()));
    tokio::spawn(tell_supervisor(app.clone()));
    if shown {
        live.line(&format!("berth runs; status on http://{address}, stop with Ctrl-C"));
    }
    let watching = tokio::spawn(watch(app.clone(), live, shown, stop.clone()));
    if args.exit_when_settled {
        let (app, stop) = (app.clone(), stop.clone());
        tokio::spawn(async move {
            app.settled().await;
            stop.cancel();
        });
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
    notify("STOPPING=1");
    for task in [watching, feeding] {
        // Each ends with the token; an error is its panic, told by the hook.
        let _ = task.await;
    }
    let _ = serving.await;
    store.close().await;
    drop(lock);
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

async fn listen(app: &App) -> Result<tokio::net::TcpListener> {
    let address = app.config.listen;
    tokio::net::TcpListener::bind(address).await.with_context(|| {
        format!(
            "the status API cannot listen on {address}; set another 'listen' in berth.yaml or use --listen"
        )
    })
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
async fn watch(app: Arc<App>, mut live: Live, shown: bool, stop: CancellationToken) {
    let mut events = app.engine.events();
    let mut tick = tokio::time::interval(live::EVERY);
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = tick.tick(), if shown => {
                live.look(app.engine.keys(), &app.engine.statuses());
            }
            event = events.recv() => match event {
                Ok(event) if shown => {
                    if event.warning {
                        let (key, reason) = (live::name(&event.key), event.reason.as_str());
                        let sign = out::paint(out::BAD, "!");
                        live.line(&format!("{sign} {key}: {reason}: {}", out::one_line(&event.message)));
                    }
                }
                Ok(event) if event.warning => {
                    tracing::warn!(key = %event.key, reason = event.reason.as_str(), "{}", event.message);
                }
                Ok(event) => {
                    tracing::info!(key = %event.key, reason = event.reason.as_str(), "{}", event.message);
                }
                Err(tokio::sync::broadcast::error::RecvError::Lagged(lost)) => {
                    tracing::warn!(lost, "events came faster than they could be logged; 'berth events' has them");
                }
                Err(tokio::sync::broadcast::error::RecvError::Closed) => break,
            }
        }
    }
    if shown {
        live.look(app.engine.keys(), &app.engine.statuses());
    }
}

/// Tells a supervisor that asked (`NOTIFY_SOCKET`) when the first look at everything is done.
async fn tell_supervisor(app: Arc<App>) {
    while berth_api::Fleet::ready(&*app).is_err() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    notify("READY=1");
}

fn notify(what: &str) {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};
    let Ok(path) = std::env::var("NOTIFY_SOCKET") else {
        return;
    };
    let address = match path.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(&path),
    };
    let sent = address.and_then(|to| UnixDatagram::unbound()?.send_to_addr(what.as_bytes(), &to));
    if let Err(error) = sent {
        tracing::debug!(%error, "the supervisor could not be told");
    }
}
