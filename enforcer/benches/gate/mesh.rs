//! Bundles of any number of permissions, of which one concerns the measured caller.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::pki::id;

const OPERATIONS: usize = 10;

/// Writes a bundle: `items` and other services, and so many permissions between them. `sometimes` may read as well if `both`.
pub(crate) fn write(dir: &Path, permissions: usize, both: bool) {
    fs::create_dir_all(dir).unwrap();
    // Like engine/benches: a mesh of ten permissions has five services, one of ten thousand has five hundred.
    let services = (permissions / 20).max(2);
    let mut inventory = String::new();
    for name in ["items", "caller", "sometimes", "flooder"] {
        service(
            &mut inventory,
            name,
            &id(name),
            if name == "items" { "  - {id: read-item, method: GET, path: \"/v1/items/{id}\"}\n" } else { "" },
        );
    }
    for n in 0..services {
        let mut operations = String::new();
        for m in 0..OPERATIONS {
            writeln!(operations, "  - {{id: read-{m}, method: GET, path: \"/v1/things-{m}/{{id}}\"}}").unwrap();
        }
        service(&mut inventory, &format!("service-{n}"), &id(&format!("service-{n}")), &operations);
    }
    fs::write(dir.join("inventory.yaml"), inventory).unwrap();
    let mut text = String::new();
    for name in ["caller"].iter().chain(both.then_some(&"sometimes")) {
        permission(&mut text, &format!("{name}-reads-items"), name, "items", "read-item");
    }
    for n in 1..permissions {
        let (from, to) = (n % services, (n / OPERATIONS) % services);
        permission(&mut text, &format!("p-{n}"), &format!("service-{from}"), &format!("service-{to}"), &format!("read-{}", n % OPERATIONS));
    }
    fs::write(dir.join("permissions.yaml"), text).unwrap();
}

fn service(out: &mut String, name: &str, identity: &str, operations: &str) {
    writeln!(out, "kind: Service\nname: {name}\nidentities: [{identity}]\nowner: team").unwrap();
    if !operations.is_empty() {
        write!(out, "operations:\n{operations}").unwrap();
    }
    out.push_str("---\n");
}

fn permission(out: &mut String, name: &str, from: &str, to: &str, operation: &str) {
    write!(
        out,
        "kind: Permission\nname: {name}\nallow: {{from: [{from}], to: {to}, operations: [{operation}]}}\njustification: A benchmark.\nowner: team\napproved_by: [security]\nreview_by: 2099-01-01\n---\n"
    )
    .unwrap();
}
