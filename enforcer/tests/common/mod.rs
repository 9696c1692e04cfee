//! What the tests of identities share: an authority in a temporary directory, and handshakes in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use portreeve_enforcer::ca::{Ca, CaOptions, IssueRequest, Issued};
use portreeve_enforcer::tls::{ExpectedPeer, Identity, IdentityFiles, Refusal, VerifiedPeer, accept, connect};
use portreeve_engine::Timestamp;
use portreeve_engine::id::{SpiffeId, TrustDomain};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub(crate) const MARKET: &str = "market.example";
pub(crate) const ITEMS: &str = "spiffe://market.example/ns/shop/sa/items";
pub(crate) const USERS: &str = "spiffe://market.example/ns/shop/sa/users";
pub(crate) const DAY: i64 = 86_400_000;

pub(crate) fn now() -> Timestamp {
    let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    Timestamp::from_unix_ms(i64::try_from(ms).unwrap())
}

pub(crate) fn id(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

pub(crate) fn domain(text: &str) -> TrustDomain {
    text.parse().unwrap()
}

pub(crate) fn authority(dir: &Path, trust_domain: &str) -> Ca {
    Ca::init(dir, &domain(trust_domain), CaOptions::default()).unwrap()
}

/// A good leaf's request, valid now.
pub(crate) fn request(uri: &str) -> IssueRequest {
    IssueRequest::leaf(&[uri], now().plus_ms(-60_000), now().plus_ms(DAY))
}

/// The files of an identity under `dir`, named by the last segment of its id.
pub(crate) fn files(dir: &Path, name: &str, issued: &Issued, trust: &[(&str, &Ca)]) -> IdentityFiles {
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    issued.write(&cert, &key).unwrap();
    let trust: BTreeMap<TrustDomain, PathBuf> = trust.iter().map(|(name, ca)| (domain(name), ca.root_path())).collect();
    IdentityFiles { cert, key, trust, crl: Vec::new() }
}

pub(crate) fn identity(dir: &Path, name: &str, ca: &Ca, uri: &str, trust: &[(&str, &Ca)]) -> Identity {
    let issued = ca.issue(&id(uri), Duration::from_secs(3600), &[]).unwrap();
    Identity::load(&files(dir, name, &issued, trust)).unwrap()
}

pub(crate) const LIMIT: Duration = Duration::from_secs(5);

/// A handshake in memory between two identities: what each side makes of the other.
pub(crate) async fn handshake(
    server: &Identity,
    client: &Identity,
    expected: ExpectedPeer,
) -> (Result<VerifiedPeer, Refusal>, Result<VerifiedPeer, Refusal>) {
    let (near, far) = tokio::io::duplex(1 << 16);
    let served = async {
        let (mut stream, peer) = accept(server, near, LIMIT).await?;
        let mut byte = [0];
        let _ = stream.read_exact(&mut byte).await;
        let _ = stream.write_all(&byte).await;
        let _ = stream.shutdown().await;
        Ok(peer)
    };
    let asked = async {
        let (mut stream, peer) = connect(client, expected, far, LIMIT).await?;
        let _ = stream.write_all(b"x").await;
        let mut byte = [0];
        match stream.read_exact(&mut byte).await {
            Ok(_) => Ok(peer),
            Err(error) => Err(portreeve_enforcer::tls::refusal_of(&error)),
        }
    };
    tokio::join!(served, asked)
}
