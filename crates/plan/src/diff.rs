//! Fields as they stand against fields as they are wanted, path by path, under `drift:`.

use crate::app::env_text;
use berth_model::Secret;
use berth_model::condition::Reason;
use berth_model::desired::DesiredApp;
use berth_model::dotenv;
use berth_model::field::{Difference, Field, Fields, Value, differences};
use berth_model::observed::AppDetail;
use berth_model::record::AppRecord;
use berth_model::stack::DriftPolicy;
use berth_model::time::Time;
use std::collections::BTreeMap;
use std::time::Duration;

/// Why a plan waits that has nothing to do but to repair a contested field later.
pub const CONTESTED: &str = "a contested field";

/// Repairs of one path that make it a contest.
const PATIENCE: u32 = 3;
const SLOWEST: Duration = Duration::from_secs(60 * 60);

/// What to write and what to leave.
#[derive(Debug, Default)]
pub(crate) struct Drift {
    pub(crate) patch: Fields,
    pub(crate) env_text: Option<Secret>,
    pub(crate) differences: Vec<Difference>,
    /// Paths that are left as they are, and why.
    pub(crate) left: Vec<(String, (Reason, String))>,
    /// Paths that are put back though the spec did not change: someone else wrote them.
    pub(crate) repaired: Vec<String>,
    /// When a contested path is next repaired.
    pub(crate) contested_until: Option<Duration>,
}

impl Drift {
    /// Compares an app with its application. `drifting`: the spec is what was applied last, so a difference is
    /// somebody else's doing and `drift:` decides; else it is a change and is written.
    pub(crate) fn between(
        app: &DesiredApp,
        detail: &AppDetail,
        record: &AppRecord,
        drifting: bool,
        now: Time,
    ) -> Self {
        let mut drift = Drift::default();
        for (field, wanted) in &app.fields {
            let seen = detail.fields.get(field).unwrap_or(&Value::Null);
            if *field == Field::Env {
                drift.env(app, detail, seen, wanted, record, drifting, now);
                continue;
            }
            // On an adopted application our labels stand beside its owner's.
            let joined = match (field, seen, wanted) {
                (Field::Labels, Value::Map(theirs), Value::Map(ours)) if app.env_is_partial => {
                    let mut all = theirs.clone();
                    all.extend(ours.clone());
                    Some(Value::Map(all))
                }
                _ => None,
            };
            let wanted = joined.as_ref().unwrap_or(wanted);
            for difference in differences(*field, seen, wanted) {
                if drift.takes(app, record, &difference, drifting, now) {
                    drift.patch.insert(*field, wanted.clone());
                    drift.differences.push(difference);
                }
            }
        }
        drift
    }

    #[allow(clippy::too_many_arguments)]
    fn env(
        &mut self,
        app: &DesiredApp,
        detail: &AppDetail,
        seen: &Value,
        wanted: &Value,
        record: &AppRecord,
        drifting: bool,
        now: Time,
    ) {
        let empty = BTreeMap::new();
        let (seen, wanted) = match (seen, wanted) {
            (Value::Env(seen), Value::Env(wanted)) => (seen, wanted),
            (Value::Foreign(what), Value::Env(_)) => {
                let why = format!("the environment is unreadable ({what}); it is left as it is");
                self.left.push(("env".to_owned(), (Reason::Conflict, why)));
                return;
            }
            (_, Value::Env(wanted)) => (&empty, wanted),
            _ => return,
        };
        let mut target = wanted.clone();
        let mut writes = false;
        for difference in differences(Field::Env, &Value::Env(seen.clone()), &Value::Env(wanted.clone())) {
            let name = difference.path.trim_start_matches("env.").to_owned();
            let foreign = !wanted.contains_key(&name);
            if foreign && app.env_is_partial {
                continue;
            }
            if self.takes(app, record, &difference, drifting, now) {
                self.differences.push(difference);
                writes = true;
            } else {
                match seen.get(&name) {
                    Some(value) => target.insert(name, value.clone()),
                    None => target.remove(&name),
                };
            }
        }
        if !writes {
            return;
        }
        let changed = DesiredApp { fields: [(Field::Env, Value::Env(target.clone()))].into(), ..app.clone() };
        self.env_text = env_text(&changed, Some(detail));
        self.patch.insert(Field::Env, Value::Env(target));
    }

    fn takes(
        &mut self,
        app: &DesiredApp,
        record: &AppRecord,
        difference: &Difference,
        drifting: bool,
        now: Time,
    ) -> bool {
        if !drifting {
            return true;
        }
        match Self::verdict(app, record, &difference.path, now) {
            Ok(()) => {
                self.repaired.push(difference.path.clone());
                true
            }
            Err((reason, message)) => {
                if reason == Reason::Contested
                    && let Some(fight) = record.fights.get(&difference.path)
                {
                    let left = next_repair(fight).since(now);
                    self.contested_until = Some(self.contested_until.map_or(left, |d| d.min(left)));
                }
                if app.policy(&difference.path) != DriftPolicy::Ignore {
                    let shown = format!(
                        "is {} and should be {}; {message}",
                        difference.from.as_deref().unwrap_or("absent"),
                        difference.to.as_deref().unwrap_or("absent")
                    );
                    self.left.push((difference.path.clone(), (reason, shown)));
                }
                false
            }
        }
    }

    /// Whether a path that someone changed is put back now.
    pub(crate) fn verdict(
        app: &DesiredApp,
        record: &AppRecord,
        path: &str,
        now: Time,
    ) -> Result<(), (Reason, String)> {
        match app.policy(path) {
            DriftPolicy::Repair => {}
            DriftPolicy::Report | DriftPolicy::Ignore => {
                return Err((Reason::Reported, "left as it is, as drift: says".to_owned()));
            }
        }
        match record.fights.get(path) {
            Some(fight) if fight.repairs >= PATIENCE && now < next_repair(fight) => Err((
                Reason::Contested,
                format!(
                    "someone has changed it back {} times; it is repaired again in {}; find who writes it, or set drift: {{\"{path}\": ignore}}",
                    fight.repairs,
                    berth_model::units::show_duration(Duration::from_secs(
                        next_repair(fight).since(now).as_secs()
                    ))
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// When a contested path is repaired again: one minute after the third repair, then twice as long each time.
fn next_repair(fight: &berth_model::record::Fight) -> Time {
    let doublings = fight.repairs.saturating_sub(PATIENCE).min(10);
    fight.last.after((Duration::from_secs(60) * 2u32.pow(doublings)).min(SLOWEST))
}

/// Counts one more repair of a path.
#[must_use]
pub fn fought(before: Option<&berth_model::record::Fight>, now: Time) -> berth_model::record::Fight {
    match before {
        Some(f) if now.since(f.last) < SLOWEST * 2 => {
            berth_model::record::Fight { repairs: f.repairs + 1, first: f.first, last: now }
        }
        _ => berth_model::record::Fight { repairs: 1, first: now, last: now },
    }
}

/// The env text that holds these variables: the whole of it, or `around` with them set in it.
pub(crate) fn render_env(vars: &BTreeMap<String, Secret>, around: Option<&str>) -> Option<Secret> {
    let Some(around) = around else {
        return dotenv::render(vars.iter().map(|(k, v)| (k.as_str(), v.expose()))).ok().map(Secret::new);
    };
    let mut text = around.to_owned();
    let mut missing = Vec::new();
    for (name, value) in vars {
        let line = dotenv::assignment_line(name, value.expose()).ok()?;
        // The last duplicate is the one that counts.
        match dotenv::entries(&text).into_iter().rev().find(|e| e.key == *name) {
            Some(entry) if entry.value == value.expose() => {}
            Some(entry) => text.replace_range(entry.range, &line),
            None => missing.push(line),
        }
    }
    for line in missing {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
    }
    Some(Secret::new(text))
}
