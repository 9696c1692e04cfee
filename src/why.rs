//! `portreeve why`: from the request id on a refusal to the record, the reason, the policies and the nearest grants.

use portreeve_auditor::{FoundRequest, LogSource, Search, find_request};
use portreeve_engine::explain::{Edit, Explainer, Nearest};
use portreeve_engine::record::Decided;
use portreeve_engine::{Authorizer, Bundle, Decision, Malformed, Timestamp};
use serde::Serialize;

use crate::args::{DocumentFormat, WhyArgs};
use crate::bundle;
use crate::diagnostics::many;
use crate::logs;
use crate::outcome::{Failure, Outcome, Verdict};
use crate::output::{self, Out};

/// Finds the record and explains it.
pub(crate) fn run(args: &WhyArgs) -> Outcome {
    let bundles = args.bundle.iter().map(|name| read(name)).collect::<Result<Vec<_>, _>>()?;
    let logs = logs::sources(&args.logs)?;
    let search = find_request(&logs, &args.request_id).map_err(|e| logs::unread(&e))?;
    let Some(found) = &search.found else { return absent(args, &logs, &search) };
    let log = logs.get(found.evidence.input).map(LogSource::name).unwrap_or_default();
    let explanation = Explanation::of(found, &log, &bundles);
    match args.format {
        DocumentFormat::Human => output::tell(&explanation.human()),
        DocumentFormat::Json => {
            let mut out = Out::new();
            out.json_document(&explanation)?;
            out.flush()?;
        }
    }
    Ok(Verdict::Yes)
}

/// No record of the request: the answer is no only where every line could be read.
fn absent(args: &WhyArgs, logs: &[LogSource], search: &Search) -> Outcome {
    let Some((input, first)) = &search.first_unread else {
        output::tell(&format!("no record of request `{}` is in these logs\n", args.request_id));
        return Ok(Verdict::No);
    };
    let log = logs.get(*input).map(LogSource::name).unwrap_or_default();
    let unread = many(usize::try_from(search.unread).unwrap_or(usize::MAX), "line");
    Err(Failure::with_help(
        format_args!(
            "no record of request `{}` was found, and {unread} could not be read; the first is {log}:{}: {}",
            args.request_id, first.line, first.why
        ),
        "`why` reads the decision log of an enforcer, whole; logs of other meshes are for `audit`",
    ))
}

/// A bundle with its texts, which edits are about.
fn read(name: &str) -> Result<(Bundle, Authorizer), Failure> {
    let bundle = bundle::load(name)?.bundle;
    let authorizer = bundle::compiled(name, &bundle)?;
    Ok((bundle, authorizer))
}

/// The record and what the bundles add to it; also the `--format json` document.
#[derive(Serialize)]
struct Explanation<'a> {
    log: &'a str,
    line: u64,
    at: Timestamp,
    record: &'a Decided,
    /// Where the deciding policies stand, from the bundle that decided; `null` where that bundle was not given.
    policies: Option<Vec<PolicyAt>>,
    /// The answer in a sentence, from the same bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<String>,
    /// The grants that came nearest, from the same bundle.
    nearest: Vec<Nearest>,
    /// The smallest edit that would allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    suggestion: Option<Edit>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    obstacle: Option<String>,
    /// What the other bundles given would answer.
    elsewhere: Vec<Elsewhere>,
}

#[derive(Serialize)]
struct PolicyAt {
    id: String,
    at: String,
}

#[derive(Serialize)]
struct Elsewhere {
    revision: String,
    effect: &'static str,
    reason: &'static str,
}

fn verdict(decision: &Decision<'_>) -> (&'static str, &'static str) {
    (decision.effect.as_str(), decision.reason.as_str())
}

impl<'a> Explanation<'a> {
    fn of(found: &'a FoundRequest, log: &'a str, bundles: &[(Bundle, Authorizer)]) -> Self {
        let decided = &found.decided;
        let own = bundles.iter().find(|(_, a)| *a.revision() == decided.revision);
        let asked = |authorizer: &Authorizer| decided.request(found.at, authorizer.paths(&decided.destination.service));
        let request = own.and_then(|(_, authorizer)| asked(authorizer).ok());
        let policies = own.map(|(_, authorizer)| {
            let is_named = |id: &str| decided.decision.policies.iter().any(|p| p == id);
            let all = authorizer.policies().iter().map(|p| &p.reference).filter(|p| is_named(&p.id));
            all.map(|p| PolicyAt { id: p.id.to_string(), at: p.at.short() }).collect()
        });
        let explained = match (own, &request) {
            (Some((bundle, authorizer)), Some(request)) => {
                Some(Explainer::new(bundle, authorizer).explain(request, &authorizer.decide(request)))
            }
            _ => None,
        };
        let (explanation, nearest, suggestion, obstacle) =
            explained.map_or((None, None, None, None), |e| (Some(e.explanation), e.nearest, e.suggestion, e.obstacle));
        let others = bundles.iter().map(|(_, a)| a).filter(|a| *a.revision() != decided.revision);
        let elsewhere = others.filter_map(|authorizer| {
            // What could not become a request on the wire is none under any bundle; a path that this one refuses is denied by it.
            let (effect, reason) = match asked(authorizer) {
                Ok(request) => verdict(&authorizer.decide(&request)),
                Err(malformed @ Malformed::Path(_)) => verdict(&authorizer.decide_malformed(&malformed)),
                Err(_) => return None,
            };
            Some(Elsewhere { revision: authorizer.revision().to_string(), effect, reason })
        });
        Self {
            log,
            line: found.evidence.line,
            at: found.at,
            record: decided,
            policies,
            explanation,
            nearest: nearest.unwrap_or_default(),
            suggestion,
            obstacle,
            elsewhere: elsewhere.collect(),
        }
    }

    fn human(&self) -> String {
        let record = self.record;
        let facts = &record.request;
        let what = match (&facts.method, &facts.path, facts.port) {
            (Some(method), Some(path), _) => format!("{method} {}{path}", record.destination.service),
            (_, _, Some(port)) => format!("connect {}:{port}", record.destination.service),
            _ => format!("{}: {}", record.destination.service, facts.raw.as_deref().unwrap_or("nothing that could be read")),
        };
        let caller = record.source.service.as_deref().map_or_else(|| "a stranger".to_owned(), |name| format!("`{name}`"));
        let mut out = format!("{} at {}\n  record    {}:{}\n", facts.id, self.at, self.log, self.line);
        out.push_str(&format!("  asked     {what}\n  by        {caller}, {}\n", record.source.id));
        out.push_str(&format!("  answer    {}, {}\n", record.decision.effect, record.decision.reason));
        for error in &record.decision.errors {
            out.push_str(&format!("  error     {error}\n"));
        }
        match &self.policies {
            Some(policies) => policies.iter().for_each(|p| out.push_str(&format!("  policy    `{}` at {}\n", p.id, p.at))),
            None => {
                record.decision.policies.iter().for_each(|id| out.push_str(&format!("  policy    `{id}`\n")));
                out.push_str(&format!(
                    "  note      give the bundle of revision {} for source lines and the nearest grants\n",
                    record.revision
                ));
            }
        }
        if let Some(explanation) = &self.explanation {
            out.push_str(&format!("  because   {explanation}\n"));
        }
        out.push_str(&crate::explained::nearest(&self.nearest));
        out.push_str(&crate::explained::suggestion(self.suggestion.as_ref(), self.obstacle.as_deref()));
        for other in &self.elsewhere {
            out.push_str(&format!("  under {}: {}, {}\n", other.revision, other.effect, other.reason));
        }
        out
    }
}
