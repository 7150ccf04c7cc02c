//! What a manifest says, part by part, into a hash: secrets too, which nothing else writes out.
//!
//! Every struct is taken apart by name, so that a field that is added does not compile until it is hashed or left out
//! on purpose. Nothing here depends on how a value is printed.

use crate::hash::Writer;
use crate::ids::{AppName, BackendName, ProjectName, StackName};
use crate::project::{Project, ProjectEnvValue};
use crate::stack::{
    App, DriftPolicy, Encoding, EnvValue, FromApps, Generate, HealthCmd, HealthHttp, Host, HostKey, Https,
    Mount, OnFirstFailure, Part, Patch, Place, Port, PortKey, Records, RegistryAuth, Stack, Stage, Target,
    Text, UpdatePolicy,
};
use crate::units::{Bytes, NanoCpus};
use litemap::LiteMap;
use std::collections::BTreeMap;
use std::time::Duration;

/// Can be hashed, completely.
pub trait Hashed {
    /// Writes every part of it.
    fn write(&self, w: &mut Writer);
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Hashed for $type {
            fn write(&self, w: &mut Writer) {
                w.number(u64::from(*self));
            }
        }
    )*};
}
numbers!(bool, u8, u16, u32, u64);

macro_rules! texts {
    ($($type:ty),*) => {$(
        impl Hashed for $type {
            fn write(&self, w: &mut Writer) {
                w.text(self.as_str());
            }
        }
    )*};
}
texts!(String, StackName, AppName, BackendName, ProjectName, Stage);

macro_rules! fields {
    ($($type:ident { $($field:ident $(: $skip:tt)?),* })*) => {$(
        impl Hashed for $type {
            fn write(&self, w: &mut Writer) {
                let Self { $($field $(: $skip)?),* } = self;
                $(fields!(@one w $field $($skip)?);)*
            }
        }
    )*};
    (@one $w:ident $field:ident) => { $field.write($w) };
    (@one $w:ident $field:ident $skip:tt) => {};
}
fields! {
    // Where a document stands is no part of what it wants.
    Stack { name, tenant, formerly, stage, paused, target, apps, on_first_failure, template, records, origin: _ }
    Target { backend, project, environment }
    App {
        name_on_dokploy, adopt, image, follow, registry, port, env, command, args, replicas, memory, memory_reserve,
        cpu, cpu_reserve, labels, health_cmd, health_http, update, stop_grace, hosts, mounts, ports, needs, drift
    }
    RegistryAuth { url, username, password }
    FromApps { apps, key, join }
    Generate { bytes, encoding, version }
    HealthCmd { test, interval, timeout, retries, start_period }
    HealthHttp { paths, expect, every, within }
    UpdatePolicy { start_first, parallel, monitor, rollback }
    HostKey { host, path }
    Host { port, https, internal_path, strip_path }
    PortKey { published, udp }
    Port { target, host_mode }
    Project { name, backend, description, create, delete, environments, env, origin: _ }
}

impl Hashed for (u16, u16) {
    fn write(&self, w: &mut Writer) {
        self.0.write(w);
        self.1.write(w);
    }
}
impl Hashed for Bytes {
    fn write(&self, w: &mut Writer) {
        w.number(self.0);
    }
}
impl Hashed for NanoCpus {
    fn write(&self, w: &mut Writer) {
        w.number(self.0);
    }
}
impl Hashed for Duration {
    fn write(&self, w: &mut Writer) {
        w.number(self.as_secs()).number(u64::from(self.subsec_nanos()));
    }
}
impl<T: Hashed> Hashed for Box<T> {
    fn write(&self, w: &mut Writer) {
        (**self).write(w);
    }
}
impl<T: Hashed> Hashed for Option<T> {
    fn write(&self, w: &mut Writer) {
        self.is_some().write(w);
        if let Some(value) = self {
            value.write(w);
        }
    }
}
impl<T: Hashed> Hashed for Vec<T> {
    fn write(&self, w: &mut Writer) {
        w.number(self.len() as u64);
        for item in self {
            item.write(w);
        }
    }
}
macro_rules! maps {
    ($($map:ident),*) => {$(
        impl<K: Hashed, V: Hashed> Hashed for $map<K, V> {
            fn write(&self, w: &mut Writer) {
                w.number(self.len() as u64);
                for (key, value) in self {
                    key.write(w);
                    value.write(w);
                }
            }
        }
    )*};
}
maps!(LiteMap, BTreeMap);

impl<T: Hashed> Hashed for Patch<T> {
    fn write(&self, w: &mut Writer) {
        match self {
            Patch::Unset => _ = w.number(0),
            Patch::Clear => _ = w.number(1),
            Patch::Set(value) => value.write(w.number(2)),
        }
    }
}
impl Hashed for Text {
    fn write(&self, w: &mut Writer) {
        let Self(parts) = self;
        parts.write(w);
    }
}
impl Hashed for Part {
    fn write(&self, w: &mut Writer) {
        match self {
            Part::Lit(text) => w.number(0).text(text),
            Part::ProjectId => w.number(1),
            Part::EnvironmentId(name) => w.number(2).text(name),
        };
    }
}
impl Hashed for Place {
    fn write(&self, w: &mut Writer) {
        match self {
            Place::Shared { project, create } => {
                project.write(w.number(0));
                create.write(w);
            }
            Place::Own { project } => project.write(w.number(1)),
        }
    }
}
impl Hashed for OnFirstFailure {
    fn write(&self, w: &mut Writer) {
        w.number(match self {
            OnFirstFailure::Keep => 0,
            OnFirstFailure::Remove => 1,
        });
    }
}
impl Hashed for Records {
    fn write(&self, w: &mut Writer) {
        w.number(match self {
            Records::Managed => 0,
            Records::Wildcard => 1,
        });
    }
}
impl Hashed for DriftPolicy {
    fn write(&self, w: &mut Writer) {
        w.number(match self {
            DriftPolicy::Repair => 0,
            DriftPolicy::Report => 1,
            DriftPolicy::Ignore => 2,
        });
    }
}
impl Hashed for Encoding {
    fn write(&self, w: &mut Writer) {
        w.number(match self {
            Encoding::Hex => 0,
            Encoding::Base64 => 1,
            Encoding::Base64Url => 2,
        });
    }
}
impl Hashed for Https {
    fn write(&self, w: &mut Writer) {
        match self {
            Https::None => w.number(0),
            Https::LetsEncrypt => w.number(1),
            Https::Resolver(name) => w.number(2).text(name),
        };
    }
}
impl Hashed for EnvValue {
    fn write(&self, w: &mut Writer) {
        match self {
            EnvValue::Text(text) => text.write(w.number(0)),
            EnvValue::Secret(name) => _ = w.number(1).text(name),
            EnvValue::Generate(how) => how.write(w.number(2)),
            EnvValue::FromApps(from) => from.write(w.number(3)),
        }
    }
}
impl Hashed for ProjectEnvValue {
    fn write(&self, w: &mut Writer) {
        match self {
            ProjectEnvValue::Text(text) => text.write(w.number(0)),
            ProjectEnvValue::Secret(name) => _ = w.number(1).text(name),
        }
    }
}
impl Hashed for Mount {
    fn write(&self, w: &mut Writer) {
        match self {
            Mount::Volume { name } => w.number(0).text(name),
            Mount::Bind { host_path } => w.number(1).text(host_path),
            Mount::File { file_path, content } => w.number(2).text(file_path).text(content.expose()),
        };
    }
}
