//! A shared project as a `Project` manifest declares it.

use crate::ids::{BackendName, ProjectName};
use crate::stack::{Origin, Text};
use std::collections::BTreeMap;

/// A shared project, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its name in Dokploy.
    pub name: ProjectName,
    /// The account it lives in.
    pub backend: BackendName,
    /// Its description, where the manifest gives one.
    pub description: Option<String>,
    /// Make it where it is absent.
    pub create: bool,
    /// `deletionPolicy: delete`: remove it with its manifest, once no service is in it.
    pub delete: bool,
    /// Environments that are to exist, each with its variables.
    pub environments: BTreeMap<String, BTreeMap<String, ProjectEnvValue>>,
    /// The project's variables.
    pub env: BTreeMap<String, ProjectEnvValue>,
    /// Where it is written.
    pub origin: Origin,
}

/// The value of a project's or environment's variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProjectEnvValue {
    /// A text with late ids.
    Text(Text),
    /// A given secret, kept under the project's name.
    Secret(String),
}
