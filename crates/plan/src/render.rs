//! A plan as people read it: field by field, with what it costs. The same lines are the JSON of `berth plan -o json`.

use berth_model::dns::{Change, RecordData, Then};
use berth_model::remote::Read;
use berth_model::step::{Plan, Step};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    /// `create`, `update`, `delete`, `deploy`, `restart`, `look`, `blocked`, `note`.
    pub action: &'static str,
    /// What.
    pub what: String,
    /// Which field of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// What comes, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

impl Line {
    fn new(action: &'static str, what: impl Into<String>) -> Self {
        Self { action, what: what.into(), path: None, from: None, to: None }
    }
    fn to(mut self, to: impl Into<String>) -> Self {
        self.to = Some(to.into());
        self
    }
    fn from(mut self, from: impl Into<String>) -> Self {
        self.from = Some(from.into());
        self
    }
}

/// The lines of a plan.
#[must_use]
pub fn lines(plan: &Plan) -> Vec<Line> {
    let mut out = Vec::new();
    for step in &plan.steps {
        step_lines(step, &mut out);
    }
    for b in &plan.blocked {
        out.push(Line::new("blocked", &b.what).from(b.reason.as_str()).to(&b.message));
    }
    for n in &plan.notes {
        out.push(Line::new("note", &n.what).from(n.reason.as_str()).to(&n.message));
    }
    out
}

fn fields(
    out: &mut Vec<Line>,
    action: &'static str,
    what: &str,
    differences: &[berth_model::field::Difference],
) {
    out.extend(differences.iter().map(|d| Line {
        action,
        what: what.to_owned(),
        path: Some(d.path.clone()),
        from: d.from.clone(),
        to: d.to.clone(),
    }));
}

fn step_lines(step: &Step, out: &mut Vec<Line>) {
    match step {
        Step::Look(read) => {
            let what = match read {
                Read::App(id) => format!("application {id}"),
                Read::Live(service) => format!("service {service}"),
                Read::Tasks(service) => format!("tasks of {service}"),
                Read::Services => "services".to_owned(),
                Read::Routers(id) => format!("routers of {id}"),
                Read::Jobs => "deployment jobs".to_owned(),
                Read::Project(id) => format!("project {id}"),
                Read::Log(id) => format!("log of deployment {id}"),
                Read::Address => "the server's address".to_owned(),
                Read::Output { app, .. } => format!("output of application {app}"),
            };
            out.push(Line::new("look", what));
        }
        Step::LookDns(read) => out.push(Line::new("look", read.to_string())),
        Step::ChangeRecords { changes, .. } => {
            for change in changes {
                record_lines(change, out);
            }
        }
        Step::Probe { app, probe } => {
            out.push(Line::new("look", format!("app {app}")).to(format!("health of {}", probe.host)));
        }
        Step::CheckImage { image, .. } => out.push(Line::new("look", format!("image {image}"))),
        Step::CreateProject { name, words } => {
            let line = Line::new("create", format!("project {name}"));
            out.push(match words {
                Some(words) => line.to(words),
                None => line,
            });
        }
        Step::UpdateProject { id, differences, .. } => {
            fields(out, "update", &format!("project {id}"), differences);
        }
        Step::RemoveProject { name, .. } => out.push(Line::new("delete", format!("project {name}"))),
        Step::RemoveEnvironment { name, .. } => {
            out.push(Line::new("delete", format!("environment {name}")));
        }
        Step::CreateEnvironment { name, .. } => {
            out.push(Line::new("create", format!("environment {name}")));
        }
        Step::UpdateEnvironment { name, differences, .. } => {
            fields(out, "update", &format!("environment {name}"), differences);
        }
        Step::CreateApp { app, name, .. } => {
            out.push(Line::new("create", format!("app {app}")).to(format!("application {name}")));
        }
        Step::MoveApp { app, from, to, .. } => out.push(
            Line::new("update", format!("app {app}"))
                .from(format!("environment {from}"))
                .to(format!("environment {}", to.as_ref().map_or(crate::LATER, |e| e.as_str()))),
        ),
        Step::UpdateApp { app, differences, .. } => {
            fields(out, "update", &format!("app {app}"), differences);
        }
        Step::CreateChild { app, key, child } => {
            out.push(Line::new("create", format!("app {app} {key}")).to(child.show()));
        }
        Step::UpdateChild { app, key, from, child, .. } => {
            let line = Line::new("update", format!("app {app} {key}"));
            out.push(match from {
                Some(from) if from != child => line.from(from.show()).to(child.show()),
                _ => line.from("its router is missing").to("the same again"),
            });
        }
        Step::RemoveChild { app, key, .. } => {
            out.push(Line::new("delete", format!("app {app} {key}")));
        }
        Step::Deploy { app, because, restoring, .. } => {
            let why = if *restoring {
                format!("puts the last good version back: {because}")
            } else {
                because.clone()
            };
            out.push(Line::new("deploy", format!("app {app}")).to(why));
        }
        Step::Restart { app, .. } => {
            out.push(Line::new("restart", format!("app {app}")).to("its containers are started anew"));
        }
        Step::DeleteApp { app, id, duplicate, .. } => {
            let what = if *duplicate { "a second object of one create" } else { "volumes stay" };
            out.push(Line::new("delete", format!("app {app}")).from(format!("application {id}")).to(what));
        }
    }
}

fn record_lines(change: &Change, out: &mut Vec<Line>) {
    let listed =
        |values: &BTreeSet<RecordData>| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    for (kind, set) in &change.sets {
        let what = format!("record {} {kind}", change.name);
        out.push(match &set.then {
            Then::Put(put) if set.ours.is_empty() && set.believed.is_empty() => {
                Line::new("create", what).to(listed(&put.values))
            }
            Then::Put(put) => {
                let from =
                    if set.ours == put.values { "its mark or its ttl".to_owned() } else { listed(&set.ours) };
                Line::new("update", what).from(from).to(listed(&put.values))
            }
            Then::Remove { .. } if set.ours.is_empty() => Line::new("delete", what).from("the mark alone"),
            Then::Remove { .. } => Line::new("delete", what).from(listed(&set.ours)),
        });
    }
}

/// The plan as text, one line a change; `paint` colours the sign by the action.
#[must_use]
pub fn render(title: &str, plan: &Plan, paint: &dyn Fn(&str, &str) -> String) -> String {
    let lines = lines(plan);
    let shown: Vec<_> = lines.iter().filter(|l| l.action != "look").collect();
    let mut out = String::new();
    if shown.is_empty() {
        let _ = writeln!(out, "{title}: {}", paint("note", "nothing to do"));
        return out;
    }
    let _ = writeln!(out, "{title}");
    for line in shown {
        let sign = match line.action {
            "create" => "+",
            "update" => "~",
            "delete" => "-",
            "deploy" => ">",
            "restart" => "@",
            "blocked" => "!",
            _ => "i",
        };
        let path = line.path.as_deref().map(|p| format!(" {p}")).unwrap_or_default();
        let change = match (line.action, &line.from, &line.to) {
            ("blocked" | "note", Some(reason), Some(message)) => format!(": {reason}: {message}"),
            (_, Some(from), Some(to)) => format!(": {from} → {to}"),
            (_, None, Some(to)) => format!(": {to}"),
            (_, Some(from), None) => format!(": {from} → (removed)"),
            (_, None, None) => String::new(),
        };
        let _ = writeln!(out, "  {} {}{path}{change}", paint(line.action, sign), line.what);
    }
    let writes = plan.writes().count();
    let deploys = plan.steps.iter().filter(|s| matches!(s, Step::Deploy { .. })).count();
    if writes > 0 {
        let _ = writeln!(out, "  {writes} calls that write, {deploys} of them deployments");
    }
    out
}
