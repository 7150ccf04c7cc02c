//! Each managed field, as Dokploy's column and back. The only place that knows the columns' names and oddities:
//! amounts are texts, times are nanoseconds, `""` and `null` are the same, and a `null` replica count would mean none.

use crate::parse::nullable;
use berth_model::Secret;
use berth_model::dotenv;
use berth_model::field::{Field, Fields, Value};
use berth_model::stack::{HealthCmd, UpdatePolicy};
use berth_ports::PortError;
use berth_wire::redact::cap;
use serde::Deserialize;
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The columns of an application that hold fields. Every key must be there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Columns {
    name: String,
    #[serde(deserialize_with = "nullable")]
    source_type: Option<String>,
    #[serde(deserialize_with = "nullable")]
    docker_image: Option<String>,
    #[serde(deserialize_with = "nullable")]
    username: Option<String>,
    #[serde(deserialize_with = "nullable")]
    password: Option<Secret>,
    #[serde(deserialize_with = "nullable")]
    registry_url: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub(crate) env: Option<Secret>,
    #[serde(deserialize_with = "nullable")]
    command: Option<String>,
    #[serde(deserialize_with = "nullable")]
    args: Option<Vec<String>>,
    replicas: Json,
    #[serde(deserialize_with = "nullable")]
    memory_limit: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    memory_reservation: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    cpu_limit: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    cpu_reservation: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    labels_swarm: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    health_check_swarm: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    update_config_swarm: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    stop_grace_period_swarm: Option<Json>,
    #[serde(deserialize_with = "nullable")]
    auto_deploy: Option<bool>,
}

/// A column's name.
pub(crate) fn column(field: Field) -> &'static str {
    match field {
        Field::Name => "name",
        Field::Source => "sourceType",
        Field::Image => "dockerImage",
        Field::RegistryUser => "username",
        Field::RegistryPassword => "password",
        Field::RegistryUrl => "registryUrl",
        Field::Env => "env",
        Field::Command => "command",
        Field::Args => "args",
        Field::Replicas => "replicas",
        Field::Memory => "memoryLimit",
        Field::MemoryReserve => "memoryReservation",
        Field::Cpu => "cpuLimit",
        Field::CpuReserve => "cpuReservation",
        Field::Labels => "labelsSwarm",
        Field::HealthCmd => "healthCheckSwarm",
        Field::Update => "updateConfigSwarm",
        Field::StopGrace => "stopGracePeriodSwarm",
        Field::AutoDeploy => "autoDeploy",
    }
}

impl Columns {
    /// All fields.
    pub(crate) fn fields(&self) -> Fields {
        Field::ALL.into_iter().map(|f| (f, self.field(f))).collect()
    }

    fn field(&self, field: Field) -> Value {
        match field {
            Field::Name => Value::Text(self.name.clone()),
            Field::Source => text(self.source_type.as_deref()),
            Field::Image => text(self.docker_image.as_deref()),
            Field::RegistryUser => text(self.username.as_deref()),
            Field::RegistryPassword => match &self.password {
                Some(p) if !p.expose().is_empty() => Value::Secret(p.clone()),
                _ => Value::Null,
            },
            Field::RegistryUrl => text(self.registry_url.as_deref()),
            Field::Env => env(self.env.as_ref()),
            // Dokploy splits at every single space, so two in a row are an empty word.
            Field::Command => match self.command.as_deref() {
                None | Some("") => Value::Null,
                Some(c) => Value::List(c.split(' ').map(str::to_owned).collect()),
            },
            Field::Args => match &self.args {
                Some(args) if !args.is_empty() => Value::List(args.clone()),
                _ => Value::Null,
            },
            Field::Replicas => match &self.replicas {
                Json::Null => Value::Null,
                n => n.as_u64().map_or_else(|| foreign("replicas", n), Value::Int),
            },
            Field::Memory => amount("memoryLimit", self.memory_limit.as_ref()),
            Field::MemoryReserve => amount("memoryReservation", self.memory_reservation.as_ref()),
            Field::Cpu => amount("cpuLimit", self.cpu_limit.as_ref()),
            Field::CpuReserve => amount("cpuReservation", self.cpu_reservation.as_ref()),
            Field::Labels => labels(self.labels_swarm.as_ref()),
            Field::HealthCmd => read_json("healthCheckSwarm", self.health_check_swarm.as_ref(), health),
            Field::Update => read_json("updateConfigSwarm", self.update_config_swarm.as_ref(), update),
            Field::StopGrace => match &self.stop_grace_period_swarm {
                None | Some(Json::Null) => Value::Null,
                Some(n) => whole(n).map_or_else(|| foreign("stopGracePeriodSwarm", n), Value::Int),
            },
            Field::AutoDeploy => self.auto_deploy.map_or(Value::Null, Value::Bool),
        }
    }
}

fn text(text: Option<&str>) -> Value {
    match text {
        None | Some("") => Value::Null,
        Some(t) => Value::Text(t.to_owned()),
    }
}

fn env(text: Option<&Secret>) -> Value {
    match text.map(Secret::expose) {
        None | Some("") => Value::Null,
        // The server could not decrypt it: not a value, and never to be written back.
        Some(t) if t.starts_with("enc:v1:") => {
            Value::Foreign("env that the server cannot decrypt".to_owned())
        }
        Some(t) => {
            let vars = dotenv::parse(t);
            if vars.is_empty() {
                return Value::Null;
            }
            Value::Env(vars.into_iter().map(|(k, v)| (k, Secret::new(v))).collect())
        }
    }
}

/// A whole number, also as text.
fn whole(json: &Json) -> Option<u64> {
    match json {
        Json::String(s) => s.trim().parse().ok(),
        n => n.as_u64(),
    }
}

/// Bytes or nano-CPUs: a text, where nothing and zero mean "no limit".
fn amount(column: &str, json: Option<&Json>) -> Value {
    match json {
        None | Some(Json::Null) => Value::Null,
        Some(Json::String(s)) if s.trim().is_empty() => Value::Null,
        Some(other) => match whole(other) {
            Some(0) => Value::Null,
            Some(n) => Value::Int(n),
            None => foreign(column, other),
        },
    }
}

fn labels(json: Option<&Json>) -> Value {
    match json {
        None | Some(Json::Null) => Value::Null,
        Some(Json::Object(map)) if map.is_empty() => Value::Null,
        Some(Json::Object(map)) => map
            .iter()
            .map(|(k, v)| Some((k.clone(), v.as_str()?.to_owned())))
            .collect::<Option<BTreeMap<_, _>>>()
            .map_or_else(|| Value::Foreign("labelsSwarm".to_owned()), Value::Map),
        Some(_) => Value::Foreign("labelsSwarm".to_owned()),
    }
}

fn read_json(column: &str, json: Option<&Json>, read: fn(&Json) -> Option<Value>) -> Value {
    match json {
        None | Some(Json::Null) => Value::Null,
        Some(Json::Object(map)) if map.is_empty() => Value::Null,
        Some(other) => read(other).unwrap_or_else(|| foreign(column, other)),
    }
}

fn foreign(column: &str, json: &Json) -> Value {
    Value::Foreign(format!("{column} {}", cap(&json.to_string(), 80)))
}

/// Docker's own defaults stand in for what is left out.
fn health(json: &Json) -> Option<Value> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Row {
        test: Vec<String>,
        interval: Option<u64>,
        timeout: Option<u64>,
        start_period: Option<u64>,
        retries: Option<u32>,
    }
    let row: Row = Row::deserialize(json).ok()?;
    let or = |n: Option<u64>, seconds| {
        n.filter(|n| *n > 0).map_or(Duration::from_secs(seconds), Duration::from_nanos)
    };
    (!row.test.is_empty()).then(|| {
        Value::Health(HealthCmd {
            test: row.test,
            interval: or(row.interval, 30),
            timeout: or(row.timeout, 30),
            start_period: or(row.start_period, 0),
            retries: row.retries.filter(|r| *r > 0).unwrap_or(3),
        })
    })
}

fn update(json: &Json) -> Option<Value> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", deny_unknown_fields)]
    struct Row {
        parallelism: u32,
        order: String,
        failure_action: Option<String>,
        monitor: Option<u64>,
        delay: Option<u64>,
        max_failure_ratio: Option<f64>,
    }
    let row: Row = Row::deserialize(json).ok()?;
    if row.delay.is_some_and(|d| d > 0) || row.max_failure_ratio.is_some_and(|r| r > 0.0) {
        return None;
    }
    Some(Value::Update(UpdatePolicy {
        start_first: match row.order.as_str() {
            "start-first" => true,
            "stop-first" => false,
            _ => return None,
        },
        parallel: row.parallelism,
        monitor: row.monitor.filter(|m| *m > 0).map_or(Duration::from_secs(5), Duration::from_nanos),
        rollback: match row.failure_action.as_deref() {
            Some("rollback") => true,
            Some("pause") | None => false,
            Some(_) => return None,
        },
    }))
}

/// What one field is written as.
///
/// # Errors
/// `Refused`: the value has no form in this column.
pub(crate) fn write(field: Field, value: &Value, env_text: Option<&Secret>) -> Result<Json, PortError> {
    let refused =
        |why: &str| PortError::Refused { why: format!("{} cannot be written: {why}", field.path()) };
    let nanos = |d: Duration| u64::try_from(d.as_nanos()).map_err(|_| refused("the time is too long"));
    Ok(match (field, value) {
        // Null would be stored as zero: the server's default is one.
        (Field::Replicas, Value::Null) => json!(1),
        (Field::Source | Field::Name, Value::Null) => return Err(refused("it has no default")),
        (_, Value::Foreign(_)) => return Err(refused("its value is not one of ours")),
        (Field::Env, Value::Env(vars)) => match env_text {
            Some(text) => json!(text.expose()),
            None => {
                let vars = vars.iter().map(|(k, v)| (k.as_str(), v.expose()));
                json!(dotenv::render(vars).map_err(|e| refused(&e.to_string()))?)
            }
        },
        (_, Value::Null) => Json::Null,
        (Field::Memory | Field::MemoryReserve | Field::Cpu | Field::CpuReserve, Value::Int(n)) => {
            json!(n.to_string())
        }
        (Field::Replicas, Value::Int(n)) if *n <= u64::from(i32::MAX as u32) => json!(n),
        (Field::StopGrace, Value::Int(n)) => json!(n),
        (Field::AutoDeploy, Value::Bool(b)) => json!(b),
        (Field::RegistryPassword, Value::Secret(s)) => json!(s.expose()),
        (Field::Command, Value::List(words)) => {
            if words.is_empty() {
                Json::Null
            } else if words.iter().any(|w| w.is_empty() || w.contains(' '))
                && words.join(" ").split(' ').ne(words)
            {
                return Err(refused(
                    "Dokploy splits the command at spaces, so no word may hold one; put it into args",
                ));
            } else {
                json!(words.join(" "))
            }
        }
        (Field::Args, Value::List(words)) if words.is_empty() => Json::Null,
        (Field::Args, Value::List(words)) => json!(words),
        (Field::Labels, Value::Map(map)) if map.is_empty() => Json::Null,
        (Field::Labels, Value::Map(map)) => json!(map),
        (Field::HealthCmd, Value::Health(h)) => json!({
            "Test": h.test,
            "Interval": nanos(h.interval)?,
            "Timeout": nanos(h.timeout)?,
            "StartPeriod": nanos(h.start_period)?,
            "Retries": h.retries,
        }),
        (Field::Update, Value::Update(u)) => json!({
            "Parallelism": u.parallel,
            "Order": if u.start_first { "start-first" } else { "stop-first" },
            "FailureAction": if u.rollback { "rollback" } else { "pause" },
            "Monitor": nanos(u.monitor)?,
        }),
        (
            Field::Name | Field::Source | Field::Image | Field::RegistryUser | Field::RegistryUrl,
            Value::Text(t),
        ) => json!(t),
        _ => return Err(refused("the value is of another kind")),
    })
}

#[cfg(test)]
#[path = "columns_tests.rs"]
mod tests;
