//! JSON Schema of what `read` reads, and the units that have one.
//!
//! Only form is described here; what is checked beyond it is told when a manifest is read.

use crate::read::{At, Given, Many, Map, Read, Short, Sink, Tri, Words};
use crate::tree::Node;
use berth_model::units::{Bytes, NanoCpus};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use std::borrow::Cow;
use std::time::Duration;

macro_rules! schema_as {
    ($ty:ty, $name:expr, $schema:expr) => {
        impl JsonSchema for $ty {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                let make: fn(&mut SchemaGenerator) -> Schema = $schema;
                make(generator)
            }
        }
    };
}
schema_as!(Words, "Text", |_| json_schema!({"type": ["string", "number", "boolean"]}));
schema_as!(Given, "Given", |_| json_schema!({
    "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
    "properties": {"env": {"type": "string"}, "file": {"type": "string"}}
}));

macro_rules! schema_like {
    ($ty:ident < $($g:ident),+ >, $like:ty) => {
        impl<$($g: JsonSchema),+> JsonSchema for $ty<$($g),+> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                <$like>::schema_name()
            }
            fn json_schema(generator: &mut SchemaGenerator) -> Schema {
                <$like>::json_schema(generator)
            }
        }
    };
}
schema_like!(Map<T>, std::collections::BTreeMap<String, T>);

macro_rules! schema_of {
    ($ty:ident < $($g:ident),+ >, $name:literal, |$generator:ident| $body:expr) => {
        impl<$($g: JsonSchema),+> JsonSchema for $ty<$($g),+> {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                format!(concat!($name, "_{}"), [$($g::schema_name()),+].join("_")).into()
            }
            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $body
            }
        }
    };
}
schema_of!(At<T>, "At", |g| g.subschema_for::<T>());
schema_of!(Tri<T>, "Tri", |g| g.subschema_for::<Option<T>>());
schema_of!(Many<T>, "Many", |g| {
    let one = g.subschema_for::<T>();
    json_schema!({"anyOf": [one, {"type": "array", "items": one}]})
});
schema_of!(Short<S, F>, "Short", |g| {
    let (short, full) = (g.subschema_for::<S>(), g.subschema_for::<F>());
    json_schema!({"anyOf": [short, full]})
});

/// An amount of memory in the schema.
pub(crate) fn bytes_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?(Ki|Mi|Gi|Ti|k|M|G|T)$", "examples": ["512Mi"]})
}

/// A share of processors in the schema.
pub(crate) fn cpus_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["number", "string"], "pattern": r"^[0-9]+(\.[0-9]{1,9})?m?$", "examples": [0.5, "500m"]})
}

/// A duration in the schema.
pub(crate) fn duration_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?(ms|s|m|h|d)$", "examples": ["30s"]})
}

/// Newtypes for the model's units, so that they have a schema.
macro_rules! unit_type {
    ($(#[$m:meta])* $name:ident, $of:ty, $schema:path) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) struct $name(pub $of);
        impl Read for $name {
            fn read(node: &Node, sink: &mut Sink) -> Option<Self> {
                <$of>::read(node, sink).map($name)
            }
        }
        schema_as!($name, stringify!($name), $schema);
    };
}
unit_type!(
    /// `512Mi`
    Memory, Bytes, bytes_schema
);
unit_type!(
    /// `0.5`
    Cpu, NanoCpus, cpus_schema
);
unit_type!(
    /// `30s`
    Period, Duration, duration_schema
);
