//! One account over HTTP: the client, and a key that is read again when its source changes. A new key is used once the
//! server has let it in.

use berth_model::Secret;
use berth_ports::{BackendState, PortError};
use berth_wire::{
    Budget, Call, Client, Dice, Judge, KeyPlace, KeySource, Limits, Observer, Reply, Setup, Transport,
};
use serde::{Deserialize, Deserializer};
use std::sync::Arc;
use std::time::Duration;

/// What accounts of all providers are made with.
pub(crate) struct Common {
    pub(crate) name: String,
    pub(crate) key: Arc<dyn KeySource>,
    pub(crate) dice: Dice,
    pub(crate) observer: Arc<dyn Observer>,
}

/// An account.
pub(crate) struct Account<T> {
    name: String,
    client: Client<T>,
    key: Arc<dyn KeySource>,
    probe: Call,
    renewing: tokio::sync::Mutex<()>,
}

/// How long the calls of one provider may wait in all: a zone's other changes wait behind them.
fn limits() -> Limits {
    Limits {
        in_flight: 4,
        timeout: Duration::from_secs(20),
        retries: 4,
        first_wait: Duration::from_millis(500),
        longest_wait: Duration::from_secs(8),
        total_wait: Duration::from_secs(20),
    }
}

impl<T: Transport> Account<T> {
    /// Sends nothing yet.
    ///
    /// # Errors
    /// The URL is not one, or there is no key.
    pub(crate) fn new(
        common: Common,
        base: &str,
        place: KeyPlace,
        judge: Arc<dyn Judge>,
        probe: Call,
        budget: Option<Budget>,
        transport: T,
    ) -> Result<Self, String> {
        let Common { name, key, dice, observer } = common;
        let first: Secret = key
            .read()
            .ok_or_else(|| format!("dns credential {name}: its key cannot be read, or is empty"))?;
        let setup = Setup {
            base: base.to_owned(),
            key_place: place,
            key: first,
            limits: limits(),
            judge,
            probe: probe.clone(),
            health: None,
            dice,
            observer,
            budget,
        };
        let client = Client::new(transport, setup).map_err(|why| format!("dns credential {name}: {why}"))?;
        Ok(Self { name, client, key, probe, renewing: tokio::sync::Mutex::new(()) })
    }

    pub(crate) fn state(&self) -> BackendState {
        self.client.state()
    }

    /// Makes a call, with a newer key where there is one.
    pub(crate) async fn ask(&self, call: &Call) -> Result<Reply, PortError> {
        if self.key.changed() {
            self.renew().await;
        }
        let result = self.client.call(call).await;
        if matches!(result, Err(PortError::Auth { .. })) && self.renew().await {
            return self.client.call(call).await;
        }
        result
    }

    /// Makes a call and reads its answer.
    pub(crate) async fn get<D: for<'a> Deserialize<'a>>(&self, call: &Call) -> Result<D, PortError> {
        let reply = self.ask(call).await?;
        json(&call.procedure, &reply.body)
    }

    async fn renew(&self) -> bool {
        let _one = self.renewing.lock().await;
        let Some(key) = self.key.read() else { return false };
        if key == self.client.key() {
            return false;
        }
        if let Err(error) = self.client.try_key(&self.probe, &key).await {
            tracing::warn!(credential = %self.name, %error, "a new key was read and is not let in; the old one stays");
            return false;
        }
        self.client.use_key(key);
        tracing::info!(credential = %self.name, "a new key is in use");
        true
    }
}

/// For a key that must be there and may be `null`.
pub(crate) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(d)
}

/// Reads an answer: strictly typed, and an error never repeats a value.
pub(crate) fn json<'a, D: Deserialize<'a>>(procedure: &str, body: &'a [u8]) -> Result<D, PortError> {
    serde_json::from_slice(body).map_err(|e| PortError::Unsupported {
        what: format!(
            "{procedure}: the answer is not what this provider sends: {}",
            berth_wire::json::shape(&e)
        ),
    })
}

/// Feeds a judge with an answer of every kind.
pub(crate) fn fuzz(judge: &impl Judge, data: &[u8]) {
    for status in [200, 204, 301, 400, 401, 403, 404, 409, 418, 422, 423, 429, 500, 502, 503, 530] {
        let body = bytes::Bytes::copy_from_slice(data);
        let reply = Reply { status, headers: http::HeaderMap::new(), body };
        for call in [Call::get("fuzz", "/"), Call::write(http::Method::POST, "fuzz", "/", None)] {
            let _ = judge.judge(&call, &reply);
        }
    }
}
