//! Whose user tokens are believed.

use std::path::PathBuf;

use portreeve_engine::yaml::{Fields, Node};

use super::reader::Reader;

/// An accepted issuer of user tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The `iss` claim.
    pub issuer: String,
    /// Its public keys, a JWKS file.
    pub jwks: PathBuf,
    /// Accepted audiences.
    pub audiences: Vec<String>,
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

    fn jwks(&mut self, node: &'a Node) -> Option<PathBuf> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        if let Some(found) = f.take("url") {
            self.fault(found, "unsupported", "`jwks.url` is not supported yet", "give a file: `jwks: {path: …}`");
        }
        let path = f.require_text("path", &mut self.out).map(|t| self.base.join(t.text));
        f.finish(&mut self.out);
        path
    }
}
