//! The gate: mutual TLS in and out, identity, decide, record, forward or refuse.
