//! Human units: `512Mi` of memory, `0.5` of a processor, `30s` of time. A number without its unit is an error
//! where a unit is needed.

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// An amount of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

/// A share of processors, in billionths of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NanoCpus(pub u64);

const BINARY: [(&str, u64); 4] = [("Ti", 1 << 40), ("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1 << 10)];
const DECIMAL: [(&str, u64); 4] =
    [("T", 1_000_000_000_000), ("G", 1_000_000_000), ("M", 1_000_000), ("k", 1_000)];

/// Splits a decimal number from its unit and multiplies exactly; no floating point, so `0.1` is a tenth.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || part.len() > 9 || (number.contains('.') && part.is_empty()) {
        return None;
    }
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(part) || whole.len() > 18 {
        return None;
    }
    let tens = 10u128.pow(u32::try_from(part.len()).ok()?);
    let value =
        whole.parse::<u128>().ok()? * tens + if part.is_empty() { 0 } else { part.parse::<u128>().ok()? };
    let product = value * u128::from(scale);
    (product % tens == 0).then_some(product / tens).and_then(|v| u64::try_from(v).ok())
}

/// Reads `512Mi`, `1Gi`, `1.5G`.
///
/// # Errors
/// What is wrong and an example of what is right.
pub fn parse_bytes(text: &str) -> Result<Bytes, String> {
    let unit = BINARY.iter().chain(&DECIMAL).find_map(|(u, s)| text.strip_suffix(u).map(|n| (n, *s)));
    match unit {
        Some((number, scale)) => scaled(number, scale)
            .filter(|v| *v > 0)
            .map(Bytes)
            .ok_or_else(|| format!("'{text}' is not an amount of memory; write one like 512Mi")),
        None if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
            Err(format!("'{text}' has no unit; write one like {text}Mi"))
        }
        None => Err(format!("'{text}' is not an amount of memory; write one like 512Mi")),
    }
}

/// Reads `0.5`, `2`, `250m`.
///
/// # Errors
/// What is wrong and an example of what is right.
pub fn parse_cpus(text: &str) -> Result<NanoCpus, String> {
    let (number, scale) = text.strip_suffix('m').map_or((text, 1_000_000_000), |n| (n, 1_000_000));
    scaled(number, scale)
        .filter(|v| *v > 0)
        .map(NanoCpus)
        .ok_or_else(|| format!("'{text}' is not a share of processors; write one like 0.5 or 500m"))
}

/// Reads `30s`, `5m`, `72h`, `250ms`, `7d`.
///
/// # Errors
/// What is wrong and an example of what is right.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    const UNITS: [(&str, u64); 5] =
        [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let unit = UNITS.iter().find_map(|(u, s)| text.strip_suffix(u).map(|n| (n, *s)));
    match unit {
        Some((number, scale)) => scaled(number, scale)
            .map(Duration::from_millis)
            .ok_or_else(|| format!("'{text}' is not a duration; write one like 30s")),
        None if text.bytes().all(|b| b.is_ascii_digit()) && !text.is_empty() => {
            Err(format!("'{text}' has no unit; write one like {text}s"))
        }
        None => Err(format!("'{text}' is not a duration; write one like 30s, 5m or 72h")),
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BINARY.iter().chain(&DECIMAL).find(|(_, s)| self.0 >= *s && self.0.is_multiple_of(*s)) {
            Some((unit, scale)) => write!(f, "{}{unit}", self.0 / scale),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl fmt::Display for NanoCpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1_000_000_000, self.0 % 1_000_000_000);
        if part == 0 {
            return write!(f, "{whole}");
        }
        write!(f, "{whole}.{}", format!("{part:09}").trim_end_matches('0'))
    }
}

/// Writes a duration as a person would: `90s`, `5m`, `250ms`.
#[must_use]
pub fn show_duration(d: Duration) -> String {
    let ms = d.as_millis();
    match ms {
        0 => "0s".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ if ms > 1_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{ms}ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_read() {
        assert_eq!(parse_bytes("512Mi"), Ok(Bytes(512 << 20)));
        assert_eq!(parse_bytes("1.5Gi"), Ok(Bytes(3 << 29)));
        assert_eq!(parse_bytes("500M"), Ok(Bytes(500_000_000)));
        assert_eq!(parse_cpus("0.5"), Ok(NanoCpus(500_000_000)));
        assert_eq!(parse_cpus("250m"), Ok(NanoCpus(250_000_000)));
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1.5h"), Ok(Duration::from_secs(5400)));
        assert!(parse_bytes("512").unwrap_err().contains("no unit"));
        assert!(parse_duration("5").unwrap_err().contains("write one like 5s"));
        for bad in ["", "Mi", "x", "-1Mi", "1e3Mi", "0Mi", "99999999999999999999Ti", "1.Mi", ".5Mi"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        for bad in ["", "0", "m", "-1", "1.2.3", "0.0000000001"] {
            assert!(parse_cpus(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn units_show() {
        assert_eq!(Bytes(512 << 20).to_string(), "512Mi");
        assert_eq!(Bytes(500_000_000).to_string(), "500M");
        assert_eq!(NanoCpus(1_250_000_000).to_string(), "1.25");
        assert_eq!(show_duration(Duration::from_millis(1_250)), "1.2s");
        assert_eq!(show_duration(Duration::from_secs(120)), "2m");
    }
}
