//! Two daemons on one database, as processes: whatever happens to the one that leads, the other goes on, nothing is
//! made twice, and nobody calls out who does not lead.

mod common;

use berth_servers::{Postgres, free_port};
use berth_sim::Role;
use common::{Place, berth};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::watch;

/// The longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

fn within<T>(patience: Duration, mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    while began.elapsed() < patience {
        if let Some(found) = found() {
            return Some(found);
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    None
}

fn wait<T>(what: &str, found: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, found).unwrap_or_else(|| panic!("{what}: not within {PATIENCE:?}"))
}

/// A way to the database that can be cut: what is sent then goes nowhere, and nobody is told.
struct Way {
    address: SocketAddr,
    open: watch::Sender<bool>,
}

impl Way {
    fn to(place: &Place, port: u16) -> Self {
        let listener = place.runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let (open, state) = watch::channel(true);
        place.runtime.spawn(async move {
            loop {
                let Ok((here, _)) = listener.accept().await else { return };
                let mut state = state.clone();
                tokio::spawn(async move {
                    if state.wait_for(|open| *open).await.is_err() {
                        return;
                    }
                    let Ok(there) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else { return };
                    let (here, there) = (here.into_split(), there.into_split());
                    let (up, down) = (state.clone(), state.clone());
                    tokio::select! {
                        () = pump(here.0, there.1, up) => {}
                        () = pump(there.0, here.1, down) => {}
                        // Held until the way is open again: then both ends find that it broke.
                        () = async {
                            let _ = state.wait_for(|open| !*open).await;
                            let _ = state.wait_for(|open| *open).await;
                        } => {}
                    }
                });
            }
        });
        Self { address, open }
    }
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, open: watch::Receiver<bool>) {
    let mut chunk = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        if !*open.borrow() {
            std::future::pending::<()>().await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// One daemon, and how to ask it.
struct Daemon {
    name: &'static str,
    key: String,
    way: Way,
    port: u16,
    child: Option<Child>,
}

impl Daemon {
    fn of(place: &Place, server: &Postgres, url: &str, name: &'static str) -> Self {
        let way = Way::to(place, server.port());
        let key = place.sim.issue_key(Role::Owner);
        let port = free_port();
        let url = url.replace(&server.port().to_string(), &way.address.port().to_string());
        place.write(&format!("{name}.key"), &key);
        place.write(&format!("{name}.url"), &url);
        let settings = format!(
            "owner: test\nbackends:\n  main: {{dokploy: \"http://{}\", key: {{file: {name}.key}}, checkRegistry: false, timeout: 1s}}\n\
             source: {{postgres: {{file: {name}.url}}}}\nstate: {{postgres: {{file: {name}.url}}}}\n\
             vault: {{keys: {{file: vault.keys}}}}\nlisten: \"127.0.0.1:{port}\"\n",
            place.dokploy
        );
        place.write(&format!("{name}.yaml"), &settings);
        let mut daemon = Self { name, key, way, port, child: None };
        daemon.up(place);
        daemon
    }

    fn up(&mut self, place: &Place) {
        let log = std::fs::File::options().create(true).append(true).open(self.log(place)).unwrap();
        let mut command = berth(place.path());
        command.args(["--config", &format!("{}.yaml", self.name), "run", "--no-live", "--log", "json"]);
        self.child = Some(command.stdout(Stdio::null()).stderr(log).spawn().expect("berth starts"));
        wait("the daemon answers", || self.leads());
    }

    fn log(&self, place: &Place) -> std::path::PathBuf {
        place.path().join(format!("{}.log", self.name))
    }

    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().and_then(|c| Pid::from_raw(i32::try_from(c.id()).unwrap()));
        kill_process(pid.expect("it runs"), signal).unwrap();
    }

    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
    }

    /// Whether it leads; `None` where it does not answer.
    fn leads(&self) -> Option<bool> {
        Some(self.readiness()?.contains("\"leads\":true"))
    }

    fn stands_by(&self) -> bool {
        self.readiness().is_some_and(|r| r.contains("\"ready\":true") && r.contains("\"leads\":false"))
    }

    fn readiness(&self) -> Option<String> {
        self.ask("/readyz")
    }

    /// How many leads it lost since it began.
    fn lost(&self) -> Option<u64> {
        let metrics = self.ask("/metrics")?;
        metrics.lines().find_map(|l| l.strip_prefix("berth_lease_lost_total "))?.trim().parse().ok()
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_millis(500))).ok()?;
        let request = format!("GET {path} HTTP/1.0\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
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
const TEMPLATE: &str = "insert into berth.stack_templates (name, spec) values ('web', '{\"target\": {\"project\": \"shared\", \
             \"environment\": \"production\", \"create\": true}, \"apps\": {\"web\": {\"image\": \"registry.sim/blog/web:1\", \
             \"port\": 8080, \"volumes\": {\"data\": \"/data\"}}}}');";

/// What may happen to a leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Blow {
    Killed,
    Stopped,
    CutOff,
    EndedPolitely,
}

const BLOWS: [Blow; 4] = [Blow::Killed, Blow::Stopped, Blow::CutOff, Blow::EndedPolitely];

/// A small generator, so that a run can be told again.
fn roll(seed: &mut u64) -> usize {
    *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*seed >> 33).unwrap()
}

fn sql(server: &Postgres, url: &str, text: &str) -> String {
    server.psql(url, &["-At", "-c", text])
}

/// A server, a database with a template, and two daemons on it.
fn stage() -> (Place, Postgres, String, [Daemon; 2]) {
    let place = Place::new();
    let server = Postgres::start();
    let url = server.database();
    let daemons = ["a", "b"].map(|name| Daemon::of(&place, &server, &url, name));
    assert_eq!(sql(&server, &url, TEMPLATE), "");
    (place, server, url, daemons)
}

/// `BERTH_SEED`, else this; told, so that a run can be told again.
fn seed(otherwise: u64) -> u64 {
    let seed = std::env::var("BERTH_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(otherwise);
    eprintln!("BERTH_SEED={seed}");
    seed
}

/// Three changes, each acknowledged, or refused for a reason.
fn change_rows(server: &Postgres, url: &str, seed: &mut u64, round: usize, wanted: &mut BTreeSet<String>) {
    for _ in 0..3 {
        let name = format!("s{}", roll(seed) % 8);
        // What is being removed cannot be asked for again before it is gone.
        // More than three removals at once are held until a person confirms them.
        let removing = "select count(*) >= 2 from berth.stacks where deletion_requested_at is not null";
        let text = if wanted.contains(&name)
            && roll(seed).is_multiple_of(3)
            && sql(server, url, removing) == "f\n"
        {
            format!("delete from berth.stacks where name = '{name}'")
        } else {
            let spec = format!("{{\"apps\": {{\"web\": {{\"env\": {{\"ROUND\": \"{round}\"}}}}}}}}");
            format!("insert into berth.stacks (name, template, spec) values ('{name}', 'web', '{spec}')")
        };
        let said = sql(server, url, &text);
        match (text.starts_with("insert"), said.is_empty()) {
            (true, true) => drop(wanted.insert(name)),
            (false, true) => drop(wanted.remove(&name)),
            (_, false) => {
                assert!(said.contains("exists already") || said.contains("is being removed"), "{said}")
            }
        }
    }
}

/// Waits until everything is as the rows say, and holds that there is one of each.
fn all_is_true(place: &Place, server: &Postgres, url: &str, wanted: &BTreeSet<String>) {
    let expected: String = wanted.iter().map(|name| format!("{name}|t\n")).collect();
    let mut seen = String::new();
    // A create that was sent and not answered is waited for, for twice its time limit and a minute.
    let reached = within(3 * PATIENCE, || {
        seen = sql(server, url, "select name, ready from berth.stack_status order by 1");
        (seen == expected).then_some(())
    });
    let why = || sql(server, url, "select * from berth.stack_status where not ready");
    assert!(reached.is_some(), "wanted:\n{expected}there is:\n{seen}{}", why());
    let dump = place.sim.dump();
    let apps = dump["applications"].as_array().map(Vec::len);
    assert_eq!(apps, Some(wanted.len()), "one application each: {dump}");
}

#[test]
fn whatever_happens_to_the_leader_the_other_goes_on() {
    let rounds = if std::env::var("BERTH_LONG").is_ok() { 200 } else { 20 };
    let mut seed = seed(7);
    let (place, server, url, mut daemons) = stage();
    // Every lead as the database saw it: who could have called out when.
    let told = sql(
        &server,
        &url,
        "create table leads (holder text, epoch bigint, at timestamptz, until timestamptz);
         create function note_lead() returns trigger language plpgsql as $$ begin
             insert into leads values (new.holder, new.epoch, clock_timestamp(), new.expires_at); return null; end $$;
         create trigger note_lead after update on berth.lease for each row when (new.holder is not null)
             execute function note_lead();
         insert into leads select holder, epoch, renewed_at, expires_at from berth.lease where holder is not null;",
    );
    assert_eq!(told, "");
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    let mut took: BTreeMap<Blow, Vec<Duration>> = BTreeMap::new();
    for round in 0..rounds {
        let leader = wait("one leads and one stands by", || {
            let leader = daemons.iter().position(|d| d.leads() == Some(true))?;
            daemons[1 - leader].stands_by().then_some(leader)
        });
        let other = 1 - leader;
        change_rows(&server, &url, &mut seed, round, &mut wanted);
        let blow = BLOWS[roll(&mut seed) % BLOWS.len()];
        let lost = wait("it tells the leads it lost", || daemons[leader].lost());
        let began = Instant::now();
        match blow {
            Blow::Killed => daemons[leader].signal(Signal::KILL),
            Blow::Stopped => daemons[leader].signal(Signal::STOP),
            Blow::CutOff => drop(daemons[leader].way.open.send(false)),
            Blow::EndedPolitely => {
                daemons[leader].signal(Signal::TERM);
                // From when nothing of it is under way any more, which is when it ends.
                daemons[leader].end();
            }
        }
        let began = if blow == Blow::EndedPolitely { Instant::now() } else { began };
        wait("the other leads", || (daemons[other].leads() == Some(true)).then_some(()));
        took.entry(blow).or_default().push(began.elapsed());
        match blow {
            Blow::Killed | Blow::EndedPolitely => {
                daemons[leader].end();
                daemons[leader].up(&place);
            }
            Blow::Stopped => daemons[leader].signal(Signal::CONT),
            Blow::CutOff => drop(daemons[leader].way.open.send(true)),
        }
        if matches!(blow, Blow::Stopped | Blow::CutOff) {
            wait("it knows that it lost the lead", || (daemons[leader].lost()? == lost + 1).then_some(()));
        }
    }
    took.values_mut().for_each(|all| all.sort());
    eprintln!("take-overs: {took:?}");
    // The middle one: the machine may be busy with something else.
    let limit = |blow| Duration::from_millis(if blow == Blow::EndedPolitely { 200 } else { 5_000 });
    assert!(took.iter().all(|(blow, all)| all[all.len() / 2] < limit(*blow)), "{took:?}");
    all_is_true(&place, &server, &url, &wanted);
    nobody_called_who_did_not_lead(&place, &server, &url, &daemons);
}

/// Holds the simulator's log of calls against the database's log of leads.
fn nobody_called_who_did_not_lead(place: &Place, server: &Postgres, url: &str, daemons: &[Daemon; 2]) {
    let began = place.began;
    let leads = sql(
        server,
        url,
        "select holder, min(extract(epoch from at)), max(extract(epoch from until)) from leads group by holder, epoch",
    );
    let mut pids: BTreeMap<String, &str> = BTreeMap::new();
    for daemon in daemons {
        let log = std::fs::read_to_string(daemon.log(place)).unwrap();
        for line in log.lines().filter(|l| l.contains("this daemon leads now")) {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let holder = line["holder"].as_str().expect("it says under which name");
            pids.insert(holder.to_owned(), &daemon.key);
        }
    }
    let mut terms: Vec<(&str, f64, f64)> = Vec::new();
    for line in leads.lines() {
        let [holder, from, to] = line.split('|').collect::<Vec<_>>()[..] else { panic!("{line}") };
        // One that was killed before it said so called nobody.
        if let Some(key) = pids.get(holder) {
            terms.push((key, from.parse().unwrap(), to.parse().unwrap()));
        }
    }
    let mut calls = 0;
    for call in place.sim.calls() {
        if daemons.iter().all(|d| d.key != call.key) {
            continue;
        }
        calls += 1;
        let at = began + call.at.as_secs_f64();
        let led = terms.iter().any(|(key, from, to)| *key == call.key && *from <= at && at <= *to);
        assert!(led, "{} at {at} by one that did not lead: {terms:?}", call.procedure);
    }
    assert!(calls > 100, "they called: {calls}");
}

#[test]
fn whatever_happens_to_the_database_no_row_is_lost() {
    let rounds = if std::env::var("BERTH_LONG").is_ok() { 50 } else { 10 };
    let mut seed = seed(11);
    let (place, server, url, daemons) = stage();
    let mut wanted: BTreeSet<String> = BTreeSet::new();
    for round in 0..rounds {
        wait("somebody leads", || daemons.iter().any(|d| d.leads() == Some(true)).then_some(()));
        change_rows(&server, &url, &mut seed, round, &mut wanted);
        // At another moment of what the rows set going each time.
        let calls = place.sim.calls().len() + roll(&mut seed) % 12;
        within(Duration::from_millis(500), || (place.sim.calls().len() >= calls).then_some(()));
        if roll(&mut seed).is_multiple_of(2) {
            server.stop();
        } else {
            server.crash();
        }
        wait("nobody leads without it", || daemons.iter().all(|d| d.leads() == Some(false)).then_some(()));
        server.up();
    }
    all_is_true(&place, &server, &url, &wanted);
}
