//! The architecture, held: who may depend on whom, what stays pure, how a source file looks.
//!
//! The arrows are read from `cargo metadata`, so that no convention has to be remembered.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Every package and the packages of this workspace that it may depend on. `None`: the edge of the program, any.
const ARROWS: &[(&str, Option<&[&str]>)] = &[
    ("model", Some(&[])),
    ("manifest", Some(&["model"])),
    ("plan", Some(&["model"])),
    ("ports", Some(&["model"])),
    ("engine", Some(&["model", "plan", "ports"])),
    ("wire", Some(&["model", "ports"])),
    ("dokploy", Some(&["model", "ports", "wire"])),
    ("dns", Some(&["model", "ports", "wire"])),
    ("store", Some(&["model", "ports"])),
    ("source", Some(&["model", "manifest", "ports"])),
    ("vault", Some(&["model", "ports"])),
    ("api", Some(&["model", "ports"])),
    ("sim", Some(&[])),
    ("servers", Some(&[])),
    ("cli", None),
    ("bench", None),
    ("tests", None),
];

/// Packages of others, each with the one place that may name it.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("reqwest", &["wire"]),
    ("sqlx", &["store"]),
    ("notify", &["source"]),
    ("chacha20poly1305", &["vault"]),
];

/// What pure crates never reach, however far away.
const IMPURE: &[&str] = &["tokio", "hyper", "reqwest", "sqlx", "rand", "notify", "mio", "socket2"];
const PURE: &[&str] = &["model", "manifest", "plan"];

/// Lines of one source file. What is longer has two subjects.
const LINES: usize = 700;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata(arguments: &[&str]) -> Value {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1"])
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).unwrap()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_else(|| panic!("cargo metadata without {key}: {value}"))
}

/// Packages of the workspace, by folder name, with their direct dependencies outside tests.
fn packages() -> BTreeMap<String, BTreeSet<String>> {
    let all = metadata(&["--no-deps"]);
    let direct = |package: &Value| {
        let dependencies = package["dependencies"].as_array().unwrap();
        let normal = dependencies.iter().filter(|d| d["kind"].is_null());
        normal.map(|d| text(d, "name").to_owned()).collect::<BTreeSet<_>>()
    };
    let packages = all["packages"].as_array().unwrap();
    let short = |p: &Value| text(p, "name").trim_start_matches("berth-").to_owned();
    packages.iter().map(|p| (short(p), direct(p))).collect()
}

#[test]
fn crates_depend_only_as_drawn() {
    let packages = packages();
    let mut broken = Vec::new();
    for name in packages.keys() {
        if !ARROWS.iter().any(|(known, _)| known == name) {
            broken.push(format!(
                "berth-{name} is new: draw its arrows in tests/tests/arrows.rs and docs/ARCHITECTURE.md"
            ));
        }
    }
    for (name, allowed) in ARROWS {
        let Some(direct) = packages.get(*name) else {
            broken.push(format!(
                "berth-{name} is gone: take it out of tests/tests/arrows.rs and docs/ARCHITECTURE.md"
            ));
            continue;
        };
        let Some(allowed) = allowed else { continue };
        for other in direct.iter().filter_map(|d| d.strip_prefix("berth-")) {
            if !allowed.contains(&other) {
                broken.push(format!(
                    "berth-{name} depends on berth-{other}: what both need belongs into berth-model (a value) or \
                     berth-ports (a trait); what joins them belongs into berth-cli"
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn some_packages_have_one_place() {
    let packages = packages();
    let mut broken = Vec::new();
    for (package, places) in ONLY_IN {
        for (name, direct) in &packages {
            if direct.contains(*package) && !places.contains(&name.as_str()) {
                broken.push(format!(
                    "berth-{name} names {package}: it is spoken in berth-{} only; go through its types, or through a port",
                    places.join(" and berth-")
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pure_crates_reach_nothing_that_waits_or_rolls() {
    let host = Command::new("rustc").arg("-vV").output().unwrap();
    let host = String::from_utf8(host.stdout).unwrap();
    let host = host.lines().find_map(|l| l.strip_prefix("host: ")).unwrap().to_owned();
    let all = metadata(&["--filter-platform", &host]);
    let names: BTreeMap<&str, &str> =
        all["packages"].as_array().unwrap().iter().map(|p| (text(p, "id"), text(p, "name"))).collect();
    let mut edges: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for node in all["resolve"]["nodes"].as_array().unwrap() {
        let normal = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|d| d["dep_kinds"].as_array().unwrap().iter().any(|k| k["kind"].is_null()));
        edges.insert(text(node, "id"), normal.map(|d| text(d, "pkg")).collect());
    }
    let mut broken = Vec::new();
    for pure in PURE {
        let name = format!("berth-{pure}");
        let start = names.iter().find(|(_, n)| **n == name).map(|(id, _)| *id).unwrap();
        // Each package with the one that led to it, so that the message can show the way.
        let mut from: BTreeMap<&str, &str> = BTreeMap::new();
        let mut open = vec![start];
        while let Some(at) = open.pop() {
            for next in edges.get(at).into_iter().flatten() {
                if *next != start && !from.contains_key(next) {
                    from.insert(next, at);
                    open.push(next);
                }
            }
        }
        for reached in from.keys().filter(|id| IMPURE.contains(&names[**id])) {
            let mut way = vec![names[*reached]];
            let mut at = *reached;
            while let Some(before) = from.get(at) {
                at = before;
                way.push(names[at]);
            }
            way.reverse();
            broken.push(format!(
                "{} by way of {}: the pure crates do no IO and know no clock and no chance; take the value as an argument",
                name,
                way.join(" → ")
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

fn sources(folder: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                sources(&path, out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

/// Every source file under these folders, relative to the root, with its text.
fn files(folders: &[&str]) -> Vec<(String, String)> {
    let root = root();
    let mut paths = Vec::new();
    for folder in folders {
        sources(&root.join(folder), &mut paths);
    }
    paths.sort();
    assert!(!paths.is_empty(), "no sources under {folders:?}");
    let name = |p: &Path| p.strip_prefix(&root).unwrap().display().to_string();
    paths.iter().map(|p| (name(p), std::fs::read_to_string(p).unwrap())).collect()
}

#[test]
fn every_file_says_what_it_is_for_and_stays_short() {
    let mut broken = Vec::new();
    for (name, text) in files(&["crates", "tests"]) {
        if !text.starts_with("//!") {
            broken.push(format!("{name} does not open with //!: say in one sentence what it is for"));
        }
        let lines = text.lines().count();
        if lines > LINES {
            broken
                .push(format!("{name} has {lines} lines, at most {LINES} are allowed: split it by subject"));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not hold what it looks for.
    let words = [
        concat!("todo", "!("),
        concat!("dbg", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
    ];
    let mut broken = Vec::new();
    for (name, text) in files(&["crates", "tests"]) {
        for (at, line) in text.lines().enumerate() {
            for word in words.iter().filter(|w| line.contains(**w)) {
                broken.push(format!(
                    "{name}:{}: {word}: finish it, or say in docs that it is not there",
                    at + 1
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// A test that waits on the real clock is slow when it passes and wrong when the machine is busy. On the paused clock
/// a sleep costs nothing and is how time passes.
#[test]
fn no_suite_waits_on_the_real_clock() {
    let thread = concat!("thread::", "sleep");
    let sleep = concat!("time::", "sleep(");
    let mut broken = Vec::new();
    for (name, text) in files(&["tests"]) {
        if text.contains(thread) {
            broken.push(format!("{name}: {thread}: wait for what is meant, on the paused clock"));
        }
        let real = text.lines().any(|l| l.trim().starts_with("#[tokio::test") && !l.contains("start_paused"));
        if text.contains(sleep) && real {
            broken.push(format!(
                "{name}: {sleep}…) beside a test without start_paused = true: pause its clock"
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn pure_crates_open_nothing_and_read_no_clock() {
    let words =
        ["std::fs", "std::env::", "std::process", "std::thread", "SystemTime", "Instant::now", "println!"];
    let mut broken = Vec::new();
    for pure in PURE {
        for (name, text) in files(&[&format!("crates/{pure}/src")]) {
            // What stands below is tests, which may read the files they hold.
            let lines = text.lines().take_while(|l| l.trim() != "#[cfg(test)]");
            for (at, line) in lines.enumerate() {
                let code = line.split("//").next().unwrap_or("");
                if let Some(word) = words.iter().find(|w| code.contains(**w)) {
                    broken.push(format!("{name}:{}: {word}: take the value as an argument", at + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
