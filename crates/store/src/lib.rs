//! The state store: what the engine remembers between runs, in SQLite, in PostgreSQL or in memory. In PostgreSQL stand
//! desired rows and the lease as well.
//!
//! All pass one contract suite. Losing a store costs history and nothing else. What is secret arrives here sealed:
//! nothing in this crate may open it, print it or log it.

#[cfg(test)]
mod contract;
mod limit;
mod memory;
mod migrations;
mod postgres;
#[cfg(test)]
mod samples;
mod secret;
mod sqlite;
mod value;

pub use limit::Limits;
pub use memory::{Memory, OnCommit, Verdict};
pub use postgres::{
    Held, Hints, Leader, Lease, LeaseTimes, Postgres, PostgresError, Renewed, Row, Rows, manifest_of,
};
pub use sqlite::{Lock, OpenError, Sqlite};
