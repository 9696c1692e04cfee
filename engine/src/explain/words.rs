//! A decision in one sentence, for people.

use crate::authorizer::Authorizer;
use crate::decision::{Decision, Effect, Reason};
use crate::diagnostic;
use crate::request::{Request, Target, Token};

/// Why the decision is what it is: lower case, no full stop, input in backticks.
#[must_use]
pub fn in_words(authorizer: &Authorizer, request: &Request, decision: &Decision<'_>) -> String {
    let service = &request.service;
    let caller = authorizer.identify(&request.principal).map_or_else(|| format!("`{}`", request.principal), |s| format!("`{}`", s.name));
    let policies: Vec<String> = decision.policies.iter().map(|p| format!("`{}` ({})", p.id, p.at.short())).collect();
    let policies = policies.join(" and ");
    let call = match &request.target {
        Target::Http { method, path } => format!("{} {}", method.as_str(), path.as_str()),
        Target::Connect { port } => format!("port {port}"),
    };
    let errors = decision.errors.join("; ");
    let answer = match decision.reason {
        Reason::Permitted => format!("{policies} permits it"),
        Reason::Prohibited => format!("{policies} prohibits it, and a prohibition beats every grant"),
        Reason::EvaluationError => format!("a policy could not be evaluated, and an error denies: {errors}"),
        Reason::MalformedRequest => format!("the request is ambiguous or broken, so no policy was asked: {errors}"),
        Reason::UnknownService => {
            let known = authorizer.services().iter().map(|s| &*s.name);
            let near = diagnostic::nearest(service, known).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            format!("the inventory has no service `{service}`{near}")
        }
        Reason::InvalidToken => {
            let why = match &request.context.jwt {
                Some(Token::Invalid(why)) => format!("it was refused as `{why}`"),
                _ => "a claim is not of the type that the inventory gives it".to_owned(),
            };
            format!(
                "a user token was sent that is not acceptable ({why}), so no policy was asked; a call without any token would be judged"
            )
        }
        Reason::UnknownPrincipal => {
            format!("no service of the inventory has the identity {caller}, and no grant covers it by name or pattern")
        }
        Reason::UndeclaredOperation => {
            format!("`{call}` is no declared operation of `{service}`, and no grant lets {caller} reach undeclared paths")
        }
        Reason::ConditionUnmet => format!("a grant lets {caller} do this, but only under conditions that do not hold"),
        Reason::NoPermission => {
            let operation = decision.operation.unwrap_or(&call);
            format!("no permission lets {caller} call `{operation}` of `{service}`, and what nothing allows is denied")
        }
    };
    format!("{answer}{}", in_dry_run(decision))
}

/// What the satisfied permissions in dry-run would do.
fn in_dry_run(decision: &Decision<'_>) -> String {
    let would = |effect: Effect, what: &str| {
        let found: Vec<String> =
            decision.shadow.iter().filter(|p| p.effect == effect).map(|p| format!("`{}` ({})", p.id, p.at.short())).collect();
        if found.is_empty() { String::new() } else { format!("; in dry-run {} would {what} it", found.join(" and ")) }
    };
    format!("{}{}", would(Effect::Deny, "prohibit"), would(Effect::Allow, "permit"))
}
