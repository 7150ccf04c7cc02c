//! Values as columns and back, the same for every SQL store.

use berth_model::Time;
use berth_model::access::{Role, Token, TokenHash};
use berth_model::ids::AppName;
use berth_ports::PortError;
use serde::Serialize;

/// How an app stands in a column that is part of a key.
pub(crate) fn app_column(app: Option<&AppName>) -> String {
    app.map(ToString::to_string).unwrap_or_default()
}

/// A value as the text of its body.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<String, PortError> {
    serde_json::to_string(value).map_err(|e| PortError::Refused {
        why: format!("a value cannot be written as JSON ({e}): a fault in Berth"),
    })
}

/// A number to be written.
pub(crate) fn number(n: u64) -> Result<i64, PortError> {
    i64::try_from(n)
        .map_err(|_| PortError::Refused { why: format!("the number {n} is too large for the state") })
}

/// SQL counts from below zero; the numbers here never do.
pub(crate) fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// A number to be compared with: beyond what SQL can hold it is after everything.
pub(crate) fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// A token from its columns; what is wrong with them otherwise.
pub(crate) fn token(
    name: String,
    tenant: Option<String>,
    role: &str,
    hash: &[u8],
    made: i64,
    expires: Option<i64>,
) -> Result<Token, &'static str> {
    Ok(Token {
        name,
        tenant,
        role: Role::parse(role).ok_or("its role is none that is known")?,
        hash: TokenHash(hash.try_into().map_err(|_| "its hash has not 32 bytes")?),
        made: Time(made),
        expires: expires.map(Time),
    })
}
