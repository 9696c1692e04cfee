//! Why a fetch failed.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::StatusCode;

/// Why a fetch failed. Nothing of a failed fetch is used.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file of root certificates.
    #[error("cannot use the root certificates `{}`: {why}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The cause.
        why: io::Error,
    },
    /// The system believes nobody.
    #[error("the system has no root certificates; install them, or name a file with `ca`")]
    NoSystemRoots,
    /// The host's name cannot be looked up.
    #[error("cannot look up `{host}`: {why}")]
    Resolve {
        /// The host.
        host: String,
        /// The cause.
        why: io::Error,
    },
    /// No address of the host may be fetched from (A09).
    #[error("`{host}` is at the {kind} address {address}, which is refused{}", way_out(kind))]
    Forbidden {
        /// The host.
        host: String,
        /// One of its addresses.
        address: IpAddr,
        /// What stands against it.
        kind: &'static str,
    },
    /// Not encrypted, and not to this host.
    #[error("`{host}` is at {address}, which is not loopback: `http` is refused, use `https`")]
    Plain {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// `http`, where it was not allowed.
    #[error("`http` is refused; use `https`")]
    NotHttps,
    /// No connection.
    #[error("cannot connect to {address}: {why}")]
    Connect {
        /// The last address tried.
        address: SocketAddr,
        /// The cause.
        why: io::Error,
    },
    /// The TLS settings.
    #[error("cannot set up TLS: {0}")]
    Tls(rustls::Error),
    /// The TLS handshake.
    #[error("the TLS handshake failed: {0}")]
    Handshake(io::Error),
    /// HTTP.
    #[error("no whole answer: {0}")]
    Http(hyper::Error),
    /// The request cannot be written.
    #[error("the request cannot be made: {0}")]
    Request(http::Error),
    /// The answer leads elsewhere, which is never followed.
    #[error("the answer is a redirect ({0}), which is not followed; name the final address")]
    Redirected(StatusCode),
    /// The answer is not a success.
    #[error("the answer is {0}")]
    Status(StatusCode),
    /// Nothing is unpacked: a small answer could become an endless one (A39).
    #[error("the answer is compressed, although that was not asked for")]
    Encoded,
    /// The answer is too long (A39).
    #[error("the answer is longer than {0} bytes")]
    TooLarge(usize),
    /// All of it took too long.
    #[error("there was no whole answer within {} s", .0.as_secs_f32())]
    Timeout(Duration),
}

fn way_out(kind: &str) -> &'static str {
    match kind {
        "private" | "loopback" | "shared" => " unless `private_addresses: true` says otherwise",
        _ => "",
    }
}

impl FetchError {
    /// A word for metrics.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Roots { .. } | Self::NoSystemRoots | Self::Tls(_) => "roots",
            Self::Resolve { .. } => "resolve",
            Self::Forbidden { .. } | Self::Plain { .. } | Self::NotHttps => "forbidden",
            Self::Connect { .. } => "connect",
            Self::Handshake(_) => "handshake",
            Self::Http(_) | Self::Request(_) => "http",
            Self::Redirected(_) => "redirected",
            Self::Status(_) => "status",
            Self::Encoded => "encoded",
            Self::TooLarge(_) => "too-large",
            Self::Timeout(_) => "timeout",
        }
    }
}
