//! What a supervisor that asks is told (systemd: `Type=notify`, `WatchdogSec=`): ready, alive, stopping. One that does
//! not ask is told nothing.

use berth_api::Fleet;
use sd_notify::NotifyState;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How soon the first look is told after it is done.
const LOOK: Duration = Duration::from_millis(100);

/// Says that the first look at everything is done, and from then on that the loop turns, if the supervisor wants to
/// know. One that stands still says nothing, and is started again.
pub async fn tell(fleet: Arc<impl Fleet>) {
    let every = sd_notify::watchdog_enabled().map(|limit| limit / 3);
    let mut ready = false;
    let mut tick = tokio::time::interval(every.unwrap_or(LOOK).min(LOOK));
    let mut told = Instant::now();
    while !ready || every.is_some() {
        tick.tick().await;
        if !ready && fleet.ready().is_ok() {
            say(NotifyState::Ready);
            ready = true;
        }
        if every.is_some_and(|every| told.elapsed() >= every) && fleet.alive() {
            say(NotifyState::Watchdog);
            told = Instant::now();
        }
    }
}

/// Says that the end has begun.
pub fn stopping() {
    say(NotifyState::Stopping);
}

fn say(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::debug!(%error, "the supervisor could not be told");
    }
}
