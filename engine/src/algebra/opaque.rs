//! Conditions that the algebra cannot look into, and when two of them are sure to give the same answer.
//!
//! The condition of a Cedar policy and the body of a Rego rule are functions of what a bundle shows them of a request. Two are
//! the same function of the request where their text is the same, everything the text can refer to is the same, and both
//! bundles show it the same: the caller's and the called service's facts, the operation, the types of the attributes that it
//! reads. Whatever is in doubt counts as different, and what follows from it as something that *may* differ.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::authorizer::Authorizer;
use crate::bundle::Bundle;
use crate::cedar::policies::CedarPolicy;
use crate::footprint::{Footprint, Names};
use crate::id::SpiffeId;
use crate::model::{AttributeType, Endpoint, Operation, Service, Visible};
use crate::rego::RegoRule;
use crate::template::Segment;

/// One opaque condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Opaque {
    /// Everything the answer follows from, besides what the bundle shows; compared in full.
    text: Box<str>,
    sees: Sees,
    /// Whether the answer can be an error; `false` is proved.
    can_err: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Sees {
    Cedar(CedarSight),
    /// The attributes it reads; `None` where that has no bound.
    Rego(Option<[Names; 3]>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct CedarSight {
    principal: bool,
    resource: bool,
    /// `context` or one of its records as a whole.
    context_whole: bool,
    /// Every name that stands in it, those of attributes among them.
    words: BTreeSet<Box<str>>,
    /// Entities it names, by type and id.
    entities: BTreeSet<(Box<str>, Box<str>)>,
}

/// What one bundle shows of the requests of one cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    pub(crate) authorizer: &'a Authorizer,
    pub(crate) caller: Option<&'a Service>,
    pub(crate) callee: &'a Service,
    pub(crate) operation: Option<&'a Operation>,
}

impl Opaque {
    pub(crate) fn cedar(policy: &CedarPolicy) -> Self {
        let mut sight = CedarSight::default();
        // The scope is matched apart from it; conditions alone are the text.
        let json: Vec<Value> = policy.policies().filter_map(|p| p.to_json().ok()).collect();
        let mut text = String::new();
        for policy in &json {
            if let Some(conditions) = policy.get("conditions") {
                sight.look(conditions, false);
                text.push_str(&conditions.to_string());
            }
        }
        if json.is_empty() || text.is_empty() {
            // What cannot be looked into is like nothing else, not even itself.
            sight.entities.insert(("unreadable".into(), "".into()));
            text = format!("unreadable {} at {}", policy.id, policy.at.short());
        }
        Self { text: text.into(), sees: Sees::Cedar(sight), can_err: policy.can_err() }
    }

    pub(crate) fn rego(bundle: Option<&Bundle>, rule: &RegoRule) -> Self {
        let reads = match &rule.footprint {
            Footprint::Bounded(reads) => Some([reads.headers.clone(), reads.query.clone(), reads.claims.clone()]),
            Footprint::Unbounded(_) => None,
        };
        let text = bundle.map_or_else(|| rule.id.to_string(), |bundle| crate::algebra::modules::reached(bundle, &rule.id));
        Self { text: text.into(), sees: Sees::Rego(reads), can_err: true }
    }

    pub(crate) const fn can_err(&self) -> bool {
        self.can_err
    }

    /// Whether this condition under one bundle and that under the other give the same answer to every request of a cell.
    pub(crate) fn same(&self, other: &Self, here: &Shown<'_>, there: &Shown<'_>) -> bool {
        if self != other {
            return false;
        }
        let types = differing_types(&here.callee.visible, &there.callee.visible);
        match &self.sees {
            Sees::Rego(reads) => {
                let attributes = reads.as_ref().map_or(types.is_empty(), |reads| {
                    types.iter().all(|(place, name)| match reads.get(*place) {
                        Some(Names::Only(names)) => !names.contains(*name),
                        _ => false,
                    })
                });
                attributes && name(here.caller) == name(there.caller) && same_path(here.operation, there.operation)
            }
            Sees::Cedar(sight) => {
                let attributes =
                    if sight.context_whole { types.is_empty() } else { types.iter().all(|(_, name)| !sight.words.contains(*name)) };
                attributes
                    && (!sight.principal || same_facts(here.caller, there.caller))
                    && (!sight.resource || same_callee(here, there))
                    && sight.entities.iter().all(|(kind, id)| same_entity(kind, id, here, there))
            }
        }
    }
}

impl CedarSight {
    /// Looks through an expression. `taken_apart` says that only an attribute of it is used.
    fn look(&mut self, expression: &Value, taken_apart: bool) {
        match expression {
            Value::Array(items) => items.iter().for_each(|item| self.look(item, false)),
            Value::String(word) => {
                self.words.insert(word.as_str().into());
            }
            Value::Object(fields) => {
                for (name, value) in fields {
                    self.words.insert(name.as_str().into());
                    self.field(name, value, taken_apart);
                }
            }
            _ => {}
        }
    }

    fn field(&mut self, name: &str, value: &Value, taken_apart: bool) {
        let var = |value: &Value| value.get("Var").and_then(Value::as_str).map(str::to_owned);
        match name {
            "Var" => match value.as_str() {
                Some("principal") => self.principal = true,
                Some("resource") => self.resource = true,
                Some("context") => self.context_whole |= !taken_apart,
                _ => {}
            },
            "." | "has" => {
                if let Some(attribute) = value.get("attr") {
                    self.look(attribute, false);
                }
                let Some(left) = value.get("left") else { return };
                let record = matches!(value.get("attr").and_then(Value::as_str), Some("headers" | "query" | "jwt"));
                // `context.headers` by itself is the whole record.
                if name == "." && record && !taken_apart && var(left).as_deref() == Some("context") {
                    self.context_whole = true;
                }
                self.look(left, true);
            }
            "__entity" => {
                let part = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().into();
                self.entities.insert((part("type"), part("id")));
            }
            _ => self.look(value, false),
        }
    }
}

fn name(service: Option<&Service>) -> Option<&str> {
    service.map(|s| &*s.name)
}

/// The attributes whose type differs: which record (headers, query, claims), and the name.
fn differing_types<'a>(here: &'a Visible, there: &'a Visible) -> Vec<(usize, &'a str)> {
    type Types = std::collections::BTreeMap<Box<str>, AttributeType>;
    let of = |visible: &'a Visible| -> [&'a Types; 3] { [&visible.headers, &visible.query, &visible.claims] };
    let pairs = of(here).into_iter().zip(of(there)).enumerate();
    pairs
        .flat_map(|(place, (a, b))| {
            let names: BTreeSet<&'a str> = a.keys().chain(b.keys()).map(|n| &**n).filter(|n| a.get(*n) != b.get(*n)).collect();
            names.into_iter().map(move |name| (place, name))
        })
        .collect()
}

/// Everything that an entity of this service shows: its name, attributes and groups.
fn same_facts(here: Option<&Service>, there: Option<&Service>) -> bool {
    match (here, there) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.name == b.name && a.zone == b.zone && a.owner == b.owner && a.data == b.data && a.labels == b.labels && a.groups == b.groups
        }
        _ => false,
    }
}

fn same_callee(here: &Shown<'_>, there: &Shown<'_>) -> bool {
    let facts = |o: Option<&Operation>| o.map(|o| (o.id.clone(), o.data.clone()));
    same_facts(Some(here.callee), Some(there.callee)) && facts(here.operation) == facts(there.operation)
}

fn same_entity(kind: &str, id: &str, here: &Shown<'_>, there: &Shown<'_>) -> bool {
    let [a, b] = [here.authorizer, there.authorizer];
    match kind {
        // Actions and their groups follow from nothing but the method. A pattern that a condition names is there because it
        // does, and whom it covers follows from its text.
        "Action" | "Pattern" => true,
        "Service" => same_facts(a.service(id), b.service(id)),
        "Group" => group_facts(a, id) == group_facts(b, id),
        "Workload" => id.parse::<SpiffeId>().is_ok_and(|id| same_facts(a.identify(&id), b.identify(&id))),
        "Operation" => {
            let facts = |authorizer: &Authorizer| {
                let (service, operation) = id.split_once('/')?;
                let found = authorizer.service(service)?.operations.iter().find(|o| *o.id == *operation);
                Some(found.map(|o| o.data.clone()))
            };
            let service = id.split_once('/').map(|(service, _)| service).unwrap_or_default();
            facts(a) == facts(b) && same_facts(a.service(service), b.service(service))
        }
        _ => false,
    }
}

/// Whether there is such a group, and the groups it is in.
fn group_facts(authorizer: &Authorizer, name: &str) -> Option<BTreeSet<Box<str>>> {
    let groups = authorizer.inventory.groups();
    if name != crate::cedar::ANY_AUTHENTICATED && !groups.iter().any(|g| *g.name == *name) {
        return None;
    }
    let mut out = BTreeSet::from([Box::from(name)]);
    loop {
        let more: Vec<Box<str>> =
            groups.iter().filter(|g| !out.contains(&g.name) && g.members.iter().any(|m| out.contains(m))).map(|g| g.name.clone()).collect();
        if more.is_empty() {
            return Some(out);
        }
        out.extend(more);
    }
}

/// Whether both bundles name the operation alike and hide the same segments of its path.
fn same_path(here: Option<&Operation>, there: Option<&Operation>) -> bool {
    let hidden = |operation: &Operation| -> Vec<(usize, String)> {
        let Endpoint::Http { path, .. } = &operation.endpoint else { return Vec::new() };
        let sensitive = |s: &Segment| match s {
            Segment::Parameter { name, sensitive: true } => Some(format!("{{{name}}}")),
            Segment::Rest { name, sensitive: true } => Some(format!("{{{name}*}}")),
            _ => None,
        };
        path.segments().iter().enumerate().filter_map(|(n, s)| Some((n, sensitive(s)?))).collect()
    };
    match (here, there) {
        (None, None) => true,
        (Some(a), Some(b)) => a.id == b.id && hidden(a) == hidden(b),
        _ => false,
    }
}
