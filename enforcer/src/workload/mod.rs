//! The SPIFFE Workload API: the protocol by which a workload gets its identity from an agent on its own machine. Client and
//! server share the messages, their frames and the address of the socket.
//!
//! It is gRPC, spoken over HTTP/2 without TLS: what is needed of it is five messages and one way of framing them, which are
//! written out here rather than generated. INVARIANT: nothing that is read grows without a bound; a message that is not whole
//! is an error, never a part.

mod client;
mod endpoint;
mod following;
mod frame;
mod limits;
mod message;
mod pipe;
mod source;
mod wire;

pub use client::{FetchError, Stream, fetch};
pub use endpoint::{Endpoint, EndpointError, SOCKET_VARIABLE};
pub use following::{Following, Latest};
pub use frame::{FrameError, Status};
pub use message::{MessageError, X509Bundles, X509Svid, X509SvidResponse};
pub use source::{FromApi, News, Source};

pub(crate) use frame::framed;
pub(crate) use pipe::Tasks;
