//! Variables of apps and projects. No message here holds a value.

use crate::check;
use crate::placeholder;
use crate::raw::{EncodingWord, EnvRef, EnvSpec, FromKey, FromSpec, GenerateSpec, ProjectValue};
use crate::read::{At, Map, Short};
use crate::resolve::Here;
use crate::tree::Span;
use berth_model::AppName;
use berth_model::dotenv;
use berth_model::project::ProjectEnvValue;
use berth_model::stack::{Encoding, EnvValue, FromApps, Generate, Part, Text};
use std::collections::BTreeMap;

/// A variable's text: placeholders filled, references and dotenv's limits checked.
fn text(key: &str, value: &str, at: Span, here: &mut Here<'_>) -> Option<Text> {
    let bad = placeholder::bad_references(value);
    if !bad.is_empty() {
        bad.into_iter().for_each(|(m, h)| here.sink.error_help(at, m, h));
        return None;
    }
    let values = placeholder::Values { late: true, ..here.values };
    let filled = match placeholder::fill(value, &values) {
        Ok(text) => text,
        Err(wrong) => {
            wrong.into_iter().for_each(|(m, h)| here.sink.error_help(at, m, h));
            return None;
        }
    };
    // Ids hold none of the characters that matter.
    let sample: String =
        filled.0.iter().map(|p| if let Part::Lit(t) = p { t.as_str() } else { "id" }).collect();
    if sample.contains('\0') {
        here.sink.error_help(at, format!("the value of {key} holds a NUL"), "a variable is text");
        return None;
    }
    if let Err(e) = dotenv::assignment_line(key, &sample) {
        here.sink.error_help(at, e.to_string(), "put it into a file under 'files:'");
        return None;
    }
    Some(filled)
}

/// The variables of an app.
pub(crate) fn app(given: &Map<At<EnvSpec>>, here: &mut Here<'_>) -> BTreeMap<String, EnvValue> {
    let mut env = BTreeMap::new();
    for (key, value) in &given.0 {
        if here.told(key.at, check::env_key(&key.text)).is_none() {
            continue;
        }
        let resolved = match &value.v {
            Short::Short(words) => text(&key.text, words, value.at, here).map(EnvValue::Text),
            Short::Full(reference) => self::reference(reference, value.at, here),
        };
        if let Some(v) = resolved {
            env.insert(key.text.to_string(), v);
        }
    }
    env
}

fn reference(given: &EnvRef, at: Span, here: &mut Here<'_>) -> Option<EnvValue> {
    match (&given.secret, &given.generate, &given.from) {
        (Some(name), None, None) => {
            here.told(name.at, check::secret_name(&name.v)).map(|()| EnvValue::Secret(name.v.to_string()))
        }
        (None, Some(spec), None) => generate(&spec.v, here).map(EnvValue::Generate),
        (None, None, Some(spec)) => from(spec, here),
        _ => {
            let help =
                "write a text, {secret: NAME}, {generate: {bytes: 32}} or {from: {app: api, key: url}}";
            here.sink.error_help(at, "a variable takes its value from exactly one place", help);
            None
        }
    }
}

fn generate(spec: &GenerateSpec, here: &mut Here<'_>) -> Option<Generate> {
    let bytes = spec.bytes.as_ref().map_or(Some(32), |b| {
        let bytes = u8::try_from(b.v).ok().filter(|n| *n > 0);
        if bytes.is_none() {
            here.sink.error_help(b.at, "bytes are 1 to 255", "32 is the default");
        }
        bytes
    });
    let version = spec.version.as_ref().map_or(1, |v| {
        if v.v == 0 {
            here.sink.error_help(v.at, "versions begin at 1", "raise it to rotate the value");
        }
        v.v
    });
    let encoding = match spec.encoding {
        None | Some(EncodingWord::Hex) => Encoding::Hex,
        Some(EncodingWord::Base64) => Encoding::Base64,
        Some(EncodingWord::Base64Url) => Encoding::Base64Url,
    };
    Some(Generate { bytes: bytes?, encoding, version })
}

fn from(spec: &At<FromSpec>, here: &mut Here<'_>) -> Option<EnvValue> {
    if let Some(database) = &spec.v.database {
        let help = "this version has no databases; give the value as a text or a secret";
        here.sink.error_help(database.at, "a value from a database is not supported by this version", help);
        return None;
    }
    let given: Vec<_> = match (&spec.v.app, &spec.v.apps) {
        (Some(app), None) => vec![app],
        (None, Some(apps)) if !apps.v.is_empty() => apps.v.iter().collect(),
        _ => {
            let help = "write {from: {app: api}} or {from: {apps: [api, web]}}";
            here.sink.error_help(spec.at, "'from' names one app, or a list of apps", help);
            return None;
        }
    };
    let mut apps = Vec::with_capacity(given.len());
    for app in given {
        match AppName::new(&app.v) {
            Ok(name) => apps.push(name),
            Err(e) => here.sink.error(app.at, e.to_string()),
        }
    }
    let key = if spec.v.key == Some(FromKey::Host) { "host" } else { "url" };
    let join = spec.v.join.as_ref().map_or(",", |j| &**j);
    let from = FromApps { apps, key: key.to_owned(), join: join.to_owned() };
    Some(EnvValue::FromApps(Box::new(from)))
}

/// The variables of a project or environment. `environments` are those that ids may be asked of.
pub(crate) fn project(
    given: Option<&Map<At<ProjectValue>>>,
    environments: &[&str],
    here: &mut Here<'_>,
) -> BTreeMap<String, ProjectEnvValue> {
    let mut env = BTreeMap::new();
    for (key, value) in given.iter().flat_map(|g| &g.0) {
        if here.told(key.at, check::env_key(&key.text)).is_none() {
            continue;
        }
        let resolved = match &value.v {
            Short::Short(words) => text(&key.text, words, value.at, here).map(|t| {
                for part in &t.0 {
                    if let Part::EnvironmentId(name) = part
                        && !environments.contains(&name.as_str())
                    {
                        let help = crate::read::suggest(name, environments.iter().copied(), "environments");
                        let message = format!("the project has no environment '{name}'");
                        here.sink.error_help(value.at, message, help);
                    }
                }
                ProjectEnvValue::Text(t)
            }),
            Short::Full(reference) => match &reference.secret {
                Some(name) => here
                    .told(name.at, check::secret_name(&name.v))
                    .map(|()| ProjectEnvValue::Secret(name.v.to_string())),
                None => {
                    let help = "write a text or {secret: NAME}";
                    here.sink.error_help(value.at, "the variable has no value", help);
                    None
                }
            },
        };
        if let Some(v) = resolved {
            env.insert(key.text.to_string(), v);
        }
    }
    env
}
