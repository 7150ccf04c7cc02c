//! The guard over mass changes: a pass that would remove or make again too many stacks at once is held.

use berth_model::ids::StackName;
use std::collections::BTreeSet;

/// What the guard says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// Go on.
    Free,
    /// Wait for `berth confirm`.
    Held(Hold),
}

/// What is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Confirms exactly this set of stacks.
    pub token: String,
    /// Stacks that would be removed.
    pub removing: BTreeSet<StackName>,
    /// Stacks whose applications are not there and would be made again.
    pub recreating: BTreeSet<StackName>,
    /// Of how many.
    pub of: usize,
}

/// Judges one pass: `max(3, 30 %)` of the stacks may go or be made again.
#[must_use]
pub fn guard(of: usize, removing: BTreeSet<StackName>, recreating: BTreeSet<StackName>) -> Guard {
    let limit = (of * 3 / 10).max(3);
    let affected: BTreeSet<_> = removing.union(&recreating).cloned().collect();
    if affected.len() <= limit {
        return Guard::Free;
    }
    let words = |sign, names: &BTreeSet<StackName>| {
        names.iter().map(|name| format!("{sign}{name}")).collect::<Vec<_>>()
    };
    let all = [words('-', &removing), words('+', &recreating)].concat();
    let token = token(all.iter().map(String::as_str));
    Guard::Held(Hold { token, removing, recreating, of })
}

/// Names these words, in this order, and no others: FNV-1a.
pub(crate) fn token<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for word in words {
        for byte in word.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    format!("{:08x}", hash >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(n: usize) -> BTreeSet<StackName> {
        (0..n).map(|i| StackName::new(&format!("s{i}")).unwrap()).collect()
    }

    #[test]
    fn the_limit_is_three_or_thirty_percent() {
        assert_eq!(guard(5, names(3), names(0)), Guard::Free);
        assert!(matches!(guard(5, names(4), names(0)), Guard::Held(_)));
        assert_eq!(guard(100, names(30), names(30)), Guard::Free);
        assert!(matches!(guard(100, names(31), names(0)), Guard::Held(_)));
        assert!(matches!(guard(100, names(0), names(31)), Guard::Held(_)));
    }

    #[test]
    fn a_token_names_its_set() {
        let token = |r, c| match guard(4, r, c) {
            Guard::Held(h) => h.token,
            Guard::Free => unreachable!(),
        };
        assert_eq!(token(names(4), names(0)), token(names(4), names(0)));
        assert_ne!(token(names(4), names(0)), token(names(5), names(0)));
        assert_ne!(token(names(4), names(0)), token(names(0), names(4)));
    }
}
