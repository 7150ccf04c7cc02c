//! `berth secret`: given secrets, sealed before they reach the state file. A value comes in and never goes out again.

use crate::args::{Output, SecretCommand};
use crate::given::Named;
use crate::out;
use crate::settings::{self, Needs};
use crate::state::AnyStore;
use crate::world;
use anyhow::{Context, Result, bail};
use berth_model::ids::{AppName, Key, StackName};
use berth_model::{Secret, Time};
use berth_ports::{Change, Store};
use serde::Serialize;
use std::io::{IsTerminal, Read};
use std::path::Path;
use std::process::ExitCode;

/// The largest secret that is taken.
const LARGEST: u64 = 1 << 20;

/// # Errors
/// The settings, the vault or the state cannot be used, or there is no value.
pub async fn secret(given: Option<&Path>, command: SecretCommand) -> Result<ExitCode> {
    match command {
        SecretCommand::Set { of, from_file } => set(given, &parse(&of)?, from_file.as_deref()).await,
        SecretCommand::List { stack, output } => list(given, stack.as_deref(), output).await,
        SecretCommand::Remove { of } => remove(given, &parse(&of)?).await,
    }
}

/// `STACK [APP] NAME`.
fn parse(words: &[String]) -> Result<Named> {
    let (stack, app, name) = match words {
        [stack, name] => (stack, None, name),
        [stack, app, name] => (stack, Some(app), name),
        _ => bail!("write STACK [APP] NAME, as in: berth secret set shop api STRIPE_KEY"),
    };
    let key = match Key::parse(stack) {
        Some(key) => key,
        None => Key::Stack(StackName::new(stack).with_context(|| {
            format!("'{stack}' is not a stack's name; a project's is written project/NAME")
        })?),
    };
    let app =
        app.map(|a| AppName::new(a).with_context(|| format!("'{a}' is not an app's name"))).transpose()?;
    if app.is_some() && matches!(key, Key::Project(_)) {
        bail!("a project has no apps: berth secret set {stack} {name}");
    }
    if name.is_empty() || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        bail!("'{name}' is not a secret's name: it holds no spaces");
    }
    Ok(Named { key, app, name: name.clone() })
}

fn shown(named: &Named) -> String {
    let app = named.app.as_ref().map(|a| format!(", app {a}")).unwrap_or_default();
    format!("{} of {}{app}", named.name, named.key)
}

async fn set(given: Option<&Path>, named: &Named, from: Option<&Path>) -> Result<ExitCode> {
    let config = settings::load(given, Needs::Places)?;
    let vault = world::vault(&config)?;
    let value = value(from)?;
    let store = AnyStore::open(&config).await?;
    let snapshot = store.snapshot().await?;
    let record = snapshot.record(&named.key);
    let (version, mut changes) = named.give(&vault, &value, &snapshot.secrets, record, out::now());
    drop(value);
    let outcome = format!("done: {} at version {version}", named.name);
    changes.push(Change::Audit(super::trace("give secret", Some(&named.key), &snapshot, &outcome)));
    store.commit(changes).await.context("the secret was not written")?;
    super::note_without_daemon(&config).await;
    anstream::eprintln!("{}: version {version} is kept", shown(named));
    Ok(ExitCode::SUCCESS)
}

fn value(from: Option<&Path>) -> Result<Secret> {
    let mut text = match from {
        Some(path) => {
            let file =
                std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
            read(file).with_context(|| format!("{} cannot be used", path.display()))?
        }
        None if std::io::stdin().is_terminal() => {
            let terminal = console::Term::stderr();
            anstream::eprint!("value (not shown): ");
            Secret::new(terminal.read_secure_line().context("the prompt was broken off")?)
        }
        None => read(std::io::stdin().lock()).context("standard input cannot be used")?,
    };
    // One line end is the editor's or echo's, not the secret's.
    let trimmed = text.expose().strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t));
    if let Some(trimmed) = trimmed {
        text = Secret::new(trimmed);
    }
    if text.expose().is_empty() {
        bail!("the value is empty; give one by standard input, --from-file, or at the prompt");
    }
    Ok(text)
}

fn read(from: impl Read) -> Result<Secret> {
    let mut text = String::new();
    from.take(LARGEST + 1).read_to_string(&mut text).context("it is not text")?;
    let text = Secret::new(text);
    if text.expose().len() as u64 > LARGEST {
        bail!("it is larger than 1 MiB");
    }
    Ok(text)
}

#[derive(Serialize)]
struct Listed {
    stack: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    app: Option<String>,
    name: String,
    version: u32,
    given: Time,
}

async fn list(given: Option<&Path>, stack: Option<&str>, output: Output) -> Result<ExitCode> {
    let (_, store) = super::to_read(given).await?;
    let mut rows = match store {
        Some(store) => store.snapshot().await?.secrets,
        None => Vec::new(),
    };
    let wanted = stack.map(|s| s.strip_prefix("stack/").unwrap_or(s));
    rows.retain(|r| wanted.is_none_or(|s| r.stack == s));
    rows.sort_by(|a, b| (&a.stack, &a.app, &a.name).cmp(&(&b.stack, &b.app, &b.name)));
    let listed: Vec<Listed> = rows
        .into_iter()
        .map(|r| Listed {
            stack: r.stack,
            app: r.app.map(|a| a.to_string()),
            name: r.name,
            version: r.version,
            given: r.at,
        })
        .collect();
    out::data(output.output, &listed, || {
        if listed.is_empty() {
            return "No secret is kept.\n".to_owned();
        }
        let now = out::now();
        let rows: Vec<Vec<String>> = listed
            .iter()
            .map(|l| {
                let app = l.app.clone().unwrap_or_else(|| "-".to_owned());
                vec![l.stack.clone(), app, l.name.clone(), l.version.to_string(), out::age(l.given, now)]
            })
            .collect();
        out::table(&["STACK", "APP", "NAME", "VERSION", "AGE"], &rows)
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn remove(given: Option<&Path>, named: &Named) -> Result<ExitCode> {
    let config = settings::load(given, Needs::Places)?;
    let store = AnyStore::open(&config).await?;
    let snapshot = store.snapshot().await?;
    if !snapshot.secrets.iter().any(|r| named.is(r)) {
        bail!("there is no secret {}; 'berth secret list' shows what there is", shown(named));
    }
    let mut changes = named.remove(out::now());
    let outcome = format!("done: {}", named.name);
    changes.push(Change::Audit(super::trace("remove secret", Some(&named.key), &snapshot, &outcome)));
    store.commit(changes).await.context("the secret was not removed")?;
    anstream::eprintln!("{}: removed", shown(named));
    Ok(ExitCode::SUCCESS)
}
