//! HTTP/2 (RFC 9113) as callers speak it to the gate, and the local service to its ways out, without the HTTP library.
//!
//! Heads are read strictly ([`head`]) and looked at as the bytes that came, like those of HTTP/1; what is no request is recorded. One
//! task serves a connection and all of its streams ([`connection`]): nothing is spawned, and what the other side sends without end, or
//! makes us do for nothing, has a bound ([`patience`]).

pub mod bells;
pub mod connection;
pub mod frame;
pub mod head;
pub mod hpack;
pub mod huffman;
pub mod inflow;
pub mod patience;
pub mod pipe;
mod receiving;
mod sending;
pub mod spelled;
mod streams;
#[cfg(test)]
mod tests;
