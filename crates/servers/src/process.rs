//! A child process with a folder and a log of its own, which ends when its owner does, however that is.

use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long it may take to start or to stop.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A program that runs.
#[derive(Debug)]
pub(crate) struct Process {
    dir: TempDir,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// With an empty folder, and nothing that runs.
    pub(crate) fn new(prefix: &str) -> Self {
        let dir = tempfile::Builder::new().prefix(prefix).tempdir().expect("a folder of its own");
        Self { dir, child: Mutex::new(None) }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// What it wrote to its log.
    pub(crate) fn said(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(&self, program: &str, arguments: &[&str], ready: impl Fn() -> bool) {
        let log = std::fs::File::options().create(true).append(true).open(self.log()).expect("its log");
        let errors = log.try_clone().expect("its log twice");
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--", program]).args(arguments).current_dir("/");
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn();
        let child = child.unwrap_or_else(|e| panic!("{program} does not start: {e}"));
        *self.child.lock().expect("nobody panicked with it") = Some(child);
        let until = Instant::now() + PATIENCE;
        while !ready() {
            assert!(self.lives() && Instant::now() < until, "{program} does not come up:\n{}", self.said());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn lives(&self) -> bool {
        let mut child = self.child.lock().expect("nobody panicked with it");
        child.as_mut().is_some_and(|c| matches!(c.try_wait(), Ok(None)))
    }

    /// Ends it.
    pub(crate) fn stop(&self) {
        let Some(mut child) = self.child.lock().expect("nobody panicked with it").take() else {
            return;
        };
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            // It may have ended by itself.
            let _ = kill_process(pid, Signal::TERM);
        }
        let until = Instant::now() + PATIENCE;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = child.kill();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}
