//! Asks an app's health check from outside, as its users reach it. It sends nothing but `GET`, follows no redirect and
//! never calls a missing certificate a failure of the app.

use crate::sockets::{Sockets, SocketsOptions};
use crate::transport::{Transport, TransportError};
use berth_model::config::Probe as Where;
use berth_model::observed::ProbeResult;
use berth_model::step::ProbeSpec;
use berth_ports::Prober;
use bytes::Bytes;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

/// How long one path may take.
const WITHIN: Duration = Duration::from_secs(5);

/// How the apps of one backend are reached.
pub struct Route<T> {
    /// Believes good certificates only.
    pub transport: T,
    /// Believes every certificate: asked for the answer behind a bad one.
    pub unverified: Option<T>,
    /// A fixed port, where the address names one.
    pub port: Option<u16>,
    /// Speak plain HTTP there, also for hosts with HTTPS.
    pub plain: bool,
}

/// Health checks over the network.
pub struct Probe<T> {
    routes: HashMap<String, Route<T>>,
}

impl<T: Transport> Probe<T> {
    /// With a route for each backend.
    #[must_use]
    pub fn with_routes(routes: HashMap<String, Route<T>>) -> Self {
        Self { routes }
    }
}

impl Probe<Sockets> {
    /// For backends by name.
    ///
    /// `Host` connects to the host itself. `Address("IP[:PORT]")` connects there, with the host's name in the request:
    /// by TLS with that name where the host has HTTPS and the port is 443, 8443 or not given, else by plain HTTP with
    /// `X-Forwarded-Proto: https`, as the proxy behind which such an address stands would send it.
    ///
    /// # Errors
    /// An address is not `IP[:PORT]`, or the TLS set-up of the system is broken.
    pub fn new<'a>(backends: impl IntoIterator<Item = (&'a str, &'a Where)>) -> Result<Self, String> {
        let mut routes = HashMap::new();
        for (name, to) in backends {
            let (ip, port) = match to {
                Where::Host => (None, None),
                Where::Address(text) => {
                    let parsed = match text.parse::<SocketAddr>() {
                        Ok(address) => Ok((Some(address.ip()), Some(address.port()))),
                        Err(_) => text.parse().map(|ip| (Some(ip), None)),
                    };
                    parsed
                        .map_err(|_| format!("backend {name}: probe address '{text}' is not IP or IP:PORT"))?
                }
            };
            let options = SocketsOptions { largest: 1 << 20, connect_to: ip, any_certificate: false };
            let any = SocketsOptions { any_certificate: true, ..options.clone() };
            routes.insert(
                name.to_owned(),
                Route {
                    transport: Sockets::new(&options)?,
                    unverified: Some(Sockets::new(&any)?),
                    port,
                    plain: port.is_some_and(|p| p != 443 && p != 8443),
                },
            );
        }
        Ok(Self { routes })
    }
}

impl<T: Transport> Route<T> {
    async fn ask(&self, transport: &T, spec: &ProbeSpec, path: &str) -> Result<u16, TransportError> {
        let scheme = if spec.https && !self.plain { "https" } else { "http" };
        let port = self.port.map(|p| format!(":{p}")).unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        let mut request = http::Request::builder()
            .method(http::Method::GET)
            .uri(format!("{scheme}://{}{port}{slash}{path}", spec.host))
            .header(http::header::HOST, &spec.host)
            .header(http::header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")));
        if spec.https && self.plain {
            request = request.header("x-forwarded-proto", "https");
        }
        let request = request
            .body(Bytes::new())
            .map_err(|_| TransportError::NotSent(format!("{}{path} is not an address", spec.host)))?;
        match tokio::time::timeout(WITHIN, transport.send(request)).await {
            Ok(Ok(answer)) => Ok(answer.status().as_u16()),
            // It answered, at length.
            Ok(Err(TransportError::TooLarge(_))) => Ok(200),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TransportError::Lost("no answer within 5 s".to_owned())),
        }
    }
}

impl<T: Transport> Prober for Probe<T> {
    async fn probe(&self, backend: &str, spec: &ProbeSpec) -> ProbeResult {
        let Some(route) = self.routes.get(backend) else {
            return ProbeResult::NoAnswer(format!("no backend is called {backend}"));
        };
        let mut last = ProbeResult::NoAnswer("no path is given".to_owned());
        for path in &spec.paths {
            last = match route.ask(&route.transport, spec, path).await {
                Ok(status) => {
                    let result = ProbeResult::Status { path: path.clone(), status };
                    if (spec.expect.0..=spec.expect.1).contains(&status) {
                        return result;
                    }
                    result
                }
                Err(TransportError::Certificate(why)) => {
                    let behind = match &route.unverified {
                        Some(any) => match route.ask(any, spec, path).await {
                            Ok(status) => format!("behind it {path} answers {status}"),
                            Err(error) => format!("behind it {path} does not answer: {error}"),
                        },
                        None => "what is behind it was not asked".to_owned(),
                    };
                    // The certificate is the host's: another path meets the same one.
                    return ProbeResult::Certificate(format!("{why}; {behind}"));
                }
                Err(error) => ProbeResult::NoAnswer(format!("{path}: {error}")),
            };
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    struct Fake {
        answers: Mutex<Vec<Result<u16, TransportError>>>,
        asked: std::sync::Arc<Mutex<Vec<String>>>,
    }

    impl Transport for Fake {
        async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
            self.asked.lock().unwrap().push(format!(
                "{} {} {:?}",
                request.uri(),
                request.headers()["host"].to_str().unwrap(),
                request.headers().get("x-forwarded-proto")
            ));
            let answer = self.answers.lock().unwrap().remove(0);
            answer.map(|s| http::Response::builder().status(s).body(Bytes::new()).unwrap())
        }
    }

    async fn probe(
        verified: Vec<Result<u16, TransportError>>,
        behind: Vec<Result<u16, TransportError>>,
        port: Option<u16>,
        plain: bool,
    ) -> (ProbeResult, Vec<String>) {
        let asked = std::sync::Arc::new(Mutex::default());
        let fake = |answers| Fake { answers: Mutex::new(answers), asked: asked.clone() };
        let route = Route { transport: fake(verified), unverified: Some(fake(behind)), port, plain };
        let prober = Probe::with_routes([("b".to_owned(), route)].into());
        let spec = ProbeSpec {
            host: "h.example".into(),
            https: true,
            paths: vec!["/a".into(), "/b".into()],
            expect: (200, 399),
        };
        let result = prober.probe("b", &spec).await;
        drop(prober);
        let asked = asked.lock().unwrap().clone();
        (result, asked)
    }

    #[tokio::test]
    async fn the_first_good_path_wins() {
        let (result, asked) = probe(vec![Ok(404), Ok(302)], vec![], None, false).await;
        assert_eq!(result, ProbeResult::Status { path: "/b".into(), status: 302 });
        assert_eq!(asked, ["https://h.example/a h.example None", "https://h.example/b h.example None"]);
        let (result, _) = probe(vec![Ok(404), Ok(500)], vec![], None, false).await;
        assert_eq!(result, ProbeResult::Status { path: "/b".into(), status: 500 });
    }

    #[tokio::test]
    async fn a_bad_certificate_is_no_failure_of_the_app() {
        let bad = || Err(TransportError::Certificate("unknown issuer".into()));
        let (result, _) = probe(vec![bad()], vec![Ok(200)], None, false).await;
        assert_eq!(result, ProbeResult::Certificate("unknown issuer; behind it /a answers 200".into()));
    }

    #[tokio::test]
    async fn an_address_is_asked_for_the_host() {
        let (_, asked) = probe(vec![Ok(200)], vec![], Some(8080), true).await;
        assert_eq!(asked, [r#"http://h.example:8080/a h.example Some("https")"#]);
        let lost = || Err(TransportError::NotSent("refused".into()));
        let (result, _) = probe(vec![lost(), lost()], vec![], None, false).await;
        assert_eq!(result, ProbeResult::NoAnswer("/b: not sent: refused".into()));
    }
}
