//! A pooler before a PostgreSQL: it gives each transaction whatever session is free.

use crate::postgres::{Postgres, as_server};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// A running pgbouncer.
#[derive(Debug)]
pub struct Pgbouncer {
    // Goes with it.
    _dir: TempDir,
    port: u16,
    child: Child,
}

impl Pgbouncer {
    /// Starts one in transaction mode, as its package sets it up otherwise.
    ///
    /// # Panics
    /// Where it cannot: with what is missing.
    #[must_use]
    pub fn before(server: &Postgres) -> Self {
        assert!(Path::new(PROGRAM).exists(), "no {PROGRAM}: 'apt-get install pgbouncer' brings it");
        let dir = tempfile::Builder::new().prefix("berth-pgbouncer-").tempdir().expect("a folder of its own");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(dir.path(), open).expect("a folder that another user may enter");
        let port = crate::free_port();
        let settings = dir.path().join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=postgres\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n\
             pool_mode = transaction\ndefault_pool_size = 4\nserver_login_retry = 1\nserver_idle_timeout = 2\n",
            server.port()
        );
        std::fs::write(&settings, text).expect("its settings");
        let log = std::fs::File::create(dir.path().join("log")).expect("its log");
        let mut command = as_server(Path::new(PROGRAM));
        command.arg(&settings).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("pgbouncer starts");
        let until = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let said = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < until, "it does not come up:\n{}", said());
            std::thread::sleep(Duration::from_millis(10));
        }
        Self { _dir: dir, port, child }
    }

    /// Where it listens, on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
