//! JSON Schema of the language, from the same types that read it.

use crate::document::{API_VERSION, DocumentKind};
use crate::later::{PreviewPolicySpec, PreviewSpec, QuotaSpec};
use crate::raw::{Metadata, ProjectSpec, StackSpec};
use crate::raw_config::RawConfig;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// Which schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SchemaKind {
    /// A document of a manifest: one of the kinds.
    Manifest,
    /// What stands under `spec:` of a stack.
    StackSpec,
    /// `berth.yaml`.
    Config,
}

/// The schema, for editors.
#[must_use]
pub fn schema(kind: SchemaKind) -> Value {
    let mut generator = SchemaGenerator::new(SchemaSettings::draft2020_12());
    match kind {
        SchemaKind::Manifest => {
            let kinds: Vec<Value> =
                DocumentKind::ALL.into_iter().map(|k| document(k, &mut generator)).collect();
            let definitions = generator.take_definitions(true);
            json!({
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": "Berth manifest",
                "oneOf": kinds,
                "$defs": definitions,
            })
        }
        SchemaKind::StackSpec => generator.into_root_schema_for::<StackSpec>().to_value(),
        SchemaKind::Config => {
            let mut schema = generator.into_root_schema_for::<RawConfig>().to_value();
            let reference = json!({
                "type": "object", "additionalProperties": false, "minProperties": 1, "maxProperties": 1,
                "properties": {"env": {"type": "string"}, "file": {"type": "string"}}
            });
            schema["title"] = json!("berth.yaml");
            follow(&mut schema);
            if let Some(defs) = schema.get_mut("$defs").and_then(Value::as_object_mut) {
                defs.insert("Reference".to_owned(), reference);
            }
            schema
        }
    }
}

fn document(kind: DocumentKind, generator: &mut SchemaGenerator) -> Value {
    let spec = match kind {
        DocumentKind::Project => generator.subschema_for::<ProjectSpec>(),
        DocumentKind::Stack | DocumentKind::StackTemplate => generator.subschema_for::<StackSpec>(),
        DocumentKind::Quota => generator.subschema_for::<QuotaSpec>(),
        DocumentKind::PreviewPolicy => generator.subschema_for::<PreviewPolicySpec>(),
        DocumentKind::Preview => generator.subschema_for::<PreviewSpec>(),
    };
    let required: &[&str] = match kind {
        DocumentKind::Project => &["apiVersion", "kind", "metadata"],
        _ => &["apiVersion", "kind", "metadata", "spec"],
    };
    json!({
        "type": "object",
        "title": kind.as_str(),
        "additionalProperties": false,
        "required": required,
        "properties": {
            "apiVersion": {"const": API_VERSION},
            "kind": {"const": kind.as_str()},
            "metadata": generator.subschema_for::<Metadata>(),
            "spec": spec,
        }
    })
}

/// In `berth.yaml` every scalar may be a reference.
fn follow(schema: &mut Value) {
    let scalar = |v: &Value| match v.get("type") {
        Some(Value::String(t)) => t != "object" && t != "array" && t != "null",
        Some(Value::Array(all)) => all.iter().all(|t| t != "object" && t != "array"),
        _ => false,
    };
    let Value::Object(map) = schema else { return };
    for (key, inner) in map.iter_mut() {
        match (key.as_str(), inner) {
            ("properties" | "$defs", Value::Object(members)) => members.values_mut().for_each(|member| {
                follow(member);
                if scalar(member) {
                    let description = member.as_object_mut().and_then(|m| m.remove("description"));
                    let plain = member.take();
                    *member = json!({"anyOf": [plain, {"$ref": "#/$defs/Reference"}]});
                    if let Some(d) = description {
                        member["description"] = d;
                    }
                }
            }),
            ("additionalProperties" | "items", inner) => follow(inner),
            ("anyOf" | "oneOf", Value::Array(all)) => all.iter_mut().for_each(follow),
            _ => {}
        }
    }
}
