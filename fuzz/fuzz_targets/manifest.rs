//! Any bytes as a manifest and as `berth.yaml`. Run: `cargo fuzz run manifest crates/manifest/corpus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_manifest::fuzz(data));
