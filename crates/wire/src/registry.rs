//! Asks an image's registry whether the image is there, by the distribution API. It pulls nothing and never decides
//! that an image is missing from anything but the registry's own word.

use crate::call::Reply;
use crate::reference::Reference;
use crate::transport::{Transport, TransportError};
use berth_model::Secret;
use berth_model::observed::ImageAnswer;
use berth_ports::Registry;
use bytes::Bytes;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// How long one question may take in all.
const WITHIN: Duration = Duration::from_secs(5);
/// How long a found image counts as found: shorter than the shortest interval at which a tag is followed.
const KEEP: Duration = Duration::from_secs(20);
/// Answers kept.
const MOST: usize = 4096;
/// Every kind of manifest: without the lists a registry answers 404 for an image of several platforms.
const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
                      application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// Registries, over one transport.
pub struct ImageRegistry<T> {
    transport: T,
    found: Mutex<HashMap<u64, (Instant, Option<String>)>>,
    hasher: RandomState,
}

impl<T: Transport> ImageRegistry<T> {
    /// Over this transport.
    #[must_use]
    pub fn new(transport: T) -> Self {
        Self { transport, found: Mutex::default(), hasher: RandomState::new() }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<u64, (Instant, Option<String>)>> {
        self.found.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    async fn ask(&self, reference: &Reference, auth: Option<(&str, &Secret)>) -> ImageAnswer {
        let url =
            format!("{}/v2/{}/manifests/{}", reference.origin(), reference.repository, reference.version());
        let basic = auth.map(|(user, password)| basic(user, password));
        let first = match self.send(http::Method::HEAD, &url, None).await {
            Ok(reply) => reply,
            Err(why) => return ImageAnswer::NoAnswer(why),
        };
        if first.status != 401 {
            return answer(&first);
        }
        let challenge = first.header(http::header::WWW_AUTHENTICATE).unwrap_or("").to_owned();
        let authorization = match Challenge::parse(&challenge) {
            Some(Challenge::Basic) => match basic {
                Some(basic) => basic,
                None => return ImageAnswer::Denied,
            },
            Some(Challenge::Bearer { realm, service, scope }) => {
                match self.token(reference, &realm, service, scope, basic.as_ref()).await {
                    Ok(token) => token,
                    Err(answer) => return answer,
                }
            }
            None => return ImageAnswer::Denied,
        };
        match self.send(http::Method::HEAD, &url, Some(&authorization)).await {
            Ok(reply) => answer(&reply),
            Err(why) => ImageAnswer::NoAnswer(why),
        }
    }

    async fn token(
        &self,
        reference: &Reference,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        basic: Option<&Secret>,
    ) -> Result<Secret, ImageAnswer> {
        // Credentials go only where the connection is at least as safe as the registry's own.
        if basic.is_some() && reference.origin().starts_with("https:") && !realm.starts_with("https:") {
            return Err(ImageAnswer::NoAnswer("the registry's token server is not https".to_owned()));
        }
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", reference.repository));
        let mut call = crate::Call::get("token", realm.to_owned()).with("scope", scope);
        if let Some(service) = service {
            call = call.with("service", service);
        }
        // A realm with a query of its own goes on with '&'.
        let url = if realm.contains('?') {
            call.target().replacen(&format!("{realm}?"), &format!("{realm}&"), 1)
        } else {
            call.target()
        };
        let reply = self.send(http::Method::GET, &url, basic).await.map_err(ImageAnswer::NoAnswer)?;
        match reply.status {
            200 => {}
            400 | 401 | 403 => return Err(ImageAnswer::Denied),
            status => {
                return Err(ImageAnswer::NoAnswer(format!("the registry's token server answered {status}")));
            }
        }
        #[derive(serde::Deserialize)]
        struct Token {
            token: Option<Secret>,
            access_token: Option<Secret>,
        }
        serde_json::from_slice::<Token>(&reply.body)
            .ok()
            .and_then(|t| t.token.or(t.access_token))
            .map(|t| Secret::new(format!("Bearer {}", t.expose())))
            .ok_or_else(|| ImageAnswer::NoAnswer("the registry's token server gave no token".to_owned()))
    }

    async fn send(
        &self,
        method: http::Method,
        url: &str,
        authorization: Option<&Secret>,
    ) -> Result<Reply, String> {
        let mut request = http::Request::builder()
            .method(method)
            .uri(url)
            .header(http::header::ACCEPT, ACCEPT)
            .header(http::header::USER_AGENT, concat!("berth/", env!("CARGO_PKG_VERSION")));
        if let Some(value) = authorization {
            let mut value = http::HeaderValue::from_str(value.expose())
                .map_err(|_| "the registry's credentials cannot stand in a header".to_owned())?;
            value.set_sensitive(true);
            request = request.header(http::header::AUTHORIZATION, value);
        }
        let request =
            request.body(Bytes::new()).map_err(|_| "the registry's address is not a URL".to_owned())?;
        let (head, body) =
            self.transport.send(request).await.map_err(|e: TransportError| e.to_string())?.into_parts();
        Ok(Reply { status: head.status.as_u16(), headers: head.headers, body })
    }
}

impl<T: Transport> Registry for ImageRegistry<T> {
    async fn image(&self, reference: &str, auth: Option<(&str, &Secret)>) -> ImageAnswer {
        let parsed = match Reference::parse(reference) {
            Ok(parsed) => parsed,
            Err(why) => return ImageAnswer::NoAnswer(why),
        };
        // A hash stands for the credentials, so that none is kept.
        let key = self.hasher.hash_one((reference, auth.map(|(user, secret)| (user, secret.expose()))));
        if let Some((at, digest)) = self.kept().get(&key)
            && at.elapsed() < KEEP
        {
            return ImageAnswer::Found(digest.clone());
        }
        let answer = tokio::time::timeout(WITHIN, self.ask(&parsed, auth)).await.unwrap_or_else(|_| {
            ImageAnswer::NoAnswer(format!("{} did not answer within 5 s", parsed.registry))
        });
        if let ImageAnswer::Found(digest) = &answer {
            let mut kept = self.kept();
            if kept.len() >= MOST {
                kept.retain(|_, (at, _)| at.elapsed() < KEEP);
                if kept.len() >= MOST {
                    kept.clear();
                }
            }
            kept.insert(key, (Instant::now(), digest.clone()));
        }
        answer
    }
}

fn basic(user: &str, password: &Secret) -> Secret {
    let pair = Secret::new(format!("{user}:{}", password.expose()));
    Secret::new(format!("Basic {}", data_encoding::BASE64.encode(pair.expose().as_bytes())))
}

fn answer(reply: &Reply) -> ImageAnswer {
    match reply.status {
        200..300 => ImageAnswer::Found(reply.headers.get("docker-content-digest").and_then(|v| {
            let digest = v.to_str().ok()?;
            (digest.len() <= 200).then(|| digest.to_owned())
        })),
        404 => ImageAnswer::Missing,
        401 | 403 => ImageAnswer::Denied,
        status => ImageAnswer::NoAnswer(format!("the registry answered {status}")),
    }
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Challenge {
    fn parse(header: &str) -> Option<Self> {
        let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Challenge::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let mut fields = HashMap::new();
        let mut rest = rest.trim_start();
        while let Some((name, after)) = rest.split_once('=') {
            let (value, tail) = match after.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"')?,
                None => after.split_at(after.find(',').unwrap_or(after.len())),
            };
            fields.insert(name.trim().to_ascii_lowercase(), value.to_owned());
            rest = tail.trim_start_matches([',', ' ']);
        }
        let realm =
            fields.remove("realm").filter(|r| r.starts_with("https://") || r.starts_with("http://"))?;
        Some(Challenge::Bearer { realm, service: fields.remove("service"), scope: fields.remove("scope") })
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
