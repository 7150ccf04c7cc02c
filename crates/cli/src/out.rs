//! What is printed: data to stdout, talk to stderr. Styles are always written and taken out again where the stream
//! shows none, so every line must read well without them.

use crate::args::Format;
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use berth_model::Time;
use serde::Serialize;
use std::io::Write;
use std::time::Duration;

pub const BOLD: Style = Style::new().bold();
pub const DIM: Style = Style::new().dimmed();
pub const GOOD: Style = AnsiColor::Green.on_default();
pub const BUSY: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default();
pub const CALM: Style = AnsiColor::Cyan.on_default();

/// The text in a style.
#[must_use]
pub fn paint(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The colour of a plan's sign, by its action.
#[must_use]
pub fn action(action: &str, sign: &str) -> String {
    paint(
        match action {
            "create" => GOOD,
            "update" => BUSY,
            "delete" | "blocked" => BAD,
            "deploy" | "restart" => CALM,
            _ => DIM,
        },
        sign,
    )
}

/// Writes data to stdout.
///
/// # Errors
/// Nobody reads it any more, or the disk is full.
pub fn say(text: &str) -> Result<()> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()?;
    Ok(())
}

/// Writes a value to stdout as JSON or YAML; `text` where neither is asked for.
///
/// # Errors
/// As [`say`].
pub fn data(format: Format, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    match format {
        Format::Text => say(&text()),
        Format::Json => say(&serde_json::to_string_pretty(value)?),
        Format::Yaml => say(&serde_saphyr::to_string(value)?),
    }
}

/// Writes one value of a stream: a line of JSON, a YAML document, or `text`.
///
/// # Errors
/// As [`say`].
pub fn item(format: Format, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<()> {
    match format {
        Format::Text => say(&text()),
        Format::Json => say(&serde_json::to_string(value)?),
        Format::Yaml => say(&format!("---\n{}", serde_saphyr::to_string(value)?)),
    }
}

/// Columns as wide as what stands in them; the last one is as long as it likes.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = |text: &str| console::measure_text_width(text);
    let mut widths: Vec<usize> = head.iter().map(|h| width(h)).collect();
    for row in rows {
        for (at, cell) in row.iter().enumerate() {
            if let Some(w) = widths.get_mut(at) {
                *w = (*w).max(width(cell));
            }
        }
    }
    let mut out = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let mut text = String::new();
        for (at, cell) in cells.enumerate() {
            let fill = widths.get(at).copied().unwrap_or(0).saturating_sub(width(&cell));
            text.push_str(&cell);
            text.push_str(&" ".repeat(fill + 2));
        }
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&mut head.iter().map(|h| paint(DIM, h)));
    for row in rows {
        line(&mut row.iter().cloned());
    }
    out
}

/// How long ago, in one unit.
#[must_use]
pub fn age(then: Time, now: Time) -> String {
    let s = now.since(then).as_secs();
    match s {
        0..120 => format!("{s}s"),
        120..7_200 => format!("{}m", s / 60),
        7_200..172_800 => format!("{}h", s / 3_600),
        _ => format!("{}d", s / 86_400),
    }
}

/// An instant as a person's clock shows it.
#[must_use]
pub fn clock(at: Time) -> String {
    let Ok(instant) = jiff::Timestamp::from_millisecond(at.0) else {
        return "?".to_owned();
    };
    instant.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A short span with one decimal.
#[must_use]
pub fn seconds(span: Duration) -> String {
    format!("{:.1}s", span.as_secs_f64())
}

/// The system's clock.
#[must_use]
pub fn now() -> Time {
    Time(jiff::Timestamp::now().as_millisecond())
}

/// One message of several lines as one line.
#[must_use]
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up_whatever_the_colour() {
        let rows = vec![vec![paint(GOOD, "a"), "x".to_owned()], vec!["long".to_owned(), "y".to_owned()]];
        let plain = anstream::adapter::strip_str(&table(&["N", "M"], &rows)).to_string();
        assert_eq!(plain, "N     M\na     x\nlong  y\n");
    }

    #[test]
    fn ages() {
        let at = |s: i64| age(Time(0), Time(s * 1000));
        assert_eq!([at(-5), at(7), at(125), at(7_300), at(200_000)], ["0s", "7s", "2m", "2h", "2d"]);
    }
}
