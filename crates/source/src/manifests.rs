//! From files to what is wanted, and how far its absence may be believed. Keeps what was last known while the directory
//! cannot be read; decides nothing about a removal itself.

use crate::directory::Reading;
use crate::scan::File;
use berth_manifest::{Before, Context, Diagnostic, Fleet, HeldBy, Input, Reader};
use berth_model::ids::Key;
use berth_model::stack::Stack;
use berth_ports::{Trust, Wanted};
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The files of a reading as `berth-manifest` takes them, for commands that read once.
#[must_use]
pub fn inputs(files: &[File]) -> Vec<Input> {
    let input = |file: &File| Input {
        file: Arc::clone(&file.name),
        bytes: Arc::clone(&file.bytes),
        generation: file.generation,
    };
    files.iter().map(input).collect()
}

/// Reads manifests again and again: only files that changed are parsed again.
#[derive(Debug, Default)]
pub struct Manifests {
    reader: Reader,
    last: Arc<Wanted>,
    told: Vec<Diagnostic>,
}

impl Manifests {
    /// Nothing read yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is wanted after these readings, one of each source, and every fault and warning. Where two sources name
    /// one thing, the one that `held` it before keeps it.
    ///
    /// Where one could not be read: what was wanted before, with nothing believed to be removed.
    pub fn take<R: Borrow<Reading>>(
        &mut self,
        readings: &[R],
        cx: &Context,
        held: HeldBy<'_>,
    ) -> (Arc<Wanted>, Vec<Diagnostic>) {
        let mut all = Vec::new();
        let mut removed = None;
        for reading in readings {
            match reading.borrow() {
                Reading::Unreadable(_) => {
                    Arc::make_mut(&mut self.last).trust = Trust::Unknown;
                    return (self.last.clone(), self.told.clone());
                }
                Reading::Files(files) => all.extend(inputs(files)),
                Reading::Rows(files, asked) => {
                    all.extend(inputs(files));
                    removed.get_or_insert_with(BTreeSet::new).extend(asked.iter().cloned());
                }
            }
        }
        let fleet = self.reader.update(&all, cx, held);
        drop(all);
        let invalid = invalid(&fleet);
        self.told = fleet.errors;
        self.told.extend(fleet.warnings);
        self.last = Arc::new(Wanted {
            stacks: fleet.stacks,
            projects: fleet.projects,
            trust: if fleet.bad_files.is_empty() {
                Trust::Complete
            } else {
                Trust::Partial { bad_files: fleet.bad_files }
            },
            removed,
            invalid,
        });
        (self.last.clone(), self.told.clone())
    }

    /// The stacks of files that changed or came, where they are all that changes in what is wanted and that is quickly
    /// told. `None`: take the readings.
    pub fn change(&mut self, files: &[File], cx: &Context) -> Option<Vec<Arc<Stack>>> {
        if self.last.trust == Trust::Unknown {
            return None;
        }
        let before = Before { stacks: &self.last.stacks, invalid: &self.last.invalid };
        let changed = self.reader.change(&inputs(files), cx, before)?;
        Arc::make_mut(&mut self.last).edit(&changed);
        Some(changed)
    }
}

/// What is named somewhere and withheld, each with what is wrong: its own first fault, else its file's.
fn invalid(fleet: &Fleet) -> BTreeMap<Key, String> {
    let mut of_document: BTreeMap<&str, &Diagnostic> = BTreeMap::new();
    let mut of_file: BTreeMap<&str, &Diagnostic> = BTreeMap::new();
    for error in &fleet.errors {
        if let Some(document) = &error.document {
            of_document.entry(document).or_insert(error);
        }
        of_file.entry(&error.file).or_insert(error);
    }
    fleet
        .declared
        .iter()
        .filter(|(key, _)| match key {
            Key::Stack(name) => !fleet.stacks.contains_key(name),
            Key::Project(name) => !fleet.projects.contains_key(name),
        })
        .map(|(key, origin)| {
            let own = of_document.get(key.to_string().as_str());
            let said = match (own, of_file.get(origin.file.as_str())) {
                (Some(error), _) => error.to_string(),
                (None, Some(error)) => format!("its file has a fault: {error}"),
                // What it is laid over has one.
                (None, None) => format!(
                    "{}:{}: it is laid over a template that has a fault; see `berth validate`",
                    origin.file, origin.line
                ),
            };
            (key.clone(), said.replace('\n', " "))
        })
        .collect()
}
