//! Feeds every reader of answers about DNS, from providers and from name servers: whatever comes, nothing panics.
//! Seeds: `crates/dns/corpus`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| berth_dns::fuzz(data));
