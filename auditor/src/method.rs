//! How the examination was done and what it cannot show, in sentences with this examination's own numbers.

use crate::assessment::Totals;
use crate::examined::{Examined, many};
use crate::limits::LINE_BYTES_MAX;

/// The sentences.
pub(crate) fn method(examined: &Examined<'_>, totals: &Totals, newest: &str) -> Vec<String> {
    let mut out = vec![format!(
        "{} were read once and counted once: {} decided, {} refused, {} lifecycle, {} duplicate, {} rejected.",
        many(totals.lines, "line"),
        totals.decided,
        totals.refused,
        totals.lifecycle,
        totals.duplicates,
        totals.rejected
    )];
    out.extend(replayed(examined, totals));
    out.push(format!("Grants, reach and unused grants are those of the newest bundle, {newest} ({}).", examined.newest.revision()));
    out.push(match examined.now {
        Some(now) => format!("No clock was read: the time of the last record, {now}, stands for now."),
        None => "No clock was read, and there is no record that could tell the time.".to_owned(),
    });
    out.push(format!(
        "Sensitive means data of class {}; untrusted means zone {}; both are read from the inventory.",
        examined.scope().sensitive_classes().join(" or "),
        examined.scope().untrusted_zones().join(" or ")
    ));
    out.extend(chains(examined));
    let parquet = examined.reads.iter().filter(|read| read.is_of_rows).count() as u64;
    if parquet > 0 {
        out.push(format!(
            "{} are read row by row: row N stands for line N, and its digest is that of its text as JSON, with the columns in the order of the file, \
             `null` where there is no value, and no white space outside texts.",
            many(parquet, "Parquet file")
        ));
    }
    out.push(format!("A line longer than {LINE_BYTES_MAX} bytes, torn or of another form is rejected, named and counted."));
    if examined.fold.ledger.folded > 0 {
        out.push(format!(
            "There were more distinct facts than are kept apart: {} were counted without their path and hour.",
            many(examined.fold.ledger.folded, "record")
        ));
    }
    out.push(
        "One proved counterexample refutes a control; where the population was not known whole, the control is not assessed.".to_owned(),
    );
    out.push("Traffic that passed no enforcer left no record and is not seen here; whether a requirement is fulfilled is for the assessor to say.".to_owned());
    out
}

/// What was put to policy again: our own records, and what other meshes did, which is held to no revision.
fn replayed(examined: &Examined<'_>, totals: &Totals) -> Vec<String> {
    let theirs = examined.fold.foreign.counts;
    let decided = theirs.allowed + theirs.denied;
    let mut out = Vec::new();
    if decided == 0 || totals.decided > decided {
        out.push(format!(
            "Each of {} was put to the bundle of its revision again, as {}; a difference of effect, reason, operation, policies, caller or revision is a mismatch.",
            many((totals.decided - decided) - (totals.not_replayable - theirs.not_replayable), "decision"),
            many(examined.fold.asked_again(), "distinct question")
        ));
    }
    if decided > 0 {
        out.push(format!(
            "Each of {} of other meshes was put to the bundle in force at its time; what the mesh did and what policy answers stand side by side, \
             and a difference between them is no mismatch.",
            many(decided - theirs.not_replayable, "decision")
        ));
    }
    if totals.not_replayable > 0 {
        out.push(format!(
            "{} could not be replayed: a bundle was not given, or a line does not say enough. The reasons are counted beside the fidelity.",
            many(totals.not_replayable, "decision")
        ));
    }
    out
}

fn chains(examined: &Examined<'_>) -> Vec<String> {
    let chains = &examined.verification.chains;
    let broken = chains.iter().filter(|c| c.faults > 0).count() as u64;
    let vouched = chains.iter().filter(|c| c.vouched_through.is_some()).count() as u64;
    let open = chains.iter().filter(|c| c.open_ended_after.is_some()).count() as u64;
    let all = many(chains.len() as u64, "process");
    let all = all.replace("processs", "processes");
    let mut out =
        vec![format!("The logs are of {all}: {broken} with a broken chain, {vouched} for which a signed head vouches, {open} open-ended.")];
    if vouched < chains.len() as u64 {
        out.push(
            "A log without a signed head from elsewhere is self-consistent at best: rewritten whole, it would look the same.".to_owned(),
        );
    }
    out
}
