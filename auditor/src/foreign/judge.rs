//! What policy says to a request that another mesh recorded.
//!
//! A foreign record holds less than a question: no claims, no headers, often no identity. Policy is asked where what is missing
//! cannot change the answer; everywhere else the record is *not replayable*, with the reason.
//!
//! INVARIANT: an answer given here is the answer of `decide` to every question that agrees with the line, but for those that bring
//! a token or header that is not acceptable: policy denies them whatever they ask.

use std::collections::BTreeSet;

use portreeve_engine::decision::{Effect, Reason};
use portreeve_engine::model::{Condition, Endpoint, Service};
use portreeve_engine::request::{Context, Method, Request, Target, parse_query, parse_target};
use portreeve_engine::{Answered, Authorizer, Digest, SpiffeId};

use super::names::Names;
use super::resolve::{From, Resolver};
use super::seen::Seen;

/// What policy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lawful {
    /// The record is the enforcer's own: it holds the answer itself.
    Recorded,
    /// The answer of the bundle in force.
    Says(Effect),
    /// It cannot be asked.
    NotAsked(Lack),
}

/// What a record lacks for policy to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lack {
    /// Nothing says who called.
    Caller,
    /// The history of bundles begins after it, or the bundle of its time was not given.
    Bundle,
    /// Its name or address is of no service of the inventory.
    CallerService,
    /// Nothing says which service was called, or the name is of none.
    Callee,
    /// The log knows the connection; policy speaks of methods and paths.
    Layer,
    /// It has neither method and path nor a port.
    Target,
    /// The path cannot be read in the one form that policies judge.
    Path,
    /// A policy that could decide reads claims, headers or other facts that are not in the log.
    Facts,
    /// The caller's service has several identities, and policy tells them apart.
    Identity,
}

impl Lack {
    /// Every reason.
    pub const ALL: [Self; 9] =
        [Self::Bundle, Self::Caller, Self::CallerService, Self::Callee, Self::Layer, Self::Target, Self::Path, Self::Facts, Self::Identity];

    /// The reason, as the end of "not replayable: …".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "the line does not say who called",
            Self::Bundle => "no bundle that was given was in force at its time",
            Self::CallerService => "the caller's name or address is of no service of the inventory",
            Self::Callee => "the line names no service of the inventory as called",
            Self::Layer => "the line tells of a connection, and policy of methods and paths",
            Self::Target => "the line has neither method and path nor a port",
            Self::Path => "the path cannot be read in one way",
            Self::Facts => "a policy reads facts that the line does not have",
            Self::Identity => "policy tells the identities of the caller's service apart",
        }
    }
}

/// A request, resolved and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) from: Option<String>,
    pub(crate) from_id: Option<SpiffeId>,
    pub(crate) from_name: Option<String>,
    pub(crate) to: String,
    pub(crate) operation: Option<String>,
    pub(crate) path: Option<String>,
    pub(crate) reason: Option<Reason>,
    pub(crate) policies: Vec<String>,
    pub(crate) lawful: Lawful,
}

/// Judges under one bundle.
pub(crate) struct Judge<'a> {
    pub(crate) law: &'a Authorizer,
    resolver: Resolver<'a>,
    /// Who is granted anything of whom; `None` stands for strangers.
    granted: BTreeSet<(Option<&'a str>, &'a str)>,
    /// Whether an answer may depend on the time.
    pub(crate) timed: bool,
    /// Whether an answer may depend on the caller's address.
    pub(crate) reads_address: bool,
    pub(crate) revision: Digest,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(law: &'a Authorizer) -> Self {
        let granted = law.allowed().iter().map(|e| (e.from.map(|s| &*s.name), &*e.to.name)).collect();
        Self {
            law,
            resolver: Resolver::new(law),
            granted,
            timed: law.reads_time(),
            reads_address: law.policies().iter().any(|p| policy_reads_address(law, p)),
            revision: *law.revision(),
        }
    }

    /// The service of the inventory that called.
    pub(crate) fn caller(&self, seen: &Seen<'_>, names: &Names) -> Option<String> {
        self.resolver.caller(seen, names).service.map(|service| service.name.to_string())
    }

    /// Resolves and asks.
    pub(crate) fn judge(&self, seen: &Seen<'_>, names: &Names) -> Judged {
        self.judge_with(seen, names).0
    }

    /// The same, with the question that was asked, where one could be.
    pub(crate) fn judge_with(&self, seen: &Seen<'_>, names: &Names) -> (Judged, Option<Request>) {
        let target = self.rough_target(seen);
        let from = self.resolver.caller(seen, names);
        let to = self.resolver.callee(&seen.callee, target.as_ref(), seen.at, names);
        let mut judged = Judged {
            from: from.service.map(|s| s.name.to_string()),
            from_name: from.service.is_none().then(|| from.name.clone()).flatten().filter(|_| from.id.is_none()),
            from_id: from.id.clone(),
            to: to.map_or_else(|| callee_name(seen), |s| s.name.to_string()),
            operation: None,
            path: None,
            reason: None,
            policies: Vec::new(),
            lawful: Lawful::NotAsked(Lack::Callee),
        };
        let asked = match to {
            Some(to) => self.ask(seen, &from, to, &mut judged),
            None => {
                judged.path = path_of(seen);
                None
            }
        };
        (judged, asked)
    }

    fn ask(&self, seen: &Seen<'_>, from: &From<'a>, to: &'a Service, judged: &mut Judged) -> Option<Request> {
        let (target, context) = match self.question(seen, to) {
            Ok(question) => question,
            Err(lack) => {
                judged.path = path_of(seen);
                judged.lawful = Lawful::NotAsked(lack);
                return None;
            }
        };
        judged.operation = self.law.operation(&to.name, &target).map(|o| o.id.to_string());
        if judged.operation.is_none()
            && let Target::Http { path, .. } = &target
        {
            judged.path = Some(path.as_str().to_owned());
        }
        let principal = from.id.clone().or_else(|| from.service.and_then(|s| s.identities.first().cloned()));
        let Some(principal) = principal else {
            let is_named = from.service.is_some() || from.name.is_some();
            judged.lawful = Lawful::NotAsked(if is_named { Lack::CallerService } else { Lack::Caller });
            return None;
        };
        let is_granted = self.granted.contains(&(from.service.map(|s| &*s.name), &*to.name));
        let speaks_of_paths = !to.operations.is_empty() && !to.operations.iter().any(|o| matches!(o.endpoint, Endpoint::Connect { .. }));
        if matches!(target, Target::Connect { .. }) && is_granted && speaks_of_paths {
            judged.lawful = Lawful::NotAsked(Lack::Layer);
            return None;
        }
        let request = Request { principal, service: (&*to.name).into(), target, host: None, context };
        if let Some(lack) = self.undecided(&request, from, seen) {
            judged.lawful = Lawful::NotAsked(lack);
            return None;
        }
        let decision = self.law.decide(&request);
        judged.reason = Some(decision.reason);
        judged.policies = decision.policies.iter().map(|p| p.id.to_string()).collect();
        judged.lawful = Lawful::Says(decision.effect);
        Some(request)
    }

    /// The question as far as the line has it.
    fn question(&self, seen: &Seen<'_>, to: &Service) -> Result<(Target, Context), Lack> {
        let mut context = Context { time: seen.at, source_ip: seen.caller_ip, ..Context::default() };
        let (Some(method), Some(path)) = (&seen.method, &seen.path) else {
            return seen.port.map(|port| (Target::Connect { port }, context)).ok_or(Lack::Target);
        };
        let method = Method::parse(method).map_err(|_| Lack::Path)?;
        let (path, query) = parse_target(path, to.paths).map_err(|_| Lack::Path)?;
        if let Some(query) = query {
            context.query = parse_query(query, |name| to.visible.query.contains_key(name)).map_err(|_| Lack::Path)?;
        }
        Ok((Target::Http { method, path }, context))
    }

    /// A target good enough to find a service outside the mesh by its host.
    fn rough_target(&self, seen: &Seen<'_>) -> Option<Target> {
        match (&seen.method, seen.port) {
            (Some(method), _) => {
                let (path, _) = parse_target(seen.path.as_deref().unwrap_or("/"), portreeve_engine::path::Paths::None).ok()?;
                Some(Target::Http { method: Method::parse(method).ok()?, path })
            }
            (None, Some(port)) => Some(Target::Connect { port }),
            (None, None) => None,
        }
    }

    /// Why the line may not have all that the answer rests on.
    fn undecided(&self, request: &Request, from: &From<'_>, seen: &Seen<'_>) -> Option<Lack> {
        let covering = self.law.covering(request);
        let policies = covering.iter().filter_map(|c| self.law.policies().iter().find(|p| p.reference.id == c.id));
        let mut conditional = policies.clone().filter(|p| p.conditional);
        let prohibited = policies.clone().any(|p| !p.conditional && p.reference.effect == Effect::Deny);
        let granted = policies.clone().any(|p| !p.conditional && p.reference.effect == Effect::Allow);
        let may_prohibit = conditional.clone().any(|p| p.reference.effect == Effect::Deny);
        // What is prohibited without a condition stays so; what is granted without one, unless a condition may prohibit it.
        if prohibited || (granted && !may_prohibit) {
            return None;
        }
        let has_address = seen.caller_ip.is_some();
        let reads_more = |p: &portreeve_engine::Policy| match (&p.answered, self.law.condition(&p.reference.id)) {
            (_, Some(condition)) => condition_reads_more(condition, has_address),
            (Answered::FromTable, None) => false,
            (Answered::Kept(reads), None) => {
                !reads.headers.is_empty() || !reads.claims.is_empty() || reads.token || (reads.source_ip && !has_address)
            }
            (Answered::InPlace | Answered::EachTime(_), None) => true,
        };
        if conditional.any(reads_more) {
            return Some(Lack::Facts);
        }
        // Without an identity of its own the caller's service stands for it, with the first of its identities.
        let stands_for = from.id.is_none() && from.service.is_some_and(|s| s.identities.len() + s.patterns.len() > 1);
        let by_identity = || {
            let first = request;
            from.service.into_iter().flat_map(|s| &s.identities).any(|id| {
                let other = Request { principal: id.clone(), ..first.clone() };
                let (a, b) = (self.law.decide(first), self.law.decide(&other));
                (a.effect, a.reason) != (b.effect, b.reason)
            })
        };
        (stands_for && by_identity()).then_some(Lack::Identity)
    }
}

fn policy_reads_address(law: &Authorizer, policy: &portreeve_engine::Policy) -> bool {
    match (&policy.answered, law.condition(&policy.reference.id)) {
        (_, Some(condition)) => !condition.source.is_empty(),
        (Answered::FromTable, None) => false,
        (Answered::Kept(reads), None) => reads.source_ip,
        (Answered::InPlace | Answered::EachTime(_), None) => true,
    }
}

fn condition_reads_more(condition: &Condition, has_address: bool) -> bool {
    condition.jwt.is_some() || !condition.headers.is_empty() || (!condition.source.is_empty() && !has_address)
}

/// The surest name of what was called.
fn callee_name(seen: &Seen<'_>) -> String {
    let callee = &seen.callee;
    let named = callee.id.as_deref().or_else(|| callee.names.iter().flatten().map(|n| &**n).next());
    named.map(str::to_owned).or_else(|| callee.ip.map(|ip| ip.to_string())).unwrap_or_else(|| "unknown".to_owned())
}

/// The path without its query.
fn path_of(seen: &Seen<'_>) -> Option<String> {
    seen.path.as_deref().map(|path| path.split(['?', '#']).next().unwrap_or(path).to_owned())
}
