//! Identities of those whom a log names by namespace and service account, as the inventory's convention has them: `/ns/shop/sa/items` in one trust
//! domain. That is how Istio writes them, and how SPIRE is told to in Kubernetes.
//!
//! INVARIANT: without a convention nobody has an identity here, and a name or an address never makes one.

use portreeve_engine::{Authorizer, SpiffeId, TrustDomain};

use crate::foreign::{Callee, Caller};

/// A convention.
#[derive(Clone, Debug)]
pub(super) struct Convention(String);

impl Convention {
    /// The one that was said, or that of a policy repo where all identities are of the form and of one domain.
    pub(super) fn of(said: Option<&TrustDomain>, law: Option<&Authorizer>) -> Option<Self> {
        if let Some(domain) = said {
            return Some(Self(domain.to_string()));
        }
        let mut ids = law?.services().iter().flat_map(|service| &service.identities);
        let first = ids.next()?.trust_domain();
        let is_of_it = |id: &SpiffeId| id.trust_domain() == first && is_account(id.path());
        law?.services().iter().flat_map(|service| &service.identities).all(is_of_it).then(|| Self(first.to_owned()))
    }

    /// The identity of a caller; none of one that is not named by its account.
    pub(super) fn caller(&self, caller: &Caller<'_>) -> Option<SpiffeId> {
        match caller {
            Caller::Label { namespace: Some(namespace), account: Some(account), .. } => self.id(namespace, account),
            // Linkerd writes identities as names: `sa.ns.serviceaccount.identity.linkerd.cluster.local`.
            Caller::Id(text) => {
                let (account, rest) = text.split_once('.')?;
                let (namespace, rest) = rest.split_once('.')?;
                rest.starts_with("serviceaccount.identity.").then(|| self.id(namespace, account))?
            }
            _ => None,
        }
    }

    /// The same of a callee.
    pub(super) fn callee(&self, callee: &Callee<'_>) -> Option<SpiffeId> {
        self.id(callee.namespace.as_deref()?, callee.account.as_deref()?)
    }

    fn id(&self, namespace: &str, account: &str) -> Option<SpiffeId> {
        let is_label = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let id = || format!("spiffe://{}/ns/{namespace}/sa/{account}", self.0).parse().ok();
        (is_label(namespace) && is_label(account)).then(id)?
    }
}

/// Whether a path is `/ns/…/sa/…`.
fn is_account(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(parts.as_slice(), ["", "ns", _, "sa", _])
}
