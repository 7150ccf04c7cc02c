//! The quick way: of many files a few changed, each holds one stack, and no other document can feel it. Where that is not
//! sure, nothing is answered and everything is read: never may the two ways differ in what they say.

use super::{Outcome, Reader, resolve_one};
use crate::document::{self, Document, DocumentKind, Grown};
use crate::{Context, Input};
use berth_model::stack::{HostKey, Stack};
use berth_model::{Key, StackName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is wanted before a change, as [`Reader::update`] said.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// The stacks.
    pub stacks: &'a BTreeMap<StackName, Arc<Stack>>,
    /// What is named and withheld.
    pub invalid: &'a BTreeMap<Key, String>,
}

impl Reader {
    /// The stacks of files that changed or are new, where they are all that changes. `None`: it takes
    /// [`Reader::update`] with all files to tell.
    pub fn change(&mut self, inputs: &[Input], cx: &Context, before: Before<'_>) -> Option<Vec<Arc<Stack>>> {
        if format!("{cx:?}") != self.context {
            return None;
        }
        let alone = inputs.len() == 1;
        inputs.iter().map(|input| self.change_one(input, cx, before, alone)).collect()
    }

    fn change_one(
        &mut self,
        input: &Input,
        cx: &Context,
        before: Before<'_>,
        alone: bool,
    ) -> Option<Arc<Stack>> {
        let was_there = self.files.contains_key(&input.file);
        let old = self.only(&input.file).and_then(|doc| Some((doc.id, self.stack_of(&doc)?)));
        self.put(input, cx);
        let doc = self.only(&input.file)?;
        let under = match &doc.template {
            Some(name) => Some(self.template(&name.v.0)?),
            None => None,
        };
        let known = self.resolved.get(&doc.id).filter(|r| r.under == under.as_ref().map(|(u, _)| u.id));
        let resolved = match known {
            Some(resolved) => resolved.clone(),
            None => {
                let file = self.files.get(&input.file)?;
                let grown = document::grow(doc.at.file, &file.bytes).into_iter().nth(doc.nth)??;
                let under = under.as_ref().map(|(doc, grown)| (&**doc, &**grown));
                Arc::new(resolve_one(&doc, &grown, (&input.file, file.generation), under, false, cx))
            }
        };
        let Outcome::Stack(Some(stack)) = &resolved.outcome else {
            return None;
        };
        let stack = stack.clone();
        if !resolved.problems.is_empty() {
            return None;
        }
        // Hosts are unique over the fleet. While nothing is withheld, no other stack waits for one.
        let may_move = || alone && before.invalid.is_empty() && is_free(&stack, before.stacks);
        let is_sure = match &old {
            Some((_, old)) => {
                let current = before.stacks.get(&stack.name);
                current.is_some_and(|c| Arc::ptr_eq(c, old)) && (hosts(old).eq(hosts(&stack)) || may_move())
            }
            None => {
                let is_named = before.stacks.contains_key(&stack.name)
                    || before.invalid.contains_key(&Key::Stack(stack.name.clone()));
                !was_there && !is_named && may_move()
            }
        };
        if !is_sure {
            return None;
        }
        if let Some((id, _)) = old
            && id != doc.id
        {
            self.resolved.remove(&id);
        }
        self.resolved.insert(doc.id, resolved);
        Some(stack)
    }

    /// The one document of a file without fault, if it is a stack.
    fn only(&self, file: &Arc<str>) -> Option<Arc<Document>> {
        let parsed = &self.files.get(file)?.parsed;
        let [doc] = &parsed.documents[..] else {
            return None;
        };
        let is_sound = parsed.problems.is_empty() && parsed.glimpsed.is_empty() && doc.problems.is_empty();
        (is_sound && doc.kind == DocumentKind::Stack).then(|| doc.clone())
    }

    fn stack_of(&self, doc: &Document) -> Option<Arc<Stack>> {
        let resolved = self.resolved.get(&doc.id).filter(|r| r.problems.is_empty())?;
        match &resolved.outcome {
            Outcome::Stack(stack) => stack.clone(),
            _ => None,
        }
    }

    /// A template that may be used, with everything in it.
    fn template(&self, name: &str) -> Option<(Arc<Document>, Arc<Grown>)> {
        let (file, doc) = self.templates.get(name)?;
        let grown = document::grow(doc.at.file, &self.files.get(file)?.bytes).into_iter().nth(doc.nth)??;
        Some((doc.clone(), grown))
    }
}

fn hosts(stack: &Stack) -> impl Iterator<Item = &HostKey> {
    stack.apps.values().flat_map(|app| app.hosts.keys())
}

/// Whether none of its hosts leads to another stack.
fn is_free(stack: &Stack, stacks: &BTreeMap<StackName, Arc<Stack>>) -> bool {
    let own: Vec<&HostKey> = hosts(stack).collect();
    own.is_empty()
        || stacks.values().all(|other| other.name == stack.name || hosts(other).all(|h| !own.contains(&h)))
}
