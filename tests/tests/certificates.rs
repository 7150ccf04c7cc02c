//! Certificates over weeks of virtual time: each turn is told once, nothing is ever held up by one, and hosts that no
//! health check shows are looked at rarely.

use berth_engine::Engine;
use berth_model::Time;
use berth_model::condition::{ConditionType, Reason, Status};
use berth_model::config::Intervals;
use berth_model::ids::{Key, StackName};
use berth_sim::Certificate;
use berth_tests::{Rig, RigOptions, START, TestWorld};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

/// Weeks go by: a pass and a check now and then are enough.
fn rig() -> Rig {
    let mut options = RigOptions::seed(3);
    options.intervals = Intervals { resync: HOUR / 4, audit: DAY, health: HOUR, ..Intervals::default() };
    Rig::new(options)
}

fn stack(name: &str, health: &str) -> String {
    format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: {name}}}\nspec:\n  \
         target: {{dokploy: main, ownProject: {name}}}\n  \
         apps: {{app: {{image: \"registry.sim/app:1\", port: 80, hosts: {{{name}.test: {{https: letsencrypt}}}}{health}}}}}\n"
    )
}

fn shows(rig: &Rig, name: &str, until: Time, believed: bool) {
    let certificate = Certificate { until: until.0, believed };
    rig.sim.set_certificate(&format!("{name}.test"), Some(certificate));
}

/// The condition of a stack's certificates, and that the stack is Ready whatever it says.
fn said(engine: &Engine<TestWorld>, name: &str) -> Option<(Status, Reason, String)> {
    let status = engine.status_of(&Key::Stack(StackName::new(name).unwrap())).unwrap();
    assert!(status.is_ready(), "{status:?}");
    let condition = status.condition(ConditionType::CertificateReady)?;
    Some((condition.status, condition.reason, condition.message.clone()))
}

fn count(engine: &Engine<TestWorld>, state: &str) -> i64 {
    engine.metrics().certificates.with_label_values(&["main", state]).get()
}

/// A daemon that runs beside the test.
struct Running {
    engine: Arc<Engine<TestWorld>>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn start(rig: &mut Rig) -> Self {
        let engine = rig.daemon().await;
        engine.set_wanted(rig.wanted());
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (engine, stop) = (engine.clone(), stop.clone());
            async move { engine.run(stop).await }
        });
        Self { engine, stop, task }
    }

    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_certificate_that_is_not_renewed_is_told_at_each_turn() {
    let mut rig = rig();
    rig.files.insert("checked.yaml".into(), stack("checked", ", health: {http: /}"));
    rig.files.insert("plain.yaml".into(), stack("plain", ""));
    let ends = START.after(30 * DAY);
    shows(&rig, "checked", START.after(200 * DAY), true);
    shows(&rig, "plain", ends, true);
    let daemon = Running::start(&mut rig).await;
    let engine = &daemon.engine;
    tokio::time::sleep(DAY).await;
    assert_eq!((said(engine, "checked"), said(engine, "plain")), (None, None), "{}", rig.tell(engine));
    assert_eq!((count(engine, "ok"), count(engine, "unseen")), (2, 0));
    let expiry = engine.metrics().certificate_expiry.with_label_values(&["main"]).get();
    assert_eq!(expiry * 1000.0, ends.0 as f64);

    rig.sim.clear_calls();
    let commits = rig.store.commits();
    let day = "2026-01-31T00:00:00Z";
    let renewal = "it should have been renewed by now: the proxy's log says why it was not (docker logs dokploy-traefik)";
    for (days, state, condition) in [
        (16, "expiring_14d", (Status::True, Reason::CertificateExpiring, format!("expires at {day}"))),
        (11, "expiring_3d", (Status::True, Reason::CertificateExpiring, format!("expires at {day}"))),
        (4, "expired", (Status::False, Reason::CertificateExpired, format!("expired at {day}"))),
    ] {
        tokio::time::sleep(days * DAY).await;
        let (status, reason, words) = condition;
        let message = format!("the certificate of plain.test {words}; {renewal}");
        assert_eq!(said(engine, "plain"), Some((status, reason, message)), "{state}");
        assert_eq!((count(engine, state), count(engine, "ok")), (1, 1), "{state}");
        assert_eq!(said(engine, "checked"), None, "{state}");
    }
    assert_eq!(rig.store.commits(), commits + 2, "written at each turn and at no other time");

    shows(&rig, "plain", START.after(120 * DAY), true);
    tokio::time::sleep(7 * HOUR).await;
    assert_eq!(said(engine, "plain"), None, "a renewal shows the same day");
    assert_eq!((count(engine, "expired"), count(engine, "ok")), (0, 2));
    assert!(!rig.sim.calls().iter().any(|c| c.mutation), "no certificate is worth a write to Dokploy");
    daemon.end().await;
}

#[tokio::test(start_paused = true)]
async fn no_certificate_fails_the_gate() {
    for (until, believed, reason, state) in [
        (START, true, Reason::CertificateExpired, "expired"),
        (START.after(90 * DAY), false, Reason::CertificatePending, "pending"),
    ] {
        let mut rig = rig();
        rig.files.insert("checked.yaml".into(), stack("checked", ", health: {http: /}"));
        shows(&rig, "checked", until, believed);
        let daemon = Running::start(&mut rig).await;
        tokio::time::sleep(3 * HOUR).await;
        let condition = said(&daemon.engine, "checked").unwrap();
        assert_eq!((condition.0, condition.1), (Status::False, reason), "{condition:?}");
        assert_eq!(count(&daemon.engine, state), 1);
        daemon.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_forgets_no_bad_certificate_and_repeats_no_word() {
    let mut rig = rig();
    rig.files.insert("plain.yaml".into(), stack("plain", ""));
    shows(&rig, "plain", START.after(90 * DAY), false);
    let daemon = Running::start(&mut rig).await;
    tokio::time::sleep(3 * HOUR).await;
    let before = said(&daemon.engine, "plain").unwrap();
    assert_eq!(before.2, "the certificate of plain.test: unknown issuer");
    daemon.end().await;
    let commits = rig.store.commits();
    let daemon = Running::start(&mut rig).await;
    tokio::time::sleep(DAY).await;
    assert_eq!(said(&daemon.engine, "plain"), Some(before));
    assert_eq!(rig.store.commits(), commits);
    // The host cannot be reached any more: what was seen last is not the truth for ever.
    rig.sim.with(|world| world.traefik.down = true);
    tokio::time::sleep(4 * DAY).await;
    assert_eq!(said(&daemon.engine, "plain"), None);
    assert_eq!(count(&daemon.engine, "unseen"), 1);
    daemon.end().await;
}

#[tokio::test(start_paused = true)]
async fn hosts_that_no_check_shows_are_looked_at_rarely() {
    const STACKS: u64 = 60;
    let mut rig = rig();
    for n in 0..STACKS {
        rig.files.insert(format!("s{n}.yaml"), stack(&format!("s{n}"), ""));
        shows(&rig, &format!("s{n}"), START.after(90 * DAY), true);
    }
    let daemon = Running::start(&mut rig).await;
    // A few passes until all are Ready, and twenty more.
    tokio::time::sleep(7 * HOUR).await;
    assert_eq!(count(&daemon.engine, "ok"), 60);
    let asked = || rig.probed.load(Ordering::SeqCst);
    let first = asked();
    assert!((STACKS..=2 * STACKS).contains(&first), "{first}");
    tokio::time::sleep(10 * DAY).await;
    let looks = asked() - first;
    assert!((19 * STACKS..=21 * STACKS).contains(&looks), "twice a day each: {looks}");
    daemon.end().await;
}
