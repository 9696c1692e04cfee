//! The built-in certificate authority, for development and small fleets.
//!
//! Its keys lie in files: whoever reads the directory can name any workload of the trust domain. A fleet that matters should
//! use an authority with attestation (SPIRE, a cloud's private CA) and give the enforcer the files.

mod authority;
mod limits;

pub use authority::{Ca, CaError, CaOptions, IssueRequest, Issued};
pub use limits::{LEAF_LIFETIME_DEFAULT, LEAF_LIFETIME_MAX};
