//! Test cases: as written, and as questions with the facts that a case leaves out filled in.

use std::sync::Arc;

use crate::bundle::declare::Named;
use crate::bundle::resolve::Names;
use crate::decision::{Effect, Reason};
use crate::diagnostic::{Diagnostic, Location};
use crate::model::{Operations, Permission, Service, TestCase, TestSuite};
use crate::request::{AttributeValue, Attributes, Claims, Context, Method, Request, Target, Token, parse_query, parse_target};
use crate::time::Timestamp;
use crate::yaml::{Fields, Node, Value};

/// A suite before its names are resolved.
#[derive(Debug)]
pub(crate) struct DeclaredSuite {
    name: Named,
    cases: Vec<DeclaredCase>,
}

#[derive(Debug)]
struct DeclaredCase {
    caller: Named,
    call: Named,
    jwt: Option<DeclaredToken>,
    headers: Attributes,
    source: Option<std::net::IpAddr>,
    time: Option<Timestamp>,
    expect: Effect,
    because: Option<Reason>,
    policies: Option<Vec<Box<str>>>,
    at: Location,
}

#[derive(Debug, Default)]
struct DeclaredToken {
    invalid: Option<Box<str>>,
    iss: Option<Box<str>>,
    sub: Option<Box<str>>,
    aud: Vec<Box<str>>,
    scopes: Vec<Box<str>>,
    other: Attributes,
}

impl DeclaredSuite {
    pub(crate) fn read(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Self {
        let file = fields.file();
        let cases = match fields.require("cases", problems).map(|n| &n.value) {
            Some(Value::Sequence(items)) => items.iter().filter_map(|item| DeclaredCase::read(file, item, problems)).collect(),
            Some(_) => {
                problems.push(Diagnostic::error("wrong-type", "`cases` is a list").at(fields.location()));
                Vec::new()
            }
            None => Vec::new(),
        };
        Self { name, cases }
    }

    /// Turns the cases into questions.
    pub(crate) fn resolve(self, names: &Names<'_>, permissions: &[Permission], problems: &mut Vec<Diagnostic>) -> TestSuite {
        let mut cases = Vec::new();
        for case in self.cases {
            match case.resolve(names, permissions) {
                Ok(case) => cases.push(case),
                Err(problem) => problems.push(problem),
            }
        }
        TestSuite { name: self.name.text, cases, at: self.name.at }
    }
}

impl DeclaredCase {
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
            headers,
            source,
            time,
            expect: effect,
            because,
            policies: listed.then_some(policies),
            at,
        })
    }

    fn resolve(self, names: &Names<'_>, permissions: &[Permission]) -> Result<TestCase, Diagnostic> {
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
            let (path, raw_query) = parse_target(raw).map_err(|e| self.wrong_call(&format!("{e}")))?;
            let query = parse_query(raw_query.unwrap_or_default(), |_| true).map_err(|e| self.wrong_call(&format!("{e}")))?;
            (service, Target::Http { method, path }, query)
        };
        let callee =
            names.service(service).ok_or_else(|| names.unknown_service(&Named { text: service.into(), at: self.call.at.clone() }))?;
        let principal = names.principal(&self.caller)?;
        if self.time.is_none() && reads_time(names, permissions, callee, &target) {
            return Err(Diagnostic::error(
                "time-needed",
                format!("a permission for this operation of `{service}` depends on the time, and the case gives none"),
            )
            .at(self.at.clone())
            .help("add `time: 2026-11-22T10:00:00Z`"));
        }
        let jwt = self.jwt.map(|token| token.fill(callee, permissions));
        let title = format!("{} → {}", self.caller.text, self.call.text);
        let context = Context { time: self.time.unwrap_or(DEFAULT_TIME), source_ip: self.source, headers: self.headers, query, jwt };
        let request = Request { principal, service: Arc::from(service), target, host: None, context };
        Ok(TestCase { request, title, expect: self.expect, because: self.because, policies: self.policies, at: self.at })
    }

    fn wrong_call(&self, why: &str) -> Diagnostic {
        Diagnostic::error("invalid-call", format!("`{}` is not a call: {why}", self.call.text))
            .at(self.call.at.clone())
            .help("for example `GET items/v1/items/42` or `connect ledger:5432`")
    }
}

/// Whether the time can matter to this call: some permission for the operation depends on it.
fn reads_time(names: &Names<'_>, permissions: &[Permission], callee: &Service, target: &Target) -> bool {
    let operation = names
        .inventory
        .index(&callee.name)
        .and_then(|n| names.inventory.route(n, target.borrowed()))
        .and_then(|o| callee.operations.get(o));
    let covers = |permission: &Permission| match (&permission.operations, operation) {
        (Operations::Listed(ids), Some(operation)) => ids.contains(&operation.id),
        (Operations::AnyPath, _) | (Operations::Declared, Some(_)) => true,
        (_, None) => false,
    };
    permissions
        .iter()
        .filter(|p| p.to.iter().any(|to| *to == callee.name || callee.groups.contains(to)))
        .any(|p| p.when.reads_time() && covers(p))
}

impl DeclaredToken {
    /// Fills in what the case leaves out: the issuer and audience that permissions for this service ask for, a subject.
    fn fill(self, callee: &Service, permissions: &[Permission]) -> Token {
        if let Some(why) = self.invalid {
            return Token::Invalid(why);
        }
        let asked = || {
            let for_callee = |p: &&Permission| p.to.iter().any(|to| *to == callee.name || callee.groups.contains(to));
            permissions.iter().filter(for_callee).chain(permissions).filter_map(|p| p.when.jwt.as_ref())
        };
        let iss = self.iss.or_else(|| asked().find_map(|j| j.issuer.first().cloned())).unwrap_or_else(|| "https://issuer.test".into());
        let aud = if self.aud.is_empty() {
            let for_callee = permissions.iter().filter(|p| p.to.iter().any(|to| *to == callee.name || callee.groups.contains(to)));
            let named = for_callee.filter_map(|p| p.when.jwt.as_ref()).find_map(|j| j.audience.first().cloned());
            vec![named.unwrap_or_else(|| callee.name.clone())]
        } else {
            self.aud
        };
        let scope = (!self.scopes.is_empty()).then(|| self.scopes.join(" ").into());
        Token::Valid(Claims { iss, sub: self.sub.unwrap_or_else(|| "somebody".into()), aud, scope, other: self.other })
    }
}

fn token(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<DeclaredToken> {
    let Value::Mapping(items) = &node.value else {
        problems.push(
            Diagnostic::error("wrong-type", "`jwt` is a mapping of claims")
                .at(node.location(file))
                .help("for example `jwt: {scopes: [items:read]}`"),
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
            "aud" => out.aud = words(),
            "scope" | "scopes" => out.scopes = words(),
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

/// The time of a case that gives none and whose answer cannot depend on it by any permission: 2026-01-01T12:00:00Z.
const DEFAULT_TIME: Timestamp = Timestamp::from_unix_ms(1_767_268_800_000);
