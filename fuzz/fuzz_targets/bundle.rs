//! Feeds random bytes to [`portreeve_fuzz::bundle`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::bundle(data));
