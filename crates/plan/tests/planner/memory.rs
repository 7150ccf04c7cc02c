//! What a plan learned, kept as the engine keeps it.

use crate::daemon::{Daemon, Thought};
use crate::world::World;
use berth_model::condition::Reason;
use berth_model::ids::OperationId;
use berth_model::record::{IntentTarget, ProjectRecord};
use berth_model::step::Learned;
use std::collections::BTreeMap;

impl Daemon {
    /// Keeps what a plan learned, as the engine does.
    pub(crate) fn learn(&mut self, thought: &Thought, world: &World, writing: bool) {
        let now = world.now;
        for learned in &thought.plan.learned {
            if learned.goes_with_writes() != writing {
                continue;
            }
            match learned {
                Learned::Owned { app, id, service, mark } => {
                    let entry = self.record.apps.entry(app.clone()).or_default();
                    entry.id = Some(id.clone());
                    entry.service = Some(service.clone());
                    entry.op = Some(mark.op.clone());
                    entry.adopted |= mark.adopted;
                    entry.quarantined = entry.quarantined.or(mark.quarantined);
                    for (name, version) in &mark.secrets {
                        let known = entry.secrets.entry(name.clone()).or_default();
                        *known = (*known).max(*version);
                    }
                    self.intents.retain(|i| i.target != IntentTarget::App { app: app.clone() });
                }
                Learned::OwnedChild { app, key, id } => {
                    self.entry(app).children.insert(key.clone(), id.clone());
                    let target = IntentTarget::Child { app: app.clone(), child: key.clone() };
                    self.intents.retain(|i| i.target != target);
                }
                Learned::GoneChild { app, key } => {
                    self.entry(app).children.remove(key);
                }
                Learned::GoneApp { app } | Learned::Forget { app } | Learned::Orphaned { app, .. } => {
                    self.record.apps.remove(app);
                }
                Learned::Project { id: None } => self.record.project = None,
                Learned::Project { id: Some(id) } => {
                    let op: OperationId = "0".into();
                    let environments = BTreeMap::new();
                    self.record.project = Some(ProjectRecord { id: Some(id.clone()), op, environments });
                }
                Learned::Live { app, hash } => self.entry(app).live = *hash,
                Learned::Rollout { app, rollout } => self.entry(app).rollout.clone_from(rollout),
                Learned::Good { app, hash } => {
                    let desired = thought.desired.as_ref();
                    let compiled = desired.and_then(|d| d.apps.iter().find(|a| a.name == *app)).cloned();
                    let entry = self.entry(app);
                    let restored = entry.rollout.as_ref().is_some_and(|r| r.restoring);
                    entry.good = Some(*hash);
                    if !restored {
                        entry.quarantined = None;
                        if let Some(compiled) = compiled {
                            self.versions.insert(*hash, compiled);
                        }
                    }
                }
                Learned::Failed { app, hash, reason, message } => {
                    let entry = self.entry(app);
                    let restoring = entry.rollout.take().is_some_and(|r| r.restoring);
                    entry.live = None;
                    if restoring {
                        entry.good = None;
                        entry.quarantine_reason = Some((Reason::RollbackFailed, message.clone()));
                    } else {
                        entry.quarantined = Some(*hash);
                        entry.quarantine_reason = Some((*reason, message.clone()));
                    }
                }
                Learned::Routers { app, due } => self.entry(app).routers_due = *due,
                Learned::Applied { app, full } => self.entry(app).applied = Some(*full),
                Learned::HalfMade { app } => self.entry(app).found = Some(now),
                Learned::Drift { app, live, left } => {
                    let entry = self.entry(app);
                    entry.drift.retain(|_, d| d.live != *live);
                    entry.drift.extend(left.clone());
                }
                // No zone is reached in these histories.
                Learned::Records { .. } | Learned::Verified { .. } | Learned::Waiting { .. } => {}
                Learned::Fought { app, paths } => {
                    let entry = self.entry(app);
                    for path in paths {
                        let fight = berth_plan::fought(entry.fights.get(path), now);
                        entry.fights.insert(path.clone(), fight);
                    }
                }
            }
        }
    }
}
