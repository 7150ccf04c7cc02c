//! Why a key file is not taken. Names the line, never what stands in it.

/// What is wrong with the key file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No line holds a key.
    #[error("the vault's key file holds no key: `berth init` writes one, or put back the file of before")]
    Empty,
    /// A line is not a key.
    #[error("line {line} of the vault's key file: {what}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong and what is wanted.
        what: &'static str,
    },
    /// Two lines clash.
    #[error("lines {first} and {second} of the vault's key file {what}")]
    Twice {
        /// The upper.
        first: usize,
        /// The lower.
        second: usize,
        /// In what they clash.
        what: &'static str,
    },
    /// All 255 ids are used.
    #[error(
        "the vault's key file uses all 255 ids: remove a line in the middle that nothing is sealed under"
    )]
    Full,
    /// The system gives no random bytes.
    #[error("the system gives no random bytes ({0}): no key can be made; look at /dev/urandom")]
    NoRandomness(String),
}
