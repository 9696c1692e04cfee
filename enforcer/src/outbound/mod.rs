//! The outbound side: what the local service calls. To services of the mesh over mutual TLS with the peer that the inventory
//! names; to places outside the mesh where the law allows it.
//!
//! What goes to a service of the mesh is decided and recorded by the callee; what goes outside is decided and recorded here
//! ([`egress`]). Listeners are for the local service alone, because whoever reaches them speaks in its name.

pub mod balance;
pub mod body;
pub mod connect;
pub mod desk;
pub mod egress;
pub mod exchange;
pub mod health;
pub mod hello;
pub mod io;
pub mod limits;
pub mod linger;
pub mod local;
pub mod metrics;
pub mod own;
pub mod pool;
pub mod resolve;
pub mod send;
pub mod transparent;
pub mod tunnel;
pub mod upgrade;
mod wiring;

pub use egress::{Egress, EgressTimes};
pub use exchange::Client;
pub use health::{HealthCheck, watch_over};
pub use own::Own;
pub use send::{Destination, Settings};
pub use wiring::{Outbound, addresses, exchange_listed, listed, proxy_listed, sweep, token_services, unknown};
