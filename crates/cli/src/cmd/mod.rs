//! The commands, one file each or a few that belong together, and what they share.

pub mod apply;
pub mod apps;
pub mod ask;
pub mod dns;
pub mod doctor;
pub mod explain;
pub mod history;
pub mod init;
pub mod plan;
pub mod run;
pub mod secret;
pub mod serve;
pub mod show;
pub mod token;
pub mod validate;
pub mod verify;
pub mod wait;

use crate::settings::{self, Needs};
use crate::state::{self, AnyStore};
use anyhow::{Context, Result, bail};
use berth_model::access::Audit;
use berth_model::config::Config;
use berth_model::ids::{Key, StackName};
use berth_ports::Snapshot;
use std::path::Path;
use std::time::Duration;

/// The settings and the state, for looking at. `None`: there is no state yet.
///
/// # Errors
/// Either cannot be read.
pub async fn to_read(given: Option<&Path>) -> Result<(Config, Option<AnyStore>)> {
    let config = settings::load(given, Needs::Places)?;
    let store = AnyStore::open_to_read(&config).await?;
    Ok((config, store))
}

/// As [`to_read`], where nothing can be shown without a state.
///
/// # Errors
/// As [`to_read`], and where there is none.
pub async fn state(given: Option<&Path>) -> Result<(Config, AnyStore)> {
    let (config, store) = to_read(given).await?;
    let Some(store) = store else {
        bail!(
            "nothing is known yet: there is no state in {}; run 'berth run' or 'berth apply --once' first",
            state::place(&config)
        );
    };
    Ok((config, store))
}

/// `NAME`, `stack/NAME` or `project/NAME`. A bare name is a stack's, unless only a project has it.
///
/// # Errors
/// It is no name.
pub fn key(text: &str, known: &dyn Fn(&Key) -> bool) -> Result<Key> {
    if text.contains('/') {
        return Key::parse(text)
            .with_context(|| format!("'{text}' is not a name; write NAME, stack/NAME or project/NAME"));
    }
    let project = Key::Project(text.into());
    match StackName::new(text) {
        Ok(name) => {
            let stack = Key::Stack(name);
            Ok(if !known(&stack) && known(&project) { project } else { stack })
        }
        Err(_) if known(&project) => Ok(project),
        Err(why) => bail!("'{text}' is not a stack's name: {why}"),
    }
}

/// Whether the state knows a key.
#[must_use]
pub fn knows(snapshot: &Snapshot, key: &Key) -> bool {
    snapshot.records.iter().any(|(k, _)| k == key) || snapshot.statuses.iter().any(|s| s.key == *key)
}

/// The key of a text, which the state must know.
///
/// # Errors
/// It is no name, or nothing has it; then what is near is named.
pub fn known(text: &str, snapshot: &Snapshot) -> Result<Key> {
    let key = key(text, &|k| knows(snapshot, k))?;
    if knows(snapshot, &key) {
        return Ok(key);
    }
    let near = snapshot.records.iter().map(|(k, _)| k).find(|k| {
        let (a, b) = (k.name(), key.name());
        a.contains(b) || b.contains(a)
    });
    let hint = near.map(|k| format!(" (did you mean {k}?)")).unwrap_or_default();
    bail!("nothing is known of {key}{hint}; 'berth get' lists what there is")
}

/// Who runs this command, as it stands in the audit.
#[must_use]
pub fn who() -> String {
    let named = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok());
    let user = named.filter(|n| !n.trim().is_empty());
    format!("cli {}", user.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw())))
}

/// The trace of something that a command does.
#[must_use]
pub fn trace(what: &str, key: Option<&Key>, snapshot: &Snapshot, outcome: &str) -> Audit {
    let status = key.and_then(|k| snapshot.status(k));
    Audit {
        at: crate::out::now(),
        who: who(),
        what: what.to_owned(),
        key: key.map(ToString::to_string),
        tenant: status.and_then(|s| s.tenant.clone()),
        generation: status.map(|s| s.generation),
        outcome: outcome.to_owned(),
    }
}

/// Says so where no daemon seems to be there to carry out what was asked.
pub async fn note_without_daemon(config: &Config) {
    let connect = tokio::net::TcpStream::connect(config.listen);
    let answered = tokio::time::timeout(Duration::from_millis(300), connect).await;
    if !matches!(answered, Ok(Ok(_))) {
        anstream::eprintln!(
            "note: no daemon answers at {}; this is carried out when one runs ('berth run')",
            config.listen
        );
    }
}
