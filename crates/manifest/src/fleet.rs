//! All files together: templates under stacks, names and hosts unique, and what is withheld because of a fault.
//!
//! A fault never widens: only its own file, and what is laid over a template of that file, is withheld.

mod quick;

pub use quick::Before;

use crate::diag::{Diagnostic, Related, Severity};
use crate::document::{self, Document, DocumentKind, Grown, Parsed};
use crate::later::{PreviewPolicySpec, PreviewSpec, QuotaSpec};
use crate::read::{At, Problem, Read, Sink};
use crate::tree::{Node, Span};
use crate::{Context, HeldBy, Input, merge, project, resolve};
use berth_model::project::Project;
use berth_model::stack::{HostKey, Origin, Stack};
use berth_model::{Key, ProjectName, StackName};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::num::NonZeroU64;
use std::sync::Arc;

/// Everything that the files want.
#[derive(Debug, Clone, Default)]
pub struct Fleet {
    /// Stacks without fault.
    pub stacks: BTreeMap<StackName, Arc<Stack>>,
    /// Shared projects without fault.
    pub projects: BTreeMap<ProjectName, Arc<Project>>,
    /// Every fault of every document, by file and line.
    pub errors: Vec<Diagnostic>,
    /// Files with a fault: nothing that runs from them changes.
    pub bad_files: BTreeSet<String>,
    /// What is odd and no fault.
    pub warnings: Vec<Diagnostic>,
    /// Every stack and project that is named anywhere, in documents with faults too: what is here was not removed.
    pub declared: BTreeMap<Key, Origin>,
}

impl Fleet {
    /// Whether `key`, last read from `file`, may count as removed: nobody names it, and its file has no fault.
    #[must_use]
    pub fn is_removed(&self, key: &Key, file: &str) -> bool {
        !self.declared.contains_key(key) && !self.bad_files.contains(file)
    }
}

/// What became of one document.
#[derive(Debug)]
enum Outcome {
    Stack(Option<Arc<Stack>>),
    Project(Option<Arc<Project>>),
    /// Read and checked, and nothing to run.
    Checked,
}

#[derive(Debug)]
struct Resolved {
    outcome: Outcome,
    problems: Vec<Problem>,
    /// The template below, by identity.
    under: Option<u64>,
}

#[derive(Debug)]
struct File {
    bytes: Arc<[u8]>,
    generation: Option<NonZeroU64>,
    parsed: Parsed,
}

/// Templates by name, each with its file.
type Templates = HashMap<Arc<str>, (Arc<str>, Arc<Document>)>;

/// Reads files again and again: what did not change is not parsed again, and keeps its `Arc`.
#[derive(Debug, Default)]
pub struct Reader {
    names: Vec<Arc<str>>,
    ids: HashMap<Arc<str>, u32>,
    files: BTreeMap<Arc<str>, Box<File>>,
    resolved: HashMap<u64, Arc<Resolved>>,
    /// Templates that may be used, each with its file.
    templates: Templates,
    context: String,
    next_id: u64,
}

impl Reader {
    /// A reader that knows no file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes `inputs` as all the files there are, and says what they want.
    /// Where two files name one thing, the one that it came from before keeps it, else the first.
    pub fn update(&mut self, inputs: &[Input], cx: &Context, held: HeldBy<'_>) -> Fleet {
        let context = format!("{cx:?}");
        if context != self.context {
            self.resolved.clear();
            self.context = context;
        }
        let there: BTreeSet<&str> = inputs.iter().map(|i| &*i.file).collect();
        self.files.retain(|name, _| there.contains(&**name));
        for input in inputs {
            self.put(input, cx);
        }
        let cache = std::mem::take(&mut self.resolved);
        let mut work = Work {
            names: &self.names,
            files: &self.files,
            grown: HashMap::new(),
            last: None,
            found: Vec::new(),
            bad: BTreeSet::new(),
            templates: Vec::new(),
        };
        let (fleet, kept, templates) = work.run(&cache, cx, held);
        self.resolved = kept;
        self.templates = templates;
        fleet
    }

    /// Reads one file if it is new or changed. What depends on nothing but itself is resolved while its tree stands.
    fn put(&mut self, input: &Input, cx: &Context) {
        let name = &input.file;
        let before = self.files.get(name);
        // Who reads a directory shares what did not change, so most are told apart by their place in memory.
        let same = |f: &File| Arc::ptr_eq(&f.bytes, &input.bytes) || f.bytes == input.bytes;
        if before.is_some_and(|f| f.generation == input.generation && same(f)) {
            return;
        }
        let id = *self.ids.entry(name.clone()).or_insert_with(|| {
            self.names.push(name.clone());
            u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX)
        });
        // A new generation is a new document, even where it says the same.
        let before = before.filter(|f| f.generation == input.generation).map(|f| (&*f.bytes, &f.parsed));
        let generation = input.generation;
        let resolved = &mut self.resolved;
        let parsed = document::parse(id, &input.bytes, before, &mut self.next_id, |doc, grown| {
            if doc.template.is_none() {
                resolved
                    .insert(doc.id, Arc::new(resolve_one(doc, grown, (name, generation), None, false, cx)));
            }
        });
        self.files.insert(name.clone(), Box::new(File { bytes: input.bytes.clone(), generation, parsed }));
    }
}

/// One pass over all files.
struct Work<'a> {
    names: &'a [Arc<str>],
    files: &'a BTreeMap<Arc<str>, Box<File>>,
    /// Templates, with everything in them.
    grown: HashMap<u64, Arc<Grown>>,
    /// The file that was grown last, and its documents.
    last: Option<(u32, Vec<Option<Arc<Grown>>>)>,
    found: Vec<Diagnostic>,
    bad: BTreeSet<Arc<str>>,
    /// The names of all templates.
    templates: Vec<&'a str>,
}

/// A document of the pass.
struct Entry<'a> {
    file: &'a Arc<str>,
    doc: &'a Arc<Document>,
    resolved: Option<Arc<Resolved>>,
    /// The template that it names, where there is one.
    template: Option<usize>,
    twice: bool,
}

impl<'a> Work<'a> {
    fn name(&self, at: Span) -> Arc<str> {
        self.names.get(at.file as usize).cloned().unwrap_or_else(|| "?".into())
    }

    /// A document with everything in it.
    fn grow(&mut self, doc: &Document) -> Option<Arc<Grown>> {
        if let Some(grown) = self.grown.get(&doc.id) {
            return Some(grown.clone());
        }
        let file = doc.at.file;
        if self.last.as_ref().is_none_or(|(last, _)| *last != file) {
            let bytes = &self.files.get(&self.name(doc.at))?.bytes;
            self.last = Some((file, document::grow(file, bytes)));
        }
        let grown = self.last.as_ref()?.1.get(doc.nth)?.clone()?;
        if doc.kind == DocumentKind::StackTemplate {
            self.grown.insert(doc.id, grown.clone());
        }
        Some(grown)
    }

    /// Files a problem under the document that it is about.
    fn tell(&mut self, problem: &Problem, doc: Option<&Document>) {
        let file = self.name(problem.at);
        let mut d = Diagnostic::at(&file, problem.at, problem.message.clone());
        d.help.clone_from(&problem.help);
        d.path = doc.and_then(|doc| resolve::path_of(&self.grow(doc)?.root, problem.at));
        d.document = doc.map(label);
        if problem.warning {
            d.severity = Severity::Warning;
        } else {
            self.bad.insert(file);
        }
        d.related = problem.also.as_ref().map(|(at, message)| Related {
            file: self.name(*at).to_string(),
            line: at.line,
            column: at.column,
            message: message.clone(),
            range: (at.start, at.len),
        });
        self.found.push(d);
    }

    fn fault(&mut self, doc: &Document, at: Span, message: String, help: &str, also: Option<(Span, String)>) {
        let help = (!help.is_empty()).then(|| help.to_owned());
        self.tell(&Problem { at, message, help, also, warning: false }, Some(doc));
    }

    fn run(
        &mut self,
        cache: &HashMap<u64, Arc<Resolved>>,
        cx: &Context,
        held: HeldBy<'_>,
    ) -> (Fleet, HashMap<u64, Arc<Resolved>>, Templates) {
        let mut fleet = Fleet::default();
        let mut entries: Vec<Entry<'a>> = Vec::new();
        for (name, file) in self.files {
            for problem in &file.parsed.problems {
                self.tell(problem, None);
            }
            for (kind, text, line) in &file.parsed.glimpsed {
                declare(&mut fleet.declared, *kind, text, name, *line);
            }
            for doc in &file.parsed.documents {
                declare(&mut fleet.declared, doc.kind, &doc.name.v, name, doc.at.line);
                for problem in &doc.problems {
                    self.tell(problem, Some(doc));
                }
                entries.push(Entry { file: name, doc, resolved: None, template: None, twice: false });
            }
        }
        let first = self.unique(&mut entries, held);
        let templates = entries.iter().filter(|e| e.doc.kind == DocumentKind::StackTemplate);
        self.templates = templates.map(|e| &*e.doc.name.v.0).collect();
        let mut kept = HashMap::with_capacity(entries.len());
        // Templates first: what lies over one must know whether it holds.
        for n in 0..entries.len() {
            if entries[n].doc.kind == DocumentKind::StackTemplate {
                self.resolve(&mut entries, n, &first, cache, &mut kept, cx);
            }
        }
        for n in 0..entries.len() {
            if entries[n].doc.kind != DocumentKind::StackTemplate {
                self.resolve(&mut entries, n, &first, cache, &mut kept, cx);
            }
        }
        self.hosts(&entries);
        self.spread(&entries);

        for entry in &entries {
            if self.bad.contains(entry.file) || entry.twice {
                continue;
            }
            match entry.resolved.as_ref().map(|r| &r.outcome) {
                Some(Outcome::Stack(Some(stack))) => {
                    fleet.stacks.insert(stack.name.clone(), stack.clone());
                }
                Some(Outcome::Project(Some(project))) => {
                    fleet.projects.insert(project.name.clone(), project.clone());
                }
                _ => {}
            }
        }
        let mut found = std::mem::take(&mut self.found);
        found.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        found.dedup();
        (fleet.errors, fleet.warnings) = found.into_iter().partition(|d| d.severity == Severity::Error);
        fleet.bad_files = self.bad.iter().map(|f| f.to_string()).collect();
        let usable = entries
            .iter()
            .filter(|e| e.doc.kind == DocumentKind::StackTemplate && !e.twice && !self.bad.contains(e.file));
        let templates = usable.map(|e| (e.doc.name.v.0.clone(), (e.file.clone(), e.doc.clone()))).collect();
        (fleet, kept, templates)
    }

    /// Two documents of one kind with one name: the later one is at fault.
    fn unique(
        &mut self,
        entries: &mut [Entry<'a>],
        held: HeldBy<'_>,
    ) -> HashMap<(DocumentKind, &'a str), usize> {
        let mut first: HashMap<(DocumentKind, &'a str), usize> = HashMap::with_capacity(entries.len());
        for n in 0..entries.len() {
            let doc = entries[n].doc;
            let key = (doc.kind, &*doc.name.v.0);
            match first.get(&key) {
                None => {
                    first.insert(key, n);
                }
                Some(earlier) => {
                    let (mut earlier, mut late) = (*earlier, n);
                    let before = key_of(doc.kind, &doc.name.v).and_then(|key| held(&key));
                    let keeps = |n: usize| before.as_ref().is_some_and(|file| **file == **entries[n].file);
                    if keeps(late) && !keeps(earlier) {
                        std::mem::swap(&mut earlier, &mut late);
                        first.insert(key, earlier);
                    }
                    let (doc, earlier) = (entries[late].doc, entries[earlier].doc);
                    let message = format!("the {} '{}' is declared twice", doc.kind.as_str(), &*doc.name.v);
                    let help = "rename one, or remove one; the one that was there first goes on";
                    let also = Some((earlier.name.at, "first declared here".to_owned()));
                    self.fault(doc, doc.name.at, message, help, also);
                    entries[late].twice = true;
                }
            }
        }
        first
    }

    fn resolve(
        &mut self,
        entries: &mut [Entry<'a>],
        n: usize,
        first: &HashMap<(DocumentKind, &'a str), usize>,
        cache: &HashMap<u64, Arc<Resolved>>,
        kept: &mut HashMap<u64, Arc<Resolved>>,
        cx: &Context,
    ) {
        let (doc, file) = (entries[n].doc, entries[n].file);
        let mut under: Option<&Arc<Document>> = None;
        let mut over_fault = false;
        if let Some(At { v: name, at }) = &doc.template {
            match first.get(&(DocumentKind::StackTemplate, &**name)) {
                Some(t) => {
                    entries[n].template = Some(*t);
                    let faulty =
                        entries[*t].resolved.as_ref().is_some_and(|r| r.problems.iter().any(|p| !p.warning))
                            || !entries[*t].doc.problems.is_empty();
                    if faulty {
                        over_fault = true;
                        let also = Some((entries[*t].doc.name.at, "the template".to_owned()));
                        let message =
                            format!("the template '{}' has errors, so this stack is left as it is", &**name);
                        self.fault(doc, *at, message, "put the template right", also);
                    } else {
                        under = Some(entries[*t].doc);
                    }
                }
                None => {
                    over_fault = true;
                    let help = crate::read::suggest(name, self.templates.iter().copied(), "templates");
                    self.fault(doc, *at, format!("there is no template '{}'", &**name), &help, None);
                }
            }
        }
        let under_id = under.map(|u| u.id);
        let resolved = match cache.get(&doc.id) {
            Some(r) if r.under == under_id && !over_fault => r.clone(),
            _ => {
                let below = under.and_then(|u| Some((&**u, self.grow(u)?)));
                let below = below.as_ref().map(|(doc, grown)| (*doc, &**grown));
                let Some(grown) = self.grow(doc) else { return };
                let generation = self.files.get(file).and_then(|f| f.generation);
                Arc::new(resolve_one(doc, &grown, (file, generation), below, over_fault, cx))
            }
        };
        for problem in &resolved.problems {
            self.tell(problem, Some(doc));
        }
        if !over_fault {
            kept.insert(doc.id, resolved.clone());
        }
        entries[n].resolved = Some(resolved);
    }

    /// Host and path lead to one app of the fleet.
    fn hosts(&mut self, entries: &[Entry<'a>]) {
        let mut seen: HashMap<HostKey, (&Arc<Document>, &StackName)> = HashMap::new();
        for entry in entries.iter().filter(|e| !e.twice) {
            let Some(Outcome::Stack(Some(stack))) = entry.resolved.as_ref().map(|r| &r.outcome) else {
                continue;
            };
            for (name, app) in &stack.apps {
                for host in app.hosts.keys() {
                    let Some((doc, other)) = seen.get(host).copied() else {
                        seen.insert(host.clone(), (entry.doc, &stack.name));
                        continue;
                    };
                    let grown = self.grow(entry.doc);
                    let app = grown.as_ref().and_then(|g| g.spec.get("apps")?.get(name.as_str()));
                    let pattern = || Some(grown.as_ref()?.spec.get("domain")?.get("pattern")?.at);
                    let at = app.and_then(|a| host_in(a, &host.host)).or_else(pattern);
                    let at = at.unwrap_or(names_template(entry.doc));
                    let path = if host.path == "/" { "" } else { &host.path };
                    let message = format!("{}{path} leads to the stack '{other}' already", host.host);
                    let also = Some((doc.name.at, "this stack".to_owned()));
                    let help = "a host and path can lead to one app only; the first goes on";
                    self.fault(entry.doc, at, message, help, also);
                }
            }
        }
    }

    /// Templates of files with faults are withheld, and so is what lies over them, until nothing is added.
    fn spread(&mut self, entries: &[Entry<'a>]) {
        let mut told = BTreeSet::new();
        loop {
            let before = told.len();
            for (n, entry) in entries.iter().enumerate() {
                let Some(t) = entry.template else { continue };
                let template = &entries[t];
                let same = template.file == entry.file;
                if same
                    || !self.bad.contains(template.file)
                    || self.bad.contains(entry.file)
                    || !told.insert(n)
                {
                    continue;
                }
                let at = names_template(entry.doc);
                let message = format!(
                    "the template '{}' stands in a file with errors, so this stack is left as it is",
                    &*template.doc.name.v
                );
                let also = Some((template.doc.name.at, "the template".to_owned()));
                self.fault(entry.doc, at, message, "put that file right", also);
            }
            if told.len() == before {
                return;
            }
        }
    }
}

/// Where a document names its template, else itself.
fn names_template(doc: &Document) -> Span {
    doc.template.as_ref().map_or(doc.name.at, |t| t.at)
}

/// Where a host is written in an app's tree.
fn host_in(app: &Node, host: &str) -> Option<Span> {
    if let Some(hosts) = app.get("hosts")
        && let crate::tree::Kind::Map(entries) = &hosts.kind
    {
        let same = |k: &str| k.trim_end_matches('.').eq_ignore_ascii_case(host);
        if let Some((key, _)) = entries.iter().find(|(k, _)| same(&k.text)) {
            return Some(key.at);
        }
    }
    app.get("host").map(|h| h.at).or_else(|| app.get("hosts").map(|h| h.at))
}

fn label(doc: &Document) -> String {
    format!("{}/{}", doc.kind.as_str().to_lowercase(), &*doc.name.v)
}

fn declare(declared: &mut BTreeMap<Key, Origin>, kind: DocumentKind, name: &str, file: &Arc<str>, line: u32) {
    if let Some(key) = key_of(kind, name) {
        declared.entry(key).or_insert_with(|| Origin { file: file.clone().into(), line, generation: None });
    }
}

fn key_of(kind: DocumentKind, name: &str) -> Option<Key> {
    match kind {
        DocumentKind::Project => Some(Key::Project(name.into())),
        DocumentKind::Stack => StackName::new(name).ok().map(Key::Stack),
        _ => None,
    }
}

/// One document, with the template below it.
fn resolve_one(
    doc: &Document,
    grown: &Grown,
    (file, generation): (&Arc<str>, Option<NonZeroU64>),
    under: Option<(&Document, &Grown)>,
    over_fault: bool,
    cx: &Context,
) -> Resolved {
    let spec = &grown.spec;
    let mut sink = Sink::over(under.is_some() || over_fault);
    let origin = Origin { file: file.clone().into(), line: doc.at.line, generation };
    let later = |what: &str, sink: &mut Sink| {
        let help = "this version reads Project, Stack and StackTemplate; keep the file for a later version";
        sink.error_help(doc.at, format!("the kind {what} is not supported by this version"), help);
        Outcome::Checked
    };
    let outcome = match doc.kind {
        DocumentKind::Project => {
            Outcome::Project(project::resolve(&doc.name, spec, origin, &mut sink, cx).map(Arc::new))
        }
        DocumentKind::StackTemplate => {
            resolve::name(&doc.name, &mut sink);
            resolve::template(spec, &mut sink, cx);
            Outcome::Checked
        }
        DocumentKind::Stack if over_fault => {
            // Its template cannot be used; what it says itself is still checked for form.
            resolve::name(&doc.name, &mut sink);
            let _ = crate::raw::StackSpec::read(spec, &mut sink);
            Outcome::Stack(None)
        }
        DocumentKind::Stack => {
            let spec = under.map_or_else(|| spec.clone(), |(_, u)| merge::spec(spec, &u.spec));
            let stack = resolve::stack(&grown.meta, &doc.name, &spec, origin, &mut sink, cx);
            if let Some(under) = under {
                blame_the_stack(&mut sink, (doc, grown), under);
            }
            Outcome::Stack(stack.map(Arc::new))
        }
        DocumentKind::Quota => {
            let _ = QuotaSpec::read(spec, &mut sink);
            later("Quota", &mut sink)
        }
        DocumentKind::PreviewPolicy => {
            let _ = PreviewPolicySpec::read(spec, &mut sink);
            later("PreviewPolicy", &mut sink)
        }
        DocumentKind::Preview => {
            let _ = PreviewSpec::read(spec, &mut sink);
            later("Preview", &mut sink)
        }
    };
    Resolved { outcome, problems: sink.problems, under: under.map(|(u, _)| u.id) }
}

/// A fault that shows only with this stack's values, in what the template wrote: it is the stack's, and is told where
/// the stack names the template.
fn blame_the_stack(sink: &mut Sink, (doc, grown): (&Document, &Grown), (named, under): (&Document, &Grown)) {
    let here = names_template(doc);
    sink.problems.retain_mut(|p| {
        let own = p.at == doc.name.at || p.at == doc.at || resolve::path_of(&grown.root, p.at).is_some();
        if own {
            return true;
        }
        let path = resolve::path_of(&under.root, p.at).unwrap_or_else(|| "spec".to_owned());
        p.also = Some((p.at, format!("{path} of the template '{}'", &*named.name.v)));
        p.at = here;
        !p.warning
    });
}
