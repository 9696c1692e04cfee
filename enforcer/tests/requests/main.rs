//! What becomes of requests, asked of whole enforcers: tokens, paths, limits, headers, and connections that are no HTTP.

#![cfg(test)]

mod identity;
mod limits;
mod paths;
mod tcp;
#[path = "../../src/fetch/testing.rs"]
#[expect(dead_code, reason = "the client's own tests use more of it")]
mod testing;
mod tokens;
mod world;
