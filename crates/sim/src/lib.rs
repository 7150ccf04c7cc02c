//! A simulated Dokploy v0.30.2 server with the Swarm, the reverse proxy and the image registry behind it.
//! It stands for the observed server, faults included, and must never be kinder than that one was.

mod api;
mod auth;
mod clock;
mod columns;
pub mod dns;
mod dotenv;
mod dump;
mod error;
mod fault;
mod http_api;
mod image;
mod ledger;
mod lists;
mod queue;
mod registry;
mod rng;
mod rows;
mod schema;
mod serve;
#[cfg(test)]
mod serve_tests;
mod sim;
mod spec;
mod swarm;
mod swarm_fields;
mod table;
#[cfg(test)]
mod tests;
mod traefik;
mod world;

pub use auth::{ApiKey, Role};
pub use columns::Application;
pub use dotenv::{parse as parse_env, resolve as resolve_env};
pub use fault::{Broken, CallNo, CallRecord, Chaos, Fault, Rule};
pub use image::{Behaviour, Image, Images};
pub use queue::{Job, Queue};
pub use rows::{Deployment, Domain, Environment, Mount, Port, Project};
pub use serve::{serve, serve_proxy, serve_registry};
pub use sim::{Options, Probe, Sim};
pub use spec::{Mode, Spec};
pub use swarm::{Service, Swarm, Task, TaskState, UpdateStatus, Volume};
pub use table::{Row, Table};
pub use traefik::{Certificate, File, Router, Traefik};
pub use world::{Db, World};
