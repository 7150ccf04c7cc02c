//! The registry look-up against a registry made of a closure.

use super::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

type Answerer = Box<dyn Fn(&http::Request<Bytes>) -> http::Response<Bytes> + Send + Sync>;

struct Fake {
    answer: Answerer,
    asked: AtomicUsize,
}

impl Transport for Fake {
    async fn send(&self, request: http::Request<Bytes>) -> Result<http::Response<Bytes>, TransportError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        Ok((self.answer)(&request))
    }
}

fn registry(
    answer: impl Fn(&http::Request<Bytes>) -> http::Response<Bytes> + Send + Sync + 'static,
) -> (ImageRegistry<Arc<Fake>>, Arc<Fake>) {
    let fake = Arc::new(Fake { answer: Box::new(answer), asked: AtomicUsize::new(0) });
    (ImageRegistry::new(fake.clone()), fake)
}

fn reply(status: u16, headers: &[(&str, &str)], body: &'static str) -> http::Response<Bytes> {
    let mut r = http::Response::builder().status(status);
    for (n, v) in headers {
        r = r.header(*n, *v);
    }
    r.body(Bytes::from_static(body.as_bytes())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_fetched_and_a_found_image_is_kept() {
    let (registry, fake) = registry(|request| match request.uri().host().unwrap() {
        "auth.example" => {
            assert!(request.uri().query().unwrap().contains("service=reg"));
            assert!(request.headers()["authorization"].to_str().unwrap().starts_with("Basic "));
            reply(200, &[], r#"{"token":"T"}"#)
        }
        _ if request.headers().get("authorization").is_some_and(|v| v == "Bearer T") => {
            reply(200, &[("docker-content-digest", "sha256:1")], "")
        }
        _ => reply(
            401,
            &[(
                "www-authenticate",
                r#"Bearer realm="https://auth.example/token",service="reg",scope="repository:a/b:pull""#,
            )],
            "",
        ),
    });
    let password = Secret::new("hunter2");
    let auth = Some(("me", &password));
    for _ in 0..2 {
        assert_eq!(registry.image("ghcr.io/a/b:1", auth).await, ImageAnswer::Found(Some("sha256:1".into())));
    }
    assert_eq!(fake.asked.load(Ordering::Relaxed), 3);
    tokio::time::advance(KEEP).await;
    registry.image("ghcr.io/a/b:1", auth).await;
    assert_eq!(fake.asked.load(Ordering::Relaxed), 6);
}

#[tokio::test(start_paused = true)]
async fn every_other_answer_has_its_word() {
    let table = [
        (reply(404, &[], ""), ImageAnswer::Missing),
        (reply(403, &[], ""), ImageAnswer::Denied),
        (reply(401, &[], ""), ImageAnswer::Denied),
        (reply(401, &[("www-authenticate", "Basic realm=\"x\"")], ""), ImageAnswer::Denied),
        (reply(500, &[], ""), ImageAnswer::NoAnswer("the registry answered 500".into())),
        (reply(200, &[], ""), ImageAnswer::Found(None)),
    ];
    for (answer, expected) in table {
        let (registry, _) = registry(move |_| {
            let mut copy = http::Response::builder().status(answer.status());
            *copy.headers_mut().unwrap() = answer.headers().clone();
            copy.body(Bytes::new()).unwrap()
        });
        assert_eq!(registry.image("nginx", None).await, expected);
    }
    let (registry, fake) = registry(|_| reply(200, &[], ""));
    assert!(matches!(registry.image("Not An Image", None).await, ImageAnswer::NoAnswer(_)));
    assert_eq!(fake.asked.load(Ordering::Relaxed), 0);
}

#[test]
fn challenges() {
    assert_eq!(
        Challenge::parse(r#"Bearer realm="https://a/t?x=1",scope="a:b,c""#),
        Some(Challenge::Bearer {
            realm: "https://a/t?x=1".into(),
            service: None,
            scope: Some("a:b,c".into())
        })
    );
    assert_eq!(Challenge::parse("Basic realm=x"), Some(Challenge::Basic));
    for bad in ["", "Digest x", "Bearer", "Bearer realm=\"ftp://x\"", "Bearer realm=\"unclosed"] {
        assert_eq!(Challenge::parse(bad), None, "{bad}");
    }
}
