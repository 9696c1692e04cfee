//! The examiner: log → replay → ledger → checks → findings → controls → [`assessment::Assessment`].

pub mod assessment;
mod chains;
pub mod checks;
mod ends;
mod examined;
mod fold;
mod granted;
pub mod heads;
pub mod intake;
mod intervals;
pub mod ledger;
pub mod limits;
pub mod reader;
pub mod replay;
pub mod source;
pub mod verify;

#[cfg(test)]
mod tampering;
#[cfg(test)]
mod testing;
