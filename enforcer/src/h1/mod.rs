//! HTTP/1 of our own: strict where a library repairs, and lean where it adapts.
//!
//! One task drives a caller's connection and the service's behind it. A head is read from raw bytes ([`scan`]), judged as it
//! lies there, and written to the service from the judged parts ([`mod@write`]); bodies are taken apart and framed anew ([`body`]).
//! Nothing is spawned for a request, nothing goes through a channel, and no header map is built.
//!
//! INVARIANT: what is judged is what is forwarded, and the bytes of one request are never read as another's.

pub mod body;
pub mod buffer;
pub mod call;
pub mod connect;
pub mod exchange;
pub mod link;
pub mod scan;
pub mod server;
pub mod timer;
pub mod tunnel;
pub mod upstream;
pub mod write;
