//! The source: a watched directory of manifests, and what is wanted by them.
//!
//! It only reads. What cannot be read is unknown, never empty: this crate must never report fewer files than there are
//! without saying that it does not know.

mod directory;
mod manifests;
mod scan;
mod walk;
mod watch;

#[cfg(test)]
mod tests;

pub use directory::{Directory, Reading};
pub use manifests::{Manifests, inputs};
pub use scan::{File, LARGEST, scan};
pub use walk::Error;
