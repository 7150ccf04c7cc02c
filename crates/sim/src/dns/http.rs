//! A request taken apart, and what all fronts do with it alike. It must never know what a front means by a path.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use serde_json::Value;

use crate::http_api::{Reply, decode, pairs};

#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub method: Method,
    /// Decoded, without empty ones at the ends.
    pub path: Vec<String>,
    pub query: Vec<(String, String)>,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Ask {
    pub(crate) fn new(request: Request<Bytes>) -> Ask {
        let (parts, body) = request.into_parts();
        // A plus is itself in a path.
        let segment = |s: &str| decode(&s.replace('+', "%2B"));
        Ask {
            path: parts.uri.path().trim_matches('/').split('/').map(segment).collect(),
            query: pairs(parts.uri.query().unwrap_or_default()).collect(),
            method: parts.method,
            headers: parts.headers,
            body,
        }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|v| v.to_str().ok())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header(header::AUTHORIZATION.as_str())?.strip_prefix("Bearer ").map(str::trim)
    }

    pub(crate) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn params<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.query.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    /// The path below a prefix, as words.
    pub(crate) fn below(&self, prefix: &[&str]) -> Option<Vec<&str>> {
        let (head, rest) = self.path.split_at_checked(prefix.len())?;
        let same = head.iter().zip(prefix).all(|(a, b)| a == b);
        same.then(|| rest.iter().map(String::as_str).collect())
    }

    /// What the log says of it.
    pub(crate) fn summary(&self) -> String {
        let query: Vec<String> = self.query.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let mut out = format!("{} /{}", self.method, self.path.join("/"));
        if !query.is_empty() {
            out.push('?');
            out.push_str(&query.join("&"));
        }
        if !self.body.is_empty() {
            out.push(' ');
            out.extend(String::from_utf8_lossy(&self.body).chars().take(400));
        }
        out
    }

    pub(crate) fn writes(&self) -> bool {
        self.method != Method::GET && self.method != Method::HEAD
    }
}

/// One page of a list: its rows, and the number of the page and of all pages.
pub(crate) struct Page<T> {
    pub rows: Vec<T>,
    pub page: usize,
    pub per_page: usize,
    pub total: usize,
}

impl<T> Page<T> {
    pub(crate) fn cut(all: Vec<T>, page: usize, per_page: usize) -> Page<T> {
        let total = all.len();
        let rows =
            all.into_iter().skip(page.saturating_sub(1).saturating_mul(per_page)).take(per_page).collect();
        Page { rows, page, per_page, total }
    }

    pub(crate) fn last(&self) -> usize {
        self.total.div_ceil(self.per_page.max(1)).max(1)
    }
}

/// A header more.
pub(crate) fn with(mut reply: Reply, name: &'static str, value: String) -> Reply {
    reply.extra.push((name, value));
    reply
}
