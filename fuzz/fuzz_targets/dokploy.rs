//! Feeds every parser of Dokploy's answers: whatever a server sends, nothing panics.
//! Seeds: `crates/dokploy/corpus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_dokploy::fuzz(data));
