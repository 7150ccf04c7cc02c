//! What holds of every plan, whatever led to it. Judged by what the world knows and no server tells: who made what.

use crate::daemon::{Daemon, Thought};
use crate::world::World;
use berth_model::ids::{AppId, AppName};
use berth_model::mark::MarkSeen;
use berth_model::step::{Learned, Plan, Step};

/// Panics where a plan does what no plan may do.
pub(crate) fn hold(daemon: &Daemon, world: &World, thought: &Thought) {
    let plan = &thought.plan;
    if plan.steps.first().is_some_and(Step::is_read) {
        // It is made again with the answers before anything of it is done.
    } else {
        for step in plan.writes() {
            ours(daemon, world, plan, step);
            nothing_over_something(daemon, world, plan, step);
        }
    }
    itself_comes_last(daemon, plan);
    match &thought.desired {
        None => removing_makes_nothing(plan),
        Some(_) => everything_is_accounted_for(daemon, thought),
    }
    bounded(world, thought);
}

/// What ends the daemon is done alone, behind everything else, and it does not remove itself.
fn itself_comes_last(daemon: &Daemon, plan: &Plan) {
    let Some(itself) = &daemon.itself else { return };
    let own = |step: &Step| step.app() == Some(&itself.app);
    let deploys = plan.deploys().any(|app| *app == itself.app);
    let blocked = |app: &AppName| plan.blocked.iter().any(|b| b.what == format!("app {app}"));
    let mut others = daemon.record.apps.iter().filter(|(app, _)| **app != itself.app);
    let rolls = others.any(|(app, r)| r.rollout.is_some() && !blocked(app));
    let alone = plan.writes().all(own) && !rolls;
    assert!(!deploys || alone || itself.overdue, "deploys itself before everything else is done: {plan:#?}");
    let removed = |s: &Step| matches!(s, Step::DeleteApp { duplicate: false, .. }) && own(s);
    assert!(!plan.writes().any(removed), "removes itself: {plan:#?}");
}

fn id_of(daemon: &Daemon, plan: &Plan, app: &AppName) -> Option<AppId> {
    let learned = plan.learned.iter().find_map(|l| match l {
        Learned::Owned { app: a, id, .. } if a == app => Some(id.clone()),
        _ => None,
    });
    learned.or_else(|| daemon.record.apps.get(app)?.id.clone())
}

/// Nothing that somebody else made is changed or deleted.
fn ours(daemon: &Daemon, world: &World, plan: &Plan, step: &Step) {
    let made_by_us = |id: &AppId| {
        let adopted = daemon.record.apps.values().any(|r| r.id.as_ref() == Some(id) && r.adopted);
        world.apps.get(id).is_none_or(|a| a.ours) || adopted
    };
    match step {
        Step::DeleteApp { id, .. } => {
            assert!(world.apps.get(id).is_none_or(|a| a.ours), "deletes {id}, which others made: {plan:#?}");
        }
        Step::RemoveProject { id, .. } => {
            let found = world.projects.iter().find(|(p, _)| p.id == *id);
            assert!(
                found.is_none_or(|(_, ours)| *ours),
                "removes project {id}, which others made: {plan:#?}"
            );
        }
        Step::RemoveEnvironment { project, id, .. } => {
            let found = world.projects.iter().find(|(p, _)| p.id == *project);
            let empty = !world.apps.values().any(|a| a.environment == *id);
            assert!(
                found.is_none_or(|(_, ours)| *ours) && empty,
                "removes environment {id}, which is in use or others made: {plan:#?}"
            );
        }
        Step::UpdateChild { app, id, .. } | Step::RemoveChild { app, id, .. } => {
            let seen = id_of(daemon, plan, app).and_then(|a| world.apps.get(&a));
            let foreign =
                seen.is_some_and(|a| a.children.iter().any(|c| c.id == *id) && !a.our_children.contains(id));
            assert!(!foreign, "touches child {id}, which others made: {plan:#?}");
        }
        _ => {
            if let Some(id) = step.app().and_then(|app| id_of(daemon, plan, app)) {
                assert!(made_by_us(&id), "touches {id}, which others made: {plan:#?}");
            }
        }
    }
}

/// Nothing is made where the look shows that it is there.
fn nothing_over_something(daemon: &Daemon, world: &World, plan: &Plan, step: &Step) {
    match step {
        Step::CreateApp { app, .. } => {
            let there = world.apps.values().filter(|a| a.ours).any(|a| {
                let mark = berth_model::mark::read(a.description.as_deref().unwrap_or(""), &daemon.owner);
                matches!(mark, MarkSeen::Ours(m) if m.stack == daemon.stack && m.app == *app)
            });
            assert!(!there, "makes app {app} a second time: {plan:#?}");
        }
        Step::CreateChild { app, key, .. } => {
            let Some(seen) = id_of(daemon, plan, app).and_then(|id| world.apps.get(&id)) else {
                return;
            };
            let goes = |id: &berth_model::ChildId| {
                plan.steps.iter().any(|s| matches!(s, Step::RemoveChild { id: i, .. } if i == id))
            };
            let there = seen.children.iter().any(|c| c.key == *key && !goes(&c.id));
            assert!(!there, "makes {key} of app {app} a second time: {plan:#?}");
        }
        Step::CreateEnvironment { project: Some(id), name } => {
            let found = world.projects.iter().find(|(p, _)| p.id == *id);
            let there = found.is_some_and(|(p, _)| p.environments.iter().any(|e| e.name == *name));
            assert!(!there, "makes environment {name} a second time: {plan:#?}");
        }
        Step::CreateProject { name, .. } => {
            let there = world.projects.iter().any(|(p, _)| p.name.as_str() == name);
            assert!(!there, "makes project {name} a second time: {plan:#?}");
        }
        _ => {}
    }
}

fn removing_makes_nothing(plan: &Plan) {
    for step in plan.writes() {
        let removes = matches!(step, Step::DeleteApp { .. } | Step::RemoveProject { .. });
        assert!(removes, "a removal that does something else: {plan:#?}");
    }
}

/// Every app that is left alone is settled, waits, or has its reason.
fn everything_is_accounted_for(daemon: &Daemon, thought: &Thought) {
    let plan = &thought.plan;
    let Some(desired) = &thought.desired else { return };
    if plan.steps.iter().any(Step::is_read) || plan.wait.is_some() {
        return;
    }
    for app in &desired.apps {
        let what = format!("app {}", app.name);
        let blocked = plan.blocked.iter().any(|b| {
            b.what.starts_with(&what)
                || ["project", "environment", "stack"].iter().any(|w| b.what.starts_with(w))
        });
        let steps = plan.steps.iter().any(|s| s.app() == Some(&app.name));
        let place = plan
            .steps
            .iter()
            .any(|s| matches!(s, Step::CreateProject { .. } | Step::CreateEnvironment { .. }));
        let learned = plan.learned.iter().any(|l| format!("{l:?}").contains(&format!("app: {:?}", app.name)));
        let known = daemon.record.apps.get(&app.name);
        let settled = known
            .is_some_and(|r| r.applied == Some(app.full) && r.live == Some(app.hash) && r.rollout.is_none());
        assert!(
            blocked || steps || place || learned || settled,
            "app {} is left alone without a reason: {plan:#?}\n{known:#?}",
            app.name
        );
    }
}

/// The size of a plan is bounded by what is wanted and what is there.
fn bounded(world: &World, thought: &Thought) {
    let wanted: usize = thought.desired.iter().flat_map(|d| &d.apps).map(|a| 8 + 2 * a.children.len()).sum();
    let there: usize = world.apps.values().filter(|a| a.ours).map(|a| 4 + a.children.len()).sum();
    let steps = thought.plan.steps.len();
    assert!(steps <= 4 + wanted + there, "{steps} steps: {:#?}", thought.plan);
}
