//! A PostgreSQL of one's own. It can be stopped, killed and started again on the same data.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running server.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    dir: TempDir,
    port: u16,
    child: Mutex<Option<Child>>,
    databases: AtomicU32,
    copies: AtomicU32,
    /// `NAME=VALUE`, over those that every one has.
    settings: Vec<String>,
}

impl Postgres {
    /// Makes one and starts it.
    ///
    /// # Panics
    /// Where it cannot: with what is missing.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`Postgres::start`], with settings, each as `NAME=VALUE`.
    ///
    /// # Panics
    /// As [`Postgres::start`].
    #[must_use]
    pub fn start_with(settings: &[&str]) -> Self {
        let bin = binaries();
        let dir = tempfile::Builder::new().prefix("berth-postgres-").tempdir().expect("a folder of its own");
        // PostgreSQL refuses to run as root: the folder is handed to the user that its package made.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("a folder that another user may enter");
        let data = dir.path().join("data");
        server_folder(&data);
        let mut make = as_server(&bin.join("initdb"));
        make.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        done(&mut make, "initdb failed");
        let server = Self {
            bin,
            dir,
            port: crate::free_port(),
            child: Mutex::new(None),
            databases: AtomicU32::new(0),
            copies: AtomicU32::new(0),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
        };
        server.up();
        server
    }

    /// Starts it again on the data that it had.
    ///
    /// # Panics
    /// Where it does not come up: with its log.
    pub fn up(&self) {
        let mut slot = self.child.lock().expect("nobody panicked with it");
        if slot.is_some() {
            return;
        }
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("its log");
        let mut command = as_server(&self.bin.join("postgres"));
        command.arg("-D").arg(self.data());
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            "unix_socket_directories=".to_owned(),
            // Its processes may crash, the machine does not.
            "fsync=off".to_owned(),
            "max_connections=60".to_owned(),
            "shared_buffers=32MB".to_owned(),
        ]
        .iter()
        .chain(&self.settings)
        {
            command.arg("-c").arg(setting);
        }
        let errors = log.try_clone().expect("its log twice");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("postgres starts");
        *slot = Some(child);
        drop(slot);
        let until = Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(Instant::now() < until, "it does not come up:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn answers(&self) -> bool {
        let mut ask = Command::new(self.bin.join("pg_isready"));
        ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
        TcpStream::connect(("127.0.0.1", self.port)).is_ok() && ask.status().is_ok_and(|s| s.success())
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Ends it as an administrator does: sessions are cut off, what was committed is kept.
    pub fn stop(&self) {
        self.end(Signal::INT);
    }

    /// Ends it as a crash does.
    pub fn crash(&self) {
        self.end(Signal::QUIT);
    }

    fn end(&self, signal: Signal) {
        let Some(mut child) = self.child.lock().expect("nobody panicked with it").take() else {
            return;
        };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, signal);
        }
        let until = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A copy of all its data as it is now, as a replica has it that gets no further.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn copy(&self) -> Copy {
        let name = format!("copy{}", self.copies.fetch_add(1, Ordering::Relaxed));
        let folder = self.dir.path().join(name);
        server_folder(&folder);
        let mut make = as_server(&self.bin.join("pg_basebackup"));
        make.args(["-h", "127.0.0.1", "-U", "postgres", "-X", "fetch", "-c", "fast", "--no-sync", "-p"]);
        make.arg(self.port.to_string()).arg("-D").arg(&folder);
        done(&mut make, "a copy cannot be made");
        Copy(folder)
    }

    /// Ends it as a crash does, and starts what a copy has in its place: what came after the copy is lost.
    ///
    /// # Panics
    /// Where it does not come up.
    pub fn fail_over(&self, copy: Copy) {
        self.crash();
        std::fs::remove_dir_all(self.data()).expect("its data can be removed");
        std::fs::rename(copy.0, self.data()).expect("a copy can be moved");
        self.up();
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// A session that stays open.
    ///
    /// # Panics
    /// Where psql cannot be run.
    #[must_use]
    pub fn session(&self, url: &str) -> Session {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-q", "-At", "-d", url]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.stderr(Stdio::null()).spawn().expect("psql runs");
        let to = child.stdin.take().expect("a pipe");
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        Session { child, to: Some(to), from }
    }

    /// The URL of a new, empty database.
    ///
    /// # Panics
    /// Where it cannot be made.
    #[must_use]
    pub fn database(&self) -> String {
        let name = format!("db{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let mut make = Command::new(self.bin.join("createdb"));
        make.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "postgres", &name]);
        done(&mut make, "a database cannot be made");
        format!("postgres://postgres@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs a script as psql does, stopping at nothing; answers what it printed, errors among it.
    ///
    /// # Panics
    /// Where psql cannot be run.
    #[must_use]
    pub fn psql(&self, url: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-X", "-q", "-d", url]).args(arguments);
        let out = command.output().expect("psql runs");
        let mut text = String::from_utf8_lossy(&out.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&out.stderr));
        text
    }
}

/// A copy of a server's data.
#[derive(Debug)]
pub struct Copy(PathBuf);

/// A session of psql. It ends with this value, and what it holds is let go.
#[derive(Debug)]
pub struct Session {
    child: Child,
    /// `None` once it is to end.
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Session {
    /// Runs statements; answers what they printed. `None`: it did not get so far, since it was not let in, say.
    pub fn run(&mut self, text: &str) -> Option<String> {
        const END: &str = "(it is done)\n";
        self.to.as_mut()?.write_all(format!("{text}\n\\echo {END}").as_bytes()).ok()?;
        let mut said = String::new();
        while self.from.read_line(&mut said).ok()? > 0 {
            if let Some(said) = said.strip_suffix(END) {
                return Some(said.to_owned());
            }
        }
        None
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Nothing of its data is wanted any more.
        self.crash();
    }
}

/// The newest that is installed.
fn binaries() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<(u32, PathBuf)> = versions
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .filter(|(_, bin)| bin.join("initdb").exists())
        .collect();
    found.sort();
    let newest = found.pop().map(|(_, bin)| bin);
    newest.expect("no PostgreSQL server in /usr/lib/postgresql: 'apt-get install postgresql' brings one")
}

/// A folder that belongs to the server's user.
fn server_folder(folder: &Path) {
    std::fs::create_dir(folder).expect("a folder for its data");
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700)).expect("a folder of its own");
    if rustix::process::geteuid().is_root() {
        let mut give = Command::new("chown");
        done(give.arg("postgres:postgres").arg(folder), "the user 'postgres' is not there");
    }
}

/// A command that runs as the server's user, and ends with us however we end.
pub(crate) fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if rustix::process::geteuid().is_root() {
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]);
    }
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program).current_dir("/");
    command
}

fn done(command: &mut Command, otherwise: &str) {
    let out = command.output().unwrap_or_else(|e| panic!("{otherwise}: {command:?}: {e}"));
    assert!(out.status.success(), "{otherwise}: {}", String::from_utf8_lossy(&out.stderr));
}
