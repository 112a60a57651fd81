//! Feeds `ids_tests::fuzz::eve`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ids_tests::fuzz::eve(data));
