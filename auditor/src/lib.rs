//! The examiner: log → replay → ledger → checks → findings → controls → [`assessment::Assessment`].
//!
//! It reads what enforcers wrote and asks the same law again. It never talks to an enforcer, reads no clock, and prints nothing.
//!
//! INVARIANT (INV-11): one proved counterexample refutes; the absence of counterexamples in absent evidence proves nothing.

mod ahead;
mod array;
pub mod aside;
mod assemble;
pub mod assessment;
pub mod audit;
pub mod baseline;
mod blocks;
pub mod catalog_schema;
mod cells;
mod chains;
pub mod checks;
mod clocks;
pub mod commits;
mod container;
pub mod controls;
mod copies;
mod ends;
mod examined;
mod fidelity;
pub mod find;
mod fold;
pub mod foreign;
pub mod governance;
mod granted;
mod graph;
pub mod heads;
pub mod history;
pub mod intake;
mod intervals;
mod joins;
mod layout;
pub mod ledger;
pub mod ledgers;
pub mod limits;
pub mod measure;
mod method;
mod mistaken;
mod outages;
pub mod own_checks;
pub mod pan;
mod parquet;
mod parsing;
mod placing;
mod proposed;
pub mod reader;
mod reading;
pub mod replay;
pub mod replay_logs;
pub mod replay_report;
mod room;
pub mod sample;
pub mod scan;
pub mod settings;
pub mod source;
pub mod suggest;
mod tallies;
mod traces;
pub mod traffic;
pub mod verdict;
pub mod verify;
mod what_if;
mod workers;

pub use assessment::Assessment;
pub use audit::{Audit, AuditError};
pub use baseline::Earlier;
pub use commits::Commit;
pub use controls::Catalog;
pub use find::{FoundRequest, Search, find_request};
pub use governance::Governance;
pub use heads::VerifiedHeads;
pub use history::History;
pub use intake::ReadError;
pub use mistaken::Mistaken;
pub use own_checks::OwnChecks;
pub use replay_logs::{Trial, replay_logs};
pub use replay_report::ReplayReport;
pub use sample::Sample;
pub use settings::EnforcerConfig;
pub use source::LogSource;
pub use suggest::{Draft, suggest};
pub use verify::{Verification, verify};

#[cfg(test)]
mod analysing;
#[cfg(test)]
mod auditing;
#[cfg(test)]
mod comparing;
#[cfg(test)]
mod governing;
#[cfg(test)]
mod random;
#[cfg(test)]
mod sampling;
#[cfg(test)]
mod scenarios;
#[cfg(test)]
mod tampering;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod threads;
#[cfg(test)]
mod world;
