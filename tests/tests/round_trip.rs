//! Every value of every field is written, read back and found equal; and unset again, the world is as before.

use berth_model::{Key, StackName};
use berth_store::Memory;
use berth_tests::{Rig, RigOptions, START, canon, differences};

const BASE: &str = "
apiVersion: berth.dev/v1
kind: Stack
metadata: {name: one}
spec:
  target: {dokploy: main, project: shared, environment: production, create: true}
  apps:
    app:
      image: registry.sim/app:1
      port: 3000
      hosts: {one.test: {https: none}}
";

/// One app with these lines more.
fn with(lines: &str) -> String {
    let mut text = BASE.to_owned();
    for line in lines.lines().filter(|l| !l.trim().is_empty()) {
        text.push_str("      ");
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The text of each field of an application, once for each kind of value that it can have.
const VALUES: &[&str] = &[
    "replicas: 0",
    "replicas: 3",
    "command: [node, server.js]",
    "command: node server.js",
    "args: [--level, high]",
    "resources: {memory: 64Mi}",
    "resources: {memory: 1.5Gi, cpu: 0.25, reserve: {memory: 64Mi, cpu: 0.1}}",
    "labels: {team: a, empty: ''}",
    "env: {A: plain, B: 'two words', C: '# not a comment', D: \"it's `quoted`\", E: '', F: 8080, G: true, H: 'a=b'}",
    "env: {LINES: \"one\\ntwo\"}",
    "env: {DOLLAR: '$$HOME', BRACES: '{\"json\": 1}', BACK: 'a\\b'}",
    "env: {T: {generate: {bytes: 24, encoding: base64url}}, U: {generate: {bytes: 16, version: 2}}}",
    "health: {cmd: [CMD, check], interval: 10s, timeout: 3s, retries: 5, startPeriod: 20s}",
    "health: {cmd: curl -f http://localhost/}",
    "update: {order: stop-first, parallel: 2, monitor: 10s, onFailure: pause}",
    "update: {order: start-first}",
    "stopGrace: 1m",
    "volumes: {data-one: /data}",
    "binds: {/srv/one: /bound}",
    "files: {/etc/one.conf: {content: \"a = 'b'\\nc = \\\"d\\\"\\n\"}}",
    "ports: {'18080': 3000}",
    "ports: {'18081': {target: 53, protocol: udp, mode: host}}",
];

/// Hosts have values of their own.
const HOSTS: &[&str] = &[
    "one.test: {https: letsencrypt}",
    "one.test: {https: internal-ca}",
    "one.test: {path: /api, https: none}",
    "one.test: {path: /api, https: none, stripPath: true}",
    "one.test: {path: /api, https: none, internalPath: /v1}",
    "one.test: {https: none, port: 8080}",
    "one.test: {https: none}, two.test: {https: none}",
];

async fn check(name: &str, text: String) {
    let mut rig = Rig::new(RigOptions::seed(3));
    rig.files.insert("one.yaml".into(), BASE.into());
    rig.converge().await;
    let before = canon(&rig.sim.dump());
    rig.files.insert("one.yaml".into(), text);
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{name}: {}", rig.tell(&engine));
    let generation = engine.record(&Key::Stack(StackName::new("one").unwrap())).map(|r| r.generation);
    assert_eq!(generation, Some(2), "{name} is a new generation");
    drop(engine);
    assert_ne!(canon(&rig.sim.dump()), before, "{name} changes something");
    // With the store lost everything is read and compared: a value that does not read back would be written again.
    rig.replace_store(Memory::new(START));
    rig.sim.clear_calls();
    let engine = rig.converge().await;
    assert!(Rig::ready(&engine, "one"), "{name}: {}", rig.tell(&engine));
    drop(engine);
    let writes: Vec<_> = rig.sim.calls().into_iter().filter(|c| c.mutation).map(|c| c.procedure).collect();
    assert!(writes.is_empty(), "{name} does not read back: {writes:?}");
    rig.files.insert("one.yaml".into(), BASE.into());
    rig.converge().await;
    let mut after = canon(&rig.sim.dump());
    after["volumes"] = before["volumes"].clone();
    assert_eq!(after, before, "{name} unset:\n{}", differences(&before, &after));
}

#[tokio::test(start_paused = true)]
async fn every_value_of_every_field() {
    for value in VALUES {
        check(value, with(value)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_value_of_a_host() {
    for host in HOSTS {
        check(host, BASE.replace("{one.test: {https: none}}", &format!("{{{host}}}"))).await;
    }
}
