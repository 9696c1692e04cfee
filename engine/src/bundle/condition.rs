//! The `when` of a permission as written.

use ipnet::IpNet;

use crate::bundle::declare::{Named, named};
use crate::bundle::policy::networks;
use crate::diagnostic::Diagnostic;
use crate::model::TimeWindow;
use crate::time::{Date, Timestamp};
use crate::yaml::{self, Fields, Node, Text, Value};

/// Attribute names with the values asked for, not yet typed.
pub(crate) type DeclaredValues = Vec<(Named, Vec<Named>)>;

/// A condition before its attributes are typed by the inventory.
#[derive(Debug, Default)]
pub(crate) struct DeclaredCondition {
    pub(crate) jwt: Option<DeclaredJwt>,
    pub(crate) source: Vec<IpNet>,
    pub(crate) time: Vec<TimeWindow>,
    pub(crate) not_before: Option<Timestamp>,
    pub(crate) expires: Option<Timestamp>,
    pub(crate) headers: DeclaredValues,
    pub(crate) query: DeclaredValues,
}

#[derive(Debug, Default)]
pub(crate) struct DeclaredJwt {
    pub(crate) issuer: Vec<Named>,
    pub(crate) audience: Vec<Named>,
    pub(crate) scopes: Vec<Named>,
    pub(crate) scopes_any: Vec<Named>,
    pub(crate) claims: DeclaredValues,
}

impl DeclaredCondition {
    pub(crate) fn read(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<Self> {
        let mut fields = Fields::of(file, node, problems)?;
        let jwt = fields.take("jwt").and_then(|n| jwt(file, n, problems));
        let source = fields.some_texts("source", problems);
        let time = match fields.take("time") {
            None => Vec::new(),
            Some(node) => match &node.value {
                Value::Sequence(items) if items.is_empty() => {
                    problems.push(yaml::empty_list("time").at(node.location(file)));
                    Vec::new()
                }
                Value::Sequence(items) => items.iter().filter_map(|item| window(file, item, problems)).collect(),
                _ => window(file, node, problems).into_iter().collect(),
            },
        };
        let not_before = fields.text("not_before", problems).and_then(|t| moment(file, t, Date::start, problems));
        // The day named is still inside.
        let expires = fields.text("expires", problems).and_then(|t| moment(file, t, Date::end, problems));
        if let (Some(a), Some(b)) = (not_before, expires)
            && a >= b
        {
            problems.push(
                Diagnostic::error("empty-period", "`not_before` is not before `expires`, so this never applies").at(fields.location()),
            );
        }
        let headers = values(&mut fields, "headers", problems);
        let query = values(&mut fields, "query", problems);
        if matches!(&node.value, Value::Mapping(items) if items.is_empty()) {
            problems.push(
                Diagnostic::error("empty-list", "`when` asks for nothing")
                    .at(node.location(file))
                    .help("name a condition, or take `when` out to say that there is none"),
            );
        }
        fields.finish(problems);
        Some(Self { jwt, source: networks(file, source, problems), time, not_before, expires, headers, query })
    }
}

fn jwt(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<DeclaredJwt> {
    let mut fields = Fields::of(file, node, problems)?;
    let out = DeclaredJwt {
        issuer: named(&mut fields, "issuer", problems),
        audience: named(&mut fields, "audience", problems),
        scopes: named(&mut fields, "scopes", problems),
        scopes_any: named(&mut fields, "scopes_any", problems),
        claims: values(&mut fields, "claims", problems),
    };
    fields.finish(problems);
    for scope in out.scopes.iter().chain(&out.scopes_any) {
        if scope.text.is_empty() || scope.text.contains(' ') {
            problems.push(
                Diagnostic::error("invalid-value", format!("`{}` is not one scope", scope.text))
                    .at(scope.at.clone())
                    .help("list several scopes one by one"),
            );
        }
    }
    Some(out)
}

fn values(fields: &mut Fields<'_>, field: &'static str, problems: &mut Vec<Diagnostic>) -> DeclaredValues {
    let file = fields.file();
    let Some(node) = fields.take(field) else { return Vec::new() };
    let Value::Mapping(items) = &node.value else {
        problems.push(
            Diagnostic::error("wrong-type", format!("`{field}` is a mapping of names to the values asked for"))
                .at(node.location(file))
                .help(format!("for example `{field}: {{x-tenant: [eu, us]}}`")),
        );
        return Vec::new();
    };
    if items.is_empty() {
        problems.push(yaml::empty_list(field).at(node.location(file)));
    }
    let mut out = Vec::new();
    for (key, value) in items {
        let name = Named { text: key.as_str().unwrap_or_default().into(), at: key.location(file) };
        let wanted: Vec<Named> =
            yaml::texts(file, value, problems).into_iter().map(|t| Named { text: t.text.into(), at: t.location(file) }).collect();
        if wanted.is_empty() {
            problems.push(Diagnostic::error("empty-list", format!("no value is asked of `{}`", name.text)).at(name.at.clone()));
        }
        out.push((name, wanted));
    }
    out
}

fn window(file: &str, node: &Node, problems: &mut Vec<Diagnostic>) -> Option<TimeWindow> {
    let mut fields = Fields::of(file, node, problems)?;
    let from = fields.require_text("from", problems);
    let to = fields.require_text("to", problems);
    fields.finish(problems);
    let from_ms = clock(file, from?, problems)?;
    let to_ms = clock(file, to?, problems)?;
    if from_ms == to_ms {
        problems.push(Diagnostic::error("empty-period", "the window begins where it ends, so it is never open").at(node.location(file)));
        return None;
    }
    Some(TimeWindow { from_ms, to_ms })
}

/// `HH:MM`, with `24:00` for the end of the day.
fn clock(file: &str, text: Text<'_>, problems: &mut Vec<Diagnostic>) -> Option<i64> {
    let read = || {
        let (h, m) = text.text.split_once(':')?;
        let digits = |t: &str| (t.len() == 2 && t.bytes().all(|b| b.is_ascii_digit())).then(|| t.parse::<i64>().ok()).flatten();
        let (h, m) = (digits(h)?, digits(m)?);
        let minutes = h * 60 + m;
        (m < 60 && minutes <= 24 * 60).then_some(minutes * 60_000)
    };
    let time = read();
    if time.is_none() {
        problems.push(
            Diagnostic::error("invalid-value", format!("`{}` is not a time of day", text.text))
                .at(text.location(file))
                .help("write `\"08:00\"`, in UTC"),
        );
    }
    time
}

fn moment(file: &str, text: Text<'_>, day: fn(Date) -> Timestamp, problems: &mut Vec<Diagnostic>) -> Option<Timestamp> {
    let read = text.text.parse::<Date>().map(day).or_else(|_| text.text.parse::<Timestamp>());
    match read {
        Ok(time) => Some(time),
        Err(_) => {
            problems.push(
                Diagnostic::error("invalid-value", format!("`{}` is not a time", text.text))
                    .at(text.location(file))
                    .help("write a day such as `2026-12-31` or a UTC time such as `2026-12-31T18:00:00Z`"),
            );
            None
        }
    }
}
