//! What the suites share: the built binary, and a simulated server with a directory of settings beside it.

// Each suite is a crate of its own and uses a part of this.
#![allow(dead_code, unreachable_pub)]

pub mod daemons;
pub mod way;

use berth_sim::{Behaviour, Sim};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// 32 bytes of 0x01.
pub const VAULT: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

pub const STACK: &str = "apiVersion: berth.dev/v1
kind: Stack
metadata: {name: blog, tenant: acme}
spec:
  target: {ownProject: blog}
  apps:
    web: {image: \"registry.sim/blog/web:1\", port: 8080, host: blog.example.com, env: {COLOUR: blue}}
";

/// What a command came to.
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// The binary, without this machine's settings and without colour.
pub fn berth(directory: &Path) -> Command {
    set(Command::new(env!("CARGO_BIN_EXE_berth")), directory)
}

/// The same, run by another program.
pub fn berth_by(program: &str, arguments: &[&str], directory: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).arg(env!("CARGO_BIN_EXE_berth"));
    set(command, directory)
}

fn set(mut command: Command, directory: &Path) -> Command {
    command
        .current_dir(directory)
        .env_remove("BERTH_CONFIG")
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(directory: &Path, args: &[&str]) -> Ran {
    ran(berth(directory).args(args).output().expect("berth starts"))
}

/// Runs it with something to read.
pub fn run_with(directory: &Path, args: &[&str], input: &str) -> Ran {
    let mut child = berth(directory)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("berth starts");
    child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    ran(child.wait_with_output().expect("berth ends"))
}

fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).expect("text"),
        err: String::from_utf8(output.stderr).expect("text"),
    }
}

/// A simulated server on loopback, and a directory that is set up for it.
pub struct Place {
    pub sim: Sim,
    pub directory: tempfile::TempDir,
    /// Where the simulated server is asked.
    pub dokploy: std::net::SocketAddr,
    /// When it began, in seconds since 1970.
    pub began: f64,
    stop: CancellationToken,
    pub runtime: tokio::runtime::Runtime,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Place {
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let stop = CancellationToken::new();
        let began = jiff::Timestamp::now().as_nanosecond() as f64 / 1e9;
        let sim = runtime.block_on(async {
            Sim::new(berth_sim::Options {
                epoch: jiff::Timestamp::now(),
                build_time: Duration::from_millis(20),
                start_time: Duration::from_millis(20),
                monitor: Duration::from_millis(50),
                ..berth_sim::Options::default()
            })
        });
        sim.set_image("registry.sim/blog/web:1", Behaviour::Ok);
        let (api, proxy) = runtime.block_on(async {
            let bind = || TcpListener::bind(("127.0.0.1", 0));
            (bind().await.unwrap(), bind().await.unwrap())
        });
        let (dokploy, probe) = (api.local_addr().unwrap(), proxy.local_addr().unwrap());
        runtime.spawn(berth_sim::serve(sim.clone(), api, Duration::ZERO, stop.clone()));
        runtime.spawn(berth_sim::serve_proxy(sim.clone(), proxy, stop.clone()));
        let directory = empty();
        let settings = format!(
            "owner: test\nbackends:\n  main: {{dokploy: \"http://{dokploy}\", key: {{file: api.key}}, probe: \"{probe}\", \
             checkRegistry: false}}\nsource: {{directory: stacks}}\nstate: {{sqlite: berth.db}}\n\
             vault: {{keys: {{file: vault.keys}}}}\nlisten: \"127.0.0.1:1\"\n"
        );
        let place = Self { sim, directory, dokploy, began, stop, runtime };
        place.write("berth.yaml", &settings);
        place.write("api.key", &place.sim.owner_key());
        place.write("vault.keys", VAULT);
        place.write("stacks/blog.yaml", STACK);
        place
    }

    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    pub fn write(&self, file: &str, text: &str) -> PathBuf {
        let path = self.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        run(self.path(), args)
    }
}

pub fn empty() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// What differs from run to run: times and ids.
pub fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let words: Vec<String> = line
            .split(' ')
            .map(|w| {
                let bare = w.trim_end_matches([',', ':', ';']);
                let number = bare.strip_suffix('s').or_else(|| bare.strip_suffix("ms"));
                let is_time = number.is_some_and(|n| !n.is_empty() && n.parse::<f64>().is_ok());
                if is_time { w.replace(bare, "TIME") } else { w.to_owned() }
            })
            .collect();
        out.push_str(&words.join(" "));
        out.push('\n');
    }
    out
}
