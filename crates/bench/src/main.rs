//! Measured workloads: the real daemon as a child process, the simulator as another, real sockets between them and
//! 20 ms for every answer. Each workload prints one JSON line with what was counted and whether its goal was met.

mod daemon;
mod server;
mod stage;
mod work;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Measures the daemon.
#[derive(Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Passes over unchanged stacks, and whether each of five changes is noticed.
    Steady(Size),
    /// Every field of every stack is read, batched and one by one.
    Audit(Size),
    /// One manifest is edited: how long, and how many calls, until its deployment is asked for.
    OneField(Size),
    /// Stacks with a domain and a volume come to be.
    Create(Size),
    /// Processor time of passes that find nothing.
    Noop(Size),
    /// A start with a kept store, and what a stack costs in memory.
    Startup(Size),
    /// Rows are changed: how long until the first call, how long where no notification tells, and what idle rows cost.
    RowToCall(Size),
    /// Records of many hosts: what passes call while nothing changes, and what many new hosts of one zone cost.
    DnsSteady(Size),
    /// Changing stacks and a hanging account keep nobody waiting.
    Fairness,
    /// Serves the simulator; the workloads start it themselves.
    #[command(hide = true)]
    Sim,
}

#[derive(clap::Args)]
struct Size {
    /// How many stacks.
    #[arg(long)]
    stacks: Option<usize>,
}

impl Size {
    fn or(&self, usual: usize) -> usize {
        self.stacks.unwrap_or(usual)
    }
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let report = match Args::parse().what {
        What::Sim => {
            server::run().await?;
            return Ok(ExitCode::SUCCESS);
        }
        What::Steady(size) => work::steady::run(size.or(500)).await?,
        What::Audit(size) => work::audit::run(size.or(500)).await?,
        What::OneField(size) => work::one_field::run(size.or(500)).await?,
        What::Create(size) => work::create::run(size.or(100)).await?,
        What::Noop(size) => work::noop::run(size.or(500)).await?,
        What::Startup(size) => work::startup::run(size.or(10_000)).await?,
        What::RowToCall(size) => work::row_to_call::run(size.or(10_000)).await?,
        What::DnsSteady(size) => work::dns_steady::run(size.or(500)).await?,
        What::Fairness => work::fairness::run().await?,
    };
    println!("{}", report.line());
    Ok(if report.ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
