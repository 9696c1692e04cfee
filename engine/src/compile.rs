//! From the files of a bundle to an authorizer, or to everything that is wrong with them.

use cedar_policy::Schema;

use crate::authorizer::{Answered, Authorizer, Body, Compiled, Language, Policy};
use crate::bundle::Bundle;
use crate::bundle::declare::{self, Declared};
use crate::bundle::resolve::{Resolved, resolve};
use crate::bundle::suite;
use crate::cedar::entities::World;
use crate::cedar::governance::governance;
use crate::cedar::policies::{self, CedarPolicy};
use crate::cedar::schema;
use crate::decision::PolicyRef;
use crate::diagnostic::{Diagnostic, Location};
use crate::dry_run::DryRun;
use crate::id::IdPattern;
use crate::inventory::Inventory;
use crate::memo::{self, Projection};
use crate::model::{Caller, Operations, Permission};
use crate::reference::Slices;
use crate::rego::RegoModules;
use crate::table::{CallerAtom, MethodMask, Methods, Scope, Table, TargetAtom};

pub(crate) fn compile(bundle: &Bundle) -> Compiled {
    let mut problems = Vec::new();
    let authorizer = build(bundle, &mut problems);
    bundle.arrange(&mut problems);
    let invalid = problems.iter().any(Diagnostic::is_error);
    Compiled { authorizer: authorizer.filter(|_| !invalid), diagnostics: problems }
}

/// The authorizer as far as it could be made; it must not be used where there are errors.
pub(crate) fn build(bundle: &Bundle, problems: &mut Vec<Diagnostic>) -> Option<Authorizer> {
    let sources = Sources::read(bundle, problems);
    let mut declared = Declared::default();
    for (path, text) in &sources.yaml {
        declare::file(path, text, &mut declared, problems);
    }
    let Resolved { inventory, permissions, dry_run, invariants, zones, exceptions, suites } = resolve(declared, problems);
    // Cedar policies are validated against the inventory; a broken inventory would only raise complaints that mean nothing.
    let broken = problems.iter().any(Diagnostic::is_error);
    let rego = RegoModules::compile(&sources.rego).map_err(|found| problems.extend(found)).ok();
    if broken {
        return None;
    }
    let schema_text = schema::text(&inventory);
    let mut methods = Methods::default();
    let Some(world) = World::new() else {
        problems.push(Diagnostic::error("internal", "an entity type has no name"));
        return None;
    };
    let (cedar, rego) = (cedar(&sources.cedar, &world, &inventory, &schema_text, &mut methods, problems)?, rego?);
    let world = world.naming(&patterns(permissions.iter().chain(&dry_run), &cedar));
    let mut gathered = Gathered { inventory: &inventory, methods: &mut methods, items: Vec::new(), problems };
    gathered.permissions(&permissions);
    gathered.cedar(&cedar);
    gathered.rego(&rego);
    let (items, looked_at) = gathered.finish(&dry_run);
    crate::invariant::tell_methods_apart(&invariants, &exceptions, &mut methods, problems);
    for case in suites.iter().flat_map(|s| &s.cases) {
        let known = || items.iter().map(|i| &*i.policy.reference.id);
        for id in case.policies.iter().flatten().filter(|id| !known().any(|k| *k == ***id)) {
            problems.push(
                Diagnostic::error("unknown-policy", format!("the case expects the policy `{id}`, and there is none"))
                    .at(case.at.clone())
                    .suggest(id, known()),
            );
        }
    }
    let entered: Vec<_> = items.iter().map(|i| (i.scope.clone(), i.policy.reference.effect, i.policy.conditional)).collect();
    let table = Table::build(&inventory, &entered);
    let (listed, bodies): (Vec<Policy>, Vec<Body>) = items.into_iter().map(|i| (i.policy, i.body)).unzip();
    let projections = (0_u32..).zip(&listed).map(|(n, policy)| Projection::of(n, &policy.answered)).collect();
    let dry_run = trial(&inventory, dry_run, looked_at);
    let reads_time = permissions.iter().chain(&dry_run.permissions).any(|p| p.when.reads_time())
        || cedar.iter().any(|p| p.footprint.reads_time())
        || rego.rules().iter().any(|r| r.reads_time);
    let slices = Slices::of(inventory.services().len());
    let authorizer = Authorizer {
        revision: bundle.revision,
        inventory,
        permissions,
        dry_run,
        policies: listed,
        bodies,
        cedar,
        rego,
        world,
        schema: schema_text,
        methods,
        table,
        invariants,
        zones,
        exceptions,
        suites,
        reads_time,
        projections,
        slices,
        snapshot: Some(memo::snapshot()),
    };
    suite::time_needed(&authorizer, problems);
    crate::invariant::prove(&authorizer, problems);
    Some(authorizer)
}

/// The permissions in dry-run, in a table of their own.
fn trial(inventory: &Inventory, permissions: Vec<Permission>, looked_at: Vec<(Item, usize)>) -> DryRun {
    let entered: Vec<_> = looked_at.iter().map(|(i, _)| (i.scope.clone(), i.policy.reference.effect, i.policy.conditional)).collect();
    let policies = looked_at.into_iter().map(|(item, n)| (item.policy.reference, n)).collect();
    DryRun { permissions, policies, table: Table::build(inventory, &entered) }
}

/// Reads the Cedar policies. Where there are none, nothing is made of the schema.
fn cedar(
    sources: &[(&str, &str)],
    world: &World,
    inventory: &Inventory,
    schema_text: &str,
    methods: &mut Methods,
    problems: &mut Vec<Diagnostic>,
) -> Option<Vec<CedarPolicy>> {
    if sources.is_empty() {
        return Some(Vec::new());
    }
    let schema = match Schema::from_cedarschema_str(schema_text) {
        Ok((schema, _)) => schema,
        Err(error) => {
            problems.push(Diagnostic::error("cedar-schema", format!("the inventory makes no Cedar schema: {error}")));
            return None;
        }
    };
    let reader = policies::Reader { world, inventory, schema: &schema, schema_text };
    let mut out = Vec::new();
    for (path, text) in sources {
        out.extend(reader.read(path, text, methods, problems));
    }
    Some(out)
}

/// The identity patterns that policies name.
fn patterns<'a>(permissions: impl Iterator<Item = &'a Permission>, cedar: &'a [CedarPolicy]) -> Vec<IdPattern> {
    let of_permissions = permissions.flat_map(|p| &p.from).filter_map(|c| match c {
        Caller::Pattern(pattern) => Some(pattern),
        _ => None,
    });
    let mut out: Vec<IdPattern> = of_permissions.chain(cedar.iter().flat_map(|p| &p.patterns)).cloned().collect();
    out.sort();
    out.dedup();
    out
}

/// The files of a bundle by language.
#[derive(Default)]
struct Sources<'a> {
    yaml: Vec<(&'a str, &'a str)>,
    cedar: Vec<(&'a str, &'a str)>,
    rego: Vec<(&'a str, &'a str)>,
}

impl<'a> Sources<'a> {
    fn read(bundle: &'a Bundle, problems: &mut Vec<Diagnostic>) -> Self {
        let mut out = Self::default();
        for file in &bundle.files {
            match file.text() {
                Err(problem) => problems.push(problem),
                Ok(text) => match file.path.rsplit('.').next() {
                    Some("cedar") => out.cedar.push((&file.path, text)),
                    Some("rego") => out.rego.push((&file.path, text)),
                    _ => out.yaml.push((&file.path, text)),
                },
            }
        }
        out
    }
}

/// A policy on its way into the table.
struct Item {
    policy: Policy,
    body: Body,
    scope: Scope,
}

struct Gathered<'a, 'p> {
    inventory: &'a Inventory,
    methods: &'p mut Methods,
    items: Vec<Item>,
    problems: &'p mut Vec<Diagnostic>,
}

impl Gathered<'_, '_> {
    fn permissions(&mut self, permissions: &[Permission]) {
        for (index, permission) in permissions.iter().enumerate() {
            let Some(item) = self.permission(index, permission) else { continue };
            self.items.push(item);
        }
    }

    fn permission(&mut self, index: usize, permission: &Permission) -> Option<Item> {
        let scope = self.scope(permission)?;
        let conditional = !permission.when.is_empty();
        let (id, effect, at) = (permission.name.clone(), permission.effect, permission.at.clone());
        let policy = Policy {
            reference: PolicyRef { id, effect, at, limit: permission.limit },
            language: Language::Yaml,
            conditional,
            answered: if conditional { Answered::InPlace } else { Answered::FromTable },
            wildcard: !matches!(permission.operations, Operations::Listed(_)),
            governance: permission.governance.clone(),
            expires: permission.when.expires,
        };
        Some(Item { policy, body: if conditional { Body::Native(index) } else { Body::Always }, scope })
    }

    fn scope(&mut self, permission: &Permission) -> Option<Scope> {
        let caller = |caller: &Caller| match caller {
            Caller::Service(name) => self.inventory.index(name).map(CallerAtom::Service),
            Caller::Group(name) => Some(CallerAtom::Group(name.clone())),
            Caller::Identity(id) => Some(CallerAtom::Identity(id.clone())),
            Caller::Pattern(pattern) => Some(CallerAtom::Pattern(pattern.clone())),
            Caller::AnyAuthenticated => Some(CallerAtom::AnyAuthenticated),
        };
        let mut callers: Vec<CallerAtom> = permission.from.iter().filter_map(caller).collect();
        let mut targets: Vec<TargetAtom> = permission.to.iter().flat_map(|to| self.targets(to, &permission.operations)).collect();
        callers.sort();
        callers.dedup();
        targets.sort();
        targets.dedup();
        let methods = match &permission.methods {
            None => MethodMask::ALL,
            Some(methods) => {
                let mut bits = methods.iter().map(|m| self.methods.intern(m));
                let mask = bits.try_fold(MethodMask::NONE, |mask, bit| bit.map(|b| mask.or(b.mask())));
                let Some(mask) = mask else {
                    let problem =
                        Diagnostic::error("too-many-methods", "policies name too many different methods").at(permission.at.clone());
                    self.problems.push(problem);
                    return None;
                };
                mask
            }
        };
        Some(Scope { callers, targets, methods })
    }

    fn targets(&self, name: &str, operations: &Operations) -> Vec<TargetAtom> {
        let declared = *operations == Operations::Declared;
        if let Operations::Listed(ids) = operations {
            let services = self.inventory.services().iter().enumerate().filter(|(_, s)| *s.name == *name || s.groups.contains(name));
            let each = services.flat_map(|(service, s)| {
                let listed = s.operations.iter().enumerate().filter(|(_, o)| ids.contains(&o.id));
                listed.map(move |(operation, _)| TargetAtom::Operation { service, operation })
            });
            return each.collect();
        }
        match self.inventory.index(name) {
            Some(service) => vec![TargetAtom::Service { service, declared }],
            None => vec![TargetAtom::Group { group: name.into(), declared }],
        }
    }

    fn cedar(&mut self, policies: &[CedarPolicy]) {
        for (index, found) in policies.iter().enumerate() {
            let wide = found.scope.targets.iter().any(|t| !matches!(t, TargetAtom::Operation { .. } | TargetAtom::Undeclared { .. }));
            let policy = Policy {
                reference: PolicyRef { id: found.id.clone(), effect: found.effect, at: found.at.clone(), limit: None },
                language: Language::Cedar,
                conditional: found.conditional,
                answered: if found.conditional { Answered::of(&found.footprint) } else { Answered::FromTable },
                wildcard: wide,
                governance: found.policies().next().map(|p| governance(p, &found.at, self.problems)).unwrap_or_default(),
                expires: None,
            };
            let body = if found.conditional { Body::Cedar(index) } else { Body::Always };
            self.items.push(Item { policy, body, scope: found.scope.clone() });
        }
    }

    fn rego(&mut self, modules: &RegoModules) {
        for (index, rule) in modules.rules().iter().enumerate() {
            let targets = match &rule.services {
                None => vec![TargetAtom::Anything],
                Some(names) => names
                    .iter()
                    .filter_map(|name| self.named_service(name, &rule.at))
                    .map(|service| TargetAtom::Service { service, declared: false })
                    .collect(),
            };
            let policy = Policy {
                reference: PolicyRef { id: rule.id.clone(), effect: rule.effect, at: rule.at.clone(), limit: None },
                language: Language::Rego,
                conditional: true,
                answered: Answered::of(&rule.footprint),
                wildcard: true,
                governance: rule.governance.clone(),
                expires: None,
            };
            let scope = Scope { callers: vec![CallerAtom::Anyone], targets, methods: MethodMask::ALL };
            self.items.push(Item { policy, body: Body::Rego(index), scope });
        }
    }

    fn named_service(&mut self, name: &str, at: &Location) -> Option<usize> {
        let found = self.inventory.index(name);
        if found.is_none() {
            self.problems.push(
                Diagnostic::error("unknown-service", format!("the module is limited to `{name}`, and there is no such service"))
                    .at(at.clone())
                    .suggest(name, self.inventory.services().iter().map(|s| &*s.name)),
            );
        }
        found
    }

    /// By id, each id once; with them those in dry-run, each with the position of its permission.
    fn finish(mut self, dry_run: &[Permission]) -> (Vec<Item>, Vec<(Item, usize)>) {
        let looked_at = dry_run.iter().enumerate().filter_map(|(n, permission)| Some((self.permission(n, permission)?, n)));
        let mut looked_at: Vec<(Item, usize)> = looked_at.collect();
        looked_at.sort_by(|(a, _), (b, _)| a.policy.reference.id.cmp(&b.policy.reference.id));
        self.items.sort_by(|a, b| (&a.policy.reference.id, &a.policy.reference.at).cmp(&(&b.policy.reference.id, &b.policy.reference.at)));
        let mut all: Vec<&PolicyRef> =
            self.items.iter().chain(looked_at.iter().map(|(item, _)| item)).map(|i| &i.policy.reference).collect();
        all.sort_by(|a, b| (&a.id, &a.at).cmp(&(&b.id, &b.at)));
        for (first, second) in all.iter().zip(all.iter().skip(1)) {
            if first.id == second.id {
                self.problems.push(
                    Diagnostic::error("duplicate-name", format!("there is already a policy `{}`", second.id))
                        .at(second.at.clone())
                        .help(format!("the first one is at {}", first.at.short())),
                );
            }
        }
        (self.items, looked_at)
    }
}
