//! Writing records, one by one or in a batch that happens whole or not at all.
//! It must never leave half of a batch behind.

use http::Method;
use serde_json::{Value, json};

use super::check::{Fields, comparable, fields};
use super::list::{absent, show};
use super::{Outcome, Refusal, granted};
use crate::dns::http::Ask;
use crate::dns::world::World;
use crate::dns::zone::{Draft, RrSet, Value as Record};
use crate::http_api::Reply;

const BATCH: usize = 200;

/// Where an object stands.
struct Place {
    name: String,
    kind: String,
    record: Record,
}

/// The work on one zone.
struct Work<'a> {
    world: &'a World,
    zone: String,
    quota: usize,
    draft: Draft<'a>,
    /// Ids for what is made, drawn before.
    ids: Vec<String>,
}

pub(super) fn write(world: &mut World, ask: &Ask, zone: u64, rest: &[&str], by: &str) -> Outcome<Reply> {
    let body = match ask.method {
        Method::DELETE => Value::Null,
        _ => ask
            .json()
            .filter(Value::is_object)
            .ok_or_else(|| Refusal::new(400, 6_007, "Malformed JSON in request body"))?,
    };
    let posts = body.get("posts").and_then(Value::as_array).map_or(1, Vec::len).min(BATCH);
    let ids = (0..posts).map(|_| world.hex_id()).collect();
    let found = world.zones.get(&zone).ok_or_else(absent)?;
    let mut work = Work {
        zone: found.name.clone(),
        quota: found.quota,
        draft: Draft::new(found, world.now),
        world,
        ids,
    };
    let result = match (&ask.method, rest) {
        (&Method::POST, []) => work.create(&body)?,
        (&Method::POST, ["batch"]) => work.batch(&body)?,
        (&Method::PUT, [id]) => work.change(id, &body, false)?,
        (&Method::PATCH, [id]) => work.change(id, &body, true)?,
        (&Method::DELETE, [id]) => {
            work.delete(id)?;
            json!({"id": id})
        }
        _ => return Err(Refusal::new(405, 10_405, "Method not allowed for this authentication scheme")),
    };
    let edits = work.draft.into_edits();
    world.commit(zone, edits, by);
    Ok(granted(result))
}

impl Work<'_> {
    fn find(&self, id: &str) -> Outcome<Place> {
        let mut keys = self.draft.keys().into_iter();
        let found = keys.find_map(|(name, kind)| {
            let record = self.draft.get(&name, &kind)?.values.iter().find(|v| v.id == id)?.clone();
            Some(Place { name, kind, record })
        });
        found.ok_or_else(absent)
    }

    fn delete(&mut self, id: &str) -> Outcome<Place> {
        let place = self.find(id)?;
        let mut set = self.draft.get(&place.name, &place.kind).cloned().unwrap_or_default();
        set.values.retain(|v| v.id != id);
        self.draft.put(&place.name, &place.kind, set);
        Ok(place)
    }

    fn count(&self) -> usize {
        let keys = self.draft.keys();
        keys.iter().filter_map(|(name, kind)| self.draft.get(name, kind)).map(|set| set.values.len()).sum()
    }

    fn create(&mut self, input: &Value) -> Outcome<Value> {
        let fields = fields(input, &self.zone, None)?;
        if self.count() >= self.quota {
            return Err(Refusal::new(400, 81_045, "Record quota exceeded."));
        }
        let id = self.ids.pop().unwrap_or_default();
        let now = self.world.now;
        self.place(fields, id, now)
    }

    /// PUT and PATCH keep the id; only PATCH keeps what is not named.
    fn change(&mut self, id: &str, input: &Value, keep: bool) -> Outcome<Value> {
        let place = self.find(id)?;
        let before = Fields {
            name: place.name.clone(),
            kind: place.kind.clone(),
            content: place.record.content.clone(),
            ttl: place.record.ttl.unwrap_or(1),
            proxied: place.record.proxied,
            comment: place.record.comment.clone(),
            tags: place.record.tags.clone(),
            flatten: place.record.flatten,
        };
        let fields = fields(input, &self.zone, keep.then_some(&before))?;
        self.delete(id)?;
        self.place(fields, id.to_owned(), place.record.created)
    }

    fn place(&mut self, fields: Fields, id: String, created: std::time::Duration) -> Outcome<Value> {
        self.room(&fields)?;
        let now = self.world.now;
        let record = Record {
            id,
            content: fields.content,
            ttl: Some(fields.ttl),
            comment: fields.comment,
            tags: fields.tags,
            disabled: false,
            proxied: fields.proxied,
            flatten: fields.flatten,
            created,
            modified: now,
        };
        let mut set = self.draft.get(&fields.name, &fields.kind).cloned().unwrap_or_default();
        let out = show(self.world, &fields.name, &fields.kind, &record);
        set.values.push(record);
        let length: usize = set.values.iter().map(|v| v.content.len()).sum();
        if length > 8_192 {
            let message = "The contents of this name and type are longer than 8192 characters.";
            return Err(Refusal::invalid(9_002, message));
        }
        self.draft.put(&fields.name, &fields.kind, RrSet { ttl: None, ..set });
        Ok(out)
    }

    /// What stands there already and excludes this.
    fn room(&self, fields: &Fields) -> Outcome<()> {
        let kinds = self.draft.kinds(&fields.name);
        let has = |kind: &str| kinds.contains(kind);
        let kind = fields.kind.as_str();
        if kind == "CNAME" && (has("A") || has("AAAA") || has("CNAME")) {
            let message = "An A, AAAA, or CNAME record with that host already exists.";
            return Err(Refusal::new(400, 81_053, message));
        }
        if matches!(kind, "A" | "AAAA") && has("CNAME") {
            return Err(Refusal::new(400, 81_054, "A CNAME record with that host already exists."));
        }
        if fields.name != self.zone
            && (kind != "NS" && has("NS") || kind == "NS" && kinds.iter().any(|k| k != "NS"))
        {
            return Err(Refusal::new(400, 81_056, "NS records with that host already exist."));
        }
        let set = self.draft.get(&fields.name, kind);
        let same = comparable(kind, &fields.content);
        if set.is_some_and(|set| set.values.iter().any(|v| comparable(kind, &v.content) == same)) {
            return Err(Refusal::new(400, 81_058, "An identical record already exists."));
        }
        Ok(())
    }

    /// Deletes, then patches, puts and posts; the first error ends it.
    fn batch(&mut self, input: &Value) -> Outcome<Value> {
        let list = |key: &str| input.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
        let (deletes, patches, puts, posts) = (list("deletes"), list("patches"), list("puts"), list("posts"));
        if deletes.len() + patches.len() + puts.len() + posts.len() > BATCH {
            let message = format!("A batch has at most {BATCH} operations.");
            return Err(Refusal::invalid(9_051, message));
        }
        let id = |item: &Value| item["id"].as_str().unwrap_or_default().to_owned();
        let mut out = json!({"deletes": [], "patches": [], "puts": [], "posts": []});
        let mut push = |key: &str, value: Value| {
            if let Some(list) = out[key].as_array_mut() {
                list.push(value);
            }
        };
        for item in &deletes {
            let gone = self.delete(&id(item))?;
            push("deletes", show(self.world, &gone.name, &gone.kind, &gone.record));
        }
        for item in &patches {
            push("patches", self.change(&id(item), item, true)?);
        }
        for item in &puts {
            push("puts", self.change(&id(item), item, false)?);
        }
        for item in &posts {
            push("posts", self.create(item)?);
        }
        Ok(out)
    }
}
