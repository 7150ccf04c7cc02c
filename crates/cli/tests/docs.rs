//! The generated pages are what the code says. `UPDATE=1 cargo test -p berth-cli --test docs` writes them.

use berth_cli::args::Cli;
use clap::CommandFactory;
use std::fmt::Write as _;
use std::path::PathBuf;

fn held(file: &str, made: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, made).unwrap();
        return;
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "docs/{file} is not what the code says; write it: UPDATE=1 cargo test -p berth-cli --test docs"
    );
}

/// One command and those below it.
fn command(out: &mut String, path: &str, command: &mut clap::Command) {
    let depth = if path.contains(' ') { "##" } else { "#" };
    let help = command.clone().bin_name(path).term_width(100).render_long_help().to_string();
    let help = help.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    writeln!(out, "{depth} {path}\n\n```text\n{}\n```\n", help.trim()).unwrap();
    let below: Vec<String> = command
        .get_subcommands()
        .filter(|c| !c.is_hide_set() && c.get_name() != "help")
        .map(|c| c.get_name().to_owned())
        .collect();
    for name in below {
        let found = command.find_subcommand_mut(&name).unwrap();
        let mut found = found.clone();
        self::command(out, &format!("{path} {name}"), &mut found);
    }
}

#[test]
fn cli() {
    let mut out = String::from(
        "<!-- Made from crates/cli/src/args.rs: UPDATE=1 cargo test -p berth-cli --test docs -->\n\n",
    );
    let mut cli = Cli::command().mut_arg("config", |a| a.hide_env_values(true));
    cli.build();
    command(&mut out, "berth", &mut cli);
    held("CLI.md", &format!("{}\n", out.trim_end()));
}

#[test]
fn the_api() {
    held("openapi.json", berth_cli::front::document());
}

#[test]
fn metrics() {
    let mut out = String::from(
        "<!-- Made from crates/engine/src/metrics.rs: UPDATE=1 cargo test -p berth-cli --test docs -->\n\n# Metrics\n\n\
         Served at `/metrics` of the status API. Label sets are bounded; none has a stack's name.\n\n\
         | Metric | Kind | Labels | What it says |\n|---|---|---|---|\n",
    );
    for (name, kind, labels, help) in berth_engine::METRICS {
        let labels = labels.iter().map(|l| format!("`{l}`")).collect::<Vec<_>>().join(", ");
        writeln!(out, "| `{name}` | {kind} | {labels} | {help} |").unwrap();
    }
    held("METRICS.md", &out);
}

#[test]
fn every_command_has_an_example_or_commands_below_it() {
    let cli = Cli::command();
    for command in cli.get_subcommands() {
        let has = command.get_after_help().is_some_and(|h| h.to_string().contains("Example"));
        assert!(has || command.has_subcommands(), "{}", command.get_name());
        assert!(command.get_about().is_some(), "{}", command.get_name());
    }
}
