//! Where a Workload API listens: `unix:///absolute/path` or `tcp://address:port`, as the SPIFFE Workload Endpoint has it.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// The environment variable that names the socket where nothing else does.
pub const SOCKET_VARIABLE: &str = "SPIFFE_ENDPOINT_SOCKET";

/// The address of a Workload API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// A TCP socket. The answer has our private key and nothing hides it, so it is on loopback.
    Tcp(SocketAddr),
}

/// Why a text is not the address of a Workload API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Another scheme, or none.
    #[error("it begins neither with `unix:` nor with `tcp:`")]
    Scheme,
    /// Not an absolute path, or more than a path.
    #[error("after `unix:` comes an absolute path and nothing else, such as `unix:///run/agent.sock`")]
    Path,
    /// Not an IP address with a port, or more than that.
    #[error("after `tcp:` come an IP address and a port and nothing else, such as `tcp://127.0.0.1:8000`")]
    Address,
    /// An address of another machine.
    #[error("private keys would travel in the clear: only a loopback address is accepted")]
    NotLoopback,
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if let Some(rest) = text.strip_prefix("unix:") {
            // The authority must be empty: `unix:///path`, or `unix:/path` without one.
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let odd = |c: char| matches!(c, '?' | '#' | '%' | '\0') || c.is_control();
            if !path.starts_with('/') || path.starts_with("//") || path.ends_with('/') || path.contains(odd) {
                return Err(EndpointError::Path);
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let rest = text.strip_prefix("tcp:").ok_or(EndpointError::Scheme)?;
        let address: SocketAddr = rest.strip_prefix("//").and_then(|a| a.parse().ok()).ok_or(EndpointError::Address)?;
        if address.port() == 0 {
            return Err(EndpointError::Address);
        }
        if address.ip().to_canonical().is_loopback() { Ok(Self::Tcp(address)) } else { Err(EndpointError::NotLoopback) }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) => write!(f, "tcp://{address}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_good_and_bad() {
        use EndpointError as E;
        for (text, good) in [
            ("unix:///run/agent.sock", Ok("unix:///run/agent.sock")),
            ("unix:/run/agent.sock", Ok("unix:///run/agent.sock")),
            ("tcp://127.0.0.1:8000", Ok("tcp://127.0.0.1:8000")),
            ("tcp://[::1]:8000", Ok("tcp://[::1]:8000")),
            ("unix://run/agent.sock", Err(E::Path)),
            ("unix:agent.sock", Err(E::Path)),
            ("unix:////agent.sock", Err(E::Path)),
            ("unix:///run/", Err(E::Path)),
            ("unix:///run/a?x=1", Err(E::Path)),
            ("unix:///run/a#x", Err(E::Path)),
            ("unix://", Err(E::Path)),
            ("tcp://localhost:8000", Err(E::Address)),
            ("tcp://127.0.0.1", Err(E::Address)),
            ("tcp://127.0.0.1:0", Err(E::Address)),
            ("tcp://127.0.0.1:8000/foo", Err(E::Address)),
            ("tcp:127.0.0.1:8000", Err(E::Address)),
            ("tcp://u@127.0.0.1:8000", Err(E::Address)),
            ("tcp://10.0.0.1:8000", Err(E::NotLoopback)),
            ("/run/agent.sock", Err(E::Scheme)),
            ("http://127.0.0.1:80", Err(E::Scheme)),
            ("UNIX:///run/a", Err(E::Scheme)),
            ("", Err(E::Scheme)),
        ] {
            assert_eq!(text.parse::<Endpoint>().map(|e| e.to_string()), good.map(str::to_owned), "{text}");
        }
    }
}
