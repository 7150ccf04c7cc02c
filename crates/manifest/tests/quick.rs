//! The quick way says what the long way says, or nothing: one file after the other changes, and both are asked.

use berth_manifest::{Before, Context, Fleet, Input, Reader, load};
use berth_model::Key;
use std::collections::BTreeMap;

/// A small generator, so that a walk can be told again.
struct Walk(u64);

impl Walk {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// A file of one document, now and then of another shape.
fn text(walk: &mut Walk, own: u64) -> String {
    let name = if walk.below(25) == 0 { walk.below(9) } else { own };
    if walk.below(40) == 0 {
        let broken = if walk.below(6) == 0 { "imagine" } else { "image" };
        return format!(
            "apiVersion: berth.dev/v1\nkind: StackTemplate\nmetadata: {{name: t{}}}\nspec:\n  apps: {{web: {{{broken}: a:{}}}}}\n",
            walk.below(2),
            walk.below(3)
        );
    }
    let template = match walk.below(6) {
        0 => format!("  template: t{}\n", walk.below(2)),
        _ => String::new(),
    };
    let host = match walk.below(5) {
        0 => format!(", host: h{}.test, port: 80", walk.below(12)),
        1 => ", port: 80".to_owned(),
        _ => String::new(),
    };
    let domain = match walk.below(5) {
        0 => format!("  domain: {{pattern: \"h{}.test\"}}\n", walk.below(12)),
        1 => format!("  domain: {{zone: h{}.test, records: wildcard}}\n", walk.below(12)),
        _ => String::new(),
    };
    let odd = match walk.below(60) {
        0 => "\n      colour: red",
        1 => "\n      env: {A: {generate: {bytes: 0}}}",
        _ => "",
    };
    let one = format!(
        "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: s{name}}}\nspec:\n  target: {{project: p}}\n{template}{domain}  apps:\n    \
         web: {{image: \"a:{}\"{host}}}{odd}\n",
        walk.below(5)
    );
    match walk.below(60) {
        0 => one.clone() + "---\n" + &one.replace(&format!("name: s{name}"), "name: other"),
        1 => "a: [".to_owned(),
        _ => one,
    }
}

fn invalid(fleet: &Fleet) -> BTreeMap<Key, String> {
    let withheld = |key: &&Key| match key {
        Key::Stack(name) => !fleet.stacks.contains_key(name),
        Key::Project(name) => !fleet.projects.contains_key(name),
    };
    fleet.declared.keys().filter(withheld).map(|key| (key.clone(), String::new())).collect()
}

#[test]
fn the_quick_way_says_what_the_long_way_says() {
    let cx = Context::default();
    let (mut quick, mut long) = (0, 0);
    for seed in 0..60 {
        let mut walk = Walk(seed);
        let mut reader = Reader::new();
        let mut files: BTreeMap<String, Input> = BTreeMap::new();
        let mut fleet = reader.update(&[], &cx, &|_| None);
        for step in 0..60 {
            // Few files first, and later many edits of what is there.
            let own = walk.below(9);
            let file = format!("f{own}.yaml");
            let mut input = Input::new(&*file, text(&mut walk, own).into_bytes());
            input.generation = std::num::NonZeroU64::new(step + 1);
            files.insert(file, input.clone());
            let all: Vec<Input> = files.values().cloned().collect();
            let withheld = invalid(&fleet);
            let before = Before { stacks: &fleet.stacks, invalid: &withheld };
            if let Some(changed) = reader.change(&[input], &cx, before) {
                quick += 1;
                fleet.stacks.extend(changed.into_iter().map(|s| (s.name.clone(), s)));
            } else {
                long += 1;
                fleet = reader.update(&all, &cx, &|_| None);
            }
            let fresh = load(&all, &cx);
            let at = format!("seed {seed}, step {step}");
            assert_eq!(fleet.stacks, fresh.stacks, "{at}");
            assert_eq!(invalid(&fleet), invalid(&fresh), "{at}");
            assert_eq!((&fleet.errors, &fleet.warnings), (&fresh.errors, &fresh.warnings), "{at}");
        }
    }
    assert!(quick > 300 && long > 300, "{quick} quick, {long} long");
}
