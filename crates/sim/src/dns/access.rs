//! Credentials: what a token sees and may do. It must never be asked about another provider's zones.

use std::collections::BTreeSet;

use super::name::absolute;
use super::zone::{Provider, Zone};

/// A token, or the name of a TSIG key.
#[derive(Clone, Debug)]
pub struct Token {
    pub secret: String,
    pub provider: Provider,
    /// Project, account, user or server.
    pub account: String,
    /// The zones that it sees; `None` for all of its account.
    pub zones: Option<BTreeSet<String>>,
    pub read_only: bool,
    /// No longer valid.
    pub expired: bool,
}

impl Token {
    pub fn new(provider: Provider, account: &str, secret: &str) -> Token {
        Token {
            secret: secret.to_owned(),
            provider,
            account: account.to_owned(),
            zones: None,
            read_only: false,
            expired: false,
        }
    }

    /// The same, for some zones only.
    pub fn only(self, zones: &[&str]) -> Token {
        Token { zones: Some(zones.iter().map(|z| absolute(z)).collect()), ..self }
    }

    pub fn read_only(self) -> Token {
        Token { read_only: true, ..self }
    }

    pub fn sees(&self, zone: &Zone) -> bool {
        zone.provider == self.provider
            && zone.account == self.account
            && self.zones.as_ref().is_none_or(|zones| zones.contains(&zone.name))
    }
}
