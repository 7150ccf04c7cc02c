//! A stack laid over its template: maps merge by key, scalars and lists replace, `null` removes.
//!
//! Only form is known here, with one exception: the value of a variable is one whole and is replaced, not merged.

use crate::tree::{Key, Kind, Node};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// Where in a spec a value stands, as far as it matters for merging.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Spec,
    Apps,
    App,
    /// Variables: their values are wholes.
    Values,
    Else,
}

impl Place {
    fn below(self, key: &str) -> Self {
        match (self, key) {
            (Place::Spec, "apps") => Place::Apps,
            (Place::Apps, _) => Place::App,
            (Place::App, "env" | "secrets" | "files" | "ports") => Place::Values,
            _ => Place::Else,
        }
    }
}

/// `over` laid over `under`, both `spec` of their documents.
#[must_use]
pub(crate) fn spec(over: &Arc<Node>, under: &Arc<Node>) -> Arc<Node> {
    merge(over, under, Place::Spec)
}

fn merge(over: &Arc<Node>, under: &Arc<Node>, place: Place) -> Arc<Node> {
    let (Kind::Map(new), Kind::Map(old)) = (&over.kind, &under.kind) else {
        return over.clone();
    };
    let by_key: HashMap<&str, (&Key, &Arc<Node>)> = new.iter().map(|(k, v)| (&*k.text, (k, v))).collect();
    let mut merged = Vec::with_capacity(new.len() + old.len());
    let mut met = HashSet::new();
    for (key, below) in old {
        let Some((over_key, v)) = by_key.get(&*key.text) else {
            merged.push((key.clone(), below.clone()));
            continue;
        };
        met.insert(&*key.text);
        // On null the template's value goes, and the key counts as omitted.
        if v.kind != Kind::Null {
            let whole = place == Place::Values;
            let value = if whole { (*v).clone() } else { merge(v, below, place.below(&key.text)) };
            merged.push(((*over_key).clone(), value));
        }
    }
    merged.extend(new.iter().filter(|(k, _)| !met.contains(&*k.text)).cloned());
    Arc::new(Node { kind: Kind::Map(merged), at: over.at })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn node(yaml: &str) -> Arc<Node> {
        let (docs, faults) = crate::tree::parse(0, yaml.as_bytes());
        assert!(faults.is_empty(), "{faults:?}");
        docs.into_iter()
            .next()
            .unwrap_or_else(|| Arc::new(Node { kind: Kind::Map(vec![]), at: Default::default() }))
    }

    /// The tree as text, without places.
    fn show(node: &Node) -> String {
        match &node.kind {
            Kind::Null => "null".to_owned(),
            Kind::Scalar { text, .. } => format!("{text:?}"),
            Kind::Seq(items) => format!("[{}]", items.iter().map(|i| show(i)).collect::<Vec<_>>().join(", ")),
            Kind::Map(entries) => {
                let mut all: Vec<_> =
                    entries.iter().map(|(k, v)| format!("{}: {}", k.text, show(v))).collect();
                all.sort();
                format!("{{{}}}", all.join(", "))
            }
        }
    }

    #[track_caller]
    fn check(over: &str, under: &str, expected: &str) {
        assert_eq!(show(&spec(&node(over), &node(under))), show(&node(expected)));
    }

    #[test]
    fn layers() {
        check("{a: 1}", "{b: 2}", "{a: 1, b: 2}");
        check("{a: 1}", "{a: 2}", "{a: 1}");
        check("{a: {x: 1}}", "{a: {y: 2}}", "{a: {x: 1, y: 2}}");
        check("{a: [1]}", "{a: [2, 3]}", "{a: [1]}");
        check("{a: null}", "{a: 2}", "{}");
        check("{a: null}", "{b: 2}", "{a: null, b: 2}");
        check("{a: null}", "{a: null}", "{}");
        check("{a: {x: 1}}", "{a: text}", "{a: {x: 1}}");
        check("{a: text}", "{a: {x: 1}}", "{a: text}");
    }

    #[test]
    fn a_variable_is_one_whole() {
        check(
            "{apps: {w: {env: {A: {secret: s}, B: null}}}}",
            "{apps: {w: {env: {A: {generate: {bytes: 3}}, B: x, C: y}}}}",
            "{apps: {w: {env: {A: {secret: s}, C: y}}}}",
        );
        // An app may be called env.
        check(
            "{apps: {env: {image: {follow: 5m}}}}",
            "{apps: {env: {image: {ref: x}}}}",
            "{apps: {env: {image: {ref: x, follow: 5m}}}}",
        );
    }

    fn tree() -> impl Strategy<Value = Arc<Node>> {
        let scalar = "[a-c]{1,2}".prop_map(|t| Kind::Scalar { text: t.into(), plain: true, via: None });
        let leaf = prop_oneof![1 => Just(Kind::Null), 4 => scalar];
        leaf.prop_recursive(4, 32, 4, |inner| {
            let inner = inner.prop_map(|kind| Arc::new(Node { kind, at: Default::default() }));
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Kind::Seq),
                proptest::collection::btree_map("[a-d]|apps|env", inner, 0..4).prop_map(|m| {
                    let key = |k: String| crate::tree::Key { text: k.into(), at: Default::default() };
                    Kind::Map(m.into_iter().map(|(k, v)| (key(k), v)).collect())
                }),
            ]
        })
        .prop_map(|kind| Arc::new(Node { kind, at: Default::default() }))
    }

    fn map() -> impl Strategy<Value = Arc<Node>> {
        tree().prop_map(|n| match n.kind {
            Kind::Map(_) => n,
            _ => Arc::new(Node { kind: Kind::Map(vec![]), at: Default::default() }),
        })
    }

    fn has_null(node: &Node) -> bool {
        match &node.kind {
            Kind::Null => true,
            Kind::Map(entries) => entries.iter().any(|(_, v)| has_null(v)),
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn nothing_over_a_template_is_the_template(t in map()) {
            prop_assert_eq!(show(&spec(&node("{}"), &t)), show(&t));
        }

        #[test]
        fn a_stack_over_nothing_is_the_stack(s in map()) {
            prop_assert_eq!(show(&spec(&s, &node("{}"))), show(&s));
        }

        #[test]
        fn the_same_twice_is_the_same(t in map()) {
            prop_assume!(!has_null(&t));
            prop_assert_eq!(show(&spec(&t, &t)), show(&t));
        }

        #[test]
        fn what_a_stack_says_stands(s in map(), t in map()) {
            let merged = spec(&s, &t);
            let Kind::Map(entries) = &s.kind else { return Ok(()) };
            for (key, value) in entries {
                match &value.kind {
                    Kind::Null if t.get(&key.text).is_some() => prop_assert!(merged.get(&key.text).is_none()),
                    Kind::Map(_) => prop_assert!(merged.get(&key.text).is_some()),
                    _ => prop_assert_eq!(show(merged.get(&key.text).unwrap()), show(value)),
                }
            }
        }
    }
}
