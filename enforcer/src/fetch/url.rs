//! A URL that may be fetched: parsed once, at the edge, into what a connection needs.
//!
//! Never: credentials, a fragment, another scheme than `https` (or `http`, which only loopback gets). Shown without its query,
//! because some put secrets there.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::HeaderValue;
use rustls_pki_types::ServerName;

use super::limits::URL_BYTES_MAX;

/// A URL to fetch from.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    pub(super) https: bool,
    pub(super) host: Host,
    pub(super) port: u16,
    /// Path and query.
    pub(super) target: String,
    /// Host and, where it is not the scheme's own, port.
    authority: String,
}

/// The host of a URL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    /// A name to look up, in lower case.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// Why a text is no URL that could be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Too long.
    #[error("it is longer than a URL may be")]
    TooLong,
    /// Not of the form of a URL.
    #[error("it is not of the form `https://host/path`")]
    Form,
    /// Not `https`.
    #[error("its scheme is not `https`")]
    Scheme,
    /// Not `https`, and not loopback either.
    #[error("`http` is only for loopback addresses; others could read and change what is fetched")]
    Plain,
    /// User name or password.
    #[error("it has a user name or password in it")]
    Credentials,
    /// A fragment.
    #[error("it has a fragment (`#…`), which no server is asked for")]
    Fragment,
    /// The host is none.
    #[error("its host is neither a name nor an address")]
    Host,
    /// The port is none.
    #[error("its port is not a number from 1 to 65535")]
    Port,
}

impl FromStr for Url {
    type Err = UrlError;

    fn from_str(text: &str) -> Result<Self, UrlError> {
        if text.len() > URL_BYTES_MAX {
            return Err(UrlError::TooLong);
        }
        if text.contains('#') {
            return Err(UrlError::Fragment);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Form)?;
        let https = scheme.eq_ignore_ascii_case("https");
        if !https && !scheme.eq_ignore_ascii_case("http") {
            return Err(UrlError::Scheme);
        }
        let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlError::Credentials);
        }
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        if !target.bytes().all(|b| b.is_ascii_graphic()) || http::uri::PathAndQuery::try_from(target.as_str()).is_err() {
            return Err(UrlError::Form);
        }
        let (host, port) = split_port(authority)?;
        let own = if https { 443 } else { 80 };
        let port = match port {
            None => own,
            Some(text) => text.parse().ok().filter(|port| *port != 0).ok_or(UrlError::Port)?,
        };
        let host = Host::parse(host)?;
        // Of a name it is known only when it was looked up; then it is judged again.
        if !https && matches!(&host, Host::Address(ip) if !super::address::is_loopback(*ip)) {
            return Err(UrlError::Plain);
        }
        let authority = if port == own { host.to_string() } else { format!("{host}:{port}") };
        Ok(Self { https, host, port, target, authority })
    }
}

impl Url {
    /// Whether it is fetched over TLS.
    #[must_use]
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The `Host` header.
    pub(super) fn host_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.authority).ok()
    }

    /// The name that the server's certificate must have.
    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        match &self.host {
            Host::Name(name) => ServerName::try_from(name.clone()).ok(),
            Host::Address(ip) => Some(ServerName::IpAddress((*ip).into())),
        }
    }
}

impl Host {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(v6) = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
            return v6.parse().map(|ip| Self::Address(IpAddr::V6(ip))).map_err(|_| UrlError::Host);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Address(IpAddr::V4(ip)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let label = |label: &str| {
            !label.is_empty() && label.len() <= 63 && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        };
        // A last label of digits is an address in one of its odd spellings (`127.1`, `0x7f.1`), or nothing at all.
        let last = name.rsplit('.').next().unwrap_or_default();
        let numeric = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
        if name.len() > 253 || numeric || !name.split('.').all(label) {
            return Err(UrlError::Host);
        }
        Ok(Self::Name(name))
    }
}

fn split_port(authority: &str) -> Result<(&str, Option<&str>), UrlError> {
    let end_of_host = if authority.starts_with('[') { authority.find(']').ok_or(UrlError::Host)? + 1 } else { 0 };
    let Some(colon) = authority.get(end_of_host..).and_then(|rest| rest.find(':')) else { return Ok((authority, None)) };
    let (host, port) = authority.split_at_checked(end_of_host + colon).ok_or(UrlError::Host)?;
    let port = port.strip_prefix(':').unwrap_or_default();
    if port.is_empty() || !port.bytes().all(|b| b.is_ascii_digit()) {
        return Err(UrlError::Port);
    }
    Ok((host, Some(port)))
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(IpAddr::V4(ip)) => ip.fmt(f),
            Self::Address(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
        }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.target.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", if self.https { "https" } else { "http" }, self.authority)
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_once_and_shown_without_their_query() {
        for (text, shown, target) in [
            ("https://idp.market.example/keys", "https://idp.market.example/keys", "/keys"),
            ("HTTPS://IDP.Market.Example.:443/keys?a=secret", "https://idp.market.example/keys", "/keys?a=secret"),
            ("https://10.0.0.7:8443", "https://10.0.0.7:8443/", "/"),
            ("https://[fd00::1]:8443/a", "https://[fd00::1]:8443/a", "/a"),
            ("https://idp?x=1", "https://idp/", "/?x=1"),
            ("http://127.0.0.1:4318/v1/traces", "http://127.0.0.1:4318/v1/traces", "/v1/traces"),
            ("http://localhost/", "http://localhost/", "/"),
        ] {
            let url: Url = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
            assert_eq!((url.to_string().as_str(), url.target.as_str()), (shown, target));
            assert!(!format!("{url:?}").contains("secret"));
        }
    }

    #[test]
    fn what_is_no_url_is_refused_with_its_cause() {
        for (text, why) in [
            ("idp/keys", UrlError::Form),
            ("ftp://idp/keys", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("https://", UrlError::Host),
            ("https:///keys", UrlError::Host),
            ("https://user:pw@idp/", UrlError::Credentials),
            ("https://idp/keys#x", UrlError::Fragment),
            ("https://idp/a b", UrlError::Form),
            ("https://idp/\u{e9}", UrlError::Form),
            ("https://idp/a\r\nhost: b", UrlError::Form),
            ("https://idp:0/", UrlError::Port),
            ("https://idp:65536/", UrlError::Port),
            ("https://idp:/", UrlError::Port),
            ("https://idp:44x/", UrlError::Port),
            ("https://[::1/", UrlError::Host),
            ("https://[zz]/", UrlError::Host),
            ("https://a..b/", UrlError::Host),
            ("https://127.1/", UrlError::Host),
            ("https://2130706433/", UrlError::Host),
            ("https://0x7f.0x1/", UrlError::Host),
            ("http://10.0.0.1/", UrlError::Plain),
        ] {
            assert_eq!(text.parse::<Url>(), Err(why), "{text}");
        }
        assert_eq!(format!("https://{}/", "a".repeat(3000)).parse::<Url>(), Err(UrlError::TooLong));
    }
}
