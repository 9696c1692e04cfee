//! User tokens: what a call says about its token, and the token made of it. Each distinct one is signed once.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use portreeve_enforcer::jwt::{Issuer, MintError};
use serde_json::json;

use crate::market::TOKEN_ISSUER;

/// A user token, as a call asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token {
    /// For which service.
    pub aud: &'static str,
    /// The scopes.
    pub scope: &'static str,
    /// The tenant.
    pub tenant: Option<&'static str>,
    /// Whether it ended.
    pub expired: bool,
    /// Whether another key signed it.
    pub forged: bool,
}

impl Token {
    /// A token that is accepted by the service `aud`.
    #[must_use]
    pub const fn good(aud: &'static str, scope: &'static str) -> Self {
        Self { aud, scope, tenant: None, expired: false, forged: false }
    }
}

/// Signs tokens, with the town's key and with a forger's.
pub(crate) struct Tokens {
    issuer: Issuer,
    forger: Issuer,
    made: Mutex<BTreeMap<Token, String>>,
}

impl Tokens {
    pub(crate) fn new() -> Result<Self, MintError> {
        Ok(Self { issuer: Issuer::create(TOKEN_ISSUER)?, forger: Issuer::create(TOKEN_ISSUER)?, made: Mutex::default() })
    }

    pub(crate) fn jwks_json(&self) -> String {
        self.issuer.jwks_json()
    }

    pub(crate) fn text(&self, token: Token) -> Result<String, MintError> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(text) = made.get(&token) {
            return Ok(text.clone());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let exp = if token.expired { now.saturating_sub(3600) } else { now.saturating_add(3600) };
        let mut claims = json!({"sub": "ann", "aud": [token.aud], "scope": token.scope, "exp": exp});
        if let (Some(tenant), Some(claims)) = (token.tenant, claims.as_object_mut()) {
            claims.insert("tenant".to_owned(), tenant.into());
        }
        let text = if token.forged { self.forger.mint(&claims)? } else { self.issuer.mint(&claims)? };
        made.insert(token, text.clone());
        Ok(text)
    }
}
