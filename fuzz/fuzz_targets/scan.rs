//! Feeds random bytes to [`scan::scan`].

#![no_main]

#[path = "../scan.rs"]
mod scan;

libfuzzer_sys::fuzz_target!(|data: &[u8]| scan::scan(data));
