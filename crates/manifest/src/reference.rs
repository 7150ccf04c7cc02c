//! The reference page, from the same types that read the language, with prose and examples that the tests parse.
//!
//! Nothing of a key's meaning is written here twice: tables come from the schema.

use crate::schema::{SchemaKind, schema};
use serde_json::{Map, Value};
use std::fmt::Write;

const INTRODUCTION: &str = include_str!("reference/introduction.md");
const RULES: &str = include_str!("reference/rules.md");
const SETTINGS: &str = include_str!("reference/settings.md");

/// `docs/MANIFEST.md`.
#[must_use]
pub fn reference_md() -> String {
    let mut out = String::from(INTRODUCTION);
    let manifest = schema(SchemaKind::Manifest);
    let empty = Map::new();
    let defs = manifest["$defs"].as_object().unwrap_or(&empty);
    out.push_str("\n## Objects\n\nUnknown keys are errors. A **bold** key is required.\n");
    let order = ["Metadata", "ProjectSpec", "StackSpec", "TargetSpec", "AppSpec"];
    let later = ["QuotaSpec", "PreviewPolicySpec", "PreviewSpec"];
    let mut shown: Vec<&str> = Vec::new();
    for name in order {
        object(name, defs, &mut shown, &mut out);
    }
    out.push('\n');
    out.push_str(RULES);
    out.push_str("\n## Kinds that this version reads and does not run\n\n");
    out.push_str("They are read and checked, and their file is refused with a message that says so.\n");
    for name in later {
        object(name, defs, &mut shown, &mut out);
    }
    out.push('\n');
    out.push_str(SETTINGS);
    let settings = schema(SchemaKind::Config);
    let defs = settings["$defs"].as_object().unwrap_or(&empty);
    let mut shown = Vec::new();
    table(&settings, defs, &mut out);
    members(&settings, defs, &mut shown, &mut out);
    out
}

/// One object, and after it those that only it leads to.
fn object<'a>(name: &str, defs: &'a Map<String, Value>, shown: &mut Vec<&'a str>, out: &mut String) {
    let Some((name, schema)) = defs.get_key_value(name) else {
        return;
    };
    if shown.contains(&name.as_str()) || schema.get("properties").is_none() {
        return;
    }
    shown.push(name);
    let _ = write!(out, "\n### {name}\n\n{}\n", text(schema));
    table(schema, defs, out);
    members(schema, defs, shown, out);
}

fn members<'a>(schema: &'a Value, defs: &'a Map<String, Value>, shown: &mut Vec<&'a str>, out: &mut String) {
    let mut found = Vec::new();
    references(schema, &mut found);
    for name in found {
        object(name, defs, shown, out);
    }
}

fn references<'a>(schema: &'a Value, found: &mut Vec<&'a str>) {
    match schema {
        Value::Object(map) => {
            if let Some(name) = map.get("$ref").and_then(Value::as_str) {
                found.extend(name.rsplit('/').next());
            }
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(all) => all.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

fn table(schema: &Value, defs: &Map<String, Value>, out: &mut String) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    out.push_str("\n| Key | Value | Meaning |\n|---|---|---|\n");
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    for (key, value) in properties {
        let key = if required.contains(&key.as_str()) { format!("**`{key}`**") } else { format!("`{key}`") };
        let _ = writeln!(out, "| {key} | {} | {} |", kind(value, defs), text(value));
    }
}

/// A description on one line.
fn text(schema: &Value) -> String {
    schema["description"].as_str().unwrap_or("").replace("\n\n", " ").replace('\n', " ").replace('|', "\\|")
}

/// What a value is, in words.
fn kind(schema: &Value, defs: &Map<String, Value>) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|r| r.rsplit('/').next()) {
        return match defs.get(name) {
            Some(d) if d.get("properties").is_some() && name != "Reference" => {
                format!("[{name}](#{})", name.to_lowercase())
            }
            Some(_) if name == "Reference" => String::new(),
            Some(d) => kind(d, defs),
            None => name.to_owned(),
        };
    }
    if let Some(word) = schema["const"].as_str() {
        return format!("`{word}`");
    }
    if let Some(words) = schema["enum"].as_array() {
        return words
            .iter()
            .filter_map(Value::as_str)
            .map(|w| format!("`{w}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    for key in ["anyOf", "oneOf"] {
        if let Some(all) = schema[key].as_array() {
            let mut kinds: Vec<String> = Vec::new();
            for k in all.iter().map(|s| kind(s, defs)).filter(|k| !k.is_empty() && k != "null") {
                if !kinds.contains(&k) {
                    kinds.push(k);
                }
            }
            let words = kinds.iter().all(|k| k.starts_with('`'));
            return kinds.join(if words { ", " } else { " or " });
        }
    }
    if let Some(example) = schema["examples"].as_array().and_then(|e| e.last()) {
        let shown = example.as_str().map_or_else(|| example.to_string(), str::to_owned);
        return format!("like `{shown}`");
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(t) if t == "null" => Vec::new(),
        Value::String(t) => vec![t],
        Value::Array(all) => all.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => Vec::new(),
    };
    match types.as_slice() {
        ["object"] if schema["properties"]["env"].is_object() && schema["maxProperties"] == 1 => {
            "`{env: …}` or `{file: …}`".to_owned()
        }
        ["object"] if schema["additionalProperties"].is_object() => {
            format!("map of {}", kind(&schema["additionalProperties"], defs))
        }
        ["object"] if schema["properties"]["production"].is_object() => "map by stage".to_owned(),
        ["array"] => format!("list of {}", kind(&schema["items"], defs)),
        ["boolean"] => "`true` or `false`".to_owned(),
        ["integer"] => "number".to_owned(),
        [] => String::new(),
        _ => "text".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Context, Input, load, render};
    use std::path::Path;

    /// The page stands in `docs/MANIFEST.md`; `UPDATE=1` writes it.
    #[test]
    fn the_page_is_up_to_date() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/MANIFEST.md");
        let page = reference_md();
        if std::env::var_os("UPDATE").is_some() {
            std::fs::write(&path, &page).unwrap();
        }
        let there = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            there == page,
            "docs/MANIFEST.md is old; run: UPDATE=1 cargo test -p berth-manifest reference"
        );
    }

    /// Every example of the page can be read as it stands.
    #[test]
    fn the_examples_are_read() {
        let page = reference_md();
        let mut inputs = Vec::new();
        for (n, part) in page.split("```yaml\n").skip(1).enumerate() {
            let body = part.split("```").next().unwrap();
            if body.starts_with("apiVersion") {
                inputs.push(Input::new(format!("example-{n}.yaml"), body));
            } else if body.starts_with("owner") {
                struct Given;
                impl crate::Lookup for Given {
                    fn env(&self, _: &str) -> Option<String> {
                        Some("value".to_owned())
                    }
                    fn file(&self, _: &Path) -> Result<String, String> {
                        Ok("value".to_owned())
                    }
                }
                crate::load_config("berth.yaml", body.as_bytes(), &Given).unwrap();
            } else {
                panic!("an example begins with neither apiVersion nor owner: {body}");
            }
        }
        assert!(inputs.len() >= 5, "{} examples", inputs.len());
        let fleet = load(&inputs, &Context::default());
        assert!(fleet.errors.is_empty(), "{}", render(&fleet.errors, &inputs[..], false));
        assert!(fleet.warnings.is_empty(), "{}", render(&fleet.warnings, &inputs[..], false));
    }

    #[test]
    fn every_key_is_described() {
        for kind in [SchemaKind::Manifest, SchemaKind::Config] {
            let schema = schema(kind);
            for (name, def) in schema["$defs"].as_object().unwrap() {
                for (key, value) in def["properties"].as_object().into_iter().flatten() {
                    assert!(
                        name == "Reference" || !text(value).is_empty(),
                        "{name}.{key} has no description"
                    );
                }
            }
        }
    }
}
