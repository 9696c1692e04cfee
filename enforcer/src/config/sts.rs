//! The token service's own configuration file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use portreeve_engine::Diagnostic;
use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use super::tokens::KeySet;
use super::{ConfigError, Issuer, read_text};
use crate::jwt::{Jwks, JwtIssuer};
use crate::sts::{LIFETIME, LIFETIME_MAX};
use crate::tls::IdentityFiles;

/// What the token service needs to run.
#[derive(Clone, Debug)]
pub struct StsConfig {
    /// Where it listens; loopback only without an identity.
    pub listen: SocketAddr,
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Its key; made if there is none.
    pub key: PathBuf,
    /// Whose tokens are exchanged.
    pub accept: Vec<JwtIssuer>,
    /// The services for which there are tokens.
    pub audiences: Vec<String>,
    /// How long a token lives at most.
    pub lifetime: Duration,
    /// The claims that are carried over, besides `sub` and `scope`.
    pub claims: Vec<String>,
    /// For mutual TLS.
    pub identity: Option<IdentityFiles>,
}

impl StsConfig {
    /// Reads a configuration file.
    ///
    /// # Errors
    /// The file cannot be read, or everything that is wrong with it.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = read_text(path)?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse(&path.display().to_string(), &text, base).map_err(ConfigError::Invalid)
    }

    /// Reads the text of a configuration. `name` is for messages, `base` is what relative paths are relative to.
    ///
    /// # Errors
    /// Everything that is wrong, with its place.
    pub fn parse(name: &str, text: &str, base: &Path) -> Result<Self, Vec<Diagnostic>> {
        super::parse_with(name, text, base, |reader, root| reader.sts(root))
    }
}

impl<'a> Reader<'a> {
    fn sts(&mut self, root: &'a Node) -> Option<StsConfig> {
        let mut f = Fields::of(self.file, root, &mut self.out)?;
        let listen = self.address(&mut f, "listen");
        let issuer = f.require_text("issuer", &mut self.out).map(|t| t.text.to_owned());
        let key = f.require_text("key", &mut self.out).map(|t| self.base.join(t.text));
        let accept_at = f.require("accept", &mut self.out);
        let accept: Vec<_> = self.each(accept_at, Self::issuer).into_iter().filter_map(|issuer| self.accepted(root, issuer)).collect();
        let audiences: Vec<_> = f.texts("audiences", &mut self.out).into_iter().map(|t| t.text.to_owned()).collect();
        let lifetime = self.duration(&mut f, "lifetime", LIFETIME, LIFETIME_MAX);
        let claims: Vec<_> = f.texts("claims", &mut self.out).into_iter().map(|t| t.text.to_owned()).collect();
        let identity_at = f.take("identity");
        let identity = identity_at.map(|n| self.identity_files(n));
        f.finish(&mut self.out);
        for name in &claims {
            if RESERVED.contains(&name.as_str()) {
                self.fault(root, "invalid-value", &format!("the claim `{name}` is set by the service itself"), "leave it out of `claims`");
            }
        }
        if let Some(address) = listen.filter(|a| identity_at.is_none() && !a.ip().is_loopback()) {
            let message = format!("`{address}` is not a loopback address, and without `identity` tokens would travel in the clear");
            let place = root.get("listen").unwrap_or(root);
            self.fault(place, "not-loopback", &message, "listen on 127.0.0.1 or [::1], or add `identity: {cert, key, trust}`");
        }
        if audiences.is_empty() {
            self.fault(root, "missing-field", "`audiences` is missing or empty", "name the services for which there are tokens");
        }
        let identity = match identity {
            None => None,
            Some(files) => Some(files?),
        };
        Some(StsConfig { listen: listen?, issuer: issuer?, key: key?, accept, audiences, lifetime: lifetime?, claims, identity })
    }
}

impl Reader<'_> {
    /// This service fetches nothing: it is to run where nothing else does.
    fn accepted(&mut self, root: &Node, Issuer { issuer, jwks, audiences }: Issuer) -> Option<JwtIssuer> {
        let KeySet::File(path) = jwks else {
            let place = root.get("accept").unwrap_or(root);
            self.fault(place, "unsupported", "this service reads key sets from files alone", "give a file: `jwks: {path: …}`");
            return None;
        };
        Some(JwtIssuer { issuer, jwks: Jwks::File(path), audiences })
    }
}

const RESERVED: [&str; 9] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti", "act", "may_act"];
