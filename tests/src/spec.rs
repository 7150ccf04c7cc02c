//! Random specs, as data and as YAML: what the random worlds walk through.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A random number generator for specs (splitmix64).
#[derive(Clone)]
pub struct Walk(u64);

impl Walk {
    /// From a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x1357_9bdf)
    }
    /// Below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
    }
    fn some(&mut self, n: u64) -> Option<u64> {
        let v = self.below(n + 1);
        (v > 0).then_some(v)
    }
}

/// One stack's spec: every field that can be set, changed and unset.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RandomStack {
    slot: usize,
    name: String,
    formerly: Option<String>,
    image: u64,
    staging: bool,
    own: bool,
    worker: bool,
    replicas: Option<u64>,
    memory: Option<u64>,
    cpu: Option<u64>,
    command: Option<u64>,
    args: Option<u64>,
    label: Option<u64>,
    volume: Option<u64>,
    bind: Option<u64>,
    file: Option<u64>,
    port: Option<u64>,
    grace: Option<u64>,
    check: Option<u64>,
    update: Option<u64>,
    health: bool,
    env: BTreeMap<char, u64>,
    hosts: BTreeSet<u64>,
    https: u64,
}

impl RandomStack {
    /// A new one in a slot: names and hosts of two slots never meet.
    pub fn new(slot: usize, walk: &mut Walk) -> Self {
        let mut stack =
            Self { slot, name: format!("s{slot}"), image: 1, own: walk.below(4) == 0, ..Self::default() };
        for _ in 0..walk.below(6) {
            stack.mutate(walk);
        }
        stack.name = format!("s{slot}");
        stack.formerly = None;
        stack
    }

    /// Sets, changes or unsets one field, or renames, or moves.
    pub fn mutate(&mut self, walk: &mut Walk) {
        match walk.below(21) {
            0 => self.image = 1 + walk.below(3),
            1 => self.staging = !self.staging,
            2 => self.worker = !self.worker,
            3 => self.replicas = walk.some(3),
            4 => self.memory = walk.some(3),
            5 => self.cpu = walk.some(3),
            6 => self.command = walk.some(3),
            7 => self.args = walk.some(3),
            8 => self.label = walk.some(3),
            9 => self.volume = walk.some(2),
            10 => self.bind = walk.some(2),
            11 => self.file = walk.some(3),
            12 => self.port = walk.some(3),
            13 => self.grace = walk.some(3),
            14 => self.check = walk.some(2),
            15 => self.update = walk.some(2),
            16 => self.health = !self.health,
            17 | 18 => {
                let key = char::from(b'A' + u8::try_from(walk.below(4)).unwrap());
                match walk.some(4) {
                    Some(v) => self.env.insert(key, v),
                    None => self.env.remove(&key),
                };
            }
            19 => {
                let host = walk.below(3);
                if !self.hosts.remove(&host) {
                    self.hosts.insert(host);
                }
                self.https = walk.below(3);
            }
            _ => {
                let old = self.name.clone();
                self.name =
                    if old.starts_with('s') { format!("t{}", self.slot) } else { format!("s{}", self.slot) };
                self.formerly = Some(old);
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// As a manifest.
    pub fn yaml(&self) -> String {
        let mut y = String::from("apiVersion: berth.dev/v1\nkind: Stack\n");
        let formerly = self.formerly.as_ref().map(|f| format!(", formerly: {f}")).unwrap_or_default();
        let _ = writeln!(y, "metadata: {{name: {}{formerly}}}\nspec:", self.name);
        let environment = if self.staging { "staging" } else { "production" };
        if self.own {
            let _ = writeln!(
                y,
                "  target: {{dokploy: main, ownProject: own-{}, environment: {environment}}}",
                self.slot
            );
        } else {
            let _ = writeln!(y, "  target: {{dokploy: main, project: shared, environment: {environment}}}");
        }
        let _ =
            writeln!(y, "  apps:\n    app:\n      image: registry.sim/app:{}\n      port: 3000", self.image);
        let mut line = |key: &str, value: Option<String>| {
            if let Some(value) = value {
                let _ = writeln!(y, "      {key}: {value}");
            }
        };
        let s = self.slot;
        line("replicas", self.replicas.map(|n| (n - 1).to_string()));
        let resources: Vec<String> = [
            self.memory.map(|n| format!("memory: {}Mi", n * 64)),
            self.cpu.map(|n| format!("cpu: 0.{}", n * 25)),
        ]
        .into_iter()
        .flatten()
        .collect();
        line("resources", (!resources.is_empty()).then(|| format!("{{{}}}", resources.join(", "))));
        line("command", self.command.map(|n| format!("[run, \"{n}\"]")));
        line("args", self.args.map(|n| format!("[--level, \"{n}\"]")));
        line("labels", self.label.map(|n| format!("{{tier: \"{n}\"}}")));
        line("volumes", self.volume.map(|n| format!("{{vol-{s}-{n}: /data}}")));
        line("binds", self.bind.map(|n| format!("{{/srv/{n}: /bound}}")));
        line("files", self.file.map(|n| format!("{{/etc/app.conf: {{content: \"level {n}\"}}}}")));
        line("ports", self.port.map(|n| format!("{{\"{}\": 3000}}", 20_000 + s as u64 * 10 + n)));
        line("stopGrace", self.grace.map(|n| format!("{}s", n * 10)));
        line(
            "update",
            self.update.map(|n| format!("{{order: {}}}", if n == 1 { "stop-first" } else { "start-first" })),
        );
        let mut health = Vec::new();
        if self.health && !self.hosts.is_empty() && self.replicas != Some(1) {
            health.push("http: /".to_owned());
        }
        if let Some(n) = self.check {
            health.push(format!("cmd: [CMD, check, \"{n}\"]"));
        }
        line("health", (!health.is_empty()).then(|| format!("{{{}}}", health.join(", "))));
        let env: Vec<String> = self
            .env
            .iter()
            .map(|(k, v)| match v {
                4 => format!("{k}: {{generate: {{bytes: 8}}}}"),
                v => format!("{k}: \"value {v} # '\""),
            })
            .collect();
        line("env", (!env.is_empty()).then(|| format!("{{{}}}", env.join(", "))));
        let https = ["none", "letsencrypt", "own"][usize::try_from(self.https).unwrap()];
        let hosts: Vec<String> =
            self.hosts.iter().map(|h| format!("h{h}.slot{s}.test: {{https: {https}}}")).collect();
        line("hosts", (!hosts.is_empty()).then(|| format!("{{{}}}", hosts.join(", "))));
        if self.worker {
            y.push_str("    worker:\n      image: registry.sim/worker:1\n      needs: [app]\n");
        }
        y
    }
}
