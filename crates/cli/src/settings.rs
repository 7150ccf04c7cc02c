//! Finding and reading `berth.yaml`. Its relative paths count from the directory it stands in; no value that a
//! reference leads to is ever printed.

use crate::Told;
use anyhow::{Result, bail};
use berth_manifest::{Diagnostic, Lookup, read_config};
use berth_model::config::{Config, CredentialSource, StatePlace};
use std::path::{Path, PathBuf};

/// Where it is looked for.
const PLACES: [&str; 2] = ["berth.yaml", "/etc/berth/berth.yaml"];

/// How much of it has to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Everything, keys included.
    All,
    /// The state file and the directory: who looks at them need not hold the keys.
    Places,
}

/// Stands for a reference that leads nowhere, where that does not matter.
const NOT_HERE: &str = "not-known-here";

struct System {
    base: PathBuf,
    lenient: bool,
}

impl Lookup for System {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().or_else(|| self.lenient.then(|| NOT_HERE.to_owned()))
    }
    fn file(&self, path: &Path) -> Result<String, String> {
        match std::fs::read_to_string(self.base.join(path)) {
            Err(_) if self.lenient => Ok(NOT_HERE.to_owned()),
            read => read.map_err(|e| e.to_string()),
        }
    }
}

/// The file's place, if there is one.
#[must_use]
pub fn find(given: Option<&Path>) -> Option<PathBuf> {
    match given {
        Some(path) => Some(path.to_owned()),
        None => PLACES.iter().map(PathBuf::from).find(|p| p.exists()),
    }
}

/// Reads the settings; errors go to stderr with their source lines.
///
/// # Errors
/// There is no file, or it has errors (which were told).
pub fn load(given: Option<&Path>, needs: Needs) -> Result<Config> {
    let Some(path) = find(given) else {
        bail!(
            "there is no berth.yaml here and none in /etc/berth; write one with 'berth init', or name one with --config"
        );
    };
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) => bail!("the settings {} cannot be read: {e}; name others with --config", path.display()),
    };
    let file = path.display().to_string();
    let tell = |told: &[Diagnostic]| {
        anstream::eprint!("{}", berth_manifest::render(told, &(file.as_str(), text.as_slice()), true));
    };
    match read_all(&path, &text, needs) {
        Ok((config, odd)) => {
            // Who only looks at the state is not told again.
            if needs == Needs::All && !odd.is_empty() {
                tell(&odd);
            }
            Ok(config)
        }
        Err(errors) => {
            tell(&errors);
            Err(Told.into())
        }
    }
}

/// Reads settings from a text.
///
/// # Errors
/// Every fault.
pub fn read(path: &Path, text: &[u8], needs: Needs) -> Result<Config, Vec<Diagnostic>> {
    read_all(path, text, needs).map(|(config, _)| config)
}

/// As [`read`], with what is odd and no fault.
fn read_all(path: &Path, text: &[u8], needs: Needs) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let base = path.parent().map(Path::to_owned).unwrap_or_default();
    let file = path.display().to_string();
    let strict = System { base: base.clone(), lenient: false };
    let (config, odd) = match read_config(&file, text, &strict) {
        Ok(read) => read,
        Err(errors) if needs == Needs::All => return Err(errors),
        Err(errors) => {
            let lenient = System { base: base.clone(), lenient: true };
            let read = read_config(&file, text, &lenient).ok();
            let known = |p: &Path| !p.to_string_lossy().contains(NOT_HERE);
            let there = |c: &Config| {
                c.directory.as_deref().is_none_or(known)
                    && match &c.state {
                        StatePlace::Sqlite(path) => known(path),
                        StatePlace::Postgres(url) => url.value.expose() != NOT_HERE,
                    }
            };
            read.filter(|(config, _)| there(config)).ok_or(errors)?
        }
    };
    Ok((absolute(config, &base), odd))
}

fn absolute(mut config: Config, base: &Path) -> Config {
    config.directory = config.directory.map(|path| base.join(path));
    if let Some(tls) = &mut config.api.tls {
        tls.certificate = base.join(&tls.certificate);
        tls.key = base.join(&tls.key);
    }
    let database = match &mut config.state {
        StatePlace::Sqlite(path) => {
            *path = base.join(&*path);
            None
        }
        StatePlace::Postgres(url) => Some(url),
    };
    let credentials = config.backends.values_mut().map(|b| &mut b.key).chain([&mut config.vault]);
    let dns = config.dns.credentials.values_mut().filter_map(|c| c.provider.secret_mut());
    for credential in credentials.chain(dns).chain(database) {
        if let CredentialSource::File(path) = &mut credential.from {
            *path = base.join(&*path);
        }
    }
    config
}
