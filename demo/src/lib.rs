//! The town: the marketplace as a running mesh, for the verb `demo` and for the tests that compare logs with the world.
//!
//! It makes a certificate authority, starts every service of the marketplace behind a sidecar of its own on loopback, lets
//! players ask lawful and unlawful questions, replaces bundle and certificates in the middle, and stops. What it sees from
//! outside the sidecars it keeps, so that their logs can be held against it. It knows nothing of the auditor: whoever runs the
//! town joins the two.
//!
//! Never: an address other than loopback, a mock of any part, an expectation that was asked of the engine.

mod apps;
pub mod books;
pub mod calls;
mod client;
mod day;
mod error;
mod journal;
mod layout;
pub mod limits;
pub mod market;
mod play;
mod random;
mod running;
mod stage;
mod tally;
mod tokens;

pub use apps::Slowness;
pub use client::{NoAnswer, Presented, Protocol};
pub use day::{Day, day};
pub use error::TownError;
pub use journal::{Answered, Journal, Pages, Seen};
pub use layout::{FIRST, SECOND, Town, TownOptions};
pub use play::{Plan, play};
pub use random::Random;
pub use running::{Rotated, Running};
pub use stage::Stage;
pub use tally::Tally;
pub use tokens::Token;
