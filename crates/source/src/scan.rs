//! Reads a directory as it was at one instant, or says that it could not. Knows no clock and waits for nothing.

use crate::walk::{Entry, Error, Stamp, Tree, walk};
use std::collections::HashMap;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// The largest manifest, in bytes. Of a larger one, one byte more than this is passed on: enough to be refused by.
pub const LARGEST: usize = 1 << 20;

/// How often a directory that changes while it is read is read again before it counts as restless.
const ATTEMPTS: usize = 6;

/// A manifest as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Relative to the watched directory, with `/`.
    pub name: Arc<str>,
    /// Its content, or its beginning where it is too large. Shared with the reading before where it did not change.
    pub bytes: Arc<[u8]>,
    /// There is more of it than was read.
    pub oversize: bool,
    /// How often it was changed, where its source counts: rows do.
    pub generation: Option<std::num::NonZeroU64>,
}

/// Reads every manifest below a directory, by name.
///
/// # Errors
/// [`Error`] names what could not be read. Then nothing is known: not that a file is gone, nor that another is there.
pub fn scan(root: &Path) -> Result<Vec<File>, Error> {
    scan_after(root, &[], &mut |_| {})
}

/// As [`scan`], sharing what did not change since `before`. `found` hears of the places of each attempt before its
/// files are read: what it watches then cannot change unnoticed.
pub(crate) fn scan_after(
    root: &Path,
    before: &[File],
    found: &mut dyn FnMut(&Tree),
) -> Result<Vec<File>, Error> {
    let before: HashMap<&str, &File> = before.iter().map(|file| (&*file.name, file)).collect();
    let mut error = Error::Restless { path: root.to_owned() };
    for _ in 0..ATTEMPTS {
        match attempt(root, &before, found) {
            Ok(files) => return Ok(files),
            Err(Error::TooMuch { path }) => return Err(Error::TooMuch { path }),
            // A file that goes between listing and reading looks like one that is not there.
            Err(other) => error = other,
        }
    }
    Err(error)
}

fn attempt(
    root: &Path,
    before: &HashMap<&str, &File>,
    found: &mut dyn FnMut(&Tree),
) -> Result<Vec<File>, Error> {
    let (tree, result) = walk(root);
    found(&tree);
    result?;
    let mut files = Vec::with_capacity(tree.files.len());
    for entry in &tree.files {
        files.push(read(entry, before.get(&*entry.name).copied())?);
    }
    // The same again: no file came, went or changed while the others were read, and no link was turned.
    let (again, result) = walk(root);
    result?;
    if again != tree {
        return Err(Error::Restless { path: changed(root, &tree, &again) });
    }
    Ok(files)
}

fn read(entry: &Entry, before: Option<&File>) -> Result<File, Error> {
    let io = || Error::io(&entry.path);
    let restless = || Error::Restless { path: entry.path.clone() };
    let file = fs::File::open(&entry.path).map_err(io())?;
    if Stamp::from(&file.metadata().map_err(io())?) != entry.stamp {
        return Err(restless());
    }
    let mut bytes = Vec::new();
    (&file).take(LARGEST as u64 + 1).read_to_end(&mut bytes).map_err(io())?;
    if Stamp::from(&file.metadata().map_err(io())?) != entry.stamp {
        return Err(restless());
    }
    let oversize = bytes.len() > LARGEST;
    match before {
        Some(before) if *before.bytes == *bytes && before.oversize == oversize => Ok(before.clone()),
        _ => Ok(File { name: entry.name.as_str().into(), bytes: bytes.into(), oversize, generation: None }),
    }
}

/// The first thing in which two walks differ, for the message.
fn changed(root: &Path, one: &Tree, other: &Tree) -> std::path::PathBuf {
    one.files
        .iter()
        .find(|entry| !other.files.contains(entry))
        .or_else(|| other.files.iter().find(|entry| !one.files.contains(entry)))
        .map_or_else(|| root.to_owned(), |entry| entry.path.clone())
}
