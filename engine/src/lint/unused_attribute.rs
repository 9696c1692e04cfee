//! A header, query parameter or claim that a service makes visible and that no policy about the service reads. It is recorded all
//! the same; perhaps a policy that was to read it reads another.
//!
//! Where what a Cedar or Rego policy reads has no bound that can be told, nothing is said of the services it concerns.

use std::collections::BTreeMap;

use crate::diagnostic::Diagnostic;
use crate::footprint::{Names, Reads};
use crate::lint::{Findings, Lint, Linted};
use crate::model::Service;

pub(super) const LINT: Lint = Lint { code: "unused-attribute", find, dated: false };

fn find(linted: &Linted<'_>, out: &mut Findings) {
    let authorizer = linted.authorizer;
    let mut by_service: BTreeMap<&str, Option<Reads>> = BTreeMap::new();
    for (_, body, services) in linted.concerned() {
        let reads = authorizer.attributes_read_by(body);
        for service in services {
            let all = by_service.entry(&service.name).or_insert_with(|| Some(Reads::default()));
            match (all.as_mut(), &reads) {
                (Some(all), Some(reads)) => all.union(reads),
                _ => *all = None,
            }
        }
    }
    for permission in &authorizer.dry_run.permissions {
        let about = |s: &&Service| permission.to.iter().any(|to| *to == s.name || s.groups.contains(to));
        for service in authorizer.inventory.services().iter().filter(about) {
            if let Some(all) = by_service.entry(&service.name).or_insert_with(|| Some(Reads::default())) {
                all.union(&Reads::attributes_of(&permission.when));
            }
        }
    }
    let nothing = Some(Reads::default());
    for service in authorizer.inventory.services() {
        if let Some(reads) = by_service.get(&*service.name).unwrap_or(&nothing) {
            say(service, reads, out);
        }
    }
}

fn say(service: &Service, reads: &Reads, out: &mut Findings) {
    let visible = &service.visible;
    let all = [
        ("header", "headers", &visible.headers, &reads.headers),
        ("query parameter", "query", &visible.query, &reads.query),
        ("claim", "claims", &visible.claims, &reads.claims),
    ];
    for (what, field, declared, read) in all {
        let Names::Only(read) = read else { continue };
        for name in declared.keys().filter(|name| !read.contains(*name)) {
            out.add(
                &format!("{}/{field}/{name}", service.name),
                Diagnostic::warning("unused-attribute", format!("no policy about `{}` reads the {what} `{name}`", service.name))
                    .at(service.at.clone())
                    .help(format!("take it out of `{field}`, or approve an `Exception` if the record is to have it")),
            );
        }
    }
}
