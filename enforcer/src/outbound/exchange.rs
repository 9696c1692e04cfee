//! The exchange of user tokens (RFC 8693): a request to another service carries a token that is good for that service alone.
//!
//! The bearer token of the local service's request is given to a security token service, and what comes back takes its place.
//!
//! INVARIANT: with an exchange configured no token goes out that was not exchanged: what cannot be exchanged fails the request
//! (INV-9). An exchanged token is kept under the digest of the whole token it was made from and is never used for another, nor
//! beyond the end of either. Tokens and secrets are in no message and no log.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use portreeve_engine::{Digest, Timestamp};
use serde::Deserialize;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::desk::Desk;
use super::limits;
use crate::fetch::FetchError;
use crate::files::read_bounded;
use crate::gate::Gate;
use crate::headers;

/// What is configured of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    /// For whom the new token is.
    pub audience: Box<str>,
    /// The scope that is asked for; the token's own where it is not said.
    pub scope: Option<Box<str>>,
    /// How we prove who we are, besides by our certificate.
    pub client: Option<Client>,
}

/// Credentials for the token service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// The client's id.
    pub id: Box<str>,
    /// The file with its secret, read for each exchange, so that it can be replaced.
    pub secret: PathBuf,
}

/// Exchanges tokens for one destination.
#[derive(Debug)]
pub struct Exchange {
    terms: Terms,
    desk: Desk,
    gate: Arc<Gate>,
    kept: Mutex<HashMap<Digest, Entry>>,
    under_way: Semaphore,
}

#[derive(Debug)]
struct Entry {
    slot: Arc<tokio::sync::Mutex<Slot>>,
    used: Instant,
}

/// What is known of one token. Whoever exchanges it holds the lock, so that nobody else does at the same time.
#[derive(Debug)]
enum Slot {
    Empty,
    Kept(Kept),
    Failed(Failed, Instant),
}

#[derive(Clone)]
struct Kept {
    authorization: HeaderValue,
    until: Instant,
    /// The same by the clock that the token is judged by: the other one stands still while a machine sleeps.
    ends: Timestamp,
}

impl Kept {
    fn is_good(&self, instant: Instant, now: Timestamp) -> bool {
        instant < self.until && now < self.ends
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Why there is no exchanged token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// The request has several tokens, or one that no header can carry on.
    Malformed,
    /// The token service does not accept the token.
    Refused,
    /// It cannot be reached, or its answer is not acceptable.
    Unavailable,
    /// It did not answer in time.
    Timeout,
    /// Too many exchanges are under way.
    Overload,
}

impl Failed {
    /// The status that tells the local service.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        match self {
            Self::Malformed => StatusCode::BAD_REQUEST,
            Self::Refused => StatusCode::UNAUTHORIZED,
            Self::Unavailable => StatusCode::BAD_GATEWAY,
            Self::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Self::Overload => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Whether it is for the operator to mend, and not for the caller.
    #[must_use]
    pub const fn is_ours(self) -> bool {
        matches!(self, Self::Unavailable)
    }

    /// A word for metrics and messages.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Overload => "overload",
        }
    }
}

impl Exchange {
    /// An exchange that keeps nothing yet.
    #[must_use]
    pub fn new(terms: Terms, desk: Desk, gate: Arc<Gate>) -> Arc<Self> {
        Arc::new(Self { terms, desk, gate, kept: Mutex::default(), under_way: Semaphore::new(limits::EXCHANGES_MAX) })
    }

    /// Puts an exchanged token in the place of the one that the headers carry. Without a bearer token nothing is exchanged.
    ///
    /// # Errors
    /// The request must not be sent.
    pub async fn apply(&self, headers: &mut HeaderMap) -> Result<(), Failed> {
        let mut given = headers.get_all(header::AUTHORIZATION).into_iter();
        let (first, second) = (given.next(), given.next());
        let Some(first) = first else { return Ok(()) };
        if second.is_some() {
            return self.counted(Err(Failed::Malformed)).map(|_| ());
        }
        let Some(token) = bearer(first.as_bytes()) else { return Ok(()) };
        let token = token.and_then(|t| if t.len() <= limits::TOKEN_BYTES_MAX { Ok(t) } else { Err(Failed::Malformed) });
        let token = match token {
            Ok(token) => token.to_owned(),
            Err(failed) => return self.counted(Err(failed)).map(|_| ()),
        };
        let authorization = self.counted(self.exchanged(&token).await)?;
        headers.insert(header::AUTHORIZATION, authorization);
        Ok(())
    }

    fn counted(&self, found: Result<(HeaderValue, bool), Failed>) -> Result<HeaderValue, Failed> {
        let word = match &found {
            Ok((_, true)) => "kept",
            Ok((_, false)) => "exchanged",
            Err(failed) => failed.as_str(),
        };
        self.gate.metrics.outbound.exchanged(word);
        found.map(|(authorization, _)| authorization)
    }

    /// The exchanged token, and whether it was kept from before.
    async fn exchanged(&self, token: &str) -> Result<(HeaderValue, bool), Failed> {
        let asked = Instant::now();
        let slot = self.slot(token);
        let mut slot = slot.lock().await;
        match &*slot {
            Slot::Kept(kept) if kept.is_good(Instant::now(), self.gate.clock.now()) => return Ok((kept.authorization.clone(), true)),
            // It failed while this request waited for it: the same answer holds for both.
            Slot::Failed(failed, at) if *at >= asked => return Err(*failed),
            _ => {}
        }
        let found = self.ask(token).await;
        *slot = match &found {
            Ok(kept) => Slot::Kept(kept.clone()),
            Err(failed) => Slot::Failed(*failed, Instant::now()),
        };
        found.map(|kept| (kept.authorization, false))
    }

    fn slot(&self, token: &str) -> Arc<tokio::sync::Mutex<Slot>> {
        let key = Digest::of(format!("{}\n{token}", self.terms.audience).as_bytes());
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= limits::TOKENS_KEPT_MAX && !kept.contains_key(&key) {
            // Whoever holds the slot goes on with it; it is only not found again.
            let oldest = kept.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            oldest.map(|key| kept.remove(&key));
        }
        let entry = kept.entry(key).or_insert_with(|| Entry { slot: Arc::new(tokio::sync::Mutex::new(Slot::Empty)), used: Instant::now() });
        entry.used = Instant::now();
        Arc::clone(&entry.slot)
    }

    async fn ask(&self, token: &str) -> Result<Kept, Failed> {
        let place = timeout(limits::EXCHANGE_TIMEOUT, self.under_way.acquire()).await;
        let Ok(Ok(_place)) = place else { return Err(Failed::Overload) };
        let now = self.gate.clock.now();
        let credentials = self.credentials()?;
        let answer = self.desk.post(&self.gate, Bytes::from(self.form(token)), credentials).await;
        let answer = answer.map_err(|error| match error {
            FetchError::Timeout(_) => Failed::Timeout,
            _ => Failed::Unavailable,
        })?;
        match answer.status {
            StatusCode::OK => {}
            // Only what speaks of the token is the caller's affair (RFC 6749 §5.2); what speaks of us is not.
            StatusCode::BAD_REQUEST if speaks_of_the_token(&answer.body) => return Err(Failed::Refused),
            _ => return Err(Failed::Unavailable),
        }
        let granted: Granted = serde_json::from_slice(&answer.body).map_err(|_| Failed::Unavailable)?;
        granted.kept(now, expiry(token)).ok_or(Failed::Unavailable)
    }

    fn form(&self, token: &str) -> String {
        let mut form = format!(
            "grant_type={}&subject_token_type={}&subject_token={}&audience={}",
            encode(GRANT),
            encode(ACCESS_TOKEN),
            encode(token),
            encode(&self.terms.audience)
        );
        if let Some(scope) = &self.terms.scope {
            form.push_str("&scope=");
            form.push_str(&encode(scope));
        }
        form
    }

    fn credentials(&self) -> Result<Option<HeaderValue>, Failed> {
        let Some(client) = &self.terms.client else { return Ok(None) };
        let secret = read_bounded(&client.secret, limits::SECRET_BYTES_MAX).map_err(|_| Failed::Unavailable)?;
        let secret = std::str::from_utf8(&secret).map_err(|_| Failed::Unavailable)?;
        // Both are form-encoded first (RFC 6749 §2.3.1).
        let pair = format!("{}:{}", encode(&client.id), encode(secret.trim_end_matches(['\r', '\n'])));
        let mut value = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair))).map_err(|_| Failed::Unavailable)?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

/// The answer of a token service (RFC 8693 §2.2.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

impl Granted {
    /// The token as it is kept; `end` is that of the token it was made from.
    fn kept(self, now: Timestamp, end: Option<Timestamp>) -> Option<Kept> {
        let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
        let token = &self.access_token;
        if !self.token_type.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > limits::TOKEN_BYTES_MAX {
            return None;
        }
        if !token.bytes().all(fits) {
            return None;
        }
        let mut authorization = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        authorization.set_sensitive(true);
        // What does not say how long it is good for is used once.
        let mut life = Duration::from_secs(self.expires_in.unwrap_or(0)).min(limits::EXCHANGED_LIFE_MAX);
        if let Some(end) = end {
            let left = u64::try_from(end.unix_ms().saturating_sub(now.unix_ms())).unwrap_or(0);
            life = life.min(Duration::from_millis(left));
        }
        let life = life.saturating_sub(limits::EXCHANGE_MARGIN);
        let ends = now.plus_ms(i64::try_from(life.as_millis()).unwrap_or(i64::MAX));
        Some(Kept { authorization, until: Instant::now() + life, ends })
    }
}

fn speaks_of_the_token(body: &[u8]) -> bool {
    #[derive(Deserialize)]
    struct Error {
        error: String,
    }
    serde_json::from_slice::<Error>(body).is_ok_and(|e| matches!(e.error.as_str(), "invalid_request" | "invalid_grant" | "invalid_scope"))
}

/// The token of an `Authorization`; `None` where it is of another scheme.
fn bearer(value: &[u8]) -> Option<Result<&str, Failed>> {
    let token = headers::bearer(value)?;
    let text = std::str::from_utf8(token).ok().filter(|t| t.bytes().all(|b| b.is_ascii_graphic() && b != b','));
    Some(text.filter(|t| !t.is_empty()).ok_or(Failed::Malformed))
}

/// When a token ends, where it says so. It is not verified: this can only shorten how long an exchanged one is kept.
fn expiry(token: &str) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Claims {
        exp: f64,
    }
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    #[expect(clippy::cast_possible_truncation, reason = "a number beyond the range becomes its end")]
    let ms = (exp * 1000.0) as i64;
    Some(Timestamp::from_unix_ms(ms))
}

/// As `application/x-www-form-urlencoded` has it, with everything but the plainest escaped.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bearer_tokens_are_told_from_other_credentials() {
        for (value, found) in [
            ("Bearer abc", Some(Ok("abc"))),
            ("bearer  abc ", Some(Ok("abc"))),
            ("Basic eDp5", None),
            ("Bearer", Some(Err(Failed::Malformed))),
            ("Bearer a b", Some(Err(Failed::Malformed))),
            ("Bearer a,Bearer b", Some(Err(Failed::Malformed))),
            ("Bearer \u{fc}", Some(Err(Failed::Malformed))),
            ("Bearer\tabc", Some(Err(Failed::Malformed))),
        ] {
            assert_eq!(bearer(value.as_bytes()), found, "{value}");
        }
    }

    #[test]
    fn what_is_granted_is_kept_until_shortly_before_the_first_end() {
        let now = Timestamp::from_unix_ms(1_000_000);
        let granted = |expires_in| Granted { access_token: "a.b.c".to_owned(), token_type: "Bearer".to_owned(), expires_in };
        let life = |expires_in, end: Option<i64>| {
            let before = Instant::now();
            let kept = granted(expires_in).kept(now, end.map(|s| Timestamp::from_unix_ms(1_000_000 + s * 1000))).unwrap();
            kept.until.saturating_duration_since(before).as_secs_f64().round()
        };
        assert_eq!(life(Some(120), None), 90.0);
        assert_eq!(life(Some(86_400), None), 270.0);
        assert_eq!(life(Some(120), Some(60)), 30.0);
        assert_eq!(life(Some(120), Some(-5)), 0.0);
        assert_eq!(life(None, None), 0.0);
        // A machine that slept for an hour: no time has passed for one of the clocks.
        let kept = granted(Some(120)).kept(now, None).unwrap();
        let instant = Instant::now();
        assert!(kept.is_good(instant, now.plus_ms(89_000)) && !kept.is_good(instant, now.plus_ms(3_600_000)));
        assert!(!kept.is_good(instant + Duration::from_secs(91), now));
        for (token, kind) in [("a b", "Bearer"), ("", "Bearer"), ("a\r\nx: y", "Bearer"), ("abc", "N_A"), ("abc", "DPoP")] {
            let granted = Granted { access_token: token.to_owned(), token_type: kind.to_owned(), expires_in: Some(60) };
            assert!(granted.kept(now, None).is_none(), "{token} {kind}");
        }
        let kept = format!("{:?}", granted(Some(60)).kept(now, None).unwrap());
        assert!(!kept.contains("a.b.c"), "{kept}");
    }

    #[test]
    fn the_end_of_a_token_is_read_without_trust() {
        let token = |claims: &str| format!("h.{}.s", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&token(r#"{"exp":1000}"#)).map(Timestamp::unix_ms), Some(1_000_000));
        assert_eq!(expiry(&token(r#"{"exp":1e300}"#)), Some(Timestamp::MAX));
        for odd in [token(r#"{"exp":"soon"}"#), token("{}"), "opaque".to_owned(), "h.!.s".to_owned()] {
            assert_eq!(expiry(&odd), None, "{odd}");
        }
    }

    #[test]
    fn only_what_speaks_of_the_token_is_the_callers_affair() {
        assert!(speaks_of_the_token(br#"{"error":"invalid_request"}"#));
        assert!(!speaks_of_the_token(br#"{"error":"invalid_client"}"#));
        assert!(!speaks_of_the_token(br#"{"error":"invalid_target"}"#));
        assert!(!speaks_of_the_token(b"no"));
    }
}
