//! How DNS is reached: who we are, the credentials, and where to ask.

use berth_model::dns::{Fqdn, TsigAlgo};
use berth_model::ids::{CredentialName, Owner};
use berth_model::{Secret, Time};
use berth_wire::{Dice, KeySource, Observer};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// What all credentials share.
pub struct Options {
    /// Stands in every mark.
    pub owner: Owner,
    /// Wall time.
    pub clock: Arc<dyn Fn() -> Time + Send + Sync>,
    /// Chance.
    pub dice: Dice,
    /// Counts calls.
    pub observer: Arc<dyn Observer>,
    /// Recursors that are asked for the addresses of name servers, and never about a record that is to be verified.
    /// Empty: only servers whose addresses are given are asked.
    pub resolvers: Vec<SocketAddr>,
    /// Recursors whose view of a record is shown, once all authoritative servers are right.
    pub recursors: Vec<SocketAddr>,
}

/// One credential.
pub struct Credential {
    /// Its name in `berth.yaml`.
    pub name: CredentialName,
    /// What it opens.
    pub provider: ProviderOptions,
    /// Use these zones only; `None` for all that it reaches.
    pub zones: Option<BTreeSet<Fqdn>>,
    /// Servers that answer for its zones, to be asked instead of those that are found by name.
    pub servers: Vec<SocketAddr>,
}

/// What a credential opens.
pub enum ProviderOptions {
    /// Hetzner's Cloud API.
    Hetzner {
        /// The token of the project.
        key: Arc<dyn KeySource>,
        /// Another address of the API.
        url: Option<String>,
    },
    /// Cloudflare.
    Cloudflare {
        /// An API token with DNS Edit and Zone Read.
        key: Arc<dyn KeySource>,
        /// Another address of the API.
        url: Option<String>,
    },
    /// Hostinger.
    Hostinger {
        /// An API token.
        key: Arc<dyn KeySource>,
        /// Another address of the API.
        url: Option<String>,
    },
    /// PowerDNS, by its HTTP API.
    PowerDns {
        /// `http://host:8081`.
        url: String,
        /// The API key.
        key: Arc<dyn KeySource>,
        /// The server's id: `localhost` in all but odd cases.
        server: String,
        /// Marks in TXT records: for backends that have no comments.
        companions: bool,
    },
    /// A server that takes dynamic updates.
    Rfc2136 {
        /// The primary server.
        server: SocketAddr,
        /// The key that signs; `None` for servers that go by address.
        key: Option<TsigKey>,
        /// Ask for whole zones. What is refused is not asked for again for a while.
        transfers: bool,
    },
}

/// A key that signs DNS messages.
pub struct TsigKey {
    /// Its name, the same on both sides.
    pub name: String,
    /// Its algorithm.
    pub algorithm: TsigAlgo,
    /// Its secret, in base64.
    pub secret: Secret,
}
