//! Who may do what through the API: roles, what each may, tokens, and the trace that every change leaves.
//!
//! A token's text never stands here: only its hash is kept.

use crate::time::Time;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a token's holder may do. Each role may all that the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Viewer,
    /// Also logs and restarts.
    Developer,
    /// Also deploys, scales and configures.
    Admin,
    /// Also tokens and removal.
    Owner,
}

impl Role {
    /// All, the least first.
    pub const ALL: [Role; 4] = [Role::Viewer, Role::Developer, Role::Admin, Role::Owner];

    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Developer => "developer",
            Role::Admin => "admin",
            Role::Owner => "owner",
        }
    }

    /// The role of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// Whether it may.
    #[must_use]
    pub fn may(self, verb: Verb) -> bool {
        self >= verb.least()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What can be done through the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// See how things stand.
    Read,
    /// Read an app's output.
    Logs,
    /// Start an app's containers anew.
    Restart,
    /// Ask for a stack, change what is asked for, reconcile, pause, resume, roll back.
    Deploy,
    /// Change an app's replicas.
    Scale,
    /// Give secrets.
    Configure,
    /// Make, list and revoke tokens.
    Tokens,
    /// Ask for the removal of a stack.
    Delete,
}

impl Verb {
    /// The least role that may.
    #[must_use]
    pub fn least(self) -> Role {
        match self {
            Verb::Read => Role::Viewer,
            Verb::Logs | Verb::Restart => Role::Developer,
            Verb::Deploy | Verb::Scale | Verb::Configure => Role::Admin,
            Verb::Tokens | Verb::Delete => Role::Owner,
        }
    }
}

/// The hash of a token's text. The text holds 256 random bits, so a plain hash cannot be turned back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokenHash(pub [u8; 32]);

/// A token, without its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    /// Its name, unique in the store: stands in the audit.
    pub name: String,
    /// Whose stacks it reaches; `None`: everybody's.
    pub tenant: Option<String>,
    /// What it may.
    pub role: Role,
    /// What its text is recognised by.
    pub hash: TokenHash,
    /// When it was made.
    pub made: Time,
    /// From when it is refused.
    pub expires: Option<Time>,
}

impl Token {
    /// Whether it reaches what is of this tenant.
    #[must_use]
    pub fn reaches(&self, tenant: Option<&str>) -> bool {
        self.tenant.is_none() || self.tenant.as_deref() == tenant
    }

    /// Whether it is past its time.
    #[must_use]
    pub fn is_expired(&self, now: Time) -> bool {
        self.expires.is_some_and(|at| at <= now)
    }
}

/// What a name of a token may not be.
///
/// # Errors
/// In words.
pub fn token_name(text: &str) -> Result<(), &'static str> {
    if text.is_empty() || text.len() > 100 {
        return Err("a token's name has 1 to 100 characters");
    }
    if !text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'@')) {
        return Err("a token's name holds only letters, digits and - _ . @");
    }
    Ok(())
}

/// One change that somebody made or was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Audit {
    /// When.
    pub at: Time,
    /// Who: `token NAME`, `cli USER`, or the session's user in SQL.
    pub who: String,
    /// What, in a word: `insert`, `update`, `delete`, `restart` …
    pub what: String,
    /// Of which key: `stack/NAME` and the like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whose it was then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Which generation it led to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// `done`, `asked`, or why it was refused.
    pub outcome: String,
}

#[cfg(test)]
mod tests {
    use super::{Role, Verb};

    #[test]
    fn each_role_may_what_the_ones_before_it_may() {
        let verbs = [
            (Verb::Read, "viewer developer admin owner"),
            (Verb::Logs, "developer admin owner"),
            (Verb::Restart, "developer admin owner"),
            (Verb::Deploy, "admin owner"),
            (Verb::Scale, "admin owner"),
            (Verb::Configure, "admin owner"),
            (Verb::Tokens, "owner"),
            (Verb::Delete, "owner"),
        ];
        for (verb, who) in verbs {
            let may: Vec<_> = Role::ALL.into_iter().filter(|r| r.may(verb)).map(Role::as_str).collect();
            assert_eq!(may.join(" "), who, "{verb:?}");
        }
        assert!(Role::ALL.iter().all(|r| Role::parse(r.as_str()) == Some(*r)));
        assert_eq!(Role::parse("root"), None);
    }
}
