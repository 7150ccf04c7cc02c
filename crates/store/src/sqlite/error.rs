//! SQLite's errors in the words of the port: what happened, to which file, what to do. Nothing of SQLite goes past here.

use berth_ports::PortError;
use std::io;
use std::path::{Path, PathBuf};

/// What every text about a file that cannot be used ends with.
pub(super) const MOVE_AWAY: &str = "stop Berth, move it away together with its -wal and -shm files, and start again: Berth rebuilds what it needs \
     from the marks; history and given secrets are lost unless a backup of the file is put in its place";

/// Why a state file is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Not SQLite at all, or its head is gone.
    #[error("{path} is no SQLite file, or is damaged ({what}); {MOVE_AWAY}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What SQLite says.
        what: String,
    },
    /// Another program's.
    #[error(
        "{path} is a SQLite file of another program: it was not touched; name another file in `state.sqlite`"
    )]
    Foreign {
        /// Which file.
        path: PathBuf,
    },
    /// Made by a Berth that knows more.
    #[error(
        "{path} was written by a newer Berth (schema {have}; this one knows {known}): run that one, or {MOVE_AWAY}"
    )]
    Newer {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        have: i64,
        /// Ours.
        known: i64,
    },
    /// Not brought up to date yet; reading alone does not do that.
    #[error(
        "{path} is of an older Berth (schema {have}; this one reads {known}): start this version's daemon once"
    )]
    Older {
        /// Which file.
        path: PathBuf,
        /// Its schema.
        have: i64,
        /// Ours.
        known: i64,
    },
    /// Its schema differs from the one this version was built with.
    #[error("{path} has a schema that this Berth does not know ({what}); {MOVE_AWAY}")]
    Schema {
        /// Which file.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// A daemon runs on it.
    #[error(
        "{path} is in use by another daemon ({holder}); stop that one first, or give this one a state file of its own"
    )]
    Held {
        /// Which file.
        path: PathBuf,
        /// Who holds it, as far as is known.
        holder: String,
    },
    /// It is not there.
    #[error("there is no state file {path}: start the daemon once, or mend `state.sqlite`")]
    Missing {
        /// Which file.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("{doing} {path}: {source}; see that the directory exists and that this user may write to it")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// SQLite says no.
    #[error("opening {path}: {what}")]
    Refused {
        /// Which file.
        path: PathBuf,
        /// What it says, and what to do.
        what: String,
    },
}

/// The kinds of failure that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Full,
    ReadOnly,
    Busy,
    Io,
    CannotOpen,
    Damaged,
    Other,
}

fn kind(error: &sqlx::Error) -> Kind {
    let sqlx::Error::Database(error) = error else {
        return match error {
            sqlx::Error::Io(_) => Kind::Io,
            sqlx::Error::PoolTimedOut => Kind::Busy,
            _ => Kind::Other,
        };
    };
    // The lowest byte of the extended code is the code proper.
    match error.code().and_then(|code| code.parse::<u32>().ok()).map(|code| code & 0xff) {
        Some(5 | 6) => Kind::Busy,
        Some(8) => Kind::ReadOnly,
        Some(10) => Kind::Io,
        Some(11 | 26) => Kind::Damaged,
        Some(13) => Kind::Full,
        Some(14) => Kind::CannotOpen,
        _ => Kind::Other,
    }
}

/// For a call through the port. Everything before a commit's last word had no effect: it may pass later.
pub(super) fn port(path: &Path, doing: &str, error: &sqlx::Error) -> PortError {
    let path = path.display();
    let retry = |why: String| PortError::Retry { after: None, why };
    match kind(error) {
        Kind::Full => {
            retry(format!("{doing}: the disk under {path} is full; make room, Berth goes on by itself"))
        }
        Kind::ReadOnly => {
            retry(format!("{doing}: {path} may not be written to; see its mode, its owner and its mount"))
        }
        Kind::Busy => retry(format!("{doing}: {path} is held by another program for too long")),
        Kind::Io | Kind::CannotOpen => {
            retry(format!("{doing}: {path} cannot be used ({error}); see the disk, Berth tries again"))
        }
        Kind::Damaged => {
            PortError::Refused { why: format!("{doing}: {path} is damaged ({error}); {MOVE_AWAY}") }
        }
        Kind::Other => PortError::Refused { why: format!("{doing}: {path}: {error}") },
    }
}

/// For a commit's last word: where the disk fails under it, nobody knows whether it is there after a restart.
pub(super) fn at_commit(path: &Path, error: &sqlx::Error) -> PortError {
    match kind(error) {
        Kind::Io | Kind::Other => {
            PortError::Unknown { why: format!("committing to {}: {error}; see the disk", path.display()) }
        }
        _ => port(path, "committing", error),
    }
}

/// For opening.
pub(super) fn open(path: &Path, error: &sqlx::Error) -> OpenError {
    let path = path.to_owned();
    match kind(error) {
        Kind::Damaged => OpenError::Damaged { path, what: error.to_string() },
        Kind::Full => OpenError::Refused { path, what: "the disk is full; make room".to_owned() },
        Kind::Busy => OpenError::Refused {
            path,
            what: "another program holds it; stop that one, then try again".to_owned(),
        },
        Kind::ReadOnly | Kind::CannotOpen | Kind::Io => OpenError::Refused {
            path,
            what: format!("{error}; see that this user may write to the file and to its directory"),
        },
        Kind::Other => OpenError::Refused { path, what: error.to_string() },
    }
}
