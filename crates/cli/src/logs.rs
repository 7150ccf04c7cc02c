//! Logs to stderr, above the live table where there is one, and the panic hook. No log holds a secret: secrets are
//! types that do not print, and a panic's payload is not shown.

use crate::args::LogFormat;
use indicatif::MultiProgress;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// The live table that lines must not tear apart.
static SCREEN: OnceLock<MultiProgress> = OnceLock::new();

/// Log lines stand above this table from now on.
pub fn above(screen: &MultiProgress) {
    // A second table of one process would be a defect of ours; the first one stays.
    let _ = SCREEN.set(screen.clone());
}

/// Starts logging. RUST_LOG wins over `default`.
pub fn start(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Lines);
    // A second start (in a test) keeps the first.
    let _ = match format {
        LogFormat::Json => builder.json().flatten_event(true).with_current_span(true).try_init(),
        LogFormat::Text => builder.with_ansi(colours()).with_target(false).try_init(),
    };
}

/// Whether stderr shows colours.
#[must_use]
pub fn colours() -> bool {
    anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never
}

struct Lines;

struct Line(Vec<u8>);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;
    fn make_writer(&'a self) -> Line {
        Line(Vec::new())
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        let write = || std::io::stderr().lock().write_all(&self.0);
        // Nobody is left to tell when stderr is gone.
        let _ = match SCREEN.get() {
            Some(screen) => screen.suspend(write),
            None => write(),
        };
    }
}

/// A short word instead of a payload: a panic's message may hold what was being worked on.
pub fn panic_hook() {
    std::panic::set_hook(Box::new(|info: &PanicHookInfo<'_>| {
        let place = info.location().map_or_else(|| "?".to_owned(), |l| format!("{}:{}", l.file(), l.line()));
        let _ = writeln!(
            std::io::stderr(),
            "berth: a defect at {place}: this part stopped; please report the place (its message is withheld, it may \
             hold data; BERTH_PANIC=1 shows it)"
        );
        if std::env::var_os("BERTH_PANIC").is_some_and(|v| v == "1") {
            let _ = writeln!(std::io::stderr(), "{info}");
        }
    }));
}
