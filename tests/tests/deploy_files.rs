//! The files under `deploy/` that run a daemon: the image, the stacks, the unit and the manifest say the same, and what
//! they show of `berth.yaml` can be read.

use berth_manifest::{Context, Input, Lookup, load, load_config};
use berth_model::config::StatePlace;
use berth_model::stack::{EnvValue, Part, Text};
use serde_json::{Value, json};
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn yaml(name: &str) -> Value {
    serde_saphyr::from_str(&read(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// Every reference leads somewhere.
struct Anywhere;

impl Lookup for Anywhere {
    fn env(&self, _: &str) -> Option<String> {
        Some("value".to_owned())
    }
    fn file(&self, _: &Path) -> Result<String, String> {
        Ok("value".to_owned())
    }
}

/// The settings that a file shows in its comments: from this line on, as far as they are set in.
fn shown(name: &str, first: &str) -> String {
    let text = read(name);
    let from = text.find(&format!("#   {first}")).unwrap_or_else(|| panic!("{name} shows no '{first}'"));
    let lines = text[from..].lines().map_while(|line| line.strip_prefix("#   "));
    lines.collect::<Vec<_>>().join("\n")
}

const CHECK: [&str; 3] = ["CMD", "/berth", "healthcheck"];

#[test]
fn the_image_is_one_program_for_nobody_in_particular() {
    let text = read("Containerfile");
    let (_, image) =
        text.split_once("\nFROM scratch\n").expect("it ends with an image of nothing but the program");
    let line = |word: &str| {
        let found = image.lines().find_map(|l| l.split_once(word).map(|(_, rest)| rest.trim().to_owned()));
        found.unwrap_or_else(|| panic!("there is no {word}"))
    };
    assert_eq!(line("USER "), "65532:65532");
    assert_eq!(line("ENTRYPOINT "), r#"["/berth"]"#);
    let check = line("HEALTHCHECK ");
    let (_, command) = check.split_once("CMD ").unwrap();
    let command: Vec<String> = serde_json::from_str(command).unwrap();
    assert_eq!(command, CHECK[1..]);
    assert!(text.contains("cargo build --release --locked --bin berth"), "{text}");
    // Everything that the workspace is made of is there to be built.
    let manifest = read("../Cargo.toml");
    for folder in ["crates", "tests"] {
        assert!(manifest.contains(&format!("\"{folder}")), "{folder} is not a part of it any more");
        assert!(text.contains(&format!("COPY {folder} {folder}")), "{folder} is not copied");
    }
}

#[test]
fn every_service_is_shut_in_and_checked() {
    for (file, services) in [("compose.yaml", &["berth", "postgres"][..]), ("dokploy.yaml", &["berth"][..])] {
        let stack = yaml(file);
        let found: Vec<&String> = stack["services"].as_object().unwrap().keys().collect();
        assert_eq!(found, services, "{file}");
        for (name, service) in stack["services"].as_object().unwrap() {
            let what = format!("{file}: {name}");
            assert_eq!(service["read_only"], json!(true), "{what}");
            assert_eq!(service["cap_drop"], json!(["ALL"]), "{what}");
            assert_eq!(service["security_opt"], json!(["no-new-privileges:true"]), "{what}");
            assert!(service["ports"].is_null(), "{what} publishes a port");
            assert!(service["healthcheck"]["test"].is_array(), "{what}");
            // What is mounted is declared, and the other way round.
            for kind in ["secrets", "configs"] {
                for used in service[kind].as_array().into_iter().flatten() {
                    let source = used["source"].as_str().unwrap();
                    assert!(stack[kind][source].is_object(), "{what}: {kind} {source}");
                }
            }
            for network in service["networks"].as_array().unwrap() {
                assert!(stack["networks"][network.as_str().unwrap()].is_object(), "{what}: {network}");
            }
        }
        assert_eq!(stack["services"]["berth"]["healthcheck"]["test"], json!(CHECK), "{file}");
    }
    let stack = yaml("compose.yaml");
    let berth = &stack["services"]["berth"]["deploy"];
    assert_eq!(berth["replicas"], json!(2), "one works and one stands by");
    assert_eq!(berth["update_config"]["order"], json!("start-first"));
    assert_eq!(stack["services"]["postgres"]["deploy"]["update_config"]["order"], json!("stop-first"));
}

#[test]
fn the_settings_that_are_shown_can_be_read() {
    let text = shown("dokploy.yaml", "owner: prod-eu");
    let config = load_config("dokploy.yaml", text.as_bytes(), &Anywhere).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(matches!(config.state, StatePlace::Sqlite(path) if path.starts_with("/var/lib/berth")));
    assert_eq!(config.listen.to_string(), "0.0.0.0:9477");
    // Its container shows the files that the settings name.
    let mounts = yaml("dokploy.yaml")["services"]["berth"]["volumes"].to_string();
    for place in ["/etc/berth/stacks", "/etc/berth/vault.keys", "/var/lib/berth"] {
        assert!(text.contains(place) && mounts.contains(place), "{place}");
    }

    let text = format!("owner: prod-eu\n{}", shown("compose.yaml", "backends:"));
    let config = load_config("compose.yaml", text.as_bytes(), &Anywhere).unwrap_or_else(|e| panic!("{e:?}"));
    assert!(matches!(config.state, StatePlace::Postgres(_)));
    let secrets = yaml("compose.yaml")["services"]["berth"]["secrets"].clone();
    for secret in secrets.as_array().unwrap() {
        let source = secret["source"].as_str().unwrap();
        assert!(text.contains(&format!("/run/secrets/{source}")), "{source} is mounted and not named");
    }
}

#[test]
fn the_manifest_of_itself_is_one_that_knows_itself() {
    let inputs = [Input::new("itself.yaml", read("itself.yaml").into_bytes())];
    let fleet = load(&inputs, &Context::default());
    assert!(fleet.errors.is_empty(), "{}", berth_manifest::render(&fleet.errors, &inputs[..], false));
    let stack = fleet.stacks.values().next().expect("a stack");
    let app = stack.apps.values().next().expect("an app");
    // As Swarm has to find it: braces of ours would have become something else.
    let env = app.env.value().expect("its environment");
    let expected = EnvValue::Text(Text(vec![Part::Lit("{{.Service.Name}}".to_owned())]));
    assert_eq!(env.get("BERTH_SERVICE"), Some(&expected));
    let update = app.update.value().expect("how it is updated");
    assert!(!update.start_first, "a state file has one daemon");
    assert!(update.rollback, "a version that does not start is put back");
    let named = format!("self: {}/{}", stack.name, app_name(stack));
    assert!(read("itself.yaml").contains(&format!("'{named}'")), "it shows another setting than {named}");
}

fn app_name(stack: &berth_model::stack::Stack) -> String {
    stack.apps.keys().next().map(ToString::to_string).unwrap_or_default()
}

#[test]
fn the_unit_waits_for_word_and_watches() {
    let unit = read("berth.service");
    for line in ["Type=notify", "WatchdogSec=60", "User=berth", "ProtectSystem=strict", "NoNewPrivileges=yes"]
    {
        assert!(unit.lines().any(|l| l == line), "{line} is gone");
    }
    // The loop counts as hung after half a minute; a watchdog that is quicker would end a daemon that is only busy.
    let command = unit.lines().find_map(|l| l.strip_prefix("ExecStart=")).unwrap();
    assert!(command.starts_with("/usr/bin/berth --config /etc/berth/berth.yaml run"), "{command}");
}
