//! The key file: reading, making and rotating its text. Its content never stands in an error.

use crate::Error;
use crate::derive::Bytes32;
use berth_model::Secret;
use berth_ports::Dice;
use data_encoding::BASE64;
use zeroize::{Zeroize, Zeroizing};

const HEADER: &str = "\
# The keys of Berth's vault. Keep a copy where the server is not: without it no given secret can be read again.
# The first line seals. The last line is the root of every generated value: never remove it and never change it.
# To rotate, add a line on top.
";

/// A line of the file.
pub(crate) struct Line {
    pub(crate) id: u8,
    pub(crate) key: Bytes32,
    pub(crate) number: usize,
}

/// The keys, newest first. At least one.
pub(crate) fn parse(text: &Secret) -> Result<Vec<Line>, Error> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, text) in (1..).zip(text.expose().lines()) {
        let text = text.split('#').next().unwrap_or_default().trim();
        if text.is_empty() {
            continue;
        }
        let line = parse_line(number, text)?;
        for held in &lines {
            let twice = |what| Error::Twice { first: held.number, second: number, what };
            if held.id == line.id {
                return Err(twice("have the same id: give the newer one an id of its own"));
            }
            if held.key == line.key {
                return Err(twice("hold the same key: a rotation needs a new one"));
            }
        }
        lines.push(line);
    }
    if lines.is_empty() {
        return Err(Error::Empty);
    }
    Ok(lines)
}

fn parse_line(line: usize, text: &str) -> Result<Line, Error> {
    let bad = |what| Error::Line { line, what };
    let (id, key) =
        text.split_once(':').ok_or(bad("there is no ':'; a key is written `ID:BASE64`, as in `1:…=`"))?;
    let id = id
        .trim()
        .parse::<u8>()
        .ok()
        .filter(|id| *id > 0)
        .ok_or(bad("what stands before the ':' is not a number from 1 to 255"))?;
    let bytes = BASE64
        .decode(key.trim().as_bytes())
        .map(Zeroizing::new)
        .map_err(|_| bad("what stands after the ':' is not base64 with its padding"))?;
    let mut key = Zeroizing::new([0_u8; 32]);
    if bytes.len() != key.len() {
        return Err(bad("the key is not 32 bytes long"));
    }
    key.copy_from_slice(&bytes);
    if key.iter().all(|byte| *byte == 0) {
        return Err(bad("the key is all zero; `berth init` makes a good one"));
    }
    Ok(Line { id, key, number: line })
}

/// A file with one new key.
pub(crate) fn generate(dice: &dyn Dice) -> Secret {
    let line = new_line(1, dice);
    let mut text = String::with_capacity(HEADER.len() + line.len());
    text.push_str(HEADER);
    text.push_str(&line);
    Secret::new(text)
}

/// The file with a new key on top.
pub(crate) fn rotate(text: &Secret, dice: &dyn Dice) -> Result<Secret, Error> {
    let lines = parse(text)?;
    let newest = lines.first().map_or(0, |line| line.id);
    // After the newest, round the end: ids in order read as a history.
    let id = (1..=255_u8)
        .map(|step| newest.checked_add(step).unwrap_or_else(|| newest.wrapping_add(step).wrapping_add(1)))
        .find(|id| lines.iter().all(|line| line.id != *id))
        .ok_or(Error::Full)?;
    let line = new_line(id, dice);
    let old = text.expose();
    // Below the comments at the head of the file, above the first key.
    let at: usize =
        old.split_inclusive('\n').take_while(|l| l.trim_start().starts_with('#')).map(str::len).sum();
    let mut new = String::with_capacity(old.len() + line.len());
    new.push_str(&old[..at]);
    new.push_str(&line);
    new.push_str(&old[at..]);
    Ok(Secret::new(new))
}

fn new_line(id: u8, dice: &dyn Dice) -> Zeroizing<String> {
    let mut key = Zeroizing::new([0_u8; 32]);
    for part in key.chunks_exact_mut(8) {
        part.copy_from_slice(&dice.roll().to_le_bytes());
    }
    let mut encoded = BASE64.encode(&key[..]);
    let line = Zeroizing::new(format!("{id}:{encoded}\n"));
    encoded.zeroize();
    line
}
