//! The fields of an application that Berth can manage, in domain terms, and how two values of one differ.
//!
//! An adapter translates a [`Field`] to its server's column and back; nobody else knows the columns.

use crate::secret::Secret;
use crate::stack::{HealthCmd, UpdatePolicy};
use std::collections::BTreeMap;
use std::fmt;

/// One field of an application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Field {
    /// Its display name.
    Name,
    /// Where its image comes from; always "a ready image" for Berth.
    Source,
    /// The image reference.
    Image,
    /// Registry user.
    RegistryUser,
    /// Registry password.
    RegistryPassword,
    /// Registry host.
    RegistryUrl,
    /// All variables.
    Env,
    /// The entrypoint.
    Command,
    /// Its arguments.
    Args,
    /// How many run.
    Replicas,
    /// Memory limit.
    Memory,
    /// Memory reservation.
    MemoryReserve,
    /// Processor limit.
    Cpu,
    /// Processor reservation.
    CpuReserve,
    /// Container labels, Berth's own among them.
    Labels,
    /// The container's own check.
    HealthCmd,
    /// Update policy.
    Update,
    /// Stop grace period.
    StopGrace,
    /// Deploys that others may trigger by webhook.
    AutoDeploy,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 19] = [
        Field::Name,
        Field::Source,
        Field::Image,
        Field::RegistryUser,
        Field::RegistryPassword,
        Field::RegistryUrl,
        Field::Env,
        Field::Command,
        Field::Args,
        Field::Replicas,
        Field::Memory,
        Field::MemoryReserve,
        Field::Cpu,
        Field::CpuReserve,
        Field::Labels,
        Field::HealthCmd,
        Field::Update,
        Field::StopGrace,
        Field::AutoDeploy,
    ];

    /// The path under which manifests, plans and `drift:` name it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Field::Name => "name",
            Field::Source => "source",
            Field::Image => "image",
            Field::RegistryUser => "registry.username",
            Field::RegistryPassword => "registry.password",
            Field::RegistryUrl => "registry.url",
            Field::Env => "env",
            Field::Command => "command",
            Field::Args => "args",
            Field::Replicas => "replicas",
            Field::Memory => "resources.memory",
            Field::MemoryReserve => "resources.reserve.memory",
            Field::Cpu => "resources.cpu",
            Field::CpuReserve => "resources.reserve.cpu",
            Field::Labels => "labels",
            Field::HealthCmd => "health.cmd",
            Field::Update => "update",
            Field::StopGrace => "stopGrace",
            Field::AutoDeploy => "autoDeploy",
        }
    }

    /// Whether a change reaches the container only with a deploy.
    #[must_use]
    pub fn needs_deploy(self) -> bool {
        !matches!(self, Field::Name | Field::AutoDeploy)
    }
}

/// A value of a field. Two values that mean the same are equal.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// The server's default.
    Null,
    /// A switch.
    Bool(bool),
    /// A number: replicas, bytes, billionths of a processor, nanoseconds.
    Int(u64),
    /// A text.
    Text(String),
    /// A text that is not shown.
    Secret(Secret),
    /// Words.
    List(Vec<String>),
    /// Labels.
    Map(BTreeMap<String, String>),
    /// Variables; every value counts as secret.
    Env(BTreeMap<String, Secret>),
    /// A health check.
    Health(HealthCmd),
    /// An update policy.
    Update(UpdatePolicy),
    /// Something the server holds that has no meaning here; differs from everything else.
    Foreign(String),
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.show())
    }
}

impl Value {
    /// As a person may see it. Never shows a secret.
    #[must_use]
    pub fn show(&self) -> String {
        match self {
            Value::Null => "(default)".to_owned(),
            Value::Bool(b) => b.to_string(),
            Value::Int(n) => n.to_string(),
            Value::Text(t) => t.clone(),
            Value::Secret(_) => "<secret>".to_owned(),
            Value::List(l) => format!("{l:?}"),
            Value::Map(m) => {
                let items: Vec<_> = m.iter().map(|(k, v)| format!("{k}={v}")).collect();
                format!("{{{}}}", items.join(", "))
            }
            Value::Env(e) => format!("{} variables", e.len()),
            Value::Health(h) => format!("{:?} every {}", h.test, crate::units::show_duration(h.interval)),
            Value::Update(u) => format!(
                "{}, {} at a time, on failure {}",
                if u.start_first { "start-first" } else { "stop-first" },
                u.parallel,
                if u.rollback { "rollback" } else { "pause" }
            ),
            Value::Foreign(what) => format!("(foreign {what})"),
        }
    }
}

/// Fields and their values.
pub type Fields = BTreeMap<Field, Value>;

/// A field's value, where it is a text.
#[must_use]
pub fn text(fields: &Fields, field: Field) -> Option<&str> {
    match fields.get(&field) {
        Some(Value::Text(text)) => Some(text),
        _ => None,
    }
}

/// One difference, ready to be shown and to be matched against `drift:`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Difference {
    /// `image`, `env.FOO`, `hosts.a.example/`, …
    pub path: String,
    /// What is there; `None` where nothing is.
    pub from: Option<String>,
    /// What is wanted; `None` where nothing is.
    pub to: Option<String>,
}

/// The differences between two values of one field, one entry a variable for the environment.
#[must_use]
pub fn differences(field: Field, from: &Value, to: &Value) -> Vec<Difference> {
    let hidden = |there: bool| there.then(|| "<secret>".to_owned());
    if let (Value::Env(from), Value::Env(to)) = (from, to) {
        let mut names: Vec<_> = from.keys().chain(to.keys()).collect();
        names.sort();
        names.dedup();
        return names
            .into_iter()
            .filter(|n| from.get(*n) != to.get(*n))
            .map(|n| Difference {
                path: format!("env.{n}"),
                from: hidden(from.contains_key(n)),
                to: hidden(to.contains_key(n)),
            })
            .collect();
    }
    if from == to {
        return Vec::new();
    }
    let human = |v: &Value| match (field, v) {
        (Field::Memory | Field::MemoryReserve, Value::Int(n)) => crate::units::Bytes(*n).to_string(),
        (Field::Cpu | Field::CpuReserve, Value::Int(n)) => crate::units::NanoCpus(*n).to_string(),
        (Field::StopGrace, Value::Int(n)) => crate::units::show_duration(std::time::Duration::from_nanos(*n)),
        (Field::Env, Value::Null) => "0 variables".to_owned(),
        _ => v.show(),
    };
    vec![Difference { path: field.path().to_owned(), from: Some(human(from)), to: Some(human(to)) }]
}
