//! Feeds every reader of answers; finds a panic, proves nothing else.

use crate::provider::Zone;
use crate::rfc2136;
use crate::{cloudflare, hetzner, hostinger, powerdns, verify};
use berth_model::dns::{Delegation, Fqdn, MarkPlace, TtlBounds, Writable, ZoneFacts, ZoneId};
use berth_model::ids::{CredentialName, Owner};
use std::sync::Arc;

/// Everything that is ever read from outside, with these bytes.
pub(crate) fn fuzz(data: &[u8]) {
    let (Ok(name), Ok(owner), Ok(credential)) =
        (Fqdn::new("example.test"), Owner::new("prod"), CredentialName::new("main"))
    else {
        return;
    };
    for marks in [MarkPlace::Labels, MarkPlace::Comments, MarkPlace::ValueComments, MarkPlace::Companions] {
        let facts = ZoneFacts {
            servers: Vec::new(),
            addresses: Vec::new(),
            delegation: Delegation::Unknown,
            writable: Writable::Yes,
            default_ttl: None,
            ttl: TtlBounds::ANY,
            quota: None,
            marks,
            proxies: false,
            apex_cname: false,
        };
        let zone = Zone { name: name.clone(), key: name.to_string(), facts: Arc::new(facts) };
        let id = ZoneId { credential: credential.clone(), name: name.clone() };
        for listing in [
            hetzner::fuzz(data, &zone),
            cloudflare::fuzz(data, &zone),
            hostinger::fuzz(data, &zone),
            powerdns::fuzz(data, &zone),
            rfc2136::fuzz(data, &zone),
        ]
        .into_iter()
        .flatten()
        {
            let _ = listing.view(&zone, &id, &owner);
        }
    }
    verify::fuzz(data);
}
