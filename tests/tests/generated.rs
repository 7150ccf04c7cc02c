//! Pages and schemas that are made from the code, and documents that show manifests: none may be stale.
//!
//! `UPDATE=1 cargo test -p berth-tests --test generated` writes what the code says today.

use berth_manifest::{Context, Input, Lookup, SchemaKind};
use berth_model::condition::Reason;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The committed file is what the code makes.
fn held(name: &str, made: &str) {
    let path = root().join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, made).unwrap();
        return;
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "{name} is stale: UPDATE=1 cargo test -p berth-tests --test generated");
}

fn schema(kind: SchemaKind) -> String {
    format!("{}\n", serde_json::to_string_pretty(&berth_manifest::schema(kind)).unwrap())
}

#[test]
fn the_schema_of_manifests() {
    held("docs/schema/manifest.json", &schema(SchemaKind::Manifest));
}

#[test]
fn the_schema_of_berth_yaml() {
    held("docs/schema/config.json", &schema(SchemaKind::Config));
}

#[test]
fn the_reasons() {
    let mut page = String::from(
        "# Reasons\n\n<!-- Generated from crates/model/src/condition.rs: UPDATE=1 cargo test -p berth-tests --test generated -->\n\n\
         Conditions, events and plans give one of these words as their reason. The list is closed: a word that stands here \
         keeps its meaning, and a program may rely on it. The message beside it is for people and may change.\n\n\
         | Reason | Means |\n|---|---|\n",
    );
    for reason in Reason::ALL {
        let _ = writeln!(page, "| `{}` | {} |", reason.as_str(), reason.meaning());
    }
    held("docs/REASONS.md", &page);
}

struct Anything;

impl Lookup for Anything {
    fn env(&self, _: &str) -> Option<String> {
        Some("1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned())
    }
    fn file(&self, _: &Path) -> Result<String, String> {
        Ok("1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=".to_owned())
    }
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md"), root().join("CONTRIBUTING.md")];
    for entry in std::fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "md") {
            pages.push(path);
        }
    }
    pages
}

/// The fenced blocks of one language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match &mut open {
            None if line == format!("```{language}") => open = Some(String::new()),
            None => {}
            Some(_) if line == "```" => found.extend(open.take()),
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
        }
    }
    found
}

/// Whoever copies an example from a page must not be the first to try it.
#[test]
fn every_example_in_the_pages_is_valid() {
    let mut tried = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text, "yaml") {
            let name = page.file_name().unwrap().to_string_lossy().into_owned();
            if block.contains("apiVersion:") {
                let inputs = [Input::new(name, block.clone().into_bytes())];
                let fleet = berth_manifest::load(&inputs, &Context::default());
                let errors: Vec<_> = fleet
                    .errors
                    .iter()
                    // An example may lean on a template or project that another block of its page holds.
                    .filter(|e| !e.message.contains("StackTemplate"))
                    .cloned()
                    .collect();
                assert!(errors.is_empty(), "{}", berth_manifest::render(&errors, &inputs[..], false));
                tried += 1;
            } else if block.contains("owner:") && block.contains("backends:") {
                if let Err(errors) = berth_manifest::load_config(&name, block.as_bytes(), &Anything) {
                    panic!("{}", berth_manifest::render(&errors, &(name.as_str(), block.as_bytes()), false));
                }
                tried += 1;
            }
        }
    }
    assert!(tried >= 5, "only {tried} examples were found: are the fences still ```yaml?");
}

/// A link to a file of this repository leads there.
#[test]
fn every_link_in_the_pages_leads_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for part in text.split("](").skip(1) {
            let Some(target) = part.split(')').next() else {
                continue;
            };
            let file = target.split('#').next().unwrap_or("");
            if file.is_empty() || target.contains("://") || target.contains(' ') {
                continue;
            }
            if !page.parent().unwrap().join(file).exists() {
                broken.push(format!("{}: ({target}) leads nowhere", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
