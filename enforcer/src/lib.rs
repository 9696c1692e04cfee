//! The gate: mutual TLS in and out, identity, decide, record, forward or refuse.
//!
//! It never prints, never decides by itself, and never depends on the auditor (INV-2).

pub mod admin;
pub mod again;
pub mod body;
pub mod ca;
pub mod clock;
pub mod config;
mod enforcer;
pub mod fetch;
mod files;
pub mod forward;
pub mod freshness;
pub mod gate;
pub mod h1;
pub mod h2;
pub mod head;
pub mod headers;
pub mod heads;
mod help;
pub mod inbound;
pub mod introduction;
pub mod jwt;
pub mod keep;
pub mod limits;
mod listening;
pub mod live;
pub mod log;
pub mod lookout;
pub mod metrics;
pub mod outbound;
mod places;
pub mod policy;
pub mod pool;
pub mod ports;
pub mod question;
pub mod quota;
pub mod readiness;
pub mod reload;
pub mod renewal;
pub mod report;
pub mod self_check;
pub mod serve;
pub mod shares;
#[cfg(test)]
mod sizes;
pub mod socket;
pub mod standby;
pub mod strict;
pub mod sts;
pub mod supply;
pub mod tasks;
pub mod tcp;
pub mod tenure;
pub mod tether;
pub mod threshold;
pub mod times;
pub mod tls;
pub mod trace;
pub mod witness;
pub mod workers;
pub mod workload;

pub use enforcer::{Enforcer, EnforcerError, check, enforce, run};
