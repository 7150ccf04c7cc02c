//! The seeded source of everything random: ids, suffixes, lost routers, chaos.
//! It must never read entropy from outside: the same seed gives the same world.

use std::fmt::Write as _;

const NANOID: &[u8; 64] = b"useandom-26T198340PX75pxJACKVERYMINDBUSHWOLF_GQZbfghjklqvwyzrict";
const LOWER: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
const WORDS: [&str; 16] = [
    "copy",
    "virtual",
    "driver",
    "index",
    "digital",
    "system",
    "parse",
    "mobile",
    "pixel",
    "bypass",
    "neural",
    "array",
    "hack",
    "open",
    "feed",
    "calculate",
];

/// SplitMix64: small, and the same on every version of every dependency.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Rng {
        Rng(seed ^ 0x9E37_79B9_7F4A_7C15)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// True with the given probability.
    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Uniform in `[0, 1)`.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn text(&mut self, len: usize, alphabet: &[u8]) -> String {
        (0..len).map(|_| char::from(alphabet[self.below(alphabet.len())])).collect()
    }

    /// An id as the server makes them: nanoid of 21.
    pub(crate) fn id(&mut self) -> String {
        self.text(21, NANOID)
    }

    /// An id as Docker makes them for Swarm objects: 25 of `[a-z0-9]`.
    pub(crate) fn swarm_id(&mut self) -> String {
        self.text(25, LOWER)
    }

    pub(crate) fn suffix(&mut self) -> String {
        self.text(6, LOWER)
    }

    pub(crate) fn word(&mut self) -> &'static str {
        WORDS[self.below(WORDS.len())]
    }
}

/// A stable 64-digit digest of a text: looks like a SHA-256, need not be one.
pub(crate) fn digest(text: &str) -> String {
    let mut seed = 0xcbf2_9ce4_8422_2325_u64;
    for byte in text.bytes() {
        seed = (seed ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    let mut rng = Rng::new(seed);
    let mut out = String::from("sha256:");
    for _ in 0..4 {
        let _ = write!(out, "{:016x}", rng.next());
    }
    out
}
