//! Sealing: XChaCha20-Poly1305, bound to what it is sealed for. Knows keys and bytes, never a key file.
//!
//! A sealed text is `version (1) | key id (1) | nonce (24) | cipher text | tag (16)`.

use crate::derive::{self, Bytes32, Parts};
use berth_model::Secret;
use berth_model::ids::Owner;
use berth_ports::{Dice, PortError, SealedFor};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};
use zeroize::Zeroize;

const VERSION: u8 = 1;
const NONCE: usize = 24;
const TAG: usize = 16;
const HEAD: usize = 2 + NONCE;

/// A key of the ring, as sealing uses it.
pub(crate) struct SealKey {
    pub(crate) id: u8,
    cipher: Bytes32,
    nonce: Bytes32,
}

impl SealKey {
    pub(crate) fn new(id: u8, key: &[u8; 32]) -> Self {
        Self {
            id,
            cipher: derive::key_for("berth/1 seal", key),
            nonce: derive::key_for("berth/1 seal nonce", key),
        }
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new((&*self.cipher).into())
    }

    pub(crate) fn seal(&self, owner: &Owner, what: SealedFor<'_>, plain: &[u8], dice: &dyn Dice) -> Vec<u8> {
        let bound = bound(self.id, owner, what);
        // The content goes into the nonce beside the dice: a machine restored from a snapshot rolls the same numbers
        // again, and two texts under one nonce would give both away.
        let mut rolled = [0_u8; NONCE];
        for part in rolled.chunks_exact_mut(8) {
            part.copy_from_slice(&dice.roll().to_le_bytes());
        }
        let seed = Parts::default().bytes(&rolled).bytes(bound.as_slice());
        let mixed = derive::digest(&self.nonce, seed.as_slice(), plain);
        let mut nonce = [0_u8; NONCE];
        nonce.copy_from_slice(&mixed[..NONCE]);

        let text = self
            .cipher()
            .encrypt(&XNonce::from(nonce), Payload { msg: plain, aad: bound.as_slice() })
            // The one error is a text of more than 256 GiB: it does not fit into memory to be passed here.
            .unwrap_or_else(|_| unreachable!());
        let mut sealed = Vec::with_capacity(HEAD + text.len());
        sealed.push(VERSION);
        sealed.push(self.id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&text);
        sealed
    }

    fn open(&self, owner: &Owner, what: SealedFor<'_>, nonce: [u8; NONCE], text: &[u8]) -> Option<Vec<u8>> {
        let bound = bound(self.id, owner, what);
        self.cipher().decrypt(&XNonce::from(nonce), Payload { msg: text, aad: bound.as_slice() }).ok()
    }
}

/// What a sealed text is good for: moved to another row, it does not open.
fn bound(id: u8, owner: &Owner, what: SealedFor<'_>) -> Parts {
    Parts::new("berth/1 sealed")
        .bytes(&[VERSION, id])
        .text(owner.as_str())
        .text(what.kind)
        .text(what.stack)
        .maybe(what.app.map(|app| app.as_str()))
        .text(what.name)
}

/// The id of the key that sealed it, where it can be told.
pub(crate) fn key_id(sealed: &[u8]) -> Option<u8> {
    match sealed {
        [VERSION, id, ..] => Some(*id),
        _ => None,
    }
}

/// Opens what any of these keys sealed.
pub(crate) fn open(
    keys: &[&SealKey],
    owner: &Owner,
    what: SealedFor<'_>,
    sealed: &[u8],
) -> Result<Secret, PortError> {
    let refused = |why: String| PortError::Refused { why: format!("{} does not open: {why}", name_of(what)) };
    let Some((head, text)) = sealed.split_at_checked(HEAD).filter(|(_, text)| text.len() >= TAG) else {
        return Err(refused(format!("{} bytes are too few; it is damaged, give it again", sealed.len())));
    };
    let Some(id) = key_id(head) else {
        return Err(refused(format!(
            "it is written in form {}, and this Berth knows form {VERSION}; run the Berth that sealed it",
            head[0]
        )));
    };
    let Some(key) = keys.iter().find(|key| key.id == id) else {
        let held: Vec<String> = keys.iter().map(|key| key.id.to_string()).collect();
        return Err(refused(format!(
            "key {id} sealed it, and the key file holds {}; put the line of key {id} back, or give it again",
            held.join(", ")
        )));
    };
    let mut nonce = [0_u8; NONCE];
    nonce.copy_from_slice(&head[2..]);
    let plain = key.open(owner, what, nonce, text).ok_or_else(|| {
        refused(
            "it was sealed for something else, by another owner, under another key of this id, or is damaged; give \
             it again"
                .to_owned(),
        )
    })?;
    match String::from_utf8(plain) {
        Ok(text) => Ok(Secret::new(text)),
        Err(e) => {
            e.into_bytes().zeroize();
            Err(refused("it is not text".to_owned()))
        }
    }
}

fn name_of(what: SealedFor<'_>) -> String {
    match what.app {
        Some(app) => format!("the {} {} of {}/{app}", what.kind, what.name, what.stack),
        None => format!("the {} {} of {}", what.kind, what.name, what.stack),
    }
}

/// How long a sealed text is.
#[cfg(test)]
pub(crate) fn length_of_sealed(plain: usize) -> usize {
    HEAD + plain + TAG
}
