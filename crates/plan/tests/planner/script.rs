//! Stories as text: a script of what happens, the plans that are asked for on the way, and what they must say.
//!
//! A line is a command; see [`Script::command`] for all of them. `UPDATE=1` writes what the plans say today.

use crate::daemon::{Daemon, Fault};
use crate::rules;
use crate::world::World;
use berth_model::Secret;
use berth_model::field::{Field, Value};
use berth_model::ids::{AppId, AppName};
use berth_model::observed::UpdateState;
use berth_model::stack::Stack;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Runs one story and compares.
pub(crate) fn check(name: &str) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(name);
    let mut script = Script::new(folder.clone());
    let text = read(&folder.join("story.txt"));
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        script.at = format!("{name}/story.txt:{}: {line}", at + 1);
        script.command(&words);
    }
    let told = script.told();
    let file = folder.join("expected.txt");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&file, told).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        expected == told,
        "{name}: the plan says something else. If that is meant: UPDATE=1 cargo test -p berth-plan\n--- expected\n{expected}--- told\n{told}"
    );
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// Reads manifests that are meant to be valid.
pub(crate) fn stacks(text: &str) -> BTreeMap<String, Arc<Stack>> {
    let inputs = [berth_manifest::Input::new("stack.yaml", text.as_bytes())];
    let fleet = berth_manifest::load(&inputs, &berth_manifest::Context::default());
    assert!(fleet.errors.is_empty(), "{}", berth_manifest::render(&fleet.errors, &inputs[..], false));
    fleet.stacks.into_iter().map(|(name, stack)| (name.to_string(), stack)).collect()
}

struct Script {
    folder: PathBuf,
    at: String,
    world: World,
    daemon: Daemon,
    want: Option<Arc<Stack>>,
    out: String,
}

impl Script {
    fn new(folder: PathBuf) -> Self {
        let (world, daemon) = (World::default(), Daemon::new("shop"));
        Self { folder, at: String::new(), world, daemon, want: None, out: String::new() }
    }

    fn app(&self, app: &str) -> AppId {
        let known = self.daemon.record.apps.get(&AppName::new(app).unwrap());
        known.and_then(|r| r.id.clone()).unwrap_or_else(|| panic!("{}: no such app", self.at))
    }

    /// One command.
    fn command(&mut self, words: &[&str]) {
        match *words {
            // Somebody's project, with its environments.
            ["project", name, ref environments @ ..] => drop(self.world.project(name, environments)),
            // Somebody's application; what follows is its description.
            ["application", project, environment, name, ref description @ ..] => {
                let description = (!description.is_empty()).then(|| description.join(" "));
                self.world.foreign(project, environment, name, description.as_deref());
            }
            // Somebody's domain on an application of ours.
            ["domain", app, host, port] => {
                let id = self.app(app);
                self.world.foreign_domain(&id, host, port.parse().unwrap());
            }
            // A duplicate of an application of ours, made with the server's own button.
            ["duplicate", app] => {
                let id = self.app(app);
                let of = self.world.apps[&id].clone();
                let (project, _) = &self.world.projects[0];
                let (project, environment) = (project.name.to_string(), project.environments[0].name.clone());
                self.world.foreign(&project, &environment, &of.name, of.description.as_deref());
            }
            // What is wanted from now on.
            ["want", "nothing"] => self.want = None,
            ["want", file] => {
                let text = read(&self.folder.join(file));
                let (name, stack) =
                    stacks(&text).pop_first().unwrap_or_else(|| panic!("{}: no stack", self.at));
                if self.daemon.stack.as_str() != name {
                    // A rename moves the record; the marks follow.
                    self.daemon.stack = stack.name.clone();
                    for (_, app) in &mut self.daemon.record.apps {
                        app.applied = None;
                    }
                }
                self.want = Some(stack);
            }
            // Runs until nothing is to be done, waiting where a plan waits.
            ["settle"] => self.settle(),
            // Runs until what is left waits for others, or for a person.
            ["settle-others"] => {
                for _ in 0..20 {
                    self.run();
                    self.world.later(Duration::from_secs(5));
                }
            }
            // One run.
            ["run"] => self.run(),
            // Time passes.
            ["later", time] => self.world.later(berth_model::units::parse_duration(time).unwrap()),
            // What `berth plan` shows now.
            ["plan", ref words @ ..] => {
                let plan = self.daemon.preview(self.want.as_deref(), &self.world);
                let title = if words.is_empty() { "plan".to_owned() } else { words.join(" ") };
                self.out.push_str(&berth_plan::render(&title, &plan, &|_, text| text.to_owned()));
                if let Some((_, why)) = &plan.wait {
                    let _ = writeln!(self.out, "  … {why}");
                }
            }
            // Everything is read again in the next run: the judge or the audit called.
            ["verify"] => self.daemon.verify = true,
            // A person asked for a pull.
            ["pull"] => self.daemon.pull = true,
            // Somebody asks for a restart of an app.
            ["restart", app] => {
                let entry = self.daemon.record.apps.get_mut(&AppName::new(app).unwrap());
                entry.expect("an app that is there").restart = Some(self.world.now);
            }
            // A guard holds the stack.
            ["hold", token] => self.daemon.held = Some(token.to_owned()),
            // Addresses that are left.
            ["room", number] => self.daemon.room = Some(number.parse().unwrap()),
            // The registry does not have this image.
            ["missing-image", image] => self.daemon.missing_images.push(image.to_owned()),
            // The daemon runs as this app.
            ["itself", app] => {
                let app = AppName::new(app).unwrap();
                self.daemon.itself = Some(berth_plan::Itself { app, others: false, overdue: false });
            }
            // Other stacks are at work; they have been for too long; they are done.
            ["others", how @ ("busy" | "overdue" | "done")] => {
                let itself = self.daemon.itself.as_mut().unwrap();
                (itself.others, itself.overdue) = (how != "done", how == "overdue");
            }
            // A given secret and its version.
            ["secret", name, value, version] => {
                let secret = (Secret::new(value), version.parse().unwrap());
                self.daemon.given.insert(name.to_owned(), secret);
            }
            // The next writes: ok, not-sent, lost, unanswered, late.
            ["faults", ref faults @ ..] => {
                self.daemon.faults = faults
                    .iter()
                    .map(|f| match *f {
                        "ok" => Fault::None,
                        "not-sent" => Fault::NotSent,
                        "lost" => Fault::Lost,
                        "unanswered" => Fault::Unanswered,
                        "late" => Fault::Late,
                        other => panic!("{}: no fault '{other}'", self.at),
                    })
                    .collect();
            }
            // The store is lost.
            ["forget"] => self.daemon.forget(),
            // Somebody changes an application of ours.
            ["set", app, "image", image] => self.set(app, Field::Image, Value::Text(image.to_owned())),
            ["set", app, "replicas", n] => self.set(app, Field::Replicas, Value::Int(n.parse().unwrap())),
            ["set", app, "description", ref text @ ..] => {
                let id = self.app(app);
                self.world.apps.get_mut(&id).unwrap().description = Some(text.join(" "));
            }
            ["set", app, "env", ref lines @ ..] => {
                let id = self.app(app);
                let text = lines.join("\n");
                let vars = berth_model::dotenv::parse(&text);
                let seen = self.world.apps.get_mut(&id).unwrap();
                seen.env_text = text;
                let vars = vars.into_iter().map(|(k, v)| (k, Secret::new(v))).collect();
                seen.fields.insert(Field::Env, Value::Env(vars));
            }
            // Somebody removes an application of ours, with what runs of it.
            ["delete", app] => {
                let id = self.app(app);
                let app = self.world.apps.remove(&id).unwrap();
                self.world.live.remove(&app.service);
            }
            // Swarm put an older version back, or somebody scaled the service.
            ["rolled-back", app, ref why @ ..] => {
                let service = self.service(app);
                let live = self.world.live.get_mut(&service).unwrap();
                live.hash = None;
                live.update = UpdateState::RolledBack(why.join(" "));
            }
            ["scaled", app, n] => {
                let service = self.service(app);
                self.world.live.get_mut(&service).unwrap().replicas = Some(n.parse().unwrap());
            }
            _ => panic!("{}: no such command", self.at),
        }
    }

    fn service(&self, app: &str) -> berth_model::ServiceName {
        self.world.apps[&self.app(app)].service.clone()
    }

    fn set(&mut self, app: &str, field: Field, value: Value) {
        let id = self.app(app);
        self.world.apps.get_mut(&id).unwrap().fields.insert(field, value);
    }

    fn run(&mut self) {
        let want = self.want.clone();
        let _ = self.daemon.run(want.as_deref(), &mut self.world, &mut rules::hold);
    }

    fn settle(&mut self) {
        let want = self.want.clone();
        for _ in 0..100 {
            let ended = self.daemon.run(want.as_deref(), &mut self.world, &mut rules::hold);
            let wait = match &ended {
                Ok(plan) if plan.steps.is_empty() && plan.wait.is_none() => return,
                Ok(plan) => plan.wait.as_ref().map(|(d, _)| *d),
                Err(_) => None,
            };
            self.world.later(wait.unwrap_or(Duration::from_secs(1)));
        }
        panic!("{}: not settled after 100 runs", self.at);
    }

    /// What was told, with every hash as a number of its own: `#1` is one value wherever it stands.
    fn told(&self) -> String {
        let mut numbers: Vec<String> = Vec::new();
        let mut out = String::new();
        let mut word = String::new();
        for c in self.out.chars().chain(['\n']) {
            if c.is_ascii_alphanumeric() {
                word.push(c);
                continue;
            }
            if word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit()) {
                let known = numbers.iter().position(|n| *n == word);
                let number = known.unwrap_or_else(|| {
                    numbers.push(word.clone());
                    numbers.len() - 1
                });
                let _ = write!(out, "#{}", number + 1);
            } else {
                out.push_str(&word);
            }
            word.clear();
            out.push(c);
        }
        out.pop();
        out
    }
}
