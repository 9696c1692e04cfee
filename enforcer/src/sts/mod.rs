//! A small security token service, for development and tests: a user's token is exchanged for a short-lived one that is good
//! for one service alone (RFC 8693), and names who asked for it.
//!
//! Never: a token for a service that the configuration does not name, a token that outlives the one it was made from, more
//! scope than that one had, a caller named by its own word. Not for production: its key lies in a file, and it keeps no record.

mod exchange;
mod form;
mod limits;
mod serve;

pub use exchange::{Exchange, Issued, Refused};
pub use form::Form;
pub(crate) use limits::{LIFETIME, LIFETIME_MAX};
pub use serve::{Sts, StsError, run};
