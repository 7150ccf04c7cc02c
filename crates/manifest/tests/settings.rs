//! `berth.yaml`: what is read, what is refused and in which words.

use berth_manifest::{Lookup, load_config, render};
use std::path::Path;

struct Given;

impl Lookup for Given {
    fn env(&self, name: &str) -> Option<String> {
        match name {
            "TOKEN" => Some("hunter2".to_owned()),
            "EMPTY" => Some("  ".to_owned()),
            "UNRESOLVED" => Some("${{project.SHARED_PROJECT_ID}}".to_owned()),
            "SHARED_PROJECT_ID" => Some("p-1".to_owned()),
            _ => None,
        }
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        if path == Path::new("/keys") { Ok("hunter2\n".to_owned()) } else { Err("no such file".to_owned()) }
    }
}

const GOOD: &str = "owner: prod-eu\nbackends:\n  main: {dokploy: \"http://h:3000\", key: {env: TOKEN}}\nsource: {directory: /d}\nstate: {sqlite: /s}\nvault: {keys: {file: /keys}}\n";

#[track_caller]
fn check(name: &str, text: &str) {
    let errors = load_config("berth.yaml", text.as_bytes(), &Given).unwrap_err();
    let shown = render(&errors, &("berth.yaml", text.as_bytes()), false);
    // The source lines are the file's own; what was read through references is nowhere.
    assert!(!shown.contains("hunter2") || text.contains("hunter2"), "{shown}");
    for e in &errors {
        assert!(!e.to_string().contains("hunter2"), "{e}");
    }
    insta::assert_snapshot!(name, shown);
}

#[test]
fn good() {
    let config = load_config("berth.yaml", GOOD.as_bytes(), &Given).unwrap();
    let backend = config.backends.values().next().unwrap();
    assert_eq!(backend.key.value.expose(), "hunter2");
    assert_eq!(config.vault.value.expose(), "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:9477");
    assert_eq!(config.reserved_names.len(), 9);
    assert_eq!(config.itself, None);
    let config = load_config("berth.yaml", format!("{GOOD}self: ops/berth\n").as_bytes(), &Given).unwrap();
    let (stack, app) = config.itself.unwrap();
    assert_eq!((stack.as_str(), app.as_str()), ("ops", "berth"));
}

#[test]
fn refused() {
    check("nothing", "");
    check("missing", "owner: prod-eu\nbackends: {main: {}}\n");
    check("unknown", &format!("{GOOD}ownr: x\nintervals: {{resink: 1s, audit: 0s}}\nlisten: here\n"));
    check(
        "secrets_in_the_file",
        &GOOD.replace("{env: TOKEN}", "hunter2").replace("{file: /keys}", "hunter2"),
    );
    check(
        "references",
        &GOOD
            .replace("prod-eu", "{env: EMPTY}")
            .replace("{env: TOKEN}", "{env: UNRESOLVED}")
            .replace("/keys", "/nowhere")
            .replace("/d}", "{env: NOT_SET}}"),
    );
    check(
        "two_that_go_together",
        &format!(
            "{GOOD}defaults: {{target: {{project: {{env: SHARED_PROJECT_ID}}, environment: {{env: SHARED_ENVIRONMENT_ID}}}}}}\n"
        ),
    );
    check(
        "places",
        &GOOD
            .replace("{directory: /d}", "{postgres: {env: TOKEN}}")
            .replace("{sqlite: /s}", "{sqlite: /s, postgres: {env: TOKEN}}"),
    );
    check("backends", &GOOD.replace("  main: {dokploy: \"http://h:3000\"", "  Bad: {dokploy: h, key: {env: TOKEN}}\n  b: {dokploy: \"http://u:p@h\", key: {env: TOKEN}, inFlight: 0, timeout: 1ms, probe: x, https: \"a b\"}\n  main: {dokploy: \"http://h/x\""));
    check("defaults", &format!("{GOOD}defaults: {{target: {{dokploy: mian}}, hostSuffix: \"a b\"}}\n"));
    check("itself", &format!("{GOOD}self: daemon\n"));
    check("two_documents", &format!("{GOOD}---\n{GOOD}"));
}
