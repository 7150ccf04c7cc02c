//! The daemon as a child process: its log, its status API, and what the system says of it.

use crate::stage::Stage;
use anyhow::{Context, Result, bail, ensure};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Processor time is counted in this many parts of a second.
const TICKS: f64 = 100.0;

/// The running daemon. It ends with this value.
pub(crate) struct Daemon {
    child: Child,
    pid: u32,
    pub(crate) address: SocketAddr,
    pub(crate) started: Instant,
}

fn program() -> Result<PathBuf> {
    let me = std::env::current_exe().context("where this program is")?;
    let path = me.with_file_name("berth");
    ensure!(
        path.exists(),
        "there is no daemon at {}; build it with: cargo build --release -p berth-cli",
        path.display()
    );
    Ok(path)
}

fn command(stage: &Stage) -> Result<Command> {
    let log = std::fs::File::create(stage.path().join("berth.log"))?;
    let mut command = Command::new(program()?);
    command
        .arg("-c")
        .arg(stage.path().join("berth.yaml"))
        .args(["run", "--no-live", "--log", "json", "--listen", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .kill_on_drop(true);
    Ok(command)
}

fn log(stage: &Stage) -> String {
    std::fs::read_to_string(stage.path().join("berth.log")).unwrap_or_default()
}

/// Lets the daemon bring everything about, and waits until it ends by itself.
pub(crate) async fn converge(stage: &Stage, limit: Duration) -> Result<Duration> {
    let began = Instant::now();
    let mut child =
        command(stage)?.arg("--exit-when-settled").spawn().context("the daemon does not start")?;
    match tokio::time::timeout(limit, child.wait()).await {
        Ok(status) => {
            ensure!(status?.success(), "the daemon failed:\n{}", log(stage));
            Ok(began.elapsed())
        }
        Err(_) => {
            let log = log(stage);
            let tail = log.char_indices().rev().nth(3_000).map_or(0, |(at, _)| at);
            bail!("not converged within {limit:?}:\n{}", &log[tail..])
        }
    }
}

impl Daemon {
    /// Starts it and waits for its address.
    pub(crate) async fn start(stage: &Stage) -> Result<Self> {
        let started = Instant::now();
        let mut child = command(stage)?.spawn().context("the daemon does not start")?;
        let pid = child.id().context("the daemon ended")?;
        loop {
            if let Some(address) = log(stage).lines().find_map(address_in) {
                return Ok(Self { child, pid, address, started });
            }
            if child.try_wait()?.is_some() {
                bail!("the daemon ended:\n{}", log(stage));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends it at once, as a crash does.
    pub(crate) async fn end(mut self) -> Result<()> {
        self.child.kill().await.context("the daemon does not end")
    }

    /// An answer of the status API: status and body.
    pub(crate) async fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).await?;
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\nconnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let status = answer.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no HTTP answer")?;
        let body = answer.split_once("\r\n\r\n").map(|(_, b)| b.to_owned()).unwrap_or_default();
        Ok((status, body))
    }

    /// The sum of the samples of a metric whose labels hold all of these.
    pub(crate) async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let (_, text) = self.get("/metrics").await?;
        let samples = text.lines().filter_map(|line| {
            let (head, value) = line.rsplit_once(' ')?;
            let found = head.split('{').next() == Some(name) && labels.iter().all(|l| head.contains(l));
            found.then(|| value.parse::<f64>().ok()).flatten()
        });
        Ok(samples.sum())
    }

    /// Waits for something to hold, and tells how long that took since the daemon's start.
    pub(crate) async fn until(
        &self,
        limit: Duration,
        what: &str,
        mut holds: impl AsyncFnMut(&Self) -> Result<bool>,
    ) -> Result<Duration> {
        let began = Instant::now();
        while !holds(self).await? {
            ensure!(began.elapsed() < limit, "{what}: not within {limit:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(self.started.elapsed())
    }

    /// Waits for this many passes over the fleet since the start.
    pub(crate) async fn passes(&self, count: f64) -> Result<Duration> {
        let labels = ["backend=\"main\""];
        self.until(Duration::from_secs(300), "passes", async |d| {
            Ok(d.metric("berth_pass_seconds_count", &labels).await? >= count)
        })
        .await
    }

    /// Waits until nothing runs and nothing waits for a run.
    pub(crate) async fn idle(&self) -> Result<Duration> {
        let mut before = f64::NAN;
        self.until(Duration::from_secs(600), "rest", async |d| {
            let runs = d.metric("controller_runtime_reconcile_total", &[]).await?;
            let runs = runs + d.metric("berth_backend_requests_total", &[]).await?;
            let same = runs == before;
            before = runs;
            if !same {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Ok(same)
        })
        .await
    }

    /// Waits until no run was made for a while, whatever passes do.
    pub(crate) async fn idle_runs(&self) -> Result<Duration> {
        let mut before = f64::NAN;
        self.until(Duration::from_secs(600), "no runs", async |d| {
            let runs = d.metric("controller_runtime_reconcile_total", &[]).await?;
            let same = runs == before;
            before = runs;
            if !same {
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            Ok(same)
        })
        .await
    }

    /// Resident memory in MiB: now, and at most so far.
    pub(crate) fn memory(&self) -> Result<(f64, f64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let read = |name: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(name))?;
            line.split_whitespace().next()?.parse::<f64>().ok()
        };
        let kib = read("VmRSS:").zip(read("VmHWM:")).context("no memory in /proc")?;
        Ok((kib.0 / 1024.0, kib.1 / 1024.0))
    }

    /// Processor time so far, in microseconds.
    pub(crate) fn cpu_us(&self) -> Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.pid))?;
        let after = text.rsplit_once(')').map(|(_, rest)| rest).context("no times in /proc")?;
        let fields: Vec<&str> = after.split_whitespace().collect();
        let ticks: f64 = fields.iter().skip(11).take(2).filter_map(|f| f.parse::<f64>().ok()).sum();
        Ok(ticks / TICKS * 1e6)
    }
}

fn address_in(line: &str) -> Option<SocketAddr> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    [&line["address"], &line["fields"]["address"]].into_iter().find_map(|v| v.as_str()?.parse().ok())
}
