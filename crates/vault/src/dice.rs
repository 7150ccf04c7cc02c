//! The system's randomness as a [`Dice`]. The one place of this crate that asks the system for anything.

use crate::Error;
use berth_ports::Dice;
use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng, TryRng};
use std::sync::{Mutex, PoisonError};

/// Randomness for production: a generator seeded once by the system, so that a later draw cannot fail.
pub struct SystemDice(Mutex<StdRng>);

impl std::fmt::Debug for SystemDice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SystemDice")
    }
}

impl SystemDice {
    /// Asks the system for a seed.
    ///
    /// # Errors
    /// [`Error::NoRandomness`] where it gives none.
    pub fn new() -> Result<Self, Error> {
        let rng = StdRng::try_from_rng(&mut SysRng).map_err(|e| Error::NoRandomness(e.to_string()))?;
        Ok(Self(Mutex::new(rng)))
    }
}

/// 32 bytes that nobody can guess; `None` where the system gives none.
#[must_use]
pub fn random() -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    SysRng.try_fill_bytes(&mut bytes).ok().map(|()| bytes)
}

impl Dice for SystemDice {
    fn roll(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }
}
