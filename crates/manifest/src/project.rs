//! From a `Project` document to a [`Project`].

use crate::placeholder::Values;
use crate::raw::{DeletionPolicy, ProjectSpec};
use crate::read::{At, Read, Sink, Words};
use crate::resolve::{self, Here};
use crate::tree::Node;
use crate::{Context, check, env};
use berth_model::project::Project;
use berth_model::stack::{Origin, Stage};
use std::collections::BTreeMap;

/// A whole project.
pub(crate) fn resolve(
    named: &At<Words>,
    spec: &Node,
    origin: Origin,
    sink: &mut Sink,
    cx: &Context,
) -> Option<Project> {
    if let Err((m, h)) = check::display_name(&named.v, "a project") {
        sink.error_help(named.at, m, h);
    }
    let read = ProjectSpec::read(spec, sink)?;
    let backend = resolve::backend(read.dokploy.as_ref(), named.at, sink, cx);
    let values = Values { name: Some(&named.v), ..Values::default() };
    let here = &mut Here { values, stage: Stage::Production, partial: false, sink };
    let given = read.environments.unwrap_or_default();
    // Dokploy makes this one with every project.
    let mut names = vec!["production"];
    names.extend(given.0.iter().map(|(k, _)| &*k.text).filter(|n| *n != "production"));
    let mut environments = BTreeMap::new();
    for (key, e) in &given.0 {
        here.told(key.at, check::display_name(&key.text, "an environment"));
        environments.insert(key.text.to_string(), env::project(e.env.as_ref(), &names, here));
    }
    let env = env::project(read.env.as_ref(), &names, here);
    if here.sink.failed() {
        return None;
    }
    Some(Project {
        name: (&*named.v.0).into(),
        backend: backend?,
        description: read.description.map(|d| d.v.to_string()),
        create: read.create.unwrap_or(false),
        delete: read.deletion_policy == Some(DeletionPolicy::Delete),
        environments,
        env,
        origin,
    })
}
