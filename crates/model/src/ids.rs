//! Names that people choose and ids that servers give, each its own type, so that none stands where another belongs.
//!
//! A name is checked when it is made. An id of a server is opaque text and is never parsed.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use std::fmt;

/// Why a text is not a name. Says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub String);

/// Checks the rule for names: 1 to 40 characters of `[a-z0-9-]`, a letter first, no `--`, no trailing `-`.
///
/// # Errors
/// The first rule that the text breaks, in words.
pub fn check_name(text: &str) -> Result<(), BadName> {
    let why = if text.is_empty() {
        "a name may not be empty"
    } else if text.len() > 40 {
        "a name has at most 40 characters"
    } else if !text.as_bytes()[0].is_ascii_lowercase() {
        "a name begins with a lower-case letter"
    } else if !text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-') {
        "a name holds only lower-case letters, digits and '-'"
    } else if text.contains("--") {
        "a name may not hold '--'"
    } else if text.ends_with('-') {
        "a name may not end with '-'"
    } else {
        return Ok(());
    };
    Err(BadName(why.to_owned()))
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(SmolStr);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        text_type!($(#[$doc])* $name);
        impl $name {
            /// Checks and takes the text.
            ///
            /// # Errors
            /// [`BadName`] says which rule is broken.
            pub fn new(text: &str) -> Result<Self, BadName> {
                check_name(text)?;
                Ok(Self(text.into()))
            }
        }
    };
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        text_type!($(#[$doc])* $name);
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
    };
}

name_type!(
    /// Who this Berth is: stands in every mark; two owners never touch each other's objects.
    Owner
);
name_type!(
    /// A backend account of `berth.yaml`.
    BackendName
);
name_type!(
    /// A DNS credential of `berth.yaml`.
    CredentialName
);
name_type!(
    /// A stack.
    StackName
);
name_type!(
    /// An app inside a stack.
    AppName
);
id_type!(
    /// A project's name as Dokploy shows it: free text.
    ProjectName
);
id_type!(
    /// Dokploy's id of a project.
    ProjectId
);
id_type!(
    /// Dokploy's id of an environment.
    EnvironmentId
);
id_type!(
    /// Dokploy's id of an application.
    AppId
);
id_type!(
    /// Dokploy's id of a mount, port or domain.
    ChildId
);
id_type!(
    /// Dokploy's id of a deployment row.
    DeploymentId
);
id_type!(
    /// Dokploy's `appName`: the name of the Swarm service.
    ServiceName
);
id_type!(
    /// The id of one create, chosen by us before it is sent and carried in the object's mark.
    OperationId
);

/// What the queue holds and the store files under: one manifest of a kind that is reconciled.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind", content = "name")]
pub enum Key {
    /// A shared project.
    Project(ProjectName),
    /// A stack.
    Stack(StackName),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Key::Project(name) => write!(f, "project/{name}"),
            Key::Stack(name) => write!(f, "stack/{name}"),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Key {
    /// The name without the kind.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Key::Project(name) => name.as_str(),
            Key::Stack(name) => name.as_str(),
        }
    }

    /// Reads what [`fmt::Display`] writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/')? {
            ("project", name) => Some(Key::Project(name.into())),
            ("stack", name) => StackName::new(name).ok().map(Key::Stack),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["a", "a1", "john-dev", "a-b-c"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        let long = "a".repeat(41);
        for bad in ["", "1a", "-a", "A", "a_b", "a--b", "a-", "ä", "a b", "a/b", long.as_str()] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_read_back() {
        let key = Key::Stack(StackName::new("john-dev").unwrap());
        assert_eq!(Key::parse(&key.to_string()), Some(key));
        let key = Key::Project("a/b c".into());
        assert_eq!(Key::parse(&key.to_string()), Some(key));
        assert_eq!(Key::parse("stack/A"), None);
    }
}
