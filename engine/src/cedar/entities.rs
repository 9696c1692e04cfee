//! The entities of a bundle and of one request, and the request as Cedar puts it.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context as CedarContext, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request as CedarRequest, RestrictedExpression, Schema,
};

use crate::cedar::ANY_AUTHENTICATED;
use crate::cedar::lower::{operation, undeclared};
use crate::id::{IdPattern, SpiffeId};
use crate::inventory::Inventory;
use crate::model::Service;
use crate::request::{AttributeValue, Attributes, Claims, Context, TargetRef, Token};

/// The entities that do not depend on a request, and the type names to make the others.
#[derive(Debug)]
pub(crate) struct World {
    base: Entities,
    types: Types,
    patterns: Vec<IdPattern>,
}

#[derive(Debug)]
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
    /// Builds the entities of an inventory; `patterns` are those that permissions name.
    ///
    /// # Errors
    /// What Cedar finds wrong with them, in words.
    pub(crate) fn build(inventory: &Inventory, patterns: Vec<IdPattern>, schema: &Schema) -> Result<Self, String> {
        let types = Types::new().ok_or("an entity type has no name")?;
        let mut entities = Vec::new();
        let any = uid(&types.group, ANY_AUTHENTICATED);
        entities.push(Entity::new_no_attrs(any.clone(), HashSet::new()));
        for group in inventory.groups() {
            let parents =
                inventory.groups().iter().filter(|g| g.members.contains(&group.name)).map(|g| uid(&types.group, &g.name)).collect();
            entities.push(Entity::new_no_attrs(uid(&types.group, &group.name), parents));
        }
        for service in inventory.services() {
            let direct = inventory.groups().iter().filter(|g| g.members.contains(&service.name)).map(|g| uid(&types.group, &g.name));
            let parents = direct.chain([any.clone()]).collect();
            let own = uid(&types.service, &service.name);
            entities.push(Entity::new(own.clone(), service_attributes(service), parents).map_err(|e| e.to_string())?);
            let declared =
                service.operations.iter().map(|o| (operation(&service.name, &o.id), service.data.iter().chain(&o.data).cloned().collect()));
            let all = declared.chain([(undeclared(&service.name), service.data.iter().cloned().collect::<Vec<_>>())]);
            for (id, data) in all {
                let attributes = HashMap::from([("data".to_owned(), strings(data))]);
                entities
                    .push(Entity::new(uid(&types.operation, &id), attributes, HashSet::from([own.clone()])).map_err(|e| e.to_string())?);
            }
            for id in &service.identities {
                let parents =
                    std::iter::once(own.clone()).chain(patterns.iter().filter(|p| p.matches(id)).map(|p| uid(&types.pattern, p.as_str())));
                entities.push(Entity::new_no_attrs(uid(&types.workload, id.as_str()), parents.collect()));
            }
        }
        for pattern in &patterns {
            entities.push(Entity::new_no_attrs(uid(&types.pattern, pattern.as_str()), HashSet::new()));
        }
        // The schema adds the actions with their groups.
        let base = Entities::from_entities(entities, Some(schema)).map_err(|e| e.to_string())?;
        Ok(Self { base, types, patterns })
    }

    /// The entities as Cedar's JSON, sorted, without the actions: those are in the schema.
    ///
    /// # Errors
    /// What Cedar finds wrong with them, in words.
    pub(crate) fn json(&self) -> Result<String, String> {
        let own = self.base.iter().filter(|e| *e.uid().type_name() != self.types.action).cloned();
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
    pub(crate) fn question(&self, caller: &Caller<'_>, callee: &Callee<'_>, context: &Context) -> Result<Question<'_>, String> {
        let principal = uid(&self.types.workload, caller.id.as_str());
        let (action, resource) = self.action_and_resource(callee);
        let entities = if self.base.get(&principal).is_some() {
            std::borrow::Cow::Borrowed(&self.base)
        } else {
            let service = caller.service.map(|s| uid(&self.types.service, &s.name));
            let patterns = self.patterns.iter().filter(|p| p.matches(caller.id)).map(|p| uid(&self.types.pattern, p.as_str()));
            let entity = Entity::new_no_attrs(principal.clone(), service.into_iter().chain(patterns).collect());
            std::borrow::Cow::Owned(self.base.clone().upsert_entities([entity], None).map_err(|e| e.to_string())?)
        };
        let request = CedarRequest::new(principal, action, resource, cedar_context(context)?, None).map_err(|e| e.to_string())?;
        Ok(Question { request, entities })
    }

    fn action_and_resource(&self, callee: &Callee<'_>) -> (EntityUid, EntityUid) {
        let action = match callee.target {
            TargetRef::Http { method, .. } => uid(&self.types.action, method.as_str()),
            TargetRef::Connect { .. } => uid(&self.types.action, "connect"),
        };
        let name = &callee.service.name;
        let id = callee.operation.map_or_else(|| undeclared(name), |o| operation(name, o));
        (action, uid(&self.types.operation, &id))
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
    pub(crate) operation: Option<&'a str>,
    pub(crate) target: TargetRef<'a>,
}

/// A request with the entities it refers to.
pub(crate) struct Question<'a> {
    pub(crate) request: CedarRequest,
    pub(crate) entities: std::borrow::Cow<'a, Entities>,
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
