//! The simulated DNS, behaviour by behaviour. A test here must never depend on the wall clock but where real sockets are.

mod authority;
mod cloudflare;
mod faults;
mod garbage;
mod hetzner;
mod hostinger;
mod powerdns;
mod real;
mod real_bind;
mod real_powerdns;
mod sockets;
mod update;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request};
use serde_json::Value;

use super::{Options, Provider, Sim};

/// What came back.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: HeaderMap,
    text: String,
    json: Value,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// One provider as a client with a token sees it.
#[derive(Clone)]
struct Client {
    sim: Sim,
    provider: Provider,
    token: String,
    base: &'static str,
}

impl Client {
    /// A client of a new world with one zone, `example.test`.
    fn new(provider: Provider, options: Options) -> Client {
        let sim = Sim::new(options);
        let token = sim.zone(provider, "example.test");
        Client { sim, provider, token, base: base(provider) }
    }

    fn with_token(&self, token: &str) -> Client {
        Client { token: token.to_owned(), ..self.clone() }
    }

    fn request(&self, method: &str, path: &str, body: &Value) -> Request<Bytes> {
        let bytes = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        if self.provider == Provider::PowerDns {
            request = request.header("x-api-key", &self.token);
        } else {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        request.body(bytes).expect("a request")
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> Answer {
        let request = self.request(method, path, &body);
        let response = self.sim.handle(self.provider, request).await.expect("an answer");
        let (parts, body) = response.into_parts();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text: String::from_utf8_lossy(&body).into_owned(),
            json: serde_json::from_slice(&body).unwrap_or(Value::Null),
        }
    }

    async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, Value::Null).await
    }

    fn contents(&self, name: &str, kind: &str) -> Vec<String> {
        self.sim.with(|w| w.contents("example.test", name, kind))
    }
}

fn base(provider: Provider) -> &'static str {
    match provider {
        Provider::Hetzner => "/v1",
        Provider::Cloudflare => "/client/v4",
        Provider::Hostinger => "/api",
        Provider::PowerDns => "/api/v1/servers/localhost",
        Provider::Rfc2136 => "",
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}
