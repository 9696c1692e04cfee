//! The space of contexts that the policies about one operation tell apart, and conditions as sets in it.
//!
//! Each question that a condition can ask is a variable with the few answers that matter: is there a token, who issued it, is
//! this scope in it, which of the named values has this header, in which networks lies the source, at what kind of instant.
//! Classes are made so that every context falls into exactly one, and the value of a condition in a class is found by asking
//! the condition itself about the class's representative: the algebra has no second reading of conditions that could drift.
//!
//! Contexts that are malformed for both bundles are left out: both deny them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::algebra::attribute::{Kinds, Place, Questions};
use crate::algebra::diagram::{ALL, Diagrams, NONE, Set, Step, TooLarge};
use crate::algebra::{instant, network};
use crate::condition::among;
use crate::model::{Condition, JwtCondition, Visible};
use crate::request::{AttributeValue, Attributes, Claims, Context, Token};
use crate::time::Timestamp;

/// A variable, with what its values mean.
#[derive(Debug)]
enum Dimension {
    /// None, or a valid one.
    Token,
    /// Another one, or one of these.
    Issuer(Vec<Box<str>>),
    /// Absent or present.
    Audience(Box<str>),
    /// Absent or present.
    Scope(Box<str>),
    /// One of these.
    Value {
        place: Place,
        name: Box<str>,
        values: Vec<Option<AttributeValue>>,
    },
    /// Absent or present in the list.
    Member {
        place: Place,
        name: Box<str>,
        member: Box<str>,
    },
    Source(Vec<Option<IpAddr>>),
    Time(Vec<Timestamp>),
    /// No, yes, error.
    Opaque,
}

/// What the answer to an opaque question can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Yes,
    Error,
}

/// An attribute and its variables.
#[derive(Debug)]
struct Attribute {
    kinds: Kinds,
    value: u32,
    values: Vec<Option<AttributeValue>>,
    members: Vec<(Box<str>, u32)>,
    /// Whether members are asked one by one.
    listed: bool,
}

/// A space of contexts.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) sets: Diagrams,
    dimensions: Vec<Dimension>,
    issuers: Vec<Box<str>>,
    audiences: BTreeMap<Box<str>, u32>,
    scopes: BTreeMap<Box<str>, u32>,
    attributes: BTreeMap<(Place, Box<str>), Attribute>,
    source: u32,
    time: u32,
    first_opaque: u32,
}

impl Space {
    /// The space that these conditions tell apart, where two bundles make these attributes visible, with so many opaque
    /// questions.
    pub(crate) fn new(visible: [&Visible; 2], conditions: &[&Condition], opaque: usize) -> Result<Self, TooLarge> {
        let mut space = Self {
            sets: Diagrams::new(),
            dimensions: vec![Dimension::Token],
            issuers: Vec::new(),
            audiences: BTreeMap::new(),
            scopes: BTreeMap::new(),
            attributes: BTreeMap::new(),
            source: 0,
            time: 0,
            first_opaque: 0,
        };
        space.token(conditions);
        for place in [Place::Claim, Place::Header, Place::Query] {
            space.attributes_at(place, visible, conditions)?;
        }
        let sources = network::classes(conditions.iter().flat_map(|c| &c.source))?;
        space.source = space.add(Dimension::Source(sources));
        let instants = instant::classes(conditions.iter().copied())?;
        space.time = space.add(Dimension::Time(instants));
        space.first_opaque = u32::try_from(space.dimensions.len()).map_err(|_| TooLarge)?;
        for _ in 0..opaque {
            space.add(Dimension::Opaque);
        }
        Ok(space)
    }

    fn add(&mut self, dimension: Dimension) -> u32 {
        let number = u32::try_from(self.dimensions.len()).unwrap_or(u32::MAX);
        self.dimensions.push(dimension);
        number
    }

    fn token(&mut self, conditions: &[&Condition]) {
        let named = |of: fn(&JwtCondition) -> Vec<&Box<str>>| -> BTreeSet<Box<str>> {
            conditions.iter().filter_map(|c| c.jwt.as_ref()).flat_map(of).cloned().collect()
        };
        self.issuers = named(|jwt| jwt.issuer.iter().collect()).into_iter().collect();
        self.add(Dimension::Issuer(self.issuers.clone()));
        for audience in named(|jwt| jwt.audience.iter().collect()) {
            let variable = self.add(Dimension::Audience(audience.clone()));
            self.audiences.insert(audience, variable);
        }
        for scope in named(|jwt| jwt.scopes.iter().chain(&jwt.scopes_any).collect()) {
            let variable = self.add(Dimension::Scope(scope.clone()));
            self.scopes.insert(scope, variable);
        }
    }

    fn attributes_at(&mut self, place: Place, visible: [&Visible; 2], conditions: &[&Condition]) -> Result<(), TooLarge> {
        let types = visible.map(|v| match place {
            Place::Header => &v.headers,
            Place::Query => &v.query,
            Place::Claim => &v.claims,
        });
        let [old, new] = types;
        let mut named: BTreeMap<Box<str>, BTreeSet<AttributeValue>> = BTreeMap::new();
        for (name, values) in conditions.iter().flat_map(|c| wanted(c, place)) {
            named.entry(name.clone()).or_default().extend(values.iter().cloned());
        }
        for name in old.keys().chain(new.keys()).filter(|name| old.get(*name) != new.get(*name)) {
            named.entry(name.clone()).or_default();
        }
        for (name, values) in named {
            let kinds = types.map(|t| t.get(&name).copied());
            let (values, members) = match place.questions(kinds, &values)? {
                Questions::Value(values) => (values, None),
                Questions::Members { names, shapes } => (shapes, Some(names)),
            };
            let value = self.add(Dimension::Value { place, name: name.clone(), values: values.clone() });
            let listed = members.is_some();
            let member = |member: Box<str>| {
                let variable = self.add(Dimension::Member { place, name: name.clone(), member: member.clone() });
                (member, variable)
            };
            let members = members.into_iter().flatten().map(member).collect();
            self.attributes.insert((place, name), Attribute { kinds, value, values, members, listed });
        }
        Ok(())
    }

    /// The contexts in which a condition of the old (0) or new (1) bundle holds.
    pub(crate) fn condition(&mut self, side: usize, condition: &Condition) -> Result<Set, TooLarge> {
        let mut out = ALL;
        if let Some(jwt) = &condition.jwt {
            out = self.jwt(side, jwt)?;
        }
        for (place, name, wanted) in
            [Place::Header, Place::Query].into_iter().flat_map(|p| wanted(condition, p).map(move |(n, w)| (p, n, w)))
        {
            let part = self.attribute(side, place, name, wanted)?;
            out = self.sets.and(out, part)?;
        }
        if !condition.source.is_empty()
            && let Some(Dimension::Source(classes)) = self.dimensions.get(self.source as usize)
        {
            let part = self.sets.values(self.source, classes.iter().map(|ip| condition.covers_source(*ip)))?;
            out = self.sets.and(out, part)?;
        }
        if condition.reads_time()
            && let Some(Dimension::Time(classes)) = self.dimensions.get(self.time as usize)
        {
            let part = self.sets.values(self.time, classes.iter().map(|at| condition.covers_time(*at)))?;
            out = self.sets.and(out, part)?;
        }
        Ok(out)
    }

    fn jwt(&mut self, side: usize, jwt: &JwtCondition) -> Result<Set, TooLarge> {
        let mut out = self.sets.values(TOKEN, [false, true])?;
        if !jwt.issuer.is_empty() {
            let marked = std::iter::once(false).chain(self.issuers.iter().map(|i| jwt.issuer.contains(i)));
            let part = self.sets.values(ISSUER, marked)?;
            out = self.sets.and(out, part)?;
        }
        if !jwt.audience.is_empty() {
            let variables: Vec<u32> = jwt.audience.iter().filter_map(|a| self.audiences.get(a)).copied().collect();
            let part = self.any(&variables)?;
            out = self.sets.and(out, part)?;
        }
        for variable in jwt.scopes.iter().filter_map(|s| self.scopes.get(s)) {
            let part = self.sets.values(*variable, [false, true])?;
            out = self.sets.and(out, part)?;
        }
        if !jwt.scopes_any.is_empty() {
            let variables: Vec<u32> = jwt.scopes_any.iter().filter_map(|s| self.scopes.get(s)).copied().collect();
            let part = self.any(&variables)?;
            out = self.sets.and(out, part)?;
        }
        for (name, wanted) in &jwt.claims {
            let part = self.attribute(side, Place::Claim, name, wanted)?;
            out = self.sets.and(out, part)?;
        }
        Ok(out)
    }

    fn any(&mut self, variables: &[u32]) -> Result<Set, TooLarge> {
        let mut out = NONE;
        for variable in variables {
            let one = self.sets.values(*variable, [false, true])?;
            out = self.sets.or(out, one)?;
        }
        Ok(out)
    }

    /// The contexts in which an attribute, as one bundle reads it, is or contains one of these values.
    fn attribute(&mut self, side: usize, place: Place, name: &str, wanted: &[AttributeValue]) -> Result<Set, TooLarge> {
        let Some(attribute) = self.attributes.get(&(place, name.into())) else { return Ok(NONE) };
        let Some(kind) = attribute.kinds.get(side).copied().flatten() else { return Ok(NONE) };
        if !attribute.listed {
            let read = |value: &Option<AttributeValue>| value.as_ref().and_then(|v| place.coerce(kind, v));
            let marked: Vec<bool> = attribute.values.iter().map(|v| among(read(v).as_ref(), wanted)).collect();
            return self.sets.values(attribute.value, marked);
        }
        let asked = |member: &str| wanted.iter().any(|w| matches!(w, AttributeValue::Text(text) if **text == *member));
        let variables: Vec<u32> = attribute.members.iter().filter(|(member, _)| asked(member)).map(|(_, v)| *v).collect();
        let is_list = self.sets.values(attribute.value, attribute.values.iter().map(Option::is_none))?;
        let contained = self.any(&variables)?;
        self.sets.and(is_list, contained)
    }

    /// The contexts that one bundle denies before any policy is asked: an attribute is not of its type.
    pub(crate) fn malformed(&mut self, side: usize) -> Result<Set, TooLarge> {
        let mut out = NONE;
        let token = self.sets.values(TOKEN, [false, true])?;
        for ((place, _), attribute) in &self.attributes {
            let Some(kind) = attribute.kinds.get(side).copied().flatten() else { continue };
            let marked = attribute.values.iter().map(|v| v.as_ref().is_some_and(|v| place.coerce(kind, v).is_none()));
            let mut part = self.sets.values(attribute.value, marked)?;
            if *place == Place::Claim {
                part = self.sets.and(part, token)?;
            }
            out = self.sets.or(out, part)?;
        }
        Ok(out)
    }

    /// The contexts in which the n-th opaque question has this answer.
    pub(crate) fn opaque(&mut self, number: usize, answer: Answer) -> Result<Set, TooLarge> {
        let number = u32::try_from(number).map_err(|_| TooLarge)?;
        self.sets.values(self.first_opaque + number, [false, answer == Answer::Yes, answer == Answer::Error])
    }

    /// What of a set holds whatever the opaque questions answer.
    pub(crate) fn certain(&mut self, set: Set) -> Result<Set, TooLarge> {
        self.sets.whatever_from(set, self.first_opaque)
    }

    /// Contexts of a set, at most so many. The answers of opaque questions cannot be chosen, so they are left out.
    pub(crate) fn contexts(&self, set: Set, most: usize) -> Vec<Context> {
        self.sets.ways(set, most).iter().map(|way| self.context(way)).collect()
    }

    fn context(&self, way: &[Step]) -> Context {
        let taken: BTreeMap<u32, usize> = way.iter().copied().collect();
        let mut draft = Draft::default();
        for (number, dimension) in (0_u32..).zip(&self.dimensions) {
            draft.take(dimension, taken.get(&number).copied().unwrap_or_default());
        }
        let fresh = |what: &str, named: &mut dyn Iterator<Item = &Box<str>>| -> Box<str> {
            let named: BTreeSet<&str> = named.map(|n| &**n).collect();
            let mut made = (0_u32..).map(|n| if n == 0 { what.to_owned() } else { format!("{what}{n}") });
            made.find(|t| !named.contains(t.as_str())).unwrap_or_default().into()
        };
        if draft.claims.iss.is_empty() {
            draft.claims.iss = fresh("https://issuer.example", &mut self.issuers.iter());
        }
        if draft.claims.aud.is_empty() {
            draft.claims.aud.push(fresh("audience", &mut self.audiences.keys()));
        }
        draft.context.jwt = draft.has_token.then_some(Token::Valid(draft.claims));
        draft.context
    }
}

fn wanted(condition: &Condition, place: Place) -> impl Iterator<Item = (&Box<str>, &Vec<AttributeValue>)> {
    let found = match place {
        Place::Header => Some(&condition.headers),
        Place::Query => Some(&condition.query),
        Place::Claim => condition.jwt.as_ref().map(|jwt| &jwt.claims),
    };
    found.into_iter().flatten()
}

/// A context under construction.
struct Draft {
    context: Context,
    has_token: bool,
    claims: Claims,
}

impl Default for Draft {
    fn default() -> Self {
        let claims = Claims { iss: "".into(), sub: "someone".into(), aud: Vec::new(), scope: None, other: Attributes::new() };
        Self { context: Context::default(), has_token: false, claims }
    }
}

impl Draft {
    fn take(&mut self, dimension: &Dimension, value: usize) {
        let yes = value == 1;
        match dimension {
            Dimension::Token => self.has_token = yes,
            Dimension::Issuer(named) => self.claims.iss = value.checked_sub(1).and_then(|n| named.get(n)).cloned().unwrap_or_default(),
            Dimension::Audience(audience) if yes => self.claims.aud.push(audience.clone()),
            Dimension::Scope(scope) if yes => {
                let scopes = self.claims.scope.take().map_or_else(|| scope.to_string(), |scopes| format!("{scopes} {scope}"));
                self.claims.scope = Some(scopes.into());
            }
            Dimension::Value { place, name, values } => {
                if let Some(Some(value)) = values.get(value) {
                    self.record(*place).insert(name.clone(), value.clone());
                }
            }
            Dimension::Member { place, name, member } if yes => {
                // What is no list at all has no members.
                if let AttributeValue::List(list) =
                    self.record(*place).entry(name.clone()).or_insert_with(|| AttributeValue::List(Vec::new()))
                {
                    list.push(member.clone());
                }
            }
            Dimension::Source(classes) => self.context.source_ip = classes.get(value).copied().flatten(),
            Dimension::Time(classes) => self.context.time = classes.get(value).copied().unwrap_or_default(),
            Dimension::Audience(_) | Dimension::Scope(_) | Dimension::Member { .. } | Dimension::Opaque => {}
        }
    }

    fn record(&mut self, place: Place) -> &mut Attributes {
        match place {
            Place::Header => &mut self.context.headers,
            Place::Query => &mut self.context.query,
            Place::Claim => &mut self.claims.other,
        }
    }
}

const TOKEN: u32 = 0;
const ISSUER: u32 = 1;
