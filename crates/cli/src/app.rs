//! The daemon's parts together: the engine, its accounts, and the manifests that flow into it. `run`, `apply`, `plan`
//! and the demo differ only in what they do with one [`App`].

use crate::settings::{self, Needs};
use crate::world::{self, AnyStore, Door, Platforms, Production};
use anyhow::{Context, Result};
use berth_api::Hold;
use berth_engine::Engine;
use berth_manifest::{Diagnostic, Input, Severity};
use berth_model::config::Config;
use berth_model::event::Event;
use berth_model::ids::Key;
use berth_model::record::StackStatus;
use berth_ports::{Answer, PortError, Query, Store, Wanted};
use berth_source::{Directory, Manifests, Reading};
use berth_store::{Memory, Sqlite};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

/// Everything that one process needs.
pub struct App {
    pub config: Config,
    pub engine: Arc<Engine<Production>>,
    pub platforms: Platforms,
    pub store: AnyStore,
    /// Why the manifests were not read yet; `None` once they were.
    unread: Mutex<Option<String>>,
}

impl App {
    /// Over this store.
    ///
    /// # Errors
    /// A part cannot be made.
    pub async fn new(config: Config, store: AnyStore, door: Door) -> Result<Arc<Self>> {
        let (platforms, late) = world::platforms(&config)?;
        let engine = world::engine(&config, platforms.clone(), &late, store.clone(), door).await?;
        let unread = Mutex::new(Some("the manifests were not read yet".to_owned()));
        Ok(Arc::new(Self { config, engine, platforms, store, unread }))
    }

    /// For looking only: the state as it stands, or an empty one where there is none yet.
    ///
    /// # Errors
    /// The settings or the state cannot be read.
    pub async fn to_look(given: Option<&Path>) -> Result<Arc<Self>> {
        let config = settings::load(given, Needs::All)?;
        let store = match Sqlite::open_read_only(&config.sqlite).await {
            Ok(store) => AnyStore::File(store),
            Err(berth_store::OpenError::Missing { .. }) => AnyStore::Memory(Memory::new(crate::out::now())),
            Err(error) => return Err(error.into()),
        };
        Self::new(config, store, Door::open()?).await
    }

    fn unread(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the manifests were read once.
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.unread().is_none()
    }

    /// Watches the directory and hands every reading to the engine, until cancelled.
    pub async fn feed(self: Arc<Self>, cancel: CancellationToken) {
        let (tx, mut rx) = watch::channel(Reading::default());
        let directory = Directory::new(&self.config.directory, self.config.intervals.rescan);
        let watching = tokio::spawn(directory.run(tx, cancel.clone()));
        let mut manifests = Manifests::new();
        let context = berth_manifest::Context::from(&self.config);
        let mut told: BTreeSet<String> = BTreeSet::new();
        while rx.changed().await.is_ok() {
            let reading = rx.borrow_and_update().clone();
            if let Reading::Unreadable(why) = &reading {
                let mut unread = self.unread();
                if unread.is_some() {
                    *unread = Some(format!("the manifests cannot be read: {why}"));
                }
            }
            let (wanted, diagnostics) = manifests.take(&reading, &context);
            let now: BTreeSet<String> = diagnostics.iter().map(|d| tell(d, &told)).collect();
            for mended in told.difference(&now) {
                tracing::info!("mended: {mended}");
            }
            told = now;
            self.engine.set_wanted(wanted);
            if matches!(reading, Reading::Files(_)) {
                *self.unread() = None;
            }
        }
        // It ends with its channel or the token; an error is its panic, told by the hook.
        let _ = watching.await;
    }

    /// Whether all that can be done without a person is done.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.has_read() && self.engine.unseen().is_empty() && self.engine.is_idle() && self.engine.at_rest()
    }

    /// Waits until [`App::is_settled`].
    pub async fn settled(&self) {
        while !self.is_settled() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

/// Logs what was not told yet, and gives its line.
fn tell(diagnostic: &Diagnostic, told: &BTreeSet<String>) -> String {
    let line = diagnostic.to_string();
    if !told.contains(&line) {
        match diagnostic.severity {
            Severity::Error => tracing::error!("{line}"),
            Severity::Warning => tracing::warn!("{line}"),
        }
    }
    line
}

/// Files and directories of manifests, as they are now. Names are as the paths were given.
///
/// # Errors
/// A path that cannot be read.
pub fn inputs(paths: &[PathBuf]) -> Result<Vec<Input>> {
    let mut all = Vec::new();
    for path in paths {
        if path.is_dir() {
            let files = berth_source::scan(path)
                .with_context(|| format!("the directory {} cannot be read", path.display()))?;
            for mut input in berth_source::inputs(&files) {
                input.file = path.join(&*input.file).display().to_string().into();
                all.push(input);
            }
        } else {
            let bytes =
                std::fs::read(path).with_context(|| format!("the file {} cannot be read", path.display()))?;
            all.push(Input::new(path.display().to_string(), bytes));
        }
    }
    Ok(all)
}

/// One reading of these manifests as the daemon would take it.
#[must_use]
pub fn wanted(inputs: &[Input], config: &Config) -> (Wanted, Vec<Diagnostic>) {
    let files: Vec<berth_source::File> = inputs
        .iter()
        .map(|i| berth_source::File {
            name: i.file.clone(),
            bytes: i.bytes.clone(),
            oversize: i.bytes.len() > berth_source::LARGEST,
        })
        .collect();
    let context = berth_manifest::Context::from(config);
    let (wanted, told) = Manifests::new().take(&Reading::Files(files.into()), &context);
    (Arc::unwrap_or_clone(wanted), told)
}

impl berth_api::Fleet for App {
    fn statuses(&self) -> Vec<StackStatus> {
        self.engine.statuses()
    }
    fn status(&self, key: &Key) -> Option<StackStatus> {
        self.engine.status_of(key)
    }
    async fn events_after(&self, after: u64, limit: u32) -> Result<Vec<Event>, PortError> {
        match self.store.query(Query::Events { after, key: None, limit }).await? {
            Answer::Events(events) => Ok(events),
            _ => Ok(Vec::new()),
        }
    }
    fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.engine.events()
    }
    fn ready(&self) -> Result<(), Vec<String>> {
        let mut why: Vec<String> = self.unread().iter().cloned().collect();
        why.extend(self.engine.unseen().into_iter().map(|(backend, trouble)| match trouble {
            Some(trouble) => format!("backend {backend}: {trouble}"),
            None => format!("backend {backend} was not looked at yet"),
        }));
        if why.is_empty() { Ok(()) } else { Err(why) }
    }
    fn metrics(&self) -> String {
        let mut text = String::new();
        let families = self.engine.metrics().registry.gather();
        if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&families, &mut text) {
            tracing::warn!(%error, "the metrics could not be written");
        }
        text
    }
    fn holds(&self) -> Vec<Hold> {
        self.engine
            .holds()
            .into_iter()
            .map(|h| Hold {
                backend: h.backend.to_string(),
                token: h.token,
                removing: h.removing,
                recreating: h.recreating,
            })
            .collect()
    }
}
