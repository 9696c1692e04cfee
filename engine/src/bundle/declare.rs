//! What the YAML files of a bundle say, before the names in them are resolved.
//!
//! Every fault is collected, none is guessed over: one run shows all of them. A resource with a fault is still declared as
//! far as it could be read, so that its name does not cause further complaints elsewhere.

use std::collections::{BTreeMap, BTreeSet};

use crate::bundle::govern::{self, DeclaredException};
use crate::bundle::invariant::DeclaredInvariant;
use crate::bundle::policy::DeclaredPermission;
use crate::bundle::suite::DeclaredSuite;
use crate::diagnostic::{Diagnostic, Location};
use crate::id::{IdPattern, SpiffeId};
use crate::limits::NAME_CHARS_MAX;
use crate::model::{AttributeType, Endpoint, Group, Operation, Service, Upgrade, Visible, Zone};
use crate::outside::HostPattern;
use crate::path::Paths;
use crate::request::Method;
use crate::template::PathTemplate;
use crate::yaml::{self, Fields, Node, Text, Value};

/// A name somebody wrote, and where.
#[derive(Clone, Debug)]
pub(crate) struct Named {
    pub(crate) text: Box<str>,
    pub(crate) at: Location,
}

/// All resources of a bundle as written.
#[derive(Debug, Default)]
pub(crate) struct Declared {
    pub(crate) services: Vec<Service>,
    pub(crate) groups: Vec<(Group, Vec<Named>)>,
    pub(crate) permissions: Vec<DeclaredPermission>,
    pub(crate) invariants: Vec<DeclaredInvariant>,
    pub(crate) zones: Vec<Zone>,
    pub(crate) exceptions: Vec<DeclaredException>,
    pub(crate) suites: Vec<DeclaredSuite>,
}

/// Reads one YAML file into `out`.
pub(crate) fn file(path: &str, text: &str, out: &mut Declared, problems: &mut Vec<Diagnostic>) {
    let documents = match yaml::parse(path, text) {
        Ok(documents) => documents,
        Err(problem) => return problems.push(problem),
    };
    for document in documents.iter().filter(|d| !d.is_null()) {
        resource(path, document, out, problems);
    }
}

fn resource(file: &str, node: &Node, out: &mut Declared, problems: &mut Vec<Diagnostic>) {
    let Some(mut fields) = Fields::of(file, node, problems) else { return };
    let Some(kind) = fields.require_text("kind", problems) else { return };
    let Some(name) = fields.require("name", problems).and_then(|n| yaml::text(file, n, problems)) else { return };
    let name = Named { text: name.text.into(), at: name.location(file) };
    if kind.text != "Test" && !is_name(&name.text) {
        problems.push(not_a_name(&name.text, "a name").at(name.at));
        return;
    }
    match kind.text {
        "Service" => out.services.push(service(name, &mut fields, problems)),
        "Group" => {
            let members: Vec<Named> = named(&mut fields, "members", problems);
            if fields.key("members").is_none_or(|_| fields.take("members").is_none()) {
                problems.push(Diagnostic::error("empty-list", format!("group `{}` has no members", name.text)).at(name.at.clone()));
            }
            let group = Group { name: name.text, members: members.iter().map(|m| m.text.clone()).collect(), at: name.at };
            out.groups.push((group, members));
        }
        "Permission" => out.permissions.extend(DeclaredPermission::read(name, &mut fields, problems)),
        "Invariant" => out.invariants.extend(DeclaredInvariant::read(name, &mut fields, problems)),
        "Zone" => out.zones.push(govern::zone(name, &mut fields, problems)),
        "Exception" => out.exceptions.extend(DeclaredException::read(name, &mut fields, problems)),
        "Test" => out.suites.push(DeclaredSuite::read(name, &mut fields, problems)),
        other => {
            let mut problem = Diagnostic::error("unknown-kind", format!("`{other}` is not a kind of resource"))
                .at(kind.location(file))
                .suggest(other, KINDS);
            if problem.help.is_none() {
                problem = problem.help(format!("the kinds are: {}", KINDS.join(", ")));
            }
            // The fields of an unknown kind are unknown too: one complaint is enough.
            return problems.push(problem);
        }
    }
    fields.finish(problems);
}

/// Whether a text may name a resource or an operation.
pub(crate) fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
        && text.len() <= NAME_CHARS_MAX
        && !RESERVED.contains(&text)
}

/// A field that holds one or several names.
pub(crate) fn named(fields: &mut Fields<'_>, field: &'static str, problems: &mut Vec<Diagnostic>) -> Vec<Named> {
    let file = fields.file();
    fields.some_texts(field, problems).into_iter().map(|t| Named { text: t.text.into(), at: t.location(file) }).collect()
}

/// Zones and classes of data. They are free words, but in letters that nobody can mistake for others: a proof about the zone
/// `cde` must not miss a service whose zone only looks like it.
fn word(file: &str, text: Text<'_>, problems: &mut Vec<Diagnostic>) -> Option<String> {
    if is_name(text.text) {
        return Some(text.text.to_owned());
    }
    problems.push(not_a_name(text.text, "a word for a zone or a class of data").at(text.location(file)));
    None
}

fn words(fields: &mut Fields<'_>, field: &'static str, problems: &mut Vec<Diagnostic>) -> BTreeSet<String> {
    let file = fields.file();
    fields.texts(field, problems).into_iter().filter_map(|text| word(file, text, problems)).collect()
}

fn not_a_name(text: &str, what: &str) -> Diagnostic {
    Diagnostic::error("invalid-name", format!("`{text}` is not {what}")).help(format!(
        "a name has letters (a-z, A-Z), digits, dots, dashes and underscores, begins with a letter or digit, and is at most {NAME_CHARS_MAX} long"
    ))
}

fn service(name: Named, fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Service {
    let file = fields.file();
    let (mut identities, mut patterns) = (Vec::new(), Vec::new());
    for text in fields.texts("identities", problems) {
        if let Err(problem) = identity(file, text, &mut identities, &mut patterns) {
            problems.push(problem);
        }
    }
    let labels = match fields.take("labels").map(|n| &n.value) {
        None => BTreeMap::new(),
        Some(Value::Mapping(items)) => {
            let texts = items.iter().filter_map(|(k, v)| Some((k.as_str()?.to_owned(), yaml::text(file, v, problems)?.text.to_owned())));
            texts.collect()
        }
        Some(_) => {
            let at = fields.key("labels").map_or_else(|| fields.location(), |key| key.location(file));
            problems.push(Diagnostic::error("wrong-type", "`labels` is a mapping of words to words").at(at));
            BTreeMap::new()
        }
    };
    let visible = Visible {
        headers: attributes(fields, "headers", header_name, problems),
        query: attributes(fields, "query", any_name, problems),
        claims: attributes(fields, "claims", claim_name, problems),
    };
    Service {
        identities,
        patterns,
        hosts: hosts(fields, problems),
        owner: fields.text("owner", problems).map(|t| t.text.to_owned()),
        zone: fields.text("zone", problems).and_then(|text| word(file, text, problems)),
        data: words(fields, "data", problems),
        labels,
        paths: paths(fields, problems),
        operations: operations(fields, problems),
        visible,
        groups: Default::default(),
        name: name.text,
        at: name.at,
    }
}

fn paths(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Paths {
    let file = fields.file();
    let Some(text) = fields.text("paths", problems) else { return Paths::default() };
    text.text.parse().unwrap_or_else(|()| {
        let words = Paths::ALL.map(|paths| format!("`{paths}`")).join(", ");
        problems.push(
            Diagnostic::error("invalid-value", format!("`{}` is not a way to read paths", text.text))
                .at(text.location(file))
                .suggest(text.text, Paths::ALL.map(Paths::as_str))
                .help(format!("expect one of {words}")),
        );
        Paths::default()
    })
}

fn hosts(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Vec<HostPattern> {
    let file = fields.file();
    let mut out = Vec::new();
    for text in fields.texts("hosts", problems) {
        match text.text.parse() {
            Ok(host) => out.push(host),
            Err(why) => problems.push(
                Diagnostic::error("invalid-host", format!("`{}` is not a host: {why}", text.text))
                    .at(text.location(file))
                    .help("for example `api.partner.example`, `*.api.partner.example`, `203.0.113.7`, each with a port if need be"),
            ),
        }
    }
    out
}

fn identity(file: &str, text: Text<'_>, ids: &mut Vec<SpiffeId>, patterns: &mut Vec<IdPattern>) -> Result<(), Diagnostic> {
    let wrong = |why: String| {
        Diagnostic::error("invalid-identity", format!("`{}` is not a workload's SPIFFE ID: {why}", text.text))
            .at(text.location(file))
            .help("for example `spiffe://market.example/ns/shop/sa/items`, with `*` for a whole segment")
    };
    if IdPattern::is_pattern(text.text) {
        patterns.push(text.text.parse().map_err(|e| wrong(format!("{e}")))?);
        return Ok(());
    }
    let id: SpiffeId = text.text.parse().map_err(|e| wrong(format!("{e}")))?;
    if !id.is_workload() {
        return Err(wrong("it has no path".to_owned()));
    }
    ids.push(id);
    Ok(())
}

fn attributes(
    fields: &mut Fields<'_>,
    field: &'static str,
    check: fn(&str) -> Result<(), &'static str>,
    problems: &mut Vec<Diagnostic>,
) -> BTreeMap<Box<str>, AttributeType> {
    let file = fields.file();
    let Some(node) = fields.take(field) else { return BTreeMap::new() };
    let Value::Mapping(items) = &node.value else {
        problems.push(
            Diagnostic::error("wrong-type", format!("`{field}` is a mapping of names to types"))
                .at(node.location(file))
                .help(format!("for example `{field}: {{tenant: string}}`")),
        );
        return BTreeMap::new();
    };
    let mut out = BTreeMap::new();
    for (key, value) in items {
        let name = key.as_str().unwrap_or_default();
        if let Err(why) = check(name) {
            problems.push(Diagnostic::error("invalid-attribute", format!("`{name}` {why}")).at(key.location(file)));
            continue;
        }
        let kind = match value.as_str() {
            Some("string") => AttributeType::Text,
            Some("integer") => AttributeType::Integer,
            Some("boolean") => AttributeType::Boolean,
            Some("list") => AttributeType::List,
            other => {
                let word = other.unwrap_or_default();
                problems.push(
                    Diagnostic::error("invalid-attribute", format!("`{word}` is not a type"))
                        .at(value.location(file))
                        .help("the types are: string, integer, boolean, list"),
                );
                continue;
            }
        };
        out.insert(name.into(), kind);
    }
    out
}

fn header_name(name: &str) -> Result<(), &'static str> {
    if SECRET_HEADERS.contains(&name) {
        return Err("carries a secret, so it is neither visible to policies nor recorded");
    }
    let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.is_empty() || !name.bytes().all(token) {
        return Err("is not a header name in lower case (letters, digits, dashes)");
    }
    Ok(())
}

fn any_name(name: &str) -> Result<(), &'static str> {
    if name.is_empty() || name.chars().any(char::is_control) { Err("is not a name") } else { Ok(()) }
}

fn claim_name(name: &str) -> Result<(), &'static str> {
    if matches!(name, "iss" | "sub" | "aud" | "scope" | "scopes" | "invalid") {
        return Err("is always visible, or means something else here; leave it out");
    }
    any_name(name)
}

fn operations(fields: &mut Fields<'_>, problems: &mut Vec<Diagnostic>) -> Vec<Operation> {
    let file = fields.file();
    let Some(node) = fields.take("operations") else { return Vec::new() };
    let Value::Sequence(items) = &node.value else {
        problems.push(Diagnostic::error("wrong-type", format!("`operations` is a list, found {}", node.kind())).at(node.location(file)));
        return Vec::new();
    };
    items.iter().filter_map(|item| operation(file, item, problems)).collect()
}

fn operation(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Operation> {
    let mut fields = Fields::of(file, node, problems)?;
    let id = fields.require_text("id", problems);
    let methods = fields.texts("method", problems);
    let path = fields.text("path", problems);
    let grpc = fields.text("grpc", problems);
    let port = fields.take("port").map(|node| port(file, node, problems));
    let data = words(&mut fields, "data", problems);
    let sensitive = fields.texts("sensitive", problems);
    let upgrade = fields.texts("upgrade", problems);
    let at = fields.location();
    fields.finish(problems);
    let (id, port) = (id?, port.map_or(Some(None), |port| port.map(Some))?);
    if !is_name(id.text) {
        problems.push(not_a_name(id.text, "an operation id").at(id.location(file)));
        return None;
    }
    let endpoint = match (methods.is_empty(), path, grpc, port) {
        (false, Some(path), None, None) => http(file, &methods, path, &sensitive, problems)?,
        (true, None, Some(grpc), None) => grpc_endpoint(file, grpc, problems)?,
        (true, None, None, Some(port)) => Endpoint::Connect { port },
        _ => {
            problems.push(
                Diagnostic::error("operation-shape", format!("operation `{}` is neither HTTP, gRPC nor a port", id.text))
                    .at(at)
                    .help("give `method` and `path`, or `grpc: package.Service/Method`, or `port`"),
            );
            return None;
        }
    };
    if let (Some(text), false) = (sensitive.first(), matches!(endpoint, Endpoint::Http { .. })) {
        problems.push(Diagnostic::error("unknown-parameter", "only a path has parameters").at(text.location(file)));
    }
    let upgrade = upgrades(file, &upgrade, &endpoint, problems);
    Some(Operation { id: id.text.into(), endpoint, data, upgrade, at: id.location(file) })
}

/// A connection is switched by a `GET`; other methods have nothing to be switched.
fn upgrades(file: &str, texts: &[Text<'_>], endpoint: &Endpoint, problems: &mut Vec<Diagnostic>) -> Vec<Upgrade> {
    let gets = matches!(endpoint, Endpoint::Http { methods, .. } if methods.iter().any(|m| m.as_str() == "GET"));
    let mut out = Vec::new();
    for text in texts {
        let known = Upgrade::ALL.into_iter().find(|u| u.as_str() == text.text);
        let problem = match known {
            Some(upgrade) if gets => {
                out.push(upgrade);
                continue;
            }
            Some(_) => Diagnostic::error("operation-shape", "only an operation with the method `GET` can switch its connection")
                .help("add `GET` to `method`, or leave `upgrade` out; a tunnel of its own is an operation with the method `CONNECT`"),
            None => Diagnostic::error("invalid-value", format!("`{}` is not a protocol that a connection may be switched to", text.text))
                .help(format!("known: {}", Upgrade::ALL.map(Upgrade::as_str).join(", "))),
        };
        problems.push(problem.at(text.location(file)));
    }
    out
}

fn port(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<u16> {
    let port = node.as_str().and_then(|text| text.parse().ok()).filter(|port| *port > 0);
    if port.is_none() {
        problems.push(Diagnostic::error("invalid-value", "a port is a number from 1 to 65535").at(node.location(file)));
    }
    port
}

fn http(file: &str, methods: &[Text<'_>], path: Text<'_>, sensitive: &[Text<'_>], problems: &mut Vec<Diagnostic>) -> Option<Endpoint> {
    let methods = methods.iter().filter_map(|text| method(file, *text, problems)).collect();
    let mut template: PathTemplate = match path.text.parse() {
        Ok(template) => template,
        Err(error) => {
            problems.push(
                Diagnostic::error("invalid-path", format!("`{}` is not a path template: {error}", path.text))
                    .at(path.location(file))
                    .help("for example `/v1/items/{id}` or `/files/{rest*}`"),
            );
            return None;
        }
    };
    for text in sensitive {
        if !template.mark_sensitive(text.text) {
            let known: Vec<String> = template.parameters().map(str::to_owned).collect();
            problems.push(
                Diagnostic::error("unknown-parameter", format!("the path has no parameter `{}`", text.text))
                    .at(text.location(file))
                    .suggest(text.text, known.iter().map(String::as_str)),
            );
        }
    }
    Some(Endpoint::Http { methods, path: template })
}

/// Reads a method; a lower-case spelling of a known one is a slip, not another method.
pub(crate) fn method(file: &str, text: Text<'_>, problems: &mut Vec<Diagnostic>) -> Option<Method> {
    let upper = text.text.to_ascii_uppercase();
    if upper != text.text && crate::request::METHODS.contains(&upper.as_str()) {
        problems.push(
            Diagnostic::error("invalid-method", format!("`{}` is not a method; methods are case-sensitive", text.text))
                .at(text.location(file))
                .help(format!("write `{upper}`")),
        );
        return None;
    }
    match Method::parse(text.text) {
        Ok(method) => Some(method),
        Err(_) => {
            problems.push(Diagnostic::error("invalid-method", format!("`{}` is not an HTTP method", text.text)).at(text.location(file)));
            None
        }
    }
}

fn grpc_endpoint(file: &str, text: Text<'_>, problems: &mut Vec<Diagnostic>) -> Option<Endpoint> {
    let word = |w: &str| !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'));
    let path = match text.text.split_once('/') {
        Some((service, method)) if word(service) && word(method) => format!("/{service}/{method}").parse().ok(),
        _ => None,
    };
    let (Some(path), Ok(post)) = (path, Method::parse("POST")) else {
        problems.push(
            Diagnostic::error("invalid-path", format!("`{}` is not a gRPC method", text.text))
                .at(text.location(file))
                .help("for example `shop.v1.Items/GetItem`"),
        );
        return None;
    };
    Some(Endpoint::Http { methods: vec![post], path })
}

const KINDS: [&str; 7] = ["Service", "Group", "Zone", "Permission", "Invariant", "Exception", "Test"];

/// Words that stand where a name may.
const RESERVED: [&str; 3] = ["any-authenticated", "any-path", "strangers"];

/// Headers that carry secrets: never visible, never recorded (INV-7).
const SECRET_HEADERS: [&str; 5] = ["authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key"];
