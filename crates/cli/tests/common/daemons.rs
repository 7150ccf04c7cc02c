//! Daemons as processes on one database, and rows that are written to it while things happen.

use super::way::Way;
use super::{Place, berth_by};
use berth_servers::{Postgres, free_port};
use berth_sim::Role;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// The longest wait for anything.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub fn within<T>(patience: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(found) = found() {
            return Some(found);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    None
}

pub fn wait<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, found).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// One daemon, and how to ask it.
pub struct Daemon {
    name: &'static str,
    /// By which the simulator knows it.
    pub key: String,
    pub way: Way,
    pub port: u16,
    child: Option<Child>,
}

impl Daemon {
    /// One that is running.
    pub fn of(place: &Place, server: &Postgres, url: &str, name: &'static str) -> Self {
        Self::through(place, server.port(), server, url, name)
    }

    /// One that is running and comes to the server by this port.
    pub fn through(place: &Place, by: u16, server: &Postgres, url: &str, name: &'static str) -> Self {
        let way = Way::to(place, by);
        let key = place.sim.issue_key(Role::Owner);
        let port = free_port();
        let url = url.replace(&server.port().to_string(), &way.address.port().to_string());
        place.write(&format!("{name}.key"), &key);
        place.write(&format!("{name}.url"), &url);
        let settings = format!(
            "owner: test\nbackends:\n  main: {{dokploy: \"http://{}\", key: {{file: {name}.key}}, checkRegistry: false, timeout: 1s}}\n\
             source: {{postgres: {{file: {name}.url}}}}\nstate: {{postgres: {{file: {name}.url}}}}\n\
             vault: {{keys: {{file: vault.keys}}}}\nlisten: \"127.0.0.1:{port}\"\nintervals: {{resync: 5s}}\n\
             api: {{anonymous: read}}\n",
            place.dokploy
        );
        place.write(&format!("{name}.yaml"), &settings);
        let mut daemon = Self { name, key, way, port, child: None };
        daemon.up(place);
        daemon
    }

    pub fn up(&mut self, place: &Place) {
        let log = std::fs::File::options().create(true).append(true).open(self.log(place)).unwrap();
        let settings = format!("{}.yaml", self.name);
        // It ends with this test, however that ends.
        let mut command = berth_by("setpriv", &["--pdeathsig", "KILL", "--"], place.path());
        command.args(["--config", &settings, "run", "--no-live", "--log", "json"]);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("berth starts"));
        wait("the daemon answers", || self.leads());
    }

    pub fn log(&self, place: &Place) -> std::path::PathBuf {
        place.path().join(format!("{}.log", self.name))
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|c| Pid::from_raw(i32::try_from(c.id()).unwrap()));
        kill_process(pid.expect("it runs"), signal).unwrap();
    }

    pub fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    /// Whether it leads; `None` where it does not answer.
    pub fn leads(&self) -> Option<bool> {
        Some(self.readiness()?.contains("\"leads\":true"))
    }

    pub fn stands_by(&self) -> bool {
        self.readiness().is_some_and(|r| r.contains("\"ready\":true") && r.contains("\"leads\":false"))
    }

    pub fn readiness(&self) -> Option<String> {
        self.get("/readyz")
    }

    /// An answer of its status API.
    pub fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\nconnection: close\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.get("/metrics")?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        value.parse().ok()
    }

    /// The process, for as long as it is the same one.
    pub fn process(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What every stack is laid over.
pub const TEMPLATE: &str = "insert into berth.stack_templates (name, spec) values ('web', '{\"target\": {\"project\": \"shared\", \
             \"environment\": \"production\", \"create\": true}, \"apps\": {\"web\": {\"image\": \"registry.sim/blog/web:1\", \
             \"port\": 8080, \"volumes\": {\"data\": \"/data\"}}}}');";

/// A small generator, so that a run can be told again.
pub fn roll(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

pub fn sql(server: &Postgres, url: &str, text: &str) -> String {
    server.psql(url, &["-At", "-c", text])
}

/// A server, a database with a template, and two daemons on it.
pub fn stage() -> (Place, Postgres, String, [Daemon; 2]) {
    let place = Place::new();
    let server = Postgres::start();
    let url = server.database();
    let daemons = ["a", "b"].map(|name| Daemon::of(&place, &server, &url, name));
    wait("somebody leads", || daemons.iter().any(|d| d.leads() == Some(true)).then_some(()));
    assert_eq!(sql(&server, &url, TEMPLATE), "");
    (place, server, url, daemons)
}

/// `BERTH_SEED`, else this; told, so that a run can be told again.
pub fn seed(otherwise: u64) -> u64 {
    let seed = std::env::var("BERTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(otherwise);
    eprintln!("BERTH_SEED={seed}");
    seed
}

/// What the acknowledged rows ask for: which stacks, each with what its variable ROUND says.
pub type Asked = BTreeMap<String, usize>;

/// Three changes, each acknowledged, or refused for a reason.
pub fn change_rows(server: &Postgres, url: &str, seed: &mut u64, round: usize, asked: &mut Asked) {
    for _ in 0..3 {
        let name = format!("s{}", roll(seed) % 8);
        // More than three removals at once are held until a person confirms them.
        let removing = "select count(*) >= 2 from berth.stacks where deletion_requested_at is not null";
        let removes =
            asked.contains_key(&name) && roll(seed).is_multiple_of(3) && sql(server, url, removing) == "f\n";
        let spec = format!("{{\"apps\": {{\"web\": {{\"env\": {{\"ROUND\": \"{round}\"}}}}}}}}");
        let text = if removes {
            format!("delete from berth.stacks where name = '{name}'")
        } else if asked.contains_key(&name) {
            format!("update berth.stacks set spec = '{spec}' where name = '{name}'")
        } else {
            format!("insert into berth.stacks (name, template, spec) values ('{name}', 'web', '{spec}')")
        };
        let said = sql(server, url, &text);
        if said.is_empty() {
            asked.remove(&name);
            if !removes {
                asked.insert(name, round);
            }
        } else {
            // What is being removed cannot be asked for again before it is gone.
            assert!(said.contains("is being removed"), "{said}");
        }
    }
}

/// Waits until everything is as the rows say, and holds that there is one of each.
pub fn all_is_true(place: &Place, server: &Postgres, url: &str, asked: &Asked) {
    let expected: String = asked.keys().map(|name| format!("{name}|t\n")).collect();
    let mut seen = String::new();
    // A create that was sent and not answered is waited for, for twice its time limit and a minute.
    let reached = within(3 * PATIENCE, || {
        seen = sql(server, url, "select name, ready from berth.stack_status order by 1");
        (seen == expected).then_some(())
    });
    let why = || sql(server, url, "select * from berth.stack_status where not ready");
    assert!(reached.is_some(), "asked for:\n{expected}there is:\n{seen}{}", why());
    assert_eq!(variables(place), *asked, "one application each, as the row says");
    let open = sql(server, url, "select count(*) from berth.intents");
    assert_eq!(open, "0\n", "nothing is waited for");
}

/// The applications that there are, by their stacks, each with what runs as its variable ROUND.
pub fn variables(place: &Place) -> Asked {
    let dump = place.sim.dump();
    let apps = dump["applications"].as_array().unwrap();
    let variable = |app: &serde_json::Value| {
        let service = &dump["services"][app["appName"].as_str()?];
        let env = service["Spec"]["TaskTemplate"]["ContainerSpec"]["Env"].as_array()?;
        env.iter().find_map(|line| line.as_str()?.strip_prefix("ROUND=")?.parse().ok())
    };
    let all: Asked = apps
        .iter()
        .map(|app| {
            let mark = app["description"].as_str().unwrap_or_default();
            let stack = mark.split('/').nth(2).unwrap_or(mark).to_owned();
            (stack, variable(app).unwrap_or(usize::MAX))
        })
        .collect();
    assert_eq!(all.len(), apps.len(), "two of one stack: {dump}");
    all
}
