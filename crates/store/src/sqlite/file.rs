//! The state file and the lock beside it, as files. Knows nothing of what is in them.

use super::error::OpenError;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Held by the one daemon of a state file; let go when dropped, or when the process ends in any way.
#[derive(Debug)]
#[must_use = "the lock is let go when this is dropped"]
pub struct Lock {
    _file: File,
    path: PathBuf,
}

impl Lock {
    /// The file that is locked.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { doing, path, source }
}

/// Locks `PATH.lock`. The lock is on a file of its own, since SQLite locks the state file in its own way and CLI
/// commands open it beside the daemon. The file stays when the lock goes: removing it would let two processes lock two
/// files of one name.
pub(super) fn lock(state: &Path) -> Result<Lock, OpenError> {
    let path = beside(state, ".lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("opening the lock", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // Only for the message: a holder that cannot be read is still a holder.
            let _ = file.read_to_string(&mut holder);
            let holder = match holder.trim() {
                "" => "it does not say which".to_owned(),
                said => said.to_owned(),
            };
            return Err(OpenError::Held { path: state.to_owned(), holder });
        }
        Err(TryLockError::Error(e)) => return Err(io("locking", &path)(e)),
    }
    file.set_len(0)
        .and_then(|()| file.write_all(format!("pid {}\n", std::process::id()).as_bytes()))
        .map_err(io("writing to the lock", &path))?;
    Ok(Lock { _file: file, path })
}

/// Makes the file if it is not there, for this user's eyes only: the databases of before are readable in it, and who
/// can write it can make Berth forget.
pub(super) fn make(path: &Path) -> Result<(), OpenError> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => return Ok(()),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(io("making", path)(e)),
    }
    let mode = fs::metadata(path).map_err(io("looking at", path))?.permissions().mode();
    if mode & 0o077 != 0 {
        // Not fatal: who is not its owner may still be allowed to use it.
        match fs::set_permissions(path, fs::Permissions::from_mode(0o600)) {
            Ok(()) => {
                tracing::warn!(path = %path.display(), "the state file was open to others; its mode is 0600 now")
            }
            Err(e) => tracing::warn!(path = %path.display(), "the state file is open to others: {e}"),
        }
    }
    Ok(())
}

/// Which file stands at a path: its device and number.
pub(super) fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|data| (data.dev(), data.ino()))
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(ending);
    PathBuf::from(name)
}
