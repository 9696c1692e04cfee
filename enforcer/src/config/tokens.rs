//! Whose user tokens are believed.

use std::path::PathBuf;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;
use crate::fetch::{Reach, Roots, Url};
use crate::jwt::Remote;
use crate::limits;

/// An accepted issuer of user tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The `iss` claim.
    pub issuer: String,
    /// Its public keys.
    pub jwks: KeySet,
    /// Accepted audiences.
    pub audiences: Vec<String>,
}

/// Where an issuer's public keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySet {
    /// A JWKS file.
    File(PathBuf),
    /// A URL.
    Remote(Remote),
}

impl KeySet {
    /// The file, where it is one.
    #[must_use]
    pub fn file(&self) -> Option<&PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Remote(_) => None,
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn issuer(&mut self, node: &'a Node) -> Option<Issuer> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let issuer = f.require_text("issuer", &mut self.out).map(|t| t.text.to_owned());
        let jwks = f.require("jwks", &mut self.out).and_then(|n| self.jwks(n));
        let audiences: Vec<_> = f.texts("audiences", &mut self.out).into_iter().map(|t| t.text.to_owned()).collect();
        if audiences.is_empty() {
            self.fault(
                node,
                "missing-field",
                "`audiences` is missing or empty",
                "a token made for anyone is accepted by no one; name yours",
            );
        }
        f.finish(&mut self.out);
        Some(Issuer { issuer: issuer?, jwks: jwks?, audiences })
    }

    fn jwks(&mut self, node: &'a Node) -> Option<KeySet> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        if let Some(url) = f.text("url", &mut self.out) {
            let roots = f.text("ca", &mut self.out).map_or(Roots::System, |t| Roots::File(self.base.join(t.text)));
            let private = self.word(&mut f, "private_addresses", &[("true", true), ("false", false)], false)?;
            let reach = Reach { private_addresses: private, loopback_http: private };
            let refresh = self.duration(&mut f, "refresh", limits::JWKS_REFRESH, limits::JWKS_REFRESH_MAX);
            let max_stale = self.duration(&mut f, "max_stale", limits::JWKS_STALE, limits::JWKS_STALE_MAX);
            f.finish(&mut self.out);
            let url = self.url(url.node, url.text, reach)?;
            return Some(KeySet::Remote(Remote { url, roots, reach, refresh: refresh?, max_stale: max_stale? }));
        }
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        path.map(KeySet::File)
    }

    /// A URL that may be fetched as far as `reach`, as far as that can be told without looking its host up.
    pub(super) fn url(&mut self, node: &'a Node, text: &str, reach: Reach) -> Option<Url> {
        let help = "write `https://host/path`; `http` is only for loopback, together with `private_addresses: true`";
        match text.parse::<Url>() {
            Err(why) => self.fault(node, "invalid-value", &format!("`{text}` cannot be fetched: {why}"), help),
            Ok(url) => match reach.objection(&url) {
                Some(why) => self.fault(node, "invalid-value", &why.to_string(), help),
                None => return Some(url),
            },
        }
        None
    }
}
