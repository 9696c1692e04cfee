//! Feeds random bytes to [`portreeve_fuzz::yaml`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::yaml(data));
