//! What is wrong with a JSON text from outside, in words that repeat none of its values.

use crate::redact;

/// What is wrong, and where.
#[must_use]
pub fn shape(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let what = if text.starts_with("missing field") {
        text.split(" at line").next().unwrap_or("a missing field").to_owned()
    } else if let Some(at) = text.rfind("expected ") {
        text[at..].split(" at line").next().unwrap_or("another type").to_owned()
    } else {
        match e.classify() {
            serde_json::error::Category::Eof => "it ends too early".to_owned(),
            serde_json::error::Category::Syntax => "it is not JSON".to_owned(),
            serde_json::error::Category::Data | serde_json::error::Category::Io => {
                "unexpected data".to_owned()
            }
        }
    };
    format!("{} (line {}, column {})", redact::cap(&what, 120), e.line(), e.column())
}
