//! Feeds random bytes to [`quick::quick`].

#![no_main]

#[path = "../quick.rs"]
mod quick;

libfuzzer_sys::fuzz_target!(|data: &[u8]| quick::quick(data));
