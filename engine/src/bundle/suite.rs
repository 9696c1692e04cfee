//! Test cases: as written, and as questions with the facts that a case leaves out filled in.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::authorizer::Authorizer;
use crate::bundle::declare::{Named, is_name};
use crate::bundle::matrix;
use crate::bundle::resolve::Names;
use crate::decision::{Effect, Reason};
use crate::diagnostic::{Diagnostic, Location};
use crate::id::SpiffeId;
use crate::model::{Caller, JwtCondition, Operations, Permission, Service, TestCase, TestSuite};
use crate::path::Paths;
use crate::request::{AttributeValue, Attributes, Claims, Context, Method, Request, Target, Token, parse_query, parse_target};
use crate::time::Timestamp;
use crate::yaml::{Fields, Node, Value};

/// A suite before its names are resolved.
#[derive(Debug)]
pub(crate) struct DeclaredSuite {
    name: Named,
    fixtures: Vec<(Named, DeclaredToken)>,
    cases: Vec<DeclaredCase>,
}

/// The tokens that cases name, of the whole bundle.
pub(crate) type Fixtures = BTreeMap<Box<str>, DeclaredToken>;

#[derive(Debug)]
struct DeclaredCase {
    caller: Named,
    call: Named,
    jwt: Option<DeclaredToken>,
    /// The parameters of its combination, in words.
    parameters: String,
    headers: Attributes,
    source: Option<std::net::IpAddr>,
    time: Option<Timestamp>,
    expect: Effect,
    because: Option<Reason>,
    policies: Option<Vec<Box<str>>>,
    at: Location,
}

/// A user token as far as it is written.
#[derive(Clone, Debug, Default)]
pub(crate) struct DeclaredToken {
    /// The fixture that it is like.
    like: Option<Named>,
    invalid: Option<Box<str>>,
    iss: Option<Box<str>>,
    sub: Option<Box<str>>,
    aud: Option<Vec<Box<str>>>,
    scopes: Option<Vec<Box<str>>>,
    other: Attributes,
}

impl DeclaredSuite {
    pub(crate) fn read(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Self {
        let file = fields.file();
        let fixtures = fixtures(fields, problems);
        // A resource may hold fixtures for others and no case of its own.
        let cases = if fixtures.is_empty() { fields.require("cases", problems) } else { fields.take("cases") };
        let cases = match cases.map(|n| &n.value) {
            Some(Value::Sequence(items)) => items.iter().flat_map(|item| DeclaredCase::read_all(file, item, problems)).collect(),
            Some(_) => {
                problems.push(Diagnostic::error("wrong-type", "`cases` is a list").at(fields.location()));
                Vec::new()
            }
            None => Vec::new(),
        };
        Self { name, fixtures, cases }
    }

    /// The fixtures of all suites by name.
    pub(crate) fn fixtures(suites: &[Self], problems: &mut Vec<Diagnostic>) -> Fixtures {
        let mut out = Fixtures::new();
        for (name, token) in suites.iter().flat_map(|s| &s.fixtures) {
            if out.insert(name.text.clone(), token.clone()).is_some() {
                problems.push(
                    Diagnostic::error("duplicate-name", format!("there is already a fixture `{}`", name.text))
                        .at(name.at.clone())
                        .help("fixtures have one space of names in the whole bundle, so that every test may use them"),
                );
            }
        }
        out
    }

    /// Turns the cases into questions.
    pub(crate) fn resolve(
        self,
        names: &Names<'_>,
        permissions: &[Permission],
        fixtures: &Fixtures,
        problems: &mut Vec<Diagnostic>,
    ) -> TestSuite {
        let mut cases = Vec::new();
        for case in self.cases {
            match case.resolve(names, permissions, fixtures) {
                Ok(case) => cases.push(case),
                Err(problem) => problems.push(problem),
            }
        }
        TestSuite { name: self.name.text, cases, at: self.name.at }
    }
}

impl DeclaredCase {
    /// Reads a case or, where it has a matrix, all that it stands for.
    fn read_all(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Vec<Self> {
        let Some(cases) = matrix::expand(file, node, &CASE_FIELDS, problems) else {
            return Self::read(file, node, problems).into_iter().collect();
        };
        let read = cases.into_iter().filter_map(|(case, parameters)| Some(Self { parameters, ..Self::read(file, &case, problems)? }));
        read.collect()
    }

    fn read(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut fields = Fields::of(file, node, problems)?;
        let caller = fields.require_text("as", problems);
        let call = fields.require_text("call", problems);
        let expect = fields.require_text("expect", problems);
        let jwt = fields.take("jwt").and_then(|n| token(file, n, problems));
        let headers = attributes(&mut fields, "headers", problems);
        let source = fields.parse("source", problems);
        let time = fields.parse("time", problems);
        let because = fields.text("because", problems).and_then(|text| {
            let read = serde_json::from_value(serde_json::Value::String(text.text.to_owned())).ok();
            if read.is_none() {
                let known = Reason::ALL.map(Reason::as_str);
                problems.push(
                    Diagnostic::error("invalid-value", format!("`{}` is not a reason", text.text))
                        .at(text.location(file))
                        .suggest(text.text, known),
                );
            }
            read
        });
        let listed = fields.take("policies").is_some();
        let policies = fields.texts("policies", problems).into_iter().map(|t| t.text.into()).collect();
        let at = fields.location();
        fields.finish(problems);
        let expect = expect?;
        let effect = match expect.text {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            other => {
                problems.push(
                    Diagnostic::error("invalid-value", format!("`{other}` is not an effect"))
                        .at(expect.location(file))
                        .help("expect `allow` or `deny`"),
                );
                return None;
            }
        };
        let own = |t: crate::yaml::Text<'_>| Named { text: t.text.into(), at: t.location(file) };
        Some(Self {
            caller: own(caller?),
            call: own(call?),
            jwt,
            parameters: String::new(),
            headers,
            source,
            time,
            expect: effect,
            because,
            policies: listed.then_some(policies),
            at,
        })
    }

    fn resolve(mut self, names: &Names<'_>, permissions: &[Permission], fixtures: &Fixtures) -> Result<TestCase, Diagnostic> {
        let (verb, rest) = self.call.text.split_once(' ').ok_or_else(|| self.wrong_call("there is no space after the method"))?;
        let rest = rest.trim();
        let (service, target, query) = if verb == "connect" {
            let (service, port) = rest.split_once(':').ok_or_else(|| self.wrong_call("there is no `:port`"))?;
            let port = port.parse().map_err(|_| self.wrong_call("the port is not a number"))?;
            (service, Target::Connect { port }, Attributes::new())
        } else {
            let slash = rest.find('/').ok_or_else(|| self.wrong_call("there is no path after the service"))?;
            let (service, raw) = rest.split_at_checked(slash).ok_or_else(|| self.wrong_call("there is no path after the service"))?;
            let method = Method::parse(verb).map_err(|e| self.wrong_call(&format!("{e}")))?;
            let paths = names.service(service).map_or_else(Paths::default, |s| s.paths);
            let (path, raw_query) = parse_target(raw, paths).map_err(|e| self.wrong_call(&format!("{e}")))?;
            let query = parse_query(raw_query.unwrap_or_default(), |_| true).map_err(|e| self.wrong_call(&format!("{e}")))?;
            (service, Target::Http { method, path }, query)
        };
        let callee =
            names.service(service).ok_or_else(|| names.unknown_service(&Named { text: service.into(), at: self.call.at.clone() }))?;
        let principal = names.principal(&self.caller)?;
        let jwt = self.jwt.take().map(|token| token.over(fixtures)).transpose()?;
        self.visible_somewhere(names, jwt.as_ref())?;
        let asked = Asked { names, permissions, callee, target: &target, principal: &principal };
        let jwt = jwt.map(|token| token.fill(&asked));
        let mut title = format!("{} → {}", self.caller.text, self.call.text);
        if !self.parameters.is_empty() {
            title.push_str(&format!(" [{}]", self.parameters));
        }
        let context = Context { time: self.time.unwrap_or(DEFAULT_TIME), source_ip: self.source, headers: self.headers, query, jwt };
        let request = Request { principal, service: Arc::from(service), target, host: None, context };
        let timed = self.time.is_some();
        Ok(TestCase { request, timed, title, expect: self.expect, because: self.because, policies: self.policies, at: self.at })
    }

    fn wrong_call(&self, why: &str) -> Diagnostic {
        Diagnostic::error("invalid-call", format!("`{}` is not a call: {why}", self.call.text))
            .at(self.call.at.clone())
            .help("for example `GET items/v1/items/42` or `connect ledger:5432`")
    }
}

impl DeclaredCase {
    /// A header or claim that no service of the bundle makes visible matters to nobody: a slip of the pen.
    fn visible_somewhere(&self, names: &Names<'_>, jwt: Option<&DeclaredToken>) -> Result<(), Diagnostic> {
        let services = names.inventory.services();
        let headers = self.headers.keys().map(|name| ("header", "headers", name));
        let claims = jwt.into_iter().flat_map(|token| token.other.keys()).map(|name| ("claim", "claims", name));
        for (what, field, name) in headers.chain(claims) {
            let known = || {
                services
                    .iter()
                    .flat_map(|s| if field == "headers" { s.visible.headers.keys() } else { s.visible.claims.keys() })
                    .map(|n| &**n)
            };
            if !known().any(|known| *known == **name) {
                return Err(Diagnostic::error("undeclared-attribute", format!("no service makes the {what} `{name}` visible to policies"))
                    .at(self.at.clone())
                    .help(format!("declare it in `{field}` of the service, or leave it out"))
                    .suggest(name, known()));
            }
        }
        Ok(())
    }
}

/// Reports cases that give no time although the answer can depend on it: some policy that concerns the request reads the time,
/// in whatever language.
pub(crate) fn time_needed(authorizer: &Authorizer, problems: &mut Vec<Diagnostic>) {
    for case in authorizer.suites.iter().flat_map(|s| &s.cases).filter(|c| !c.timed) {
        // An invalid token denies before any policy is asked.
        if matches!(case.request.context.jwt, Some(Token::Invalid(_))) {
            continue;
        }
        if let Some(policy) = authorizer.concerning(&case.request).into_iter().find(|p| authorizer.policy_reads_time(*p)) {
            let policy = authorizer.policies.get(policy as usize).map(|p| format!("`{}` ({})", p.reference.id, p.reference.at.short()));
            problems.push(
                Diagnostic::error(
                    "time-needed",
                    format!("the answer can depend on the time by {}, and the case gives none", policy.unwrap_or_default()),
                )
                .at(case.at.clone())
                .help("add `time: 2026-11-22T10:00:00Z`"),
            );
        }
    }
}

/// What a case asks, for what it leaves out.
struct Asked<'a> {
    names: &'a Names<'a>,
    permissions: &'a [Permission],
    callee: &'a Service,
    target: &'a Target,
    principal: &'a SpiffeId,
}

impl Asked<'_> {
    /// The tokens that permissions ask for: those about this call first, then those about the operation, the service, all.
    fn tokens(&self) -> impl Iterator<Item = &JwtCondition> {
        let mut ranked: Vec<(usize, &JwtCondition)> =
            self.permissions.iter().filter_map(|p| Some((self.distance(p), p.when.jwt.as_ref()?))).collect();
        ranked.sort_by_key(|(distance, _)| *distance);
        ranked.into_iter().map(|(_, jwt)| jwt)
    }

    fn distance(&self, permission: &Permission) -> usize {
        if !permission.to.iter().any(|to| *to == self.callee.name || self.callee.groups.contains(to)) {
            return 3;
        }
        let inventory = self.names.inventory;
        let index = inventory.index(&self.callee.name).and_then(|n| inventory.route(n, self.target.borrowed()));
        let covered = match (&permission.operations, index.and_then(|o| self.callee.operations.get(o))) {
            (Operations::Listed(ids), Some(operation)) => ids.contains(&operation.id),
            (Operations::AnyPath, _) | (Operations::Declared, Some(_)) => true,
            (_, None) => false,
        };
        let service = inventory.identify(self.principal).and_then(|n| inventory.services().get(n));
        let from = permission.from.iter().any(|caller| match caller {
            Caller::Service(name) => service.is_some_and(|s| s.name == *name),
            Caller::Group(name) => service.is_some_and(|s| s.groups.contains(name)),
            Caller::Identity(id) => id == self.principal,
            Caller::Pattern(pattern) => pattern.matches(self.principal),
            Caller::AnyAuthenticated => service.is_some(),
        });
        match (covered, from) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        }
    }
}

impl DeclaredToken {
    /// The token over the fixture that it is like: what it says itself goes before.
    fn over(self, fixtures: &Fixtures) -> Result<Self, Diagnostic> {
        let Some(like) = self.like else { return Ok(self) };
        let Some(base) = fixtures.get(&like.text) else {
            return Err(Diagnostic::error("unknown-fixture", format!("there is no fixture `{}`", like.text))
                .at(like.at)
                .help("write it into `fixtures` of a `Test`")
                .suggest(&like.text, fixtures.keys().map(|name| &**name)));
        };
        let base = base.clone();
        let mut other = base.other;
        other.extend(self.other);
        Ok(Self {
            like: None,
            invalid: self.invalid.or(base.invalid),
            iss: self.iss.or(base.iss),
            sub: self.sub.or(base.sub),
            aud: self.aud.or(base.aud),
            scopes: self.scopes.or(base.scopes),
            other,
        })
    }

    /// Fills in what the case leaves out: the issuer and audience that permissions for this call ask for, a subject.
    fn fill(self, asked: &Asked<'_>) -> Token {
        if let Some(why) = self.invalid {
            return Token::Invalid(why);
        }
        let issuer = || asked.tokens().find_map(|j| j.issuer.first().cloned());
        let iss = self.iss.or_else(issuer).unwrap_or_else(|| "https://issuer.test".into());
        let of_callee = || asked.permissions.iter().filter(|p| asked.distance(p) < 3).filter_map(|p| p.when.jwt.as_ref());
        let audience = || {
            let near = asked.tokens().take(of_callee().count()).find_map(|j| j.audience.first().cloned());
            vec![near.unwrap_or_else(|| asked.callee.name.clone())]
        };
        let aud = self.aud.unwrap_or_else(audience);
        let scope = self.scopes.filter(|s| !s.is_empty()).map(|s| s.join(" ").into());
        Token::Valid(Claims { iss, sub: self.sub.unwrap_or_else(|| "somebody".into()), aud, scope, other: self.other })
    }
}

fn fixtures(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Vec<(Named, DeclaredToken)> {
    let file = fields.file();
    let Some(node) = fields.take("fixtures") else { return Vec::new() };
    let Value::Mapping(items) = &node.value else {
        problems.push(
            Diagnostic::error("wrong-type", "`fixtures` is a mapping of names to tokens")
                .at(node.location(file))
                .help("for example `fixtures: {ann: {sub: ann, scopes: [items:read]}}`, used as `jwt: $ann`"),
        );
        return Vec::new();
    };
    let mut out = Vec::new();
    for (key, value) in items {
        let name = Named { text: key.as_str().unwrap_or_default().into(), at: key.location(file) };
        if !is_name(&name.text) {
            problems.push(
                Diagnostic::error("invalid-name", format!("`{}` is not the name of a fixture", name.text))
                    .at(name.at)
                    .help("write the name without `$`; a case names it as `jwt: $name`"),
            );
            continue;
        }
        match token(file, value, problems) {
            Some(DeclaredToken { like: Some(like), .. }) => {
                problems.push(Diagnostic::error("wrong-type", "a fixture is not like another one").at(like.at).help("write its claims out"))
            }
            Some(token) => out.push((name, token)),
            None => {}
        }
    }
    out
}

fn token(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<DeclaredToken> {
    let fixture =
        |text: &str| text.strip_prefix('$').filter(|name| is_name(name)).map(|name| Named { text: name.into(), at: node.location(file) });
    if let Some(like) = node.as_str().and_then(fixture) {
        return Some(DeclaredToken { like: Some(like), ..DeclaredToken::default() });
    }
    let Value::Mapping(items) = &node.value else {
        problems.push(
            Diagnostic::error("wrong-type", "`jwt` is a mapping of claims, or names a fixture")
                .at(node.location(file))
                .help("for example `jwt: {scopes: [items:read]}` or `jwt: $ann`"),
        );
        return None;
    };
    let mut out = DeclaredToken::default();
    for (key, value) in items {
        let name = key.as_str().unwrap_or_default();
        let Some(claim) = attribute(value) else {
            problems.push(
                Diagnostic::error("wrong-type", format!("the claim `{name}` is a text, a number, true or false, or a list of texts"))
                    .at(value.location(file)),
            );
            continue;
        };
        let words = || match value.value {
            Value::Sequence(ref items) => items.iter().filter_map(|i| i.as_str().map(Into::into)).collect(),
            _ => value.as_str().unwrap_or_default().split(' ').filter(|w| !w.is_empty()).map(Into::into).collect(),
        };
        let text = || value.as_str().map(Into::into);
        match name {
            "invalid" => out.invalid = text(),
            "iss" => out.iss = text(),
            "sub" => out.sub = text(),
            "aud" => out.aud = Some(words()),
            "scope" | "scopes" => out.scopes = Some(words()),
            "$like" => out.like = text().map(|text| Named { text, at: value.location(file) }),
            name if name.starts_with('$') => problems.push(
                Diagnostic::error("unknown-field", format!("`{name}` is not a field here"))
                    .at(key.location(file))
                    .help("`$like: name` takes over the claims of a fixture"),
            ),
            _ => {
                out.other.insert(name.into(), claim);
            }
        }
    }
    Some(out)
}

fn attributes(fields: &mut Fields<'_>, field: &'static str, problems: &mut Vec<Diagnostic>) -> Attributes {
    let file = fields.file();
    let Some(node) = fields.take(field) else { return Attributes::new() };
    let Value::Mapping(items) = &node.value else {
        problems.push(Diagnostic::error("wrong-type", format!("`{field}` is a mapping")).at(node.location(file)));
        return Attributes::new();
    };
    let mut out = Attributes::new();
    for (key, value) in items {
        let name = key.as_str().unwrap_or_default().to_ascii_lowercase();
        match (&value.value, value.as_str()) {
            // What a client sends is text; the inventory gives it its type.
            (_, Some(text)) => drop(out.insert(name.into(), AttributeValue::Text(text.into()))),
            (Value::Sequence(list), _) => {
                let list = list.iter().filter_map(|i| i.as_str().map(Into::into)).collect();
                out.insert(name.into(), AttributeValue::List(list));
            }
            _ => problems.push(Diagnostic::error("wrong-type", format!("`{name}` is a text or a list of texts")).at(value.location(file))),
        }
    }
    out
}

fn attribute(node: &Node) -> Option<AttributeValue> {
    match &node.value {
        Value::Sequence(items) => items.iter().map(|i| i.as_str().map(Into::into)).collect::<Option<_>>().map(AttributeValue::List),
        Value::Scalar(text, plain) => Some(match (plain, text.as_str()) {
            (true, "true") => AttributeValue::Boolean(true),
            (true, "false") => AttributeValue::Boolean(false),
            (true, number) if number.parse::<i64>().is_ok() => AttributeValue::Integer(number.parse().unwrap_or_default()),
            (_, text) => AttributeValue::Text(text.into()),
        }),
        Value::Mapping(_) => None,
    }
}

/// The fields of a case, which a parameter of a matrix may fill.
const CASE_FIELDS: [&str; 9] = ["as", "call", "expect", "jwt", "headers", "source", "time", "because", "policies"];

/// The time of a case that gives none and whose answer cannot depend on it by any permission: 2026-01-01T12:00:00Z.
const DEFAULT_TIME: Timestamp = Timestamp::from_unix_ms(1_767_268_800_000);
