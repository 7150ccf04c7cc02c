//! PostgreSQL's errors in the words of the port: what happened, on which server, what to do. Nothing of sqlx goes past
//! here, and no text holds a password.

use berth_ports::PortError;

/// Why a database is not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The address is none.
    #[error("the database's address is not one ({what}); write postgres://USER:PASSWORD@HOST:5432/DATABASE")]
    Address {
        /// What is wrong with it.
        what: String,
    },
    /// Nobody answers, or nobody is let in.
    #[error("the database {place} cannot be used: {what}")]
    Unusable {
        /// Which.
        place: String,
        /// What it says, and what to do.
        what: String,
    },
    /// Its schema differs from the one this version was built with.
    #[error(
        "the database {place} has a schema that this Berth does not know ({what}): run the Berth that made it, or bring it up to date with 'berth migrate'"
    )]
    Schema {
        /// Which.
        place: String,
        /// What differs.
        what: String,
    },
}

/// The kinds of failure that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The connection is gone, or there never was one.
    Away,
    /// It answers and cannot now: starting, stopping, full, too many connections, a lock.
    Busy,
    /// A standby, or set so.
    ReadOnly,
    /// Not let in.
    Auth,
    /// A table, column or function is not there.
    Schema,
    /// It understood and says no.
    Other,
}

pub(super) fn kind(error: &sqlx::Error) -> Kind {
    let error = match error {
        sqlx::Error::Database(error) => error,
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::PoolClosed => {
            return Kind::Away;
        }
        sqlx::Error::PoolTimedOut => return Kind::Busy,
        sqlx::Error::Tls(_) => return Kind::Auth,
        _ => return Kind::Other,
    };
    let code = error.code().unwrap_or_default();
    match &*code {
        // The server's administrator ended the session, or the server goes down or comes up.
        "57P01" | "57P02" | "57P05" | "25P03" => Kind::Away,
        "25006" => Kind::ReadOnly,
        "42P01" | "42703" | "42883" | "3F000" => Kind::Schema,
        _ => match code.get(..2) {
            Some("08") => Kind::Away,
            Some("28" | "3D") => Kind::Auth,
            Some("40" | "53" | "55" | "57" | "58") => Kind::Busy,
            _ => Kind::Other,
        },
    }
}

fn text(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(e) => e.message().to_owned(),
        sqlx::Error::PoolTimedOut => "no connection came free in time".to_owned(),
        other => other.to_string(),
    }
}

/// A failure before the commit was sent: nothing was written.
pub(super) fn port(place: &str, doing: &str, error: &sqlx::Error) -> PortError {
    let what = text(error);
    let say = |hint: &str| format!("{doing} in the database {place}: {what}{hint}");
    match kind(error) {
        Kind::Away => PortError::Retry { after: None, why: say("; nothing was written") },
        Kind::Busy => PortError::Retry { after: None, why: say("") },
        Kind::ReadOnly => PortError::Retry {
            after: None,
            why: say("; it is a standby, or set read-only: point Berth at the primary"),
        },
        Kind::Auth => PortError::Retry {
            after: None,
            why: say("; see the user, the password and pg_hba.conf of the server"),
        },
        Kind::Schema => PortError::Refused { why: say("; bring it up to date with 'berth migrate'") },
        Kind::Other => PortError::Refused { why: say("") },
    }
}

/// Without an answer nobody knows whether a commit took effect.
pub(super) fn unknown(place: &str, why: &str) -> PortError {
    PortError::Unknown { why: format!("the database {place} did not answer a commit: {why}") }
}

/// What was sent is not answered, and no commit was sent.
pub(super) fn silent(place: &str, doing: &str) -> PortError {
    let why = format!("{doing} in the database {place}: no answer came in time; nothing was written");
    PortError::Retry { after: None, why }
}

/// A failure to open.
pub(super) fn open(place: &str, error: &sqlx::Error) -> OpenError {
    let (place, said) = (place.to_owned(), text(error));
    let what = match kind(error) {
        Kind::Auth => format!("{said}; see the user, the password and pg_hba.conf of the server"),
        Kind::Away => format!("{said}; see that it runs and can be reached from here"),
        Kind::Busy => format!("{said}; it may pass"),
        Kind::ReadOnly => format!("{said}; it is a standby, or set read-only: name the primary"),
        Kind::Schema => return OpenError::Schema { place, what: said },
        Kind::Other => said,
    };
    OpenError::Unusable { place, what }
}
