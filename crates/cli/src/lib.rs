//! The berth command as a library: wiring, commands, what they print. It makes no decision about a stack itself.

pub mod app;
pub mod args;
pub mod cmd;
pub mod demo;
pub mod dns;
pub mod front;
pub mod given;
pub mod lead;
pub mod live;
pub mod logs;
pub mod out;
pub mod pinned;
pub mod portal;
pub mod rows;
pub mod settings;
pub mod state;
pub mod supervisor;
pub mod world;

use args::Command;
use std::process::ExitCode;

/// An error that was told already: nothing more is printed.
#[derive(Debug, thiserror::Error)]
#[error("see above")]
pub struct Told;

/// Returns when a person or a supervisor wants this process to end.
pub async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let waits = kinds.into_iter().filter_map(|kind| signal(kind).ok()).map(|mut s| {
        Box::pin(async move {
            // `None` is a signal that will not come any more.
            if s.recv().await.is_none() {
                std::future::pending::<()>().await;
            }
        })
    });
    let waits: Vec<_> = waits.collect();
    if waits.is_empty() {
        return std::future::pending().await;
    }
    futures::future::select_all(waits).await;
}

/// Does what was asked.
///
/// # Errors
/// What went wrong, in words for stderr.
pub async fn run(cli: args::Cli) -> anyhow::Result<ExitCode> {
    // A variable that is set to nothing is as good as unset.
    let config = cli.config.as_deref().filter(|path| !path.as_os_str().is_empty());
    match cli.command {
        Command::Init(args) => cmd::init::init(config, args).await,
        Command::Run(args) => cmd::run::run(config, args).await,
        Command::Plan(args) => cmd::plan::plan(config, args).await,
        Command::Apply(args) => cmd::apply::apply(config, args).await,
        Command::Validate(args) => cmd::validate::validate(config, args),
        Command::Get(args) => cmd::show::get(config, args).await,
        Command::Describe(args) => cmd::show::describe(config, args).await,
        Command::Explain(args) => cmd::explain::explain(config, args).await,
        Command::Events(args) => cmd::history::events(config, args).await,
        Command::History(args) => cmd::history::history(config, args).await,
        Command::Rollback(args) => cmd::ask::rollback(config, args).await,
        Command::Wait(args) => cmd::wait::wait(config, args).await,
        Command::Delete(args) => cmd::plan::delete(config, args).await,
        Command::Confirm(args) => cmd::ask::confirm(config, args).await,
        Command::Pause(args) => cmd::ask::pause(config, args.names).await,
        Command::Resume(args) => cmd::ask::resume(config, args.names).await,
        Command::Reconcile(args) => cmd::ask::reconcile(config, args.names, args.pull).await,
        Command::Restart(args) => cmd::apps::restart(config, args).await,
        Command::Scale(args) => cmd::apps::scale(config, args).await,
        Command::Logs(args) => cmd::apps::logs(config, args).await,
        Command::Token(args) => cmd::token::token(config, args.command).await,
        Command::Audit(args) => cmd::token::audit(config, args).await,
        Command::Secret(args) => cmd::secret::secret(config, args.command).await,
        Command::Schema(args) => cmd::validate::schema(args),
        Command::Migrate => cmd::serve::migrate(config).await,
        Command::Healthcheck => cmd::serve::healthcheck(config).await,
        Command::Dns(args) => cmd::dns::dns(config, args.command).await,
        Command::Doctor(args) => cmd::doctor::doctor(config, args).await,
        Command::Demo(args) => demo::demo(args).await,
        Command::Completions(args) => cmd::validate::completions(args),
    }
}
