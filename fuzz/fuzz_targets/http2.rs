//! Feeds random bytes to [`http2::http2`].

#![no_main]

#[path = "../http2.rs"]
mod http2;

libfuzzer_sys::fuzz_target!(|data: &[u8]| http2::http2(data));
