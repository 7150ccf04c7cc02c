//! One account of whichever provider: each method goes to the one that it is.

use crate::cloudflare::Cloudflare;
use crate::exchange::Exchange;
use crate::hetzner::Hetzner;
use crate::hostinger::Hostinger;
use crate::powerdns::PowerDns;
use crate::provider::{Manner, Op, Provider, Scope, Zone};
use crate::raw::Listing;
use crate::rfc2136::Rfc2136;
use berth_ports::{BackendState, PortError};
use berth_wire::Transport;

/// An account.
pub(crate) enum Any<T, E> {
    Hetzner(Hetzner<T>),
    Cloudflare(Cloudflare<T>),
    Hostinger(Hostinger<T>),
    PowerDns(PowerDns<T>),
    Rfc2136(Rfc2136<E>),
}

macro_rules! each {
    ($self:ident, $provider:ident => $call:expr) => {
        match $self {
            Any::Hetzner($provider) => $call,
            Any::Cloudflare($provider) => $call,
            Any::Hostinger($provider) => $call,
            Any::PowerDns($provider) => $call,
            Any::Rfc2136($provider) => $call,
        }
    };
}

impl<T: Transport, E: Exchange> Provider for Any<T, E> {
    async fn zones(&self) -> Result<Vec<Zone>, PortError> {
        each!(self, p => p.zones().await)
    }

    async fn read(&self, zone: &Zone, scope: Scope<'_>) -> Result<Listing, PortError> {
        each!(self, p => p.read(zone, scope).await)
    }

    async fn write(&self, zone: &Zone, ops: &[Op<'_>]) -> Result<(), PortError> {
        each!(self, p => p.write(zone, ops).await)
    }

    fn manner(&self) -> Manner {
        each!(self, p => p.manner())
    }

    fn state(&self) -> BackendState {
        each!(self, p => p.state())
    }
}
