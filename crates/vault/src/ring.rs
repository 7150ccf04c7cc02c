//! The ring of keys: the [`Vault`] itself. It must never be written anywhere, nor printed with its keys.

use crate::derive::{self, Bytes32, Parts};
use crate::dice::SystemDice;
use crate::seal::{self, SealKey};
use crate::{Error, file};
use berth_model::Secret;
use berth_model::hash::HashKey;
use berth_model::ids::{AppName, Owner};
use berth_model::stack::{Encoding, Generate};
use berth_ports::{Dice, PortError, SealedFor, Vault};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use std::fmt;
use std::sync::Arc;

/// The vault's keys, of one owner.
pub struct Ring {
    owner: Owner,
    newest: SealKey,
    /// Newest first.
    older: Vec<SealKey>,
    /// From the oldest key, so that a rotation changes no generated value.
    generator: Bytes32,
    hash_key: HashKey,
    dice: Arc<dyn Dice>,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<u8> = self.keys().map(|key| key.id).collect();
        write!(f, "Ring({}, keys {ids:?})", self.owner)
    }
}

impl Ring {
    /// Reads the text of a key file; nonces come from the system's randomness.
    ///
    /// # Errors
    /// [`Error`] names the line that is wrong.
    pub fn parse(text: &Secret, owner: &Owner) -> Result<Self, Error> {
        let dice = SystemDice::new()?;
        Self::with_dice(text, owner, Arc::new(dice))
    }

    /// Reads the text of a key file; nonces come from these dice.
    ///
    /// # Errors
    /// [`Error`] names the line that is wrong.
    pub fn with_dice(text: &Secret, owner: &Owner, dice: Arc<dyn Dice>) -> Result<Self, Error> {
        let lines = file::parse(text)?;
        let (Some(first), Some(root)) = (lines.first(), lines.last()) else {
            return Err(Error::Empty);
        };
        let hashes = derive::key_for("berth/1 hash", &root.key);
        let hashes = derive::digest(&hashes, owner.as_str().as_bytes(), &[]);
        Ok(Self {
            owner: owner.clone(),
            newest: SealKey::new(first.id, &first.key),
            older: lines.iter().skip(1).map(|line| SealKey::new(line.id, &line.key)).collect(),
            generator: derive::key_for("berth/1 generate", &root.key),
            hash_key: HashKey::new(&hashes),
            dice,
        })
    }

    /// The text of a new key file with one key.
    #[must_use]
    pub fn generate(dice: &dyn Dice) -> Secret {
        file::generate(dice)
    }

    /// The text of the key file with a new key on top: what is sealed from then on is sealed under it, and nothing that
    /// was generated changes.
    ///
    /// # Errors
    /// [`Error`] where the text is not a key file, or all ids are used.
    pub fn rotate(text: &Secret, dice: &dyn Dice) -> Result<Secret, Error> {
        file::rotate(text, dice)
    }

    fn keys(&self) -> impl Iterator<Item = &SealKey> {
        std::iter::once(&self.newest).chain(&self.older)
    }

    /// Whether it was sealed under another key than the newest: sealed anew, its key's line can go one day.
    #[must_use]
    pub fn wants_resealing(&self, sealed: &[u8]) -> bool {
        seal::key_id(sealed).is_some_and(|id| id != self.newest.id)
    }
}

impl Vault for Ring {
    fn hash_key(&self) -> HashKey {
        self.hash_key.clone()
    }

    fn generate(&self, stack: &str, app: &AppName, name: &str, how: &Generate) -> Secret {
        // The length is part of it: a longer value does not begin with the shorter one that it replaces.
        let info = Parts::new("berth/1 generated")
            .text(self.owner.as_str())
            .text(stack)
            .text(app.as_str())
            .text(name)
            .bytes(&how.version.to_le_bytes())
            .bytes(&[how.bytes]);
        let bytes = derive::expand(&self.generator, &info, how.bytes);
        Secret::new(match how.encoding {
            Encoding::Hex => HEXLOWER.encode(&bytes),
            Encoding::Base64 => BASE64.encode(&bytes),
            Encoding::Base64Url => BASE64URL_NOPAD.encode(&bytes),
        })
    }

    fn seal(&self, what: SealedFor<'_>, plain: &[u8]) -> Vec<u8> {
        self.newest.seal(&self.owner, what, plain, &*self.dice)
    }

    fn open(&self, what: SealedFor<'_>, sealed: &[u8]) -> Result<Secret, PortError> {
        let keys: Vec<&SealKey> = self.keys().collect();
        seal::open(&keys, &self.owner, what, sealed)
    }
}
