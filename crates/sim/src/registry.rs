//! The image registry's HTTP face. It must never know a tag that no image was declared for.

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use serde_json::{Value, json};

use crate::image::Images;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn build(status: StatusCode, kind: &str, digest: Option<&str>, body: &Value) -> Response<Bytes> {
    let mut out = Response::new(Bytes::from(body.to_string()));
    *out.status_mut() = status;
    let mut set = |name: header::HeaderName, value: &str| {
        if let Ok(value) = header::HeaderValue::from_str(value) {
            out.headers_mut().insert(name, value);
        }
    };
    set(header::CONTENT_TYPE, kind);
    set(header::HeaderName::from_static("docker-distribution-api-version"), "registry/2.0");
    if let Some(digest) = digest {
        set(header::HeaderName::from_static("docker-content-digest"), digest);
    }
    out
}

pub(crate) fn answer(images: &Images, registry: &str, request: &Request<Bytes>) -> Response<Bytes> {
    let json = "application/json";
    let error = |status, code: &str, message: &str| {
        let body = json!({"errors": [{"code": code, "message": message, "detail": null}]});
        build(status, json, None, &body)
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return error(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", "The operation is unsupported.");
    }
    let path = request.uri().path();
    if path == "/v2/" || path == "/v2" {
        return build(StatusCode::OK, json, None, &json!({}));
    }
    let parsed = path.strip_prefix("/v2/").and_then(|rest| rest.split_once("/manifests/"));
    let Some((name, reference)) = parsed else {
        return error(StatusCode::NOT_FOUND, "NAME_UNKNOWN", "repository name not known to registry");
    };
    let Some(digest) = images.manifest(registry, name, reference) else {
        return error(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "manifest unknown");
    };
    let body = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": {"digest": digest}, "layers": []});
    let mut out = build(StatusCode::OK, MANIFEST, Some(&digest), &body);
    if request.method() == Method::HEAD {
        *out.body_mut() = Bytes::new();
    }
    out
}
