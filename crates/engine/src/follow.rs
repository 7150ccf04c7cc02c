//! Moving tags: an image that is followed is pinned to the digest its tag has now. One look-up per distinct image and
//! interval; a digest that moved wakes whoever follows it, and is from there on a change like any other.

use crate::Engine;
use crate::queue::Lane;
use crate::state::State;
use berth_model::field::{Field, Value};
use berth_model::ids::{AppName, Key};
use berth_model::observed::{ImageAnswer, Observed};
use berth_model::record::Record;
use berth_model::stack::Stack;
use berth_ports::{Registry, World};
use futures::StreamExt;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// After a look-up that told nothing, a run that needs the digest asks again no sooner.
const PATIENCE: Duration = Duration::from_secs(15);

/// Look-ups at once: a registry that does not answer holds up no other.
const AT_ONCE: usize = 4;

/// A tag that somebody follows.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    /// The shortest interval that a manifest asks for.
    every: Duration,
    /// One of those who follow it: whose credentials are used.
    by: (Key, AppName),
    /// The digest, once it was told.
    digest: Option<String>,
    asked: Option<Instant>,
}

impl Followed {
    /// When it is looked up next: at once where it never was.
    fn due(&self) -> Instant {
        self.asked.map_or_else(Instant::now, |at| at + self.every)
    }
}

impl State {
    /// Takes over what is followed from a new desired fleet, with the digests that are known.
    pub(crate) fn set_followed(&mut self) {
        let mut followed: BTreeMap<String, Followed> = BTreeMap::new();
        for stack in self.wanted.stacks.values() {
            for (name, app) in &stack.apps {
                let Some(every) = app.follow else { continue };
                let old = self.followed.get(&app.image);
                let entry = followed.entry(app.image.clone()).or_insert_with(|| Followed {
                    every,
                    by: (Key::Stack(stack.name.clone()), name.clone()),
                    digest: old.and_then(|o| o.digest.clone()),
                    asked: old.and_then(|o| o.asked),
                });
                entry.every = entry.every.min(every);
            }
        }
        self.followed = followed;
    }

    /// When the next look-up is due.
    pub(crate) fn next_follow(&self) -> Option<Instant> {
        self.followed.values().map(Followed::due).min()
    }
}

impl<W: World> Engine<W> {
    /// The stack with every followed image pinned to its digest, as far as one is known or told now.
    pub(crate) async fn pinned(&self, stack: Arc<Stack>, record: &Record) -> Arc<Stack> {
        if stack.apps.values().all(|a| a.follow.is_none()) {
            return stack;
        }
        let mut pinned = (*stack).clone();
        for (name, app) in pinned.apps.iter_mut().filter(|(_, a)| a.follow.is_some()) {
            let known = self.state().followed.get(&app.image).cloned();
            let Some(known) = known else { continue };
            let deployed = record.apps.get(name).and_then(|r| r.image.as_deref());
            let before = deployed.and_then(|i| i.strip_prefix(app.image.as_str())?.strip_prefix('@'));
            let waits = known.asked.is_some_and(|at| at.elapsed() < PATIENCE);
            let digest = match known.digest.or_else(|| before.map(str::to_owned)) {
                None if !waits => self.ask(&app.image, &stack, name).await,
                known => known,
            };
            if let Some(digest) = digest {
                app.image = format!("{}@{digest}", app.image);
            }
        }
        Arc::new(pinned)
    }

    /// Looks up the tags that are due.
    pub(crate) async fn follow(&self) {
        let now = Instant::now();
        let due: Vec<(String, Followed)> = {
            let state = self.state();
            let due = state.followed.iter().filter(|(_, f)| f.due() <= now);
            due.map(|(image, f)| (image.clone(), f.clone())).collect()
        };
        futures::stream::iter(due).for_each_concurrent(AT_ONCE, |(image, f)| self.look_up(image, f)).await;
    }

    async fn look_up(&self, image: String, followed: Followed) {
        let (Key::Stack(name), app) = &followed.by else { return };
        let Some(stack) = self.state().wanted.stacks.get(name).cloned() else { return };
        let digest = self.ask(&image, &stack, app).await;
        if digest.is_none() || digest == followed.digest {
            return;
        }
        let keys: Vec<Key> = {
            let state = self.state();
            let follows = |s: &Stack| s.apps.values().any(|a| a.follow.is_some() && a.image == image);
            let all = state.wanted.stacks.values().filter(|s| follows(s));
            all.map(|s| Key::Stack(s.name.clone())).collect()
        };
        for key in keys {
            self.wake(&key, Lane::Change, "its image's tag moved");
        }
    }

    async fn ask(&self, image: &str, stack: &Stack, app: &AppName) -> Option<String> {
        let hash_key = berth_ports::Vault::hash_key(&self.parts.vault);
        let compiled = self.compile(stack, &Record::default(), &Observed::default(), &hash_key);
        let auth = compiled.desired.apps.iter().find(|a| a.name == *app).and_then(|a| {
            match (a.fields.get(&Field::RegistryUser), a.fields.get(&Field::RegistryPassword)) {
                (Some(Value::Text(user)), Some(Value::Secret(password))) => {
                    Some((user.clone(), password.clone()))
                }
                _ => None,
            }
        });
        let auth = auth.as_ref().map(|(user, password)| (user.as_str(), password));
        let answer = self.parts.registry.image(image, auth).await;
        let mut state = self.state();
        let followed = state.followed.get_mut(image)?;
        followed.asked = Some(Instant::now());
        match answer {
            ImageAnswer::Found(Some(digest)) => {
                followed.digest = Some(digest.clone());
                Some(digest)
            }
            ImageAnswer::Found(None) => None,
            ImageAnswer::Missing | ImageAnswer::Denied | ImageAnswer::NoAnswer(_) => {
                tracing::warn!(image, ?answer, "a tag that is followed could not be looked up");
                None
            }
        }
    }
}
