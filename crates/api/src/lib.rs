//! HTTP: health, metrics, how stacks stand, what is asked for, and one page that shows the fleet.
//!
//! It knows neither the engine nor the store: whoever serves brings a [`Fleet`]. It changes nothing outside: what is
//! asked for here lands in the same rows and requests as what is asked for by SQL or by the command.

mod apps;
mod auth;
mod body;
mod error;
mod fleet;
mod openapi;
mod routes;
mod secrets;
mod serve;
mod stacks;
mod tokens;
mod view;
mod watch;

pub use auth::{PREFIX, token_hash, token_text};
pub use fleet::{Fleet, Hold, Lead, NameState, Plan, PlanLine, Proposal, SecretOf};
pub use openapi::with_spec;
pub use routes::{Options, router};
pub use serve::{TlsFiles, serve};
