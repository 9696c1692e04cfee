//! The space of all requests as finite, exact partitions, and policies as sets in it.
//!
//! A request is a caller, a target and a context. [`principal`] parts callers, [`target`] parts what is asked of a service,
//! [`space`] parts contexts; each into kinds that every policy of the bundles in question treats alike, with one
//! representative each. So a statement about all requests is a statement about finitely many kinds, and it is shown by a
//! request that anybody can put to `decide`.
//!
//! Nothing here samples. What cannot be looked into is [`opaque`]; what would take too much is
//! [`TooLarge`](diagram::TooLarge), and whoever asked must say that they do not know.

pub(crate) mod attribute;
pub(crate) mod cell;
pub(crate) mod diagram;
pub(crate) mod instant;
pub(crate) mod law;
mod modules;
pub(crate) mod network;
pub(crate) mod opaque;
pub(crate) mod principal;
pub(crate) mod space;
pub(crate) mod target;
pub(crate) mod words;
