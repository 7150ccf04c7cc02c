//! Manifests: YAML bytes to what is wanted, with a place for every fault. Pure.
//!
//! No file is opened here, no clock and no environment is read: contents come in as arguments. Nothing panics,
//! whatever the bytes; a fault is a [`Diagnostic`] and withholds its own file only.

mod app;
mod check;
mod config;
mod config_dns;
mod diag;
mod document;
mod domain;
mod env;
mod fleet;
mod later;
mod merge;
mod placeholder;
mod project;
mod raw;
mod raw_config;
mod read;
mod read_schema;
mod reference;
mod resolve;
mod running;
mod schema;
mod tree;

pub use config::{Lookup, load_config, read_config};
pub use diag::{Diagnostic, Related, Severity, Sources, render};
pub use document::{API_VERSION, DocumentKind};
pub use fleet::{Before, Fleet, Reader};
pub use reference::reference_md;
pub use schema::{SchemaKind, schema};
pub use tree::{MAX_BYTES, MAX_DEPTH, MAX_DOCUMENTS, MAX_NODES};

use berth_model::BackendName;
use berth_model::config::{Config, Defaults};
use berth_model::stack::Https;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A file and its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name as people know it: relative to the watched directory.
    pub file: Arc<str>,
    /// Its content.
    pub bytes: Arc<[u8]>,
    /// How often it was changed, where its source counts.
    pub generation: Option<std::num::NonZeroU64>,
}

impl Input {
    /// A file and its content.
    pub fn new(file: impl Into<Arc<str>>, bytes: impl AsRef<[u8]>) -> Self {
        Self { file: file.into(), bytes: bytes.as_ref().into(), generation: None }
    }
}

/// Which file a stack or project came from before, as far as somebody remembers.
pub type HeldBy<'a> = &'a dyn Fn(&berth_model::Key) -> Option<smol_str::SmolStr>;

/// What manifests need of `berth.yaml`.
#[derive(Debug, Clone)]
pub struct Context {
    /// What manifests may leave out.
    pub defaults: Defaults,
    /// The accounts, each with what `https` means where a host does not say. `None` without a `berth.yaml`: any
    /// account may be named, and `main` is meant where none is.
    pub backends: Option<BTreeMap<BackendName, Https>>,
    /// Names that no stack may have.
    pub reserved_names: Vec<String>,
}

impl Default for Context {
    fn default() -> Self {
        Self { defaults: Defaults::default(), backends: None, reserved_names: config::reserved_names() }
    }
}

impl From<&Config> for Context {
    fn from(config: &Config) -> Self {
        Self {
            defaults: config.defaults.clone(),
            backends: Some(config.backends.iter().map(|(n, b)| (n.clone(), b.https.clone())).collect()),
            reserved_names: config.reserved_names.clone(),
        }
    }
}

impl Context {
    /// What `https` means on an account where a host does not say.
    fn https(&self, backend: Option<&BackendName>) -> Https {
        let known = self.backends.as_ref().zip(backend).and_then(|(all, name)| all.get(name));
        known.cloned().unwrap_or(Https::LetsEncrypt)
    }
}

/// Reads all files once. To read them again and again, keep a [`Reader`].
#[must_use]
pub fn load(inputs: &[Input], cx: &Context) -> Fleet {
    Reader::new().update(inputs, cx, &|_| None)
}

/// What a fuzzer calls: whatever the bytes, this returns.
#[doc(hidden)]
pub fn fuzz(data: &[u8]) {
    struct Nothing;
    impl Lookup for Nothing {
        fn env(&self, _: &str) -> Option<String> {
            None
        }
        fn file(&self, _: &std::path::Path) -> Result<String, String> {
            Err("no files here".to_owned())
        }
    }
    let inputs = [Input::new("fuzz.yaml", data)];
    let fleet = load(&inputs, &Context::default());
    let _ = render(&fleet.errors, &inputs[..], false);
    let _ = render(&fleet.warnings, &inputs[..], true);
    if let Err(errors) = load_config("berth.yaml", data, &Nothing) {
        assert!(!errors.is_empty(), "a refusal without a reason");
        let _ = render(&errors, &("berth.yaml", data), false);
    }
}
