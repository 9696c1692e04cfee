//! The entities of a bundle and of one request, and the request as Cedar puts it.

use std::collections::{HashMap, HashSet};

use cedar_policy::pst::EntityUID;
use cedar_policy::{
    Context as CedarContext, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request as CedarRequest, RestrictedExpression,
};

use crate::cedar::ANY_AUTHENTICATED;
use crate::cedar::lower::{self, undeclared};
use crate::cedar::schema::action_group;
use crate::id::{IdPattern, SpiffeId};
use crate::inventory::Inventory;
use crate::model::{Operation, Service};
use crate::request::{AttributeValue, Attributes, Claims, Context, TargetRef, Token};

/// What makes the entities of a request: those that its policies can reach, and no others. What it costs does not grow with
/// the inventory.
#[derive(Debug)]
pub(crate) struct World {
    types: Types,
    patterns: Vec<IdPattern>,
}

#[derive(Clone, Debug)]
struct Types {
    workload: EntityTypeName,
    service: EntityTypeName,
    group: EntityTypeName,
    operation: EntityTypeName,
    pattern: EntityTypeName,
    action: EntityTypeName,
}

impl Types {
    fn new() -> Option<Self> {
        let name = |text: &str| text.parse::<EntityTypeName>().ok();
        Some(Self {
            workload: name("Workload")?,
            service: name("Service")?,
            group: name("Group")?,
            operation: name("Operation")?,
            pattern: name("Pattern")?,
            action: name("Action")?,
        })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

impl World {
    /// A world in which no patterns are named.
    pub(crate) fn new() -> Option<Self> {
        Some(Self { types: Types::new()?, patterns: Vec::new() })
    }

    /// The same with these patterns.
    pub(crate) fn naming(&self, patterns: &[IdPattern]) -> Self {
        Self { types: self.types.clone(), patterns: patterns.to_vec() }
    }

    /// Everything that exists before any request as Cedar's JSON, sorted; the actions are in the schema.
    ///
    /// # Errors
    /// What Cedar finds wrong with it, in words.
    pub(crate) fn json(&self, inventory: &Inventory) -> Result<String, String> {
        let groups = inventory.groups().iter().map(|g| &*g.name);
        let mut own: Vec<Entity> =
            groups.map(|g| Entity::new_no_attrs(uid(&self.types.group, g), self.groups_above(inventory, g))).collect();
        own.push(Entity::new_no_attrs(uid(&self.types.group, ANY_AUTHENTICATED), HashSet::new()));
        own.extend(self.patterns.iter().map(|p| Entity::new_no_attrs(uid(&self.types.pattern, p.as_str()), HashSet::new())));
        for service in inventory.services() {
            own.extend(self.service(service));
            for operation in service.operations.iter().map(Some).chain([None]) {
                own.push(self.operation(service, operation)?);
            }
            own.extend(service.identities.iter().map(|id| self.workload(id, Some(service))));
        }
        let entities = Entities::from_entities(own, None).map_err(|e| e.to_string())?;
        let serde_json::Value::Array(mut all) = entities.to_json_value().map_err(|e| e.to_string())? else {
            return Err("the entities are no list".to_owned());
        };
        for parents in all.iter_mut().filter_map(|e| e.get_mut("parents")?.as_array_mut()) {
            parents.sort_by_key(ToString::to_string);
        }
        all.sort_by_key(|e| e.get("uid").map(ToString::to_string));
        let text = serde_json::to_string_pretty(&all).map_err(|e| e.to_string())?;
        Ok(text + "\n")
    }

    /// The question as Cedar puts it. The attributes of `context` are already those that the destination makes visible.
    ///
    /// # Errors
    /// What Cedar finds wrong with it, in words; the caller denies.
    pub(crate) fn question(&self, caller: &Caller<'_>, callee: &Callee<'_>, context: &Context) -> Result<Question, String> {
        let principal = self.workload(caller.id, caller.service);
        let action = self.action(match callee.target {
            TargetRef::Http { method, .. } => method.as_str(),
            TargetRef::Connect { .. } => "connect",
        });
        let resource = self.operation(callee.service, callee.operation)?;
        let uids = [principal.uid(), action.uid(), resource.uid()];
        let entities = Entities::from_entities([principal, action, resource], None).map_err(|e| e.to_string())?;
        let [principal, action, resource] = uids;
        let request = CedarRequest::new(principal, action, resource, cedar_context(context)?, None).map_err(|e| e.to_string())?;
        Ok(Question { request, entities })
    }

    fn workload(&self, id: &SpiffeId, service: Option<&Service>) -> Entity {
        let services = service.into_iter().flat_map(|s| self.within(s));
        let patterns = self.patterns.iter().filter(|p| p.matches(id)).map(|p| uid(&self.types.pattern, p.as_str()));
        Entity::new_no_attrs(uid(&self.types.workload, id.as_str()), services.chain(patterns).collect())
    }

    fn action(&self, name: &str) -> Entity {
        let group = action_group(name).map(|group| uid(&self.types.action, group));
        Entity::new_no_attrs(uid(&self.types.action, name), group.into_iter().collect())
    }

    fn operation(&self, service: &Service, operation: Option<&Operation>) -> Result<Entity, String> {
        let data = service.data.iter().chain(operation.iter().flat_map(|o| &o.data)).cloned();
        let id = operation.map_or_else(|| undeclared(&service.name), |o| lower::operation(&service.name, &o.id));
        let attributes = HashMap::from([("data".to_owned(), strings(data))]);
        Entity::new(uid(&self.types.operation, &id), attributes, self.within(service).collect()).map_err(|e| e.to_string())
    }

    fn service(&self, service: &Service) -> Option<Entity> {
        let above = self.groups_of(service).collect();
        Entity::new(uid(&self.types.service, &service.name), service_attributes(service), above).ok()
    }

    /// A service and the groups that it is in, all of them.
    fn within<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = EntityUid> + 'a {
        std::iter::once(uid(&self.types.service, &service.name)).chain(self.groups_of(service))
    }

    fn groups_of<'a>(&'a self, service: &'a Service) -> impl Iterator<Item = EntityUid> + 'a {
        let named = service.groups.iter().map(|g| &**g).chain([ANY_AUTHENTICATED]);
        named.map(|g| uid(&self.types.group, g))
    }

    /// An entity that a condition names and looks into. `None` for those that have nothing to look into.
    pub(crate) fn named(&self, inventory: &Inventory, named: &EntityUID) -> Option<Entity> {
        let id = named.eid.as_str();
        match named.ty.to_string().as_str() {
            "Workload" => {
                let id: SpiffeId = id.parse().ok()?;
                Some(self.workload(&id, inventory.identify(&id).and_then(|n| inventory.services().get(n))))
            }
            "Service" => self.service(inventory.service(id)?),
            "Operation" => {
                let (service, operation) = id.split_once('/')?;
                let service = inventory.service(service)?;
                self.operation(service, service.operations.iter().find(|o| *o.id == *operation)).ok()
            }
            "Group" => Some(Entity::new_no_attrs(uid(&self.types.group, id), self.groups_above(inventory, id))),
            "Action" => Some(self.action(id)),
            _ => None,
        }
    }

    /// An entity that one policy names, as all policies together see it: a workload in every pattern that covers it, not only in
    /// those of that policy.
    pub(crate) fn complete(&self, inventory: &Inventory, named: &Entity) -> Entity {
        let uid = named.uid();
        let workload = uid.type_name() == &self.types.workload;
        match workload.then(|| uid.id().unescaped().parse::<SpiffeId>().ok()).flatten() {
            Some(id) => self.workload(&id, inventory.identify(&id).and_then(|n| inventory.services().get(n))),
            None => named.clone(),
        }
    }

    fn groups_above(&self, inventory: &Inventory, group: &str) -> HashSet<EntityUid> {
        let mut found: Vec<&str> = vec![group];
        let mut seen = 0;
        while let Some(inner) = found.get(seen).copied() {
            seen += 1;
            for outer in inventory.groups().iter().filter(|g| g.members.iter().any(|m| **m == *inner)) {
                if !found.contains(&&*outer.name) {
                    found.push(&outer.name);
                }
            }
        }
        found.into_iter().skip(1).map(|g| uid(&self.types.group, g)).collect()
    }
}

/// Who asks.
pub(crate) struct Caller<'a> {
    pub(crate) id: &'a SpiffeId,
    pub(crate) service: Option<&'a Service>,
}

/// What is asked of whom.
pub(crate) struct Callee<'a> {
    pub(crate) service: &'a Service,
    pub(crate) operation: Option<&'a Operation>,
    pub(crate) target: TargetRef<'a>,
}

/// A request with the entities it refers to.
pub(crate) struct Question {
    pub(crate) request: CedarRequest,
    pub(crate) entities: Entities,
}

fn service_attributes(service: &Service) -> HashMap<String, RestrictedExpression> {
    let text = |value: &String| RestrictedExpression::new_string(value.clone());
    let mut out = HashMap::from([("data".to_owned(), strings(service.data.iter().cloned()))]);
    out.extend(service.zone.iter().map(|zone| ("zone".to_owned(), text(zone))));
    out.extend(service.owner.iter().map(|owner| ("owner".to_owned(), text(owner))));
    // A record from distinct keys cannot fail; the empty one is what remains if it did.
    let labels = RestrictedExpression::new_record(service.labels.iter().map(|(k, v)| (k.clone(), text(v))));
    out.extend(labels.ok().map(|labels| ("labels".to_owned(), labels)));
    out
}

fn strings(items: impl IntoIterator<Item = String>) -> RestrictedExpression {
    RestrictedExpression::new_set(items.into_iter().map(RestrictedExpression::new_string))
}

fn cedar_context(context: &Context) -> Result<CedarContext, String> {
    let mut pairs = vec![
        ("time".to_owned(), RestrictedExpression::new_datetime(context.time.to_string())),
        ("headers".to_owned(), record(&context.headers)?),
        ("query".to_owned(), record(&context.query)?),
    ];
    if let Some(ip) = context.source_ip {
        pairs.push(("source_ip".to_owned(), RestrictedExpression::new_ip(ip.to_string())));
    }
    if let Some(Token::Valid(claims)) = &context.jwt {
        pairs.push(("jwt".to_owned(), token(claims)?));
    }
    CedarContext::from_pairs(pairs).map_err(|e| e.to_string())
}

fn record(attributes: &Attributes) -> Result<RestrictedExpression, String> {
    RestrictedExpression::new_record(attributes.iter().map(|(name, value)| (name.to_string(), expression(value))))
        .map_err(|e| e.to_string())
}

fn token(claims: &Claims) -> Result<RestrictedExpression, String> {
    let text = |t: &str| RestrictedExpression::new_string(t.to_owned());
    let mut pairs = vec![
        ("iss".to_owned(), text(&claims.iss)),
        ("sub".to_owned(), text(&claims.sub)),
        ("aud".to_owned(), strings(claims.aud.iter().map(ToString::to_string))),
        ("scopes".to_owned(), strings(claims.scopes().map(str::to_owned))),
    ];
    pairs.extend(claims.scope.iter().map(|scope| ("scope".to_owned(), text(scope))));
    pairs.extend(claims.other.iter().map(|(name, value)| (name.to_string(), expression(value))));
    RestrictedExpression::new_record(pairs).map_err(|e| e.to_string())
}

fn expression(value: &AttributeValue) -> RestrictedExpression {
    match value {
        AttributeValue::Text(text) => RestrictedExpression::new_string(text.to_string()),
        AttributeValue::Integer(n) => RestrictedExpression::new_long(*n),
        AttributeValue::Boolean(b) => RestrictedExpression::new_bool(*b),
        AttributeValue::List(list) => strings(list.iter().map(ToString::to_string)),
    }
}
