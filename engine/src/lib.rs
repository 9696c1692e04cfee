//! The law: vocabulary, bundle, compiler, `decide`. Synchronous; no sockets, no clock, no threads of its own.

pub mod authorizer;
pub mod bundle;
mod cedar;
pub mod chain;
mod compile;
mod condition;
pub mod decision;
pub mod diagnostic;
pub mod digest;
pub mod explain;
pub mod id;
mod invariant;
mod inventory;
mod limits;
pub mod model;
pub mod path;
mod reach;
pub mod record;
pub mod reference;
mod rego;
pub mod request;
pub mod svid;
mod table;
pub mod template;
pub mod time;
pub mod yaml;

pub use authorizer::{AllowedEdge, Authorizer, Compiled, Language, Policy};
pub use bundle::{Bundle, Revision, SourceFile};
pub use decision::{Decision, Effect, PolicyRef, Reason};
pub use diagnostic::{Diagnostic, Location, Severity};
pub use digest::Digest;
pub use id::{SpiffeId, TrustDomain};
pub use record::{Event, Record};
pub use request::{Malformed, Request};
pub use svid::Svid;
pub use time::Timestamp;
