//! The authority as an agent: it serves the SPIFFE Workload API on a unix socket and gives each caller the identities that its user
//! may have, new ones before the old ones end.
//!
//! A caller is known by its user id alone, which the kernel noted when it connected (`SO_PEERCRED`). Its executable is not asked
//! for, although `SO_PEERPIDFD` would name the process without a race of process ids: a process can connect, share its socket
//! with another, and become the executable that is looked for; the key would go to both. Processes of one user can also read
//! each other's memory. What must not share an identity must not share a user.
//!
//! Never: a key on a disk, an identity for a user that no entry names, an answer to who has only made some server fetch a page
//! (the mandatory header). INVARIANT: what is answered is whole: identity, roots and lists of one moment.

mod budget;
mod feed;
mod keeper;
mod serve;

use std::path::PathBuf;

pub use serve::{Agent, run};

use super::CaError;
use crate::config::ConfigError;

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// An entry of another trust domain than the authority's.
    #[error("the entry for user {uid} names `{id}`, which is not of the authority's trust domain")]
    Entry {
        /// Its user.
        uid: u32,
        /// The id.
        id: portreeve_engine::SpiffeId,
    },
    /// A file of a federated trust domain.
    #[error("`{}` is not usable: {cause}", path.display())]
    Federation {
        /// The file.
        path: PathBuf,
        /// Why not.
        cause: String,
    },
    /// Somebody serves there already.
    #[error("`{}` is in use: another agent answers there", .0.display())]
    InUse(PathBuf),
    /// The socket cannot be made.
    #[error("cannot listen on `{}`: {why}", path.display())]
    Bind {
        /// The socket.
        path: PathBuf,
        /// The cause.
        why: std::io::Error,
    },
    /// Threads or signals cannot be had.
    #[error("the system does not give what is needed: {0}")]
    System(std::io::Error),
}
