//! Service specifications: what a deployment hands to Swarm, and how `docker inspect` prints it.
//! A spec must never be patched in place once handed over: tasks keep the one they were started from.

use serde_json::{Value, json};

use crate::columns::Application;
use crate::rows::{Mount, Port};

pub(crate) const NETWORK: &str = "dokploy-network";

#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Replicated(u32),
    Global,
    /// A job; the value is the raw mode object.
    Job(Value),
}

/// A Swarm service spec, flattened. JSON parts that nothing here looks into stay JSON.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    pub image: String,
    /// Container labels (`labelsSwarm`).
    pub labels: Value,
    pub env: Vec<String>,
    pub command: Option<Vec<String>>,
    pub args: Option<Vec<String>>,
    /// Docker mount objects: Type, Source, Target.
    pub mounts: Vec<Value>,
    pub health: Value,
    pub stop_grace: Value,
    pub ulimits: Value,
    pub resources: Value,
    pub restart: Value,
    pub placement: Value,
    pub networks: Vec<Value>,
    pub force_update: u64,
    pub mode: Mode,
    pub update: Value,
    pub rollback: Value,
    /// `vip` or `dnsrr`.
    pub endpoint: String,
    pub ports: Vec<Value>,
}

impl Spec {
    /// A plain service as `docker service create IMAGE` makes it.
    pub fn plain(image: &str) -> Spec {
        Spec {
            image: image.to_owned(),
            labels: json!({}),
            env: Vec::new(),
            command: None,
            args: None,
            mounts: Vec::new(),
            health: Value::Null,
            stop_grace: Value::Null,
            ulimits: Value::Null,
            resources: json!({"Limits": {}, "Reservations": {}}),
            restart: Value::Null,
            placement: json!({}),
            networks: vec![json!({"Target": NETWORK})],
            force_update: 0,
            mode: Mode::Replicated(1),
            update: json!({"Parallelism": 1, "Order": "start-first", "FailureAction": "rollback"}),
            rollback: json!({"Parallelism": 1, "Order": "start-first"}),
            endpoint: "vip".to_owned(),
            ports: Vec::new(),
        }
    }

    /// The spec an application's row asks for, or why Docker refuses it.
    pub fn of(
        app: &Application,
        mounts: &[&Mount],
        ports: &[&Port],
        env: Vec<String>,
    ) -> Result<Spec, String> {
        let image = app.text("dockerImage").unwrap_or("ERROR-NO-IMAGE-PROVIDED");
        let mut spec = Spec::plain(image);
        spec.env = env;
        let given = |column: &str| Some(app.get(column)).filter(|v| !v.is_null()).cloned();
        let command = app.text("command").filter(|text| !text.is_empty());
        spec.command = command.map(|text| text.split(' ').map(str::to_owned).collect());
        spec.args = texts(app.get("args")).filter(|list| !list.is_empty());
        if let Some(labels) = given("labelsSwarm") {
            spec.labels = labels;
        }
        spec.mounts = mounts.iter().map(|m| mount(&app.app_name, m)).collect();
        spec.health = given("healthCheckSwarm").unwrap_or(Value::Null);
        spec.stop_grace = given("stopGracePeriodSwarm").unwrap_or(Value::Null);
        spec.ulimits = given("ulimitsSwarm").unwrap_or(Value::Null);
        spec.resources = resources(app)?;
        spec.restart = given("restartPolicySwarm").unwrap_or(Value::Null);
        let pinned = json!({"Constraints": ["node.role==manager"]});
        let fallback = if mounts.is_empty() { json!({}) } else { pinned };
        spec.placement = given("placementSwarm").unwrap_or(fallback);
        spec.networks = networks(app);
        spec.mode = mode(app);
        if let Some(update) = given("updateConfigSwarm") {
            spec.update = update;
        }
        if let Some(rollback) = given("rollbackConfigSwarm") {
            spec.rollback = rollback;
        }
        let published = |p: &&Port| {
            json!({"Protocol": p.protocol, "TargetPort": p.target_port, "PublishedPort": p.published_port,
                   "PublishMode": p.publish_mode})
        };
        spec.ports = ports.iter().map(published).collect();
        // A set endpoint spec replaces the ports table entirely.
        if let Some(endpoint) = given("endpointSpecSwarm") {
            spec.endpoint = endpoint["Mode"].as_str().unwrap_or("vip").to_owned();
            spec.ports = endpoint["Ports"].as_array().cloned().unwrap_or_default();
        }
        Ok(spec)
    }

    /// How many tasks the mode asks for on a one-node swarm.
    pub fn desired(&self) -> u32 {
        match &self.mode {
            Mode::Replicated(n) => *n,
            Mode::Global => 1,
            Mode::Job(raw) => {
                raw.pointer("/ReplicatedJob/TotalCompletions").and_then(Value::as_u64).unwrap_or(1) as u32
            }
        }
    }

    pub fn on_shared_network(&self) -> bool {
        self.networks.iter().any(|n| n["Target"] == NETWORK)
    }

    /// True when two specs start the same containers, so that a change between them is a mere scaling.
    pub fn same_tasks(&self, other: &Spec) -> bool {
        let mut other = other.clone();
        other.mode = self.mode.clone();
        *self == other
    }

    /// As `docker inspect` prints the `Spec` of a service.
    pub fn inspect(&self, name: &str) -> Value {
        let mut container = json!({"Image": self.image});
        if self.labels.as_object().is_some_and(|l| !l.is_empty()) {
            container["Labels"] = self.labels.clone();
        }
        for (key, list) in [("Command", &self.command), ("Args", &self.args)] {
            if let Some(list) = list {
                container[key] = Value::from(list.clone());
            }
        }
        if !self.env.is_empty() {
            container["Env"] = Value::from(self.env.clone());
        }
        if !self.mounts.is_empty() {
            container["Mounts"] = Value::from(self.mounts.clone());
        }
        for (key, part) in
            [("StopGracePeriod", &self.stop_grace), ("Healthcheck", &self.health), ("Ulimits", &self.ulimits)]
        {
            if !part.is_null() {
                container[key] = part.clone();
            }
        }
        container["Isolation"] = Value::from("default");
        let mut template = json!({"ContainerSpec": container, "Resources": self.resources});
        if !self.restart.is_null() {
            template["RestartPolicy"] = self.restart.clone();
        }
        template["Placement"] = self.placement.clone();
        template["Networks"] = Value::from(self.networks.clone());
        template["ForceUpdate"] = Value::from(self.force_update);
        template["Runtime"] = Value::from("container");
        let mode = match &self.mode {
            Mode::Replicated(n) => json!({"Replicated": {"Replicas": n}}),
            Mode::Global => json!({"Global": {}}),
            Mode::Job(raw) => raw.clone(),
        };
        let mut endpoint = json!({"Mode": self.endpoint});
        if !self.ports.is_empty() {
            endpoint["Ports"] = Value::from(self.ports.clone());
        }
        json!({"Name": name, "Labels": {}, "TaskTemplate": template, "Mode": mode, "UpdateConfig": self.update,
               "RollbackConfig": self.rollback, "EndpointSpec": endpoint})
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    Some(value.as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect())
}

fn mount(app_name: &str, row: &Mount) -> Value {
    let (kind, source) = match row.kind.as_str() {
        "volume" => ("volume", row.volume_name.clone().unwrap_or_default()),
        "file" => {
            let file = row.file_path.as_deref().unwrap_or_default();
            ("bind", format!("/etc/dokploy/applications/{app_name}/files/{file}"))
        }
        _ => ("bind", row.host_path.clone().unwrap_or_default()),
    };
    json!({"Type": kind, "Source": source, "Target": row.mount_path})
}

fn networks(app: &Application) -> Vec<Value> {
    if let Some(list) = app.get("networkSwarm").as_array()
        && !list.is_empty()
    {
        return list.clone();
    }
    let mut out = Vec::new();
    if app.get("detachDokployNetwork") != &Value::Bool(true) {
        out.push(json!({"Target": NETWORK}));
    }
    out.extend(texts(app.get("networkIds")).into_iter().flatten().map(|id| json!({"Target": id})));
    out
}

fn mode(app: &Application) -> Mode {
    let raw = app.get("modeSwarm");
    if let Some(replicated) = raw.get("Replicated") {
        let replicas = replicated["Replicas"].as_u64().unwrap_or(1);
        return Mode::Replicated(u32::try_from(replicas).unwrap_or(u32::MAX));
    }
    if raw.get("Global").is_some() {
        return Mode::Global;
    }
    if raw.get("ReplicatedJob").or_else(|| raw.get("GlobalJob")).is_some() {
        return Mode::Job(raw.clone());
    }
    Mode::Replicated(app.int("replicas").and_then(|n| u32::try_from(n).ok()).unwrap_or(0))
}

/// `parseInt`: leading digits, or nothing.
fn leading_int(text: &str) -> Option<i64> {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text[..digits].parse().ok()
}

fn resources(app: &Application) -> Result<Value, String> {
    let read = |column: &str| app.text(column).and_then(leading_int);
    let mut limits = json!({});
    let mut reservations = json!({});
    for (target, memory, cpu) in
        [(&mut limits, "memoryLimit", "cpuLimit"), (&mut reservations, "memoryReservation", "cpuReservation")]
    {
        if let Some(bytes) = read(memory).filter(|n| *n != 0) {
            if bytes < 4 << 20 {
                return Err(format!("invalid memory value {bytes}: Must be at least 4MiB"));
            }
            target["MemoryBytes"] = Value::from(bytes);
        }
        if let Some(cpus) = read(cpu).filter(|n| *n != 0) {
            target["NanoCPUs"] = Value::from(cpus);
        }
    }
    Ok(json!({"Limits": limits, "Reservations": reservations}))
}
