//! What all players share: where to go, what to present, and which bundle to expect.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::{HeaderName, HeaderValue, Request, Uri, header};
use rustls_pki_types::TrustAnchor;

use crate::calls::{Call, Way, Who};
use crate::client::{self, Asking, Line, NoAnswer, Presented, Protocol, Upload};
use crate::error::TownError;
use crate::journal::Journal;
use crate::layout::{Identities, Places, spiffe_id};
use crate::market::id_of;
use crate::tokens::Tokens;

/// What all players share.
pub struct Stage {
    pub(crate) places: Places,
    identities: RwLock<Identities>,
    roots: Arc<Vec<TrustAnchor<'static>>>,
    tokens: Tokens,
    pub(crate) journal: Arc<Journal>,
    law: AtomicU8,
    stopping: AtomicBool,
    hold: AtomicU64,
}

/// Which bundle answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Law {
    /// The first.
    First,
    /// It is being replaced.
    Changing,
    /// The second.
    Second,
}

impl Stage {
    pub(crate) fn new(
        places: Places,
        identities: Identities,
        roots: Arc<Vec<TrustAnchor<'static>>>,
        tokens: Tokens,
        journal: Arc<Journal>,
    ) -> Self {
        let (law, stopping, hold) = (AtomicU8::new(0), AtomicBool::new(false), AtomicU64::new(u64::MAX));
        Self { places, identities: RwLock::new(identities), roots, tokens, journal, law, stopping, hold }
    }

    /// Where the sidecar of a service listens for other services.
    #[must_use]
    pub fn inbound(&self, service: &str) -> Option<SocketAddr> {
        self.places.inbound.get(service).copied()
    }

    /// Where the sidecar of a service takes what the service asks of another one, in the clear.
    #[must_use]
    pub fn outbound(&self, from: &str, to: &str) -> Option<SocketAddr> {
        self.places.outbound.iter().find(|((f, t), _)| (*f, *t) == (from, to)).map(|(_, at)| *at)
    }

    /// What is seen from outside the sidecars.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    pub(crate) fn law(&self) -> Law {
        match self.law.load(Ordering::SeqCst) {
            0 => Law::First,
            1 => Law::Changing,
            _ => Law::Second,
        }
    }

    pub(crate) fn set_law(&self, law: Law) {
        self.law.store(law as u8, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Whether players must wait, so many questions having been asked.
    pub(crate) fn holds_at(&self, done: u64) -> bool {
        done >= self.hold.load(Ordering::SeqCst) && !self.is_stopping()
    }

    /// Lets players go no further than this, until they are let go further.
    pub(crate) fn set_hold(&self, at: u64) {
        self.hold.store(at, Ordering::SeqCst);
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn renew(&self, identities: Identities) {
        self.identities.write().unwrap_or_else(PoisonError::into_inner).extend(identities);
    }

    fn presented(&self, who: Who) -> Option<Arc<Presented>> {
        self.identities.read().unwrap_or_else(PoisonError::into_inner).get(&who).cloned()
    }

    /// The TLS configuration of a player who asks `to`.
    pub(crate) fn tls(&self, who: Who, to: &str, protocol: Protocol) -> Result<Arc<rustls::ClientConfig>, TownError> {
        client::tls(self.presented(who).as_deref(), &self.roots, spiffe_id(&id_of(to))?, protocol)
    }

    /// A new connection for a call.
    pub(crate) async fn connect(&self, call: &Call) -> Result<Line, NoAnswer> {
        let nowhere = || NoAnswer::Connect(std::io::Error::other("the town has no such place"));
        match (&call.way, call.from) {
            (Way::Outbound, Who::Service(from)) => {
                let at = self.places.outbound.get(&(from, call.to)).copied().ok_or_else(nowhere)?;
                Line::plain(at).await
            }
            (Way::Direct(protocol), who) => self.direct(who, call.to, *protocol).await,
            _ => Err(nowhere()),
        }
    }

    /// A new connection with TLS straight to a sidecar.
    pub(crate) async fn direct(&self, who: Who, to: &str, protocol: Protocol) -> Result<Line, NoAnswer> {
        let unmade = |e: String| NoAnswer::Connect(std::io::Error::other(e));
        let at = self.inbound(to).ok_or_else(|| unmade("the town has no such place".to_owned()))?;
        let config = self.tls(who, to, protocol).map_err(|e| unmade(e.to_string()))?;
        Line::secure(at, config, protocol).await
    }

    /// The request of a call, in the form that its connection needs.
    pub(crate) fn request(&self, call: &Call) -> Result<Asking, String> {
        let told = call.body.is_multiple_of(2);
        let mut request = Request::new(Upload::new(call.body, told));
        *request.method_mut() = call.method.parse().map_err(|e| format!("{e}"))?;
        let target: http::uri::PathAndQuery = call.target.parse().map_err(|e| format!("`{}`: {e}", call.target))?;
        let mut uri = http::uri::Parts::default();
        uri.path_and_query = Some(target);
        if call.way == Way::Direct(Protocol::Http2) {
            uri.scheme = Some(http::uri::Scheme::HTTPS);
            uri.authority = call.to.parse().ok();
        } else {
            request.headers_mut().insert(header::HOST, HeaderValue::from_static(call.to));
        }
        *request.uri_mut() = Uri::from_parts(uri).map_err(|e| e.to_string())?;
        for (name, value) in &call.headers {
            request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        if let Some(token) = call.token {
            let text = self.tokens.text(token).map_err(|e| e.to_string())?;
            let value = HeaderValue::try_from(format!("Bearer {text}")).map_err(|e| e.to_string())?;
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        Ok(request)
    }

    /// A user's token for a service, as a player would present it.
    ///
    /// # Errors
    /// [`TownError::Mint`].
    pub fn token(&self, token: crate::tokens::Token) -> Result<String, TownError> {
        Ok(self.tokens.text(token)?)
    }
}

/// Lines kept open, by who asks whom and how.
pub(crate) type Lines = BTreeMap<(Who, &'static str, Option<Protocol>), Line>;
