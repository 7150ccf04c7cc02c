//! Every example of `manifests/` is read without a fault, and what it means is a snapshot.

use berth_manifest::{Context, Input, Lookup, Reader, load, load_config, render};
use std::path::{Path, PathBuf};

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

fn yaml_files(dir: &Path) -> Vec<Input> {
    let mut inputs: Vec<Input> = std::fs::read_dir(dir)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "yaml"))
        .map(|p| Input::new(p.file_name().unwrap().to_string_lossy(), std::fs::read(&p).unwrap()))
        .collect();
    inputs.sort_by(|a, b| a.file.cmp(&b.file));
    inputs
}

#[track_caller]
fn check(name: &str, inputs: &[Input]) {
    let fleet = load(inputs, &Context::default());
    assert!(fleet.errors.is_empty(), "{}", render(&fleet.errors, inputs, false));
    assert!(fleet.warnings.is_empty(), "{}", render(&fleet.warnings, inputs, false));
    let mut text = String::new();
    for project in fleet.projects.values() {
        text.push_str(&format!("{project:#?}\n"));
    }
    for stack in fleet.stacks.values() {
        text.push_str(&format!("{stack:#?}\n"));
    }
    insta::assert_snapshot!(name, text);
}

#[test]
fn the_demo_fleet() {
    check("demo", &yaml_files(&manifests()));
}

#[test]
fn each_example() {
    for input in yaml_files(&manifests().join("examples")) {
        if &*input.file != "berth.yaml" {
            let name = input.file.trim_end_matches(".yaml").to_owned();
            check(&name, std::slice::from_ref(&input));
        }
    }
}

struct Given;

impl Lookup for Given {
    fn env(&self, name: &str) -> Option<String> {
        Some(format!("value-of-{name}"))
    }
    fn file(&self, _: &Path) -> Result<String, String> {
        Ok("keys\n".to_owned())
    }
}

#[test]
fn the_settings() {
    let text = std::fs::read(manifests().join("examples/berth.yaml")).unwrap();
    let config = load_config("berth.yaml", &text, &Given).unwrap();
    assert_eq!(config.backends.values().next().unwrap().key.value.expose(), "value-of-DOKPLOY_API_TOKEN");
    insta::assert_snapshot!("settings", format!("{config:#?}"));
}

#[test]
fn a_reader_shares_what_did_not_change() {
    let mut inputs = yaml_files(&manifests());
    let mut reader = Reader::new();
    let cx = Context::default();
    let first = reader.update(&inputs, &cx, &|_| None);
    let again = reader.update(&inputs, &cx, &|_| None);
    for (name, stack) in &first.stacks {
        assert!(std::sync::Arc::ptr_eq(stack, &again.stacks[name]), "{name}");
    }
    let notes = inputs.iter_mut().find(|i| &*i.file == "notes.yaml").unwrap();
    let text = std::str::from_utf8(&notes.bytes).unwrap().replace("replicas: 2", "replicas: 3");
    notes.bytes = text.as_bytes().into();
    let changed = reader.update(&inputs, &cx, &|_| None);
    for (name, stack) in &first.stacks {
        assert_eq!(std::sync::Arc::ptr_eq(stack, &changed.stacks[name]), name.as_str() != "notes", "{name}");
    }
    assert_eq!(first.declared, changed.declared);
    // The same as reading everything anew.
    assert_eq!(load(&inputs, &cx).stacks, changed.stacks);
}
