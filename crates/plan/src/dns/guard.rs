//! The guard over records of stacks that live on: of what manifests do not name any more, not too much goes at once. With
//! a stack that is removed its records go unasked: that guard is over stacks.

use berth_model::dns::{RecordKey, ZoneId};
use std::collections::BTreeSet;

/// Records that are held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneHold {
    /// Of which zone.
    pub zone: ZoneId,
    /// Confirms exactly these.
    pub token: String,
    /// Which.
    pub keys: BTreeSet<RecordKey>,
    /// Of how many that Berth wrote.
    pub of: usize,
}

/// Judges one zone: `max(3, 30 %)` of the sets that Berth wrote may go.
#[must_use]
pub fn guard_zone(zone: &ZoneId, of: usize, vanishing: BTreeSet<RecordKey>) -> Option<ZoneHold> {
    if vanishing.len() <= (of * 3 / 10).max(3) {
        return None;
    }
    let lines: Vec<_> = vanishing.iter().map(ToString::to_string).collect();
    let token = crate::guard::token([zone.to_string()].iter().chain(&lines).map(String::as_str));
    Some(ZoneHold { zone: zone.clone(), token, keys: vanishing, of })
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::dns::{Fqdn, RecordType};
    use berth_model::ids::CredentialName;

    #[test]
    fn the_limit_is_three_or_thirty_percent() {
        let name = |n: usize| Fqdn::new(&format!("h{n}.z.test")).unwrap();
        let keys = |n: usize| (0..n).map(|i| RecordKey::new(name(i), RecordType::A)).collect::<BTreeSet<_>>();
        let zone = |text: &str| ZoneId {
            credential: CredentialName::new("c").unwrap(),
            name: Fqdn::new(text).unwrap(),
        };
        for (of, vanishing, held) in [(4, 3, false), (4, 4, true), (100, 30, false), (100, 31, true)] {
            assert_eq!(
                guard_zone(&zone("z.test"), of, keys(vanishing)).is_some(),
                held,
                "{vanishing} of {of}"
            );
        }
        let token = |z: &str, n| guard_zone(&zone(z), 4, keys(n)).unwrap().token;
        assert_eq!(token("z.test", 4), token("z.test", 4));
        assert_ne!(token("z.test", 4), token("z.test", 5));
        assert_ne!(token("z.test", 4), token("y.test", 4));
    }
}
