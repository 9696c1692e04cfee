//! The gate: mTLS in and out, identity, decide, record, forward or refuse.
//!
//! It never prints, never decides by itself, and never depends on the auditor (INV-2).

pub mod clock;
pub mod config;
pub mod limits;
