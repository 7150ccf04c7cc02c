//! Changes that are told with crashes and faults: from one spec to another, and the end that each must come to.

use crate::canon::{canon, differences};
use crate::full::{full, full_with};
use crate::rig::{Rig, RigOptions};
use berth_sim::Behaviour;
use berth_sim::dns::Provider;
use berth_store::Memory;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

type Files = BTreeMap<String, String>;

/// A change of the one stack `shop`.
pub struct Change {
    /// Its name.
    pub name: &'static str,
    from: Files,
    to: Files,
    dns: Option<Provider>,
}

/// How a change ends where nothing goes wrong.
pub struct Reference {
    /// The world, in a form that can be compared.
    pub world: Value,
    /// Calls that it took.
    pub calls: u64,
    /// Commits that it took.
    pub commits: u64,
    /// The records of the zone, where there is one.
    pub records: Vec<String>,
}

fn files(text: Option<String>) -> Files {
    text.map(|t| ("shop.yaml".to_owned(), t)).into_iter().collect()
}

/// A domain more, a port less, other values everywhere.
fn updated() -> String {
    full_with("shop", "registry.sim/shop/api:2", "production", "LEVEL: debug")
        .replace(
            "api.shop.test: {https: none}",
            "api.shop.test: {https: letsencrypt}\n        new.shop.test: {https: none}",
        )
        .replace("ports: {\"18080\": 3000}", "ports: {\"18081\": 3000}")
        .replace("replicas: 2", "replicas: 1")
        .replace(
            "/etc/app.conf: {content: \"level = high\\n\"}",
            "/etc/app.conf: {content: \"level = low\\n\"}",
        )
}

impl Change {
    /// One of `create`, `update`, `move`, `rollback` and `delete`.
    ///
    /// # Panics
    /// Where it is another word.
    pub fn named(name: &str) -> Self {
        let (name, from, to) = match name {
            "create" => ("create", None, Some(full("shop"))),
            "update" => ("update", Some(full("shop")), Some(updated())),
            "move" => (
                "move",
                Some(full("shop")),
                Some(full_with("shop", "registry.sim/shop/api:1", "staging", "LEVEL: info")),
            ),
            "rollback" => (
                "rollback",
                Some(full("shop")),
                Some(full_with("shop", "registry.sim/shop/api:bad", "production", "LEVEL: info")),
            ),
            "delete" => ("delete", Some(full("shop")), None),
            other => panic!("no change is called {other}"),
        };
        Self { name, from: files(from), to: files(to), dns: None }
    }

    /// The same in a zone at this provider, whose records are part of it.
    #[must_use]
    pub fn with_dns(mut self, provider: Provider) -> Self {
        for text in self.from.values_mut().chain(self.to.values_mut()) {
            *text = text.replace(".shop.test", &format!(".shop.{}", crate::dns::ZONE));
        }
        self.dns = Some(provider);
        self
    }

    /// A world at rest before the change, whose files ask for it, and the store as it was until then.
    pub async fn begin(&self) -> (Rig, Memory) {
        let mut rig = Rig::new(RigOptions { dns: self.dns, ..RigOptions::seed(7) });
        rig.sim.set_image("registry.sim/shop/api:bad", Behaviour::Crash);
        rig.foreign().await;
        rig.files = self.from.clone();
        rig.converge().await;
        let yesterday = rig.store.fork();
        rig.files = self.to.clone();
        (rig, yesterday)
    }

    /// The change where nothing goes wrong.
    ///
    /// # Panics
    /// Where it does not come to rest.
    pub async fn reference(&self) -> Reference {
        let (mut rig, _) = self.begin().await;
        let (engine, reached) = rig.run_until(Duration::from_secs(3600), None, |e, _| e.at_rest()).await;
        assert!(reached, "{} where nothing goes wrong:\n{}", self.name, rig.tell(&engine));
        let (calls, commits) = (rig.crashes.calls(), rig.crashes.commits());
        let records = rig.dns.as_ref().map(|dns| dns.records()).unwrap_or_default();
        Reference { world: canon(&rig.sim.dump()), calls, commits, records }
    }
}

/// Lets the daemon come to rest in the wanted world. `forgotten`: the versions to go back to were lost.
///
/// # Errors
/// It does not: what differs.
pub async fn settle(rig: &mut Rig, want: &Value, forgotten: bool) -> Result<(), String> {
    let (engine, reached) = rig.run_until(Duration::from_secs(7200), None, |e, _| e.at_rest()).await;
    let got = canon(&rig.sim.dump());
    let equal = if forgotten { without_versions(&got) == without_versions(want) } else { got == *want };
    if reached && equal {
        return Ok(());
    }
    let head = if reached { "another end" } else { "not at rest" };
    Err(format!("{head}:\n{}\n{}", differences(want, &got), rig.tell(&engine)))
}

/// A lost store forgets the versions to go back to: which version is left is then open, and nothing else.
fn without_versions(world: &Value) -> Value {
    match world {
        Value::Object(map) => {
            let open =
                ["description", "dockerImage", "labelsSwarm", "spec", "running", "desired", "env", "command"];
            let kept = map.iter().filter(|(name, _)| !open.contains(&name.as_str()));
            kept.map(|(name, value)| (name.clone(), without_versions(value))).collect()
        }
        Value::Array(all) => all.iter().map(without_versions).collect(),
        other => other.clone(),
    }
}
