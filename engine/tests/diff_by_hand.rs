//! What `diff` says where random bundles rarely tell right from wrong: conditions that err, callers that moved, facts that an
//! opaque condition reads, methods that nothing names.
//!
//! In each case one line of a small bundle differs, both bundles are asked the same requests, and the report must say what the
//! answers say. Every case has its counterpart in which the same edit changes nothing.

#![cfg(test)]

use portreeve_engine::diff::{Comparison, Direction, Kind, Side, Status, Verdict, compare};
use portreeve_engine::{Authorizer, Bundle, Effect, Request, SourceFile};

const INVENTORY: &str = "\
kind: Service
name: a
identities: [spiffe://t.example/sa/a]
zone: edge
---
kind: Service
name: b
identities: [spiffe://t.example/sa/b]
zone: core
query: {n: integer}
operations:
  - {id: one, method: GET, path: /one}
---
kind: Service
name: c
identities: [spiffe://t.example/sa/c]
---
kind: Group
name: g
members: [c]
---
kind: Group
name: h
members: [g]
---
";

const OPEN: &str = "kind: Permission\nname: p\nallow: {from: a, to: b, operations: [one]}\n---\n";

type Edit<'a> = (&'a str, &'a str);

/// The second text is Rego if it begins with a package, Cedar otherwise.
fn compiled(yaml: &str, other: &str) -> (Bundle, Authorizer) {
    let files = [("a.yaml", yaml), (if other.starts_with("package") { "c.rego" } else { "b.cedar" }, other)]
        .into_iter()
        .filter(|(_, text)| !text.is_empty());
    let files = files.map(|(path, text)| SourceFile { path: path.to_owned(), bytes: text.as_bytes().to_vec() }).collect();
    let bundle = Bundle::from_files("t", files).unwrap();
    let compiled = Authorizer::compile(&bundle);
    let problems: String = compiled.diagnostics.iter().map(|d| d.render()).collect();
    let authorizer = compiled.authorizer.unwrap_or_else(|| panic!("{problems}\n{yaml}{other}"));
    (bundle, authorizer)
}

fn request(caller: &str, method: &str, path: &str) -> Request {
    let line = format!(
        "{{\"principal\":\"spiffe://t.example/sa/{caller}\",\"service\":\"b\",\"method\":\"{method}\",\"path\":\"{path}\",\
         \"context\":{{\"time\":\"2026-01-01T00:00:00Z\"}}}}"
    );
    Request::from_json(line.as_bytes()).unwrap_or_else(|e| panic!("{e}: {line}"))
}

/// Compares a bundle with the same after an edit, and hands the report and the two effects of a request to `judge`.
fn with(old: [&str; 2], (from, to): Edit<'_>, request: &Request, judge: impl FnOnce(&Comparison<'_>, [Effect; 2])) {
    let new = old.map(|text| text.replace(from, to));
    assert_ne!(new, old.map(str::to_owned), "`{from}` is nowhere");
    let [yaml, cedar] = old;
    let [new_yaml, new_cedar] = &new;
    let sides = [compiled(yaml, cedar), compiled(new_yaml, new_cedar)];
    let [(old_bundle, old), (new_bundle, new)] = &sides;
    let comparison = compare(Side { bundle: old_bundle, authorizer: old }, Side { bundle: new_bundle, authorizer: new });
    assert!(comparison.unexplored.is_empty(), "{:?}", comparison.unexplored);
    judge(&comparison, [old, new].map(|a| a.decide(request).effect));
}

/// The edit turns the answer to a request round, and the report says so.
fn seen(old: [&str; 2], edit: Edit<'_>, request: &Request, gained: bool) {
    with(old, edit, request, |comparison, effects| {
        let (expected, direction) =
            if gained { ([Effect::Deny, Effect::Allow], Direction::Allow) } else { ([Effect::Allow, Effect::Deny], Direction::Deny) };
        assert_eq!(effects, expected, "{edit:?}: {request:?}");
        let at = comparison.changes_at(request);
        let said = at.iter().any(|n| [direction, Direction::Either].contains(&comparison.changes[*n].direction));
        assert!(said, "{edit:?} is not seen: {:?} {:#?}", comparison.verdict, comparison.changes);
        assert_ne!(comparison.verdict, Verdict::Equivalent);
    });
}

/// The edit changes no answer, and the report knows it.
fn unseen(old: [&str; 2], edit: Edit<'_>, request: &Request) {
    with(old, edit, request, |comparison, [before, after]| {
        assert_eq!(before, after, "{edit:?}: {request:?}");
        assert_eq!(comparison.verdict, Verdict::Equivalent, "{edit:?}: {:#?}", comparison.changes);
    });
}

/// A grant that errs denies (INV-4): beside a grant without conditions it is all that can deny, so to put it there, or to take
/// it away, changes answers; one that cannot err changes none.
#[test]
fn a_grant_that_errs_denies() {
    let grant = |condition: &str| format!("@id(\"c\") permit(principal, action, resource) when {{ {condition} }};\n");
    let errs = grant("context.query has n && context.query.n * 3074457345618258603 > 0");
    let yaml = [INVENTORY, OPEN].concat();
    let plain = request("a", "GET", "/one?n=9");
    let gone: Edit<'_> = (&errs, "");
    seen([&yaml, &errs], gone, &plain, true);
    with([&yaml, &errs], gone, &plain, |comparison, _| {
        let at = comparison.changes_at(&plain);
        let statuses: Vec<(Status, Status)> = at.iter().map(|n| (comparison.changes[*n].before, comparison.changes[*n].after)).collect();
        assert_eq!(statuses, [(Status::Conditional, Status::Always)]);
    });
    // Proved unable to err, and for nobody but who is granted this anyway.
    let sure = "@id(\"c\") permit(principal in Service::\"a\", action, resource == Operation::\"b/one\") when { context.query has n };\n";
    unseen([&yaml, sure], (sure, ""), &plain);
    let more = [yaml.as_str(), "# nothing\n"].concat();
    let added: Edit<'_> = ("# nothing\n", "kind: Permission\nname: q\nallow: {from: c, to: b, operations: [one]}\n---\n");
    with([&more, &errs], added, &request("c", "GET", "/one?n=9"), |comparison, effects| {
        assert_eq!(effects, [Effect::Deny, Effect::Deny]);
        let about = comparison.changes.iter().find(|c| c.callers == ["c"]).expect("the grant is seen");
        assert_eq!((about.after, about.direction), (Status::Conditional, Direction::Allow));
    });
    // The same question, and the answer no: nothing errs, so the grant is allowed as if it were alone.
    seen([&more, &errs], added, &request("c", "GET", "/one"), true);
}

/// Callers may come into a group and go out of it while no policy changes, nor the called service.
#[test]
fn callers_that_moved_are_seen() {
    let to = |from: &str| [INVENTORY, "kind: Permission\nname: p\nallow: {from: ", from, ", to: b, operations: [one]}\n"].concat();
    let (in_g, in_h) = (to("g"), to("h"));
    for yaml in [&in_g, &in_h] {
        seen([yaml, ""], ("members: [c]", "members: [a, c]"), &request("a", "GET", "/one"), true);
        seen([yaml, ""], ("members: [c]", "members: [a]"), &request("c", "GET", "/one"), false);
    }
    seen([&in_h, ""], ("members: [g]", "members: [a]"), &request("c", "GET", "/one"), false);
    unseen([&in_g, ""], ("members: [g]", "members: [a]"), &request("c", "GET", "/one"));
    // An identity that goes over to another service, is given to one, or is taken from it.
    seen([&to("c"), ""], ("[spiffe://t.example/sa/c]", "[spiffe://t.example/sa/d]"), &request("d", "GET", "/one"), true);
    seen([&to("a"), ""], ("[spiffe://t.example/sa/a]", "[\"spiffe://t.example/x/a\"]"), &request("a", "GET", "/one"), false);
    seen([&to("any-authenticated"), ""], ("sa/c]", "sa/c, spiffe://t.example/sa/d]"), &request("d", "GET", "/one"), true);
}

/// An opaque condition is another one where what it reads of caller, called service, operation or a named entity differs.
#[test]
fn what_an_opaque_condition_reads_counts() {
    let open = [INVENTORY, "kind: Permission\nname: p\nallow: {from: any-authenticated, to: b, operations: [one]}\n---\n"].concat();
    let three = [INVENTORY, "kind: Permission\nname: p\nallow: {from: [a, b, c], to: b, operations: [one]}\n---\n"].concat();
    let calls: Vec<Request> = ["a", "c"].map(|caller| request(caller, "GET", "/one")).into();
    let [by_a, by_c] = [&calls[0], &calls[1]];
    let forbid = |condition: &str| format!("@id(\"c\") forbid(principal, action, resource) when {{ {condition} }};\n");
    // Neither scope nor folded: it asks the clock first, which says yes in the request that is asked.
    let sometimes = |condition: &str| forbid(&format!("if context.time.toTime() < duration(\"12h\") then ({condition}) else false"));
    let zone = ("zone: edge", "zone: core");
    for (yaml, condition, edit, call, gained) in [
        (&open, "principal in Group::\"g\"", ("members: [c]", "members: [a, c]"), by_a, false),
        (&open, "principal in Group::\"g\"", ("members: [c]", "members: [a]"), by_c, true),
        // The first caller is as it was, and the second is not.
        (&open, "principal in Group::\"g\"", ("members: [c]", "members: [b]"), by_c, true),
        (&three, "principal in Group::\"g\"", ("members: [c]", "members: [b]"), by_c, true),
        (&open, "principal in Group::\"h\"", ("members: [c]", "members: [a]"), by_a, false),
        (&open, "!(principal in Group::\"h\")", ("members: [g]", "members: [a, g]"), by_a, true),
        (&open, "Service::\"a\" in Group::\"g\"", ("members: [c]", "members: [a, c]"), by_c, false),
        (&open, "Group::\"g\" in Group::\"h\"", ("members: [g]", "members: [a]"), by_a, true),
        (&open, "Service::\"a\" has zone && Service::\"a\".zone == \"edge\"", zone, by_c, true),
        (&open, "resource in Group::\"g\"", ("members: [c]", "members: [b, c]"), by_a, false),
    ] {
        seen([yaml, &sometimes(condition)], edit, call, gained);
    }
    for (condition, edit) in [
        ("Service::\"b\" has zone && Service::\"b\".zone == \"core\"", zone),
        ("Group::\"h\" in Group::\"g\"", zone),
        ("context.query has n && context.query.n == 2", zone),
        ("context.query has n && context.query.n == 2", ("members: [c]", "members: [a, c]")),
    ] {
        unseen([&open, &sometimes(condition)], edit, by_a);
    }
    // A pattern covers whom it covers, whichever others are named beside it.
    let spread = [&open, "kind: Permission\nname: q\ndeny: {from: \"spiffe://t.example/sa/*\", to: c, operations: '*'}\n"].concat();
    let other = ("from: \"spiffe://t.example/sa/*\"", "from: \"spiffe://t.example/sb/*\"");
    unseen([&spread, &sometimes("principal in Pattern::\"spiffe://t.example/sa/*\"")], other, by_a);
}

/// Where a policy covers other methods than those that anything names, so does what is said of it.
#[test]
fn methods_that_nothing_names_are_seen() {
    let yaml = [INVENTORY, "kind: Permission\nname: p\nallow: {from: a, to: b, operations: any-path}\n---\n"].concat();
    let fewer = ("operations: any-path}", "operations: any-path, methods: [GET, PUT]}");
    for (method, path) in [("PURGE", "/one"), ("DELETE", "/elsewhere")] {
        seen([&yaml, ""], fewer, &request("a", method, path), false);
        with([&yaml, ""], fewer, &request("a", method, path), |comparison, _| {
            let change = &comparison.changes[comparison.changes_at(&request("a", method, path))[0]];
            assert_eq!((change.kind, change.after), (Kind::NewlyDenied, Status::Never));
            let by: Vec<&str> = change.targets[0].operations.iter().flat_map(|o| &o.by).map(String::as_str).collect();
            assert!(by.contains(&"other methods") && !by.contains(&"PUT"), "{by:?}");
        });
    }
    // A prohibition for one of them leaves the others alone.
    let prohibited = [&yaml, "# nothing\n"].concat();
    let one = ("# nothing\n", "kind: Permission\nname: q\ndeny: {from: a, to: b, operations: any-path, methods: [PURGE]}\n");
    seen([&prohibited, ""], one, &request("a", "PURGE", "/one"), false);
    with([&prohibited, ""], one, &request("a", "DELETE", "/one"), |comparison, effects| {
        assert_eq!(effects, [Effect::Allow; 2]);
        assert!(comparison.changes_at(&request("a", "DELETE", "/one")).is_empty(), "{:#?}", comparison.changes);
    });
}

/// The same text is another condition where the bundle shows it a type, a caller's name or an operation's id otherwise.
#[test]
fn what_a_rego_body_is_shown_counts() {
    let open = [INVENTORY, "kind: Permission\nname: p\nallow: {from: any-authenticated, to: b, operations: any-path}\n"].concat();
    let rego = |body: &str| format!("package portreeve.r\ndeny if {body}\n");
    let by_c = request("c", "GET", "/one?n=9");
    for (body, edit, gained) in [
        ("input.context.query.n == 9", ("n: integer", "n: string"), true),
        ("input.source.service == \"d\"", ("kind: Service\nname: c", "kind: Service\nname: d"), false),
        ("input.operation == \"uno\"", ("id: one", "id: uno"), false),
    ] {
        let yaml = open.replace("members: [c]", "members: [b]");
        seen([&yaml, &rego(body)], edit, &by_c, gained);
    }
}
