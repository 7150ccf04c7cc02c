//! What people ask for through the store: pause, resume, confirm, reconcile, rollback.

use crate::Engine;
use crate::queue::Lane;
use berth_model::condition::Reason;
use berth_model::dns::Fqdn;
use berth_model::event::Request;
use berth_model::ids::{AppName, Key};
use berth_ports::{Answer, Change, PortError, Query, Store, World};

impl<W: World> Engine<W> {
    /// Carries out what was asked since the last look.
    ///
    /// # Errors
    /// The store cannot be read or written.
    pub(crate) async fn take_requests(&self) -> Result<(), PortError> {
        let after = self.state().last_request;
        let Answer::Requests(requests) = self.parts.store.query(Query::Requests { after }).await? else {
            return Ok(());
        };
        if requests.is_empty() {
            return Ok(());
        }
        // Given secrets come the same way as requests: read again whenever anything was asked.
        if let Answer::Secrets(rows) = self.parts.store.query(Query::Secrets).await? {
            self.state().secrets = crate::state::Secrets::new(rows);
        }
        for (number, request) in requests {
            let mut changes = self.carry_out(&request).await?;
            changes.push(Change::RequestsDone(number));
            self.commit(changes).await?;
            if let Some(key) = request.key() {
                self.wake(key, Lane::Change, "a person asked");
            }
        }
        Ok(())
    }

    async fn carry_out(&self, request: &Request) -> Result<Vec<Change>, PortError> {
        match request {
            Request::Reconcile { key, pull } => {
                let mut state = self.state();
                let transient = state.transient(key);
                transient.verify = true;
                transient.pull |= *pull;
                let Some(mut record) = state.records.get(key).cloned() else {
                    return Ok(Vec::new());
                };
                drop(state);
                record.failing = None;
                for (_, app) in &mut record.apps {
                    // A person who asks wants the quarantined version to have another chance.
                    app.quarantined = None;
                    app.quarantine_reason = None;
                    app.fights.clear();
                }
                Ok(vec![Change::Record(key.clone(), record)])
            }
            Request::Pause { key } => self.set_paused(key, true),
            Request::Resume { key } => self.set_paused(key, false),
            Request::Confirm { token } => {
                let names: Vec<_> = {
                    let mut state = self.state();
                    let mut names = Vec::new();
                    for account in state.accounts.values_mut() {
                        if account.hold.as_ref().is_some_and(|h| h.token == *token)
                            && let Some(hold) = account.hold.take()
                        {
                            names.extend(hold.removing.union(&hold.recreating).cloned());
                        }
                    }
                    state.confirmed.extend(names.iter().map(ToString::to_string));
                    names.extend(state.confirm_records(token));
                    names
                };
                let mut changes = Vec::new();
                for name in names {
                    let key = Key::Stack(name);
                    changes.push(self.event(&key, false, Reason::Progressing, "confirmed".to_owned()));
                    self.wake(&key, Lane::Change, "confirmed");
                }
                Ok(changes)
            }
            Request::Adopt { key, host } => Ok(self.adopt(key, host)),
            Request::Rollback { key, to } => self.roll_back(key, *to).await,
            Request::Restart { key, app } => Ok(self.restart(key, app.as_ref())),
        }
    }

    /// Remembered until the records of the host carry our mark.
    fn adopt(&self, key: &Key, host: &Fqdn) -> Vec<Change> {
        let known = self.state().records.get(key).cloned();
        let Some(mut record) = known else {
            return Vec::new();
        };
        record.dns.get_or_insert_default().adopting.insert(host.clone());
        let message = format!("the records of {host} are to be taken over as they stand");
        let event = self.event(key, false, Reason::Progressing, message);
        vec![Change::Record(key.clone(), record), event]
    }

    /// Remembered until it is done: a run that is under way, or a rollout, comes first.
    fn restart(&self, key: &Key, app: Option<&AppName>) -> Vec<Change> {
        let known = self.state().records.get(key).cloned();
        let Some(mut record) = known else {
            return Vec::new();
        };
        let now = self.now();
        let mut names = Vec::new();
        for (name, entry) in &mut record.apps {
            if app.is_none_or(|a| a == name) && entry.id.is_some() && entry.deleted_at.is_none() {
                entry.restart = Some(now);
                names.push(name.to_string());
            }
        }
        if names.is_empty() {
            return Vec::new();
        }
        let message = format!("a restart of {} was asked for", names.join(", "));
        let event = self.event(key, false, Reason::Progressing, message);
        vec![Change::Record(key.clone(), record), event]
    }

    fn set_paused(&self, key: &Key, paused: bool) -> Result<Vec<Change>, PortError> {
        let known = self.state().records.get(key).cloned();
        let Some(mut record) = known.filter(|r| r.paused != paused) else {
            return Ok(Vec::new());
        };
        record.paused = paused;
        let word = if paused { "paused by hand" } else { "resumed" };
        let event = self.event(key, false, Reason::Paused, word.to_owned());
        Ok(vec![Change::Record(key.clone(), record), event])
    }

    /// Calls today's version bad and an earlier one good; the next run puts that one back.
    async fn roll_back(&self, key: &Key, to: Option<u64>) -> Result<Vec<Change>, PortError> {
        let Key::Stack(name) = key else {
            return Ok(Vec::new());
        };
        let Some(mut record) = self.state().records.get(key).cloned() else {
            return Ok(Vec::new());
        };
        let answer = self.parts.store.query(Query::Versions { stack: name.clone() }).await?;
        let Answer::Versions(versions) = answer else {
            return Ok(Vec::new());
        };
        let mut back = Vec::new();
        for (app, known) in &mut record.apps {
            let current = known.live.or(known.good);
            let found = versions.iter().find(|v| {
                v.app == *app
                    && Some(v.hash) != current
                    && to.map_or(v.generation < record.generation, |g| v.generation == g)
            });
            if let (Some(version), Some(current)) = (found, current) {
                known.quarantined = Some(current);
                known.quarantine_reason = Some((
                    Reason::RolledBack,
                    format!("rolled back by hand to generation {}", version.generation),
                ));
                known.good = Some(version.hash);
                known.applied = None;
                back.push(format!("{app} to generation {}", version.generation));
            }
        }
        if back.is_empty() {
            let message = "there is no earlier good version to roll back to".to_owned();
            return Ok(vec![self.event(key, true, Reason::RollbackFailed, message)]);
        }
        let event =
            self.event(key, true, Reason::RolledBack, format!("rolled back by hand: {}", back.join(", ")));
        Ok(vec![Change::Record(key.clone(), record), event])
    }
}
