//! What keeps an enforcer from running, as its operator reads it: the message, each name on its line, the places of faults, and the
//! way out.

use std::io::ErrorKind;
use std::path::Path;

use portreeve_engine::diagnostic::{Diagnostic, escape_line};

use crate::config::ConfigError;
use crate::enforcer::EnforcerError;
use crate::heads::HeadsError;
use crate::log::LogError;
use crate::policy::PolicyError;
use crate::tls::{IdentityError, Refusal};

impl EnforcerError {
    /// The whole of it, with its last line break.
    #[must_use]
    pub fn render(&self) -> String {
        let rendered = |diagnostics: &[Diagnostic]| -> String { diagnostics.iter().map(Diagnostic::render).collect() };
        let (message, faults) = match self {
            // Each of these is an error of its own.
            Self::Config(ConfigError::Invalid(diagnostics)) => return rendered(diagnostics),
            Self::Policy(PolicyError::Invalid { bundle, diagnostics }) => {
                let errors: Vec<_> = diagnostics.iter().filter(|d| d.is_error()).cloned().collect();
                (format!("the bundle `{bundle}` is not valid:"), rendered(&errors))
            }
            Self::Policy(PolicyError::Read { bundle, why }) => (format!("cannot read the bundle `{bundle}`:"), why.render()),
            other => (other.to_string(), String::new()),
        };
        let help = self.help().map(|help| format!("  help: {}\n", escape_line(&help))).unwrap_or_default();
        format!("error: {}\n{faults}{help}", escape_line(&message))
    }

    /// The way out, where one can be told.
    #[must_use]
    pub fn help(&self) -> Option<String> {
        Some(match self {
            Self::Identity(error) => of_identity(error)?,
            Self::Policy(error) => of_policy(error)?,
            Self::UnknownDestination(_) => "declare it in the inventory, with `identities`, or take it out of the configuration".to_owned(),
            Self::Bind { address, why } => match why.kind() {
                ErrorKind::AddrInUse => format!(
                    "another process listens there: stop it, or take another port (`ss -ltnp sport = :{}` says which it is)",
                    address.port()
                ),
                ErrorKind::AddrNotAvailable => "this machine has no such address; `0.0.0.0` or `[::]` stands for all it has".to_owned(),
                ErrorKind::PermissionDenied => "ports below 1024 need a privilege; take one above".to_owned(),
                _ => return None,
            },
            Self::AdminSocket { path, why } if why.kind() == ErrorKind::NotFound => no_folder(path),
            Self::Log(LogError::File { path, why }) => match why.kind() {
                ErrorKind::NotFound => no_folder(Path::new(path)),
                ErrorKind::PermissionDenied => "its folder, and the file, must be writable for this user".to_owned(),
                ErrorKind::IsADirectory => "`log.path` names a file, which is made if there is none".to_owned(),
                _ => return None,
            },
            Self::Log(LogError::Heads(HeadsError::ReadKey { why, .. })) if why.kind() == ErrorKind::NotFound => {
                "`portreeve ca head-key --out FILE` makes the key, and the public one for the auditor".to_owned()
            }
            Self::Log(LogError::Locked(_)) => "give each process a log of its own; `{instance}` in the name makes it one".to_owned(),
            _ => return None,
        })
    }
}

fn no_folder(path: &Path) -> String {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    format!("make the folder `{}`, writable for this user, or name another one", folder.display())
}

fn of_identity(error: &IdentityError) -> Option<String> {
    Some(match error {
        IdentityError::Read { source, .. } if source.kind() == ErrorKind::NotFound => {
            "`identity` names it, from the folder of the configuration; `portreeve ca issue` makes a certificate and its key".to_owned()
        }
        IdentityError::KeyMismatch { .. } => {
            "name a certificate and the key it was issued with; `portreeve ca issue` makes both".to_owned()
        }
        IdentityError::Root { .. } => {
            "`identity.trust` names certificates of authorities, such as the `ca.pem` of `portreeve ca init`".to_owned()
        }
        IdentityError::Own { id, refusal, .. } => match refusal {
            Refusal::UnknownTrustDomain => format!("add `{}: FILE`, the file with its roots, to `identity.trust`", id.trust_domain()),
            Refusal::UnknownIssuer => {
                format!("the roots of `{}` in `identity.trust` must have the one of whoever issued it", id.trust_domain())
            }
            Refusal::CertificateExpired => "have it issued again, and before it ends: what is renewed in good time is taken up".to_owned(),
            Refusal::CertificateNotYetValid => "look at the clock of this machine, or of the authority".to_owned(),
            _ => return None,
        },
        _ => return None,
    })
}

fn of_policy(error: &PolicyError) -> Option<String> {
    Some(match error {
        PolicyError::NoService { nearest: Some(nearest), .. } => format!("did you mean `{nearest}`?"),
        PolicyError::NoService { .. } => "`service` names one of the inventory: the one that this enforcer stands in front of".to_owned(),
        PolicyError::NotOurs { .. } => {
            "name a certificate of that service in `identity`, or add this identity to the service's `identities`".to_owned()
        }
        PolicyError::NoKey(_) => "add `key`, the file with the public key, to `bundle`; or name a folder of policies".to_owned(),
        PolicyError::File { why, .. } if why.kind() == ErrorKind::NotFound => {
            "`bundle` names it, from the folder of the configuration".to_owned()
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_on_its_line_and_faults_have_theirs() {
        let diagnostic = Diagnostic::error("unknown-kind", "`Nonsense` is no kind").help("write `Service`");
        let invalid = PolicyError::Invalid { bundle: "a\nb".to_owned(), diagnostics: vec![diagnostic.clone(), diagnostic] };
        let text = EnforcerError::from(invalid).render();
        let fault = "error[unknown-kind]: `Nonsense` is no kind\n  help: write `Service`\n";
        assert_eq!(text, format!("error: the bundle `a\\u{{a}}b` is not valid:\n{fault}{fault}"));
        let locked = EnforcerError::Log(LogError::File { path: "x\ny/d.ndjson".to_owned(), why: ErrorKind::NotFound.into() });
        let text = locked.render();
        assert_eq!((text.lines().count(), text.contains("help: make the folder `x\\u{a}y`")), (2, true), "{text}");
    }
}
