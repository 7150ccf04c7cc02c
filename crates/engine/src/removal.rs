//! Whether what is not wanted is to go. Nothing is removed because something could not be read, or was lost.

use crate::Engine;
use crate::run::is_marked;
use crate::state::{Account, State};
use berth_model::ids::{Key, StackName};
use berth_model::observed::{FleetView, SeenProject};
use berth_model::stack::Origin;
use berth_ports::{Trust, World};

/// What it means that a key is not wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Removal {
    /// It is to be removed.
    Meant,
    /// What is wanted is not known well enough.
    Unsure,
    /// Who asked for it can say that it is to go, and did not.
    Unclaimed,
}

impl State {
    /// Of a key that is not wanted, by where it came from, as far as that is known.
    pub(crate) fn removal(&self, key: &Key, origin: Option<&Origin>) -> Removal {
        if self.wanted.invalid.contains_key(key) || self.wanted.trust == Trust::Unknown {
            return Removal::Unsure;
        }
        if let Some(removed) = &self.wanted.removed {
            if removed.contains(key) {
                return Removal::Meant;
            }
            // A row stays until everything outside is gone: one that is not there was lost, and so may be one of which
            // nothing is remembered.
            if origin.is_none_or(Origin::is_row) {
                return Removal::Unclaimed;
            }
        }
        match &self.wanted.trust {
            Trust::Unknown => Removal::Unsure,
            Trust::Complete => Removal::Meant,
            Trust::Partial { bad_files } => match origin {
                Some(origin) if !bad_files.contains(origin.file.as_str()) => Removal::Meant,
                _ => Removal::Unsure,
            },
        }
    }

    fn has_nothing_of(&self, key: &Key) -> bool {
        let Key::Stack(name) = key else {
            return !self.records.contains_key(key);
        };
        // As with what is made: one list may be short.
        let seen = |account: &Account| {
            account.looks >= 2 && account.view.as_ref().is_some_and(|view| !shows(view, name))
        };
        !self.records.contains_key(key)
            && !self.intents.values().any(|i| i.key == *key)
            && self.accounts.values().all(seen)
    }
}

/// Whether anything carries the mark of this stack.
pub(crate) fn shows(view: &FleetView, name: &StackName) -> bool {
    let own = |p: &SeenProject| p.mark.as_ref().is_some_and(|m| m.stack.as_ref() == Some(name));
    is_marked(view, name.as_str()) || view.projects.iter().any(own)
}

impl<W: World> Engine<W> {
    /// Those of which nothing is remembered and no account shows anything.
    #[must_use]
    pub fn nothing_of(&self, keys: impl IntoIterator<Item = Key>) -> Vec<Key> {
        let state = self.state();
        keys.into_iter().filter(|key| state.has_nothing_of(key)).collect()
    }
}
