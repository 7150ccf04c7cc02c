//! Real sockets, by reqwest: no redirects, a bounded answer, TLS by rustls with one crypto provider.

use crate::expiry::Expiry;
use crate::transport::{Transport, TransportError};
use bytes::{Bytes, BytesMut};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Installs the crypto provider of the process, once. Building a [`Sockets`] does it, too.
pub fn install_crypto() {
    // An error means that one is installed already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// How sockets are used.
#[derive(Debug, Clone)]
pub struct SocketsOptions {
    /// The largest answer that is read, in bytes after decompression.
    pub largest: usize,
    /// Connect here whatever the URL's host is; its port is the URL's.
    pub connect_to: Option<std::net::IpAddr>,
    /// Believe every certificate. For looking at an app behind a certificate that is not there yet; nothing secret
    /// may be sent over it.
    pub any_certificate: bool,
    /// Say with each answer over TLS when the server's certificate expires: its [`Expiry`] is among the extensions.
    pub tell_expiry: bool,
}

impl Default for SocketsOptions {
    fn default() -> Self {
        Self { largest: 64 << 20, connect_to: None, any_certificate: false, tell_expiry: false }
    }
}

/// Sends over the network.
pub struct Sockets {
    client: reqwest::Client,
    largest: usize,
}

/// Answers every name with one address.
struct Fixed(std::net::IpAddr);

impl Resolve for Fixed {
    fn resolve(&self, _: Name) -> Resolving {
        let addr = SocketAddr::new(self.0, 0);
        Box::pin(async move { Ok(Box::new(std::iter::once(addr)) as Addrs) })
    }
}

impl Sockets {
    /// Makes a client with its own pool.
    ///
    /// # Errors
    /// The TLS set-up of the system is broken.
    pub fn new(options: &SocketsOptions) -> Result<Self, String> {
        install_crypto();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            // The server closes idle connections after 5 s: we are first.
            .pool_idle_timeout(Duration::from_secs(4))
            .gzip(true)
            .no_proxy();
        if let Some(ip) = options.connect_to {
            builder = builder.dns_resolver(Arc::new(Fixed(ip)));
        }
        if options.any_certificate {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if options.tell_expiry {
            builder = builder.tls_info(true);
        }
        let client =
            builder.build().map_err(|e| format!("the HTTP client cannot be made: {}", causes(&e)))?;
        Ok(Self { client, largest: options.largest })
    }

    async fn once(&self, request: reqwest::Request) -> Result<http::Response<Bytes>, TransportError> {
        let mut response = self.client.execute(request).await.map_err(|e| told(&e))?;
        let mut answer = http::Response::builder().status(response.status());
        if let Some(tls) = response.extensions().get::<reqwest::tls::TlsInfo>() {
            answer = answer.extension(Expiry::of(tls.peer_certificate().unwrap_or_default()));
        }
        if let Some(headers) = answer.headers_mut() {
            *headers = std::mem::take(response.headers_mut());
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| told(&e))? {
            if body.len() + chunk.len() > self.largest {
                return Err(TransportError::TooLarge(self.largest));
            }
            body.extend_from_slice(&chunk);
        }
        answer.body(body.freeze()).map_err(|e| TransportError::Lost(e.to_string()))
    }
}

impl Transport for Sockets {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        let request = reqwest::Request::try_from(request).map_err(|e| TransportError::NotSent(causes(&e)))?;
        // A connection that the server closed while it idled shows only when it is used again.
        let second = (request.method() == reqwest::Method::GET).then(|| request.try_clone()).flatten();
        match (self.once(request).await, second) {
            (Err(TransportError::Lost(_)), Some(second)) => self.once(second).await,
            (result, _) => result,
        }
    }
}

fn told(error: &reqwest::Error) -> TransportError {
    let why = causes(error);
    if certificate(error) {
        TransportError::Certificate(why)
    } else if error.is_connect() || error.is_builder() {
        TransportError::NotSent(why)
    } else {
        TransportError::Lost(why)
    }
}

/// Whether rustls refused the server's certificate.
fn certificate(error: &(dyn Error + 'static)) -> bool {
    if let Some(rustls) = error.downcast_ref::<rustls::Error>() {
        return matches!(
            rustls,
            rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented
        );
    }
    // An io::Error leaves what it wraps out of its sources, and they come wrapped in one another.
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    wrapped.is_some_and(|inner| certificate(inner)) || error.source().is_some_and(certificate)
}

/// The chain of causes in words, without the URL: its query may hold what nobody should read.
fn causes(error: &reqwest::Error) -> String {
    let mut words = Vec::new();
    let mut next: Option<&(dyn Error + 'static)> = error.source();
    while let Some(e) = next {
        let text = e.to_string();
        if !words.iter().any(|w: &String| w.contains(&text)) {
            words.push(text);
        }
        next = e.source();
    }
    if words.is_empty() {
        words.push(if error.is_timeout() { "timed out" } else { "no further reason" }.to_owned());
    }
    crate::redact::cap(&words.join(": "), 200)
}

#[cfg(test)]
#[path = "sockets_tests.rs"]
mod tests;
