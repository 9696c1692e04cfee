//! `portreeve check --cacheability`: how the answers of each policy come about, and why some cannot be kept. Only renders.

use portreeve_engine::{Answered, Authorizer, Language, Policy};
use serde::Serialize;

/// One policy.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// Its id.
    id: &'a str,
    /// `file:line`.
    at: String,
    /// `yaml`, `cedar` or `rego`.
    language: &'static str,
    /// `from-table`, `in-place`, `kept` or `each-time`.
    answered: &'static str,
    /// What its answers are kept under.
    #[serde(skip_serializing_if = "Option::is_none")]
    reads: Option<Vec<String>>,
    /// Why they are not kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
}

/// Every policy of a bundle, by id.
pub(crate) fn lines(authorizer: &Authorizer) -> Vec<Line<'_>> {
    authorizer.policies().iter().map(line).collect()
}

fn line(policy: &Policy) -> Line<'_> {
    let (answered, reads, because) = match &policy.answered {
        Answered::FromTable => ("from-table", None, None),
        Answered::InPlace => ("in-place", None, None),
        Answered::Kept(reads) => ("kept", Some(reads.words()), None),
        Answered::EachTime(why) => ("each-time", None, Some(&**why)),
    };
    let language = match policy.language {
        Language::Yaml => "yaml",
        Language::Cedar => "cedar",
        Language::Rego => "rego",
    };
    Line { id: &policy.reference.id, at: policy.reference.at.short(), language, answered, reads, because }
}

/// For people: the plain ones counted, the others each with its reason.
pub(crate) fn human(lines: &[Line<'_>]) -> String {
    let of = |answered: &str| lines.iter().filter(|l| l.answered == answered).count();
    let policies = |n: usize| if n == 1 { "1 policy".to_owned() } else { format!("{n} policies") };
    let mut out = format!(
        "how answers come about:\n  from the table alone   {}\n  conditions in place    {}\n  kept once evaluated    {}\n  evaluated each time    {}\n",
        policies(of("from-table")),
        policies(of("in-place")),
        policies(of("kept")),
        policies(of("each-time")),
    );
    for line in lines {
        let what = match (&line.reads, line.because) {
            (Some(reads), _) if reads.is_empty() => "kept for each caller and operation: it reads nothing else".to_owned(),
            (Some(reads), _) => format!("kept under {}", reads.join(", ")),
            (_, Some(why)) => format!("evaluated each time, because {why}"),
            _ => continue,
        };
        out.push_str(&format!("  `{}` ({}): {what}\n", line.id, line.at));
    }
    out
}
