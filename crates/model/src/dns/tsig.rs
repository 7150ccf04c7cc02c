//! The algorithms of keys that sign DNS messages. Those that are broken have no name here.

use std::fmt;

/// The algorithm of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TsigAlgo {
    /// `hmac-sha256`.
    #[default]
    Sha256,
    /// `hmac-sha384`.
    Sha384,
    /// `hmac-sha512`.
    Sha512,
}

impl TsigAlgo {
    /// All of them.
    pub const ALL: [TsigAlgo; 3] = [TsigAlgo::Sha256, TsigAlgo::Sha384, TsigAlgo::Sha512];

    /// As key files have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            TsigAlgo::Sha256 => "hmac-sha256",
            TsigAlgo::Sha384 => "hmac-sha384",
            TsigAlgo::Sha512 => "hmac-sha512",
        }
    }

    /// Reads `hmac-sha256` and its like. `None` for others, also for those that are broken (`hmac-md5`, `hmac-sha1`).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let text = text.trim_end_matches('.');
        Self::ALL.into_iter().find(|a| a.as_str() == text)
    }
}

impl fmt::Display for TsigAlgo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_read_back_and_broken_ones_do_not() {
        for algorithm in TsigAlgo::ALL {
            assert_eq!(TsigAlgo::parse(algorithm.as_str()), Some(algorithm));
            assert_eq!(TsigAlgo::parse(&format!("{}.", algorithm.as_str().to_uppercase())), Some(algorithm));
        }
        for broken in ["hmac-md5", "hmac-md5.sig-alg.reg.int", "hmac-sha1", "hmac-sha256-128", ""] {
            assert_eq!(TsigAlgo::parse(broken), None, "{broken}");
        }
    }
}
