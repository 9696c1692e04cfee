//! A draft beside a bundle: what it takes for the bundle to allow what was allowed, as files changed.
//!
//! New operations are written into the services that offer them; new services and permissions into a file of their own.
//! INVARIANT: an operation whose declaration would let an old permission (`operations: '*'`) allow what was denied is not declared.

use std::collections::{BTreeMap, BTreeSet};

use portreeve_engine::decision::Effect;
use portreeve_engine::explain::with_operation;
use portreeve_engine::path::CanonicalPath;
use portreeve_engine::request::{Attributes, Context, Method, Target};
use portreeve_engine::{Authorizer, Bundle, Request, SourceFile, SpiffeId};

use super::paths::example;
use super::plan::{meets, words};
use super::seer::{Ask, Key, Party, Sights};
use super::text::Plans;
use super::{Base, Draft};

pub(super) fn draft(sights: &Sights, base: Base<'_>) -> Draft {
    let mut without: BTreeMap<Party, BTreeSet<Ask>> = BTreeMap::new();
    let mut cautions = Vec::new();
    // Each round takes out at least one operation, and no more than there are.
    loop {
        let plans = Plans::of(sights, Some(base), &without);
        let (files, refused) = written(&plans, base);
        let mut next = refused;
        if next.is_empty() {
            next = widened(&plans, sights, base, &files);
            cautions.extend(next.iter().map(|(to, op)| {
                format!("`{to}`: {} is not declared, for a permission of the bundle would then allow what was denied", words(op))
            }));
        } else {
            cautions.extend(next.iter().map(|(to, op)| format!("`{to}`: the text of its service has no place for {}", words(op))));
        }
        if next.is_empty() {
            let mut out = plans.summed();
            out.files = files;
            out.cautions.splice(0..0, cautions);
            return out;
        }
        for (to, op) in next {
            without.entry(Party::Known(to)).or_default().insert(op);
        }
    }
}

/// The files that change; or the operations for which there is no place.
fn written(plans: &Plans<'_>, base: Base<'_>) -> (BTreeMap<String, String>, BTreeSet<(String, Ask)>) {
    let mut bundle = Bundle { name: base.bundle.name.clone(), files: base.bundle.files.clone(), revision: base.bundle.revision };
    let mut refused = BTreeSet::new();
    for (party, plan) in &plans.plans {
        let Party::Known(name) = party else { continue };
        let Some(service) = base.law.service(name) else { continue };
        let new = plan.ops.iter().filter(|op| !matches!(op, Ask::Declared(_)));
        for (op, (entry, comment)) in new.zip(plans.entries(party)) {
            match with_operation(&bundle, service, &entry, &comment) {
                Some(changed) => bundle = changed,
                None => drop(refused.insert((name.clone(), op.clone()))),
            }
        }
    }
    let taken = base.law.policies().iter().map(|p| p.reference.id.to_string()).collect();
    let (services, (permissions, _)) = (plans.services(), plans.permissions(&taken));
    let is_changed = |file: &&SourceFile| base.bundle.files.iter().all(|before| before.path != file.path || before.bytes != file.bytes);
    let text = |file: &SourceFile| (file.path.clone(), String::from_utf8_lossy(&file.bytes).into_owned());
    let mut files: BTreeMap<String, String> = bundle.files.iter().filter(is_changed).map(text).collect();
    if !services.is_empty() || !permissions.is_empty() {
        let is_taken = |name: &String| base.bundle.files.iter().any(|f| f.path == *name);
        let names = (1..).map(|n| if n == 1 { "suggested.yaml".to_owned() } else { format!("suggested-{n}.yaml") });
        let name = names.into_iter().find(|name| !is_taken(name)).unwrap_or_default();
        files.insert(name, format!("{HEAD}{services}{permissions}"));
    }
    (files, refused)
}

/// Operations that would let the bundle's own permissions allow what was denied.
fn widened(plans: &Plans<'_>, sights: &Sights, base: Base<'_>, files: &BTreeMap<String, String>) -> BTreeSet<(String, Ask)> {
    let mut out = BTreeSet::new();
    let Some(law) = law_with(base, files) else { return out };
    for (key, _) in sights.sights.iter().filter(|(_, s)| s.denied > 0) {
        let Party::Known(to) = &key.to else { continue };
        let Some(op) = plans.plans.get(&key.to).and_then(|plan| meets(&plan.ops, &key.ask)) else { continue };
        let Some(request) = question(key, to, sights, base.law).filter(|_| !matches!(op, Ask::Declared(_))) else { continue };
        let grants = |law: &Authorizer| -> BTreeSet<String> {
            law.covering(&request).iter().filter(|p| p.effect == Effect::Allow).map(|p| p.id.to_string()).collect()
        };
        if !grants(&law).is_subset(&grants(base.law)) {
            out.insert((to.clone(), op.clone()));
        }
    }
    out
}

/// The law of a bundle with files changed; `None` where it is not valid.
fn law_with(base: Base<'_>, files: &BTreeMap<String, String>) -> Option<Authorizer> {
    Authorizer::compile(&changed(base.bundle, files).ok()?).authorizer
}

/// A bundle with files changed or added.
///
/// # Errors
/// More files or bytes than the limits allow.
pub fn changed(bundle: &Bundle, files: &BTreeMap<String, String>) -> Result<Bundle, portreeve_engine::Diagnostic> {
    let kept = bundle.files.iter().filter(|f| !files.contains_key(&f.path)).cloned();
    let new = files.iter().map(|(path, text)| SourceFile { path: path.clone(), bytes: text.clone().into_bytes() });
    Bundle::from_files(bundle.name.clone(), kept.chain(new).collect())
}

/// A question of this kind, with values of our own.
fn question(key: &Key, to: &str, sights: &Sights, law: &Authorizer) -> Option<Request> {
    let principal: SpiffeId = match &key.from {
        Party::Known(name) => law.service(name)?.identities.first()?.clone(),
        other => sights.holders.iter().find(|(_, holder)| *holder == other)?.0.clone(),
    };
    let target = match &key.ask {
        Ask::Declared(_) => return None,
        Ask::Connect { port } => Target::Connect { port: *port },
        Ask::Http { method, path } => {
            Target::Http { method: Method::parse(method).ok()?, path: CanonicalPath::parse_recorded(&example(path), law.paths(to)).ok()? }
        }
    };
    let time = sights.sights.values().filter_map(|s| s.span).map(|(_, last)| last).max().unwrap_or_default();
    let context = Context { time, source_ip: None, headers: Attributes::new(), query: Attributes::new(), jwt: None };
    Some(Request { principal, service: to.into(), target, host: None, context })
}

const HEAD: &str = "# Drafted from traffic by `portreeve suggest`: what the logs show as allowed and the policies did not allow.\n\
# Why each grant is right is in no log: it is for you to say, or to take out.\n";
