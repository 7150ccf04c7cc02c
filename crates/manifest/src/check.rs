//! Rules for single texts: hosts, images, paths, variables. Each says what is wrong and what is right.

use berth_model::stack::Https;

/// What is wrong, and what to do.
pub(crate) type Wrong = (String, String);

fn wrong<T>(message: impl Into<String>, help: impl Into<String>) -> Result<T, Wrong> {
    Err((message.into(), help.into()))
}

fn shown(text: &str) -> String {
    let mut short: String = text.chars().take(80).flat_map(char::escape_debug).collect();
    if text.chars().count() > 80 {
        short.push('…');
    }
    short
}

/// A host name, lower case and without the last dot.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn host(text: &str) -> Result<String, Wrong> {
    const EXAMPLE: &str = "write one like shop.example.com";
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    if name.is_empty() {
        return wrong("a host name may not be empty", EXAMPLE);
    }
    let quoted = shown(text);
    if name.contains("://") {
        return wrong(format!("'{quoted}' is a URL, not a host name"), "leave out the scheme");
    }
    if !name.is_ascii() {
        return wrong(format!("'{quoted}' is not a host name"), "write international names as xn--…");
    }
    if name.len() > 253 {
        return wrong(format!("the host name '{quoted}' is longer than 253 characters"), "shorten it");
    }
    if name.contains(':') {
        return wrong(format!("'{quoted}' is not a host name"), "the port inside the container is 'port:'");
    }
    if name.contains('*') {
        return wrong(
            format!("'{quoted}' is not a host name"),
            "a wildcard cannot lead to an app; name each host",
        );
    }
    for label in name.split('.') {
        if label.is_empty() {
            return wrong(
                format!("'{quoted}' is not a host name: there is nothing between two dots"),
                EXAMPLE,
            );
        }
        if label.len() > 63 {
            return wrong(
                format!("a part of the host name '{quoted}' is longer than 63 characters"),
                "shorten it",
            );
        }
        if label.starts_with('-') || label.ends_with('-') {
            return wrong(format!("'{quoted}' is not a host name: a part begins or ends with '-'"), EXAMPLE);
        }
        if !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            let help = "parts hold only letters, digits and '-'";
            return wrong(format!("'{quoted}' is not a host name"), help);
        }
    }
    if !name.contains('.') && name != "localhost" {
        return wrong(format!("'{quoted}' is not a full host name"), EXAMPLE);
    }
    Ok(name)
}

/// A path of a URL.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn url_path(text: &str) -> Result<String, Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:@".contains(&b);
    if !text.starts_with('/') {
        return wrong(format!("the path '{}' does not begin with '/'", shown(text)), "write one like /api");
    }
    if !text.bytes().all(good) {
        let what = shown(
            &text.chars().find(|c| !c.is_ascii() || !good(*c as u8)).map_or(String::new(), String::from),
        );
        return wrong(
            format!("the path '{}' may not hold '{what}'", shown(text)),
            "write it percent-encoded",
        );
    }
    if text.len() > 1024 {
        return wrong("the path is longer than 1024 characters", "shorten it");
    }
    Ok(text.to_owned())
}

/// A path of a request: a URL path, perhaps with a query.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn request_path(text: &str) -> Result<String, Wrong> {
    let (path, query) = text.split_once('?').unwrap_or((text, ""));
    url_path(path)?;
    if !query.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        return wrong(
            format!("the query of '{}' is not percent-encoded", shown(text)),
            "write it percent-encoded",
        );
    }
    Ok(text.to_owned())
}

/// Certificates of a host.
///
/// # Errors
/// The word is no resolver's name.
pub(crate) fn https(text: &str) -> Result<Https, Wrong> {
    match text {
        "none" | "false" => Ok(Https::None),
        "letsencrypt" => Ok(Https::LetsEncrypt),
        "true" => wrong("https names a resolver", "write letsencrypt, none, or the name of a resolver"),
        _ if !text.is_empty()
            && text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') =>
        {
            Ok(Https::Resolver(text.to_owned()))
        }
        _ => wrong(
            format!("'{}' is not the name of a certificate resolver", shown(text)),
            "write letsencrypt, none, or a resolver's name of letters, digits, '-' and '_'",
        ),
    }
}

/// An image reference.
///
/// # Errors
/// The part that is malformed.
pub(crate) fn image(text: &str) -> Result<(), Wrong> {
    const EXAMPLE: &str = "write one like registry.example.com/team/app:1.2";
    let quoted = shown(text);
    if text.is_empty() {
        return wrong("the image may not be empty", EXAMPLE);
    }
    if text.len() > 512 {
        return wrong("the image reference is longer than 512 characters", EXAMPLE);
    }
    if text.contains("://") {
        return wrong(format!("'{quoted}' is a URL, not an image"), "leave out the scheme");
    }
    let (rest, digest) = text.split_once('@').map_or((text, None), |(r, d)| (r, Some(d)));
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or("");
        if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            let help = "a digest is sha256: and 64 hexadecimal characters";
            return wrong(format!("'{quoted}' has a malformed digest"), help);
        }
    }
    let (head, path) = match rest.split_once('/') {
        Some((head, path)) if head.contains(['.', ':']) || head == "localhost" => (Some(head), path),
        _ => (None, rest),
    };
    if let Some(head) = head {
        registry(head).map_err(|(_, help)| (format!("'{quoted}' has a malformed registry"), help))?;
    }
    let (name, tag) = path.rsplit_once(':').map_or((path, None), |(n, t)| (n, Some(t)));
    if let Some(tag) = tag {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
        let begins = tag.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !begins || tag.len() > 128 || !tag.bytes().all(good) {
            let help = "a tag has 1 to 128 letters, digits, '_', '.' and '-'";
            return wrong(format!("'{quoted}' has a malformed tag"), help);
        }
    }
    for part in name.split('/') {
        if part.bytes().any(|b| b.is_ascii_uppercase()) {
            let help = format!("an image's name is lower case: {}", shown(&text.to_ascii_lowercase()));
            return wrong(format!("'{quoted}' is not an image"), help);
        }
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-');
        let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if !part.bytes().all(good) || !ends(part.bytes().next()) || !ends(part.bytes().last()) {
            return wrong(format!("'{quoted}' is not an image"), EXAMPLE);
        }
    }
    Ok(())
}

/// A registry: host and perhaps port.
///
/// # Errors
/// The part that is malformed.
pub(crate) fn registry(text: &str) -> Result<(), Wrong> {
    let (name, port) = text.split_once(':').map_or((text, None), |(n, p)| (n, Some(p)));
    let port_ok =
        port.is_none_or(|p| p.parse::<u16>().is_ok_and(|n| n > 0) && p.bytes().all(|b| b.is_ascii_digit()));
    let simple = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !port_ok || !(simple || host(name).is_ok()) {
        let help = "a registry is a host name, perhaps with a port: registry.example.com:5000";
        return wrong(format!("'{}' is not a registry", shown(text)), help);
    }
    Ok(())
}

/// A variable's name.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn env_key(text: &str) -> Result<(), Wrong> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if !begins || text.len() > 256 || !text.bytes().all(good) {
        let help =
            "a variable's name begins with a letter or '_' and holds letters, digits, '_', '.' and '-'";
        return wrong(format!("'{}' is not a name for a variable", shown(text)), help);
    }
    Ok(())
}

/// The name of a given secret.
///
/// # Errors
/// The rule that it breaks. The text is not repeated: it may be the secret itself.
pub(crate) fn secret_name(text: &str) -> Result<(), Wrong> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if text.is_empty() || text.len() > 128 || !text.bytes().all(good) {
        let help =
            "it has 1 to 128 letters, digits, '_', '.' and '-', and is the name of a secret, not the secret";
        return wrong("this is not the name of a secret", help);
    }
    Ok(())
}

/// An absolute path, inside a container or on a server.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn absolute_path(text: &str) -> Result<String, Wrong> {
    let quoted = shown(text);
    let clean = if text.len() > 1 { text.trim_end_matches('/') } else { text };
    if !text.starts_with('/') {
        return wrong(format!("the path '{quoted}' is not absolute"), "begin it with '/'");
    }
    if clean.is_empty() || clean == "/" {
        return wrong("'/' itself cannot be mounted", "name a directory below it");
    }
    if clean.split('/').skip(1).any(|part| matches!(part, "" | "." | "..")) {
        return wrong(
            format!("the path '{quoted}' holds an empty part, '.' or '..'"),
            "write it out in full",
        );
    }
    if clean.len() > 1024
        || clean.chars().any(|c| c.is_control() || matches!(c, ':' | ',' | '"' | '\'' | '\\' | '`'))
    {
        let help = "it may not hold ':', ',', quotes, '\\' or control characters";
        return wrong(format!("the path '{quoted}' cannot be mounted"), help);
    }
    Ok(clean.to_owned())
}

/// Where a file with content is kept on the server, from its path in the container.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn file_path(container: &str) -> Result<String, Wrong> {
    let path = container.trim_start_matches('/');
    if !path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+@=".contains(&b)) {
        let help = "the path of a file holds only letters, digits and any of / . _ - + @ =";
        return wrong(format!("the path '{}' cannot be kept on the server", shown(container)), help);
    }
    Ok(path.to_owned())
}

/// The name of a volume.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn volume(text: &str) -> Result<(), Wrong> {
    let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if text.starts_with('/') {
        let help = "a directory of the server goes under 'binds'";
        return wrong(format!("'{}' is a path, not the name of a volume", shown(text)), help);
    }
    if !begins || text.len() < 2 || text.len() > 128 || !text.bytes().all(good) {
        let help = "it has 2 to 128 letters, digits, '_', '.' and '-', and begins with a letter or digit";
        return wrong(format!("'{}' is not the name of a volume", shown(text)), help);
    }
    Ok(())
}

/// A label's key.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn label(text: &str) -> Result<(), Wrong> {
    if text == "berth.dev" || text.starts_with("berth.dev/") {
        return wrong(
            format!("the label '{}' is reserved", shown(text)),
            "labels berth.dev/… are Berth's own",
        );
    }
    if text.is_empty()
        || text.len() > 256
        || !text.bytes().all(|b| b.is_ascii_graphic() && b != b'=' && b != b'"')
    {
        let help = "a label's key is printable text without spaces, '=' and quotes";
        return wrong(format!("'{}' is not a key for a label", shown(text)), help);
    }
    Ok(())
}

/// A name that Dokploy shows: of a project or an environment.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn display_name(text: &str, what: &str) -> Result<(), Wrong> {
    if text.is_empty()
        || text.trim() != text
        || text.chars().count() > 100
        || text.chars().any(char::is_control)
    {
        let help = "it has 1 to 100 characters, no control characters, and no blank at either end";
        return wrong(format!("'{}' cannot name {what}", shown(text)), help);
    }
    Ok(())
}

/// An application's name in Dokploy.
///
/// # Errors
/// The rule that it breaks.
pub(crate) fn dokploy_name(text: &str) -> Result<(), Wrong> {
    display_name(text, "an application")?;
    if text.starts_with("dokploy-") {
        let help = "Dokploy keeps names that begin so for itself";
        return wrong(format!("'{}' begins with 'dokploy-'", shown(text)), help);
    }
    Ok(())
}

/// `200` or `200-399`.
///
/// # Errors
/// The text is neither.
pub(crate) fn statuses(text: &str) -> Result<(u16, u16), Wrong> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| t.trim().parse::<u16>().ok().filter(|n| (100..=599).contains(n));
    match (number(low), number(high)) {
        (Some(low), Some(high)) if low <= high => Ok((low, high)),
        _ => wrong(format!("'{}' is not a range of statuses", shown(text)), "write 200 or 200-399"),
    }
}

/// A path under `drift:`.
///
/// # Errors
/// It names no field.
pub(crate) fn drift_path(text: &str) -> Result<(), Wrong> {
    const FIELDS: &[&str] = &[
        "name",
        "source",
        "image",
        "registry",
        "env",
        "command",
        "args",
        "replicas",
        "resources",
        "labels",
        "health",
        "update",
        "stopGrace",
        "autoDeploy",
        "hosts",
        "volumes",
        "binds",
        "files",
        "mounts",
        "ports",
    ];
    let head = text.split('.').next().unwrap_or("");
    if text.is_empty() || FIELDS.contains(&head) {
        return Ok(());
    }
    let help = crate::read::suggest(head, FIELDS.iter().copied(), "fields");
    wrong(format!("'{}' is no field of an app", shown(text)), help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(host("Shop.Example.com."), Ok("shop.example.com".to_owned()));
        for bad in [
            "",
            ".",
            "a..b",
            "-a.b",
            "a-.b",
            "a_b.c",
            "shop",
            "https://a.b",
            "a.b:80",
            "*.a.b",
            "ä.b",
            "a b.c",
        ] {
            assert!(host(bad).is_err(), "{bad}");
        }
        assert!(host(&format!("{}.b", "a".repeat(64))).is_err());
        assert!(host(&format!("{}b", "a.".repeat(130))).is_err());
    }

    #[test]
    fn images() {
        let digest = format!("r/a@sha256:{}", "0".repeat(64));
        for good in [
            "nginx",
            "r/api:7",
            "git.app.flexinit.nl/a/b-c:latest",
            "localhost/a",
            "r:5000/a/b:v1.2_3",
            &digest,
        ] {
            assert_eq!(image(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "Nginx",
            "a b",
            "a:",
            "a:b c",
            "a@sha256:1",
            "https://a/b",
            "/a",
            "a/",
            "a//b",
            "r:x/a",
            "-a",
            "{a}",
        ] {
            assert!(image(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn paths() {
        assert_eq!(absolute_path("/a/b/"), Ok("/a/b".to_owned()));
        for bad in ["", "/", "a", "/a/../b", "/a//b", "/a:b", "/./a", "/a\n"] {
            assert!(absolute_path(bad).is_err(), "{bad}");
        }
        assert_eq!(file_path("/etc/x.conf"), Ok("etc/x.conf".to_owned()));
        assert!(file_path("/etc/a b").is_err());
        assert!(url_path("/a b").is_err() && url_path("a").is_err() && url_path("/a?b").is_err());
        assert!(request_path("/a?b=1").is_ok());
    }

    #[test]
    fn other_texts() {
        assert_eq!(statuses("200-399"), Ok((200, 399)));
        assert_eq!(statuses("204"), Ok((204, 204)));
        assert!(statuses("399-200").is_err() && statuses("99").is_err() && statuses("2xx").is_err());
        assert!(
            env_key("A_1").is_ok()
                && env_key("1A").is_err()
                && env_key("A B").is_err()
                && env_key("").is_err()
        );
        assert!(volume("a").is_err() && volume("/a").is_err() && volume("a_b").is_ok());
        assert!(label("berth.dev/x").is_err() && label("a.b/c").is_ok() && label("").is_err());
        assert!(
            dokploy_name("dokploy-x").is_err() && dokploy_name("").is_err() && dokploy_name("a b").is_ok()
        );
        assert!(drift_path("env.A").is_ok() && drift_path("replica").is_err() && drift_path("").is_ok());
        assert_eq!(https("none"), Ok(Https::None));
        assert!(https("a b").is_err() && https("").is_err() && https("true").is_err());
    }
}
