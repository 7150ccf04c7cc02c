//! `berth plan`, `berth dns plan` and `berth delete --dry-run`: what would be done, with reads only. The lines are the daemon's own plan.

use crate::Told;
use crate::app::{self, App};
use crate::args::{Delete, Format, Output, Plan};
use crate::out;
use anyhow::{Context, Result, bail};
use berth_engine::Planned;
use berth_manifest::Severity;
use berth_model::ids::Key;
use berth_model::step::Step;
use berth_plan::Line;
use berth_ports::{PortError, Wanted};
use futures::StreamExt;
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Plans under way at once: the accounts bound their calls themselves.
const AT_ONCE: usize = 8;

/// One plan as JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    name: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Line>,
    writes: usize,
    deploys: usize,
    blocked: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    waits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Plans.
///
/// # Errors
/// Settings, manifests or state cannot be read.
pub async fn plan(given: Option<&Path>, args: Plan) -> Result<ExitCode> {
    let (plans, faulty) = planned(given, &args.names, &args.manifests).await?;
    show(args.output.output, plans, faulty)
}

/// Plans, and tells what they say of records only.
///
/// # Errors
/// As [`plan`].
pub async fn records(given: Option<&Path>, names: Vec<String>, output: Output) -> Result<ExitCode> {
    let (mut plans, faulty) = planned(given, &names, &[]).await?;
    let is_name = |what: &str| what == "records" || what.starts_with("host ") || what.starts_with("zone ");
    for plan in plans.iter_mut().filter_map(|(_, p)| p.as_mut().ok()).map(|p| &mut p.plan) {
        plan.steps.retain(|s| matches!(s, Step::LookDns(_) | Step::ChangeRecords { .. }));
        plan.blocked.retain(|b| is_name(&b.what));
        plan.notes.retain(|n| is_name(&n.what));
    }
    show(output.output, plans, faulty)
}

type Plans = Vec<(Key, Result<Planned, PortError>)>;

/// The plans of these keys, or of all; and whether a manifest has errors.
async fn planned(given: Option<&Path>, names: &[String], paths: &[PathBuf]) -> Result<(Plans, bool)> {
    let app = App::to_look(given).await?;
    let (wanted, faulty) = manifests(&app, paths).await?;
    let known = all_keys(&wanted);
    app.engine.set_wanted(Arc::new(wanted));
    let all = app.engine.keys();
    let keys = if names.is_empty() {
        all.into_iter().collect()
    } else {
        let mut keys = Vec::new();
        for name in names {
            let key = super::key(name, &|k| all.contains(k) || known.contains(k))?;
            if !all.contains(&key) {
                bail!(
                    "{key} is in no manifest and was not made by Berth; 'berth plan' without a name shows all there is"
                );
            }
            keys.push(key);
        }
        keys
    };
    Ok((make(&app, keys).await, faulty))
}

/// Plans a removal.
///
/// # Errors
/// As [`plan`]; and without `--dry-run`, which says how it is done.
pub async fn delete(given: Option<&Path>, args: Delete) -> Result<ExitCode> {
    let app = App::to_look(given).await?;
    let (mut wanted, _) = manifests(&app, &[]).await?;
    let all = all_keys(&wanted);
    let recorded = app.engine.keys();
    let key = super::key(&args.name, &|k| all.contains(k) || recorded.contains(k))?;
    let origin = match &key {
        Key::Stack(name) => wanted.stacks.get(name).map(|s| s.origin.clone()),
        Key::Project(name) => wanted.projects.get(name).map(|p| p.origin.clone()),
    };
    if !args.dry_run {
        match origin {
            Some(at) => bail!(
                "a stack is removed by deleting its manifest, {}:{}; 'berth delete {} --dry-run' shows what that does",
                at.file,
                at.line,
                args.name
            ),
            None => bail!(
                "{key} has no manifest: there is nothing to delete; a daemon removes what is left of it"
            ),
        }
    }
    if origin.is_none() && !recorded.contains(&key) {
        bail!("{key} is in no manifest and was not made by Berth");
    }
    match &key {
        Key::Stack(name) => drop(wanted.stacks.remove(name)),
        Key::Project(name) => drop(wanted.projects.remove(name)),
    }
    wanted.invalid.remove(&key);
    // Judged as if all had been read and this one were gone.
    wanted.trust = berth_ports::Trust::Complete;
    app.engine.set_wanted(Arc::new(wanted));
    if !recorded.contains(&key) {
        out::say(&format!("{key}: Berth made nothing of it yet: nothing is removed"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let plans = make(&app, vec![key]).await;
    show(args.output.output, plans, false)?;
    Ok(ExitCode::SUCCESS)
}

fn all_keys(wanted: &Wanted) -> BTreeSet<Key> {
    let stacks = wanted.stacks.keys().cloned().map(Key::Stack);
    let projects = wanted.projects.keys().cloned().map(Key::Project);
    stacks.chain(projects).chain(wanted.invalid.keys().cloned()).collect()
}

/// The manifests, with their errors told; whether there are any.
async fn manifests(app: &App, paths: &[PathBuf]) -> Result<(Wanted, bool)> {
    // As the daemon knows them: their place is part of what it remembers.
    let inputs = if paths.is_empty() { app.inputs().await? } else { app::inputs(paths)? };
    let (wanted, told) = app::wanted(&inputs, &app.config);
    if !told.is_empty() {
        anstream::eprint!("{}", berth_manifest::render(&told, &inputs[..], true));
    }
    Ok((wanted, told.iter().any(|d| d.severity == Severity::Error)))
}

async fn make(app: &App, keys: Vec<Key>) -> Plans {
    let mut plans: Vec<_> = futures::stream::iter(keys)
        .map(|key| async move {
            let plan = app.engine.plan(&key).await;
            (key, plan)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    plans.sort_by(|(a, _), (b, _)| a.cmp(b));
    plans
}

fn shown(key: &Key, plan: &Result<Planned, PortError>) -> Shown {
    let name = key.to_string();
    match plan {
        Ok(Planned { plan, .. }) => Shown {
            name,
            lines: berth_plan::lines(plan).into_iter().filter(|l| l.action != "look").collect(),
            writes: plan.writes().count(),
            deploys: plan.steps.iter().filter(|s| matches!(s, Step::Deploy { .. })).count(),
            blocked: plan.blocked.len(),
            waits: plan.wait.as_ref().map(|(_, why)| why.clone()),
            error: None,
        },
        Err(error) => Shown {
            name,
            lines: Vec::new(),
            writes: 0,
            deploys: 0,
            blocked: 0,
            waits: None,
            error: Some(error.to_string()),
        },
    }
}

fn show(format: Format, plans: Plans, faulty: bool) -> Result<ExitCode> {
    let all: Vec<Shown> = plans.iter().map(|(k, p)| shown(k, p)).collect();
    out::data(format, &all, || text(&plans, &all)).context("the plan could not be printed")?;
    let failed: Vec<_> = plans.iter().filter_map(|(k, p)| Some((k, p.as_ref().err()?))).collect();
    // One account that does not answer fails each of its stacks with the same words.
    let mut said = BTreeSet::new();
    for (key, error) in &failed {
        if said.insert(error.to_string()) {
            anstream::eprintln!("{}: {key}: {error}", out::paint(out::BAD.bold(), "error"));
        }
    }
    if !failed.is_empty() {
        anstream::eprintln!(
            "{} of {} could not be planned; 'berth doctor' looks for the cause",
            failed.len(),
            all.len()
        );
    }
    if faulty || !failed.is_empty() {
        return Err(Told.into());
    }
    let pending = all.iter().any(|s| s.writes > 0 || s.blocked > 0);
    Ok(if pending { ExitCode::from(2) } else { ExitCode::SUCCESS })
}

fn text(plans: &[(Key, Result<Planned, PortError>)], all: &[Shown]) -> String {
    let mut out = String::new();
    let mut quiet = 0;
    for ((key, plan), shown) in plans.iter().zip(all) {
        let Ok(Planned { plan, .. }) = plan else { continue };
        if shown.lines.is_empty() {
            quiet += 1;
            continue;
        }
        out.push_str(&berth_plan::render(&out::paint(out::BOLD, key), plan, &out::action));
        if let Some(why) = &shown.waits {
            out.push_str(&format!("  {}\n", out::paint(out::DIM, format!("then waits: {why}"))));
        }
        out.push('\n');
    }
    let sum = |of: fn(&Shown) -> usize| all.iter().map(of).sum::<usize>();
    let (writes, deploys, blocked) = (sum(|s| s.writes), sum(|s| s.deploys), sum(|s| s.blocked));
    if writes == 0 && blocked == 0 {
        out.push_str(&match all.len() {
            1 => "Nothing to do: it is as its manifest says.\n".to_owned(),
            n => format!("Nothing to do: {n} are as their manifests say.\n"),
        });
    } else {
        let changing = all.iter().filter(|s| s.writes > 0).count();
        out.push_str(&format!(
            "Plan: {changing} to change with {writes} calls that write, {deploys} of them deployments; {blocked} blocked; \
             {quiet} as they should be.\n"
        ));
    }
    out
}
