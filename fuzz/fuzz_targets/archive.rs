//! Feeds random bytes to [`portreeve_fuzz::archive`].

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| portreeve_fuzz::archive(data));
