//! The canonical form: what it looks like, that it is reached at once, and that it never says anything else.

#![cfg(test)]

use std::fs;
use std::path::Path;

use portreeve_engine::{Authorizer, Bundle, Request, SourceFile, fmt};

#[path = "shared/conditions.rs"]
mod conditions;
#[path = "shared/dice.rs"]
mod dice;
#[path = "shared/policies.rs"]
mod policies;

use dice::Dice;

fn formatted(path: &str, text: &[u8]) -> Result<Option<String>, String> {
    fmt::file(&SourceFile { path: path.to_owned(), bytes: text.to_vec() }).map_err(|d| d.message)
}

fn yaml(text: &str) -> String {
    let once = formatted("a.yaml", text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}")).unwrap();
    let twice = formatted("a.yaml", once.as_bytes()).unwrap().unwrap();
    assert_eq!(once, twice, "not at rest after the first time:\n{text}");
    once
}

#[test]
fn the_form() {
    let cases = [
        // Indentation: two blanks, lists inside their keys.
        ("a:\n    b: 1\n    c:\n    - x\n    -   y\n", "a:\n  b: 1\n  c:\n    - x\n    - y\n"),
        ("-   a:   1\n    b:  2\n-\n    c: 3\n", "- a: 1\n  b: 2\n-\n  c: 3\n"),
        ("- - a\n  - b\n-   - c\n", "- - a\n  - b\n- - c\n"),
        ("a:\n- b:\n  - c\n  d: e\n", "a:\n  - b:\n      - c\n    d: e\n"),
        ("a:\n      long\n", "a:\n  long\n"),
        // Within brackets: none inside, one behind a comma, one behind a colon; aligned columns stay.
        ("a: { b : 1 ,c: [ 2,3 ] , d: {  } }\n", "a: {b: 1, c: [2, 3], d: {}}\n"),
        ("- {id: a,   method: GET}\n- {id: bcd, method: PUT}\n", "- {id: a,   method: GET}\n- {id: bcd, method: PUT}\n"),
        ("a: [\n  b,   # first\n      c,\n]\n", "a: [\n  b,   # first\n  c,\n  ]\n"),
        ("k:\n  a: [{b: 1,\n   c: 2},\n     d]\n", "k:\n  a: [{b: 1,\n      c: 2},\n    d]\n"),
        // Comments stay with what they are about.
        (
            "# top\n\n\n\n# more\na: 1   # one\n\n\nb:     # two\n    # in b\n    - c\n    # after c\n# end\n",
            "# top\n\n# more\na: 1   # one\n\nb:     # two\n  # in b\n  - c\n  # after c\n# end\n",
        ),
        ("a: 1 #x\n- \n", ""),
        ("a: b#c\nd: 'x # y'   #  z  \n", "a: b#c\nd: 'x # y'   #  z\n"),
        (
            "a:\n    b:\n        - c\n        # of b\n    # of a\n# of all\nd: 1\n",
            "a:\n  b:\n    - c\n    # of b\n  # of a\n# of all\nd: 1\n",
        ),
        ("a:\n- b\n# - c\n---\n- # empty\n  d\n", "a:\n  - b\n  # - c\n---\n- # empty\n  d\n"),
        // Quotes where they are needed.
        ("a: \"b\"\n'c': 'd e'\n", "a: b\nc: d e\n"),
        (
            "a: ['*', \"1\", 'true', 'null', 'No', '', '~', \"08:00\", \"x: y\", 'x #', '-a', \"{b}\", 'a,b', \"\\n\"]\n",
            "a: ['*', \"1\", 'true', 'null', 'No', '', '~', \"08:00\", \"x: y\", 'x #', '-a', \"{b}\", 'a,b', \"\\n\"]\n",
        ),
        ("a: [\"https://x.example/a\", '/v1/b', \"spiffe://x/y\"]\n", "a: [https://x.example/a, /v1/b, spiffe://x/y]\n"),
        // Texts over several lines.
        (
            "a:\n      b: |\n            one\n              two\n\n            three\n      c: 1\n",
            "a:\n  b: |\n    one\n      two\n\n    three\n  c: 1\n",
        ),
        ("a: >-   # folded\n   x\n   y\n\n\n\nb: |+\n  z\n\n\nc: 1\n", "a: >-   # folded\n  x\n  y\n\nb: |+\n  z\n\n\nc: 1\n"),
        ("a: |2\n    x\n   y\nb: |1-\n   x\n", "a: |2\n    x\n   y\nb: |1-\n   x\n"),
        ("a: one\n     two\n\n\n     three\nb: 'q\n  r'\n", "a: one\n  two\n\n\n  three\nb: 'q\n  r'\n"),
        ("- |\n x\n- a: \"b\n\n    c\"\n", "- |\n  x\n- a: \"b\n\n    c\"\n"),
        // Ends and beginnings.
        ("\u{feff}a: 1\r\nb: 2   \r\n\r\n\r\n", "a: 1\nb: 2\n"),
        ("\n\n---\n\n\na: 1\n\n\n\n---\nb: 2", "---\na: 1\n\n---\nb: 2\n"),
        ("", ""),
        ("# only this  \n\n", "# only this\n"),
        // The order of a resource's own fields.
        (
            "# about x\n\n# name\nname: x\n# who\n# may\nallow: {from: [a], to: b, operations: '*'}\nreview_by: 2027-01-01\n# why\njustification: y  # z\nfoo: 1\nkind: Permission\n",
            "# about x\n\n# name\nkind: Permission\nname: x\n# who\n# may\nallow: {from: [a], to: b, operations: '*'}\n# why\njustification: y  # z\nfoo: 1\nreview_by: 2027-01-01\n",
        ),
        (
            "operations:\n  - {id: a}\n\nkind: Service   # k\nname: s\n---\ncases: []\nname: t\nkind: Test\n",
            "kind: Service   # k\nname: s\noperations:\n  - {id: a}\n---\nkind: Test\nname: t\ncases: []\n",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, want) in cases {
        if want.is_empty() && !text.is_empty() {
            assert!(formatted("a.yaml", text.as_bytes()).is_err(), "{text}");
            continue;
        }
        let got = std::panic::catch_unwind(|| yaml(text)).unwrap_or_else(|e| format!("{:?}", e.downcast_ref::<String>()));
        if got != want {
            wrong.push(format!("from\n{text}\ncame\n{got}\nexpected\n{want}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n====\n"));
}

#[test]
fn cedar_has_the_form_of_cedars_own_tools() {
    let cases = [
        (
            "\n// top  \n\n\n// of it\n@id(\"a\")   permit(principal,action,resource) when{context.query has n};  // end\n",
            "// top\n\n// of it\n@id(\"a\")\npermit (principal, action, resource)\nwhen { context.query has n }; // end\n",
        ),
        ("// nothing yet   \n\n\n", "// nothing yet\n"),
        ("", ""),
        ("\n\n", ""),
        ("@id(\"a // b\")\nforbid(principal, action, resource);\r\n", "@id(\"a // b\")\nforbid (principal, action, resource);\n"),
    ];
    for (text, want) in cases {
        let got = formatted("a.cedar", text.as_bytes()).unwrap().unwrap();
        assert_eq!(got, want, "{text}");
        assert_eq!(formatted("a.cedar", got.as_bytes()).unwrap().unwrap(), got, "not at rest");
    }
    assert!(formatted("a.cedar", b"permit(").unwrap_err().contains("cannot be formatted"));
    assert_eq!(formatted("a.rego", b"package  x"), Ok(None), "Rego is left as it is");
}

/// All files of a folder as a bundle reads them; hidden ones are left out.
fn files(folder: &Path, prefix: &str) -> Vec<SourceFile> {
    let mut out = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
        if path.is_dir() {
            out.extend(files(&path, &format!("{name}/")));
        } else if portreeve_engine::bundle::is_policy_path(&name) {
            out.push(SourceFile { path: name, bytes: fs::read(&path).unwrap() });
        }
    }
    out.sort_by(|a, b| a.path.cmp(&b.path));
    out
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// What a bundle says, without the places where it says it: a digit may be a line number.
fn meaning(files: Vec<SourceFile>) -> Vec<String> {
    let digitless = |text: &str| text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect::<String>();
    let bundle = match Bundle::from_files("b", files) {
        Ok(bundle) => bundle,
        Err(problem) => return vec![problem.code.to_owned()],
    };
    let compiled = Authorizer::compile(&bundle);
    let mut out: Vec<String> = compiled.diagnostics.iter().map(|d| digitless(&format!("{} {} {:?}", d.code, d.message, d.help))).collect();
    out.sort();
    let Some(authorizer) = compiled.authorizer else { return out };
    out.push(authorizer.cedar_schema().to_owned());
    out.extend(authorizer.lowered().into_iter().map(|(id, text)| format!("{id} {text}")));
    out.extend(
        authorizer.policies().iter().map(|p| format!("{} {} {} {:?}", p.reference.id, p.reference.effect, p.conditional, p.governance)),
    );
    out.extend(authorizer.invariants().iter().map(|i| format!("{} {:?} {:?}", i.name, i.claim, i.controls)));
    for case in authorizer.tests().iter().flat_map(|suite| &suite.cases) {
        let decision = authorizer.decide(&case.request);
        let policies: Vec<&str> = decision.policies.iter().map(|p| &*p.id).collect();
        out.push(format!(
            "{} {:?} {:?} {:?} {} {} {policies:?}",
            case.title, case.expect, case.because, case.policies, decision.effect, decision.reason
        ));
    }
    out
}

/// Formats what can be formatted; what cannot be stays. The number of files that are otherwise than before.
fn all_formatted(files: &[SourceFile]) -> (Vec<SourceFile>, usize) {
    let mut changed = 0;
    let out = files.iter().map(|file| {
        let text = formatted(&file.path, &file.bytes).ok().flatten().map_or_else(|| file.bytes.clone(), String::into_bytes);
        changed += usize::from(text != file.bytes);
        SourceFile { path: file.path.clone(), bytes: text }
    });
    (out.collect(), changed)
}

#[test]
fn bundles_mean_the_same_and_good_ones_have_the_form() {
    let bad = fs::read_dir(root().join("tests/corpus/bundles/bad")).unwrap().map(|e| e.unwrap().path());
    let mut changed = 0;
    for folder in bad.chain([root().join("policies/marketplace"), root().join("src/scaffold")]) {
        let before = files(&folder, "");
        let (after, moved) = all_formatted(&before);
        assert_eq!(meaning(before), meaning(after.clone()), "{}", folder.display());
        let (again, moved_again) = all_formatted(&after);
        assert_eq!((again, moved_again), (after, 0), "{} is not at rest", folder.display());
        // The examples are what people copy from.
        let is_example = !folder.starts_with(root().join("tests"));
        assert!(!(is_example && moved > 0), "{} files of {} are not in the form", moved, folder.display());
        changed += moved;
    }
    assert!(changed > 0, "nothing was formatted");
}

/// Generated bundles, every field of every resource in another order, with comments between.
#[test]
fn generated_bundles_mean_the_same() {
    for seed in 1..=40 {
        let mut dice = Dice(seed);
        let mut text = policies::inventory(&mut dice);
        for number in 0..dice.below(8) {
            text.push_str(&policies::permission(&mut dice, number));
        }
        let mut cedar = String::new();
        for number in 0..dice.below(5) {
            cedar.push_str(&policies::cedar(&mut dice, number));
        }
        let mut shuffled = String::new();
        for document in text.split("---\n") {
            let mut fields: Vec<String> = Vec::new();
            for line in document.lines() {
                match fields.last_mut() {
                    Some(field) if line.starts_with(' ') => field.push_str(&format!("\n{line}")),
                    _ => fields.push(format!("# {}\n{line}", dice.below(1000))),
                }
            }
            while !fields.is_empty() {
                let field = fields.remove(dice.below(fields.len()));
                shuffled.push_str(&field.replace(": ", [": ", ":  ", " : "][dice.below(3)]));
                shuffled.push_str(["\n", "   \n", "\n\n\n"][dice.below(3)]);
            }
            shuffled.push_str("---\n");
        }
        let before: Vec<SourceFile> = [("a.yaml", shuffled), ("b.cedar", cedar)]
            .map(|(path, text)| SourceFile { path: path.to_owned(), bytes: text.into_bytes() })
            .into();
        let (after, changed) = all_formatted(&before);
        assert!(changed > 0);
        assert!(!after.iter().zip(&before).any(|(a, b)| a.path.ends_with("yaml") && a.bytes == b.bytes), "seed {seed}: left alone");
        let said = meaning(before.clone());
        assert!(said.iter().any(|s| s.contains("entity Group")), "seed {seed} is not valid: {said:?}");
        assert_eq!(said, meaning(after.clone()), "seed {seed}");
        let compiled = |files: &[SourceFile]| Authorizer::compile(&Bundle::from_files("b", files.to_vec()).unwrap()).authorizer.unwrap();
        let (one, other) = (compiled(&before), compiled(&after));
        for _ in 0..50 {
            let request = Request::from_json(policies::request(&mut dice).as_bytes()).unwrap();
            let answer = |authorizer: &Authorizer| {
                let decision = authorizer.decide(&request);
                let ids: Vec<String> = decision.policies.iter().map(|p| p.id.to_string()).collect();
                (decision.effect, decision.reason, ids, decision.errors)
            };
            assert_eq!(answer(&one), answer(&other), "seed {seed}");
        }
        assert_eq!(all_formatted(&after), (after, 0), "seed {seed}: not at rest");
    }
}

/// Texts that nobody would write: characters put in, taken out and doubled where they hurt.
#[test]
fn odd_texts_are_left_alone_or_say_the_same() {
    let sources: Vec<String> = [root().join("policies/marketplace"), root().join("src/scaffold")]
        .iter()
        .flat_map(|folder| files(folder, ""))
        .filter(|f| f.path.ends_with("yaml"))
        .map(|f| String::from_utf8(f.bytes).unwrap())
        .collect();
    let pieces = [
        " ", "  ", "\n", "\n\n", "# c", " # c", "- ", ": ", ",", "[", "]", "{", "}", "\"", "'", "|\n", ">-\n  ", "? ", "\t", "---\n", "\\",
        "é", "a: b\n", "\r\n",
    ];
    let (mut read, mut refused, mut seed) = (0, 0, 1_u64);
    for _ in 0..6000 {
        let mut dice = Dice(seed);
        let source = &sources[dice.below(sources.len())];
        let all: Vec<char> = source.chars().collect();
        // A window of lines, so that a change is near everything.
        let from = dice.below(all.len());
        let mut text: Vec<char> = all.iter().skip(from).skip_while(|c| **c != '\n').skip(1).take(40 + dice.below(400)).copied().collect();
        for _ in 0..1 + dice.below(4) {
            let at = dice.below(text.len() + 1);
            match dice.below(3) {
                0 if at < text.len() => drop(text.remove(at)),
                _ => drop(text.splice(at..at, pieces[dice.below(pieces.len())].chars())),
            }
        }
        let text: String = text.into_iter().collect();
        seed += 1;
        let Ok(before) = portreeve_engine::yaml::parse("a.yaml", &text) else { continue };
        read += 1;
        match formatted("a.yaml", text.as_bytes()) {
            Err(why) => {
                assert!(why.contains("cannot be formatted"), "seed {}: {why}", seed - 1);
                println!("seed {}: {why}\n{text}\n", seed - 1);
                refused += 1;
            }
            Ok(out) => {
                let out = out.unwrap();
                let again = formatted("a.yaml", out.as_bytes());
                assert_eq!(again.as_ref().map(|o| o.as_deref()), Ok(Some(out.as_str())), "seed {}: not at rest\n{text}", seed - 1);
                let after = portreeve_engine::yaml::parse("a.yaml", &out).unwrap();
                assert_eq!(before.len(), after.len(), "seed {}", seed - 1);
                assert!(out.lines().all(|l| l.trim_end() == l || out.contains(['|', '>'])), "seed {}: trailing blanks\n{out}", seed - 1);
            }
        }
    }
    println!("{read} of 6000 texts are YAML, {refused} of them are left alone");
    assert!(read > 1000 && refused * 20 < read, "{read} read, {refused} refused");
}
