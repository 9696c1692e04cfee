//! What a request would have to bring so that a permission's conditions hold. One list serves the words and the trying.

use crate::model::{Condition, JwtCondition, Permission, Visible};
use crate::request::{AttributeValue, Claims, Context, Request, Token};
use crate::time::Timestamp;

/// One thing that a request does otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It brings a user token.
    Token {
        /// Its issuer, where one is asked for.
        issuer: Option<Box<str>>,
        /// Its audience.
        audience: Box<str>,
    },
    /// Its token is of this issuer.
    Issuer(Box<str>),
    /// Its token is for this audience.
    Audience(Box<str>),
    /// Its token has this scope too.
    Scope(Box<str>),
    /// Its token has this claim.
    Claim(Box<str>, AttributeValue),
    /// It has this header.
    Header(Box<str>, AttributeValue),
    /// It has this query parameter.
    Query(Box<str>, AttributeValue),
    /// It comes from this network.
    Source(ipnet::IpNet),
    /// It comes at another time, for example then.
    Time(Timestamp),
}

impl Change {
    /// What to do.
    #[must_use]
    pub fn in_words(&self) -> String {
        let show = crate::condition::show;
        match self {
            Self::Token { issuer: Some(issuer), audience } => format!("send a user token of `{issuer}` for `{audience}`"),
            Self::Token { issuer: None, audience } => format!("send a user token for `{audience}`"),
            Self::Issuer(issuer) => format!("send a token of the issuer `{issuer}`"),
            Self::Audience(audience) => format!("send a token for the audience `{audience}`"),
            Self::Scope(scope) => format!("send scope `{scope}`"),
            Self::Claim(name, value) => format!("send a token with the claim `{name}: {}`", show(value)),
            Self::Header(name, value) => format!("send the header `{name}: {}`", show(value)),
            Self::Query(name, value) => format!("send the query parameter `{name}={}`", show(value)),
            Self::Source(net) => format!("call from `{net}`"),
            Self::Time(time) => format!("call within its time, for example at {time}"),
        }
    }

    /// Does it.
    pub fn apply(&self, request: &mut Request) {
        let context = &mut request.context;
        match (self, &mut context.jwt) {
            (Self::Token { issuer, audience }, jwt) => {
                let iss = issuer.clone().unwrap_or_else(|| "https://issuer.example".into());
                let claims = Claims { iss, sub: "somebody".into(), aud: vec![audience.clone()], scope: None, other: Default::default() };
                *jwt = Some(Token::Valid(claims));
            }
            (Self::Issuer(issuer), Some(Token::Valid(claims))) => claims.iss = issuer.clone(),
            (Self::Audience(audience), Some(Token::Valid(claims))) => claims.aud.push(audience.clone()),
            (Self::Scope(scope), Some(Token::Valid(claims))) => {
                let all: Vec<&str> = claims.scopes().chain([&**scope]).collect();
                claims.scope = Some(all.join(" ").into());
            }
            (Self::Claim(name, value), Some(Token::Valid(claims))) => drop(claims.other.insert(name.clone(), value.clone())),
            (Self::Header(name, value), _) => drop(context.headers.insert(name.clone(), value.clone())),
            (Self::Query(name, value), _) => drop(context.query.insert(name.clone(), value.clone())),
            (Self::Source(net), _) => context.source_ip = Some(net.addr()),
            (Self::Time(time), _) => context.time = *time,
            // A claim without a token: a token is always the change before it.
            _ => {}
        }
    }
}

/// What this permission's conditions ask for besides; `None` where nothing a request can bring would do.
pub(super) fn changes(permission: &Permission, visible: &Visible, service: &str, context: &Context) -> Option<Vec<Change>> {
    let context = crate::seen::seen(visible, context).ok()?;
    let when = &permission.when;
    let mut out = Vec::new();
    if let Some(want) = &when.jwt {
        let token = match &context.jwt {
            Some(Token::Valid(claims)) => claims.clone(),
            _ => {
                let issuer = want.issuer.first().cloned();
                let audience = want.audience.first().cloned().unwrap_or_else(|| service.into());
                out.push(Change::Token { issuer: issuer.clone(), audience: audience.clone() });
                let iss = issuer.unwrap_or_default();
                Claims { iss, sub: Box::default(), aud: vec![audience], scope: None, other: Default::default() }
            }
        };
        of_token(want, &token, &mut out);
    }
    if !when.covers_source(context.source_ip) {
        out.push(Change::Source(*when.source.first()?));
    }
    let time = in_time(when, context.time)?;
    if time != context.time {
        out.push(Change::Time(time));
    }
    let lacking = |want: &std::collections::BTreeMap<Box<str>, Vec<AttributeValue>>, have: &crate::request::Attributes| {
        let unmet = want.iter().filter(|(name, values)| !crate::condition::among(have.get(*name), values));
        unmet.filter_map(|(name, values)| Some((name.clone(), values.first()?.clone()))).collect::<Vec<_>>()
    };
    out.extend(lacking(&when.headers, &context.headers).into_iter().map(|(name, value)| Change::Header(name, value)));
    out.extend(lacking(&when.query, &context.query).into_iter().map(|(name, value)| Change::Query(name, value)));
    Some(out)
}

fn of_token(want: &JwtCondition, token: &Claims, out: &mut Vec<Change>) {
    if let Some(issuer) = want.issuer.first().filter(|_| !want.issuer.contains(&token.iss)) {
        out.push(Change::Issuer(issuer.clone()));
    }
    if let Some(audience) = want.audience.first().filter(|_| !token.aud.iter().any(|a| want.audience.contains(a))) {
        out.push(Change::Audience(audience.clone()));
    }
    let has = |scope: &str| token.scopes().any(|have| have == scope);
    out.extend(want.scopes.iter().filter(|s| !has(s)).map(|s| Change::Scope(s.clone())));
    let any = want.scopes_any.iter().any(|s| has(s) || want.scopes.contains(s));
    out.extend(want.scopes_any.first().filter(|_| !any).map(|s| Change::Scope(s.clone())));
    for (name, values) in want.claims.iter().filter(|(name, values)| !crate::condition::among(token.other.get(*name), values)) {
        out.extend(values.first().map(|value| Change::Claim(name.clone(), value.clone())));
    }
}

/// A time at which the conditions on it hold, as soon as possible after the request's own; `None` where it is too late.
fn in_time(when: &Condition, time: Timestamp) -> Option<Timestamp> {
    let mut at = when.not_before.map_or(time, |from| from.max(time));
    if !when.time.is_empty() && !when.time.iter().any(|w| w.contains(at)) {
        let wait = |from_ms: i64| (from_ms - at.ms_of_day()).rem_euclid(DAY_MS);
        at = at.plus_ms(when.time.iter().map(|w| wait(w.from_ms)).min()?);
    }
    when.expires.is_none_or(|end| at < end).then_some(at)
}

const DAY_MS: i64 = 86_400_000;
