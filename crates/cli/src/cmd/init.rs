//! `berth init`: asks, checks, and writes `berth.yaml` and the vault's key file. It never writes over a vault key.

use crate::args::Init;
use crate::out::{self, BAD, BOLD, BUSY, GOOD, paint};
use crate::settings::{self, Needs};
use crate::world;
use anyhow::{Context, Result, bail};
use berth_model::Owner;
use berth_ports::{Platform, Severity};
use berth_vault::{Ring, SystemDice};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// # Errors
/// Something is missing, is there already, or is refused by the server.
pub async fn init(given: Option<&Path>, args: Init) -> Result<ExitCode> {
    let path = given.map_or_else(|| PathBuf::from("berth.yaml"), Path::to_owned);
    if path.exists() && !args.force {
        bail!("{} is there already; --force writes it anew (the vault's key stays)", path.display());
    }
    let asker = Asker { asks: std::io::stdin().is_terminal() && std::io::stderr().is_terminal() };
    let answers = Answers::collect(&asker, args)?;
    let text = answers.yaml();
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    let vault = base.join(&answers.vault);
    vault_key(&vault, &answers.owner)?;
    for directory in
        [Some(base.join(&answers.directory)), base.join(&answers.state).parent().map(Path::to_owned)]
    {
        let Some(directory) = directory.filter(|d| !d.as_os_str().is_empty()) else {
            continue;
        };
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("the directory {} cannot be made", directory.display()))?;
    }
    if !answers.no_check {
        check(&path, &text).await.map_err(|error| {
            anyhow::anyhow!(
                "{error:#}; then the same again, or with --no-check without asking the server:\n  {}",
                answers.command()
            )
        })?;
    }
    write(&path, &text, 0o644)?;
    told(&format!("wrote {}", path.display()));
    out::say(&format!(
        "\n{}\n  put manifests into {} ('berth schema manifest' describes them)\n  berth plan     shows what would be \
         done\n  berth run      does it, and keeps it so",
        paint(BOLD, "Next"),
        base.join(&answers.directory).display()
    ))?;
    Ok(ExitCode::SUCCESS)
}

fn told(what: &str) {
    anstream::eprintln!("{} {what}", paint(GOOD, "✓"));
}

struct Answers {
    owner: Owner,
    url: String,
    /// `env: NAME` or `file: PATH`.
    key: (&'static str, String),
    directory: PathBuf,
    state: PathBuf,
    vault: PathBuf,
    project: Option<String>,
    no_check: bool,
}

impl Answers {
    fn collect(asker: &Asker, args: Init) -> Result<Self> {
        let owner = asker.ask(
            args.owner,
            "Owner, which marks everything Berth makes",
            None,
            "--owner NAME",
            |t| Owner::new(t).map_err(|e| e.to_string()),
        )?;
        let url =
            asker.ask(args.url, "Dokploy's address", Some("http://127.0.0.1:3000"), "--url URL", |t| {
                let t = t.trim_end_matches('/');
                let rest = t.strip_prefix("http://").or_else(|| t.strip_prefix("https://"));
                match rest {
                    Some(rest) if !rest.is_empty() && !rest.contains('/') => Ok(t.to_owned()),
                    _ => Err("an address is http://HOST:PORT or https://HOST, without a path".to_owned()),
                }
            })?;
        let key = match (args.key_env, args.key_file) {
            (Some(name), _) => ("env", name),
            (None, Some(path)) => ("file", path.display().to_string()),
            (None, None) => {
                let question = "Where the API key is: env NAME, or file PATH";
                asker.ask(
                    None,
                    question,
                    Some("env DOKPLOY_API_TOKEN"),
                    "--key-env VARIABLE or --key-file FILE",
                    |t| match t.split_once(' ') {
                        Some(("env", name)) if !name.trim().is_empty() => Ok(("env", name.trim().to_owned())),
                        Some(("file", path)) if !path.trim().is_empty() => {
                            Ok(("file", path.trim().to_owned()))
                        }
                        _ => Err("write 'env NAME' or 'file PATH'; the key itself does not go into the file"
                            .to_owned()),
                    },
                )?
            }
        };
        let place = |given: Option<PathBuf>, question: &str, default: &str| {
            if let Some(given) = given {
                return Ok(given);
            }
            if !asker.asks {
                return Ok(PathBuf::from(default));
            }
            asker.ask(None, question, Some(default), "", |t| Ok(PathBuf::from(t)))
        };
        let directory = place(args.directory, "Directory of manifests", "stacks")?;
        let state = place(args.state, "State file", "berth.db")?;
        let vault = place(args.vault, "Vault key file", "vault.keys")?;
        let project = match args.project {
            None if asker.asks => {
                let answer =
                    asker.ask(None, "Shared project for stacks, or - for one each", Some("-"), "", |t| {
                        Ok(t.to_owned())
                    })?;
                Some(answer).filter(|a| a != "-")
            }
            given => given,
        };
        Ok(Self { owner, url, key, directory, state, vault, project, no_check: args.no_check })
    }

    /// The command that gives the same answers.
    fn command(&self) -> String {
        let mut words = vec!["berth init".to_owned()];
        let mut add = |flag: &str, value: &str| {
            let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:".contains(&b);
            let value = if value.bytes().all(plain) { value.to_owned() } else { format!("'{value}'") };
            words.push(format!("--{flag} {value}"));
        };
        add("owner", self.owner.as_str());
        add("url", &self.url);
        add(&format!("key-{}", self.key.0), &self.key.1);
        add("directory", &self.directory.display().to_string());
        add("state", &self.state.display().to_string());
        add("vault", &self.vault.display().to_string());
        if let Some(project) = &self.project {
            add("project", project);
        }
        words.join(" ")
    }

    fn yaml(&self) -> String {
        let path = |p: &Path| quoted(&p.display().to_string());
        let (kind, from) = &self.key;
        let mut text = format!(
            "# Berth's settings. Relative paths count from this file. 'berth schema config' describes every field.\n\
             owner: {}                # stands in every mark; two Berths never touch each other's objects\n\
             backends:\n  main: {{dokploy: {}, key: {{{kind}: {}}}, https: letsencrypt, probe: host}}\n\
             source: {{directory: {}}}\n\
             state: {{sqlite: {}}}\n\
             vault: {{keys: {{file: {}}}}}     # keep a copy elsewhere: generated passwords are derived from it\n",
            self.owner,
            quoted(&self.url),
            quoted(from),
            path(&self.directory),
            path(&self.state),
            path(&self.vault),
        );
        let project =
            self.project.as_ref().map(|p| format!(", project: {}, environment: production", quoted(p)));
        text.push_str(&format!("defaults: {{target: {{dokploy: main{}}}}}\n", project.unwrap_or_default()));
        text.push_str("listen: 127.0.0.1:9477\n");
        text
    }
}

/// A YAML scalar that is a text whatever it looks like.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'/' || b == b'.');
    if first
        && text.bytes().all(plain)
        && !matches!(text, "true" | "false" | "null" | "yes" | "no" | "on" | "off")
    {
        return text.to_owned();
    }
    serde_json::Value::String(text.to_owned()).to_string()
}

struct Asker {
    asks: bool,
}

impl Asker {
    /// The given answer, else one asked for until it is good.
    fn ask<T>(
        &self,
        given: Option<String>,
        question: &str,
        default: Option<&str>,
        flag: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T> {
        if let Some(given) = given {
            return read(given.trim()).map_err(|why| anyhow::anyhow!("{flag}: {why}"));
        }
        if !self.asks {
            bail!("{} is not given and there is no terminal to ask on: {flag}", question.to_lowercase());
        }
        loop {
            let hint = default.map(|d| format!(" [{d}]")).unwrap_or_default();
            anstream::eprint!("{}{hint}: ", paint(BOLD, question));
            std::io::stderr().flush()?;
            let mut line = String::new();
            if std::io::stdin().read_line(&mut line)? == 0 {
                bail!("broken off; nothing was written");
            }
            let text = match (line.trim(), default) {
                ("", Some(default)) => default,
                (text, _) => text,
            };
            match read(text) {
                Ok(answer) => return Ok(answer),
                Err(why) => anstream::eprintln!("  {}", paint(BUSY, why)),
            }
        }
    }
}

/// Makes the key file, or makes sure that the one there is good.
fn vault_key(path: &Path, owner: &Owner) -> Result<()> {
    if path.exists() {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
        Ring::parse(&berth_model::Secret::new(text), owner).with_context(|| {
            format!("{} is there and is no vault key file; name another with --vault", path.display())
        })?;
        let mode = std::fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            anstream::eprintln!(
                "{} others may read {}; run: chmod 600 {}",
                paint(BUSY, "!"),
                path.display(),
                path.display()
            );
        }
        told(&format!("keeps the vault key in {}", path.display()));
        return Ok(());
    }
    let dice = SystemDice::new().context("the system gives no randomness")?;
    let text = Ring::generate(&dice);
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        std::fs::create_dir_all(parent)
            .with_context(|| format!("the directory {} cannot be made", parent.display()))?;
    }
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("{} cannot be made", path.display()))?;
    file.write_all(text.expose().as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("{} cannot be written", path.display()))?;
    told(&format!("made a vault key in {} (mode 0600); keep a copy elsewhere", path.display()));
    Ok(())
}

/// Whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    let beside = path.with_extension("yaml.new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .with_context(|| format!("{} cannot be written", beside.display()))?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&beside, path))
        .with_context(|| format!("{} cannot be written", path.display()))
}

/// Reads the settings as the daemon will, and asks each account who we are.
async fn check(path: &Path, text: &str) -> Result<()> {
    let config = settings::read(path, text.as_bytes(), Needs::All).map_err(|errors| {
        let file = path.display().to_string();
        let shown = berth_manifest::render(&errors, &(file.as_str(), text.as_bytes()), true);
        anstream::eprint!("{shown}");
        anyhow::anyhow!("berth.yaml was not written; mend the above")
    })?;
    let (platforms, _) = world::platforms(&config, None)?;
    let mut bad = false;
    for (name, platform) in &platforms {
        match platform.diagnose().await {
            Ok(diagnosis) => {
                for f in diagnosis.findings {
                    let sign = match f.severity {
                        Severity::Ok => paint(GOOD, "✓"),
                        Severity::Warning => paint(BUSY, "!"),
                        Severity::Error => paint(BAD, "✗"),
                    };
                    bad |= f.severity == Severity::Error;
                    anstream::eprintln!("{sign} {name}: {}", f.text);
                }
            }
            Err(error) => {
                bad = true;
                anstream::eprintln!("{} {name}: {error}", paint(BAD, "✗"));
            }
        }
    }
    if bad {
        bail!("berth.yaml was not written; mend the above");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_are_texts() {
        assert_eq!(quoted("DOKPLOY_API_TOKEN"), "DOKPLOY_API_TOKEN");
        assert_eq!(quoted("./a b"), "\"./a b\"");
        assert_eq!(quoted("no"), "\"no\"");
        assert_eq!(quoted("1e3"), "\"1e3\"");
        assert_eq!(quoted("http://a:1"), "\"http://a:1\"");
    }
}
