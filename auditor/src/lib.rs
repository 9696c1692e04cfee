//! The examiner: log → replay → ledger → checks → findings → controls → [`assessment::Assessment`].

pub mod assessment;
