//! The gate: mutual TLS in and out, identity, decide, record, forward or refuse.

pub mod ca;
pub mod jwt;
pub mod tls;
