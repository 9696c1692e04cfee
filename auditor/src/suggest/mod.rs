//! Drafts policy from traffic: services, operations and permissions of least privilege, with what was seen as comments.
//!
//! `logs → Seer (questions without their values, counted) → Plan (operations and grants of one service) → text`. Beside a bundle only
//! what it does not allow yet is drafted, in its words where it has some.
//!
//! What it gives is a draft for a person: zones, owners, classes of data and the reason of each grant are in no log, and are not
//! invented. INVARIANT: a draft grants nothing that the log shows as denied; where one question was answered both ways nothing is
//! granted, and it is said. A caller without an identity is granted nothing; whom the platform names has the one that the inventory's
//! convention gives it, and it is said how well it is known. No value from a path stands in a draft.

mod beside;
mod convention;
mod paths;
mod plan;
mod seer;
#[cfg(test)]
mod tests;
mod text;

use std::collections::BTreeMap;

pub use beside::changed;
use portreeve_engine::{Authorizer, Bundle, TrustDomain};

use crate::foreign::Reading;
use crate::heads::VerifiedHeads;
use crate::intake::{self, ReadError};
use crate::limits::REJECTED_EXAMPLES_MAX;
use crate::source::LogSource;

/// The policy repo that a draft is held against.
#[derive(Clone, Copy, Debug)]
pub struct Base<'b> {
    /// Its files.
    pub bundle: &'b Bundle,
    /// Their law.
    pub law: &'b Authorizer,
}

/// What is known beside the logs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ground<'b> {
    /// The policy repo that is there already.
    pub base: Option<Base<'b>>,
    /// The trust domain in which a service account of a namespace is `/ns/NAMESPACE/sa/ACCOUNT`. Where nothing is said it is that of the policy repo, if all of
    /// its identities are of this form and of one domain.
    pub trust_domain: Option<&'b TrustDomain>,
}

/// A drafted policy repo, or what a draft changes in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Whole files by name: all of a new repo, those that change of another.
    pub files: BTreeMap<String, String>,
    /// What a person should look at first, a sentence each.
    pub cautions: Vec<String>,
    /// Requests that are in no grant, by the reason.
    pub left_out: BTreeMap<&'static str, u64>,
    /// Requests that were allowed and for which something is granted here.
    pub granted: u64,
    /// Requests that the bundle allows already.
    pub already: u64,
    /// Services drafted.
    pub services: usize,
    /// Operations drafted.
    pub operations: usize,
    /// Permissions drafted.
    pub permissions: usize,
    /// Lines that could not be read.
    pub rejected: u64,
    /// The first of them: the log, the line, and why.
    pub rejected_examples: Vec<(String, u64, String)>,
}

/// Reads logs and drafts policy. `progress` is told the stored bytes read so far.
///
/// # Errors
/// A log cannot be read.
pub fn suggest(logs: &[LogSource], reading: &Reading, ground: Ground<'_>, progress: &mut dyn FnMut(u64)) -> Result<Draft, ReadError> {
    let base = ground.base;
    let mut seer = seer::Seer::new(ground, &reading.names);
    let intake = intake::read(logs, &VerifiedHeads::default(), reading, &mut seer, progress)?;
    let mut draft = text::draft(&seer.finish(), base);
    draft.rejected = intake.inputs.iter().map(|i| i.rejected).sum();
    let each = intake.inputs.iter().flat_map(|i| i.rejected_examples.iter().map(|r| (i.path.clone(), r.line, r.why.clone())));
    draft.rejected_examples = each.take(REJECTED_EXAMPLES_MAX).collect();
    Ok(draft)
}
