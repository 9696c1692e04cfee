//! Identities from a Workload API, one after the other: connects, follows the stream, connects again with growing, scattered waits.
//!
//! INVARIANT: an answer becomes an identity whole or not at all. Absence is redaction: a message without our identity, or the
//! status that there is none for us, takes it away. That an agent cannot be reached takes nothing away: what was given is good
//! until it ends.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use portreeve_engine::id::{SpiffeId, TrustDomain};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};

use super::limits::{RETRY_FIRST, RETRY_LONGEST};
use super::message::certificates;
use super::{Endpoint, FetchError, Status, Stream, X509Svid, X509SvidResponse, fetch};
use crate::tls::{Identity, IdentityError, MinVersion, Pair, Refusal, Trust};

/// What a source tells.
#[derive(Debug)]
pub enum News {
    /// The identity is this one now.
    Identity(Box<Identity>),
    /// There is no identity for us any more.
    Withdrawn(String),
    /// Nothing new can be had; it is tried again.
    Failed(String),
}

/// Where identities come from.
pub trait Source: Send {
    /// The next news; waits as long as there is none. It may be dropped and called again.
    fn next(&mut self) -> impl Future<Output = News> + Send;
}

/// A Workload API as a source.
#[derive(Debug)]
pub struct FromApi {
    endpoint: Endpoint,
    id: Option<SpiffeId>,
    min: MinVersion,
    stream: Option<Stream>,
    wait: Option<Duration>,
}

impl FromApi {
    /// Follows the Workload API at `endpoint`. Where it gives several identities, `id` says which; otherwise the first is taken.
    #[must_use]
    pub fn new(endpoint: Endpoint, id: Option<SpiffeId>, min: MinVersion) -> Self {
        Self { endpoint, id, min, stream: None, wait: None }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    async fn answer(&mut self) -> Result<X509SvidResponse, FetchError> {
        if let Some(stream) = &mut self.stream {
            return stream.next().await;
        }
        if let Some(wait) = self.wait {
            tokio::time::sleep(scattered(wait)).await;
        }
        // Until an answer came the next attempt waits longer, also where this one is dropped on its way.
        self.wait = Some(self.wait.map_or(RETRY_FIRST, |wait| wait.saturating_mul(2).min(RETRY_LONGEST)));
        let mut stream = fetch(&self.endpoint).await?;
        let answer = stream.first().await?;
        self.stream = Some(stream);
        Ok(answer)
    }

    fn news(&mut self, answer: Result<X509SvidResponse, FetchError>) -> News {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                self.stream = None;
                return match &error {
                    FetchError::Status(Status { code: Status::PERMISSION_DENIED, .. }) => News::Withdrawn(self.told(&error)),
                    // Asking again will not mend these soon.
                    FetchError::Status(Status { code: Status::INVALID_ARGUMENT | Status::UNIMPLEMENTED, .. }) | FetchError::Foreign(_) => {
                        self.wait = Some(RETRY_LONGEST);
                        News::Failed(self.told(&error))
                    }
                    _ => News::Failed(self.told(&error)),
                };
            }
        };
        // A stream that gave an answer and ends is connected anew at once, with the shortest wait.
        self.wait = Some(RETRY_FIRST);
        let chosen = match &self.id {
            None => answer.svids.first(),
            Some(id) => answer.svids.iter().find(|svid| svid.id == id.as_str()),
        };
        let Some(svid) = chosen else {
            let id = self.id.as_ref().map(ToString::to_string).unwrap_or_default();
            return News::Withdrawn(self.told(&format!("it gives no identity `{id}`")));
        };
        match self.identity(svid, &answer) {
            Ok(identity) => News::Identity(Box::new(identity)),
            Err(error @ IdentityError::Own { refusal: Refusal::Revoked, .. }) => News::Withdrawn(error.to_string()),
            Err(error) => News::Failed(error.to_string()),
        }
    }

    fn identity(&self, svid: &X509Svid, answer: &X509SvidResponse) -> Result<Identity, IdentityError> {
        let place = PathBuf::from(self.endpoint.to_string());
        let wrong = |cause: &str| IdentityError::Root { path: place.clone(), cause: cause.to_owned() };
        let chain = certificates(&svid.chain).ok_or_else(|| IdentityError::NoCertificate { path: place.clone() })?;
        let chain = chain.into_iter().map(|der| CertificateDer::from(der.to_vec())).collect();
        let pair = Pair::new(chain, PrivatePkcs8KeyDer::from(svid.key.clone()).into(), &place, &place)?;
        if pair.id().as_str() != svid.id {
            return Err(IdentityError::Key { path: place, cause: format!("the certificate of `{}` is that of `{}`", svid.id, pair.id()) });
        }
        let own: TrustDomain = pair.id().trust_domain().parse().map_err(|_| wrong("our own trust domain has no name"))?;
        if answer.federated.contains_key(&own) {
            return Err(wrong("our own trust domain is given as another one too"));
        }
        let mut trust = Trust::new();
        for (domain, bundle) in std::iter::once((&own, &svid.bundle)).chain(&answer.federated) {
            for root in certificates(bundle).ok_or_else(|| wrong("a bundle is not a sequence of certificates"))? {
                trust.add_root(domain, &CertificateDer::from(root), &place)?;
            }
        }
        for list in &answer.lists {
            trust.add_list(&CertificateRevocationListDer::from(list.as_slice()), &place)?;
        }
        Identity::new(pair, Arc::new(trust), self.min)
    }

    fn told(&self, error: &impl std::fmt::Display) -> String {
        format!("the Workload API at `{}`: {error}", self.endpoint)
    }
}

impl Source for FromApi {
    async fn next(&mut self) -> News {
        let answer = self.answer().await;
        self.news(answer)
    }
}

/// Between half of a wait and all of it: a fleet that lost its agent at one moment does not come back at one moment.
fn scattered(wait: Duration) -> Duration {
    let mut bytes = [0; 2];
    // Without random numbers the wait is merely not scattered.
    let part = aws_lc_rs::rand::fill(&mut bytes).map_or(u32::from(u16::MAX), |()| u32::from(u16::from_le_bytes(bytes)));
    wait / 2 + wait / 2 * part / u32::from(u16::MAX)
}
