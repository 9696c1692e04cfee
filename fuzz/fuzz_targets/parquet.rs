//! Feeds random bytes to `parquet::parquet`.

#![no_main]

#[path = "../parquet.rs"]
mod parquet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| parquet::parquet(data));
