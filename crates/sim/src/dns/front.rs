//! What all providers' APIs have in common from outside: which one a host means, how one answers a fault.
//! It must never change a store.

use hickory_proto::op::ResponseCode;
use serde_json::{Value, json};

use super::http::{Ask, with};
use super::order::{Out, What};
use super::world::World;
use super::zone::Provider;
use super::{cloudflare, hetzner, hostinger, message, powerdns};
use crate::fault::Fault;
use crate::http_api::Reply;
use crate::ledger::Subject;

/// The provider behind a host name. Any other name in `.sim` is a PowerDNS.
pub(crate) fn by_host(host: &str) -> Option<Provider> {
    match host {
        "api.hetzner.cloud" | "dns.hetzner.com" => Some(Provider::Hetzner),
        "api.cloudflare.com" => Some(Provider::Cloudflare),
        "developers.hostinger.com" => Some(Provider::Hostinger),
        _ if host.ends_with(".sim") => Some(Provider::PowerDns),
        _ => None,
    }
}

/// A token of the right form.
pub(crate) fn usual_token(provider: Provider) -> &'static str {
    match provider {
        Provider::Hetzner => "hetznerSimTokenOfSixtyFourLettersAsTheRealOnesHave0123456789abcd",
        Provider::Cloudflare => "cloudflareSimTokenOfForty0123456789abcde",
        Provider::Hostinger => "hostingerSimToken0123456789abcdef0123456789abcdef",
        Provider::PowerDns => "powerdns-sim-key",
        Provider::Rfc2136 => "update-key.",
    }
}

pub(crate) fn answer(world: &mut World, provider: Provider, ask: &Ask, locked: bool) -> Reply {
    match provider {
        Provider::Hetzner => hetzner::answer(world, ask),
        Provider::Cloudflare => cloudflare::answer(world, ask),
        Provider::Hostinger => hostinger::answer(world, ask),
        Provider::PowerDns => powerdns::answer(world, ask, locked),
        Provider::Rfc2136 => Reply::plain(404, "Not Found"),
    }
}

/// What the book says of a call.
pub(crate) fn subject(world: &World, provider: Provider, ask: &Ask) -> Subject {
    let (procedure, zone) = match provider {
        Provider::Hetzner => hetzner::procedure(world, ask),
        Provider::Cloudflare => cloudflare::procedure(world, ask),
        Provider::Hostinger => hostinger::procedure(ask),
        Provider::PowerDns => powerdns::procedure(ask),
        Provider::Rfc2136 => ("other".to_owned(), None),
    };
    let key = ask.bearer().or_else(|| ask.header("x-api-key")).unwrap_or_default();
    Subject {
        key: key.to_owned(),
        procedure: format!("{}.{procedure}", provider.name()),
        zone,
        summary: ask.summary(),
        mutation: ask.writes(),
        items: 1,
    }
}

/// An error of the provider's form.
fn error(provider: Provider, status: u16, message: &str) -> Reply {
    let body = match provider {
        Provider::Hetzner => {
            let code = match status {
                401 => "unauthorized",
                403 => "forbidden",
                429 => "rate_limit_exceeded",
                503 => "unavailable",
                _ => "server_error",
            };
            json!({"error": {"code": code, "message": message, "details": null}})
        }
        Provider::Cloudflare => {
            let code = if status == 403 || status == 401 { 10_000 } else { 971 };
            json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null})
        }
        Provider::Hostinger => json!({"message": message, "correlation_id": "00000000-sim"}),
        Provider::PowerDns | Provider::Rfc2136 => return Reply::plain(status, message.to_owned()),
    };
    Reply::json(status, body.to_string())
}

/// The answer that stands in place of the real one, without an effect.
pub(crate) fn instead(fault: &Fault, what: &What) -> Option<Out> {
    let What::Http { provider, .. } = what else {
        let code = match fault {
            Fault::TooMany { .. } => ResponseCode::Refused,
            Fault::BadGateway | Fault::ServerError | Fault::Unavailable { .. } => ResponseCode::ServFail,
            Fault::Unauthorized | Fault::Forbidden => ResponseCode::NotAuth,
            _ => return None,
        };
        let What::Message { bytes, .. } = what else { return None };
        return Some(Out::Messages(message::refusal(bytes, code)));
    };
    let later = |reply: Reply, after: &Option<u64>| match after {
        Some(seconds) => with(reply, "retry-after", seconds.to_string()),
        None => reply,
    };
    Some(Out::Reply(match fault {
        Fault::TooMany { retry_after } => later(error(*provider, 429, "too many requests"), retry_after),
        Fault::Unavailable { retry_after } => {
            later(Reply::plain(503, "Service Temporarily Unavailable"), retry_after)
        }
        Fault::BadGateway => Reply::plain(502, "<html><body>502 Bad Gateway</body></html>"),
        Fault::ServerError => error(*provider, 500, "internal error"),
        Fault::Unauthorized => error(*provider, 401, "Unauthorized"),
        Fault::Forbidden => error(*provider, 403, "Authentication error"),
        _ => return None,
    }))
}

/// An error after the effect; it repeats what was sent.
pub(crate) fn leaked(provider: Provider, ask: &Ask) -> Reply {
    let body: Value = serde_json::from_slice(&ask.body).unwrap_or(Value::Null);
    error(provider, 500, &format!("query failed, params: {body}"))
}
