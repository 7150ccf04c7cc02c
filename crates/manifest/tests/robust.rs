//! Whatever the bytes: an answer, soon, and nothing else disturbed.

use berth_manifest::{Context, Input, MAX_BYTES, load, render};
use proptest::prelude::*;
use std::time::{Duration, Instant};

const GOOD: &str =
    "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {name: good}\nspec: {apps: {web: {image: a}}}\n";

/// Debug builds and busy machines are slow; a release build is held to a second.
const LIMIT: Duration = Duration::from_secs(if cfg!(debug_assertions) { 10 } else { 1 });

/// Loads the bytes beside a good file, which must not notice.
#[track_caller]
fn check(bytes: Vec<u8>, says: &str) {
    let inputs = [Input::new("bad.yaml", bytes), Input::new("good.yaml", GOOD)];
    let begin = Instant::now();
    let fleet = load(&inputs, &Context::default());
    let text = render(&fleet.errors, &inputs[..], false);
    let took = begin.elapsed();
    assert!(took < LIMIT, "took {took:?}");
    assert!(text.len() < 200_000, "{} bytes of errors", text.len());
    assert_eq!(fleet.stacks.keys().map(|s| s.as_str()).filter(|s| *s == "good").count(), 1, "{text}");
    if says.is_empty() {
        assert!(fleet.errors.is_empty(), "{text}");
    } else {
        let one = fleet.errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        assert!(one.contains(says), "{one}");
        assert!(fleet.bad_files.contains("bad.yaml"));
    }
}

fn named(name: &str) -> String {
    GOOD.replace("name: good", &format!("name: {name}"))
}

#[test]
fn too_large() {
    check(vec![b'a'; 10 << 20], "at most 1048576 are read");
    check([named("large").as_bytes(), b"# ", &vec![b'x'; MAX_BYTES]].concat(), "at most 1048576 are read");
    let padded = format!("{}# {}", named("large"), "x".repeat(MAX_BYTES - 200));
    check(padded.into_bytes(), "");
}

#[test]
fn aliases_that_multiply() {
    let mut bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for (n, l) in ('b'..='k').enumerate() {
        let before = (b'a' + n as u8) as char;
        bomb.push_str(&format!("{l}: &{l} [{}]\n", vec![format!("*{before}"); 9].join(", ")));
    }
    check(bomb.into_bytes(), "repeats itself too often");
    let many = format!("a: &a x\nb: [{}]\n", vec!["*a"; 20_000].join(", "));
    check(many.into_bytes(), "repeats itself too often");
    check(b"a: &a [*a]\n".to_vec(), "not valid YAML");
    check(b"a: *nobody\n".to_vec(), "not valid YAML");
}

#[test]
fn deep() {
    for text in [
        "[".repeat(100_000),
        "{a: ".repeat(100_000),
        "- ".repeat(100_000),
        "? ".repeat(50_000),
        "[{a: ".repeat(30_000),
    ] {
        check(text.into_bytes(), "bad.yaml");
    }
    let blocks: String = (0..1_000).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
    check(blocks.into_bytes(), "too deep");
}

#[test]
fn many() {
    let docs: String = (0..3_000).map(|n| format!("{}---\n", named(&format!("s{n}")))).collect();
    check(docs.into_bytes(), "documents");
    check("---\n".repeat(100_000).into_bytes(), "documents");
    check(format!("a: [{}]\n", "1, ".repeat(200_000)).into_bytes(), "values");
    let keys: String = (0..20_000).map(|n| format!("k{n}: 1\n")).collect();
    let inputs = [Input::new("keys.yaml", keys)];
    let begin = Instant::now();
    assert!(!load(&inputs, &Context::default()).errors.is_empty());
    assert!(begin.elapsed() < LIMIT * 2);
}

#[test]
fn many_faults() {
    let head = "apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {name: x}\nspec:\n  apps:\n    w:\n      image: a\n      env:\n";
    let env: String = (0..20_000).map(|n| format!("        {n}: ${{X}}\n")).collect();
    check(format!("{head}{env}").into_bytes(), "the first 200 are shown");
    let twice = "        A: 1\n".repeat(20_000);
    check(format!("{head}{twice}").into_bytes(), "stands twice");
    let app = |n: usize| format!("    a{n}: {{image: a, needs: [a{}, b{n}, a{}]}}\n", n + 1, n / 2);
    let apps: String = (0..6_000).map(app).collect();
    let start = head.split("    w:").next().unwrap();
    check(format!("{start}{apps}").into_bytes(), "the first 200 are shown");
}

#[test]
fn bytes_that_are_not_text() {
    check(b"a\0b".to_vec(), "NUL");
    check(vec![0xff, 0xfe, b'a', 0], "UTF-8");
    check([named("x").as_bytes(), b"# \xc3\x28\n"].concat(), "UTF-8");
    check((0..=255).collect(), "bad.yaml");
    check([b"\xef\xbb\xbf", named("bom").as_bytes()].concat(), "");
    check(named("crlf").replace('\n', "\r\n").into_bytes(), "");
    check(b"".to_vec(), "empty");
    check(b" \n\n".to_vec(), "empty");
    check(b"\xef\xbb\xbf".to_vec(), "empty");
    check(b"# only\n".to_vec(), "");
    check(b"---\n...\n---\n".to_vec(), "empty");
    check(b"null\n".to_vec(), "empty");
    check(b"%YAML 9.9\n---\na: b\n".to_vec(), "bad.yaml");
    check("apiVersion: berth.dev/v1\u{85}kind: Stack\u{2028}".as_bytes().to_vec(), "bad.yaml");
    check(b"? {a: b}\n: c\n".to_vec(), "a key is a plain text");
    check(b"!!binary aGk=\n".to_vec(), "bad.yaml");
    check(b"!!python/object:os.system x\n".to_vec(), "bad.yaml");
}

#[test]
fn a_broken_document_is_no_removal() {
    let text = format!("{}---\nkind: Stack\nmetadata:\n  name: second\nspec: [\n", named("first"));
    let fleet = load(&[Input::new("a.yaml", text)], &Context::default());
    let names: Vec<_> = fleet.declared.keys().map(ToString::to_string).collect();
    assert_eq!(names, ["stack/first", "stack/second"]);
    for key in fleet.declared.keys() {
        assert!(!fleet.is_removed(key, "a.yaml"));
    }
    let gone = berth_model::Key::parse("stack/gone").unwrap();
    assert!(!fleet.is_removed(&gone, "a.yaml"), "its file has a fault");
    assert!(fleet.is_removed(&gone, "b.yaml"));
}

#[test]
fn ten_thousand_stacks() {
    let mut inputs = vec![Input::new(
        "template.yaml",
        "apiVersion: berth.dev/v1\nkind: StackTemplate\nmetadata: {name: ws}\nspec:\n  target: {project: p}\n  apps:\n    w: {image: \"a:1\", port: 80, host: \"{name}.example.com\", volumes: {\"w-{name}\": /w}, env: {A: \"{name}\", B: {generate: {}}}, resources: {memory: 1Gi}, health: {http: /}}\n",
    )];
    inputs.extend((0..10_000).map(|n| {
        let name = format!("s{n}");
        Input::new(format!("{name}.yaml"), format!("apiVersion: berth.dev/v1\nkind: Stack\nmetadata: {{name: {name}, tenant: t}}\nspec: {{template: ws}}\n"))
    }));
    let cx = Context::default();
    let mut reader = berth_manifest::Reader::new();
    let begin = Instant::now();
    let first = reader.update(&inputs, &cx, &|_| None);
    let cold = begin.elapsed();
    assert!(first.errors.is_empty());
    assert_eq!(first.stacks.len(), 10_000);
    inputs[5].bytes = [&*inputs[5].bytes, b"# changed\n"].concat().into();
    let begin = Instant::now();
    let second = reader.update(&inputs, &cx, &|_| None);
    let warm = begin.elapsed();
    assert_eq!(second.stacks.len(), 10_000);
    println!("cold {cold:?}, one file changed {warm:?}");
    assert!(cold < LIMIT * 2 && warm < LIMIT, "cold {cold:?}, warm {warm:?}");
}

#[test]
fn the_corpus() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut seen = 0;
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let begin = Instant::now();
        berth_manifest::fuzz(&std::fs::read(&path).unwrap());
        assert!(begin.elapsed() < LIMIT, "{path:?} took {:?}", begin.elapsed());
        seen += 1;
    }
    assert!(seen >= 20, "{seen} files");
}

/// Pieces that make up manifests, to be thrown together.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("apiVersion: berth.dev/v1\n".to_owned()),
        prop_oneof![Just("Stack"), Just("StackTemplate"), Just("Project"), Just("Quota")]
            .prop_map(|k| format!("kind: {k}\n")),
        "[a-c]{1,2}".prop_map(|n| format!("metadata: {{name: {n}}}\n")),
        Just("spec:\n".to_owned()),
        Just("spec: {template: a}\n".to_owned()),
        Just("  apps:\n    web:\n".to_owned()),
        Just("      image: a\n      port: 80\n".to_owned()),
        Just("      host: \"{name}.x.y\"\n".to_owned()),
        Just("  domain: {zone: x.y, pattern: \"{app}.x.y\", records: wildcard}\n".to_owned()),
        Just("      env: {A: \"${{project.X}}\", B: *x, C: &x 1, D: null}\n".to_owned()),
        Just("---\n".to_owned()),
        "[ \\t\\n:{}\\[\\]&*!|>'\"#%@`a-z0-9-]{0,12}",
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|p| p.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
        berth_manifest::fuzz(&data);
    }

    #[test]
    fn any_text(text in "\\PC{0,200}") {
        berth_manifest::fuzz(text.as_bytes());
    }

    #[test]
    fn nearly_manifests(text in pieces()) {
        berth_manifest::fuzz(text.as_bytes());
    }

    /// Reading again, with files changed one by one, is the same as reading anew.
    #[test]
    fn a_reader_forgets_nothing_and_keeps_nothing(a in pieces(), b in pieces(), c in pieces()) {
        let cx = Context::default();
        let mut reader = berth_manifest::Reader::new();
        for (x, y) in [(&a, &b), (&c, &b), (&c, &a), (&b, &b)] {
            let inputs = [Input::new("1.yaml", x.as_str()), Input::new("2.yaml", y.as_str())];
            let (again, anew) = (reader.update(&inputs, &cx, &|_| None), load(&inputs, &cx));
            prop_assert_eq!(&again.errors, &anew.errors);
            prop_assert_eq!(&again.warnings, &anew.warnings);
            prop_assert_eq!(&again.stacks, &anew.stacks);
            prop_assert_eq!(&again.projects, &anew.projects);
            prop_assert_eq!(&again.declared, &anew.declared);
            prop_assert_eq!(&again.bad_files, &anew.bad_files);
            // Every file with an error is withheld, and nothing else is.
            let withheld: std::collections::BTreeSet<String> = anew.errors.iter().map(|e| e.file.clone()).collect();
            prop_assert_eq!(&withheld, &anew.bad_files);
            for stack in anew.stacks.values() {
                prop_assert!(!anew.bad_files.contains(stack.origin.file.as_str()));
            }
        }
    }
}
