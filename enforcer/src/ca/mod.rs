//! The built-in certificate authority, for development and small fleets.
//!
//! Its keys lie in files: whoever reads the directory can name any workload of the trust domain. A fleet that matters should
//! use an authority with attestation (SPIRE, a cloud's private CA) and give the enforcer the files.
//!
//! Never: overwrites an authority, issues for another trust domain, issues a leaf that outlives its intermediate.

mod agent;
mod authority;
mod error;
mod head_key;
mod limits;
mod request;
mod revocation;
mod succession;

pub use agent::{Agent, AgentError, run as serve};
pub use authority::{Ca, CaOptions, Issued};
pub use error::CaError;
pub use head_key::{HeadKey, head_key};
pub use limits::{
    AGENT_LIFETIME_DEFAULT, AGENT_SIGNATURES_BURST, AGENT_SIGNATURES_EVERY, CRL_LIFETIME, INTERMEDIATE_LIFETIME_DEFAULT,
    LEAF_LIFETIME_DEFAULT, LEAF_LIFETIME_MAX, LEAF_LIFETIME_MIN, OVERLAP_DEFAULT, ROOT_LIFETIME_DEFAULT,
};
pub use request::{ExtendedUsage, IssueRequest};
pub use succession::{Schedule, Stage, Step};
