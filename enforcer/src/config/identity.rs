//! Who the enforcer is, and whom it believes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portreeve_engine::TrustDomain;
use portreeve_engine::yaml::{self, Fields, Node, Value};

use super::reader::Reader;
use crate::tls::IdentityFiles;

/// The files of an identity.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Certificate chain, PEM.
    pub cert: PathBuf,
    /// Private key, PEM.
    pub key: PathBuf,
    /// Roots per trust domain, PEM.
    pub trust: BTreeMap<TrustDomain, PathBuf>,
    /// Revocation lists.
    pub crl: Vec<PathBuf>,
}

impl<'a> Reader<'a> {
    pub(super) fn identity(&mut self, node: &'a Node) -> Option<Identity> {
        let IdentityFiles { cert, key, trust, crl } = self.identity_files(node)?;
        Some(Identity { cert, key, trust, crl })
    }

    pub(super) fn identity_files(&mut self, node: &'a Node) -> Option<IdentityFiles> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        if let Some(found) = f.take("workload_api") {
            self.fault(found, "unsupported", "`identity.workload_api` is not supported yet", "give files: `cert`, `key`, `trust`");
        }
        let cert = f.require_text("cert", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.require_text("key", &mut self.out).map(|t| self.base.join(t.text));
        let trust = f.require("trust", &mut self.out).map(|n| self.trust(n));
        let crl = f.texts("crl", &mut self.out).into_iter().map(|t| self.base.join(t.text)).collect();
        f.finish(&mut self.out);
        Some(IdentityFiles { cert: cert?, key: key?, trust: trust?, crl })
    }

    fn trust(&mut self, node: &'a Node) -> BTreeMap<TrustDomain, PathBuf> {
        let mut out = BTreeMap::new();
        let Value::Mapping(items) = &node.value else {
            self.fault(node, "wrong-type", "expected a mapping of trust domains to files", "write `trust: {market.example: ca.pem}`");
            return out;
        };
        if items.is_empty() {
            self.fault(node, "missing-field", "no trust domain is named, so nobody could be believed", "name at least your own");
        }
        for (key, value) in items {
            match key.as_str().unwrap_or_default().parse::<TrustDomain>() {
                Err(e) => self.fault(key, "invalid-value", &format!("not a trust domain: {e}"), "write a name such as `market.example`"),
                Ok(domain) => {
                    if let Some(path) = yaml::text(self.file, value, &mut self.out) {
                        out.insert(domain, self.base.join(path.text));
                    }
                }
            }
        }
        out
    }
}
