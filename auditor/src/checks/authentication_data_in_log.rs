//! Records that seem to hold what is on a magnetic stripe, or a verification code: data that must not be kept after authorisation. A person
//! must look; what was seen is never repeated.

use crate::assessment::Weight;
use crate::checks::Check;
use crate::checks::card_number_in_log::suspicions;
use crate::examined::{Draft, Examined};
use crate::pan::Suspicion;

/// See the file's own text.
pub(super) const CHECK: Check = Check {
    id: "authentication_data_in_log",
    title: "records that seem to hold stripe data or codes",
    severity: Weight::High,
    about_evidence: false,
    find,
};

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    suspicions(examined, Suspicion::Authentication, "what looks like stripe data or a verification code")
}
