//! Versions to go back to: a compiled app as bytes for the vault, and back. The only place where secrets are written
//! out, and what it writes is sealed before it leaves.

use berth_model::Secret;
use berth_model::desired::{Child, ChildKey, DesiredApp};
use berth_model::field::{Field, Fields, Value};
use berth_model::hash::Hash;
use berth_model::ids::{AppName, StackName};
use berth_model::stack::{HealthCmd, Host, Mount, Port, UpdatePolicy};
use berth_ports::{SealedFor, Vault};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[derive(Serialize, Deserialize)]
struct StoredApp {
    fields: Vec<(String, StoredValue)>,
    children: Vec<(ChildKey, StoredChild)>,
    hash: Hash,
    secrets: BTreeMap<String, u32>,
    partial: bool,
}

#[derive(Serialize, Deserialize)]
enum StoredValue {
    Null,
    Bool(bool),
    Int(u64),
    Text(String),
    Secret(String),
    List(Vec<String>),
    Map(BTreeMap<String, String>),
    Env(BTreeMap<String, String>),
    Health(HealthCmd),
    Update(UpdatePolicy),
}

#[derive(Serialize, Deserialize)]
enum StoredChild {
    Volume(String),
    Bind(String),
    File(String, String),
    Port(Port),
    Domain(Host),
}

impl StoredValue {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null | Value::Foreign(_) => Self::Null,
            Value::Bool(b) => Self::Bool(*b),
            Value::Int(n) => Self::Int(*n),
            Value::Text(t) => Self::Text(t.clone()),
            Value::Secret(s) => Self::Secret(s.expose().to_owned()),
            Value::List(l) => Self::List(l.clone()),
            Value::Map(m) => Self::Map(m.clone()),
            Value::Env(e) => Self::Env(e.iter().map(|(k, v)| (k.clone(), v.expose().to_owned())).collect()),
            Value::Health(h) => Self::Health(h.clone()),
            Value::Update(u) => Self::Update(u.clone()),
        }
    }

    fn back(self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(b) => Value::Bool(b),
            Self::Int(n) => Value::Int(n),
            Self::Text(t) => Value::Text(t),
            Self::Secret(s) => Value::Secret(Secret::new(s)),
            Self::List(l) => Value::List(l),
            Self::Map(m) => Value::Map(m),
            Self::Env(e) => Value::Env(e.into_iter().map(|(k, v)| (k, Secret::new(v))).collect()),
            Self::Health(h) => Value::Health(h),
            Self::Update(u) => Value::Update(u),
        }
    }
}

fn name_of(hash: Hash) -> String {
    hash.to_string()
}

/// Seals an app as it was compiled.
pub(crate) fn seal(vault: &impl Vault, stack: &StackName, app: &DesiredApp) -> Vec<u8> {
    let stored = StoredApp {
        fields: app.fields.iter().map(|(f, v)| (f.path().to_owned(), StoredValue::of(v))).collect(),
        children: app
            .children
            .iter()
            .map(|(k, c)| {
                let child = match c {
                    Child::Mount(Mount::Volume { name }) => StoredChild::Volume(name.clone()),
                    Child::Mount(Mount::Bind { host_path }) => StoredChild::Bind(host_path.clone()),
                    Child::Mount(Mount::File { file_path, content }) => {
                        StoredChild::File(file_path.clone(), content.expose().to_owned())
                    }
                    Child::Port(p) => StoredChild::Port(p.clone()),
                    Child::Domain(h) => StoredChild::Domain(h.clone()),
                };
                (k.clone(), child)
            })
            .collect(),
        hash: app.hash,
        secrets: app.secrets.clone(),
        partial: app.env_is_partial,
    };
    // Maps with text keys and plain enums: this cannot fail.
    let plain = zeroize_on_drop(serde_json::to_vec(&stored).unwrap_or_default());
    let hash = name_of(app.hash);
    vault.seal(
        SealedFor { kind: "version", stack: stack.as_str(), app: Some(&app.name), name: &hash },
        plain.expose().as_bytes(),
    )
}

fn zeroize_on_drop(bytes: Vec<u8>) -> Secret {
    Secret::new(String::from_utf8(bytes).unwrap_or_default())
}

/// Opens a version and lays it over today's app: what it does not hold (drift policies, health check, names) is
/// today's.
pub(crate) fn open(
    vault: &impl Vault,
    stack: &StackName,
    app: &AppName,
    hash: Hash,
    sealed: &[u8],
    today: &DesiredApp,
) -> Option<DesiredApp> {
    let name = name_of(hash);
    let what = SealedFor { kind: "version", stack: stack.as_str(), app: Some(app), name: &name };
    let plain = vault.open(what, sealed).ok()?;
    let stored: StoredApp = serde_json::from_str(plain.expose()).ok()?;
    let fields: Fields = stored
        .fields
        .into_iter()
        .filter_map(|(path, v)| Some((Field::ALL.into_iter().find(|f| f.path() == path)?, v.back())))
        .collect();
    let children = stored
        .children
        .into_iter()
        .map(|(k, c)| {
            let child = match c {
                StoredChild::Volume(name) => Child::Mount(Mount::Volume { name }),
                StoredChild::Bind(host_path) => Child::Mount(Mount::Bind { host_path }),
                StoredChild::File(file_path, content) => {
                    Child::Mount(Mount::File { file_path, content: Secret::new(content) })
                }
                StoredChild::Port(p) => Child::Port(p),
                StoredChild::Domain(h) => Child::Domain(h),
            };
            (k, child)
        })
        .collect();
    Some(DesiredApp {
        fields,
        children,
        hash: stored.hash,
        // A whole of its own: what is put back is not what the manifest says.
        full: Hash(today.full.0 ^ stored.hash.0.rotate_left(17)),
        secrets: stored.secrets,
        env_is_partial: stored.partial,
        ..today.clone()
    })
}
