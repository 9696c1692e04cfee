//! Whose certificates are believed when something is fetched: a file, or what the system believes.
//!
//! No roots are compiled in: they would age with the program, and who distrusts one would need a new release. An image without
//! system roots gives a file; without either nothing is fetched.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::FetchError;
use super::limits::ROOTS_BYTES_MAX;
use crate::files::read_bounded;

/// Whose certificates are believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// Those that the system believes (`SSL_CERT_FILE` and `SSL_CERT_DIR` count), read when the fetcher is made.
    System,
    /// Those of a PEM file, read again when it changes.
    File(PathBuf),
    /// Nobody's: for what is only ever asked for without TLS.
    Nobody,
}

/// What a file looked like, to see that it changed.
pub(super) type Stamp = (u64, u64, i64, i64, u64);

pub(super) fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec(), metadata.len()))
}

/// The TLS settings of fetches: 1.3 or 1.2, since some identity providers have no more; the name in the URL is what the
/// certificate must have; nothing is resumed.
pub(super) fn client_config(roots: &Roots, client: Option<&Arc<dyn ResolvesClientCert>>) -> Result<Arc<ClientConfig>, FetchError> {
    let store = match roots {
        Roots::System => system()?,
        Roots::Nobody => RootCertStore::empty(),
        Roots::File(path) => file(path).map_err(|why| FetchError::Roots { path: path.clone(), why })?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(FetchError::Tls)?.with_root_certificates(store);
    let mut config = match client {
        Some(client) => builder.with_client_cert_resolver(Arc::clone(client)),
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn system() -> Result<RootCertStore, FetchError> {
    let mut store = RootCertStore::empty();
    // One unreadable certificate among those of a system is common and costs only itself.
    let (taken, _) = store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if taken == 0 { Err(FetchError::NoSystemRoots) } else { Ok(store) }
}

/// A file that was named must be good as a whole.
fn file(path: &Path) -> io::Result<RootCertStore> {
    let bad = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    let bytes = read_bounded(path, ROOTS_BYTES_MAX)?;
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|e| bad(format!("it is not PEM: {e}")))?;
        store.add(certificate).map_err(|e| bad(format!("a certificate in it is not usable: {e}")))?;
    }
    if store.is_empty() {
        return Err(bad("there is no certificate in it".to_owned()));
    }
    Ok(store)
}
