//! `berth validate`, `schema` and `completions`: what needs neither a server nor a state.

use crate::app;
use crate::args::{Completions, Format, Schema, SchemaOf, Validate};
use crate::settings::{self, Needs};
use crate::{Told, out};
use anyhow::{Result, bail};
use berth_manifest::{Context, Diagnostic, SchemaKind, Severity, schema as json_schema};
use clap::CommandFactory;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fault<'a> {
    severity: &'static str,
    file: &'a str,
    line: u32,
    column: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<&'a str>,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<&'a str>,
}

impl<'a> From<&'a Diagnostic> for Fault<'a> {
    fn from(d: &'a Diagnostic) -> Self {
        Self {
            severity: if d.severity == Severity::Error { "error" } else { "warning" },
            file: &d.file,
            line: d.line,
            column: d.column,
            path: d.path.as_deref(),
            document: d.document.as_deref(),
            message: &d.message,
            help: d.help.as_deref(),
        }
    }
}

/// Checks manifests.
///
/// # Errors
/// A path cannot be read, or there are errors (which were told).
pub fn validate(given: Option<&Path>, args: Validate) -> Result<ExitCode> {
    // Asked for by name it must be there; else it only helps.
    let config = match settings::find(given) {
        Some(_) => Some(settings::load(given, Needs::Places)?),
        None => None,
    };
    let paths = match (&config, args.paths.is_empty()) {
        (_, false) => args.paths,
        (Some(config), true) => config.directory.iter().cloned().collect(),
        (None, true) => {
            bail!("name files or directories to check, or be where a berth.yaml is: 'berth validate stacks/'")
        }
    };
    let inputs = app::inputs(&paths)?;
    let context = config.as_ref().map_or_else(Context::default, Context::from);
    let fleet = berth_manifest::load(&inputs, &context);
    let all: Vec<Diagnostic> = fleet.errors.iter().chain(&fleet.warnings).cloned().collect();
    let faults: Vec<Fault<'_>> = all.iter().map(Fault::from).collect();
    if args.output.output == Format::Text {
        anstream::eprint!("{}", berth_manifest::render(&all, &inputs[..], true));
    } else {
        out::data(args.output.output, &faults, String::new)?;
    }
    let count = |n: usize, what: &str| format!("{n} {what}{}", if n == 1 { "" } else { "s" });
    let found = format!(
        "{}, {} in {}",
        count(fleet.stacks.len(), "valid stack"),
        count(fleet.projects.len(), "project"),
        count(inputs.len(), "file")
    );
    if fleet.errors.is_empty() {
        if args.output.output == Format::Text {
            out::say(&format!(
                "{} {found}, {}",
                out::paint(out::GOOD, "✓"),
                count(fleet.warnings.len(), "warning")
            ))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    anstream::eprintln!("{}; {found}", out::paint(out::BAD.bold(), count(fleet.errors.len(), "error")));
    Err(Told.into())
}

/// Prints a schema.
///
/// # Errors
/// Nobody reads it.
pub fn schema(args: Schema) -> Result<ExitCode> {
    let of = match args.of {
        SchemaOf::Manifest => SchemaKind::Manifest,
        SchemaOf::Config => SchemaKind::Config,
    };
    out::say(&serde_json::to_string_pretty(&json_schema(of))?)?;
    Ok(ExitCode::SUCCESS)
}

/// Prints a completion script.
///
/// # Errors
/// Nobody reads it.
pub fn completions(args: Completions) -> Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::Cli::command(), "berth", &mut script);
    out::say(&String::from_utf8_lossy(&script))?;
    Ok(ExitCode::SUCCESS)
}
