//! Images: how a container of one behaves, and the registry that lists them.
//! The registry must never answer for an image nobody declared: unknown tags are 404 there.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::rng::digest;

/// What a container of an image does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Runs and answers 200 on every path.
    Ok,
    /// Is not in the registry: the pull fails, so the deployment ends in `error`.
    Missing,
    /// Its task dies at once.
    Crash,
    /// Runs, every path answers 500 (and any container health check fails).
    Unhealthy,
    /// Runs; answers these statuses by path, 404 for every other path.
    Status(BTreeMap<String, u16>),
    /// Runs, but refuses connections for this long.
    SlowStart(Duration),
    /// Exists on the host only: a deploy fails at the pull, a redeploy works.
    LocalOnly,
}

#[derive(Clone, Debug)]
pub struct Image {
    pub behaviour: Behaviour,
    pub digest: String,
}

/// Every declared image by `registry/name:tag`, and by digest those that a tag pointed to at some time.
#[derive(Clone, Debug, Default)]
pub struct Images {
    pub tags: BTreeMap<String, Image>,
    digests: BTreeMap<(String, String), Behaviour>,
    pushes: u64,
}

/// A reference split into name, tag and digest.
pub(crate) fn split(reference: &str) -> (String, Option<String>, Option<String>) {
    let (rest, digest) = match reference.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest.to_owned())),
        None => (reference, None),
    };
    match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name.to_owned(), Some(tag.to_owned()), digest),
        _ => (rest.to_owned(), None, digest),
    }
}

fn canonical(reference: &str) -> String {
    let (name, tag, _) = split(reference);
    format!("{name}:{}", tag.as_deref().unwrap_or("latest"))
}

impl Images {
    /// Declares an image or changes how it behaves; its digest stays what it was.
    pub fn set(&mut self, reference: &str, behaviour: Behaviour) {
        let key = canonical(reference);
        let digest = self.tags.get(&key).map_or_else(|| digest(&key), |image| image.digest.clone());
        self.store(key, digest, behaviour);
    }

    /// Moves a tag: a new digest; whoever pinned the old one keeps the old behaviour.
    pub fn push(&mut self, reference: &str, behaviour: Behaviour) -> String {
        self.pushes += 1;
        let key = canonical(reference);
        let digest = digest(&format!("{key}#{}", self.pushes));
        self.store(key, digest.clone(), behaviour);
        digest
    }

    fn store(&mut self, key: String, digest: String, behaviour: Behaviour) {
        let (name, _, _) = split(&key);
        self.digests.insert((name, digest.clone()), behaviour.clone());
        self.tags.insert(key, Image { behaviour, digest });
    }

    /// The behaviour of a reference as written in a spec; unknown images are fine ones.
    pub fn behaviour(&self, reference: &str) -> &Behaviour {
        let (name, _, digest) = split(reference);
        let pinned = digest.and_then(|digest| self.digests.get(&(name, digest)));
        pinned
            .or_else(|| self.tags.get(&canonical(reference)).map(|i| &i.behaviour))
            .unwrap_or(&Behaviour::Ok)
    }

    /// The digest a manifest request finds: by tag or by digest, under this registry's name or none.
    pub fn manifest(&self, registry: &str, name: &str, reference: &str) -> Option<String> {
        let pullable = |b: &Behaviour| !matches!(b, Behaviour::Missing | Behaviour::LocalOnly);
        [format!("{registry}/{name}"), name.to_owned()].into_iter().find_map(|name| {
            if reference.starts_with("sha256:") {
                let found = self.digests.get(&(name, reference.to_owned()))?;
                return pullable(found).then(|| reference.to_owned());
            }
            let image = self.tags.get(&format!("{name}:{reference}"))?;
            pullable(&image.behaviour).then(|| image.digest.clone())
        })
    }
}
