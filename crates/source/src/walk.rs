//! Which files there are, and which places have to be watched so that a change of that is noticed. Opens no file.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

/// More than any fleet has; less than `/` has, which is what a wrong path often names.
const MOST_ENTRIES: usize = 100_000;
const DEEPEST: usize = 32;
/// As many as Linux follows.
const MOST_LINKS: usize = 40;

/// Why a directory could not be read. Nothing may be concluded from it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system says no.
    #[error("{path} cannot be read: {source}; nothing is removed until it can be")]
    Io {
        /// What could not be read.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It changes faster than it is read.
    #[error("{path} keeps changing while it is read; nothing is removed until it rests")]
    Restless {
        /// What was seen changing last.
        path: PathBuf,
    },
    /// It is not a directory of manifests.
    #[error(
        "{path} holds more than {MOST_ENTRIES} entries or {DEEPEST} levels; see that `source.directory` names the \
         right directory"
    )]
    TooMuch {
        /// Which directory.
        path: PathBuf,
    },
}

impl Error {
    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_owned();
        move |source| Error::Io { path, source }
    }
}

/// What tells one state of a file from another without reading it. The time of the change of the inode is in it, since
/// tools put the time of the content back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    content: (i64, i64),
    change: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(data: &Metadata) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            size: data.size(),
            content: (data.mtime(), data.mtime_nsec()),
            change: (data.ctime(), data.ctime_nsec()),
        }
    }
}

/// A manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Relative to the watched directory.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) stamp: Stamp,
}

/// Everything found on one walk.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    /// By name.
    pub(crate) files: Vec<Entry>,
    /// Directories, without links in their paths.
    pub(crate) dirs: BTreeSet<PathBuf>,
    /// The steps of the way to the watched directory and of every link: other places where a change matters.
    pub(crate) hops: BTreeSet<PathBuf>,
}

/// Walks the directory. The places to be watched are right where it fails, too: it may come back.
pub(crate) fn walk(root: &Path) -> (Tree, Result<(), Error>) {
    let mut walk = Walk { tree: Tree::default(), entries: 0 };
    let result = walk.begin(root);
    walk.tree.files.sort_by(|a, b| a.name.cmp(&b.name));
    (walk.tree, result)
}

struct Walk {
    tree: Tree,
    entries: usize,
}

impl Walk {
    fn begin(&mut self, root: &Path) -> Result<(), Error> {
        let root = std::path::absolute(root).map_err(Error::io(root))?;
        let real = self.follow(&root)?;
        let data = fs::metadata(&real).map_err(Error::io(&root))?;
        self.directory(&real, "", &mut vec![(data.dev(), data.ino())])
    }

    /// Where a path leads, noting each step.
    fn follow(&mut self, path: &Path) -> Result<PathBuf, Error> {
        let mut left: Vec<PathBuf> = parts(path);
        let mut real = PathBuf::from("/");
        let mut links = 0;
        while let Some(part) = left.pop() {
            if part == Path::new("..") {
                real.pop();
                continue;
            }
            let next = real.join(&part);
            // Each step of the way: a directory far above may be moved, and its links may be turned.
            self.tree.hops.insert(next.clone());
            let kind = match fs::symlink_metadata(&next) {
                Ok(data) => data.file_type(),
                Err(source) => return Err(Error::Io { path: next, source }),
            };
            if !kind.is_symlink() {
                real = next;
                continue;
            }
            links += 1;
            if links > MOST_LINKS {
                return Err(Error::Io { path: next, source: io::Error::other("too many links") });
            }
            let target = fs::read_link(&next).map_err(Error::io(&next))?;
            if target.is_absolute() {
                real = PathBuf::from("/");
            }
            left.extend(parts(&target));
        }
        Ok(real)
    }

    fn directory(&mut self, real: &Path, name: &str, above: &mut Vec<(u64, u64)>) -> Result<(), Error> {
        self.tree.dirs.insert(real.to_owned());
        for entry in fs::read_dir(real).map_err(Error::io(real))? {
            let entry = entry.map_err(Error::io(real))?;
            self.entries += 1;
            if self.entries > MOST_ENTRIES || above.len() > DEEPEST {
                return Err(Error::TooMuch { path: real.to_owned() });
            }
            let text = entry.file_name();
            // A name that is no text still names a file: it is shown as well as it can be.
            let text = text.to_string_lossy();
            // Hidden ones are not manifests: editors' files, `.git`, and the `..data` of Kubernetes, whose content is
            // reached through the links beside it.
            if text.starts_with('.') {
                continue;
            }
            let name = if name.is_empty() { text.to_string() } else { format!("{name}/{text}") };
            self.entry(&real.join(entry.file_name()), name, above)?;
        }
        Ok(())
    }

    fn entry(&mut self, path: &Path, name: String, above: &mut Vec<(u64, u64)>) -> Result<(), Error> {
        let kind = fs::symlink_metadata(path).map_err(Error::io(path))?.file_type();
        let manifest = is_manifest(&name);
        if !kind.is_dir() && !manifest && !kind.is_symlink() {
            return Ok(());
        }
        // A link into nothing is not nothing: a directory of manifests may be about to be put behind it.
        let real = if kind.is_symlink() { self.follow(path)? } else { path.to_owned() };
        let data = fs::metadata(&real).map_err(Error::io(path))?;
        if data.is_dir() {
            let here = (data.dev(), data.ino());
            if above.contains(&here) {
                tracing::warn!(path = %path.display(), "a link leads back to a directory above it: it is not followed");
                return Ok(());
            }
            above.push(here);
            let result = self.directory(&real, &name, above);
            above.pop();
            return result;
        }
        if !manifest {
            return Ok(());
        }
        if !data.is_file() {
            // To open a pipe would wait for its writer for ever.
            tracing::warn!(path = %path.display(), "it is called like a manifest and is no file: it is not read");
            return Ok(());
        }
        self.tree.files.push(Entry { name, path: real, stamp: Stamp::from(&data) });
        Ok(())
    }
}

/// The parts of a path, the last one first. Root and `.` say nothing.
fn parts(path: &Path) -> Vec<PathBuf> {
    path.components()
        .rev()
        .filter_map(|part| match part {
            Component::Normal(part) => Some(PathBuf::from(part)),
            Component::ParentDir => Some(PathBuf::from("..")),
            _ => None,
        })
        .collect()
}

/// By its ending alone, so that `a.yaml~`, `#a.yaml#`, `a.yaml.tmp` and vim's `4913` are none.
fn is_manifest(name: &str) -> bool {
    Path::new(name)
        .extension()
        .and_then(|ending| ending.to_str())
        .is_some_and(|ending| ending.eq_ignore_ascii_case("yaml") || ending.eq_ignore_ascii_case("yml"))
}
