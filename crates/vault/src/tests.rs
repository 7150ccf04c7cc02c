//! Known answers, refusals and rotation. The known answers were computed by a second implementation; a test here that
//! no longer holds means that running stacks would get new passwords: mend the code, never the answer.

use crate::{Error, Ring, SystemDice, seal};
use berth_model::Secret;
use berth_model::ids::{AppName, Owner};
use berth_model::stack::{Encoding, Generate};
use berth_ports::{Dice, PortError, SealedFor, Vault};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ONE: &str = "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const TWO: &str = "2:AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// Counts: dice that a test can repeat.
struct Counting(AtomicU64);

impl Dice for Counting {
    fn roll(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }
}

/// A machine that was put back to the same instant again and again.
struct Stuck;

impl Dice for Stuck {
    fn roll(&self) -> u64 {
        4
    }
}

fn owner() -> Owner {
    Owner::new("prod-eu").unwrap()
}

fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

fn ring(text: &str) -> Ring {
    Ring::with_dice(&Secret::new(text), &owner(), Arc::new(Counting(AtomicU64::new(0)))).unwrap()
}

fn how(bytes: u8, encoding: Encoding, version: u32) -> Generate {
    Generate { bytes, encoding, version }
}

const WHAT: SealedFor<'_> = SealedFor { kind: "secret", stack: "shop", app: None, name: "TOKEN" };

fn why(result: Result<Secret, PortError>) -> String {
    match result {
        Err(PortError::Refused { why }) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn generated_values_are_these_for_ever() {
    let ring = ring(ONE);
    let token = |how: Generate| {
        ring.generate("john-dev", &app("workspace"), "OPENCODE_TOKEN", &how).expose().to_owned()
    };
    assert_eq!(
        token(how(32, Encoding::Hex, 1)),
        "3069fe307a1aca1e8738eabe9d57370318e94eb1a22a5740ff6f720e65e9b646"
    );
    assert_eq!(
        token(how(32, Encoding::Hex, 2)),
        "92bfa07af9ee6471a9c0e950a01fcf4265458aacd9d26c25cf6ffe05fd16cab9"
    );
    assert_eq!(token(how(32, Encoding::Base64, 1)), "MGn+MHoayh6HOOq+nVc3AxjpTrGiKldA/29yDmXptkY=");
    let password = ring
        .generate("shop", &app("db"), "POSTGRES_PASSWORD", &how(24, Encoding::Base64Url, 1))
        .expose()
        .to_owned();
    assert_eq!(password, "PKz3jVk50pHBD2GJi2TRJGpZP2R1VBql");
    assert_eq!(ring.generate("a", &app("a"), "a", &how(1, Encoding::Hex, 1)).expose(), "db");
    let longest = token(how(255, Encoding::Hex, 1));
    assert_eq!(longest.len(), 510);
    assert!(longest.ends_with("31a7637ed8253d4c"), "the eighth block");
}

#[test]
fn published_hashes_are_these_for_ever() {
    let mut hash = ring(ONE).hash_key().begin("test");
    hash.text("x");
    assert_eq!(hash.finish().to_string(), "e0ad61809ae41a39");
}

#[test]
fn every_argument_counts() {
    let ring = ring(ONE);
    let base = how(32, Encoding::Hex, 1);
    let values = [
        ring.generate("ab", &app("c"), "D", &base),
        ring.generate("a", &app("bc"), "D", &base),
        ring.generate("abc", &app("d"), "", &base),
        ring.generate("ab", &app("c"), "E", &base),
        ring.generate("ab", &app("c"), "D", &how(32, Encoding::Hex, 2)),
        Ring::with_dice(&Secret::new(ONE), &Owner::new("prod-us").unwrap(), Arc::new(Stuck))
            .unwrap()
            .generate("ab", &app("c"), "D", &base),
    ];
    for (n, value) in values.iter().enumerate() {
        assert!(values[n + 1..].iter().all(|other| other != value), "{n}");
    }
    let longer = ring.generate("ab", &app("c"), "D", &how(40, Encoding::Hex, 1));
    assert!(!longer.expose().starts_with(values[0].expose()), "nothing of the shorter value is used again");
}

#[test]
fn a_rotation_keeps_what_was_generated_and_opens_what_was_sealed() {
    let (before, after) = (ring(ONE), ring(&format!("{TWO}\n{ONE}\n")));
    let base = how(32, Encoding::Hex, 1);
    assert_eq!(
        before.generate("shop", &app("db"), "PASSWORD", &base),
        after.generate("shop", &app("db"), "PASSWORD", &base)
    );
    assert_eq!(before.hash_key().begin("x").finish_now(), after.hash_key().begin("x").finish_now());

    let old = before.seal(WHAT, b"hunter2");
    assert_eq!(after.open(WHAT, &old).unwrap().expose(), "hunter2");
    let new = after.seal(WHAT, b"hunter2");
    assert_eq!((old[1], new[1]), (1, 2), "the newest key seals");
    assert_eq!(after.open(WHAT, &new).unwrap().expose(), "hunter2");
    assert!(after.wants_resealing(&old) && !after.wants_resealing(&new));
    let missing = why(before.open(WHAT, &new));
    assert!(missing.contains("key 2") && missing.contains("put the line of key 2 back"), "{missing}");
}

trait FinishNow {
    fn finish_now(self) -> String;
}
impl FinishNow for berth_model::hash::Writer {
    fn finish_now(self) -> String {
        self.finish().to_string()
    }
}

#[test]
fn a_sealed_text_opens_only_where_it_was_sealed_for() {
    let ring = ring(ONE);
    let (web, api) = (app("web"), app("api"));
    let right = SealedFor { kind: "secret", stack: "shop", app: Some(&web), name: "TOKEN" };
    let sealed = ring.seal(right, b"hunter2");
    assert_eq!(ring.open(right, &sealed).unwrap().expose(), "hunter2");
    for wrong in [
        SealedFor { kind: "version", ..right },
        SealedFor { stack: "shops", ..right },
        SealedFor { app: Some(&api), ..right },
        SealedFor { app: None, ..right },
        SealedFor { name: "TOKEN2", ..right },
        // The same letters, cut elsewhere.
        SealedFor { kind: "secrets", stack: "hop", ..right },
        SealedFor { stack: "shopweb", app: None, ..right },
    ] {
        let why = why(ring.open(wrong, &sealed));
        assert!(why.contains("sealed for something else") && !why.contains("hunter2"), "{why}");
    }
    let other = Ring::parse(&Secret::new(ONE), &Owner::new("prod-us").unwrap()).unwrap();
    assert!(other.open(right, &sealed).is_err(), "another owner");
    let other = ring_of_other_key();
    assert!(other.open(right, &sealed).is_err(), "another key of the same id");
}

fn ring_of_other_key() -> Ring {
    ring(&TWO.replace("2:", "1:"))
}

#[test]
fn damage_is_refused() {
    let ring = ring(ONE);
    let sealed = ring.seal(WHAT, b"hunter2");
    assert_eq!(sealed.len(), seal::length_of_sealed(7));
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1 << bit;
            why(ring.open(WHAT, &damaged));
        }
        why(ring.open(WHAT, &sealed[..at]));
    }
    let later = [&[9], &sealed[1..]].concat();
    assert!(why(ring.open(WHAT, &later)).contains("form 9"));
    assert!(why(ring.open(WHAT, &ring.seal(WHAT, &[0xff, 0xfe]))).contains("not text"));
    assert_eq!(ring.open(WHAT, &ring.seal(WHAT, b"")).unwrap().expose(), "");
}

#[test]
fn nonces_differ_even_where_the_dice_repeat() {
    let ring = Ring::with_dice(&Secret::new(ONE), &owner(), Arc::new(Stuck)).unwrap();
    let nonce = |what, plain: &[u8]| ring.seal(what, plain)[2..26].to_vec();
    let a = nonce(WHAT, b"a");
    assert_ne!(a, nonce(WHAT, b"b"));
    assert_ne!(a, nonce(SealedFor { name: "OTHER", ..WHAT }, b"a"));
    let good = ring_with_good_dice();
    assert_ne!(good.seal(WHAT, b"a"), good.seal(WHAT, b"a"), "the same text is not recognised");
}

fn ring_with_good_dice() -> Ring {
    Ring::parse(&Secret::new(ONE), &owner()).unwrap()
}

#[test]
fn a_key_file_with_comments() {
    let ring = ring(&format!("# newest\r\n\r\n  {TWO}   # since May\r\n{ONE}\r\n# the root stays\r\n"));
    assert_eq!(format!("{ring:?}"), "Ring(prod-eu, keys [2, 1])");
    assert_eq!(ring.seal(WHAT, b"x")[1], 2);
}

#[test]
fn a_bad_key_file_is_refused_by_line_and_never_quoted() {
    let bad = |text: &str| {
        let error = Ring::parse(&Secret::new(text), &owner()).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(!said.contains("AQEB") && !said.contains("AgIC") && !said.contains("hunter2"), "{said}");
        error
    };
    assert_eq!(bad(""), Error::Empty);
    assert_eq!(bad("# 1:hunter2\n\n"), Error::Empty);
    for text in [
        "hunter2",
        ":AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "0:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "256:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "-1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
        "1:hunter2",
        "1:AQEBAQEB",
        "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "1:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
        "1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ] {
        let error = bad(&format!("{TWO}\n{text}\n"));
        assert!(matches!(error, Error::Line { line: 2, .. }), "{text}: {error:?}");
    }
    let same_id = ONE.replace("AQE=", "AQI=");
    assert!(matches!(bad(&format!("{ONE}\n\n{same_id}")), Error::Twice { first: 1, second: 3, .. }));
    assert!(matches!(
        bad(&format!("{ONE}\n{}", ONE.replace("1:", "9:"))),
        Error::Twice { first: 1, second: 2, .. }
    ));
}

#[test]
fn a_new_key_file_and_its_rotations() {
    let dice = Counting(AtomicU64::new(1));
    let mut text = Ring::generate(&dice);
    let first = Ring::parse(&text, &owner()).unwrap();
    let base = how(32, Encoding::Hex, 1);
    let value = first.generate("shop", &app("db"), "PASSWORD", &base);
    let sealed = first.seal(WHAT, b"hunter2");
    for id in 2..=255_u8 {
        text = Ring::rotate(&text, &dice).unwrap();
        let ring = Ring::parse(&text, &owner()).unwrap();
        assert_eq!(ring.seal(WHAT, b"x")[1], id);
        assert_eq!(ring.generate("shop", &app("db"), "PASSWORD", &base), value);
        assert_eq!(ring.open(WHAT, &sealed).unwrap().expose(), "hunter2");
    }
    assert!(text.expose().starts_with("# The keys of Berth's vault."), "the advice stays at the top");
    assert_eq!(Ring::rotate(&text, &dice), Err(Error::Full));
    // A line in the middle may go: its id is free again.
    let without: String =
        text.expose().lines().filter(|l| !l.starts_with("7:")).map(|l| format!("{l}\n")).collect();
    let again = Ring::rotate(&Secret::new(without), &dice).unwrap();
    assert_eq!(Ring::parse(&again, &owner()).unwrap().seal(WHAT, b"x")[1], 7);
    assert_eq!(Ring::rotate(&Secret::new("x"), &dice).unwrap_err(), bad_line_one());
    // Without a line's end, and without a comment.
    let text = Ring::rotate(&Secret::new(ONE), &dice).unwrap();
    assert_eq!(format!("{:?}", Ring::parse(&text, &owner()).unwrap()), "Ring(prod-eu, keys [2, 1])");
}

fn bad_line_one() -> Error {
    Ring::parse(&Secret::new("x"), &owner()).unwrap_err()
}

#[test]
fn the_systems_dice_roll() {
    let dice = SystemDice::new().unwrap();
    assert_ne!((dice.roll(), dice.roll()), (SystemDice::new().unwrap().roll(), dice.roll()));
    assert_ne!(Ring::generate(&dice), Ring::generate(&dice));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_key_file_panics(text in any::<String>(), lines in "([0-9]{0,3}:[A-Za-z0-9+/=]{0,60}[#\r\n ]{0,3}){0,4}") {
        let _ = Ring::parse(&Secret::new(text.clone()), &owner());
        let _ = Ring::parse(&Secret::new(lines.clone()), &owner());
        let _ = Ring::rotate(&Secret::new(text), &Stuck);
        let _ = Ring::rotate(&Secret::new(lines), &Stuck);
    }

    #[test]
    fn no_sealed_text_panics(bytes in prop::collection::vec(any::<u8>(), 0..120), head in 0..3_u8) {
        let ring = ring(ONE);
        let bytes = match head {
            0 => bytes,
            1 => [&[1], bytes.as_slice()].concat(),
            _ => [&[1, 1], bytes.as_slice()].concat(),
        };
        prop_assert!(ring.open(WHAT, &bytes).is_err());
        let _ = ring.wants_resealing(&bytes);
    }

    #[test]
    fn what_is_sealed_opens(
        plain in any::<String>(), kind in any::<String>(), stack in any::<String>(), name in any::<String>(),
        of_app in any::<bool>(),
    ) {
        let ring = ring(ONE);
        let web = app("web");
        let what = SealedFor { kind: &kind, stack: &stack, app: of_app.then_some(&web), name: &name };
        let sealed = ring.seal(what, plain.as_bytes());
        let opened = ring.open(what, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), plain.as_str());
        let moved = SealedFor { app: (!of_app).then_some(&web), ..what };
        prop_assert!(ring.open(moved, &sealed).is_err());
    }

    #[test]
    fn generated_values_have_their_length(bytes in 1..=255_u8, version in any::<u32>(), name in any::<String>()) {
        let ring = ring(ONE);
        let n = usize::from(bytes);
        let value = |encoding| ring.generate("shop", &app("web"), &name, &how(bytes, encoding, version));
        prop_assert_eq!(value(Encoding::Hex).expose().len(), 2 * n);
        prop_assert_eq!(value(Encoding::Base64).expose().len(), n.div_ceil(3) * 4);
        prop_assert_eq!(value(Encoding::Base64Url).expose().len(), (n * 4).div_ceil(3));
    }
}
