//! The daemon's parts together: the engine, its accounts, and the manifests that flow into it. `run`, `apply`, `plan`
//! and the demo differ only in what they do with one [`App`].

use crate::rows::Rows;
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use crate::world::{self, Door, Platforms, Production};
use anyhow::{Context, Result};
use berth_api::Hold;
use berth_engine::Engine;
use berth_manifest::{Diagnostic, Input, Severity};
use berth_model::config::Config;
use berth_model::ids::Key;
use berth_ports::Wanted;
use berth_source::{Directory, Manifests, Reading};
use berth_store::{Held, Hints, Memory};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tokio::sync::watch;
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
    /// Over this store, calling out only while the lead is held, where there is one to hold.
    ///
    /// # Errors
    /// A part cannot be made.
    pub async fn new(config: Config, store: AnyStore, door: Door, held: Option<&Held>) -> Result<Arc<Self>> {
        let (platforms, late) = world::platforms(&config, held)?;
        let dns = crate::dns::zones(&config, held, &late)?;
        let engine = world::engine(&config, platforms.clone(), &late, store.clone(), door, dns).await?;
        let unread = Mutex::new(Some("the manifests were not read yet".to_owned()));
        Ok(Arc::new(Self { config, engine, platforms, store, unread }))
    }

    /// For looking only: the state as it stands, or an empty one where there is none yet.
    ///
    /// # Errors
    /// The settings or the state cannot be read.
    pub async fn to_look(given: Option<&Path>) -> Result<Arc<Self>> {
        let config = settings::load(given, Needs::All)?;
        let store = AnyStore::open_to_read(&config).await?;
        let store = store.unwrap_or_else(|| AnyStore::Memory(Memory::new(crate::out::now())));
        Self::new(config, store, Door::open()?, None).await
    }

    /// All manifests of the sources, as they are now and as the daemon knows them.
    ///
    /// # Errors
    /// A source cannot be read.
    pub async fn inputs(&self) -> Result<Vec<Input>> {
        sources(&self.config, Some(&self.store)).await
    }

    fn unread(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.unread.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Whether the manifests were read once.
    #[must_use]
    pub fn has_read(&self) -> bool {
        self.unread().is_none()
    }

    /// Watches the sources and hands every reading to the engine, until cancelled.
    pub async fn feed(self: Arc<Self>, hints: Option<Arc<Hints>>, cancel: CancellationToken) {
        let (tx, mut files) = watch::channel(Reading::default());
        let (watching, _open) = match &self.config.directory {
            Some(path) => {
                let directory = Directory::new(path, self.config.intervals.rescan);
                (Some(tokio::spawn(directory.run(tx, cancel.clone()))), None)
            }
            // What is not there holds nothing, and never changes.
            None => {
                tx.send_replace(Reading::Files(Arc::default()));
                (None, Some(tx))
            }
        };
        let mut rows = match (&self.store, hints) {
            (AnyStore::Database(store), Some(hints)) if self.config.rows => {
                Some(Rows::new(store.clone(), hints))
            }
            _ => None,
        };
        let mut manifests = Manifests::new();
        let context = berth_manifest::Context::from(&self.config);
        let mut told: BTreeSet<String> = BTreeSet::new();
        loop {
            let changed = async {
                match &mut rows {
                    Some(rows) => rows.changed(&self.engine).await,
                    None => std::future::pending().await,
                }
            };
            let mut only_rows = false;
            tokio::select! {
                () = cancel.cancelled() => break,
                more = files.changed() => if more.is_err() { break },
                () = changed => only_rows = true,
            }
            if only_rows
                && !files.has_changed().unwrap_or(true)
                && let Some(changed) = rows.as_ref().and_then(Rows::only_changed)
                && let Some(changed) = manifests.change(changed, &context)
            {
                self.engine.edit_wanted(&changed);
                continue;
            }
            let mut readings = vec![files.borrow_and_update().clone()];
            readings.extend(rows.as_ref().map(Rows::reading));
            for reading in &readings {
                if let Reading::Unreadable(why) = reading {
                    let mut unread = self.unread();
                    if unread.is_some() {
                        *unread = Some(format!("the manifests cannot be read: {why}"));
                    }
                }
            }
            let held = |key: &Key| Some(self.engine.record(key)?.origin?.file);
            let (wanted, diagnostics) = manifests.take(&readings, &context, &held);
            let now: BTreeSet<String> = diagnostics.iter().map(|d| tell(d, &told)).collect();
            for mended in told.difference(&now) {
                tracing::info!("mended: {mended}");
            }
            told = now;
            self.engine.set_wanted(wanted);
            if readings.iter().all(|r| !matches!(r, Reading::Unreadable(_))) {
                *self.unread() = None;
            }
        }
        if let Some(watching) = watching {
            // It ends with its channel or the token; an error is its panic, told by the hook.
            let _ = watching.await;
        }
    }

    /// `Err` says why it cannot be relied on yet.
    ///
    /// # Errors
    /// Each reason in words.
    pub fn ready(&self) -> Result<(), Vec<String>> {
        let mut why: Vec<String> = self.unread().iter().cloned().collect();
        why.extend(self.engine.store_trouble().map(|trouble| format!("the state: {trouble}")));
        why.extend(self.engine.unseen().into_iter().map(|(backend, trouble)| match trouble {
            Some(trouble) => format!("backend {backend}: {trouble}"),
            None => format!("backend {backend} was not looked at yet"),
        }));
        if why.is_empty() { Ok(()) } else { Err(why) }
    }

    /// What guards hold.
    #[must_use]
    pub fn holds(&self) -> Vec<Hold> {
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

/// The manifests of every source of the settings, as they are now and named as the daemon names them.
///
/// # Errors
/// A source cannot be read.
pub async fn sources(config: &Config, store: Option<&AnyStore>) -> Result<Vec<Input>> {
    let mut all = Vec::new();
    if let Some(path) = &config.directory {
        let files = berth_source::scan(path)
            .with_context(|| format!("the directory {} cannot be read", path.display()))?;
        all = berth_source::inputs(&files);
    }
    if let Some(store) = store.filter(|_| config.rows) {
        all.extend(store.rows().await?);
    }
    Ok(all)
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
            generation: i.generation,
        })
        .collect();
    let context = berth_manifest::Context::from(config);
    let (wanted, told) = Manifests::new().take(&[Reading::Files(files.into())], &context, &|_| None);
    (Arc::unwrap_or_clone(wanted), told)
}

/// Metrics in Prometheus' text form, with those of the process.
#[must_use]
pub fn text_of(registries: &[&prometheus::Registry]) -> String {
    use prometheus::core::Collector as _;
    static PROCESS: LazyLock<prometheus::process_collector::ProcessCollector> =
        LazyLock::new(prometheus::process_collector::ProcessCollector::for_self);
    let mut families: Vec<_> = registries.iter().flat_map(|registry| registry.gather()).collect();
    families.extend(PROCESS.collect());
    let mut text = String::new();
    if let Err(error) = prometheus::TextEncoder::new().encode_utf8(&families, &mut text) {
        tracing::warn!(%error, "the metrics could not be written");
    }
    text
}
