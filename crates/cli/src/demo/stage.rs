//! The demo's stage: a simulated server on three loopback ports, a directory with manifests, settings and state, and
//! the daemon over them. All of it goes with the process.

use crate::Told;
use crate::app::App;
use crate::front::Front;
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use crate::world::{self, Door};
use anyhow::{Context, Result};
use berth_sim::{Behaviour, Sim};
use berth_vault::{Ring, SystemDice};
use bytes::Bytes;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What every call takes: a server next door.
const LATENCY: Duration = Duration::from_millis(15);

macro_rules! manifests {
    ($($name:literal),+) => { [$(($name, include_str!(concat!("../../../../manifests/", $name)))),+] };
}

/// The repository's own examples.
pub(super) const MANIFESTS: [(&str, &str); 6] = manifests![
    "portal.yaml",
    "ai-workspace.yaml",
    "john-dev.yaml",
    "maria-lab.yaml",
    "notes.yaml",
    "batch.yaml"
];

/// Images that the simulated registry has.
const IMAGES: [(&str, Behaviour); 7] = [
    ("registry.sim/ai/workspace:1", Behaviour::Ok),
    ("registry.sim/batch/worker:3", Behaviour::Ok),
    ("registry.sim/notes/api:7", Behaviour::Ok),
    ("registry.sim/notes/web:6", Behaviour::Ok),
    ("registry.sim/notes/web:7", Behaviour::Ok),
    ("registry.sim/notes/web:8", Behaviour::Crash),
    ("registry.sim/notes/web:9", Behaviour::Ok),
];

/// Everything the story plays on.
pub(super) struct Stage {
    pub sim: Sim,
    pub app: Arc<App>,
    pub dokploy: SocketAddr,
    /// The status API.
    pub address: SocketAddr,
    /// Another person's key.
    pub other: String,
    directory: tempfile::TempDir,
}

impl Stage {
    /// Sets it up.
    ///
    /// # Errors
    /// No loopback port, or no temporary directory.
    pub(super) async fn set(listen: SocketAddr, stop: CancellationToken) -> Result<Self> {
        let sim = Sim::new(berth_sim::Options {
            epoch: jiff::Timestamp::now(),
            monitor: Duration::from_millis(1_500),
            start_time: Duration::from_millis(300),
            ..berth_sim::Options::default()
        });
        for (image, behaviour) in IMAGES {
            sim.set_image(image, behaviour);
        }
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let bind = |to: SocketAddr| async move {
            let listener =
                TcpListener::bind(to).await.with_context(|| format!("{to} cannot be listened on"))?;
            let address = listener.local_addr()?;
            anyhow::Ok((listener, address))
        };
        let (api, dokploy) = bind(loopback).await?;
        let (proxy, proxied) = bind(loopback).await?;
        let (registry, images) = bind(loopback).await?;
        let (status, address) = bind(listen).await?;
        tokio::spawn(berth_sim::serve(sim.clone(), api, LATENCY, stop.clone()));
        tokio::spawn(berth_sim::serve_proxy(sim.clone(), proxy, stop.clone()));
        tokio::spawn(berth_sim::serve_registry(sim.clone(), registry, stop.clone()));

        let directory = tempfile::Builder::new()
            .prefix("berth-demo-")
            .tempdir()
            .context("no temporary directory can be made; see TMPDIR")?;
        let text = settings_text(dokploy, proxied, address);
        let config = write_all(directory.path(), &text, &sim.owner_key())
            .with_context(|| format!("{} cannot be written", directory.path().display()))?;
        let config = settings::read(&config, text.as_bytes(), Needs::All).map_err(|errors| {
            anstream::eprint!("{}", berth_manifest::render(&errors, &("berth.yaml", text.as_bytes()), true));
            Told
        })?;
        let store = AnyStore::open(&config).await?;
        let door = Door::Loopback(world::sockets()?, images);
        let app = App::new(config, store, door, None).await?;
        let (front, status) = (Front::alone(app.clone()), status.into_std()?);
        let (options, _) = crate::front::served(&app.config);
        tokio::spawn(async move { berth_api::serve(front, status, &options, None, stop).await });
        let other = sim.issue_key(berth_sim::Role::Owner);
        Ok(Self { sim, app, dokploy, address, other, directory })
    }

    /// The watched directory.
    #[must_use]
    pub(super) fn manifests(&self) -> PathBuf {
        self.directory.path().join("stacks")
    }

    /// The settings.
    #[must_use]
    pub(super) fn config_path(&self) -> PathBuf {
        self.directory.path().join("berth.yaml")
    }

    /// Edits a manifest as an editor does: whole, and by renaming.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn edit(&self, file: &str, edit: impl FnOnce(&str) -> String) -> Result<()> {
        let path = self.manifests().join(file);
        let text = std::fs::read_to_string(&path)?;
        let beside = self.manifests().join(format!(".{file}.new"));
        std::fs::write(&beside, edit(&text))?;
        std::fs::rename(&beside, &path)?;
        Ok(())
    }

    /// A call that another person makes, with a key of their own.
    ///
    /// # Errors
    /// The server refuses it.
    pub(super) async fn by_hand(&self, procedure: &str, body: serde_json::Value) -> Result<()> {
        let request = http::Request::post(format!("http://{}/api/{procedure}", self.dokploy))
            .header("x-api-key", &self.other)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Bytes::from(body.to_string()))?;
        let answer = self.sim.handle(request).await;
        let status = answer.as_ref().map(http::Response::status).ok();
        anyhow::ensure!(
            status.is_some_and(|s| s.is_success()),
            "{procedure} by hand was answered {status:?}"
        );
        Ok(())
    }
}

fn settings_text(dokploy: SocketAddr, proxied: SocketAddr, address: SocketAddr) -> String {
    format!(
        "owner: demo\n\
         backends:\n  main: {{dokploy: \"http://{dokploy}\", key: {{file: api.key}}, probe: \"{proxied}\"}}\n\
         source: {{directory: stacks}}\n\
         state: {{sqlite: berth.db}}\n\
         vault: {{keys: {{file: vault.keys}}}}\n\
         defaults: {{target: {{dokploy: main}}}}\n\
         listen: \"{address}\"\n\
         intervals: {{resync: 2s, health: 5s}}\n"
    )
}

fn write_all(directory: &Path, settings: &str, key: &str) -> Result<PathBuf> {
    let stacks = directory.join("stacks");
    std::fs::create_dir(&stacks)?;
    for (name, text) in MANIFESTS {
        std::fs::write(stacks.join(name), text)?;
    }
    let ring = Ring::generate(&SystemDice::new()?);
    for (name, text) in [("api.key", key), ("vault.keys", ring.expose())] {
        let path = directory.join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    }
    let path = directory.join("berth.yaml");
    std::fs::write(&path, settings)?;
    Ok(path)
}
