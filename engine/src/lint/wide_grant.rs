//! A grant to `any-authenticated`, or of `'*'`, `any-path` or a whole service, into what is sensitive: who is added to the
//! inventory, or what is added to the service, is granted unseen.
//!
//! What is sensitive, the zone says (`sensitive: true`); where no zone says anything, the classes of data do (`pan`, `chd`).

use crate::authorizer::Language;
use crate::decision::Effect;
use crate::diagnostic::Diagnostic;
use crate::lint::{Findings, Lint, Linted};
use crate::model::Caller;
use crate::table::CallerAtom;

pub(super) const LINT: Lint = Lint { code: "wide-grant", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let authorizer = linted.authorizer;
    for (policy, _, services) in linted.concerned().filter(|(policy, ..)| policy.reference.effect == Effect::Allow) {
        let id = &policy.reference.id;
        let anyone = match policy.language {
            // A Rego grant has no scope at all; `unscoped-grant` says so.
            Language::Rego => continue,
            Language::Yaml => linted.permissions.get(&**id).is_some_and(|p| p.from.contains(&Caller::AnyAuthenticated)),
            Language::Cedar => {
                let wide = |c: &CallerAtom| matches!(c, CallerAtom::Anyone | CallerAtom::AnyAuthenticated);
                linted.cedar.get(&**id).is_some_and(|c| c.scope.callers.iter().any(wide))
            }
        };
        let Some(service) = services.iter().find(|s| (anyone || policy.wildcard) && authorizer.is_sensitive(s)) else { continue };
        let what = match (anyone, policy.wildcard) {
            (true, true) => "every operation to everybody",
            (true, false) => "to everybody",
            _ => "every operation",
        };
        out.add(
            id,
            Diagnostic::warning("wide-grant", format!("`{id}` grants {what}, and `{}` is sensitive", service.name))
                .at(policy.reference.at.clone())
                .help("name the callers and the operations; what is added later is then not granted unseen"),
        );
    }
}
