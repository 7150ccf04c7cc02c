//! The port over real sockets, with a credential for each server.

use crate::stack::name;
use berth_dns::{Credential, DnsSockets, Options, ProviderOptions, TsigAlgo, TsigKey, Zones};
use berth_model::ids::{CredentialName, Owner};
use berth_model::{Secret, Time};
use berth_servers::{Bind, PowerDns};
use berth_wire::{FixedKey, Silent, Sockets, SocketsOptions, system_dice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) type Port = Zones<Sockets, DnsSockets>;

pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time(i64::try_from(since.as_millis()).unwrap())
}

pub(crate) fn powerdns(credential: &str, server: &PowerDns, companions: bool) -> Credential {
    Credential {
        name: CredentialName::new(credential).unwrap(),
        provider: ProviderOptions::PowerDns {
            url: server.url(),
            key: Arc::new(FixedKey(Secret::new(server.key()))),
            server: "localhost".to_owned(),
            companions,
        },
        zones: None,
        servers: vec![server.dns()],
    }
}

pub(crate) fn bind(credential: &str, server: &Bind, zone: &str, secret: &str) -> Credential {
    let tsig =
        TsigKey { name: server.key().to_owned(), algorithm: TsigAlgo::Sha256, secret: Secret::new(secret) };
    rfc2136(credential, server.address(), zone, Some(tsig))
}

pub(crate) fn rfc2136(credential: &str, server: SocketAddr, zone: &str, key: Option<TsigKey>) -> Credential {
    Credential {
        name: CredentialName::new(credential).unwrap(),
        provider: ProviderOptions::Rfc2136 { server, key, transfers: true },
        zones: Some([name(zone)].into()),
        servers: vec![server],
    }
}

pub(crate) fn port(credentials: Vec<Credential>) -> Port {
    let options = Options {
        owner: Owner::new("prod").unwrap(),
        clock: Arc::new(now),
        dice: system_dice(),
        observer: Arc::new(Silent),
        resolvers: vec![],
        recursors: vec![],
    };
    Zones::new(options, credentials, |_| Sockets::new(&SocketsOptions::default()), DnsSockets).unwrap()
}
