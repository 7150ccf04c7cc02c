//! Daemons that take turns: one holds the lease and leads, the others stand by, and each serves what is known. An
//! engine lives as long as a lead, and is made anew from the store for the next.

use crate::app::App;
use crate::front::Front;
use crate::state::AnyStore;
use crate::world::Door;
use anyhow::Result;
use berth_model::config::Config;
use berth_store::{Held, Lease, LeaseTimes, Postgres, Renewed};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Between two times that old history is dropped.
const TIDY: Duration = Duration::from_secs(3600);

/// How long the lease is still asked for by one that is to stop: what it is given in vain has to run out first.
const LAST: Duration = Duration::from_secs(1);

/// How a lead ended.
enum End {
    /// It was asked to stop, and nothing is under way any more.
    Finished,
    /// It was asked to stop, and calls did not end in time.
    Cut,
    /// Another daemon may lead, or the state may not be what it was.
    Lost,
}

/// A way to the lease for this process, which is asked at this address.
#[must_use]
pub fn lease(store: &Postgres, address: &str) -> Lease {
    let who = format!("{}:{}", rustix::system::uname().nodename().to_string_lossy(), std::process::id());
    Lease::new(store.clone(), who, address, LeaseTimes::default())
}

/// Leads whenever the lease is free, until told to stop. `beside` begins what else a leader does, until the token ends.
pub async fn run(
    config: &Config,
    address: SocketAddr,
    store: Postgres,
    front: &Arc<Front>,
    beside: impl Fn(&Arc<App>, &CancellationToken),
    grace: Duration,
    stop: &CancellationToken,
) -> Result<()> {
    let mut lease = lease(&store, &address.to_string());
    let hearing = tokio::spawn(lease.listen());
    let mut told = None;
    while let Some(held) = stand_by(&mut lease, front, stop).await {
        tracing::info!(holder = lease.who(), epoch = held.epoch(), "this daemon leads now");
        let hints = lease.hints();
        let keeper = Keeper::start(lease, held.clone());
        let app = AnyStore::Database(store.clone());
        let app = match App::new(config.clone(), app, Door::open()?, Some(&held)).await {
            Ok(app) => app,
            Err(error) => {
                let text = format!("it cannot lead: {error:#}");
                if told.as_ref() != Some(&text) {
                    tracing::error!("{text}");
                }
                front.is_cut_off(text.clone());
                told = Some(text);
                lease = keeper.end().await;
                give_up(&mut lease, &held).await;
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(lease.times().lasts) => {}
                }
                continue;
            }
        };
        told = None;
        let term = stop.child_token();
        front.lead(&app, &held);
        let feeding = tokio::spawn(app.clone().feed(Some(hints), term.clone()));
        beside(&app, &term);
        let end = lead(&app, &store, &keeper, grace, &term).await;
        term.cancel();
        front.resign();
        // It ends with the token; an error is its panic, told by the hook.
        let _ = feeding.await;
        lease = keeper.end().await;
        match end {
            End::Finished => give_up(&mut lease, &held).await,
            // What is under way may still land: nobody else may begin before the lease has run out.
            End::Cut => held.end(),
            End::Lost => {
                front.lost();
                tracing::warn!(epoch = held.epoch(), "this daemon does not lead any more");
            }
        }
    }
    hearing.abort();
    Ok(())
}

/// Waits for the lead; `None` when told to stop.
async fn stand_by(lease: &mut Lease, front: &Front, stop: &CancellationToken) -> Option<Held> {
    let hints = lease.hints();
    let mut trouble = None;
    while !stop.is_cancelled() {
        let taken = tokio::select! {
            taken = lease.take() => taken,
            () = async { stop.cancelled().await; tokio::time::sleep(LAST).await } => return None,
        };
        match taken {
            Ok(Ok(held)) => return Some(held),
            Ok(Err(leader)) => {
                if trouble.take().is_some() {
                    tracing::info!("the database answers again");
                }
                front.stands_by(leader);
            }
            Err(error) => {
                let text = error.to_string();
                if trouble.as_ref() != Some(&text) {
                    tracing::warn!("nobody can lead from here: {text}");
                }
                front.is_cut_off(text.clone());
                trouble = Some(text);
            }
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = hints.lease.notified(), if trouble.is_none() => {}
            () = tokio::time::sleep(lease.times().every) => {}
        }
    }
    None
}

async fn lead(
    app: &App,
    store: &Postgres,
    keeper: &Keeper,
    grace: Duration,
    term: &CancellationToken,
) -> End {
    let cut = async {
        term.cancelled().await;
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        () = app.engine.run(term.clone()) => End::Finished,
        () = keeper.lost(app) => End::Lost,
        never = tidy(store) => match never {},
        () = cut => {
            tracing::warn!("calls in flight did not end within {grace:?}; what they did is looked for by the next leader");
            End::Cut
        }
    }
}

/// Drops old history now and then, and never ends.
async fn tidy(store: &Postgres) -> Infallible {
    loop {
        tokio::time::sleep(TIDY).await;
        if let Err(error) = store.tidy().await {
            tracing::warn!(%error, "history could not be trimmed");
        }
    }
}

/// Keeps the lead in a task of its own: whatever the engine computes, renewals do not wait for it.
pub struct Keeper {
    task: JoinHandle<Lease>,
    /// Whether the database answers.
    answers: watch::Receiver<bool>,
    lost: CancellationToken,
    end: CancellationToken,
}

impl Keeper {
    /// Renews it from now on.
    #[must_use]
    pub fn start(mut lease: Lease, held: Held) -> Self {
        let (told, answers) = watch::channel(true);
        let (lost, end) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn({
            let (lost, end) = (lost.clone(), end.clone());
            async move {
                keep(&mut lease, &held, &told, &end).await;
                lost.cancel();
                lease
            }
        });
        Self { task, answers, lost, end }
    }

    /// Returns when the lead is lost; until then shows with the metrics whether the database answers.
    pub async fn lost(&self, app: &App) {
        let mut answers = self.answers.clone();
        let shown = &app.engine.metrics().store_up;
        while self.lost.run_until_cancelled(answers.changed()).await.is_some_and(|more| more.is_ok()) {
            shown.set(i64::from(*answers.borrow_and_update()));
        }
    }

    /// Renews it no more.
    ///
    /// # Panics
    /// With the task.
    pub async fn end(self) -> Lease {
        self.end.cancel();
        match self.task.await {
            Ok(lease) => lease,
            Err(broken) => std::panic::resume_unwind(broken.into_panic()),
        }
    }
}

/// Renews the lead until it is lost, or it is told to end.
async fn keep(lease: &mut Lease, held: &Held, told: &watch::Sender<bool>, end: &CancellationToken) {
    let every = lease.times().every;
    let mut again = false;
    loop {
        let pause = if std::mem::take(&mut again) { Duration::ZERO } else { every.min(held.left()) };
        tokio::select! {
            () = end.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        // What takes longer is of no use: until then another may have taken it.
        match tokio::time::timeout(held.left(), lease.renew(held)).await {
            Ok(Ok(Renewed::Kept)) => {
                if !told.send_replace(true) {
                    tracing::info!("the lead is renewed again");
                }
            }
            Ok(Ok(Renewed::Lost)) | Err(_) => return,
            Ok(Ok(Renewed::Moved)) => {
                tracing::warn!(
                    "the database's server was started anew, or is another one: its state is read again"
                );
                return;
            }
            Ok(Err(error)) => {
                if told.send_replace(false) {
                    tracing::warn!(%error, "the lead cannot be renewed");
                    again = true;
                }
                if !held.may_call() {
                    return;
                }
            }
        }
    }
}

/// Hands the lead over, after which nothing may be under way.
pub async fn give_up(lease: &mut Lease, held: &Held) {
    if let Err(error) = lease.release(held).await {
        tracing::warn!(%error, "the lead could not be handed over; it runs out by itself");
    }
}
