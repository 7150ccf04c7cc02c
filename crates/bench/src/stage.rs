//! What a workload plays on: the simulator's process with its control port, and a directory with settings, keys,
//! manifests and the kept state.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};

/// What every answer takes while it is measured.
pub(crate) const LATENCY_MS: u64 = 20;

/// Times of `berth.yaml` that keep everything but what is measured from happening.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) resync: &'static str,
    pub(crate) audit: &'static str,
}

impl Times {
    /// No pass but the first one.
    pub(crate) const QUIET: Times = Times { resync: "1000h", audit: "100000h" };
}

/// The stage.
pub(crate) struct Stage {
    pub(crate) directory: tempfile::TempDir,
    hello: Value,
    lines: Lines<BufReader<OwnedReadHalf>>,
    write: OwnedWriteHalf,
    // Ends with the stage.
    _sim: Child,
}

impl Stage {
    /// Starts the simulator and writes the directory.
    pub(crate) async fn set() -> Result<Self> {
        let me = std::env::current_exe().context("where this program is")?;
        let mut sim = Command::new(me)
            .arg("sim")
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the simulator does not start")?;
        let out = sim.stdout.take().context("the simulator says nothing")?;
        let hello = BufReader::new(out).lines().next_line().await?.context("the simulator ended")?;
        let hello: Value = serde_json::from_str(&hello)?;
        let control = port(&hello, "control")?;
        let (read, write) = TcpStream::connect(("127.0.0.1", control)).await?.into_split();
        let directory = tempfile::Builder::new().prefix("berth-bench-").tempdir()?;
        let stage = Self { directory, hello, lines: BufReader::new(read).lines(), write, _sim: sim };
        std::fs::create_dir(stage.stacks())?;
        stage.secret("api.key", stage.hello["key"].as_str().unwrap_or_default())?;
        stage.secret("second.key", stage.hello["second_key"].as_str().unwrap_or_default())?;
        stage.secret("vault.keys", "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n")?;
        stage.settings(Times::QUIET, false)?;
        Ok(stage)
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn stacks(&self) -> PathBuf {
        self.path().join("stacks")
    }

    fn secret(&self, name: &str, text: &str) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path().join(name);
        std::fs::write(&path, text)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// Writes `berth.yaml` for rows and state in the database at this URL.
    pub(crate) fn settings_for_rows(&self, times: Times, url: &str) -> Result<()> {
        self.secret("database.url", url)?;
        let place = "{postgres: {file: database.url}}";
        self.write_settings(times, false, place, place)
    }

    /// Writes `berth.yaml`.
    pub(crate) fn settings(&self, times: Times, two_accounts: bool) -> Result<()> {
        self.write_settings(times, two_accounts, "{directory: stacks}", "{sqlite: berth.db}")
    }

    /// Writes `berth.yaml` with a DNS credential, and zones whose provider is believed.
    pub(crate) fn settings_with_dns(&self, times: Times, dns: &Dns<'_>) -> Result<()> {
        self.secret("dns.key", dns.token)?;
        self.settings(times, false)?;
        let path = self.path().join("berth.yaml");
        let text = std::fs::read_to_string(&path)?;
        let text = text.replace("checkRegistry: false", "checkRegistry: false, address: {ipv4: 203.0.113.7}");
        let zones: String =
            dns.zones.iter().map(|zone| format!("    {zone}: {{verify: provider}}\n")).collect();
        let url = format!("http://127.0.0.1:{}", dns.port);
        let credential = format!("{{{}: {{key: {{file: dns.key}}, url: \"{url}\"}}}}", dns.provider);
        std::fs::write(path, format!("{text}dns:\n  credentials:\n    it: {credential}\n  zones:\n{zones}"))?;
        Ok(())
    }

    fn write_settings(&self, times: Times, two_accounts: bool, source: &str, state: &str) -> Result<()> {
        let proxy = port(&self.hello, "proxy")?;
        let account = |name: &str, port: u16, key: &str| {
            format!(
                "  {name}: {{dokploy: \"http://127.0.0.1:{port}\", key: {{file: {key}}}, probe: \"127.0.0.1:{proxy}\", \
                 checkRegistry: false}}\n"
            )
        };
        let mut accounts = account("main", port(&self.hello, "api")?, "api.key");
        if two_accounts {
            accounts += &account("other", port(&self.hello, "second")?, "second.key");
        }
        let text = format!(
            "owner: bench\nbackends:\n{accounts}source: {source}\nstate: {state}\n\
             vault: {{keys: {{file: vault.keys}}}}\ndefaults: {{target: {{dokploy: main}}}}\n\
             listen: \"127.0.0.1:0\"\n\
             intervals: {{resync: {}, audit: {}, rescan: 1000h, health: 1000h}}\n",
            times.resync, times.audit
        );
        std::fs::write(self.path().join("berth.yaml"), text)?;
        Ok(())
    }

    /// The managed project and this many stacks in it.
    pub(crate) fn manifests(&self, stacks: std::ops::Range<usize>) -> Result<()> {
        self.put("project.yaml", &project("bench", "main"))?;
        for n in stacks {
            self.put(&format!("{}.yaml", name(n)), &stack(n, "main", "bench", 0))?;
        }
        Ok(())
    }

    /// Writes a manifest as an editor does: whole, and by renaming.
    pub(crate) fn put(&self, file: &str, text: &str) -> Result<()> {
        let beside = self.path().join("beside.tmp");
        std::fs::write(&beside, text)?;
        std::fs::rename(&beside, self.stacks().join(file))?;
        Ok(())
    }

    /// Gives the simulator an order.
    pub(crate) async fn order(&mut self, order: Value) -> Result<Value> {
        self.write.write_all(format!("{order}\n").as_bytes()).await?;
        let line = self.lines.next_line().await?.context("the simulator ended")?;
        let answer: Value = serde_json::from_str(&line)?;
        ensure!(answer.get("error").is_none(), "{order}: {answer}");
        Ok(answer)
    }

    /// From now on every answer takes this long.
    pub(crate) async fn latency(&mut self, ms: u64) -> Result<()> {
        self.order(json!({"op": "latency", "ms": ms})).await.map(drop)
    }

    /// What an answer really takes, in seconds: timers and sockets add to what was ordered. The mean of calls one after
    /// the other, while nothing else happens.
    pub(crate) async fn answer_seconds(&self) -> Result<f64> {
        const CALLS: u32 = 40;
        let port = port(&self.hello, "api")?;
        let key = self.hello["key"].as_str().unwrap_or_default();
        let request = format!(
            "GET /api/settings.getDokployVersion HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nx-api-key: {key}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        let mut answer = [0u8; 4096];
        let began = std::time::Instant::now();
        for _ in 0..CALLS {
            stream.write_all(request.as_bytes()).await?;
            let read = stream.read(&mut answer).await?;
            ensure!(
                answer[..read].starts_with(b"HTTP/1.1 200"),
                "the simulator does not answer a plain call"
            );
        }
        Ok(began.elapsed().as_secs_f64() / f64::from(CALLS))
    }

    /// Forgets the calls so far; tells the simulator's time in milliseconds.
    pub(crate) async fn clear(&mut self) -> Result<f64> {
        Ok(self.order(json!({"op": "clear"})).await?["at"].as_f64().unwrap_or(0.0))
    }

    /// As [`Stage::clear`]; tells when the simulator's time began, in milliseconds since 1970.
    pub(crate) async fn clear_at(&mut self) -> Result<f64> {
        let told = self.order(json!({"op": "clear"})).await?;
        let number = |name: &str| told[name].as_f64().context("the simulator tells no time");
        Ok(number("wall")? - number("at")?)
    }

    /// What was called since.
    pub(crate) async fn counts(&mut self) -> Result<Value> {
        self.order(json!({"op": "counts"})).await
    }
}

pub(crate) fn port(hello: &Value, name: &str) -> Result<u16> {
    hello[name]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok())
        .with_context(|| format!("the simulator has no {name}"))
}

/// DNS of a stage.
pub(crate) struct Dns<'a> {
    pub(crate) provider: &'a str,
    pub(crate) port: u16,
    pub(crate) token: &'a str,
    pub(crate) zones: &'a [String],
}

/// The name of a stack.
pub(crate) fn name(n: usize) -> String {
    format!("s{n:05}")
}

/// A managed project.
pub(crate) fn project(name: &str, account: &str) -> String {
    format!(
        "apiVersion: berth.dev/v1\nkind: Project\nmetadata: {{name: {name}}}\nspec:\n  dokploy: {account}\n  create: true\n"
    )
}

/// One app with a domain, a volume and a few variables. `edition` is one of them.
pub(crate) fn stack(n: usize, account: &str, project: &str, edition: u64) -> String {
    let name = name(n);
    format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: {name}}}\nspec:\n  \
         target: {{dokploy: {account}, project: {project}}}\n  apps:\n    web:\n      image: registry.sim/app:1\n      \
         port: 3000\n      host: {name}.bench.test\n      replicas: 1\n      volumes: {{{name}-data: /data}}\n      \
         env: {{EDITION: \"{edition}\", MODE: production, URL: \"https://{name}.bench.test\"}}\n"
    )
}
