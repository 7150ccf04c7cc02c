//! `berth demo`: the daemon's own code against a simulated server on loopback, with a story that shows what it is for.
//! Nothing leaves this machine, and nothing is told that did not happen.

mod stage;
mod story;

use crate::args::Demo;
use crate::logs;
use crate::out::{self, DIM, paint};
use anyhow::Result;
use stage::Stage;
use std::process::ExitCode;
use story::Story;
use tokio_util::sync::CancellationToken;

/// Plays the demo.
///
/// # Errors
/// This machine gives no loopback port or no temporary directory.
pub async fn demo(args: Demo) -> Result<ExitCode> {
    let stop = CancellationToken::new();
    let mut live = crate::live::Live::new();
    logs::above(live.screen());
    logs::start(crate::args::LogFormat::Text, "off");
    let stage = Stage::set(args.listen, stop.clone()).await?;
    let engine = tokio::spawn({
        let (app, stop) = (stage.app.clone(), stop.clone());
        async move { app.engine.run(stop).await }
    });
    let feeding = tokio::spawn(stage.app.clone().feed(None, stop.clone()));
    let mut story = Story::new(&stage, &mut live);
    let told = tokio::select! {
        told = story.tell() => told?,
        () = crate::interrupted() => {
            story.line("broken off")?;
            false
        }
    };
    if told && !args.once {
        let config = stage.config_path().display().to_string();
        let rows = [
            ("Status page", format!("http://{}/", stage.address)),
            ("Another terminal", format!("berth -c {config} get")),
            ("", format!("berth -c {config} explain notes")),
            ("", format!("$EDITOR {}/notes.yaml", stage.manifests().display())),
        ];
        for (name, text) in rows {
            story.line(&format!("   {name:<17} {text}"))?;
        }
        story.line(&paint(DIM, "   Ctrl-C ends the demo and removes its directory."))?;
        story.line("")?;
        story.watch().await?;
    }
    stop.cancel();
    // They end with the token; an error is their panic, told by the hook.
    let _ = feeding.await;
    let _ = engine.await;
    live.clear();
    if !told {
        anstream::eprintln!("{}", paint(out::BAD, "not all of it happened; see above"));
    }
    Ok(if told { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
