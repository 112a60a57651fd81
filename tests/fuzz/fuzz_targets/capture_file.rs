//! Feeds `ids_tests::fuzz::capture_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| ids_tests::fuzz::capture_file(data));
