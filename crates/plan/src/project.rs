//! A shared project: made where it may be, environments made, the named variables kept between marks in the text.
//!
//! Only the variables that the manifest names are managed; every other line of the text is left as it stands.

use crate::compile::LATER;
use crate::{Open, Planner, Policy};
use berth_model::Secret;
use berth_model::condition::Reason;
use berth_model::desired::Desired;
use berth_model::dotenv;
use berth_model::field::Difference;
use berth_model::ids::{ProjectId, ProjectName, StackName};
use berth_model::mark;
use berth_model::observed::{EnvironmentDetail, FleetView, Observed, ProjectDetail, Seen};
use berth_model::project::{Project, ProjectEnvValue};
use berth_model::record::{Intent, IntentTarget, Record};
use berth_model::remote::Read;
use berth_model::stack::{Part, Text};
use berth_model::step::{Learned, Plan, Step};
use std::collections::{BTreeMap, BTreeSet};

/// Input of a project's plan.
pub struct ProjectInput<'a> {
    /// Which.
    pub name: &'a ProjectName,
    /// What is wanted; `None`: its manifest is gone.
    pub desired: Option<&'a Project>,
    /// Whether `deletionPolicy: delete` stood in the manifest that went.
    pub delete: bool,
    /// Given secrets of this project, by name.
    pub secret: &'a dyn Fn(&str) -> Option<Secret>,
    /// What is remembered.
    pub record: &'a Record,
    /// Open creates.
    pub intents: &'a [Intent],
    /// What was seen.
    pub observed: &'a Observed,
}

/// Plans one shared project.
///
/// # Panics
/// Never.
#[must_use]
pub fn plan_project(input: &ProjectInput<'_>, policy: &Policy<'_>) -> Plan {
    let nobody = nobody();
    let base = crate::Input {
        stack: &nobody,
        desired: None::<&Desired>,
        compile_blocked: &[],
        needs_project: false,
        record: input.record,
        intents: input.intents,
        observed: input.observed,
    };
    let mut planner =
        Planner { input: base, policy, plan: Plan::default(), withheld: BTreeSet::new(), is_unsure: false };
    if let Some(fleet) = input.observed.fleet.clone() {
        match input.desired {
            Some(desired) => planner.keep_project(input, desired, &fleet),
            None => planner.remove_project(input, &fleet),
        }
    }
    planner.finish()
}

fn nobody() -> StackName {
    StackName::new("project").unwrap_or_else(|_| unreachable!("a constant name"))
}

impl Planner<'_> {
    fn keep_project(&mut self, input: &ProjectInput<'_>, desired: &Project, fleet: &FleetView) {
        if self.input.record.paused {
            return self.block("project", Reason::Paused, "paused; resume with: berth resume");
        }
        let Some(found) = self.find_project(input, desired, fleet) else {
            return;
        };
        let Some(id) = found else {
            let target = IntentTarget::Project { name: desired.name.to_string() };
            if let Open::Unsettled(intent) = self.open(&target) {
                return self.unsettled(format!("project {}", desired.name), intent);
            }
            self.step(Step::CreateProject {
                name: desired.name.to_string(),
                words: desired.description.clone(),
            });
            for name in desired.environments.keys().filter(|n| *n != "production") {
                self.step(Step::CreateEnvironment { project: None, name: name.clone() });
            }
            return self.show_new(input, desired);
        };
        let detail = match input.observed.projects.get(&id) {
            Some(Seen::Present(detail)) => detail.clone(),
            _ => return self.look(Read::Project(id)),
        };
        for name in desired.environments.keys() {
            if detail.environments.iter().any(|e| e.name == *name) {
                continue;
            }
            let target = IntentTarget::Environment { project: id.clone(), name: name.clone() };
            if let Open::Unsettled(intent) = self.open(&target) {
                self.unsettled(format!("environment {name}"), intent);
                continue;
            }
            self.step(Step::CreateEnvironment { project: Some(id.clone()), name: name.clone() });
        }
        self.project_text(input, desired, &detail);
        for (name, vars) in &desired.environments {
            if let Some(environment) = detail.environments.iter().find(|e| e.name == *name) {
                self.environment_text(input, vars, environment, &detail);
            }
        }
    }

    /// The project's id; `Some(None)`: there is none and one may be made; `None`: something is in the way.
    fn find_project(
        &mut self,
        input: &ProjectInput<'_>,
        desired: &Project,
        fleet: &FleetView,
    ) -> Option<Option<ProjectId>> {
        if let Some(id) = input.record.project.as_ref().and_then(|p| p.id.clone()) {
            if fleet.projects.iter().any(|p| p.id == id) {
                return Some(Some(id));
            }
            match input.observed.projects.get(&id) {
                Some(Seen::Absent) => self.learn(Learned::Project { id: None }),
                Some(Seen::Present(_)) => {
                    self.block(
                        "project",
                        Reason::BackendUnavailable,
                        format!("project {id} exists but the inventory does not list it; the inventory is not believed"),
                    );
                    return None;
                }
                _ => {
                    self.look(Read::Project(id));
                    return None;
                }
            }
        }
        let named: Vec<_> = fleet
            .projects
            .iter()
            .filter(|p| p.name == desired.name || p.id.as_str() == desired.name.as_str())
            .collect();
        match named.as_slice() {
            [one] => {
                if one.mark.as_ref().is_some_and(|m| m.stack.is_none()) {
                    self.learn(Learned::Project { id: Some(one.id.clone()) });
                }
                Some(Some(one.id.clone()))
            }
            [] if desired.create => Some(None),
            [] => {
                self.block(
                    "project",
                    Reason::PlaceMissing,
                    format!("there is no project '{}'; make it, or set create: true", desired.name),
                );
                None
            }
            many => {
                self.block(
                    "project",
                    Reason::Duplicate,
                    format!(
                        "{} projects are called '{}'; rename all but the one that is meant",
                        many.len(),
                        desired.name
                    ),
                );
                None
            }
        }
    }

    /// What will be written once the project exists, as far as it can be told.
    fn show_new(&mut self, input: &ProjectInput<'_>, desired: &Project) {
        let shown = |vars: &BTreeMap<String, ProjectEnvValue>| {
            vars.iter()
                .map(|(name, value)| {
                    let to = match value {
                        ProjectEnvValue::Text(t) if t.as_lit().is_none() => LATER,
                        _ => "<secret>",
                    };
                    Difference { path: format!("env.{name}"), from: None, to: Some(to.to_owned()) }
                })
                .collect::<Vec<_>>()
        };
        let _ = input;
        if !desired.env.is_empty() {
            self.step(Step::UpdateProject {
                id: LATER.into(),
                differences: shown(&desired.env),
                description: None,
                env: None,
            });
        }
        for (name, vars) in desired.environments.iter().filter(|(_, v)| !v.is_empty()) {
            self.step(Step::UpdateEnvironment {
                id: None,
                name: name.clone(),
                differences: shown(vars),
                env: Secret::default(),
            });
        }
    }

    fn project_text(&mut self, input: &ProjectInput<'_>, desired: &Project, detail: &ProjectDetail) {
        let ours = mark::read_place(detail.description.as_deref().unwrap_or(""), self.policy.owner);
        let words = desired.description.as_deref().filter(|_| ours.is_some());
        let description = words.and_then(|words| {
            let line = mark::line(detail.description.as_deref()?)?;
            let wanted = format!("{words}\n{line}");
            (Some(wanted.as_str()) != detail.description.as_deref()).then_some(wanted)
        });
        let Some((env, mut differences)) = self.block_of_vars(input, &desired.env, &detail.env, detail)
        else {
            return;
        };
        if let Some(to) = &description {
            let plain =
                |t: &str| t.lines().filter(|l| !l.starts_with("berth/")).collect::<Vec<_>>().join(" ");
            differences.push(Difference {
                path: "description".to_owned(),
                from: detail.description.as_deref().map(plain),
                to: Some(plain(to)),
            });
        }
        if env.is_some() || description.is_some() {
            self.step(Step::UpdateProject { id: detail.id.clone(), differences, description, env });
        }
    }

    fn environment_text(
        &mut self,
        input: &ProjectInput<'_>,
        vars: &BTreeMap<String, ProjectEnvValue>,
        environment: &EnvironmentDetail,
        detail: &ProjectDetail,
    ) {
        if let Some((Some(env), differences)) = self.block_of_vars(input, vars, &environment.env, detail) {
            self.step(Step::UpdateEnvironment {
                id: Some(environment.id.clone()),
                name: environment.name.clone(),
                differences,
                env,
            });
        }
    }

    /// The new text, if it differs, and what differs. `None`: a value cannot be told.
    fn block_of_vars(
        &mut self,
        input: &ProjectInput<'_>,
        vars: &BTreeMap<String, ProjectEnvValue>,
        text: &Secret,
        detail: &ProjectDetail,
    ) -> Option<(Option<Secret>, Vec<Difference>)> {
        let mut values = BTreeMap::new();
        for (name, value) in vars {
            let value = match value {
                ProjectEnvValue::Text(text) => self.late_text(text, detail)?,
                ProjectEnvValue::Secret(reference) => match (input.secret)(reference) {
                    Some(secret) => secret.expose().to_owned(),
                    None => {
                        self.block(
                            "project",
                            Reason::MissingSecret,
                            format!(
                                "the secret '{reference}' was not given; give it with: berth secret set project/{} {reference}",
                                input.name
                            ),
                        );
                        return None;
                    }
                },
            };
            if let Err(unwritable) = dotenv::assignment_line(name, &value) {
                self.block("project", Reason::Invalid, unwritable.to_string());
                return None;
            }
            values.insert(name.clone(), value);
        }
        let owner = self.policy.owner.as_str();
        let wanted = with_block(text.expose(), owner, &values);
        if wanted == text.expose() {
            return Some((None, Vec::new()));
        }
        let before = dotenv::parse(text.expose());
        let after = dotenv::parse(&wanted);
        let hidden = |there: bool| there.then(|| "<secret>".to_owned());
        let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
        names.sort();
        names.dedup();
        let differences = names
            .into_iter()
            .filter(|n| before.get(*n) != after.get(*n))
            .map(|n| Difference {
                path: format!("env.{n}"),
                from: hidden(before.contains_key(n)),
                to: hidden(after.contains_key(n)),
            })
            .collect();
        Some((Some(Secret::new(wanted)), differences))
    }

    fn late_text(&mut self, text: &Text, detail: &ProjectDetail) -> Option<String> {
        let mut out = String::new();
        for part in &text.0 {
            match part {
                Part::Lit(t) => out.push_str(t),
                Part::ProjectId => out.push_str(detail.id.as_str()),
                Part::EnvironmentId(name) => {
                    match detail.environments.iter().find(|e| e.name == *name) {
                        Some(e) => out.push_str(e.id.as_str()),
                        // It is made by this very plan: the text follows once it exists.
                        None if self
                            .plan
                            .steps
                            .iter()
                            .any(|s| matches!(s, Step::CreateEnvironment { name: n, .. } if n == name)) =>
                        {
                            return None;
                        }
                        None => {
                            self.block(
                                "project",
                                Reason::PlaceMissing,
                                format!("{{environmentId.{name}}}: the project has no environment '{name}'"),
                            );
                            return None;
                        }
                    }
                }
            }
        }
        Some(out)
    }

    fn remove_project(&mut self, input: &ProjectInput<'_>, fleet: &FleetView) {
        let recorded = input.record.project.as_ref().and_then(|p| p.id.clone());
        let Some(id) = recorded.filter(|id| fleet.projects.iter().any(|p| p.id == *id)) else {
            return;
        };
        if !input.delete {
            return;
        }
        let detail = match input.observed.projects.get(&id) {
            Some(Seen::Present(detail)) => detail,
            Some(Seen::Absent) => return,
            _ => return self.look(Read::Project(id)),
        };
        let ours = mark::read_place(detail.description.as_deref().unwrap_or(""), self.policy.owner);
        if ours.is_none_or(|m| m.stack.is_some()) {
            return self.note(
                "project",
                Reason::NotOwned,
                format!("project '{}' does not carry Berth's mark and stays", detail.name),
            );
        }
        let services: usize = detail.environments.iter().map(|e| e.services).sum();
        if services > 0 {
            return self.block(
                "project",
                Reason::Conflict,
                format!("project '{}' is removed once the {services} services in it are gone", detail.name),
            );
        }
        self.step(Step::RemoveProject { id, name: detail.name.to_string() });
    }
}

/// The text with our block in it. Variables that the block names and that stand elsewhere are taken into it.
pub(crate) fn with_block(text: &str, owner: &str, values: &BTreeMap<String, String>) -> String {
    let begin = format!("# berth/1 begin {owner}");
    let end = format!("# berth/1 end {owner}");
    let mut outside = String::new();
    let mut inside = false;
    for line in text.split_inclusive('\n') {
        match line.trim_end_matches(['\r', '\n']) {
            l if l == begin => inside = true,
            l if l == end && inside => inside = false,
            _ if inside => {}
            _ => outside.push_str(line),
        }
    }
    for entry in dotenv::entries(&outside.clone()).into_iter().rev() {
        if values.contains_key(&entry.key) {
            let stop = (entry.range.end + 1).min(outside.len());
            outside.replace_range(entry.range.start..stop, "");
        }
    }
    if values.is_empty() {
        return outside;
    }
    if !outside.is_empty() && !outside.ends_with('\n') {
        outside.push('\n');
    }
    // The caller has checked that every value can be written.
    let lines = dotenv::render(values.iter().map(|(k, v)| (k.as_str(), v.as_str()))).unwrap_or_default();
    format!("{outside}{begin}\n{lines}\n{end}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_leaves_the_rest_alone() {
        let values = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let text = "X=1\n# theirs\nA=old\nY=2";
        let once = with_block(text, "o", &values(&[("A", "new"), ("B", "b")]));
        assert_eq!(once, "X=1\n# theirs\nY=2\n# berth/1 begin o\nA='new'\nB='b'\n# berth/1 end o\n");
        assert_eq!(with_block(&once, "o", &values(&[("A", "new"), ("B", "b")])), once);
        assert_eq!(with_block(&once, "o", &values(&[])), "X=1\n# theirs\nY=2\n");
        let two = with_block(&once, "p", &values(&[("Z", "z")]));
        assert!(two.starts_with(&once));
        // An end that was deleted by hand loses our lines only.
        let cut = once.replace("# berth/1 end o\n", "");
        assert_eq!(with_block(&cut, "o", &values(&[("A", "new"), ("B", "b")])), once);
    }
}
