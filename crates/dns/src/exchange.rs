//! What carries DNS messages: sockets in production, a simulated network in a test. It carries bytes, knows nothing of
//! what they mean, and retries nothing.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

/// Carries messages to servers and brings their answers.
pub trait Exchange: Send + Sync + 'static {
    /// Sends one message and brings one answer to it: over UDP the first datagram from that server that begins with the
    /// message's own id. Waits for ever where nothing comes: who asks brings the patience.
    fn exchange(
        &self,
        server: SocketAddr,
        message: &[u8],
        tcp: bool,
    ) -> impl Future<Output = Result<Vec<u8>, ExchangeError>> + Send;

    /// Sends one message over TCP and hands over every answer in turn, until `take` says that it was the last. For
    /// transfers of zones, whose end only a reader can see.
    fn stream(
        &self,
        server: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> impl Future<Output = Result<(), ExchangeError>> + Send;
}

/// Whether more answers are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Go on.
    More,
    /// It was the last.
    Done,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// Nothing was sent: there is no way to the server, or it refuses connections. There was no effect.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It broke after something was sent.
    #[error("the connection broke before the answer was complete: {0}")]
    Lost(String),
}

impl<E: Exchange> Exchange for Arc<E> {
    fn exchange(
        &self,
        server: SocketAddr,
        message: &[u8],
        tcp: bool,
    ) -> impl Future<Output = Result<Vec<u8>, ExchangeError>> + Send {
        E::exchange(self, server, message, tcp)
    }

    fn stream(
        &self,
        server: SocketAddr,
        message: &[u8],
        take: &mut (dyn FnMut(Vec<u8>) -> Flow + Send),
    ) -> impl Future<Output = Result<(), ExchangeError>> + Send {
        E::stream(self, server, message, take)
    }
}
