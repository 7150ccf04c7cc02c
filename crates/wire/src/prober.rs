//! Asks an app's health check from outside, as its users reach it, and says which certificate it met. It sends nothing
//! but `GET`, follows no redirect and never calls a missing certificate a failure of the app.

use crate::expiry::Expiry;
use crate::sockets::{Sockets, SocketsOptions};
use crate::transport::{Transport, TransportError};
use berth_model::config::Probe as Where;
use berth_model::observed::{Certificate, ProbeResult, Probed};
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
            let options = SocketsOptions {
                largest: 1 << 20,
                connect_to: ip,
                any_certificate: false,
                tell_expiry: true,
            };
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

/// An answer: its status, and the certificate's day where it came over TLS.
type Answer = (u16, Option<Expiry>);

impl<T: Transport> Route<T> {
    async fn ask(&self, transport: &T, spec: &ProbeSpec, path: &str) -> Result<Answer, TransportError> {
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
            Ok(Ok(answer)) => Ok((answer.status().as_u16(), answer.extensions().get::<Expiry>().copied())),
            // It answered, at length.
            Ok(Err(TransportError::TooLarge(_))) => Ok((200, None)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(TransportError::Lost("no answer within 5 s".to_owned())),
        }
    }

    /// Behind a certificate that is not believed: the answer in words, and what the certificate says of itself.
    async fn behind(&self, spec: &ProbeSpec, path: &str, why: String) -> Probed {
        let (words, until) = match &self.unverified {
            Some(any) => match self.ask(any, spec, path).await {
                Ok((status, expiry)) => {
                    (format!("behind it {path} answers {status}"), expiry.and_then(|e| e.0))
                }
                Err(error) => (format!("behind it {path} does not answer: {error}"), None),
            },
            None => ("what is behind it was not asked".to_owned(), None),
        };
        let result = ProbeResult::Certificate(format!("{why}; {words}"));
        Probed { result, certificate: Some(Certificate { until, trouble: Some(why) }) }
    }
}

impl<T: Transport> Prober for Probe<T> {
    async fn probe(&self, backend: &str, spec: &ProbeSpec) -> Probed {
        let no_answer = |why| Probed { result: ProbeResult::NoAnswer(why), certificate: None };
        let Some(route) = self.routes.get(backend) else {
            return no_answer(format!("no backend is called {backend}"));
        };
        let mut last = no_answer("no path is given".to_owned());
        for path in &spec.paths {
            let certificate = last.certificate;
            last = match route.ask(&route.transport, spec, path).await {
                Ok((status, expiry)) => {
                    let met = expiry.map(|expiry| Certificate { until: expiry.0, trouble: None });
                    let result = ProbeResult::Status { path: path.clone(), status };
                    let probed = Probed { result, certificate: met.or(certificate) };
                    if (spec.expect.0..=spec.expect.1).contains(&status) {
                        return probed;
                    }
                    probed
                }
                // The certificate is the host's: another path meets the same one.
                Err(TransportError::Certificate(why)) => return route.behind(spec, path, why).await,
                Err(error) => {
                    Probed { result: ProbeResult::NoAnswer(format!("{path}: {error}")), certificate }
                }
            };
        }
        last
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use berth_model::Time;
    use std::sync::Mutex;

    /// A status, and the certificate's day where it comes over TLS.
    type Given = Result<(u16, Option<i64>), TransportError>;

    fn plain(status: u16) -> Given {
        Ok((status, None))
    }

    fn tls(status: u16, until: i64) -> Given {
        Ok((status, Some(until)))
    }

    struct Fake {
        answers: Mutex<Vec<Given>>,
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
            answer.map(|(status, until)| {
                let mut answer = http::Response::builder().status(status).body(Bytes::new()).unwrap();
                if let Some(until) = until {
                    answer.extensions_mut().insert(Expiry(Some(Time(until))));
                }
                answer
            })
        }
    }

    async fn probe(
        verified: Vec<Given>,
        behind: Vec<Given>,
        port: Option<u16>,
        plain: bool,
    ) -> (Probed, Vec<String>) {
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
        let (probed, asked) = probe(vec![plain(404), plain(302)], vec![], None, false).await;
        assert_eq!(probed.result, ProbeResult::Status { path: "/b".into(), status: 302 });
        assert_eq!(asked, ["https://h.example/a h.example None", "https://h.example/b h.example None"]);
        let (probed, _) = probe(vec![plain(404), plain(500)], vec![], None, false).await;
        assert_eq!(probed.result, ProbeResult::Status { path: "/b".into(), status: 500 });
    }

    #[tokio::test]
    async fn a_bad_certificate_is_no_failure_of_the_app() {
        let bad = || Err(TransportError::Certificate("unknown issuer".into()));
        let (probed, _) = probe(vec![bad()], vec![tls(200, 7)], None, false).await;
        assert_eq!(
            probed.result,
            ProbeResult::Certificate("unknown issuer; behind it /a answers 200".into())
        );
        let met = Certificate { until: Some(Time(7)), trouble: Some("unknown issuer".into()) };
        assert_eq!(probed.certificate, Some(met));
    }

    #[tokio::test]
    async fn the_certificate_is_told_whatever_the_answer() {
        let met = Some(Certificate { until: Some(Time(7)), trouble: None });
        let lost = || Err(TransportError::Lost("reset".into()));
        for answers in [vec![tls(200, 7)], vec![tls(500, 7), tls(404, 7)], vec![tls(500, 7), lost()]] {
            let (probed, _) = probe(answers, vec![], None, false).await;
            assert_eq!(probed.certificate, met, "{probed:?}");
        }
        let (probed, _) = probe(vec![plain(200)], vec![], Some(80), true).await;
        assert_eq!(probed.certificate, None, "none was met on the way");
    }

    #[tokio::test]
    async fn an_address_is_asked_for_the_host() {
        let (_, asked) = probe(vec![plain(200)], vec![], Some(8080), true).await;
        assert_eq!(asked, [r#"http://h.example:8080/a h.example Some("https")"#]);
        let lost = || Err(TransportError::NotSent("refused".into()));
        let (probed, _) = probe(vec![lost(), lost()], vec![], None, false).await;
        assert_eq!(probed.result, ProbeResult::NoAnswer("/b: not sent: refused".into()));
        assert_eq!(probed.certificate, None);
    }
}
