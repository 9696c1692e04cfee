//! Concrete requests that stand for what a proof found, and how they are told.
//!
//! INVARIANT: a request made here reaches the operation it was made for (or none, where undeclared paths are meant): it was
//! routed before it is shown.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::invariant::callers::fresh;
use crate::invariant::{Proof, Step};
use crate::model::{Endpoint, Operation};
use crate::path::CanonicalPath;
use crate::request::{Context, METHODS, Method, Request, Target};
use crate::table::{CONNECT, MethodBit, OTHER};
use crate::template::{PathTemplate, Segment};
use crate::time::Timestamp;

impl Proof<'_> {
    /// A request that takes this step. `None` where there is none: a service whose declared paths leave nothing undeclared.
    pub(super) fn request(&self, step: Step<'_>) -> Option<Request> {
        let class = self.classes.get(step.class)?;
        let service = self.service(step.call.to)?;
        let target = match step.call.operation {
            Some(operation) => self.declared(step.call.to, operation, service.operations.get(operation)?, step.method)?,
            None => self.undeclared(step.call.to, step.method)?,
        };
        let context = Context { time: TIME, source_ip: None, headers: Default::default(), query: Default::default(), jwt: None };
        Some(Request { principal: class.id.clone(), service: Arc::from(&*service.name), target, host: None, context })
    }

    fn declared(&self, service: usize, index: usize, operation: &Operation, method: MethodBit) -> Option<Target> {
        let (methods, template) = match &operation.endpoint {
            Endpoint::Connect { port } => return Some(Target::Connect { port: *port }),
            Endpoint::Http { methods, path } => (methods, path),
        };
        let method = methods.iter().find(|m| self.authorizer.methods.bit_of(m) == method)?;
        let word = fresh("x", |word| self.literals(service).contains(word));
        let paths = ["x".to_owned(), word].into_iter().flat_map(|word| (1..=DEPTH_MORE).map(move |n| filled(template, &word, n)));
        let targets = paths.filter_map(|path| Some(Target::Http { method: method.clone(), path: CanonicalPath::parse(&path).ok()? }));
        let mut reached = targets.filter(|target| self.authorizer.inventory.route(service, target.borrowed()) == Some(index));
        reached.next()
    }

    fn undeclared(&self, service: usize, method: MethodBit) -> Option<Target> {
        let free = |target: &Target| self.authorizer.inventory.route(service, target.borrowed()).is_none();
        if method == CONNECT {
            return (1..=u16::MAX).map(|port| Target::Connect { port }).find(free);
        }
        let method = match self.authorizer.methods.method(method) {
            Some(method) => method.clone(),
            None => METHODS
                .into_iter()
                .chain(["PURGE", "LINK", "UNLINK"])
                .map(str::to_owned)
                .chain((0..64).map(|n| format!("METHOD{n}")))
                .filter_map(|name| Method::parse(&name).ok())
                .find(|m| self.authorizer.methods.bit_of(m) == OTHER)?,
        };
        // A literal only adds to the templates that fit, so where no path of free words is undeclared, none is.
        let word = fresh("undeclared", |word| self.literals(service).contains(word));
        let deepest = self.templates(service).map(|t| t.segments().len()).max().unwrap_or_default() + 1;
        let plain = (1..=deepest).map(|n| format!("/{}", vec![word.as_str(); n].join("/")));
        let paths = plain.flat_map(|path| [path.clone(), format!("{path}/")]).chain(["/".to_owned()]);
        let targets = paths.filter_map(|path| Some(Target::Http { method: method.clone(), path: CanonicalPath::parse(&path).ok()? }));
        let mut reached = targets.filter(free);
        reached.next()
    }

    fn templates(&self, service: usize) -> impl Iterator<Item = &PathTemplate> {
        self.service(service).into_iter().flat_map(|s| &s.operations).filter_map(|o| match &o.endpoint {
            Endpoint::Http { path, .. } => Some(path),
            Endpoint::Connect { .. } => None,
        })
    }

    fn literals(&self, service: usize) -> BTreeSet<&str> {
        let segments = self.templates(service).flat_map(PathTemplate::segments);
        let literals = segments.filter_map(|s| match s {
            Segment::Literal(text) => Some(&**text),
            _ => None,
        });
        literals.collect()
    }

    /// `GET items/v1/items/x` from `invoices`
    pub(super) fn in_words(&self, class: usize, request: &Request) -> String {
        let call = match &request.target {
            Target::Http { method, path } => format!("{method} {}{}", request.service, path.as_str()),
            Target::Connect { port } => format!("connect {}:{port}", request.service),
        };
        format!("`{call}` from {}", self.caller_in_words(class))
    }

    fn caller_in_words(&self, class: usize) -> String {
        let Some(class) = self.classes.get(class) else { return String::new() };
        match class.service.and_then(|s| self.service(s)) {
            Some(service) if class.whole => format!("`{}`", service.name),
            Some(service) => format!("`{}` of `{}`", class.id, service.name),
            None => format!("the stranger `{}`", class.id),
        }
    }

    pub(super) fn caller_name(&self, class: usize) -> String {
        let class = self.classes.get(class);
        let service = class.and_then(|c| c.service).and_then(|s| self.service(s));
        service.map_or_else(|| class.map(|c| c.id.to_string()).unwrap_or_default(), |s| s.name.to_string())
    }

    /// The grants of a step, with their places.
    pub(super) fn grants(&self, step: Step<'_>) -> String {
        let Some(class) = self.classes.get(step.class) else { return String::new() };
        let grants = self.authorizer.grants_of(&class.atoms, step.call.to, step.call.operation, step.method);
        let names: Vec<String> = grants.iter().map(|p| format!("`{}` ({})", p.reference.id, p.reference.at.short())).collect();
        names.join(", ")
    }
}

/// The template with a word for each parameter, and so many for the rest.
fn filled(template: &PathTemplate, word: &str, rest: usize) -> String {
    template.segments().iter().fold(String::new(), |mut path, segment| {
        path.push('/');
        match segment {
            Segment::Literal(text) => path.push_str(text),
            Segment::Parameter { .. } => path.push_str(word),
            Segment::Rest { .. } => path.push_str(&vec![word; rest].join("/")),
        }
        path
    })
}

/// So many segments are tried for a `{rest*}`, until no longer template takes the path.
const DEPTH_MORE: usize = 16;

/// The time of a witness: 2026-01-01T12:00:00Z.
pub(super) const TIME: Timestamp = Timestamp::from_unix_ms(1_767_268_800_000);
