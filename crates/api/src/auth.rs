//! Who asks, and whether they may. A token is recognised by the hash of its text; a wrong one and a missing one are told
//! apart by nobody but its holder. Judged before a body is read.

use crate::error::Error;
use crate::fleet::Fleet;
use crate::routes::Shared;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use berth_model::Secret;
use berth_model::access::{Audit, Role, Token, TokenHash, Verb};
use data_encoding::BASE32_NOPAD;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use sha2::{Digest, Sha256};
use std::marker::PhantomData;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;

/// What every token begins with: a search over a repository finds one that was committed by mistake.
pub const PREFIX: &str = "berth_";

/// Callers whose limits are remembered; beyond it, those at rest are forgotten.
const CALLERS: usize = 10_000;

/// The text of a new token from 32 random bytes.
#[must_use]
pub fn token_text(random: &[u8; 32]) -> Secret {
    Secret::new(format!("{PREFIX}{}", BASE32_NOPAD.encode(random).to_ascii_lowercase()))
}

/// What a token's text is kept and found as.
#[must_use]
pub fn token_hash(text: &str) -> TokenHash {
    TokenHash(Sha256::digest(text.as_bytes()).into())
}

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Who {
    /// Nobody said; only reading, and only where the settings allow it.
    Anonymous,
    /// The holder of this token.
    Token(Token),
}

impl Who {
    /// As it stands in the audit.
    pub(crate) fn name(&self) -> String {
        match self {
            Who::Anonymous => "anonymous".to_owned(),
            Who::Token(token) => format!("token {}", token.name),
        }
    }

    /// The only tenant that it reaches, if it is bound to one.
    pub(crate) fn tenant(&self) -> Option<&str> {
        match self {
            Who::Anonymous => None,
            Who::Token(token) => token.tenant.as_deref(),
        }
    }

    pub(crate) fn reaches(&self, tenant: Option<&str>) -> bool {
        match self {
            Who::Anonymous => true,
            Who::Token(token) => token.reaches(tenant),
        }
    }

    pub(crate) fn may(&self, verb: Verb) -> bool {
        match self {
            Who::Anonymous => verb == Verb::Read,
            Who::Token(token) => token.role.may(verb),
        }
    }

    pub(crate) fn role(&self) -> Role {
        match self {
            Who::Anonymous => Role::Viewer,
            Who::Token(token) => token.role,
        }
    }
}

/// How often one may ask.
pub(crate) struct Limits {
    callers: DefaultKeyedRateLimiter<String>,
    strangers: DefaultKeyedRateLimiter<IpAddr>,
}

impl Limits {
    /// So many requests a second for each caller, with four times as many at once; wrong tokens a tenth of it.
    pub(crate) fn new(per_second: NonZeroU32) -> Self {
        let burst = per_second.saturating_mul(NonZeroU32::MIN.saturating_add(3));
        let few = NonZeroU32::new(per_second.get() / 10).unwrap_or(NonZeroU32::MIN);
        Self {
            callers: RateLimiter::keyed(Quota::per_second(per_second).allow_burst(burst)),
            strangers: RateLimiter::keyed(Quota::per_second(few).allow_burst(per_second)),
        }
    }

    fn caller(&self, name: String) -> Result<(), Error> {
        if self.callers.len() > CALLERS {
            self.callers.retain_recent();
        }
        self.callers.check_key(&name).map_err(|_| Error::Limited)
    }

    fn stranger(&self, ip: IpAddr) -> Result<(), Error> {
        if self.strangers.len() > CALLERS {
            self.strangers.retain_recent();
        }
        self.strangers.check_key(&ip).map_err(|_| Error::Limited)
    }
}

/// What a route needs of who asks.
pub(crate) trait Grant: Send {
    const VERB: Verb;
}

macro_rules! grants {
    ($($name:ident),+) => {$(
        pub(crate) struct $name;
        impl Grant for $name {
            const VERB: Verb = Verb::$name;
        }
    )+};
}
grants!(Read, Logs, Restart, Deploy, Scale, Configure, Tokens, Delete);

/// Somebody who may.
pub(crate) struct May<G>(pub(crate) Who, PhantomData<G>);

impl<F: Fleet, G: Grant> FromRequestParts<Shared<F>> for May<G> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, shared: &Shared<F>) -> Result<Self, Error> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|c| c.0.ip());
        let ip = peer.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let who = match bearer(&parts.headers)? {
            None if shared.anonymous => {
                shared.limits.caller(format!("ip {ip}"))?;
                Who::Anonymous
            }
            None => {
                shared.limits.stranger(ip)?;
                return Err(Error::Unauthorized("a token is needed: authorization: Bearer berth_…"));
            }
            Some(text) => {
                let found = shared.fleet.token(token_hash(text)).await?;
                let Some(token) = found.filter(|t| !t.is_expired((shared.clock)())) else {
                    shared.limits.stranger(ip)?;
                    return Err(Error::Unauthorized(
                        "the token is wrong, expired or revoked; 'berth token' makes one",
                    ));
                };
                shared.limits.caller(format!("token {}", token.name))?;
                Who::Token(token)
            }
        };
        if who.may(G::VERB) {
            return Ok(May(who, PhantomData));
        }
        if matches!(who, Who::Anonymous) {
            return Err(Error::Unauthorized("a token is needed: authorization: Bearer berth_…"));
        }
        let error = Error::Role { role: who.role(), verb: G::VERB };
        let trace = Audit {
            at: (shared.clock)(),
            who: who.name(),
            what: format!("{} {}", parts.method, parts.uri.path()).chars().take(200).collect(),
            key: None,
            tenant: who.tenant().map(str::to_owned),
            generation: None,
            outcome: format!("refused: {error}"),
        };
        if let Err(error) = shared.fleet.trace(trace).await {
            tracing::warn!(%error, "a refusal could not be written into the audit");
        }
        Err(error)
    }
}

fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let wrong = Error::Unauthorized("the authorization header is not 'Bearer TOKEN'");
    let Ok(text) = value.to_str() else { return Err(wrong) };
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty() => {
            Ok(Some(token.trim()))
        }
        _ => Err(wrong),
    }
}
