//! Commands that need no server: help, schema, validate, init, secrets, and their errors.

mod common;

use common::{VAULT, empty, run, run_with};
use std::os::unix::fs::PermissionsExt;

const SETTINGS: &str = "owner: test
backends: {main: {dokploy: \"http://127.0.0.1:1\", key: {env: NOT_SET_IN_ANY_TEST}}}
source: {directory: stacks}
state: {sqlite: berth.db}
vault: {keys: {file: vault.keys}}
listen: \"127.0.0.1:1\"
";

fn place() -> tempfile::TempDir {
    let directory = empty();
    std::fs::write(directory.path().join("berth.yaml"), SETTINGS).unwrap();
    std::fs::write(directory.path().join("vault.keys"), VAULT).unwrap();
    std::fs::create_dir(directory.path().join("stacks")).unwrap();
    directory
}

#[test]
fn help_without_a_command() {
    let ran = run(empty().path(), &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("Usage: berth"), "{}", ran.err);
    insta::assert_snapshot!(run(empty().path(), &["--help"]).out);
}

#[test]
fn without_settings_it_says_where_they_would_be() {
    let ran = run(empty().path(), &["get"]);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    insta::assert_snapshot!(ran.err);
}

#[test]
fn validate_tells_all_errors_at_once() {
    let place = place();
    let bad = "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {name: Blog}\nspec:\n  target: {ownProject: blog}\n  apps:\n    \
               web: {image: \"r/web:1\", prot: 8080, resources: {memory: 512}}\n";
    std::fs::write(place.path().join("stacks/bad.yaml"), bad).unwrap();
    let ran = run(place.path(), &["validate", "stacks/bad.yaml"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err);
    let ran = run(place.path(), &["validate", "-o", "json"]);
    let faults: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert!(faults.as_array().unwrap().len() >= 3, "{faults}");
    assert_eq!(ran.code, 1);
}

#[test]
fn validate_counts_what_is_good() {
    let place = place();
    std::fs::write(place.path().join("stacks/blog.yaml"), common::STACK).unwrap();
    let ran = run(place.path(), &["validate"]);
    assert_eq!((ran.code, ran.out.as_str()), (0, "✓ 1 valid stack, 0 projects in 1 file, 0 warnings\n"));
}

#[test]
fn the_schemas_are_json() {
    for of in ["manifest", "config"] {
        let ran = run(empty().path(), &["schema", of]);
        let schema: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
        assert!(schema.is_object());
    }
}

#[test]
fn completions_name_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        assert!(run(empty().path(), &["completions", shell]).out.contains("reconcile"), "{shell}");
    }
}

#[test]
fn secrets_are_kept_and_never_shown() {
    let place = place();
    let ran = run_with(place.path(), &["secret", "set", "shop", "api", "KEY"], "hunter2-hunter2\n");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(ran.err.contains("KEY of stack/shop, app api: version 1 is kept"), "{}", ran.err);
    assert!(ran.err.contains("no daemon answers"), "{}", ran.err);
    let file = place.path().join("value");
    std::fs::write(&file, "another-value").unwrap();
    let again = run(place.path(), &["secret", "set", "shop", "api", "KEY", "--from-file", "value"]);
    assert!(again.err.contains("version 2 is kept"), "{}", again.err);
    run_with(place.path(), &["secret", "set", "project/shared portal", "TOKEN"], "a project's");
    let list = run(place.path(), &["secret", "list"]);
    insta::assert_snapshot!(common::steady(&list.out));
    for name in ["berth.db", "berth.db-wal"] {
        let bytes = std::fs::read(place.path().join(name)).unwrap_or_default();
        assert!(!bytes.windows(7).any(|w| w == b"hunter2"), "in clear in {name}");
    }
    let ran = run(place.path(), &["secret", "remove", "shop", "api", "KEY"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!run(place.path(), &["secret", "list", "shop"]).out.contains("KEY"));
    assert_eq!(run(place.path(), &["secret", "remove", "shop", "api", "KEY"]).code, 1);
}

#[test]
fn an_empty_secret_and_a_wrong_name_are_refused() {
    let place = place();
    let ran = run_with(place.path(), &["secret", "set", "shop", "KEY"], "\n");
    assert!(ran.code == 1 && ran.err.contains("the value is empty"), "{}", ran.err);
    let ran = run_with(place.path(), &["secret", "set", "Shop", "KEY"], "x");
    assert!(ran.code == 1 && ran.err.contains("'Shop' is not a stack's name"), "{}", ran.err);
}

#[test]
fn init_writes_what_the_daemon_reads_and_never_over_a_key() {
    let directory = empty();
    let args =
        ["init", "--owner", "here", "--url", "http://10.0.0.1:3000/", "--key-env", "TOKEN", "--no-check"];
    let ran = run(directory.path(), &args);
    assert_eq!(ran.code, 0, "{}", ran.err);
    insta::assert_snapshot!(std::fs::read_to_string(directory.path().join("berth.yaml")).unwrap());
    let key = directory.path().join("vault.keys");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    let before = std::fs::read(&key).unwrap();
    assert_eq!(run(directory.path(), &args).code, 1, "a second time it needs --force");
    let forced: Vec<&str> = args.iter().copied().chain(["--force"]).collect();
    assert_eq!(run(directory.path(), &forced).code, 0);
    assert_eq!(std::fs::read(&key).unwrap(), before);
    assert_eq!(run(directory.path(), &["validate"]).code, 0, "what it wrote is read");
}

#[test]
fn init_asks_for_nothing_without_a_terminal() {
    let directory = empty();
    let ran = run(directory.path(), &["init", "--url", "http://10.0.0.1:3000"]);
    assert!(ran.code == 1 && ran.err.contains("--owner NAME"), "{}", ran.err);
    assert!(!directory.path().join("berth.yaml").exists());
}

#[test]
fn run_says_what_is_missing_in_the_settings() {
    let place = place();
    let ran = run(place.path(), &["run"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(ran.err);
}

#[test]
fn wait_gives_up_in_time() {
    let place = place();
    let ran = run(place.path(), &["wait", "blog", "--timeout", "10ms"]);
    assert_eq!(ran.code, 1);
    insta::assert_snapshot!(common::steady(&ran.err));
}
