//! Native evaluation of a permission's `when`. It cannot fail: what is absent does not satisfy.

use crate::model::{Condition, JwtCondition, TimeWindow};
use crate::request::{AttributeValue, Attributes, Claims, Context, Token};
use crate::time::Timestamp;

impl Condition {
    /// Whether the condition holds of a context whose attributes are those the destination makes visible, in their types.
    #[must_use]
    pub fn holds(&self, context: &Context) -> bool {
        let jwt = self.jwt.as_ref().is_none_or(|want| match &context.jwt {
            Some(Token::Valid(claims)) => want.holds(claims),
            _ => false,
        });
        jwt && self.covers_source(context.source_ip)
            && self.covers_time(context.time)
            && all_among(&self.headers, &context.headers)
            && all_among(&self.query, &context.query)
    }

    /// Whether the time lies in the period and in one of the windows asked for.
    #[must_use]
    pub fn covers_time(&self, time: Timestamp) -> bool {
        (self.time.is_empty() || self.time.iter().any(|w| w.contains(time)))
            && self.not_before.is_none_or(|t| time >= t)
            && self.expires.is_none_or(|t| time < t)
    }

    /// The parts that do not hold, in words, for an explanation.
    #[must_use]
    pub fn lacks(&self, context: &Context) -> Vec<String> {
        let mut out = Vec::new();
        if let Some(want) = &self.jwt {
            match &context.jwt {
                Some(Token::Valid(claims)) => want.lacks(claims, &mut out),
                _ => out.push("a user token".to_owned()),
            }
        }
        if !self.covers_source(context.source_ip) {
            let nets: Vec<String> = self.source.iter().map(ToString::to_string).collect();
            out.push(format!("source in {}", nets.join(", ")));
        }
        if !self.time.is_empty() && !self.time.iter().any(|w| w.contains(context.time)) {
            out.push("time of day in the window".to_owned());
        }
        if let Some(from) = self.not_before.filter(|t| context.time < *t) {
            out.push(format!("time from {from}"));
        }
        if let Some(end) = self.expires.filter(|t| context.time >= *t) {
            out.push(format!("time before {end}: it has expired"));
        }
        for (what, want, have) in [("header", &self.headers, &context.headers), ("query", &self.query, &context.query)] {
            for (name, values) in want.iter().filter(|(name, values)| !among(have.get(*name), values)) {
                out.push(format!("{what} {name}: {}", one_of(values)));
            }
        }
        out
    }
}

impl JwtCondition {
    fn holds(&self, claims: &Claims) -> bool {
        (self.issuer.is_empty() || self.issuer.contains(&claims.iss))
            && (self.audience.is_empty() || claims.aud.iter().any(|a| self.audience.contains(a)))
            && self.scopes.iter().all(|want| claims.scopes().any(|have| have == &**want))
            && (self.scopes_any.is_empty() || self.scopes_any.iter().any(|want| claims.scopes().any(|have| have == &**want)))
            && all_among(&self.claims, &claims.other)
    }

    fn lacks(&self, claims: &Claims, out: &mut Vec<String>) {
        if !self.issuer.is_empty() && !self.issuer.contains(&claims.iss) {
            out.push(format!("jwt issuer: {}", self.issuer.join(" or ")));
        }
        if !self.audience.is_empty() && !claims.aud.iter().any(|a| self.audience.contains(a)) {
            out.push(format!("jwt audience: {}", self.audience.join(" or ")));
        }
        let missing: Vec<&str> = self.scopes.iter().map(|s| &**s).filter(|want| !claims.scopes().any(|have| have == *want)).collect();
        if !missing.is_empty() {
            out.push(format!("jwt scope: {}", missing.join(" ")));
        }
        if !self.scopes_any.is_empty() && !self.scopes_any.iter().any(|want| claims.scopes().any(|have| have == &**want)) {
            out.push(format!("jwt scope, one of: {}", self.scopes_any.join(" ")));
        }
        for (name, values) in self.claims.iter().filter(|(name, values)| !among(claims.other.get(*name), values)) {
            out.push(format!("jwt claim {name}: {}", one_of(values)));
        }
    }
}

impl TimeWindow {
    /// Whether the time of day lies in the window.
    #[must_use]
    pub const fn contains(&self, time: Timestamp) -> bool {
        let now = time.ms_of_day();
        if self.from_ms < self.to_ms { now >= self.from_ms && now < self.to_ms } else { now >= self.from_ms || now < self.to_ms }
    }
}

fn all_among(want: &std::collections::BTreeMap<Box<str>, Vec<AttributeValue>>, have: &Attributes) -> bool {
    want.iter().all(|(name, values)| among(have.get(name), values))
}

/// Whether a value is one of those asked for; a list has to contain one of them.
pub(crate) fn among(have: Option<&AttributeValue>, want: &[AttributeValue]) -> bool {
    match have {
        None => false,
        Some(AttributeValue::List(list)) => want.iter().any(|w| matches!(w, AttributeValue::Text(text) if list.contains(text))),
        Some(value) => want.contains(value),
    }
}

fn one_of(values: &[AttributeValue]) -> String {
    let words: Vec<String> = values.iter().map(show).collect();
    words.join(" or ")
}

/// A value as a person would write it.
pub(crate) fn show(value: &AttributeValue) -> String {
    match value {
        AttributeValue::Text(text) => text.to_string(),
        AttributeValue::Integer(n) => n.to_string(),
        AttributeValue::Boolean(b) => b.to_string(),
        AttributeValue::List(list) => list.join(", "),
    }
}
