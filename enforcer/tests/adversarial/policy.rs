//! Policies as the running gate keeps them: the default is no, errors are no, what cannot be read is not taken up.

use std::io::Write as _;

use portreeve_engine::Reason;

use crate::client::{Client, one_answer};
use crate::world::{SHOP, Sidecar, World, spiffe, until};

fn shop_with(more: &str) -> String {
    format!("{SHOP}---{more}")
}

/// Replaces the policies and waits until the gate has said what it makes of them; it must refuse, and the old ones stay.
pub(crate) fn is_not_taken_up(world: &World, sidecar: &Sidecar, what: &str, files: &[(&str, &str)]) {
    let told = sidecar.said().matches("the new bundle is not taken up").count();
    world.policies(files);
    sidecar.signal("HUP");
    until(&format!("{what} is refused"), || sidecar.said().matches("the new bundle is not taken up").count() > told);
    assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/1", ""), 200, "{what}: the last good bundle is in force");
    assert_eq!(sidecar.metric("portreeve_bundle_alarm", ""), 1.0, "{what}");
    let (code, said) = world.start_fails(&world.config());
    assert_eq!(code, Some(2), "{what}: at a cold start it does not come up: {said}");
}

#[test]
fn a43_a50_what_nothing_grants_is_denied() {
    let lonely = SHOP.split("---\nkind: Permission").next().unwrap();
    let world = World::with(&[("shop.yaml", lonely)]);
    let sidecar = world.start();
    for (caller, target) in [
        ("invoices", "/v1/items/1"),
        ("invoices", "/admin/x"),
        ("invoices", "/undeclared"),
        ("users", "/"),
        ("items", "/v1/items/1"),
        ("stranger", "/v1/items/1"),
    ] {
        assert_eq!(world.client(caller).get(sidecar.inbound, target, ""), 403, "{caller} {target}");
    }
    let log = sidecar.stop();
    assert!(log.decided().iter().all(|d| d.decision.policies.is_empty()));
    assert!(world.upstream.seen().is_empty());
    // A list of grants without a final refusal: what none of them names is refused all the same.
    let world = World::new();
    let sidecar = world.start();
    for (caller, target, status) in
        [("invoices", "/v1/items/1", 200), ("invoices", "/v1/items", 403), ("invoices", "/admin/x", 403), ("users", "/v1/items/1", 403)]
    {
        assert_eq!(world.client(caller).get(sidecar.inbound, target, ""), status, "{caller} {target}");
    }
    sidecar.stop();
}

#[test]
fn a42_a_prohibition_wins_wherever_it_stands() {
    let allow = "\nkind: Permission\nname: wide\nallow: {from: any-authenticated, to: items, operations: any-path}\njustification: x\nowner: team-test\n";
    let deny = "\nkind: Permission\nname: narrow\ndeny: {from: [invoices], to: items, operations: [write-item]}\njustification: x\nowner: team-test\n";
    for text in [shop_with(&format!("{allow}---{deny}")), shop_with(&format!("{deny}---{allow}"))] {
        let world = World::with(&[("shop.yaml", text.as_str())]);
        let sidecar = world.start();
        let client = world.client("invoices");
        let post = b"POST /v1/items/1 HTTP/1.1\r\nHost: items\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(client.ask(sidecar.inbound, post)[0].status, 403);
        assert_eq!(client.get(sidecar.inbound, "/v1/items/1", ""), 200);
        let log = sidecar.stop();
        assert_eq!(log.reasons(), [Reason::Prohibited, Reason::Permitted]);
    }
}

#[test]
fn a08_names_are_names_and_not_patterns() {
    let policy =
        SHOP.replace("identities: [spiffe://market.example/ns/shop/sa/invoices]", "identities: [spiffe://market.example/ns/shop/sa/a.b]");
    let world = World::with(&[("shop.yaml", &policy)]);
    let sidecar = world.start();
    for (id, status) in [("a.b", 200), ("axb", 403), ("a.bc", 403), ("xa.b", 403), ("a.B", 403), ("ab", 403)] {
        assert_eq!(Client::with(&world.root.leaf(&[&spiffe(id)])).get(sidecar.inbound, "/v1/items/1", ""), status, "{id}");
    }
    sidecar.stop();
}

/// Everything that a policy can read, each of it needed.
const ALL_INPUTS: &str = r#"
package portreeve.inputs

allow contains "everything is as it must be" if {
	input.service == "items"
	input.principal == "spiffe://market.example/ns/shop/sa/users"
	input.method == "GET"
	input.path == "/v1/items/7"
	input.context.headers["x-tenant"] == "eu"
	input.context.query.full == true
	"a" in input.context.headers["x-roles"]
	input.source.ip == "127.0.0.1"
}
"#;

#[test]
fn a25_a73_no_answer_is_given_to_another_question() {
    let world = World::with(&[("shop.yaml", SHOP), ("inputs.rego", ALL_INPUTS)]);
    let sidecar = world.start();
    let (users, items) = (world.client("users"), world.client("items"));
    let good = "x-tenant: eu\r\nx-roles: a, b\r\n";
    let all: [(&Client, &str, &str, &str, u16); 8] = [
        (&users, "GET", "/v1/items/7?full=true", good, 200),
        (&items, "GET", "/v1/items/7?full=true", good, 403),
        (&users, "POST", "/v1/items/7?full=true", good, 403),
        (&users, "GET", "/v1/items/8?full=true", good, 403),
        (&users, "GET", "/v1/items/7?full=false", good, 403),
        (&users, "GET", "/v1/items/7", good, 403),
        (&users, "GET", "/v1/items/7?full=true", "x-tenant: us\r\nx-roles: a, b\r\n", 403),
        (&users, "GET", "/v1/items/7?full=true", "x-tenant: eu\r\nx-roles: b\r\n", 403),
    ];
    // Every order of two neighbours, so that each answer has had the chance to be given to each other question.
    for first in &all {
        for second in &all {
            for (client, method, target, headers, status) in [first, second] {
                let head = format!("{method} {target} HTTP/1.1\r\nHost: items\r\nConnection: close\r\n{headers}\r\n");
                assert_eq!(client.ask(sidecar.inbound, head.as_bytes())[0].status, *status, "{method} {target} {headers}");
            }
        }
    }
    // A73: ever new paths on one connection, with a policy that is asked for each of them.
    let mut conn = users.open(sidecar.inbound);
    let mut burst = |from: u32, to: u32| {
        for n in from..to {
            let head = format!("GET /v1/items/{n}-{} HTTP/1.1\r\nHost: items\r\nx-tenant: t{n}\r\n\r\n", "x".repeat(200));
            conn.write_all(head.as_bytes()).unwrap();
            assert_eq!(one_answer(&mut conn).status, 403);
        }
    };
    burst(0, 500);
    let before = sidecar.rss();
    burst(500, 4000);
    let grown = sidecar.rss().saturating_sub(before);
    assert!(grown < 12 << 20, "new paths cost {grown} bytes");
    sidecar.stop();
}

/// A prohibition that errs where the number is large: `9223372036854775807 * 2` is beyond 64 bits.
const ERRING: &str = r#"
@id("erring")
forbid (principal, action, resource in Service::"items")
when { context.query has n && context.query.n * 2 == 14 };
"#;

#[test]
fn a59_a74_an_error_denies_and_is_never_kept() {
    let shop = SHOP.replace("query: {full: boolean}", "query: {full: boolean, n: integer}");
    let world = World::with(&[("shop.yaml", &shop), ("erring.cedar", ERRING)]);
    let sidecar = world.start();
    let client = world.client("invoices");
    for _ in 0..3 {
        for (n, status) in [("9223372036854775807", 403), ("1", 200), ("7", 403), ("9223372036854775807", 403), ("2", 200)] {
            assert_eq!(client.get(sidecar.inbound, &format!("/v1/items/1?n={n}"), ""), status, "n={n}");
        }
    }
    for n in ["9223372036854775808", "x", "1.5", ""] {
        assert_eq!(client.get(sidecar.inbound, &format!("/v1/items/1?n={n}"), ""), 400, "n={n}");
    }
    let log = sidecar.stop();
    use Reason::{EvaluationError as Err, Permitted, Prohibited};
    assert_eq!(log.reasons()[..5], [Err, Permitted, Prohibited, Err, Permitted]);
    assert!(!log.decided()[0].decision.errors.is_empty(), "the record says what went wrong");
}

#[test]
fn a61_answers_of_another_kind_and_without_end_deny() {
    let modules = [
        ("a number", "package portreeve.odd\n\nallow := 1\n"),
        ("an object", "package portreeve.odd\n\nallow := {\"yes\": true}\n"),
        ("a text", "package portreeve.odd\n\nallow := \"true\"\n"),
        ("a set of numbers", "package portreeve.odd\n\nallow contains 1 if { input.service == \"items\" }\n"),
        (
            "two answers",
            "package portreeve.odd\n\ndeny := true if { input.method == \"GET\" }\n\ndeny := false if { input.service == \"items\" }\n",
        ),
        (
            "too many steps",
            "package portreeve.odd\n\ndeny contains \"x\" if {\n\tsome i in numbers.range(1, 9000)\n\tsome j in numbers.range(1, 9000)\n\ti * j == -1\n}\n",
        ),
    ];
    for (what, module) in modules {
        let world = World::with(&[("shop.yaml", SHOP), ("odd.rego", module)]);
        let (code, said) = world.start_fails(&world.config());
        if code == Some(2) {
            assert!(said.contains("odd.rego"), "{what}: refused at compile, and the place is told: {said}");
            continue;
        }
        // A decision is taken again when another record came first; nothing else is written while this one takes its time.
        let sidecar = world.start_with(&world.config().replace("heartbeat: 50ms", "heartbeat: 60s"));
        assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/1", ""), 403, "{what}");
        assert_eq!(world.client("users").get(sidecar.inbound, "/v1/items/1", ""), 403, "{what}");
        let log = sidecar.stop();
        assert_eq!(log.reasons(), [Reason::EvaluationError; 2], "{what}");
        assert!(world.upstream.seen().is_empty());
    }
}

#[test]
fn a40_a44_a48_a60_what_cannot_be_read_is_not_taken_up() {
    let world = World::new();
    let sidecar = world.start();
    let rego = |body: &str| format!("package portreeve.x\n\nallow contains \"x\" if {{ {body} }}\n");
    let effects = [
        "time.now_ns() > 0",
        "rand.intn(\"x\", 2) == 1",
        "uuid.rfc4122(\"x\") != \"\"",
        "opa.runtime().env.HOME == \"/\"",
        "http.send({\"method\": \"get\", \"url\": \"http://127.0.0.1/\"}).status_code == 200",
        "io.jwt.decode(\"x\")[0]",
        "net.lookup_ip_addr(\"x\")",
        "trace(\"x\")",
    ];
    for body in effects {
        let module = rego(body);
        is_not_taken_up(&world, &sidecar, body, &[("shop.yaml", SHOP), ("x.rego", &module)]);
        let said = world.start_fails(&world.config()).1;
        assert!(said.contains("x.rego:3:"), "A60, the place is told: {said}");
    }
    let grant = |when: &str| {
        shop_with(&format!(
            "\nkind: Permission\nname: x\nallow: {{from: [users], to: items, operations: [read-item]}}\n{when}justification: x\nowner: team-test\n"
        ))
    };
    let deep = format!("kind: Service\nname: {}x{}\n", "[".repeat(50_000), "]".repeat(50_000));
    let deep_rego = rego(&format!("{}1{} == 1", "(".repeat(20_000), ")".repeat(20_000)));
    let deep_cedar =
        format!("@id(\"d\")\npermit (principal, action, resource) when {{ {}true{} }};", "(".repeat(20_000), ")".repeat(20_000));
    let port = |n: u32| SHOP.replace("  - {id: admin,", &format!("  - {{id: feed, port: {n}}}\n  - {{id: admin,"));
    let anchors = format!("a: &a [x]\n{}", (0..30).map(|n| format!("b{n}: &b{n} [*a, *a]\n")).collect::<String>());
    let cases: Vec<(&str, Vec<(&str, String)>)> = vec![
        ("A48: a network that is none", vec![("shop.yaml", grant("when: {source: [10.0.0.0/33]}\n"))]),
        ("A48: an empty list", vec![("shop.yaml", grant("when: {source: []}\n"))]),
        ("A48: a condition without content", vec![("shop.yaml", grant("when: {}\n"))]),
        ("A48: a port that is none", vec![("shop.yaml", port(65_558))]),
        ("A48: port 0", vec![("shop.yaml", port(0))]),
        ("A44: an unknown field", vec![("shop.yaml", grant("wehn: {source: [10.0.0.0/8]}\n"))]),
        ("A44: a field twice", vec![("shop.yaml", grant("when: {source: [10.0.0.0/8]}\nwhen: {source: [0.0.0.0/0]}\n"))]),
        ("A40: deep YAML", vec![("shop.yaml", SHOP.to_owned()), ("deep.yaml", deep)]),
        ("A40: deep Rego", vec![("shop.yaml", SHOP.to_owned()), ("deep.rego", deep_rego)]),
        ("A40: deep Cedar", vec![("shop.yaml", SHOP.to_owned()), ("deep.cedar", deep_cedar)]),
        ("A40: anchors that unfold", vec![("shop.yaml", SHOP.to_owned()), ("anchors.yaml", anchors)]),
        ("an empty bundle", vec![]),
        ("our own service left out", vec![("shop.yaml", SHOP.replace("sa/items]", "sa/other]"))]),
    ];
    for (what, files) in &cases {
        let files: Vec<(&str, &str)> = files.iter().map(|(n, t)| (*n, t.as_str())).collect();
        is_not_taken_up(&world, &sidecar, what, &files);
    }
    // The next good one is.
    world.policies(&[("shop.yaml", &SHOP.replace("allow: {from: [invoices]", "allow: {from: [users]"))]);
    sidecar.signal("HUP");
    until("the good bundle is in force", || world.client("users").get(sidecar.inbound, "/v1/items/1", "") == 200);
    assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/1", ""), 403);
    assert_eq!(sidecar.metric("portreeve_bundle_alarm", ""), 0.0);
    sidecar.stop();
}

#[test]
fn a44_a_configuration_with_a_slip_of_the_pen_does_not_start() {
    let world = World::new();
    let good = world.config();
    for (from, to, says) in [
        ("bundle:", "bundel:", "did you mean `bundle`"),
        ("drain: 1s", "drain: 1", "drain"),
        ("drain: 1s", "drain: 1s\nmode: enforced", "mode"),
        ("  key: items.key", "  key: items.key\n  min_tls: 1.0", "min_tls"),
        ("drain: 1s", "drain: 1s\ndrain: 2s", "drain"),
        ("inbound: [{", "inbound: [{plaintext: true, ", "plaintext"),
        ("admin: {listen: \"127.0.0.1:0\"}", "admin: {listen: \"0.0.0.0:0\"}", "loopback"),
    ] {
        let (code, said) = world.start_fails(&good.replace(from, to));
        assert_eq!(code, Some(2), "{to}: {said}");
        assert!(said.contains(says) && said.contains("enforcer.yaml:"), "{to}: {said}");
    }
    assert_eq!(world.start_fails(&good).0, Some(0));
    for text in ["", "[", "a: b", "- x", "\0", "---\n---\n", "service: items\n"] {
        let (code, said) = world.start_fails(text);
        assert_eq!(code, Some(2), "{text:?}: {said}");
        assert!(said.contains("enforcer.yaml"), "{text:?}: {said}");
    }
    let deep = format!("service: {}x{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(world.start_fails(&deep).0, Some(2));
}

#[test]
fn a47_without_a_bundle_nothing_is_served() {
    let world = World::new();
    let config = world.config();
    for path in ["nowhere", "enforcer.yaml", "items.key"] {
        let (code, said) = world.start_fails(&config.replace("{path: policies}", &format!("{{path: {path}}}")));
        assert_eq!(code, Some(2), "{path}: {said}");
        assert!(said.contains(path), "{said}");
    }
    // Once in force, a bundle whose directory vanishes stays in force.
    let sidecar = world.start();
    std::fs::remove_file(world.path("policies")).unwrap();
    sidecar.signal("HUP");
    sidecar.says("the new bundle is not taken up");
    assert_eq!(world.client("invoices").get(sidecar.inbound, "/v1/items/1", ""), 200);
    assert_eq!(world.client("users").get(sidecar.inbound, "/v1/items/1", ""), 403);
    sidecar.stop();
}

#[test]
fn a75_a_bundle_that_must_be_signed_is_taken_only_as_it_was_signed() {
    let world = World::new();
    let openssl = |args: &[&str]| {
        std::process::Command::new("openssl").args(args).current_dir(world.dir.path()).output().is_ok_and(|o| o.status.success())
    };
    if !openssl(&["genpkey", "-algorithm", "ed25519", "-out", "bundle.key"])
        || !openssl(&["pkey", "-in", "bundle.key", "-pubout", "-out", "bundle.pub"])
    {
        eprintln!("skipped: there is no `openssl` that makes Ed25519 keys");
        return;
    }
    let config = world.config();
    // A directory bears no signature; an archive of somebody else, half an archive and no archive bear none that counts.
    let tar =
        std::process::Command::new("tar").args(["-czf", "plain.tar.gz", "-C", "policies", "."]).current_dir(world.dir.path()).status();
    std::fs::write(world.path("empty.tar.gz"), b"").unwrap();
    std::fs::write(world.path("garbage.tar.gz"), [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3]).unwrap();
    let mut paths = vec!["policies", "empty.tar.gz", "garbage.tar.gz", "bundle.pub"];
    if tar.is_ok_and(|s| s.success()) {
        paths.push("plain.tar.gz");
    }
    for path in paths {
        let (code, said) = world.start_fails(&config.replace("{path: policies}", &format!("{{path: {path}, key: bundle.pub}}")));
        assert_eq!(code, Some(2), "{path}: {said}");
    }
}
