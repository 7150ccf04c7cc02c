//! Where an account's key comes from. A key is held as a `Secret` and goes nowhere but into one request header.

use berth_model::Secret;
use std::path::PathBuf;
use std::sync::Mutex;

/// Gives the key as it now stands in its source.
pub trait KeySource: Send + Sync + 'static {
    /// Reads it again. `None` where it cannot be read or is empty: the key in use then stays.
    fn read(&self) -> Option<Secret>;

    /// Whether the source looks different from when it was last read. Cheap: asked before every call.
    fn changed(&self) -> bool;
}

/// A key that stays as it is.
pub struct FixedKey(pub Secret);

impl KeySource for FixedKey {
    fn read(&self) -> Option<Secret> {
        Some(self.0.clone())
    }
    fn changed(&self) -> bool {
        false
    }
}

/// A key in a file, without the white space around it.
pub struct KeyFile {
    path: PathBuf,
    seen: Mutex<Option<Stamp>>,
}

/// What tells that a file was written: its size and when, and which file it is where a name was turned to another.
type Stamp = (u64, Option<std::time::SystemTime>);

impl KeyFile {
    /// Takes the path. Nothing is read yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let seen = Mutex::new(stamp(&path));
        Self { path, seen }
    }
}

fn stamp(path: &std::path::Path) -> Option<Stamp> {
    let data = std::fs::metadata(path).ok()?;
    Some((data.len(), data.modified().ok()))
}

// The file is small and local; a read of it is shorter than a hop to another thread.
impl KeySource for KeyFile {
    fn read(&self) -> Option<Secret> {
        let now = stamp(&self.path);
        let text = std::fs::read_to_string(&self.path).ok()?;
        *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = now;
        let text = text.trim();
        (!text.is_empty()).then(|| Secret::new(text))
    }

    fn changed(&self) -> bool {
        let now = stamp(&self.path);
        now.is_some() && now != *self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, "one\n").unwrap();
        let source = KeyFile::new(&path);
        assert!(!source.changed());
        assert_eq!(source.read().unwrap().expose(), "one");
        std::fs::write(&path, "second\n").unwrap();
        assert!(source.changed());
        assert_eq!(source.read().unwrap().expose(), "second");
        assert!(!source.changed());
        std::fs::write(&path, "  \n").unwrap();
        assert_eq!(source.read(), None);
        std::fs::remove_file(&path).unwrap();
        assert!(!source.changed());
        assert_eq!(source.read(), None);
    }
}
