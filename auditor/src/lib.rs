//! The examiner: log → replay → ledger → checks → findings → controls → [`assessment::Assessment`].

pub mod assessment;
mod chains;
pub mod heads;
pub mod intake;
mod intervals;
pub mod limits;
pub mod reader;
pub mod source;
pub mod verify;

#[cfg(test)]
mod tampering;
#[cfg(test)]
mod testing;
