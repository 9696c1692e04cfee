//! Traps of other meshes' policy languages, as far as ours has what they are about. There is no importer: where a case is about what one
//! should warn of, the native meaning is what is held here.

use crate::policy::is_not_taken_up;
use crate::world::{SHOP, World, spiffe, until};

/// There is one author of a bundle, and who may write which file is for the reviews of its repository. What the gate holds is that no file
/// takes anything away from another one: neither by order nor by being nearer is one of two believed.
#[test]
fn a45_no_file_declares_what_another_one_has() {
    let world = World::new();
    let sidecar = world.start();
    let service = |name: &str, id: &str| {
        format!("kind: Service\nname: {name}\nidentities: [\"{id}\"]\noperations: [{{id: all, method: GET, path: \"/{{rest*}}\"}}]\n")
    };
    let permission =
        "kind: Permission\nname: invoices-items\nallow: {from: [users], to: items, operations: '*'}\njustification: x\nowner: tenant\n";
    for (what, text) in [
        ("the name of a service", service("items", &spiffe("mine"))),
        ("the identity of a service", service("mine", &spiffe("items"))),
        ("the identity of a caller", service("mine", &spiffe("invoices"))),
        ("identities by a pattern that covers those of others", service("mine", "spiffe://market.example/ns/shop/sa/*")),
        ("the name of a permission", permission.to_owned()),
    ] {
        for name in ["a-tenant.yaml", "z-tenant.yaml"] {
            is_not_taken_up(&world, &sidecar, what, &[("shop.yaml", SHOP), (name, &text)]);
            let said = world.start_fails(&world.config()).1;
            assert!(said.contains(name) && said.contains("shop.yaml"), "{what}: both places are told: {said}");
        }
    }
    sidecar.stop();
}

/// `a|ab` on `ab`: the leftmost match is `a`, which is not all of it, and a reader that looks for the whole afterwards misses it.
#[test]
fn a49_a_pattern_of_alternatives_matches_whichever_of_them_it_takes() {
    let module = r#"package portreeve.tenants

deny contains "not this tenant" if regex.match(`^(?:a|ab)$`, input.context.headers["x-tenant"])
"#;
    let world = World::with(&[("shop.yaml", SHOP), ("tenants.rego", module)]);
    let sidecar = world.start();
    let client = world.client("invoices");
    for (tenant, status) in [("a", 403), ("ab", 403), ("abc", 200), ("b", 200), ("xab", 200), ("ab\u{a0}", 200)] {
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", &format!("x-tenant: {tenant}\r\n")), status, "{tenant}");
    }
    sidecar.stop();
}

/// A policy that names a host without its port must not be passed by naming one. Ours read no host: a listener has one service, whatever
/// a request calls it.
#[test]
fn a58_a_port_behind_the_host_changes_no_answer() {
    let prohibition =
        "kind: Permission\nname: no-admin\ndeny: {from: [users], to: items, operations: any-path}\njustification: x\nowner: team-test\n";
    let world = World::with(&[("shop.yaml", SHOP), ("deny.yaml", prohibition)]);
    let sidecar = world.start();
    for host in ["items", "items:8443", "items:80", "items.market.example:8443", "127.0.0.1:1", "[::1]:8443"] {
        for (caller, status) in [("invoices", 200), ("users", 403)] {
            let head = format!("GET /v1/items/1 HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
            assert_eq!(world.client(caller).ask(sidecar.inbound, head.as_bytes())[0].status, status, "{host} {caller}");
        }
    }
    sidecar.stop();
}

/// Elsewhere a star in a name crosses segments, or in the middle of one is a letter. Here it is a whole segment, or an error.
#[test]
fn a76_a_star_is_one_whole_segment_and_nothing_else() {
    let world = World::new();
    let sidecar = world.start();
    let jobs = |pattern: &str| SHOP.replace(&format!("[{}]", spiffe("invoices")), &format!("[\"{pattern}\"]"));
    for pattern in [
        "spiffe://market.example/ns/x*/sa/y",
        "spiffe://market.example/ns/*x",
        "spiffe://market.example/ns/**/sa/y",
        "spiffe://market.*/a",
        "*",
    ] {
        let text = jobs(pattern);
        is_not_taken_up(&world, &sidecar, pattern, &[("shop.yaml", &text)]);
        let said = world.start_fails(&world.config()).1;
        assert!(said.contains("shop.yaml:") && said.contains(pattern), "{pattern}: {said}");
    }
    world.policies(&[("shop.yaml", &jobs("spiffe://market.example/ns/*/sa/y"))]);
    sidecar.signal("HUP");
    let asks = |id: &str| crate::client::Client::with(&world.root.leaf(&[id])).get(sidecar.inbound, "/v1/items/1", "");
    until("the pattern is in force", || asks("spiffe://market.example/ns/x/sa/y") == 200);
    for (id, status) in [
        ("spiffe://market.example/ns/xy/sa/y", 200),
        ("spiffe://market.example/ns/x/z/sa/y", 403),
        ("spiffe://market.example/ns/x/sa/y/z", 403),
        ("spiffe://market.example/ns/sa/y", 403),
    ] {
        assert_eq!(asks(id), status, "{id}");
    }
    sidecar.stop();
}
