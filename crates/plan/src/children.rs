//! Mounts, ports and domains of one application: which are ours, which are missing, which must go.
//!
//! A child is ours when its id stands in the parent's mark or the ledger, when an open create or an announcement in
//! the mark describes it, when the parent itself is an unfinished create of ours, or when the parent was made by Berth
//! and the child is exactly what is wanted. Every other child is shown and left alone.

use crate::{Open, Planner};
use berth_model::condition::{Phase, Reason};
use berth_model::desired::{Child, ChildKey, DesiredApp};
use berth_model::ids::ChildId;
use berth_model::mark::Mark;
use berth_model::observed::{AppDetail, Seen, SeenApp, SeenChild};
use berth_model::record::{AppRecord, IntentTarget};
use berth_model::remote::Read;
use berth_model::step::{Learned, Step};
use std::time::Duration;

impl Planner<'_> {
    /// Steps for the children; answers the ids that the mark is to hold, as far as they exist.
    pub(crate) fn children(
        &mut self,
        app: &DesiredApp,
        detail: &AppDetail,
        record: &AppRecord,
        old: Option<&Mark>,
        begun: bool,
    ) -> Vec<ChildId> {
        let mut keep = Vec::new();
        let mut steps = Vec::new();
        for (key, child) in &app.children {
            let same: Vec<&SeenChild> = detail.children.iter().filter(|c| c.key == *key).collect();
            let (mut ours, mut foreign): (Vec<_>, Vec<_>) =
                same.into_iter().partition(|c| self.is_ours(app, c, record, old, begun));
            if ours.is_empty() && !(record.adopted || app.adopt) {
                // Just what is wanted, on an application that Berth made: ours, though neither store nor mark says so
                // any more.
                let (equal, other) = foreign.into_iter().partition(|c| c.child == *child);
                (ours, foreign) = (equal, other);
            }
            let chosen = ours
                .iter()
                .find(|c| record.children.get(key) == Some(&c.id))
                .or_else(|| ours.first())
                .copied();
            // Beside ours, an equal one on an application that Berth made: one create that took effect twice, of which
            // neither store nor mark knows any more.
            let twins = foreign.iter().filter(|c| {
                chosen.is_some_and(|ours| ours.child == c.child) && !(record.adopted || app.adopt)
            });
            let extra = ours.iter().filter(|c| Some(&c.id) != chosen.map(|c| &c.id));
            for extra in extra.chain(twins) {
                steps.push(Step::RemoveChild {
                    app: app.name.clone(),
                    id: extra.id.clone(),
                    key: key.clone(),
                });
            }
            match chosen {
                Some(seen) => {
                    if record.children.get(key) != Some(&seen.id) {
                        self.learn(Learned::OwnedChild {
                            app: app.name.clone(),
                            key: key.clone(),
                            id: seen.id.clone(),
                        });
                    }
                    keep.push(seen.id.clone());
                    if seen.child != *child {
                        steps.push(Step::UpdateChild {
                            app: app.name.clone(),
                            id: seen.id.clone(),
                            key: key.clone(),
                            from: Some(seen.child.clone()),
                            child: child.clone(),
                        });
                    }
                }
                None if !foreign.is_empty() => self.block(
                    format!("app {}", app.name),
                    Reason::Conflict,
                    format!(
                        "{key} exists on application {} and was not made by Berth; remove it, or take it out of the manifest",
                        detail.id
                    ),
                ),
                None if self.is_withheld(key) => {}
                None => {
                    if record.children.contains_key(key) {
                        self.learn(Learned::GoneChild { app: app.name.clone(), key: key.clone() });
                    }
                    let target = IntentTarget::Child { app: app.name.clone(), child: key.clone() };
                    let lost = begun || old.is_some_and(|m| !m.pending.is_empty());
                    let lost_until = record.found.filter(|_| lost).map(|t| t.after(self.policy.settle));
                    if let Open::Unsettled(intent) = self.open(&target) {
                        self.unsettled(format!("app {}", app.name), intent);
                    } else if let Some(until) = lost_until.filter(|until| self.policy.now < *until) {
                        // The store that knew this create was lost: it may have been sent, and may still take effect.
                        self.block(
                            format!("app {}", app.name),
                            Reason::Unknown,
                            format!("it was found half made; whatever was under way settles before {key} is made"),
                        );
                        self.wait(until.since(self.policy.now).min(Duration::from_secs(10)), "a lost create settles");
                    } else {
                        steps.push(Step::CreateChild {
                            app: app.name.clone(),
                            key: key.clone(),
                            child: child.clone(),
                        });
                    }
                }
            }
        }
        for seen in &detail.children {
            if app.children.contains_key(&seen.key) {
                continue;
            }
            if self.is_ours(app, seen, record, old, begun) {
                steps.push(Step::RemoveChild {
                    app: app.name.clone(),
                    id: seen.id.clone(),
                    key: seen.key.clone(),
                });
            } else {
                self.note(
                    format!("app {} {}", app.name, seen.key),
                    Reason::NotOwned,
                    "not made by Berth; left alone".to_owned(),
                );
            }
        }
        for key in record.children.keys() {
            if !app.children.contains_key(key) && !detail.children.iter().any(|c| c.key == *key) {
                self.learn(Learned::GoneChild { app: app.name.clone(), key: key.clone() });
            }
        }
        // A path or port is freed before it is taken again.
        steps.sort_by_key(|s| !matches!(s, Step::RemoveChild { .. }));
        if !steps.is_empty() {
            self.phase(Phase::Create);
        }
        self.plan.steps.extend(steps);
        keep.sort();
        keep
    }

    /// A domain whose host has no records yet.
    fn is_withheld(&self, key: &ChildKey) -> bool {
        matches!(key, ChildKey::Domain(at) if self.withheld.contains(&at.host))
    }

    fn is_ours(
        &self,
        app: &DesiredApp,
        seen: &SeenChild,
        record: &AppRecord,
        old: Option<&Mark>,
        begun: bool,
    ) -> bool {
        let announced = || {
            let digest = crate::child_digest(self.policy.hash_key, &seen.key, &seen.child);
            old.is_some_and(|m| m.pending.contains(&digest))
        };
        let intended = || {
            let target = IntentTarget::Child { app: app.name.clone(), child: seen.key.clone() };
            !matches!(self.open(&target), Open::No)
        };
        begun
            || record.children.values().any(|id| *id == seen.id)
            || old.is_some_and(|m| m.children.contains(&seen.id))
            || announced()
            || intended()
    }

    /// A domain write whose router does not show in the Traefik file is made once more.
    pub(crate) fn routers(&mut self, app: &DesiredApp, record: &AppRecord, seen: &SeenApp) {
        let Some(written_again) = record.routers_due else {
            return;
        };
        let rewrites = self.plan.steps.iter().any(|s| match s {
            Step::CreateChild { app: a, key, .. } | Step::UpdateChild { app: a, key, .. } => {
                *a == app.name && matches!(key, ChildKey::Domain(_))
            }
            _ => false,
        });
        if rewrites {
            return;
        }
        let file = match self.input.observed.routers.get(&seen.id) {
            None | Some(Seen::Unknown) => return self.look(Read::Routers(seen.id.clone())),
            Some(Seen::Absent) => "",
            Some(Seen::Present(text)) => text,
        };
        let missing: Vec<_> = app
            .children
            .iter()
            .filter_map(|(key, child)| match (key, child) {
                (ChildKey::Domain(at), Child::Domain(host)) if !routed(file, at) => Some((key, host)),
                _ => None,
            })
            .collect();
        if missing.is_empty() {
            self.learn(Learned::Routers { app: app.name.clone(), due: None });
            return;
        }
        let hosts: Vec<_> = missing.iter().map(|(k, _)| k.to_string()).collect();
        if written_again >= 3 {
            self.block(
                format!("app {}", app.name),
                Reason::Refused,
                format!(
                    "{}: the router does not appear in Dokploy's Traefik file, though the domain was written {written_again} times more; look at the disk and the log of the Dokploy server",
                    hosts.join(", ")
                ),
            );
            self.wait(Duration::from_secs(60), "a router");
            return;
        }
        for (key, host) in missing {
            let Some(id) = record.children.get(key) else {
                continue;
            };
            self.step(Step::UpdateChild {
                app: app.name.clone(),
                id: id.clone(),
                key: key.clone(),
                from: Some(Child::Domain(host.clone())),
                child: Child::Domain(host.clone()),
            });
        }
        self.learn(Learned::Routers { app: app.name.clone(), due: Some(written_again + 1) });
    }
}

/// Whether a router for this host and path stands in the file.
fn routed(file: &str, at: &berth_model::stack::HostKey) -> bool {
    let rule = if at.path == "/" {
        format!("Host(`{}`)", at.host)
    } else {
        format!("Host(`{}`) && PathPrefix(`{}`)", at.host, at.path)
    };
    file.lines()
        .any(|l| l.trim().strip_prefix("rule:").is_some_and(|r| r.trim().trim_matches(['\'', '"']) == rule))
}
