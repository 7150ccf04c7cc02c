//! Who counts the calls. It is told after the fact and can change nothing.

use std::sync::Arc;

/// Counts calls.
pub trait Observer: Send + Sync + 'static {
    /// One call ended: `outcome` is one of a fixed set, `seconds` is the whole call with its retries and waits.
    fn call(&self, procedure: &str, outcome: &'static str, seconds: f64);
    /// One request was sent: a call with retries sends several.
    fn request(&self, procedure: &str, seconds: f64);
    /// One request had its place among those in flight, after this long.
    fn waited(&self, seconds: f64);
    /// Who counts the calls of this account alone, where several are made together. `None`: this one counts all.
    fn of(&self, _account: &str) -> Option<Arc<dyn Observer>> {
        None
    }
}

/// Counts nothing.
pub struct Silent;

impl Observer for Silent {
    fn call(&self, _: &str, _: &'static str, _: f64) {}
    fn request(&self, _: &str, _: f64) {}
    fn waited(&self, _: f64) {}
}
