//! The exchange itself: a request, who makes it and the time in, a token or a refusal out. No sockets.

use std::time::Duration;

use portreeve_engine::Timestamp;
use portreeve_engine::id::SpiffeId;
use serde_json::{Map, Value, json};

use super::Form;
use super::limits::ACTORS_MAX;
use crate::jwt::{Issuer, Verifier};

/// Exchanges tokens.
#[derive(Debug)]
pub struct Exchange {
    /// Whose name and key the new tokens bear.
    pub issuer: Issuer,
    /// Whose tokens are exchanged.
    pub accept: Verifier,
    /// The services for which there are tokens.
    pub audiences: Vec<String>,
    /// How long a token lives at most.
    pub lifetime: Duration,
    /// The claims that are carried over, besides `sub` and `scope`.
    pub claims: Vec<String>,
}

/// A new token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The token.
    pub token: String,
    /// What was asked for, or an access token.
    pub token_type: &'static str,
    /// Seconds that it lives.
    pub expires_in: i64,
    /// Its scope, if it has one.
    pub scope: Option<String>,
}

/// Why there is no token, in the words of RFC 6749 §5.2 and RFC 8693 §2.2.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The code.
    pub error: &'static str,
    /// For whoever has to mend it.
    pub description: String,
}

impl Exchange {
    /// Exchanges a token. `caller` is who asks, if its certificate said so.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn exchange(&self, form: &Form, caller: Option<&SpiffeId>, now: Timestamp) -> Result<Issued, Refused> {
        match form.get("grant_type") {
            Some(GRANT) => {}
            Some(_) => return Err(refused("unsupported_grant_type", "only token exchange is offered here")),
            None => return Err(invalid("`grant_type` is missing")),
        }
        for unsupported in ["actor_token", "actor_token_type", "resource"] {
            if form.get(unsupported).is_some() {
                return Err(invalid(&format!(
                    "`{unsupported}` is not supported: callers are known by their certificate, services by `audience`"
                )));
            }
        }
        let token_type = token_type(form.get("requested_token_type").unwrap_or(ACCESS_TOKEN))
            .ok_or_else(|| invalid("`requested_token_type` is neither an access token nor a JWT"))?;
        let given = form.get("subject_token_type").ok_or_else(|| invalid("`subject_token_type` is missing"))?;
        self::token_type(given).ok_or_else(|| invalid("`subject_token_type` is neither an access token nor a JWT"))?;
        let audience = form.get("audience").ok_or_else(|| invalid("`audience` is missing: name the service that will be called"))?;
        if !self.audiences.iter().any(|known| known == audience) {
            return Err(refused("invalid_target", "there are no tokens for this audience"));
        }
        let subject = form.get("subject_token").ok_or_else(|| invalid("`subject_token` is missing"))?;
        let subject = self.accept.claims(subject, now).map_err(|why| invalid(&format!("`subject_token` is not accepted: {why}")))?;
        may_act(&subject, caller)?;
        let scope = scope(&subject, form.get("scope"))?;
        let (claims, expires_in) = self.new_claims(&subject, audience, caller, scope.as_deref(), now)?;
        let token = self.issuer.mint(&Value::Object(claims)).map_err(|e| refused("server_error", &e.to_string()))?;
        Ok(Issued { token, token_type, expires_in, scope })
    }

    fn new_claims(
        &self,
        subject: &Map<String, Value>,
        audience: &str,
        caller: Option<&SpiffeId>,
        scope: Option<&str>,
        now: Timestamp,
    ) -> Result<(Map<String, Value>, i64), Refused> {
        let now_s = now.unix_ms().div_euclid(1000);
        let life = i64::try_from(self.lifetime.as_secs()).unwrap_or(i64::MAX);
        let end = subject.get("exp").and_then(Value::as_f64).map_or(0, seconds);
        let exp = now_s.saturating_add(life).min(end);
        if exp <= now_s {
            return Err(invalid("`subject_token` is not accepted: expired"));
        }
        let mut claims = Map::new();
        claims.insert("sub".to_owned(), subject.get("sub").cloned().unwrap_or(Value::Null));
        claims.insert("aud".to_owned(), json!([audience]));
        claims.insert("iat".to_owned(), now_s.into());
        claims.insert("exp".to_owned(), exp.into());
        let id = crate::clock::instance_id(now).map_err(|e| refused("server_error", &e.to_string()))?;
        claims.insert("jti".to_owned(), id.into());
        if let Some(scope) = scope {
            claims.insert("scope".to_owned(), scope.into());
        }
        for name in &self.claims {
            if let Some(value) = subject.get(name) {
                claims.entry(name.clone()).or_insert_with(|| value.clone());
            }
        }
        if let Some(actor) = actor(subject, caller)? {
            claims.insert("act".to_owned(), actor);
        }
        Ok((claims, exp - now_s))
    }
}

/// Who acts: the caller, and behind it those who acted before (RFC 8693 §4.1). A caller that is not known leaves the chain as
/// it was.
fn actor(subject: &Map<String, Value>, caller: Option<&SpiffeId>) -> Result<Option<Value>, Refused> {
    let before = subject.get("act");
    let mut depth = 0;
    let mut one = before;
    while let Some(actor) = one {
        if !actor.is_object() {
            return Err(invalid("`subject_token` has an `act` that is no object"));
        }
        depth += 1;
        one = actor.get("act");
    }
    if depth >= ACTORS_MAX {
        return Err(invalid("`subject_token` has passed through too many services"));
    }
    Ok(match (caller, before) {
        (None, before) => before.cloned(),
        (Some(caller), None) => Some(json!({"sub": caller})),
        (Some(caller), Some(before)) => Some(json!({"sub": caller, "act": before})),
    })
}

/// A token that says who may act for its subject (RFC 8693 §4.4) is exchanged for nobody else.
fn may_act(subject: &Map<String, Value>, caller: Option<&SpiffeId>) -> Result<(), Refused> {
    let Some(allowed) = subject.get("may_act") else { return Ok(()) };
    let allowed = allowed.get("sub").and_then(Value::as_str);
    if allowed.is_some() && allowed == caller.map(SpiffeId::as_str) {
        return Ok(());
    }
    Err(invalid("`subject_token` names another service that may act for its subject"))
}

/// The scope of the new token: what was asked for, which must be a part of what the subject's token has, or all of that.
fn scope(subject: &Map<String, Value>, asked: Option<&str>) -> Result<Option<String>, Refused> {
    let has = match subject.get("scope") {
        None => None,
        Some(Value::String(scope)) => Some(scope.as_str()),
        Some(_) => return Err(invalid("`subject_token` has a `scope` that is no text")),
    };
    let Some(asked) = asked else { return Ok(has.map(str::to_owned)) };
    let within = |one: &str| has.is_some_and(|has| has.split(' ').any(|known| known == one));
    if asked.split(' ').filter(|one| !one.is_empty()).all(within) {
        return Ok(Some(asked.to_owned()));
    }
    Err(refused("invalid_scope", "`scope` asks for more than the subject's token has"))
}

fn token_type(asked: &str) -> Option<&'static str> {
    [ACCESS_TOKEN, JWT].into_iter().find(|known| *known == asked)
}

fn refused(error: &'static str, description: &str) -> Refused {
    Refused { error, description: description.to_owned() }
}

fn invalid(description: &str) -> Refused {
    refused("invalid_request", description)
}

#[expect(clippy::cast_possible_truncation, reason = "the verifier holds it within the years that can be written")]
fn seconds(date: f64) -> i64 {
    date as i64
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
