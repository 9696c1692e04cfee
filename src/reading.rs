//! What `audit` tells on the terminal of the logs of other meshes: what their lines are, how well callers are known, what the format
//! cannot show, and what to add to the mesh's configuration.

use std::fmt::Write as _;

use portreeve_auditor::Assessment;
use portreeve_auditor::assessment::{Fitness, Input};
use portreeve_engine::diagnostic::escape_line;

use crate::diagnostics::many;

/// The lines about logs of other meshes; empty where there are none.
pub(crate) fn told(assessment: &Assessment) -> String {
    let mut out = String::new();
    for input in assessment.inputs.iter().filter(|i| i.format != "portreeve") {
        one(&mut out, input);
        if let Some(joined) = input.coverage.joined
            && let Some(rest) = assessment.inputs.get(joined.rest_input)
        {
            let _ = writeln!(out, "    line {} was cut by rotation and goes on at {}:{}", joined.line, rest.path, joined.rest_line);
        }
    }
    if out.is_empty() {
        return out;
    }
    for reason in &assessment.reads.not_asked {
        let _ = writeln!(out, "  {} not replayable: {}", reason.count, reason.what);
    }
    for fitness in &assessment.reads.fitness {
        fit(&mut out, fitness);
    }
    out
}

fn one(out: &mut String, input: &Input) {
    let c = &input.coverage;
    let _ = writeln!(
        out,
        "  {} ({}): {} = {} decided + {} refused + {} lifecycle + {} duplicates + {} rejected",
        escape_line(&input.path),
        input.format,
        many(usize::try_from(input.lines).unwrap_or(usize::MAX), "line"),
        c.decided,
        c.refused,
        c.lifecycle,
        c.duplicates,
        c.rejected
    );
    let grades: Vec<String> = input.grades.iter().map(|g| format!("{} {}", g.grade, g.count)).collect();
    if !grades.is_empty() {
        let _ = writeln!(out, "    callers by grade: {}", grades.join(", "));
    }
    for rejected in &input.rejected_examples {
        let _ = writeln!(out, "    {}:{}: {}", escape_line(&input.path), rejected.line, escape_line(&rejected.why));
    }
    for other in &c.other {
        let _ = writeln!(out, "    {}: {}", other.what, other.count);
    }
    for (count, what) in
        [(c.undetermined, "requests of which no line says what became of them"), (c.lost, "records that the log itself says were lost")]
    {
        if count > 0 {
            let _ = writeln!(out, "    {what}: {count}");
        }
    }
}

fn fit(out: &mut String, fitness: &Fitness) {
    let checks: Vec<&str> = fitness.impossible.iter().map(|i| i.check.as_str()).collect();
    let _ = writeln!(out, "  {}: no line has {}", fitness.format, fitness.lacks.join(", "));
    let _ = writeln!(out, "    so these checks find nothing: {}", checks.join(", "));
    let _ = writeln!(out, "    help: {}", fitness.advice);
    for line in fitness.snippet.as_deref().unwrap_or_default().lines() {
        let _ = writeln!(out, "      {line}");
    }
}
