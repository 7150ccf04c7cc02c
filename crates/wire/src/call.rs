//! One call and its answer as the client sees them, and the contract of the judge who says what an answer means.

use berth_ports::PortError;
use bytes::Bytes;
use std::borrow::Cow;
use std::time::Duration;

/// A call to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// What it is called in spans and metrics: one of a fixed set.
    pub procedure: Cow<'static, str>,
    /// How.
    pub method: http::Method,
    /// The path, from `/`.
    pub path: Cow<'static, str>,
    /// Names and values of the query, not yet encoded.
    pub query: Vec<(Cow<'static, str>, String)>,
    /// A JSON body. `None` sends none and no content type.
    pub body: Option<Bytes>,
    /// Whether sending it twice does what sending it once does.
    pub idempotent: bool,
    /// Which way it goes.
    pub lane: Lane,
}

/// Which way a call goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Changes nothing, so it may be sent again.
    Read,
    /// A read that nobody waits for: one in flight at a time.
    Slow,
    /// A read of a whole fleet, which may take long: one place is left for what takes little.
    List,
    /// Changes something.
    Write,
}

impl Call {
    /// A read.
    #[must_use]
    pub fn get(procedure: impl Into<Cow<'static, str>>, path: impl Into<Cow<'static, str>>) -> Self {
        Self {
            procedure: procedure.into(),
            method: http::Method::GET,
            path: path.into(),
            query: Vec::new(),
            body: None,
            idempotent: true,
            lane: Lane::Read,
        }
    }

    /// A write.
    #[must_use]
    pub fn post(
        procedure: impl Into<Cow<'static, str>>,
        path: impl Into<Cow<'static, str>>,
        body: Bytes,
    ) -> Self {
        Self {
            procedure: procedure.into(),
            method: http::Method::POST,
            path: path.into(),
            query: Vec::new(),
            body: Some(body),
            idempotent: false,
            lane: Lane::Write,
        }
    }

    /// A write that says the same again when it is repeated, by any method.
    #[must_use]
    pub fn write(
        method: http::Method,
        procedure: impl Into<Cow<'static, str>>,
        path: impl Into<Cow<'static, str>>,
        body: Option<Bytes>,
    ) -> Self {
        Self { method, body, idempotent: true, lane: Lane::Write, ..Self::get(procedure, path) }
    }

    /// With one more query parameter.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// As a read of a whole fleet.
    #[must_use]
    pub fn list(self) -> Self {
        Self { lane: Lane::List, ..self }
    }

    /// Whether an unanswered one may have changed something.
    #[must_use]
    pub fn changes(&self) -> bool {
        self.lane == Lane::Write
    }

    /// Path and query, encoded.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = self.path.to_string();
        for (i, (name, value)) in self.query.iter().enumerate() {
            target.push(if i == 0 { '?' } else { '&' });
            encode(&mut target, name);
            target.push('=');
            encode(&mut target, value);
        }
        target
    }
}

/// Percent-encodes everything but unreserved characters.
fn encode(out: &mut String, text: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b',' | b':') {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// A text as one segment of a path. `*` and `@` stay: they are names of their own in DNS, and no path needs them else.
#[must_use]
pub fn segment(text: &str) -> String {
    let mut out = String::new();
    for part in text.split_inclusive(['*', '@']) {
        let plain = part.trim_end_matches(['*', '@']);
        encode(&mut out, plain);
        out.push_str(&part[plain.len()..]);
    }
    out
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// Its body, complete.
    pub body: Bytes,
}

impl Reply {
    /// A header as text.
    #[must_use]
    pub fn header(&self, name: http::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// What an answer means when it is not a good one. The text in `error` is already redacted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// For the caller.
    pub error: PortError,
    /// Worth sending again within this call. Obeyed only where that can do no harm.
    pub again: bool,
    /// It says that the key is not let in, or that the server is not there: what the breaker counts.
    pub counts: Counts,
}

/// What the breaker makes of a bad answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counts {
    /// The server answered: that is a good sign.
    Answered,
    /// As good as no answer.
    NoAnswer,
    /// The key was not let in.
    NotLetIn,
}

impl Verdict {
    /// An error that another try will not mend.
    #[must_use]
    pub fn last(error: PortError) -> Self {
        Self { error, again: false, counts: Counts::Answered }
    }

    /// Worth another try within the call.
    #[must_use]
    pub fn again(error: PortError) -> Self {
        Self { error, again: true, counts: Counts::Answered }
    }
}

/// Reads answers. Pure.
pub trait Judge: Send + Sync + 'static {
    /// `Ok` for a good answer, else what is wrong with it.
    ///
    /// # Errors
    /// The verdict on a bad answer.
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict>;
}

impl<F: Fn(&Call, &Reply) -> Result<(), Verdict> + Send + Sync + 'static> Judge for F {
    fn judge(&self, call: &Call, reply: &Reply) -> Result<(), Verdict> {
        self(call, reply)
    }
}

/// `Retry-After` as a span of time: seconds, or a date read against the answer's own `Date`, so that no two clocks are
/// compared.
#[must_use]
pub fn retry_after(reply: &Reply) -> Option<Duration> {
    let text = reply.header(http::header::RETRY_AFTER)?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let at = http_date(text)?;
    let now = http_date(reply.header(http::header::DATE)?)?;
    Some(Duration::from_secs(u64::try_from(at.saturating_sub(now)).unwrap_or(0)))
}

/// How long a server that counts calls wants to be left alone: by `Retry-After`, or by one of the forms in which the
/// end of the count is told: seconds from now, an HTTP date, or the second of 1970 at which all calls will be there
/// again (the first of them is there long before). What is a time of day is read against the answer's own `Date`.
#[must_use]
pub fn rate_limit(reply: &Reply) -> Option<Duration> {
    if let Some(after) = retry_after(reply) {
        return Some(after);
    }
    let number =
        |names: [&str; 2]| names.iter().find_map(|n| reply.headers.get(*n)?.to_str().ok()).map(str::trim);
    let reset = number(["ratelimit-reset", "x-ratelimit-reset"])?;
    let now = || http_date(reply.header(http::header::DATE)?);
    let until = |at: i64| Some(Duration::from_secs(u64::try_from(at.saturating_sub(now()?)).unwrap_or(0)));
    match reset.parse::<i64>() {
        Ok(seconds) if seconds < 1_000_000_000 => {
            Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
        }
        Ok(full) => {
            let most = number(["ratelimit-limit", "x-ratelimit-limit"]).and_then(|t| t.parse::<u32>().ok());
            let each = until(full)? / most.unwrap_or(1).max(1);
            Some(each.max(Duration::from_secs(1)))
        }
        Err(_) => until(http_date(reset)?),
    }
}

/// Seconds since 1970 of an HTTP date.
#[must_use]
pub fn http_date(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|z| z.timestamp().as_second())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        let call = Call::get("p", "/api/p").with("input", r#"{"0":{"a b":"ä&="}}"#).with("batch", "1");
        assert_eq!(call.target(), "/api/p?input=%7B%220%22:%7B%22a%20b%22:%22%C3%A4%26%3D%22%7D%7D&batch=1");
    }

    #[test]
    fn segments_keep_the_names_of_dns() {
        let table = [
            ("@", "@"),
            ("*", "*"),
            ("*.dev", "*.dev"),
            ("a/b c", "a%2Fb%20c"),
            ("..", ".."),
            ("a*b@", "a*b@"),
        ];
        for (text, expected) in table {
            assert_eq!(segment(text), expected);
        }
    }

    #[test]
    fn every_form_of_a_limit_is_a_span() {
        let s = |n| Some(Duration::from_secs(n));
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        type Headers<'a> = &'a [(&'static str, &'a str)];
        let table: [(Headers<'_>, Option<Duration>); 8] = [
            (&[("retry-after", "7"), ("x-ratelimit-reset", date)], s(7)),
            (&[("ratelimit-reset", "30")], s(30)),
            (&[("x-ratelimit-reset", "Sun, 06 Nov 1994 08:50:07 GMT"), ("date", date)], s(30)),
            // Full again in an hour, 3600 calls: the next one is there in a second.
            (
                &[("ratelimit-reset", "784115377"), ("ratelimit-limit", "3600"), ("date", date)],
                s(784_115_377),
            ),
            (
                &[
                    ("ratelimit-reset", "1784115377"),
                    ("ratelimit-limit", "3600"),
                    ("date", "Wed, 15 Jul 2026 10:36:17 GMT"),
                ],
                s(1),
            ),
            (
                &[
                    ("ratelimit-reset", "1784115377"),
                    ("ratelimit-limit", "10"),
                    ("date", "Wed, 15 Jul 2026 10:36:17 GMT"),
                ],
                s(360),
            ),
            (&[("ratelimit-reset", "1784115377")], None),
            (&[("ratelimit-reset", "soon")], None),
        ];
        for (headers, expected) in table {
            let headers = headers.iter().map(|(n, v)| (http::HeaderName::from_static(n), v.parse().unwrap()));
            let reply = Reply { status: 429, headers: headers.collect(), body: Bytes::new() };
            assert_eq!(rate_limit(&reply), expected, "{reply:?}");
        }
    }

    #[test]
    fn retry_after_in_both_forms() {
        let reply = |pairs: &[(http::HeaderName, &str)]| Reply {
            status: 429,
            headers: pairs.iter().map(|(n, v)| (n.clone(), v.parse().unwrap())).collect(),
            body: Bytes::new(),
        };
        use http::header::{DATE, RETRY_AFTER};
        assert_eq!(retry_after(&reply(&[(RETRY_AFTER, "7")])), Some(Duration::from_secs(7)));
        assert_eq!(retry_after(&reply(&[])), None);
        assert_eq!(retry_after(&reply(&[(RETRY_AFTER, "soon")])), None);
        let date = [(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:37 GMT"), (DATE, "Sun, 06 Nov 1994 08:49:07 GMT")];
        assert_eq!(retry_after(&reply(&date)), Some(Duration::from_secs(30)));
        let past = [(RETRY_AFTER, "Sun, 06 Nov 1994 08:49:07 GMT"), (DATE, "Sun, 06 Nov 1994 08:49:37 GMT")];
        assert_eq!(retry_after(&reply(&past)), Some(Duration::ZERO));
    }
}
