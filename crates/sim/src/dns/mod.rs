//! Simulated DNS: zones and servers of one shared world, behind the APIs of several providers and the DNS itself.
//! It stands for the real services, faults included, and must never be kinder than those are.

mod access;
mod authority;
mod cloudflare;
mod dump;
mod front;
mod hetzner;
mod hostinger;
mod http;
mod limit;
mod message;
mod name;
mod options;
mod order;
mod powerdns;
mod publish;
mod rdata;
mod recursor;
mod serve;
mod server;
mod sim;
#[cfg(test)]
mod tests;
mod transfer;
mod tsig;
mod update;
mod world;
mod zone;

pub use access::Token;
pub use options::{Options, Quotes};
pub use recursor::ADDRESS as RESOLVER;
pub use serve::{router, serve, serve_dns};
pub use server::{Algorithm, Mode, Server, TsigKey};
pub use sim::Sim;
pub use world::World;
pub use zone::{Change, Delegation, Key, Note, Provider, RrSet, Soa, Updates, Value, View, Zone};
