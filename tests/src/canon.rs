//! A world without what may differ between two ways to the same end: ids, times, random suffixes, deploy counts.

use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The canonical form of a simulator's dump.
///
/// # Panics
/// Where the dump is not of the known form.
pub fn canon(dump: &Value) -> Value {
    // Paths on the server hold the service's name.
    let mut text_of = dump.to_string();
    for app in dump["applications"].as_array().unwrap() {
        let name = text(&app["name"]);
        text_of =
            text_of.replace(&format!("/{}/files/", text(&app["appName"])), &format!("/files of {name}/"));
    }
    let dump: &Value = &serde_json::from_str(&text_of).unwrap();
    let rows = |kind: &str| dump[kind].as_array().unwrap().clone();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for p in rows("projects") {
        names.insert(text(&p["projectId"]), format!("project {}", text(&p["name"])));
    }
    for e in rows("environments") {
        let project = names[&text(&e["projectId"])].clone();
        names.insert(text(&e["environmentId"]), format!("{project} / {}", text(&e["name"])));
    }
    for a in rows("applications") {
        let name = text(&a["name"]);
        names.insert(text(&a["appName"]), format!("service of {name}"));
        names.insert(text(&a["applicationId"]), format!("application {name}"));
    }
    let name = |id: &Value| names.get(&text(id)).cloned().unwrap_or_else(|| format!("orphan {id}"));
    let list = |kind: &str, drop: &[&str]| {
        let mut out: Vec<Value> = rows(kind).iter().map(|r| row(r, drop, &names)).collect();
        out.sort_by_key(ToString::to_string);
        out
    };
    let mut services = BTreeMap::new();
    for (service, s) in dump["services"].as_object().unwrap() {
        let mut spec = s["Spec"].clone();
        strip(
            &mut spec,
            &[
                "ForceUpdate",
                "ID",
                "Version",
                "CreatedAt",
                "UpdatedAt",
                "Name",
                "UpdateStatus",
                "PreviousSpec",
            ],
        );
        // The order in which children were made.
        for list in ["/TaskTemplate/ContainerSpec/Mounts", "/EndpointSpec/Ports"] {
            if let Some(Value::Array(items)) = spec.pointer_mut(list) {
                items.sort_by_key(ToString::to_string);
            }
        }
        services.insert(
            name(&json!(service)),
            json!({"spec": spec, "running": s["running"], "desired": s["desired"]}),
        );
    }
    let mut routers = BTreeMap::new();
    for (app, file) in dump["routers"].as_object().unwrap() {
        let file = text(file);
        let mut rules: Vec<&str> = file.lines().map(str::trim).filter(|l| l.starts_with("rule:")).collect();
        rules.sort_unstable();
        if !rules.is_empty() {
            routers.insert(name(&json!(app)), json!(rules));
        }
    }
    let mut environments = list("environments", &["environmentId", "createdAt"]);
    let lived_in: Vec<String> = list("applications", &[]).iter().map(|a| text(&a["environmentId"])).collect();
    // An environment goes with its project, never by itself.
    environments.retain(|e| {
        text(&e["description"]) != "Made by Berth"
            || lived_in.contains(&format!("{} / {}", text(&e["projectId"]), text(&e["name"])))
    });
    json!({
        "projects": list("projects", &["projectId", "createdAt", "organizationId"]),
        "environments": environments,
        "applications": list("applications", &["applicationId", "appName", "createdAt", "refreshToken", "applicationStatus"]),
        "domains": list("domains", &["domainId", "createdAt", "uniqueConfigKey"]),
        "mounts": list("mounts", &["mountId"]),
        "ports": list("ports", &["portId"]),
        "services": services,
        "volumes": dump["volumes"],
        "routers": routers,
    })
}

fn text(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_owned()
}

fn row(row: &Value, drop: &[&str], names: &BTreeMap<String, String>) -> Value {
    let mut out = Map::new();
    for (key, value) in row.as_object().unwrap() {
        if drop.contains(&key.as_str()) {
            continue;
        }
        let value = match (key.as_str(), value) {
            // An empty text and none mean the same to the server.
            ("env" | "command", Value::String(t)) if t.is_empty() => Value::Null,
            ("description", Value::String(d)) => json!(description(d)),
            (k, Value::String(id)) if k.ends_with("Id") => {
                json!(names.get(id).cloned().unwrap_or_else(|| format!("dangling {id}")))
            }
            (_, v) => v.clone(),
        };
        out.insert(key.clone(), value);
    }
    Value::Object(out)
}

/// A mark without the operation and ids, children counted.
fn description(text: &str) -> String {
    let words = text.split(' ').map(|word| match word.split_once('=') {
        Some(("op", _)) => "op=…".to_owned(),
        Some(("id", _)) => "id=…".to_owned(),
        Some(("c", ids)) => format!("c={}", ids.split(',').count()),
        _ => word.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn strip(value: &mut Value, keys: &[&str]) {
    match value {
        Value::Object(map) => {
            map.retain(|k, _| !keys.contains(&k.as_str()));
            map.values_mut().for_each(|v| strip(v, keys));
        }
        Value::Array(items) => items.iter_mut().for_each(|v| strip(v, keys)),
        _ => {}
    }
}

/// The first differences of two values, for a message.
pub fn differences(want: &Value, got: &Value) -> String {
    let mut out = Vec::new();
    walk("", want, got, &mut out);
    out.truncate(12);
    out.join("\n")
}

fn walk(path: &str, want: &Value, got: &Value, out: &mut Vec<String>) {
    match (want, got) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let null = Value::Null;
                walk(&format!("{path}/{key}"), a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), out);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                walk(&format!("{path}/{i}"), a, b, out);
            }
        }
        _ if want != got => out.push(format!("{path}: want {want} got {got}")),
        _ => {}
    }
}
