//! The client: breaker, then permit, then timeout, then send, then judge, then retry, in that order and as plain code.
//!
//! It never repeats a write that may have had an effect unless the call says that repeating it does no harm, and never
//! puts a request's body, query or key into an error or a log.

use crate::breaker::{Admission, Breaker, Cause};
use crate::budget::Budget;
use crate::call::{Call, Counts, Judge, Lane, Reply, Verdict};
use crate::observe::Observer;
use crate::retry::{Dice, Schedule};
use crate::transport::{Transport, TransportError};
use berth_model::Secret;
use berth_ports::{BackendState, PortError};
use bytes::Bytes;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tracing::Instrument;

/// Numbers that bound what a client does.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Requests in flight; callers wait for a place.
    pub in_flight: usize,
    /// The longest one request may take.
    pub timeout: Duration,
    /// Tries after the first.
    pub retries: usize,
    /// The first wait between two tries is at most this.
    pub first_wait: Duration,
    /// No wait is longer.
    pub longest_wait: Duration,
    /// All waits of one call together.
    pub total_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            in_flight: 4,
            timeout: Duration::from_secs(30),
            retries: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(16),
            total_wait: Duration::from_secs(60),
        }
    }
}

/// How one account is reached.
pub struct Setup {
    /// `http://host:3000`.
    pub base: String,
    /// Where the key stands in a request.
    pub key_place: KeyPlace,
    /// The key.
    pub key: Secret,
    /// Bounds.
    pub limits: Limits,
    /// Reads the answers.
    pub judge: Arc<dyn Judge>,
    /// Asked when the breaker was open long enough: cheap, changes nothing, needs the key.
    pub probe: Call,
    /// Answers without a key and without the database while the process lives, and what to say when it answers and
    /// the API does not.
    pub health: Option<(Call, String)>,
    /// Chance.
    pub dice: Dice,
    /// Counts.
    pub observer: Arc<dyn Observer>,
    /// How many calls may be made, where that is limited.
    pub budget: Option<Budget>,
}

/// Where the key stands in a request.
#[derive(Debug, Clone)]
pub struct KeyPlace {
    header: http::HeaderName,
    scheme: Option<&'static str>,
}

impl KeyPlace {
    /// Alone in a header of this name, in lower case.
    #[must_use]
    pub fn header(name: &'static str) -> Self {
        Self { header: http::HeaderName::from_static(name), scheme: None }
    }

    /// `Authorization: Bearer KEY`.
    #[must_use]
    pub fn bearer() -> Self {
        Self { header: http::header::AUTHORIZATION, scheme: Some("Bearer") }
    }

    fn value(&self, key: &Secret) -> Result<http::HeaderValue, String> {
        let text = match self.scheme {
            Some(scheme) => Secret::new(format!("{scheme} {}", key.expose())),
            None => key.clone(),
        };
        let mut value = http::HeaderValue::from_str(text.expose())
            .map_err(|_| "the key holds characters that no header can carry".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }
}

/// How long the look at the process may take.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// The client of one account.
pub struct Client<T> {
    transport: T,
    base: String,
    key_place: KeyPlace,
    key: Mutex<Secret>,
    limits: Limits,
    judge: Arc<dyn Judge>,
    probe: Call,
    health: Option<(Call, String)>,
    dice: Dice,
    observer: Arc<dyn Observer>,
    budget: Option<Budget>,
    breaker: Breaker,
    permits: Semaphore,
    /// Places that what takes long may have: one less than there are, so that a list of thousands keeps no change waiting.
    long: Semaphore,
    slow: Semaphore,
    in_flight: AtomicUsize,
}

/// Counts a request while it is in flight, however it ends.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How one request went wrong.
struct Failed {
    error: PortError,
    again: bool,
}

impl<T: Transport> Client<T> {
    /// Over this transport.
    ///
    /// # Errors
    /// The base is not an `http` or `https` URL without a path, a query or credentials.
    pub fn new(transport: T, setup: Setup) -> Result<Self, String> {
        let base = setup.base.trim_end_matches('/').to_owned();
        let uri: http::Uri = base.parse().map_err(|_| "the url of a backend is not a URL".to_owned())?;
        let fine = matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|a| !a.as_str().contains('@'))
            && uri.path_and_query().is_none_or(|p| p.as_str() == "/");
        if !fine {
            return Err(
                "the url of a backend is http://HOST[:PORT] or https://HOST[:PORT], nothing more".to_owned()
            );
        }
        Ok(Self {
            transport,
            breaker: Breaker::new(base.clone(), setup.dice.clone()),
            base,
            key_place: setup.key_place,
            key: Mutex::new(setup.key),
            limits: setup.limits,
            judge: setup.judge,
            probe: setup.probe,
            health: setup.health,
            dice: setup.dice,
            observer: setup.observer,
            budget: setup.budget,
            permits: Semaphore::new(setup.limits.in_flight.max(1)),
            long: Semaphore::new(setup.limits.in_flight.saturating_sub(1).max(1)),
            slow: Semaphore::new(1),
            in_flight: AtomicUsize::new(0),
        })
    }

    /// `http://host:3000`, as it is shown in advice.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// How the account stands.
    #[must_use]
    pub fn state(&self) -> BackendState {
        BackendState {
            breaker: self.breaker.shown(),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            calls_left: self.budget.as_ref().and_then(Budget::left),
        }
    }

    /// The key in use.
    #[must_use]
    pub fn key(&self) -> Secret {
        self.key.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// Uses this key from now on.
    pub fn use_key(&self, key: Secret) {
        *self.key.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = key;
        self.breaker.new_key();
    }

    /// Makes the call, with retries where they can do no harm.
    ///
    /// # Errors
    /// What the judge made of the last answer, or that there was none.
    pub async fn call(&self, call: &Call) -> Result<Reply, PortError> {
        let began = Instant::now();
        let span = tracing::debug_span!(
            "call",
            procedure = %call.procedure,
            "http.status" = tracing::field::Empty,
            duration_ms = tracing::field::Empty,
        );
        let result = self.with_retries(call).instrument(span.clone()).await;
        let took = began.elapsed();
        span.record("duration_ms", u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        self.observer.call(&call.procedure, outcome(&result), took.as_secs_f64());
        result
    }

    async fn with_retries(&self, call: &Call) -> Result<Reply, PortError> {
        let limits = &self.limits;
        let mut schedule =
            Schedule::new(limits.retries, limits.first_wait, limits.longest_wait, limits.total_wait);
        loop {
            let failed = match self.once(call).await {
                Ok(reply) => return Ok(reply),
                Err(failed) => failed,
            };
            if !failed.again {
                return Err(failed.error);
            }
            let asked = match &failed.error {
                PortError::Retry { after, .. } => *after,
                _ => None,
            };
            let Some(wait) = schedule.next(asked, &self.dice) else {
                return Err(failed.error);
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// One try: through the breaker, with a permit.
    async fn once(&self, call: &Call) -> Result<Reply, Failed> {
        self.admitted().await?;
        if let Some(budget) = &self.budget {
            budget.take().await.map_err(|wait| Failed {
                error: PortError::Retry {
                    after: Some(wait),
                    why: "the account's calls are used up".to_owned(),
                },
                again: false,
            })?;
        }
        let _slow = match call.lane {
            Lane::Slow => self.slow.acquire().await.ok(),
            Lane::Read | Lane::List | Lane::Write => None,
        };
        let _long = match call.lane {
            Lane::Slow | Lane::List => self.long.acquire().await.ok(),
            Lane::Read | Lane::Write => None,
        };
        // Slow calls and lists are meant to wait for each other; what is counted is the wait for what all of them share.
        let asked = Instant::now();
        let _permit = self.permits.acquire().await;
        self.observer.waited(asked.elapsed().as_secs_f64());
        // The breaker may have opened while this call waited for its place.
        self.admitted().await?;
        let key = self.key();
        match self.send(call, Some(&key), self.limits.timeout).await {
            Ok(reply) => self.judged(call, reply),
            Err(None) => Err(self.timed_out(call).await),
            Err(Some(broken)) => Err(self.broken(call, &broken)),
        }
    }

    /// Passes when the breaker lets calls through, after a probe where one is due.
    async fn admitted(&self) -> Result<(), Failed> {
        match self.breaker.admit() {
            Admission::Send => Ok(()),
            Admission::Closed { cause, why, retry_in } => Err(refused(cause, why, retry_in)),
            Admission::Probe(pass) => {
                let key = self.key();
                match self.send(&self.probe, Some(&key), PROBE_TIMEOUT).await {
                    Ok(reply) => match self.judge.judge(&self.probe, &reply) {
                        Err(Verdict { error, counts: Counts::NotLetIn, .. }) => {
                            pass.failed(Some((Cause::NotLetIn, format!("not let in: {error}"))));
                        }
                        Err(Verdict { counts: Counts::NoAnswer, .. }) => pass.failed(None),
                        Ok(()) | Err(_) => {
                            pass.passed();
                            return Ok(());
                        }
                    },
                    Err(Some(broken)) => pass.failed(Some((Cause::Silent, broken.to_string()))),
                    Err(None) => match self.hangs().await {
                        Some(why) => pass.failed(Some((Cause::Hung, why))),
                        None => pass.failed(None),
                    },
                }
                match self.breaker.admit() {
                    Admission::Closed { cause, why, retry_in } => Err(refused(cause, why, retry_in)),
                    // Somebody else mended it meanwhile, or a probe is due again at once: not by this caller.
                    Admission::Send => Ok(()),
                    Admission::Probe(pass) => {
                        drop(pass);
                        Err(refused(Cause::Silent, "the probe failed".to_owned(), Duration::from_secs(1)))
                    }
                }
            }
        }
    }

    fn judged(&self, call: &Call, reply: Reply) -> Result<Reply, Failed> {
        tracing::Span::current().record("http.status", reply.status);
        if let Some(budget) = &self.budget {
            budget.saw(&reply);
        }
        let status = reply.status;
        let Err(verdict) = self.judge.judge(call, &reply) else {
            self.breaker.answered();
            return Ok(reply);
        };
        match verdict.counts {
            Counts::Answered => self.breaker.answered(),
            Counts::NotLetIn => self.breaker.not_let_in(&verdict.error.to_string()),
            Counts::NoAnswer => {
                self.breaker.no_answer(false, &verdict.error.to_string());
            }
        }
        if let (429, Some(budget), PortError::Retry { after, .. }) = (status, &self.budget, &verdict.error) {
            budget.close(after.unwrap_or(Duration::from_secs(1)));
        }
        // An answer after which the effect is unknown is repeated only where repeating does no harm.
        let harmless = call.idempotent || matches!(verdict.error, PortError::Retry { .. });
        Err(Failed { error: verdict.error, again: verdict.again && harmless })
    }

    fn broken(&self, call: &Call, broken: &TransportError) -> Failed {
        let why = format!("{} {broken}", call.procedure);
        match broken {
            TransportError::NotSent(_) => {
                self.breaker.no_answer(false, &why);
                Failed { error: PortError::Retry { after: None, why }, again: true }
            }
            // A certificate does not mend itself within a call.
            TransportError::Certificate(_) => {
                self.breaker.no_answer(false, &why);
                Failed { error: PortError::Retry { after: None, why }, again: false }
            }
            TransportError::TooLarge(_) => {
                let error =
                    if call.changes() { PortError::Unknown { why } } else { PortError::Refused { why } };
                Failed { error, again: false }
            }
            TransportError::Lost(_) => {
                self.breaker.no_answer(false, &why);
                Failed { error: unanswered(call, why), again: call.idempotent }
            }
        }
    }

    async fn timed_out(&self, call: &Call) -> Failed {
        let why = format!("{} had no answer within {:?}", call.procedure, self.limits.timeout);
        let suspect = self.breaker.no_answer(true, &why);
        if suspect && let Some(hung) = self.hangs().await {
            self.breaker.hung(&hung);
            // The call itself was sent: for a write the effect stays unknown.
            return Failed { error: unanswered(call, format!("{why}; {hung}")), again: false };
        }
        Failed { error: unanswered(call, why), again: call.idempotent }
    }

    /// The words for a hung API, if the process answers while its API does not. Takes no permit: all may be held by
    /// calls that hang.
    async fn hangs(&self) -> Option<String> {
        let (call, why) = self.health.as_ref()?;
        let reply = self.send(call, None, HEALTH_TIMEOUT).await.ok()?;
        (200..300).contains(&reply.status).then(|| why.clone())
    }

    /// Sends once with a key that is not in use yet, past breaker and retries.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn try_key(&self, call: &Call, key: &Secret) -> Result<Reply, PortError> {
        let reply = match self.send(call, Some(key), PROBE_TIMEOUT).await {
            Ok(reply) => reply,
            Err(None) => return Err(unanswered(call, format!("{} had no answer", call.procedure))),
            Err(Some(broken)) => return Err(unanswered(call, format!("{} {broken}", call.procedure))),
        };
        self.judge.judge(call, &reply).map_err(|v| v.error)?;
        Ok(reply)
    }

    /// `Err(None)` is a timeout.
    async fn send(
        &self,
        call: &Call,
        key: Option<&Secret>,
        timeout: Duration,
    ) -> Result<Reply, Option<TransportError>> {
        let request = self.request(call, key).map_err(|why| Some(TransportError::NotSent(why)))?;
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        let _count = InFlight(&self.in_flight);
        let began = Instant::now();
        let answer = tokio::time::timeout(timeout, self.transport.send(request)).await;
        self.observer.request(&call.procedure, began.elapsed().as_secs_f64());
        let (head, body) = answer.map_err(|_| None)?.map_err(Some)?.into_parts();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }

    fn request(&self, call: &Call, key: Option<&Secret>) -> Result<http::Request<Bytes>, String> {
        let mut request = http::Request::builder()
            .method(call.method.clone())
            .uri(format!("{}{}", self.base, call.target()))
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")));
        if let Some(key) = key {
            request = request.header(&self.key_place.header, self.key_place.value(key)?);
        }
        if call.body.is_some() {
            // Exactly this text: a `; charset` would make some servers refuse it.
            request = request.header(http::header::CONTENT_TYPE, "application/json");
        }
        request
            .body(call.body.clone().unwrap_or_default())
            .map_err(|_| format!("{} is not a request that can be sent", call.procedure))
    }
}

/// What an unanswered call means: a read had no effect, a write may have had one.
fn unanswered(call: &Call, why: String) -> PortError {
    if call.changes() { PortError::Unknown { why } } else { PortError::Retry { after: None, why } }
}

fn refused(cause: Cause, why: String, retry_in: Duration) -> Failed {
    let error = match cause {
        Cause::NotLetIn => PortError::Auth { why },
        Cause::Silent | Cause::Hung => PortError::Retry { after: Some(retry_in), why },
    };
    Failed { error, again: false }
}

fn outcome(result: &Result<Reply, PortError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(PortError::NotFound(_)) => "not_found",
        Err(PortError::Conflict(_)) => "conflict",
        Err(PortError::Refused { .. }) => "refused",
        Err(PortError::Retry { .. }) => "retry",
        Err(PortError::Unknown { .. }) => "unknown",
        Err(PortError::Auth { .. }) => "auth",
        Err(PortError::Unsupported { .. }) => "unsupported",
    }
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;
