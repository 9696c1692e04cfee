//! A compiled bundle, and the one function that answers requests.

use std::borrow::Cow;

use smallvec::SmallVec;

use crate::bundle::{Bundle, Revision};
use crate::cedar::entities::{Callee, Caller, Question, World};
use crate::cedar::policies::CedarPolicy;
use crate::compile;
use crate::decision::{Decision, Effect, PolicyRef, Reason};
use crate::diagnostic::Diagnostic;
use crate::dry_run::{DryRun, Looked};
use crate::footprint::{Footprint, Reads};
use crate::id::SpiffeId;
use crate::inventory::Inventory;
use crate::memo::{self, Projection};
use crate::model::{Condition, Exception, Governance, Invariant, Operation, Permission, Service, TestSuite, Visible, Zone};
use crate::path::Paths;
use crate::record::{Answer, ContextFacts, RequestFacts};
use crate::record_text::RequestText;
use crate::reference::Slices;
use crate::rego::{self, InputFacts, RegoModules};
use crate::request::{Claims, Context, Malformed, Request, RequestRef, Target, TargetRef, Token};
use crate::seen::{Rejected, kept, visible_context};
use crate::table::{Methods, Table};
use crate::time::Timestamp;

/// A compiled bundle: an immutable snapshot with one pure, total, deterministic function, [`Authorizer::decide`].
#[derive(Debug)]
pub struct Authorizer {
    pub(crate) revision: Revision,
    pub(crate) inventory: Inventory,
    pub(crate) permissions: Vec<Permission>,
    pub(crate) dry_run: DryRun,
    /// By id; entries of the table refer to them by position.
    pub(crate) policies: Vec<Policy>,
    pub(crate) bodies: Vec<Body>,
    pub(crate) cedar: Vec<CedarPolicy>,
    pub(crate) rego: RegoModules,
    pub(crate) world: World,
    pub(crate) schema: String,
    pub(crate) methods: Methods,
    pub(crate) table: Table,
    pub(crate) invariants: Vec<Invariant>,
    pub(crate) zones: Vec<Zone>,
    pub(crate) exceptions: Vec<Exception>,
    pub(crate) suites: Vec<TestSuite>,
    pub(crate) reads_time: bool,
    /// For each policy whose answers may be kept: what they are kept under.
    pub(crate) projections: Vec<Option<Projection>>,
    /// What the reference evaluators are asked.
    pub(crate) slices: Slices,
    /// Tells this snapshot's kept answers from those of others; `None` where none are kept.
    pub(crate) snapshot: Option<u64>,
}

/// What is left of a policy once its scope has matched.
#[derive(Debug)]
pub(crate) enum Body {
    /// Nothing: it is satisfied.
    Always,
    /// A permission's conditions, by its position among the permissions.
    Native(usize),
    /// A Cedar policy, by position.
    Cedar(usize),
    /// A Rego rule, by its number.
    Rego(usize),
}

/// What compiling a bundle gave: everything found, and the authorizer unless something was an error.
#[derive(Debug)]
pub struct Compiled {
    /// The authorizer, if no diagnostic is an error.
    pub authorizer: Option<Authorizer>,
    /// Errors and warnings, by file and line.
    pub diagnostics: Vec<Diagnostic>,
}

/// A policy of the compiled bundle, whatever its language.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Id, effect, place.
    pub reference: PolicyRef,
    /// The language it is written in.
    pub language: Language,
    /// Whether it has conditions on the context.
    pub conditional: bool,
    /// How its answers come about.
    pub answered: Answered,
    /// Whether its scope names every operation of a service (`'*'`, `any-path`, or no resource constraint).
    pub wildcard: bool,
    /// Why it exists and who answers for it. Cedar says so in annotations, Rego in the metadata of its package.
    pub governance: Governance,
    /// When a YAML permission ends, if it does.
    pub expires: Option<Timestamp>,
}

/// How the answers of a policy come about once its scope has matched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// From the table alone: it has no conditions.
    FromTable,
    /// Its conditions are evaluated in place, which costs less than any memo.
    InPlace,
    /// It is evaluated once for all requests that agree in what it can read.
    Kept(Reads),
    /// It is evaluated for each request, because (the end of a sentence).
    EachTime(String),
}

impl Answered {
    /// How the answers of a condition with this footprint come about.
    pub(crate) fn of(footprint: &Footprint) -> Self {
        match footprint {
            Footprint::Bounded(reads) => Self::Kept(reads.clone()),
            Footprint::Unbounded(why) => Self::EachTime(why.clone()),
        }
    }
}

/// A policy language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// A `Permission`.
    Yaml,
    /// A Cedar policy.
    Cedar,
    /// A Rego rule.
    Rego,
}

/// What the table allows from one service to one operation of another, over all requests.
#[derive(Clone, Debug)]
pub struct AllowedEdge<'a> {
    /// The calling service; `None` for identities outside the inventory.
    pub from: Option<&'a Service>,
    /// The called service.
    pub to: &'a Service,
    /// The operation; `None` for undeclared paths.
    pub operation: Option<&'a Operation>,
    /// Whether every grant has conditions.
    pub conditional: bool,
    /// The grants, by id.
    pub policies: Vec<&'a PolicyRef>,
}

impl Authorizer {
    /// Compiles a bundle: reads, resolves, validates, proves its invariants.
    #[must_use]
    pub fn compile(bundle: &Bundle) -> Compiled {
        compile::compile(bundle)
    }

    /// Answers one request. Never fails, never panics; the same answer for the same request for ever (INV-5).
    #[must_use]
    pub fn decide<'a>(&'a self, request: &Request) -> Decision<'a> {
        // What is outside the mesh is known by its name alone: a record that names another place is about another place.
        if self.is_elsewhere(request) {
            return self.denial(Reason::UnknownService, None);
        }
        self.answer(request.borrowed())
    }

    /// [`Authorizer::decide`] for a question whose parts are borrowed. An unconditional answer allocates nothing.
    #[must_use]
    pub fn answer<'a>(&'a self, request: RequestRef<'_>) -> Decision<'a> {
        let Some(service) = self.inventory.index(request.service) else {
            return self.denial(Reason::UnknownService, None);
        };
        let Some(declared) = self.inventory.services().get(service) else {
            return self.denial(Reason::UnknownService, None);
        };
        let context = match visible_context(&declared.visible, request.context) {
            Ok(context) => context,
            Err(Rejected::Malformed(malformed)) => return self.decide_malformed(&malformed),
            Err(Rejected::Token) => return self.denial(Reason::InvalidToken, None),
        };
        let operation = self.inventory.route(service, request.target);
        let caller = self.inventory.identify(request.principal);
        let context = context.as_deref().unwrap_or(request.context);
        let asked = Asked { authorizer: self, request, service, operation, caller, context };
        asked.answer()
    }

    /// The policies whose scope covers the request, by id, whatever their conditions say; none where no policy is asked at all.
    #[must_use]
    pub fn covering(&self, request: &Request) -> Vec<&PolicyRef> {
        let request = request.borrowed();
        let Some(service) = self.inventory.index(request.service) else { return Vec::new() };
        let Some(declared) = self.inventory.services().get(service) else { return Vec::new() };
        let Ok(context) = visible_context(&declared.visible, request.context) else { return Vec::new() };
        let operation = self.inventory.route(service, request.target);
        let caller = self.inventory.identify(request.principal);
        let context = context.as_deref().unwrap_or(request.context);
        let concerned = Asked { authorizer: self, request, service, operation, caller, context }.concerned();
        let mut all: Vec<u32> = [concerned.prohibitions, concerned.prohibitions_if, concerned.grants, concerned.grants_if].concat();
        all.sort_unstable();
        all.into_iter().filter_map(|p| self.policies.get(p as usize)).map(|p| &p.reference).collect()
    }

    /// The same authorizer, evaluating every condition each time: how tests show that kept answers change nothing.
    #[must_use]
    pub fn without_memo(mut self) -> Self {
        self.snapshot = None;
        self
    }

    /// The denial of what could not become a request.
    #[must_use]
    pub fn decide_malformed(&self, malformed: &Malformed) -> Decision<'_> {
        let mut decision = self.denial(Reason::MalformedRequest, None);
        decision.errors.push(malformed.to_string().into());
        decision
    }

    fn denial<'a>(&'a self, reason: Reason, operation: Option<&'a str>) -> Decision<'a> {
        Decision {
            effect: Effect::Deny,
            reason,
            operation,
            policies: SmallVec::new(),
            errors: Vec::new(),
            shadow: SmallVec::new(),
            revision: &self.revision,
        }
    }

    /// The revision of the bundle.
    #[must_use]
    pub const fn revision(&self) -> &Revision {
        &self.revision
    }

    /// The inventory, by name.
    #[must_use]
    pub fn services(&self) -> &[Service] {
        self.inventory.services()
    }

    /// The service of this name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.inventory.service(name)
    }

    /// The service that has this identity.
    #[must_use]
    pub fn identify(&self, id: &SpiffeId) -> Option<&Service> {
        self.inventory.services().get(self.inventory.identify(id)?)
    }

    /// What policies may read of requests to this service.
    #[must_use]
    pub fn visible(&self, service: &str) -> Option<&Visible> {
        self.service(service).map(|s| &s.visible)
    }

    /// How a service reads paths; strictly, where there is none of this name.
    #[must_use]
    pub fn paths(&self, service: &str) -> Paths {
        self.service(service).map_or_else(Paths::default, |s| s.paths)
    }

    /// Whether the evaluation of a policy can end in an error.
    pub(crate) fn can_err(&self, policy: u32) -> bool {
        match self.bodies.get(policy as usize) {
            Some(Body::Always | Body::Native(_)) => false,
            Some(Body::Cedar(index)) => self.cedar.get(*index).is_none_or(CedarPolicy::can_err),
            Some(Body::Rego(_)) | None => true,
        }
    }

    /// Every policy, by id.
    #[must_use]
    pub fn policies(&self) -> &[Policy] {
        &self.policies
    }

    /// What a YAML permission asks of the context; `None` where the policy of this id is none.
    #[must_use]
    pub fn condition(&self, id: &str) -> Option<&Condition> {
        self.permissions.iter().find(|p| *p.name == *id).map(|p| &p.when)
    }

    /// The permissions in dry-run, by id: they have no say in any answer.
    pub fn dry_run(&self) -> impl Iterator<Item = &PolicyRef> {
        self.dry_run.policies.iter().map(|(policy, _)| policy)
    }

    /// Every invariant; each was proved at compile time, what exceptions take out of it left aside.
    #[must_use]
    pub fn invariants(&self) -> &[Invariant] {
        &self.invariants
    }

    /// Every exception, whatever its day.
    #[must_use]
    pub fn exceptions(&self) -> &[Exception] {
        &self.exceptions
    }

    /// The declared zones.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// The test suites of the bundle.
    #[must_use]
    pub fn tests(&self) -> &[TestSuite] {
        &self.suites
    }

    /// The Cedar schema generated from the inventory.
    #[must_use]
    pub fn cedar_schema(&self) -> &str {
        &self.schema
    }

    /// The YAML permissions as the Cedar policies that are their meaning, by id.
    #[must_use]
    pub fn lowered(&self) -> Vec<(&str, String)> {
        let mut out: Vec<_> = self.permissions.iter().map(|p| (&*p.name, crate::cedar::lower::lower(p, &self.inventory))).collect();
        out.sort();
        out
    }

    /// Whether some policy's answer may depend on the time. Where it cannot, two requests that differ in nothing else have
    /// one answer.
    #[must_use]
    pub const fn reads_time(&self) -> bool {
        self.reads_time
    }

    /// The operation that a path and method reach, for display.
    #[must_use]
    pub fn operation(&self, service: &str, target: &Target) -> Option<&Operation> {
        let index = self.inventory.index(service)?;
        let operation = self.inventory.route(index, target.borrowed())?;
        self.inventory.services().get(index)?.operations.get(operation)
    }

    /// The record's request facts and context for this request: allow-listed attributes only, sensitive segments hidden.
    /// Fill in `id`, `correlation` and `protocol` afterwards.
    #[must_use]
    pub fn facts(&self, request: &Request, decision: &Decision<'_>) -> (RequestFacts, ContextFacts) {
        let (text, context) = self.request_text(request, decision);
        (text.to_facts(), context)
    }

    /// The same, with the facts borrowed from the request and from here.
    #[must_use]
    pub fn request_text<'r, 'd: 'r>(&'r self, request: &'r Request, decision: &Decision<'d>) -> (RequestText<'r>, ContextFacts) {
        let service = self.inventory.index(&request.service);
        let mut facts = RequestText { host: request.host.as_deref(), operation: decision.operation, ..RequestText::default() };
        match &request.target {
            Target::Connect { port } => facts.port = Some(*port),
            Target::Http { method, path } => {
                facts.method = Some(method.as_str());
                // Where the service is unknown nothing says which segments are sensitive: the path is then not kept.
                facts.path = service.map(|s| self.inventory.shown_of(s, request.target.borrowed(), path.borrowed()));
            }
        }
        let visible = service.and_then(|s| self.inventory.services().get(s)).map(|s| &s.visible);
        let context = match visible {
            Some(visible) => ContextFacts {
                headers: kept(&visible.headers, &request.context.headers),
                query: kept(&visible.query, &request.context.query),
                jwt: request.context.jwt.as_ref().map(|token| match token {
                    Token::Valid(claims) => Token::Valid(Claims { other: kept(&visible.claims, &claims.other), ..claims.clone() }),
                    Token::Invalid(why) => Token::Invalid(why.clone()),
                }),
                time: None,
            },
            None => ContextFacts::default(),
        };
        (facts, context)
    }
}

/// One well-formed request to a known service, with everything that was looked up for it.
pub(crate) struct Asked<'a, 'r> {
    authorizer: &'a Authorizer,
    request: RequestRef<'r>,
    service: usize,
    operation: Option<usize>,
    caller: Option<usize>,
    context: &'r Context,
}

type Indexes = SmallVec<[u32; 4]>;

/// The policies whose scope covers a request.
#[derive(Default)]
struct Concerned {
    prohibitions: Indexes,
    prohibitions_if: Indexes,
    grants: Indexes,
    grants_if: Indexes,
}

impl<'a, 'r> Asked<'a, 'r> {
    /// A question to a known service whose context is already as policies see it.
    pub(crate) fn new(authorizer: &'a Authorizer, request: &'r Request, service: usize, context: &'r Context) -> Self {
        let request = request.borrowed();
        let operation = authorizer.inventory.route(service, request.target);
        let caller = authorizer.inventory.identify(request.principal);
        Self { authorizer, request, service, operation, caller, context }
    }

    /// The name of the service that is asked.
    pub(crate) const fn service_name(&self) -> &'r str {
        self.request.service
    }

    /// The answer, and what is satisfied beside it.
    fn answer(&self) -> Decision<'a> {
        let mut decision = self.decided();
        if !self.authorizer.dry_run.is_empty() {
            decision.shadow = self.authorizer.dry_run.satisfied(&Looked {
                caller: (self.caller, self.request.principal),
                service: self.service,
                operation: self.operation,
                method: self.authorizer.methods.bit(self.request.target),
                context: self.context,
            });
        }
        decision
    }

    fn decided(&self) -> Decision<'a> {
        let concerned = self.concerned();
        if concerned.prohibitions_if.is_empty() && concerned.grants_if.is_empty() {
            return self.unconditional(concerned);
        }
        let mut errors = Vec::new();
        let mut evaluator = Evaluator::new(self);
        let prohibited = evaluator.satisfied(&concerned.prohibitions_if, &mut errors);
        // A grant that cannot err matters only where no unconditional one stands.
        let asked: Indexes = if concerned.grants.is_empty() {
            concerned.grants_if.clone()
        } else {
            concerned.grants_if.iter().copied().filter(|p| self.authorizer.can_err(*p)).collect()
        };
        let granted = evaluator.satisfied(&asked, &mut errors);
        // By policy, like everything a decision lists; prohibitions were asked before grants.
        errors.sort();
        let errors: Vec<Box<str>> = errors.into_iter().map(|(_, error)| error).collect();
        let prohibition = !concerned.prohibitions.is_empty() || !prohibited.is_empty();
        let grant = !concerned.grants.is_empty() || !granted.is_empty();
        let (effect, reason, policies) = if prohibition {
            (Effect::Deny, Reason::Prohibited, either(concerned.prohibitions, prohibited))
        } else if !errors.is_empty() {
            (Effect::Deny, Reason::EvaluationError, Indexes::new())
        } else if grant {
            (Effect::Allow, Reason::Permitted, either(concerned.grants, granted))
        } else {
            (Effect::Deny, self.default_reason(!concerned.grants_if.is_empty()), Indexes::new())
        };
        Decision { effect, errors, policies: self.named(policies), ..self.authorizer.denial(reason, self.operation_id()) }
    }

    /// The answer where no condition has a say.
    fn unconditional(&self, concerned: Concerned) -> Decision<'a> {
        let (effect, reason, policies) = if !concerned.prohibitions.is_empty() {
            (Effect::Deny, Reason::Prohibited, concerned.prohibitions)
        } else if !concerned.grants.is_empty() {
            (Effect::Allow, Reason::Permitted, concerned.grants)
        } else {
            (Effect::Deny, self.default_reason(false), Indexes::new())
        };
        Decision { effect, policies: self.named(policies), ..self.authorizer.denial(reason, self.operation_id()) }
    }

    fn concerned(&self) -> Concerned {
        let authorizer = self.authorizer;
        let targets = authorizer.table.targets(self.service, self.operation);
        let method = authorizer.methods.bit(self.request.target);
        let mut out = Concerned::default();
        authorizer.table.concerning((self.caller, self.request.principal), targets, method, |entry| {
            let list = match (entry.effect, entry.conditional) {
                (Effect::Deny, false) => &mut out.prohibitions,
                (Effect::Deny, true) => &mut out.prohibitions_if,
                (Effect::Allow, false) => &mut out.grants,
                (Effect::Allow, true) => &mut out.grants_if,
            };
            // Kept in order and single, as one policy may stand in several cells.
            match list.last() {
                None => list.push(entry.policy),
                Some(last) if *last < entry.policy => list.push(entry.policy),
                Some(_) => {
                    if let Err(at) = list.binary_search(&entry.policy) {
                        list.insert(at, entry.policy);
                    }
                }
            }
        });
        out
    }

    fn default_reason(&self, conditions_unmet: bool) -> Reason {
        if self.caller.is_none() {
            Reason::UnknownPrincipal
        } else if self.operation.is_none() {
            Reason::UndeclaredOperation
        } else if conditions_unmet {
            Reason::ConditionUnmet
        } else {
            Reason::NoPermission
        }
    }

    /// The path as policies see it; `None` for a connection.
    fn path(&self) -> Option<Cow<'_, str>> {
        match self.request.target {
            TargetRef::Http { path, .. } => Some(self.authorizer.inventory.shown(self.service, self.operation, path)),
            TargetRef::Connect { .. } => None,
        }
    }

    /// The question as Rego sees it.
    pub(crate) fn rego_input(&self) -> regorus::Value {
        let inventory = &self.authorizer.inventory;
        let (method, port) = match self.request.target {
            TargetRef::Http { method, .. } => (Some(method.as_str()), None),
            TargetRef::Connect { port } => (None, Some(port)),
        };
        let path = self.path();
        rego::input(&InputFacts {
            principal: self.request.principal.as_str(),
            source_service: self.caller.and_then(|c| inventory.services().get(c)).map(|s| &*s.name),
            source_ip: self.context.source_ip,
            service: self.request.service,
            operation: self.operation_id(),
            method,
            path: path.as_deref(),
            port,
            time: self.context.time,
            headers: &self.context.headers,
            query: &self.context.query,
            jwt: self.context.jwt.as_ref(),
        })
    }

    fn callee(&self) -> Option<&'a Service> {
        self.authorizer.inventory.services().get(self.service)
    }

    fn operation_id(&self) -> Option<&'a str> {
        self.authorizer.table.operation_id(self.service, self.operation)
    }

    fn body(&self, policy: u32) -> Option<&'a Body> {
        self.authorizer.bodies.get(policy as usize)
    }

    fn named(&self, policies: Indexes) -> SmallVec<[&'a PolicyRef; 2]> {
        let mut out = SmallVec::new();
        for policy in policies {
            out.extend(self.authorizer.policies.get(policy as usize).map(|p| &p.reference));
        }
        out
    }
}

fn either(unconditional: Indexes, conditional: Indexes) -> Indexes {
    if unconditional.is_empty() { conditional } else { unconditional }
}

/// Evaluates the conditions of policies; the forms of the question that they need are made once, when first needed.
struct Evaluator<'q, 'a, 'r> {
    asked: &'q Asked<'a, 'r>,
    question: Option<Result<Question, String>>,
    input: Option<regorus::Value>,
}

impl<'q, 'a, 'r> Evaluator<'q, 'a, 'r> {
    const fn new(asked: &'q Asked<'a, 'r>) -> Self {
        Self { asked, question: None, input: None }
    }

    /// Those of the policies that are satisfied; what could not be evaluated goes to `errors`.
    fn satisfied(&mut self, policies: &Indexes, errors: &mut Vec<(u32, Box<str>)>) -> Indexes {
        let mut out = Indexes::new();
        for policy in policies {
            match self.evaluate(*policy) {
                Ok(true) => out.push(*policy),
                Ok(false) => {}
                Err(why) => {
                    let id = self.asked.authorizer.policies.get(*policy as usize).map(|p| &*p.reference.id).unwrap_or_default();
                    errors.push((*policy, format!("{id}: {why}").into()));
                }
            }
        }
        out
    }

    fn evaluate(&mut self, policy: u32) -> Result<bool, String> {
        let authorizer = self.asked.authorizer;
        match self.asked.body(policy) {
            Some(Body::Always) => Ok(true),
            Some(Body::Native(index)) => {
                let condition = authorizer.permissions.get(*index).map(|p: &Permission| &p.when);
                Ok(condition.is_some_and(|c: &Condition| c.holds(self.asked.context)))
            }
            Some(Body::Cedar(index)) => self.remembered(policy, |this| {
                let policy = authorizer.cedar.get(*index).ok_or("the policy is missing")?;
                policy.satisfied(this.question().as_ref().map_err(Clone::clone)?)
            }),
            Some(Body::Rego(index)) => {
                self.remembered(policy, |this| authorizer.rego.evaluate(*index, this.input()).map_err(|e| e.to_string()))
            }
            None => Err("the policy is missing".to_owned()),
        }
    }

    /// The answer kept for this question, or else the one that `evaluate` gives, which is then kept unless it is an error.
    fn remembered(&mut self, policy: u32, evaluate: impl FnOnce(&mut Self) -> Result<bool, String>) -> Result<bool, String> {
        let Some(key) = self.key(policy) else { return evaluate(self) };
        if let Some(answer) = memo::kept(&key) {
            return Ok(answer);
        }
        let answer = evaluate(self)?;
        memo::keep(&key, answer);
        Ok(answer)
    }

    fn key(&self, policy: u32) -> Option<memo::Key> {
        let (asked, authorizer) = (self.asked, self.asked.authorizer);
        let projection = authorizer.projections.get(policy as usize)?.as_ref()?;
        projection.key(&memo::Question {
            snapshot: authorizer.snapshot?,
            principal: asked.request.principal.as_str(),
            caller: asked.caller,
            service: asked.service,
            operation: asked.operation,
            target: asked.request.target,
            path: &|| asked.path().unwrap_or_default(),
            context: asked.context,
        })
    }

    fn question(&mut self) -> &Result<Question, String> {
        let asked = self.asked;
        self.question.get_or_insert_with(|| {
            let authorizer = asked.authorizer;
            let service = asked.callee().ok_or("the service is missing")?;
            let caller = Caller { id: asked.request.principal, service: asked.caller.and_then(|c| authorizer.inventory.services().get(c)) };
            let callee =
                Callee { service, operation: asked.operation.and_then(|o| service.operations.get(o)), target: asked.request.target };
            authorizer.world.question(&caller, &callee, asked.context)
        })
    }

    fn input(&mut self) -> &regorus::Value {
        let asked = self.asked;
        self.input.get_or_insert_with(|| asked.rego_input())
    }
}

impl From<&Decision<'_>> for Answer {
    fn from(decision: &Decision<'_>) -> Self {
        Self {
            effect: decision.effect,
            reason: decision.reason,
            policies: decision.policies.iter().map(|p| p.id.to_string()).collect(),
            errors: decision.errors.iter().map(ToString::to_string).collect(),
            shadow: decision.shadow.iter().map(|p| p.id.to_string()).collect(),
        }
    }
}
