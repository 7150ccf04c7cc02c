//! Names as text: absolute, lower-case, with their dot. It must never know what stands at a name.

/// The absolute form of a full name.
pub(crate) fn absolute(name: &str) -> String {
    let mut out = name.trim_end_matches('.').to_ascii_lowercase();
    out.push('.');
    out
}

/// The name itself or one below it.
pub(crate) fn within(name: &str, zone: &str) -> bool {
    zone == "." || name == zone || name.strip_suffix(zone).is_some_and(|rest| rest.ends_with('.'))
}

/// A full name from what is relative to a zone; `@` is the zone's own.
pub(crate) fn expand(name: &str, zone: &str) -> String {
    if name == "@" || name.is_empty() {
        return zone.to_owned();
    }
    format!("{}.{zone}", name.to_ascii_lowercase())
}

/// What is left of a name in its zone; `@` for the zone's own.
pub(crate) fn relative(name: &str, zone: &str) -> String {
    match name.strip_suffix(zone).map(|rest| rest.trim_end_matches('.')) {
        Some("") => "@".to_owned(),
        Some(rest) => rest.to_owned(),
        None => name.to_owned(),
    }
}

/// The name one label up.
pub(crate) fn parent(name: &str) -> Option<&str> {
    let (_, rest) = name.split_once('.')?;
    (!rest.is_empty()).then_some(rest)
}

/// Labels of at most 63 bytes, none empty, 253 in all.
pub(crate) fn well_formed(name: &str) -> bool {
    let name = name.trim_end_matches('.');
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*".contains(&b))
            && (l == "*" || !l.contains('*'))
    };
    name.len() <= 253 && name.split('.').all(label)
}
