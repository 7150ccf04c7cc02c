//! Image references, read by docker's rules. Pure.

/// A reference, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The registry's host as docker names it: `docker.io`, `ghcr.io`, `localhost:5000`.
    pub registry: String,
    /// The repository in it: `library/nginx`.
    pub repository: String,
    /// `latest` where none is given.
    pub tag: String,
    /// `sha256:…`; wins over the tag.
    pub digest: Option<String>,
}

impl Reference {
    /// Reads one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong =
            |why: &str| Err(format!("'{}' is not an image reference: {why}", crate::redact::cap(text, 120)));
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.len() > 500 || text.bytes().any(|b| !b.is_ascii_graphic()) {
            return wrong("it holds white space, is not ASCII, or is longer than 500 characters");
        }
        if text.contains("://") {
            return wrong("write it without http:// or https://");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let good = digest.split_once(':').is_some_and(|(algorithm, hex)| {
                    !algorithm.is_empty()
                        && hex.len() >= 32
                        && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
                });
                if !good {
                    return wrong("what follows '@' is not a digest");
                }
                (rest, Some(digest.to_owned()))
            }
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => {
                let mut bytes = tag.bytes();
                let good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
                    && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
                    && tag.len() <= 128;
                if !good {
                    return wrong("what follows ':' is not a tag");
                }
                (name, tag)
            }
            _ => (rest, "latest"),
        };
        let is_host = |first: &str| first.contains(['.', ':']) || first == "localhost";
        let (registry, repository) = match name.split_once('/') {
            Some((first, rest)) if is_host(first) => (first, rest.to_owned()),
            Some(_) => ("docker.io", name.to_owned()),
            None => ("docker.io", format!("library/{name}")),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let host_good = registry.bytes().all(|b| b.is_ascii_alphanumeric() || b".-:[]".contains(&b));
        if !host_good || !repository.split('/').all(component) {
            return wrong("a name has lower-case letters and digits, with '.', '_' or '-' between them");
        }
        let repository = if registry == "docker.io" && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository
        };
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.to_owned(), digest })
    }

    /// What the manifest's URL ends in.
    #[must_use]
    pub fn version(&self) -> &str {
        self.digest.as_deref().unwrap_or(&self.tag)
    }

    /// Where the registry's API is.
    #[must_use]
    pub fn origin(&self) -> String {
        let host = if self.registry == "docker.io" { "registry-1.docker.io" } else { &self.registry };
        let bare = host.rsplit_once(':').map_or(host, |(h, _)| h);
        // Docker itself speaks plain HTTP to a registry on the same machine.
        let plain = bare == "localhost" || bare.starts_with("127.") || bare == "[::1]";
        format!("{}://{host}", if plain { "http" } else { "https" })
    }
}

/// One component of a repository's name.
fn component(text: &str) -> bool {
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether a text is an image reference.
///
/// # Errors
/// What is wrong with it.
pub fn check_reference(text: &str) -> Result<(), String> {
    Reference::parse(text).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let with_digest = format!("ghcr.io/a/b:1@{digest}");
        let table: &[(&str, &str, &str, &str)] = &[
            ("nginx", "https://registry-1.docker.io", "library/nginx", "latest"),
            ("nginx:1.27-alpine", "https://registry-1.docker.io", "library/nginx", "1.27-alpine"),
            ("docker.io/nginx", "https://registry-1.docker.io", "library/nginx", "latest"),
            ("grafana/grafana:11", "https://registry-1.docker.io", "grafana/grafana", "11"),
            ("ghcr.io/a/b/c", "https://ghcr.io", "a/b/c", "latest"),
            ("127.0.0.1:5000/busybox:local", "http://127.0.0.1:5000", "busybox", "local"),
            ("localhost/x", "http://localhost", "x", "latest"),
            ("reg.example:8443/x/y:2", "https://reg.example:8443", "x/y", "2"),
            (&with_digest, "https://ghcr.io", "a/b", &digest),
        ];
        for (text, origin, repository, version) in table {
            let r = Reference::parse(text).unwrap();
            assert_eq!(
                (r.origin().as_str(), r.repository.as_str(), r.version()),
                (*origin, *repository, *version),
                "{text}"
            );
        }
        for bad in [
            "",
            "UPPER",
            "a b",
            "https://x/y",
            "x:",
            "x:-a",
            "x@sha256:zz",
            "a//b",
            "-a",
            "a/",
            "/a",
            "ghcr.io/",
            "x:a:b/",
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad}");
        }
    }
}
