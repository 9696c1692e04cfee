//! Who the enforcer is, and whom it believes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use portreeve_engine::yaml::{self, Fields, Node, Value};
use portreeve_engine::{SpiffeId, TrustDomain};

use super::reader::Reader;
use crate::tls::{IdentityFiles, MinVersion};
use crate::workload::{Endpoint, FromApi, SOCKET_VARIABLE};

/// Where our identity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// From files.
    Files(IdentityFiles),
    /// From an agent on this machine.
    WorkloadApi(WorkloadApi),
}

/// An agent on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadApi {
    /// Where it listens.
    pub endpoint: Endpoint,
    /// Which of several identities is ours.
    pub id: Option<SpiffeId>,
}

impl WorkloadApi {
    /// The source that follows it.
    #[must_use]
    pub fn source(&self, min: MinVersion) -> FromApi {
        FromApi::new(self.endpoint.clone(), self.id.clone(), min)
    }
}

impl Identity {
    /// The files, where it comes from files.
    #[must_use]
    pub fn files(&self) -> Option<&IdentityFiles> {
        match self {
            Self::Files(files) => Some(files),
            Self::WorkloadApi(_) => None,
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn identity(&mut self, node: &'a Node) -> Option<Identity> {
        if node.get("workload_api").is_some() { self.workload_api(node) } else { self.identity_files(node).map(Identity::Files) }
    }

    fn workload_api(&mut self, node: &'a Node) -> Option<Identity> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let text = f.text("workload_api", &mut self.out);
        let id: Option<SpiffeId> = f.parse("id", &mut self.out);
        f.finish(&mut self.out);
        let text = text?;
        let from_variable = text.text.strip_prefix('$') == Some(SOCKET_VARIABLE);
        let address = if from_variable { socket_variable() } else { Some(text.text.to_owned()) };
        let Some(address) = address else {
            let message = format!("the environment variable `{SOCKET_VARIABLE}` is not set");
            self.fault(text.node, "invalid-value", &message, "set it, or write the address here: `workload_api: unix:///run/agent.sock`");
            return None;
        };
        match address.parse() {
            Ok(endpoint) => Some(Identity::WorkloadApi(WorkloadApi { endpoint, id })),
            Err(error) => {
                let message = format!("`{address}` is not the address of a Workload API: {error}");
                self.fault(
                    text.node,
                    "invalid-value",
                    &message,
                    "write `unix:///run/agent.sock`, `tcp://127.0.0.1:8000` or `$SPIFFE_ENDPOINT_SOCKET`",
                );
                None
            }
        }
    }

    pub(super) fn identity_files(&mut self, node: &'a Node) -> Option<IdentityFiles> {
        let mut f = Fields::of(self.file, node, &mut self.out)?;
        let cert = f.require_text("cert", &mut self.out).map(|t| self.base.join(t.text));
        let key = f.require_text("key", &mut self.out).map(|t| self.base.join(t.text));
        let trust = f.require("trust", &mut self.out).map(|n| self.trust(n));
        let crl = f.texts("crl", &mut self.out).into_iter().map(|t| self.base.join(t.text)).collect();
        f.finish(&mut self.out);
        Some(IdentityFiles { cert: cert?, key: key?, trust: trust?, crl })
    }

    pub(super) fn trust(&mut self, node: &'a Node) -> BTreeMap<TrustDomain, PathBuf> {
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

/// The address that the environment names. The file asks for it by name, and an address decides nothing: what comes from it is
/// verified, and told in the record and on `/config`.
#[expect(clippy::disallowed_methods, reason = "the standard has clients find the socket so, and the file asked for it")]
fn socket_variable() -> Option<String> {
    std::env::var(SOCKET_VARIABLE).ok()
}
