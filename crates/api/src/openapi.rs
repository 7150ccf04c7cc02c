//! The API as an OpenAPI document, made from the routes and their types. What a spec may hold is the manifest
//! language's: its schema is put in by whoever has it.

use serde_json::Value;
use std::sync::OnceLock;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Berth",
        description = "Ask for stacks, and see how they stand. Errors are JSON: {\"error\": {\"code\", \"message\"}}."
    ),
    paths(
        crate::stacks::list,
        crate::stacks::one,
        crate::stacks::put,
        crate::stacks::delete,
        crate::stacks::name,
        crate::stacks::project,
        crate::apps::act,
        crate::apps::logs,
        crate::apps::restart,
        crate::apps::scale,
        crate::watch::events,
        crate::watch::of_stack,
        crate::secrets::list,
        crate::secrets::give,
        crate::secrets::remove,
        crate::tokens::list,
        crate::tokens::make,
        crate::tokens::revoke,
    ),
    components(schemas(crate::stacks::StackSpec)),
    security(("token" = [])),
    modifiers(&Token)
)]
struct Api;

struct Token;

impl utoipa::Modify for Token {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let components = openapi.components.get_or_insert_with(Default::default);
        let mut bearer = Http::new(HttpAuthScheme::Bearer);
        bearer.description = Some("A token, as 'berth token create' makes one.".to_owned());
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

static DOCUMENT: OnceLock<String> = OnceLock::new();

/// The document with this schema of a stack's spec, served from now on.
///
/// The schema's own definitions become components beside it.
#[must_use]
pub fn with_spec(schema: &Value) -> &'static str {
    DOCUMENT.get_or_init(|| written(Some(schema)))
}

pub(crate) fn document() -> &'static String {
    DOCUMENT.get_or_init(|| written(None))
}

fn written(spec: Option<&Value>) -> String {
    let mut document = serde_json::to_value(Api::openapi()).unwrap_or_default();
    if let Some(spec) = spec {
        put_spec(&mut document, spec);
    }
    let mut text = serde_json::to_string_pretty(&document).unwrap_or_default();
    text.push('\n');
    text
}

fn put_spec(document: &mut Value, spec: &Value) {
    let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) else {
        return;
    };
    let mut spec = spec.clone();
    let definitions = spec.as_object_mut().and_then(|s| s.remove("$defs"));
    if let Some(fields) = spec.as_object_mut() {
        fields.remove("$schema");
        fields.remove("$id");
    }
    if let Some(Value::Object(definitions)) = definitions {
        for (name, mut schema) in definitions {
            point_to_components(&mut schema);
            schemas.insert(format!("spec.{name}"), schema);
        }
    }
    point_to_components(&mut spec);
    schemas.insert("StackSpec".to_owned(), spec);
}

fn point_to_components(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(to) if key == "$ref" => {
                        if let Some(name) = to.strip_prefix("#/$defs/") {
                            *to = format!("#/components/schemas/spec.{name}");
                        }
                    }
                    _ => point_to_components(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(point_to_components),
        _ => {}
    }
}
