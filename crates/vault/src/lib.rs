//! The vault: generated values, derived for ever from one root key, and given secrets, sealed at rest.
//!
//! It keeps nothing but its keys. It must never print one, name a value in an error, or write a file.
//!
//! # The key file
//!
//! One key a line, `ID:BASE64`, 32 bytes each; `#` begins a comment.
//!
//! ```text
//! 2:9Zk…=    the first line is the newest: what is sealed from now on is sealed under it
//! 1:Qm1…=    the last line is the root: generated values and published hashes are derived from it
//! ```
//!
//! To rotate, a line is added **on top**. The **last line is never removed or changed**: every generated password and
//! every published hash would change with it, and with them every stack. A line between them may go once nothing is
//! sealed under it any more ([`Ring::wants_resealing`]).

mod derive;
mod dice;
mod error;
mod file;
mod ring;
mod seal;
#[cfg(test)]
mod tests;

pub use dice::{SystemDice, random};
pub use error::Error;
pub use ring::Ring;
