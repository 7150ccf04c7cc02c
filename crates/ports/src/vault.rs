//! The port to the vault: derives, seals and opens. It keeps nothing; what is sealed is kept by the store.

use crate::PortError;
use berth_model::Secret;
use berth_model::hash::HashKey;
use berth_model::ids::AppName;
use berth_model::stack::Generate;

/// What a sealed text is bound to: opened for anything else, it does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedFor<'a> {
    /// `secret` or `version`.
    pub kind: &'a str,
    /// The stack (or `project/NAME`).
    pub stack: &'a str,
    /// The app.
    pub app: Option<&'a AppName>,
    /// The name (of a secret), the hash (of a version).
    pub name: &'a str,
}

/// Keys.
pub trait Vault: Send + Sync + 'static {
    /// The key for published hashes.
    fn hash_key(&self) -> HashKey;
    /// The generated value: the same for the same arguments, for ever.
    fn generate(&self, stack: &str, app: &AppName, name: &str, how: &Generate) -> Secret;
    /// Seals under the newest key.
    fn seal(&self, what: SealedFor<'_>, plain: &[u8]) -> Vec<u8>;
    /// Opens what any key of the ring sealed.
    ///
    /// # Errors
    /// `Refused`: no key of that id, bound to something else, or damaged.
    fn open(&self, what: SealedFor<'_>, sealed: &[u8]) -> Result<Secret, PortError>;
}
