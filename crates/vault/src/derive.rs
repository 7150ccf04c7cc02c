//! Derivation: HMAC-SHA256 in the shape of HKDF (RFC 5869), every part with its length, every use with its own domain.
//!
//! What is derived here runs as the password of live databases. Nothing in this file may ever change the value for
//! given arguments; the known answers in the tests hold it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// 32 secret bytes, wiped when dropped.
pub(crate) type Bytes32 = Zeroizing<[u8; 32]>;

fn mac(key: &[u8; 32]) -> Hmac<Sha256> {
    // An HMAC takes a key of any length: this cannot fail.
    <Hmac<Sha256> as KeyInit>::new_from_slice(key).unwrap_or_else(|_| unreachable!())
}

fn finish(mac: Hmac<Sha256>) -> Bytes32 {
    let mut tag = mac.finalize().into_bytes();
    let mut out = Zeroizing::new([0; 32]);
    out.copy_from_slice(&tag);
    tag.zeroize();
    out
}

/// Parts, each behind its length, so that no two lists of parts run together alike.
#[derive(Default)]
pub(crate) struct Parts(Vec<u8>);

impl Parts {
    pub(crate) fn new(domain: &str) -> Self {
        Self::default().text(domain)
    }
    pub(crate) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
        self
    }
    pub(crate) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }
    /// Absent is not the same as empty.
    pub(crate) fn maybe(mut self, text: Option<&str>) -> Self {
        self.0.push(u8::from(text.is_some()));
        match text {
            Some(text) => self.text(text),
            None => self,
        }
    }
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }
}

/// A key for one use, from a key of the ring: sealing, nonces and derivation never share one.
pub(crate) fn key_for(domain: &str, key: &[u8; 32]) -> Bytes32 {
    let mut mac = mac(key);
    mac.update(Parts::new(domain).as_slice());
    finish(mac)
}

/// One keyed hash over two inputs.
pub(crate) fn digest(key: &[u8; 32], first: &[u8], second: &[u8]) -> Bytes32 {
    let mut mac = mac(key);
    mac.update(Parts::default().bytes(first).bytes(second).as_slice());
    finish(mac)
}

/// HKDF-Expand. `length` is a byte, and 255 bytes are eight blocks: never more than HKDF allows.
pub(crate) fn expand(key: &[u8; 32], info: &Parts, length: u8) -> Zeroizing<Vec<u8>> {
    let wanted = usize::from(length);
    // The whole room at once: a vector that grows leaves copies behind that nobody wipes.
    let mut out = Zeroizing::new(Vec::with_capacity(wanted + 32));
    let mut last: Option<Bytes32> = None;
    for block in 1_u8..=8 {
        if out.len() >= wanted {
            break;
        }
        let mut mac = mac(key);
        if let Some(last) = &last {
            mac.update(&last[..]);
        }
        mac.update(info.as_slice());
        mac.update(&[block]);
        let block = finish(mac);
        out.extend_from_slice(&block[..]);
        last = Some(block);
    }
    out.truncate(wanted);
    out
}
