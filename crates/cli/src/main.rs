//! The berth binary: sets the process up, runs one command, and turns its outcome into an exit code.

use anstream::ColorChoice;
use berth_cli::args::{Cli, Color};
use berth_cli::{Told, logs, out};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    berth_wire::install_crypto();
    logs::panic_hook();
    let cli = Cli::parse();
    match cli.color {
        Color::Auto => {}
        Color::Always => ColorChoice::Always.write_global(),
        Color::Never => ColorChoice::Never.write_global(),
    }
    // The loop is one task: more threads would only keep more memory of their own, however many cores there are.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(16)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("berth: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(berth_cli::run(cli));
    // A prompt or a directory on a dead file system may hold a thread for ever.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) if error.is::<Told>() => ExitCode::FAILURE,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            anstream::eprintln!("{}: {error:#}", out::paint(out::BAD.bold(), "error"));
            ExitCode::FAILURE
        }
    }
}

/// Whoever read our output has seen enough: `berth events | head`.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
}
