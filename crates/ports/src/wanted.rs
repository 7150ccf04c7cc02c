//! What the sources say is wanted, and how far it may be believed.

use berth_model::dns::Fqdn;
use berth_model::ids::{Key, ProjectName, StackName};
use berth_model::project::Project;
use berth_model::stack::Stack;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The whole desired fleet at one instant.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Stacks.
    pub stacks: BTreeMap<StackName, Arc<Stack>>,
    /// Shared projects.
    pub projects: BTreeMap<ProjectName, Arc<Project>>,
    /// How far the absence of a key may be believed.
    pub trust: Trust,
    /// What a source asks to be removed, in so many words; `None` where no source can. Where one can, what it asked for
    /// before and does not name any more was lost, and is not to go for that.
    pub removed: Option<BTreeSet<Key>>,
    /// For each key with an invalid manifest, what is wrong: one line, already fit to be shown.
    pub invalid: BTreeMap<Key, String>,
}

impl Wanted {
    /// Takes stacks that changed or came.
    pub fn edit(&mut self, stacks: &[Arc<Stack>]) {
        self.stacks.extend(stacks.iter().map(|stack| (stack.name.clone(), Arc::clone(stack))));
    }

    /// Whether a stack of this name may want a record there: it has such a host, cannot be read, or lives on under
    /// another name.
    #[must_use]
    pub fn may_want(&self, stack: &StackName, host: &Fqdn) -> bool {
        self.stacks.get(stack).is_some_and(|s| s.names().any(|name| name == *host))
            || self.invalid.contains_key(&Key::Stack(stack.clone()))
            || self.stacks.values().any(|s| s.formerly.as_ref() == Some(stack))
    }
}

/// Whether "it is not there" means "it was removed".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Nothing was read yet, or the source could not be read: nothing is removed.
    #[default]
    Unknown,
    /// Some documents are invalid: a removal is believed only where its file is known and is not one of these.
    Partial {
        /// Files with errors.
        bad_files: BTreeSet<String>,
    },
    /// All was read and is valid.
    Complete,
}
