//! Kinds of what is asked of a service: two targets are of one kind if both bundles route them to the same operations and no
//! policy tells their methods apart.
//!
//! Each kind is kept as one method and path, or one port.

use std::collections::{BTreeMap, BTreeSet};

use crate::algebra::diagram::TooLarge;
use crate::algebra::law::Law;
use crate::algebra::words::{Symbol, kinds};
use crate::model::{Endpoint, Service};
use crate::path::CanonicalPath;
use crate::request::{METHODS, Method, Target};
use crate::template::{PathTemplate, Segment};

/// One kind of target.
#[derive(Clone, Debug)]
pub(crate) struct TargetKind {
    /// A target of this kind.
    pub(crate) target: Target,
    /// The operation it reaches under the old and the new bundle, by position.
    pub(crate) operations: [Option<usize>; 2],
    /// Whether the method or port is named by an operation or a policy; otherwise it stands for all others.
    pub(crate) named: bool,
}

/// All kinds of target of one service, of which each bundle may know another form, or nothing.
pub(crate) fn targets(
    laws: [&Law<'_>; 2],
    services: [Option<&Service>; 2],
    methods: &BTreeSet<Method>,
) -> Result<Vec<TargetKind>, TooLarge> {
    let name = services.into_iter().flatten().next().map(|s| s.name.clone()).unwrap_or_default();
    let route = |target: &Target| {
        laws.map(|law| {
            let inventory = &law.authorizer.inventory;
            inventory.index(&name).and_then(|service| inventory.route(service, target.borrowed()))
        })
    };
    let offered = || services.into_iter().flatten().flat_map(|s| &s.operations).map(|o| &o.endpoint);
    let mut named: BTreeSet<Method> = methods.clone();
    named.extend(offered().filter_map(|e| if let Endpoint::Http { methods, .. } = e { Some(methods) } else { None }).flatten().cloned());
    let mut out = Vec::new();
    for (method, is_named) in named.iter().map(|m| (m.clone(), true)).chain(other_method(&named).map(|m| (m, false))) {
        let templates: BTreeSet<&PathTemplate> = offered()
            .filter_map(|e| match e {
                Endpoint::Http { methods, path } if methods.contains(&method) => Some(path),
                _ => None,
            })
            .collect();
        let words: Vec<Vec<Symbol<'_>>> = templates.iter().map(|t| word(t)).collect();
        let mut reached: BTreeMap<[Option<usize>; 2], Target> = BTreeMap::new();
        for path in kinds(&words, true)?.into_values() {
            let Ok(path) = CanonicalPath::parse(&format!("/{}", path.join("/"))) else { continue };
            let target = Target::Http { method: method.clone(), path };
            reached.entry(route(&target)).or_insert(target);
        }
        out.extend(reached.into_iter().map(|(operations, target)| TargetKind { target, operations, named: is_named }));
    }
    let ports: BTreeSet<u16> = offered().filter_map(|e| if let Endpoint::Connect { port } = e { Some(*port) } else { None }).collect();
    let other = (1..=u16::MAX).rev().find(|p| !ports.contains(p)).map(|p| (p, false));
    for (port, is_named) in ports.iter().map(|p| (*p, true)).chain(other) {
        let target = Target::Connect { port };
        out.push(TargetKind { operations: route(&target), target, named: is_named });
    }
    Ok(out)
}

/// A method that is not named.
fn other_method(named: &BTreeSet<Method>) -> Option<Method> {
    let made = (0_u32..).map(|n| if n == 0 { "OTHER".to_owned() } else { format!("OTHER{n}") });
    let known = METHODS.iter().filter(|m| **m != "CONNECT").map(|m| (*m).to_owned());
    known.chain(made).find_map(|text| Method::parse(&text).ok().filter(|m| !named.contains(m)))
}

fn word(template: &PathTemplate) -> Vec<Symbol<'_>> {
    let mut out = Vec::new();
    for segment in template.segments() {
        out.push(match segment {
            Segment::Literal(text) => Symbol::Literal(text),
            Segment::Parameter { .. } => Symbol::Any,
            Segment::Rest { .. } => Symbol::Rest,
        });
    }
    out
}
