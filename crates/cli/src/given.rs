//! Secrets that people give, by the command or by HTTP: which one, which version, and what is written for it. A value
//! comes in, is sealed, and never goes out again.

use berth_model::event::Request;
use berth_model::ids::{AppName, Key};
use berth_model::record::Record;
use berth_model::{Secret, Time};
use berth_ports::{Change, SealedFor, SecretRow, Vault};

/// Of which stack or project, of which app, and its name.
#[derive(Debug, Clone)]
pub struct Named {
    /// Whose.
    pub key: Key,
    /// Of which app, if of one.
    pub app: Option<AppName>,
    /// Its name.
    pub name: String,
}

impl Named {
    /// As rows hold whose it is: a stack's name, or `project/NAME`.
    #[must_use]
    pub fn stack(&self) -> String {
        match &self.key {
            Key::Stack(name) => name.to_string(),
            Key::Project(_) => self.key.to_string(),
        }
    }

    /// Whether a row is of it.
    #[must_use]
    pub fn is(&self, row: &SecretRow) -> bool {
        row.stack == self.stack() && row.app == self.app && row.name == self.name
    }

    /// What giving a value writes, and the version that it gets: higher than any that is kept and any that was applied,
    /// since an older one than what runs would be refused.
    #[must_use]
    pub fn give(
        &self,
        vault: &impl Vault,
        value: &Secret,
        kept: &[SecretRow],
        record: Option<&Record>,
        at: Time,
    ) -> (u32, Vec<Change>) {
        let stack = self.stack();
        let kept = kept.iter().filter(|r| self.is(r)).map(|r| r.version);
        let apps = record.into_iter().flat_map(|r| r.apps.values());
        let applied = apps.filter_map(|a| a.secrets.get(&self.name).copied());
        let version = kept.chain(applied).max().unwrap_or(0) + 1;
        let what = SealedFor { kind: "secret", stack: &stack, app: self.app.as_ref(), name: &self.name };
        let sealed = vault.seal(what, value.expose().as_bytes());
        let (app, name) = (self.app.clone(), self.name.clone());
        let row = SecretRow { stack, app, name, version, sealed, at };
        (version, vec![Change::Secret(row), self.again(at)])
    }

    /// What taking it away writes.
    #[must_use]
    pub fn remove(&self, at: Time) -> Vec<Change> {
        let (app, name) = (self.app.clone(), self.name.clone());
        vec![Change::RemoveSecret { stack: self.stack(), app, name }, self.again(at)]
    }

    fn again(&self, at: Time) -> Change {
        Change::Request { at, request: Request::Reconcile { key: self.key.clone(), pull: false } }
    }
}
