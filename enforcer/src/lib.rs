//! The gate: mutual TLS in and out, identity, decide, record, forward or refuse.

pub mod ca;
mod files;
pub mod jwt;
pub mod tls;
