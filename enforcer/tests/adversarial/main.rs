//! The outside judge: every case of the list of adversarial cases that concerns the gate, against the program as it is shipped.
//!
//! Each test starts the binary on real sockets, speaks real mutual TLS to it with a client of its own (raw bytes, raw HTTP/2
//! frames, certificates made here), looks at the very bytes that a recording service got, and reads the decision log afterwards.
//! Nothing of the gate is called as a library except its certificate-free parts: the log reader of the engine, and the token
//! issuer. `coverage` fails for a number that nobody tests. `chaos` breaks what is around the gate, and
//! `outside` brings clients and judges that others wrote.

#![cfg(test)]
#![expect(clippy::string_slice, reason = "what is cut here is ASCII")]

mod certificates;
mod chaos;
mod client;
mod connections;
mod coverage;
mod foreign;
mod framing;
mod headers;
mod http2;
#[path = "../common/interop.rs"]
mod interop;
mod jwks;
mod log;
mod operation;
mod outside;
mod paths;
mod pki;
mod policy;
mod smuggling;
mod soak;
mod tokens;
mod traffic;
mod upstream;
mod world;
