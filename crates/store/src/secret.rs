//! When a given secret may be written over, and a token made. Asked by every store before it writes; never sees a value.

use berth_model::Time;
use berth_ports::{PortError, SecretRow};

/// Two people who give one secret at once would both write the version after the one that they read, and the running
/// daemon could hold either: so a version is written once. The same giving (the same instant) may come again, since
/// an unanswered commit is repeated and a new key of the vault seals the same value anew.
pub(crate) fn may_write(held: Option<(u32, Time)>, row: &SecretRow) -> Result<(), PortError> {
    match held {
        Some((version, at)) if row.version < version || (row.version == version && row.at != at) => {
            Err(PortError::Conflict(format!(
                "the secret {} of {} is at version {version} already, so version {} was not written: somebody gave it \
                 meanwhile; read it again and give it once more",
                row.name, row.stack, row.version
            )))
        }
        _ => Ok(()),
    }
}

/// Two tokens of one name could not be told apart in the audit.
pub(crate) fn token_exists(name: &str) -> PortError {
    PortError::Conflict(format!(
        "there is a token named {name} already; revoke it first, or choose another name"
    ))
}
