//! Processes that a signed head or a later process names and of which no line was given: their decisions are unknown.

use std::collections::BTreeMap;

use crate::assessment::Weight;
use crate::checks::Check;
use crate::examined::{Draft, Examined};

/// See the file's own text.
pub(super) const CHECK: Check =
    Check { id: "absent_log", title: "processes of which no log was given", severity: Weight::Medium, about_evidence: true, find };

fn find(examined: &Examined<'_>) -> Vec<Draft> {
    let by_head = examined.verification.absent.iter().map(|a| (a.instance.clone(), a.seq, "a signed head"));
    let known = |name: &String| examined.chains.all.iter().any(|c| c.instance.as_ref() == Some(name));
    let after = examined.chains.all.iter().filter_map(|c| c.after.as_ref()).filter(|a| !known(&a.instance));
    let all: BTreeMap<String, (u64, &str)> =
        after.map(|a| (a.instance.clone(), a.seq, "the process that followed it")).chain(by_head).map(|(i, s, w)| (i, (s, w))).collect();
    all.into_iter()
        .map(|(instance, (seq, who))| Draft {
            summary: format!("{who} names `seq` {seq} of process {instance}, of which no line was given"),
            subject: instance,
            remedy: "give its log too, or say where it is kept".to_owned(),
            ..Draft::default()
        })
        .collect()
}
