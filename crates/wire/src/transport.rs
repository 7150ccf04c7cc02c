//! What carries a request: sockets in production, the simulator's router in a test. It never retries a write and never
//! follows a redirect.

use bytes::Bytes;
use std::future::Future;
use std::sync::Arc;

/// Carries one request and brings one answer.
pub trait Transport: Send + Sync + 'static {
    /// Sends it. The URI is absolute. Dropping the future gives the request up; what it did is then unknown.
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> impl Future<Output = Result<http::Response<Bytes>, TransportError>> + Send;
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// Nothing was sent: no address, no connection. There was no effect.
    #[error("not sent: {0}")]
    NotSent(String),
    /// The server's certificate was not believed. Nothing was sent.
    #[error("certificate: {0}")]
    Certificate(String),
    /// It broke after something was sent: the effect is unknown.
    #[error("the connection broke before the answer was complete: {0}")]
    Lost(String),
    /// The answer is larger than is read.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
}

impl<T: Transport> Transport for Arc<T> {
    fn send(
        &self,
        request: http::Request<Bytes>,
    ) -> impl Future<Output = Result<http::Response<Bytes>, TransportError>> + Send {
        T::send(self, request)
    }
}
